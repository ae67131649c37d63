//! Compiles documents into a [`Policy`] and decides requests by it.
//!
//! Sans-IO: whatever it needs from outside, time included, is an argument or a question ([`Progress::Pending`]).

#![forbid(unsafe_code)]
// A panic ends the VM for every stream of a worker, so nothing that may panic is used outside tests.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod authentication;
pub mod authorization;
pub mod cache;
pub mod call;
pub mod callbacks;
pub mod compile;
pub mod compose;
pub mod credentials;
pub mod crypto;
pub mod east_west;
pub mod error;
mod exec;
pub mod expression;
pub mod gather;
pub mod grants;
pub mod grpc;
pub mod hosts;
pub mod kubernetes;
pub mod metadata;
pub mod outbound;
mod pipeline;
pub mod policy;
#[cfg(feature = "opa")]
pub mod rego;
pub mod remote;
pub mod request;
pub mod resources;
pub mod response;
pub mod secret;
mod session;
mod settings;
pub mod step;
pub mod time;
pub mod token;
pub mod trace;
pub mod url;
pub mod verdict;
pub mod view;
pub mod well_known;

pub use call::{Body, Call, CallError, CallId, HttpReply, HttpRequest, Question, Reply};
pub use policy::Policy;
pub use request::{Attribute, Attributes, Headers, Needs, Request};
pub use session::{Cx, FollowUp, Following, Progress, Session};
pub use sidegate_config::{Problem, Workload};
pub use time::Timestamp;
pub use trace::StepRecord;
pub use verdict::{
    Allowed, Decision, DenialStatus, LocalReply, Overrun, Published, Served, Verdict, WellKnownDocument,
};
