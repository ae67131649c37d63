//! The corpus and its runners: one case, decided by the engine alone and by a real Envoy.

pub mod case;
pub mod corpus;
pub mod fixtures;
pub mod native;
pub mod outcome;
pub mod prepare;
pub mod problems;
pub mod token;
