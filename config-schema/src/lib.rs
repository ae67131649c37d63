//! The documents that configure Sidegate, as people write them.
//!
//! Data and its decoding only. What a document means is the engine's business. What a rule may have but mostly has not is boxed:
//! most of what is compiled of a large struct moves it about (docs/decisions/0012).

#![forbid(unsafe_code)]

mod auth_config;
mod authorization_policy;
mod decode;
mod east_west;
mod external;
pub mod istio;
mod metadata;
mod node;
mod one_or_many;
mod plugin_config;
mod problem;
mod reader;
mod reference_grant;
#[cfg(feature = "schema")]
pub mod schema;
mod secret;
mod suggest;
mod take_over;

pub use auth_config::*;
pub use authorization_policy::*;
pub use decode::{Broken, Document, Documents, decode};
pub use east_west::*;
pub use external::*;
pub use metadata::ObjectMeta;
pub use one_or_many::OneOrMany;
pub use plugin_config::*;
pub use problem::Problem;
pub use reference_grant::*;
pub use secret::Secret;
