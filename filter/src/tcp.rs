//! One connection: no byte of it passes before it is known who calls and that it may.

use std::cell::Cell;
use std::rc::Rc;

use sidegate_engine::east_west::Ruling;

use crate::host::{self, HostError, Level};
use crate::http::Action;
use crate::plugin::Plugin;
use crate::rulings;
use crate::snapshot;

/// One connection.
pub struct Connection {
    plugin: Rc<Plugin>,
    phase: Cell<Phase>,
}

/// How far a connection is. It keeps what was decided, also under a newer configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody has sent anything.
    New,
    /// It is let in.
    Allowed,
    /// It is closed, or about to be.
    Closed,
}

// INVARIANT: a `Continue` hands over what has come, so both callbacks end in `action`.
impl Connection {
    /// A connection on which nothing was sent.
    #[must_use]
    pub fn new(plugin: &Rc<Plugin>) -> Self {
        Self { plugin: Rc::clone(plugin), phase: Cell::new(Phase::New) }
    }

    /// Who has opened it has sent something, so the handshake is over.
    pub fn downstream_data(&self) -> Action {
        if self.phase.get() == Phase::New {
            self.decide();
        }
        self.action()
    }

    /// Who was called has sent something, which it may do before the handshake is over. Envoy cannot be told later to go on
    /// with it, so it is decided now.
    pub fn upstream_data(&self) -> Action {
        if self.phase.get() == Phase::New {
            match self.is_unidentified() {
                Ok(false) => self.decide(),
                Ok(true) => self.close_unidentified(),
                Err(error) => self.fail(&format!("the connection cannot be read: {}", error.name())),
            }
        }
        self.action()
    }

    /// The one place that says whether anything may pass.
    fn action(&self) -> Action {
        if self.phase.get() == Phase::Allowed { Action::Continue } else { Action::Pause }
    }

    fn decide(&self) {
        let Some(loaded) = self.plugin.loaded() else {
            return self.fail("no policies over connections are in force; is the plugin's `root_id` `sidegate_tcp`?");
        };
        match snapshot::of_connection(&loaded.policy, &loaded.paths) {
            Ok(attributes) => self.conclude(&loaded.policy.rule_connection(&attributes)),
            Err(error) => self.fail(&format!("the connection cannot be read: {}", error.name())),
        }
    }

    fn conclude(&self, ruling: &Ruling) {
        rulings::of_connection(&self.plugin, ruling);
        if ruling.allowed { self.phase.set(Phase::Allowed) } else { self.close() }
    }

    /// Whether it cannot be known yet who calls.
    fn is_unidentified(&self) -> Result<bool, HostError> {
        let loaded = self.plugin.loaded();
        let workload = loaded.as_ref().and_then(|loaded| loaded.policy.workload());
        if workload.is_some_and(|workload| !workload.waits_for_handshake()) {
            return Ok(false);
        }
        snapshot::is_unidentified()
    }

    fn close_unidentified(&self) {
        rulings::unidentified(&self.plugin);
        self.close();
    }

    /// Closes since something of ours or of Envoy's did not work.
    fn fail(&self, why: &str) {
        rulings::failure(&self.plugin, why);
        self.close();
    }

    fn close(&self) {
        self.phase.set(Phase::Closed);
        if let Err(error) = host::close_connection() {
            host::log(
                Level::Error,
                &format!("a connection that is not let in stays open, without a byte: {}", error.name()),
            );
        }
    }
}
