//! The form of a case, and the runner that asks the engine alone. `docs/testing.md` is the manual for those who write one.

pub mod calls;
pub mod case;
pub mod entry;
pub mod fixtures;
pub mod native;
pub mod outcome;
pub mod prepare;
pub mod problems;
pub mod signature;
pub mod token;
