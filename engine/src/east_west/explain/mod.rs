//! What is in force for a workload, and why a caller is let in or kept out: for people, by the same code that decides.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use sidegate_config::Problem;

mod access;
mod candidates;
mod ports;
mod samples;
mod text;
mod trace;

use super::object::{Place, Workload};
use super::{Chain, Facts, Mesh, WorkloadPolicy};
pub use access::{AccessChange, access_change};
pub use candidates::{Candidates, labels_not_known};
use ports::PortView;
use trace::Look;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// For which workload.
    pub workload: Workload,
    /// About requests or connections.
    pub chain: Chain,
    /// One port; none: all that policies name, and the others together.
    pub port: Option<u16>,
    /// What would come of this call.
    pub call: Option<Facts<'a>>,
}

/// What is in force for a workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    workload: Named,
    /// Policies that are about it, in the order in which they decide.
    selected: Vec<Selected>,
    /// Cluster-wide policies and policies of its namespace that are not.
    not_selected: Vec<Selected>,
    ports: Vec<PortView>,
    /// Every rule that is looked at, in order, until one decides.
    trace: Vec<Look>,
    decision: Option<Value>,
}

/// A workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    namespace: String,
    labels: std::collections::BTreeMap<String, String>,
    trust_domain: String,
}

/// A policy, and why it is about a workload or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Selected {
    tier: String,
    policy: String,
    effect: String,
    mode: &'static str,
    why: String,
}

/// Says what is in force for a workload.
///
/// # Errors
/// The policies that are about it ask for what is not to be had there.
pub fn explain(mesh: &Mesh, question: &Question<'_>) -> Result<Explanation, Vec<Problem>> {
    let policy = mesh.select(question.workload.clone(), question.chain)?;
    let Workload { namespace, labels, trust_domain, .. } = question.workload.clone();
    let in_sight = |object: &&super::Object| {
        matches!(object.place, Place::Tier(..)) || object.namespace.as_ref() == question.workload.namespace
    };
    let not_selected = mesh.objects().filter(in_sight).filter_map(|object| {
        let why = object.target.selects(&question.workload).err()?;
        Some(Selected { why: why.to_owned(), ..text::selected(object) })
    });
    let mut not_selected: Vec<_> = not_selected.collect();
    not_selected.sort();
    Ok(Explanation {
        workload: Named { namespace, labels, trust_domain },
        selected: policy.objects().map(text::selected).collect(),
        not_selected,
        ports: ports::views(&policy, question.port, question.chain),
        trace: question.call.as_ref().map(|call| trace::trace(&policy, call)).unwrap_or_default(),
        decision: question.call.as_ref().map(|call| decision(&policy, call)),
    })
}

fn decision(policy: &WorkloadPolicy, call: &Facts<'_>) -> Value {
    policy.decide(call).to_json()
}

impl Explanation {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The rules that were looked at for the call, as `object#rule: fit` each; for tests.
    pub fn looked_at(&self) -> impl Iterator<Item = String> {
        self.trace.iter().map(ToString::to_string)
    }

    /// What does not depend on a call; each line stands for itself.
    fn standing(&self) -> String {
        in_lines(&self.selected, &self.ports)
    }
}

/// What is in force for a workload, whoever calls: which policies are about it and why, and who may call which port. Each line stands
/// for itself. One port, or all that policies name and the others together.
#[must_use]
pub fn standing(policy: &WorkloadPolicy, port: Option<u16>, chain: Chain) -> String {
    let selected: Vec<Selected> = policy.objects().map(text::selected).collect();
    in_lines(&selected, &ports::views(policy, port, chain))
}

fn in_lines(selected: &[Selected], ports: &[PortView]) -> String {
    let mut text = String::new();
    for Selected { tier, policy, effect, mode, why } in selected {
        text += &format!("policy {policy}: {tier}, {effect}, {mode}: {why}\n");
    }
    for view in ports {
        text += &view.to_string();
    }
    text
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, labels, trust_domain } = self;
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        write!(f, "workload in namespace {namespace} {{{}}} of {trust_domain}", labels.join(", "))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, not_selected, trace, decision, .. } = self;
        writeln!(f, "{workload}")?;
        f.write_str(&self.standing())?;
        for Selected { policy, why, .. } in not_selected {
            writeln!(f, "not selected {policy}: {why}")?;
        }
        for look in trace {
            writeln!(f, "look {look}")?;
        }
        if let Some(decision) = decision {
            let text = |field: &str| decision.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            writeln!(f, "decision {} by {} ({})", text("decision"), text("decider"), text("tier"))?;
        }
        Ok(())
    }
}
