//! What a root context and its streams share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sidegate_engine::crypto::{Algorithm, Verifier as _};
use sidegate_engine::east_west::Chain;
use sidegate_engine::{Policy, Problem, Timestamp};

use crate::calls::Calls;
use crate::host::{self, HostError, Level};
use crate::metrics::Metrics;
use crate::quiet::Quiet;
#[cfg(feature = "wristband")]
use crate::sign::HostSigner;
use crate::snapshot;
#[cfg(feature = "explain")]
use crate::standing;
use crate::verify::HostVerifier;
use crate::workload;

/// The `root_id` of a plugin that is for connections.
const TCP: &[u8] = b"sidegate_tcp";

/// Shortest and longest time to the next tick.
const TICKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(60));

/// So many problems that do not keep a configuration from being in force have a line each; every worker writes them.
const WARNINGS: usize = 20;

/// How long Envoy may not know yet what was counted.
const TELL: Duration = Duration::from_secs(1);

/// What a root context and its streams share.
#[derive(Default)]
pub struct Plugin {
    /// The root context's id.
    pub id: u32,
    /// Counters and gauges.
    pub metrics: Metrics,
    /// Calls under way, and who waits for them.
    pub calls: Calls,
    /// Lines of the log that every request may cause.
    pub quiet: Quiet,
    loaded: RefCell<Option<Rc<Loaded>>>,
    follow_ups: Cell<u32>,
    tick: Cell<Tick>,
    tell: Cell<Option<Timestamp>>,
    ended: Cell<bool>,
    said_so: Cell<bool>,
}

/// When the next tick comes.
#[derive(Debug, Clone, Copy, Default)]
struct Tick {
    /// As Envoy was told; zero: never.
    period: Duration,
    /// Not later than this.
    by: Timestamp,
}

/// A policy in force.
#[derive(Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: Rc<Policy>,
    /// Paths of the properties that the configuration names.
    pub paths: snapshot::Paths,
}

impl Plugin {
    /// Without a policy, which denies everything.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { id, ..Self::default() }
    }

    /// The policy in force. Streams keep the one that they began with.
    pub fn loaded(&self) -> Option<Rc<Loaded>> {
        self.loaded.borrow().clone()
    }

    /// What it is for.
    pub fn chain(&self) -> Chain {
        self.loaded.borrow().as_ref().map_or(Chain::Http, |loaded| loaded.policy.chain())
    }

    /// Whether to write a line that many requests may cause: once between two ticks.
    pub fn says_so_now(&self) -> bool {
        !self.said_so.replace(true)
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

    /// A number for what follows a request.
    pub fn next_follow_up(&self) -> u32 {
        self.follow_ups.replace(self.follow_ups.get().wrapping_add(1))
    }

    /// The tick has come: tells what was counted, and looks after all documents and all that wait.
    pub fn tick(&self) {
        host::look_at_log_level();
        self.tell.take();
        self.said_so.take();
        self.metrics.tell();
        let Ok(now) = host::now() else { return };
        self.refresh_documents(now);
        self.expire_calls(now);
        self.schedule(now);
    }

    /// Has Envoy told what was counted, at a tick before long.
    pub fn tell_soon(&self) {
        if self.ended.get() {
            self.metrics.tell();
        } else if self.tell.get().is_none()
            && self.metrics.has_news()
            && let Ok(now) = host::now()
        {
            let at = now.after(TELL);
            self.tell.set(Some(at));
            self.tick_by(at, now);
        }
    }

    /// It ends: nobody is waited for any more, no tick comes, and what was counted is told.
    pub fn end(&self) {
        self.ended.set(true);
        self.calls.clear();
        self.metrics.tell();
    }

    /// Has the next tick come when there is something to do.
    pub fn schedule(&self, now: Timestamp) {
        match self.next_due().into_iter().chain(self.calls.next_deadline()).chain(self.tell.get()).min() {
            Some(at) => self.tick_at(at, now),
            None => self.set_tick(Tick::default()),
        }
    }

    /// Has the next tick come not later than at this time.
    pub fn tick_by(&self, at: Timestamp, now: Timestamp) {
        let Tick { period, by } = self.tick.get();
        if period.is_zero() || by <= now || at < by {
            self.tick_at(at, now);
        }
    }

    fn tick_at(&self, at: Timestamp, now: Timestamp) {
        let period = at.since(now).clamp(TICKS.0, TICKS.1);
        self.set_tick(Tick { period, by: now.after(period) });
    }

    fn set_tick(&self, tick: Tick) {
        if self.tick.replace(tick).period != tick.period
            && let Err(error) = host::set_tick_period(tick.period)
        {
            host::log(Level::Error, &format!("what is due will not be done in time: {}", error.name()));
        }
    }

    /// Puts a configuration into force, if it is whole.
    ///
    /// # Errors
    /// What is wrong with it; what was in force stays so.
    fn configure(&self, configuration: &[u8]) -> Result<(), Vec<Problem>> {
        host::look_at_log_level();
        let verifier = HostVerifier::probe();
        let chain = if host::property(b"plugin_root_id").as_deref() == Ok(TCP) { Chain::Tcp } else { Chain::Http };
        let policy = Policy::compile_for(chain, configuration)?;
        let policy = match policy.wants_workload() {
            true => policy.with_workload(&workload::known().map_err(|problem| vec![problem])?)?,
            false => policy,
        };
        #[cfg(feature = "wristband")]
        let policy = policy.with_signer(Box::new(HostSigner::new(verifier.clone())));
        warn_of_unchecked(&policy, &verifier);
        let policy = policy.with_verifier(Box::new(verifier));
        if let Some(mesh) = policy.mesh() {
            warn(mesh.left_out().iter().chain(mesh.notes()));
            // What records of decisions refer to.
            host::log(Level::Info, &format!("configuration {} is in force", policy.revision()));
            #[cfg(feature = "explain")]
            policy.workload().inspect(|workload| standing::tell(workload, chain));
        }
        let paths = snapshot::Paths::new(&policy);
        self.loaded.replace(Some(Rc::new(Loaded { policy: Rc::new(policy), paths })));
        self.metrics.configured();
        self.quiet.forget();
        self.start_documents();
        Ok(())
    }
}

/// Tells which signatures nobody can check here.
fn warn_of_unchecked(policy: &Policy, verifier: &HostVerifier) {
    let unchecked = [Algorithm::Es384, Algorithm::Es512].into_iter().filter(|algorithm| !verifier.checks(*algorithm));
    let unchecked: Vec<_> = unchecked.map(Algorithm::name).collect();
    if !unchecked.is_empty() && policy.remote_documents().has_key_sets() {
        let names = unchecked.join(" and ");
        let text = format!(
            "tokens signed by {names} get 503: this build of Sidegate leaves them to Envoy, which was not seen to check them; \
             allow `proxy_call_foreign_function`, or use `sidegate.wasm`"
        );
        host::log(Level::Warn, &text);
    }
}

/// Tells what is not in force of a configuration that is.
fn warn<'p>(problems: impl Iterator<Item = &'p Problem>) {
    let mut problems = problems.peekable();
    problems.by_ref().take(WARNINGS).for_each(|problem| host::log(Level::Warn, &problem.to_string()));
    if problems.peek().is_some() {
        let rest = problems.count();
        host::log(Level::Warn, &format!("and {rest} more; `sidegate validate` tells them all"));
    }
}
