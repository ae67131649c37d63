//! The corpus and its runners: one case, decided by the engine alone and by a real Envoy.

pub mod client;
pub mod compose;
pub mod corpus;
pub mod demo;
pub mod envoy;
pub mod example;
pub mod faults;
pub mod fixtures;
pub mod markdown;
pub mod mtls;
pub mod scene;
pub mod schemas;
pub mod servers;
pub mod through_envoy;
pub mod vectors;

pub use sidegate_cases::{calls, case, native, outcome, prepare, problems, token};
