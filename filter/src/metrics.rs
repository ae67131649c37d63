//! Counters, gauges and histograms.
//!
//! A request only counts; Envoy is told of the sums at a tick, since each telling crosses the VM's border. Names come from
//! the configuration alone, so that no client can make new ones.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sidegate_engine::east_west::{Chain, Reason, Ruling};
use sidegate_engine::remote::Kind;
use sidegate_engine::trace::{Outcome, Stage};
use sidegate_engine::{Decision, Overrun, Published, Served, StepRecord, Verdict, WellKnownDocument};

use crate::host::{self, HostError, Metric, MetricKind};
use crate::rulings::UNIDENTIFIED;

/// What stays as it is within a label; a dot would start the next one.
const LABEL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// What is counted, each made known to Envoy when it is first needed.
#[derive(Debug, Default)]
pub struct Metrics {
    untold: Untold,
    single: RefCell<BTreeMap<&'static str, Rc<Counter>>>,
    auth_configs: RefCell<HashMap<Rc<str>, AuthConfigMetrics>>,
    served: RefCell<HashMap<Rc<Published>, Rc<Counter>>>,
    rulings: RefCell<HashMap<Ruled, Rc<Counter>>>,
}

/// Protocol, tier, policy and decision.
type Ruled = (&'static str, &'static str, Name, &'static str);

/// The name of a policy, or a word in its stead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Policy(Rc<str>),
    Word(&'static str),
}

/// So many have counters of their own: Envoy never forgets a name, and configurations come and go.
const RULINGS: usize = 1000;

/// Counters of which Envoy does not know all; each once.
#[derive(Debug, Default)]
struct Untold(RefCell<Vec<Rc<Counter>>>);

#[derive(Debug)]
struct Counter {
    name: String,
    known: Cell<Option<Metric>>,
    untold: Cell<i64>,
}

/// Metrics of one AuthConfig.
#[derive(Debug, Default)]
struct AuthConfigMetrics {
    total: Option<Rc<Counter>>,
    waited: Option<Option<Metric>>,
    statuses: BTreeMap<&'static str, Rc<Counter>>,
    evaluators: HashMap<(&'static str, Rc<str>, &'static str), Rc<Counter>>,
}

impl Metrics {
    /// Whether Envoy is to be told of something.
    pub fn has_news(&self) -> bool {
        !self.untold.0.borrow().is_empty()
    }

    /// Tells Envoy all that was counted.
    pub fn tell(&self) {
        for counter in self.untold.0.take() {
            counter.tell();
        }
    }

    /// A configuration has come into force.
    pub fn configured(&self) {
        let gauge = host::define_metric(MetricKind::Gauge, "sidegate_config_loaded_timestamp_seconds");
        if let (Ok(gauge), Ok(now)) = (gauge, host::now()) {
            ignore(host::record_metric(gauge, now.secs()));
        }
    }

    /// A document was fetched, or not.
    pub fn fetched(&self, kind: Kind, ok: bool) {
        self.count(match (kind, ok) {
            (Kind::Keys, true) => "sidegate_document_fetch_total.document.keys.result.ok",
            (Kind::Keys, false) => "sidegate_document_fetch_total.document.keys.result.failed",
            (Kind::Uma, true) => "sidegate_document_fetch_total.document.uma.result.ok",
            (Kind::Uma, false) => "sidegate_document_fetch_total.document.uma.result.failed",
            (Kind::Rego, true) => "sidegate_document_fetch_total.document.rego.result.ok",
            (Kind::Rego, false) => "sidegate_document_fetch_total.document.rego.result.failed",
        });
    }

    /// A verdict after this much waiting for others.
    pub fn decided(&self, verdict: &Verdict, waited: Duration) {
        for step in verdict.steps.iter().filter(|step| step.outcome == Outcome::Failed) {
            self.failed(step.stage);
        }
        match verdict.overrun {
            Some(Overrun::Calls) => self.count("sidegate_failed_total.class.calls"),
            Some(Overrun::Answers) => self.count("sidegate_failed_total.class.answers"),
            None => {}
        }
        if let Decision::Serve(served) = &verdict.decision {
            return self.served(served);
        }
        let status = status(&verdict.decision);
        self.count(match status {
            "OK" => "auth_server_response_status.status.OK",
            "NOT_FOUND" => "auth_server_response_status.status.NOT_FOUND",
            "UNAUTHENTICATED" => "auth_server_response_status.status.UNAUTHENTICATED",
            "PERMISSION_DENIED" => "auth_server_response_status.status.PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED" => "auth_server_response_status.status.RESOURCE_EXHAUSTED",
            _ => "auth_server_response_status.status.UNAVAILABLE",
        });
        let skipped = |step: &StepRecord| step.stage == Stage::Selection && step.outcome == Outcome::Skipped;
        let Some(id) = verdict.auth_config.as_ref().filter(|_| !verdict.steps.iter().any(skipped)) else { return };
        let mut auth_configs = self.auth_configs.borrow_mut();
        let metrics = auth_configs.entry(Rc::clone(id)).or_default();
        metrics.decided(&self.untold, id, status, waited);
        metrics.ran(&self.untold, id, &verdict.steps);
    }

    /// What came of callbacks.
    pub fn followed_up(&self, id: &Rc<str>, steps: &[StepRecord]) {
        for step in steps.iter().filter(|step| matches!(step.outcome, Outcome::Denied | Outcome::Failed)) {
            self.failed(step.stage);
        }
        self.auth_configs.borrow_mut().entry(Rc::clone(id)).or_default().ran(&self.untold, id, steps);
    }

    /// Envoy did not do what was asked, or asked in vain: the request is denied.
    pub fn host_failed(&self) {
        self.count("sidegate_failed_total.class.host");
        self.count("auth_server_response_status.status.UNAVAILABLE");
    }

    /// The same of a connection: it is closed.
    pub fn connection_failed(&self) {
        self.count("sidegate_failed_total.class.host");
    }

    /// Policies over identity have ruled.
    pub fn ruled(&self, chain: Chain, ruling: &Ruling) {
        let policy = match &ruling.reason {
            Reason::Rule(decider) => Name::Policy(Rc::clone(&decider.policy)),
            Reason::Implicit { .. } => Name::Word("implicit"),
            Reason::IdentityInvalid(_) => Name::Word("identity-invalid"),
            Reason::Default => Name::Word("default"),
            Reason::NoWorkload => Name::Word("no-workload"),
        };
        self.ruled_by(chain, ruling.reason.tier(), policy, ruling.allowed);
        let Some(shadow) = &ruling.shadow else { return };
        self.count(match shadow.allowed {
            true => "sidegate_east_west_shadow_allowed",
            false => "sidegate_east_west_shadow_denied",
        });
        if ruling.differs() {
            self.count("sidegate_east_west_shadow_diff");
        }
    }

    /// A connection is closed since it was not known yet who calls.
    pub fn unidentified(&self) {
        self.ruled_by(Chain::Tcp, "Integrity", Name::Word(UNIDENTIFIED), false);
    }

    fn ruled_by(&self, chain: Chain, tier: &'static str, policy: Name, allowed: bool) {
        let protocol = if chain == Chain::Http { "http" } else { "tcp" };
        let decision = if allowed { "allow" } else { "deny" };
        let mut rulings = self.rulings.borrow_mut();
        let mut key = (protocol, tier, policy, decision);
        if rulings.len() >= RULINGS && !rulings.contains_key(&key) {
            key.2 = Name::Word("others");
        }
        let counter = rulings.entry(key).or_insert_with_key(|(protocol, tier, policy, decision)| {
            let policy = match policy {
                Name::Policy(name) => name,
                Name::Word(word) => *word,
            };
            let policy = utf8_percent_encode(policy, LABEL);
            Counter::new(format!(
                "sidegate_east_west_total.protocol.{protocol}.tier.{tier}.policy.{policy}.decision.{decision}"
            ))
        });
        self.untold.add(counter);
    }

    fn failed(&self, stage: Stage) {
        self.count(match stage {
            Stage::EastWest => "sidegate_failed_total.class.east_west",
            Stage::Selection => "sidegate_failed_total.class.selection",
            Stage::Authentication => "sidegate_failed_total.class.authentication",
            Stage::Metadata => "sidegate_failed_total.class.metadata",
            Stage::Callback => "sidegate_failed_total.class.callback",
            Stage::Authorization => "sidegate_failed_total.class.authorization",
            Stage::Response => "sidegate_failed_total.class.response",
        });
    }

    fn count(&self, name: &'static str) {
        self.untold.add(self.single.borrow_mut().entry(name).or_insert_with(|| Counter::new(name)));
    }

    /// One of our own documents was asked for.
    fn served(&self, served: &Served) {
        self.count(match served.code {
            200 => "oidc_server_response_status.status.200",
            405 => "oidc_server_response_status.status.405",
            _ => "oidc_server_response_status.status.404",
        });
        let Some(published) = &served.published else { return };
        self.untold.add(self.served.borrow_mut().entry(Rc::clone(published)).or_insert_with(|| {
            let Published { auth_config, wristband, document } = &**published;
            let wristband = utf8_percent_encode(wristband, LABEL);
            let path = match document {
                WellKnownDocument::Discovery => "openid-configuration",
                WellKnownDocument::KeySet => "certs",
            };
            Counter::new(format!("oidc_server_requests_total{}.wristband.{wristband}.path.{path}", labels(auth_config)))
        }));
    }
}

impl AuthConfigMetrics {
    fn decided(&mut self, untold: &Untold, id: &str, status: &'static str, waited: Duration) {
        if !waited.is_zero() {
            let name = || format!("auth_server_authconfig_duration_microseconds{}", labels(id));
            let histogram = || host::define_metric(MetricKind::Histogram, &name()).ok();
            if let Some(histogram) = *self.waited.get_or_insert_with(histogram) {
                ignore(host::record_metric(histogram, u64::try_from(waited.as_micros()).unwrap_or(u64::MAX)));
            }
        }
        let total = || Counter::new(format!("auth_server_authconfig_total{}", labels(id)));
        untold.add(self.total.get_or_insert_with(total));
        untold.add(self.statuses.entry(status).or_insert_with(|| {
            Counter::new(format!("auth_server_authconfig_response_status{}.status.{status}", labels(id)))
        }));
    }

    fn ran(&mut self, untold: &Untold, id: &str, steps: &[StepRecord]) {
        for step in steps.iter().filter(|step| step.metrics) {
            untold.add(self.evaluator("total", id, step));
            match step.outcome {
                Outcome::Ok => {}
                Outcome::Skipped => untold.add(self.evaluator("ignored", id, step)),
                Outcome::Cancelled => untold.add(self.evaluator("cancelled", id, step)),
                Outcome::Denied | Outcome::Failed => untold.add(self.evaluator("denied", id, step)),
            }
        }
    }

    fn evaluator(&mut self, what: &'static str, id: &str, step: &StepRecord) -> &Rc<Counter> {
        let StepRecord { kind, name, .. } = step;
        self.evaluators.entry((what, Rc::clone(name), kind)).or_insert_with(|| {
            let name = utf8_percent_encode(name, LABEL);
            let labels = labels(id);
            Counter::new(format!("auth_server_evaluator_{what}{labels}.evaluator_type.{kind}.evaluator_name.{name}"))
        })
    }
}

impl Untold {
    fn add(&self, counter: &Rc<Counter>) {
        let untold = counter.untold.get();
        if untold == 0 {
            self.0.borrow_mut().push(Rc::clone(counter));
        }
        counter.untold.set(untold.saturating_add(1));
    }
}

impl Counter {
    fn new(name: impl Into<String>) -> Rc<Self> {
        Rc::new(Self { name: name.into(), known: Cell::default(), untold: Cell::default() })
    }

    fn tell(&self) {
        let metric = self.known.get().or_else(|| host::define_metric(MetricKind::Counter, &self.name).ok());
        self.known.set(metric);
        let count = self.untold.take();
        if let Some(metric) = metric {
            ignore(host::increment_metric(metric, count));
        }
    }
}

/// The name of a decision's outcome.
pub const fn status(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow(_) => "OK",
        Decision::Deny(reply) => reply.status.name(),
        Decision::Serve(_) => "SERVED",
    }
}

fn labels(id: &str) -> String {
    let (namespace, name) = id.split_once('/').unwrap_or(("", id));
    let [namespace, name] = [namespace, name].map(|part| utf8_percent_encode(part, LABEL));
    format!(".namespace.{namespace}.authconfig.{name}")
}

/// What is only to be looked at must not change what happens to a request.
const fn ignore(_: Result<(), HostError>) {}
