//! What a root context and its streams share.

use std::cell::RefCell;
use std::rc::Rc;

use sidegate_engine::{Policy, Problem};

use crate::host::{self, HostError, Level};
use crate::keys::Keys;
use crate::observe::Metrics;
use crate::snapshot;
use crate::verify::HostVerifier;

/// What a root context and its streams share.
pub struct Plugin {
    /// The root context's id.
    pub id: u32,
    /// Counters and gauges.
    pub metrics: Metrics,
    pub(crate) keys: Keys,
    loaded: RefCell<Option<Rc<Loaded>>>,
}

/// A policy in force.
#[derive(Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: Rc<Policy>,
    /// Path of the property that stands in for the request's host.
    pub host_override: Vec<u8>,
}

impl Plugin {
    /// Without a policy, which denies everything.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { id, metrics: Metrics::default(), keys: Keys::default(), loaded: RefCell::default() }
    }

    /// The policy in force. Streams keep the one that they began with.
    pub fn loaded(&self) -> Option<Rc<Loaded>> {
        self.loaded.borrow().clone()
    }

    /// Reads the configuration and puts it into force; false if it is refused, and then the log says why.
    pub fn read_configuration(&self) -> bool {
        let configured = match host::plugin_configuration() {
            Ok(configuration) => self.configure(&configuration),
            Err(HostError::NotFound) => self.configure(b""),
            Err(error) => {
                host::log(Level::Error, &format!("the configuration cannot be read: {}", error.name()));
                return false;
            }
        };
        for problem in configured.as_ref().err().into_iter().flatten() {
            host::log(Level::Error, &problem.to_string());
        }
        configured.is_ok()
    }

    /// The tick has come.
    pub fn tick(&self) {
        self.tick_keys();
    }

    /// Puts a configuration into force, if it is whole.
    ///
    /// # Errors
    /// What is wrong with it; what was in force stays so.
    fn configure(&self, configuration: &[u8]) -> Result<(), Vec<Problem>> {
        let policy = Policy::compile(configuration)?.with_verifier(Box::new(HostVerifier::probe()));
        let host_override = snapshot::host_override_path(&policy);
        self.loaded.replace(Some(Rc::new(Loaded { policy: Rc::new(policy), host_override })));
        self.metrics.configured();
        self.start_keys();
        Ok(())
    }
}
