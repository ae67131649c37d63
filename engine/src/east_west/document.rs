//! From documents to policies.

use std::rc::Rc;

use sidegate_config::{
    AuthorizationPolicy, AuthorizationPolicySpec, ClusterAction, ClusterAuthorizationPolicy,
    ClusterAuthorizationPolicySpec, ClusterPolicyRule, EastWestOptions, EnforcementLevel, LabelSelector, PolicyAction,
    PolicyMode, PolicyRule, PolicySubject, PolicyTarget, Problem, SourceType,
};

use super::object::{Effect, Object, Place, Rule, Target};
use super::rule::RuleReader;
use crate::resources::wrong_requirements;

/// Longest name of a rule.
const MAX_RULE_NAME: usize = 100;

/// Highest priority.
const MAX_PRIORITY: i64 = 1000;

/// Reads documents. Those that are not valid are refused or left out, as the options say.
#[derive(Debug)]
pub struct Reader {
    /// The options.
    pub options: EastWestOptions,
    /// The policies so far.
    pub objects: Vec<Object>,
    /// What is wrong with those that were left out, and with rules that let nobody in.
    pub left_out: Vec<Problem>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is not carried over of policies of another kind, or not as it is there.
    pub notes: Vec<Problem>,
    document: String,
    /// The policy at hand is not valid.
    refused: bool,
}

impl Reader {
    /// Nothing read yet.
    #[must_use]
    pub fn new(options: EastWestOptions, left_out: Vec<Problem>) -> Self {
        let (objects, problems, notes, document) = (Vec::new(), Vec::new(), Vec::new(), String::new());
        Self { options, objects, left_out, problems, notes, document, refused: false }
    }

    fn of_document(&self, path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { document: self.document.clone(), path: path.into(), message: message.into() }
    }

    /// Says what is not carried over, or not as it is written.
    pub fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.notes.push(self.of_document(path, message));
    }

    /// Says what is wrong.
    pub fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let problem = self.of_document(path, message);
        if self.options.lenient { self.left_out.push(problem) } else { self.problems.push(problem) }
    }

    /// Says what is wrong with the policy at hand, which is then no policy.
    fn refuse(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.refused = true;
        self.problem(path, message);
    }

    /// As [`Reader::refuse`], whatever the options say of policies that are not valid.
    pub fn refuse_for_good(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.refused = true;
        self.problems.push(self.of_document(path, message));
    }

    /// Goes on with the next policy.
    pub fn begin(&mut self, document: String) {
        self.document = document;
        self.refused = false;
    }

    /// Keeps the policy at hand if it is valid.
    pub fn keep(&mut self, object: Object) {
        if !self.refused {
            self.objects.push(object);
        }
    }

    /// Reads an `AuthorizationPolicy`.
    pub fn authorization_policy(&mut self, document: &AuthorizationPolicy) {
        let AuthorizationPolicy { api_version: _, kind: _, metadata, spec } = document;
        let AuthorizationPolicySpec { target_refs, action, enforcement_level, mode, rules } = spec;
        let (namespace, name): (Rc<str>, Rc<str>) = (metadata.namespace.as_str().into(), metadata.name.as_str().into());
        self.begin(format!("AuthorizationPolicy {namespace}/{name}"));
        let pods = self.target(target_refs);
        if self.options.gep_only {
            self.gep_only(spec);
        }
        let (place, effect) = match action {
            PolicyAction::Allow => (Place::Allow(*enforcement_level), Effect::Allow),
            PolicyAction::Deny => (Place::Deny, Effect::Deny),
            PolicyAction::Audit => (Place::Audit, Effect::Audit),
        };
        let mut read = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            read.push(self.rule(index, rule, effect, Some(&namespace), *enforcement_level));
        }
        self.keep(Object {
            kind: "AuthorizationPolicy",
            target: Target { namespace: Some(Rc::clone(&namespace)), namespaces: LabelSelector::default(), pods },
            namespace,
            name,
            place,
            audit: *mode == PolicyMode::Audit,
            rules: read,
            istio: false,
        });
    }

    /// Reads a `ClusterAuthorizationPolicy`.
    pub fn cluster_authorization_policy(&mut self, document: &ClusterAuthorizationPolicy) {
        let ClusterAuthorizationPolicy { api_version: _, kind: _, metadata, spec } = document;
        let ClusterAuthorizationPolicySpec { tier, priority, subject, mode, rules } = spec;
        let PolicySubject { namespace_selector, pod_selector } = subject;
        self.begin(format!("ClusterAuthorizationPolicy {}", metadata.name));
        if !(0..=MAX_PRIORITY).contains(priority) {
            self.refuse("spec.priority", format!("must be from 0 to {MAX_PRIORITY}"));
        }
        self.selector("spec.subject.namespaceSelector", namespace_selector);
        self.selector("spec.subject.podSelector", pod_selector);
        let mut read = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let ClusterPolicyRule { name, action, sources, network_attributes, application_attributes } = rule.clone();
            let effect = match action {
                ClusterAction::Allow => Effect::Allow,
                ClusterAction::Deny => Effect::Deny,
                ClusterAction::Pass => Effect::Pass,
            };
            let rule = PolicyRule { name, sources, network_attributes, application_attributes };
            read.push(self.rule(index, &rule, effect, None, EnforcementLevel::Application));
        }
        self.keep(Object {
            kind: "ClusterAuthorizationPolicy",
            namespace: "".into(),
            name: metadata.name.as_str().into(),
            place: Place::Tier(*tier, *priority),
            target: Target { namespace: None, namespaces: namespace_selector.clone(), pods: pod_selector.clone() },
            audit: *mode == PolicyMode::Audit,
            rules: read,
            istio: false,
        });
    }

    /// The one selector of pods.
    fn target(&mut self, targets: &[PolicyTarget]) -> LabelSelector {
        let [target] = targets else {
            self.refuse("spec.targetRefs", "there must be exactly one");
            return LabelSelector::default();
        };
        let PolicyTarget { group, kind, name, selector } = target;
        let path = "spec.targetRefs[0]";
        if !matches!(group.as_str(), "" | "core") || kind != "Pod" {
            self.refuse(path, format!("`{group}/{kind}` cannot be targeted here: `Pod` with a `selector` can"));
        }
        if !name.is_empty() {
            self.refuse(format!("{path}.name"), "pods are targeted by `selector`, not by name");
        }
        let Some(selector) = selector else {
            self.refuse(format!("{path}.selector"), "is required but missing; `{}` is all of the namespace");
            return LabelSelector::default();
        };
        self.selector(&format!("{path}.selector"), selector);
        selector.clone()
    }

    fn selector(&mut self, path: &str, selector: &LabelSelector) {
        for (index, field, message) in wrong_requirements(selector) {
            self.refuse(format!("{path}.matchExpressions[{index}].{field}"), message);
        }
    }

    /// Refuses what GEP-3779 does not have.
    fn gep_only(&mut self, spec: &AuthorizationPolicySpec) {
        const NOT: &str = "is not in GEP-3779, to which `options.eastWest.gepOnly` keeps";
        if spec.action != PolicyAction::Allow {
            self.refuse("spec.action", format!("another action than `ALLOW` {NOT}"));
        }
        if spec.enforcement_level != EnforcementLevel::Network {
            self.refuse("spec.enforcementLevel", format!("another level than `Network` {NOT}"));
        }
        if spec.mode != PolicyMode::Enforce {
            self.refuse("spec.mode", NOT);
        }
        for (index, rule) in spec.rules.iter().enumerate() {
            let path = format!("spec.rules[{index}]");
            if rule.name.is_some() {
                self.refuse(format!("{path}.name"), NOT);
            }
            if rule.application_attributes.is_some() {
                self.refuse(format!("{path}.applicationAttributes"), NOT);
            }
            for (index, source) in rule.sources.iter().flatten().enumerate() {
                let pattern = source.spiffe.as_ref().is_some_and(|spiffe| spiffe.ends_with('*'));
                let known = match source.kind {
                    SourceType::ServiceAccount => true,
                    SourceType::Spiffe => !pattern,
                    _ => false,
                };
                if !known {
                    self.refuse(format!("{path}.sources[{index}]"), NOT);
                }
            }
        }
    }

    fn rule(
        &mut self,
        index: usize,
        rule: &PolicyRule,
        effect: Effect,
        namespace: Option<&Rc<str>>,
        level: EnforcementLevel,
    ) -> Rule {
        let path = format!("spec.rules[{index}]");
        if rule.name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > MAX_RULE_NAME) {
            self.refuse(format!("{path}.name"), format!("must have from 1 to {MAX_RULE_NAME} characters"));
        }
        let application = |kind| kind == SourceType::Jwt;
        if level == EnforcementLevel::Network {
            let mut sources =
                rule.sources.iter().flatten().flat_map(|it| std::iter::once(it).chain(it.all_of.iter().flatten()));
            if rule.application_attributes.is_some() {
                self.refuse(format!("{path}.applicationAttributes"), "goes with `enforcementLevel: Application` alone");
            }
            if sources.any(|source| application(source.kind)) {
                self.refuse(format!("{path}.sources"), "`JWT` goes with `enforcementLevel: Application` alone");
            }
        }
        let mut reader = RuleReader::new(&path, namespace, self.options.case_insensitive_paths.unwrap_or(false));
        let groups = reader.groups(rule);
        let problems = reader.problems;
        let invalid = !problems.is_empty();
        for (path, message) in problems {
            self.problem(path, message);
        }
        Rule {
            name: rule.name.as_deref().map(Into::into),
            index: u32::try_from(index).unwrap_or(u32::MAX),
            effect,
            alias: None,
            invalid,
            groups,
        }
    }
}
