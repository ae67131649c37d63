//! The corpus and its runners.
