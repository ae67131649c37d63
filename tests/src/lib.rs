//! The corpus and its runners: one case, decided by the engine alone and by a real Envoy.

pub mod calls;
pub mod case;
pub mod client;
pub mod corpus;
pub mod demo;
pub mod envoy;
pub mod example;
pub mod fixtures;
pub mod native;
pub mod outcome;
pub mod prepare;
pub mod problems;
pub mod servers;
pub mod through_envoy;
pub mod token;
