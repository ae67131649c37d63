//! Tokens, from the bits of a signature to the verdict on a request, by the engine's public interface alone.

mod arbitrary;
mod grants;
mod key_sets;
mod rules;
mod signatures;
mod signing;
