//! From one of Istio's documents to a policy.

use std::rc::Rc;

use sidegate_config::istio::{
    Action, AuthorizationPolicy, ROOT_NAMESPACE, Spec, TargetReference, WORD, WorkloadSelector,
};
use sidegate_config::{
    EnforcementLevel, IstioCustom, IstioMode, LabelOperator, LabelSelector, LabelSelectorRequirement,
};

use super::is_http;
use super::rule::RuleReader;
use crate::east_west::document::Reader;
use crate::east_west::object::{Effect, Object, Place, Rule, Target};

/// The label by which pods of a gateway say of which.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// The annotation of policies that are tried out.
const DRY_RUN: &str = "istio.io/dry-run";

impl Reader {
    /// Reads Istio's `AuthorizationPolicy`.
    pub fn istio_authorization_policy(&mut self, document: &AuthorizationPolicy) {
        let AuthorizationPolicy { api_version: _, kind: _, metadata, spec } = document;
        let Spec { selector: _, target_ref: _, target_refs: _, action, provider, rules } = spec;
        let (namespace, name): (Rc<str>, Rc<str>) = (metadata.namespace.as_str().into(), metadata.name.as_str().into());
        self.begin(format!("{WORD} {namespace}/{name}"));
        let target = self.istio_target(spec, &namespace);
        let audit = self.is_dry_run(metadata.annotations.get(DRY_RUN));
        if provider.is_some() && *action != Action::Custom {
            self.note("spec.provider", "goes with `action: CUSTOM` alone, and is not looked at");
        }
        if rules.is_empty() && *action != Action::Allow {
            self.note("spec.rules", "there are none, so it fits nobody: `{}` is a rule that fits everybody");
        }
        let (place, effect) = match action {
            Action::Allow => (Place::Allow(EnforcementLevel::Application), Effect::Allow),
            Action::Deny | Action::Custom => (Place::Deny, Effect::Deny),
            Action::Audit => (Place::Audit, Effect::Audit),
        };
        let mut read = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let mut alias = format!("ns[{namespace}]-policy[{name}]-rule[{index}]");
            if *action == Action::Custom {
                let provider = provider.as_ref().map_or("", |provider| &provider.name);
                alias = format!("istio-ext-authz-{provider}-{alias}-deny-due-to-bad-CUSTOM-action");
            }
            read.push(self.istio_rule(index, rule, effect, &namespace, alias.into()));
        }
        let Some(target) = target else { return };
        if *action == Action::Custom && !self.takes_custom() {
            return;
        }
        self.keep(Object { kind: WORD, namespace, name, place, target, audit, rules: read, istio: true });
    }

    /// Whether `CUSTOM` keeps out whom its rules fit.
    fn takes_custom(&mut self) -> bool {
        let deny = self.options.istio.custom == IstioCustom::Deny;
        let message = if deny {
            "nobody asks its provider here, so whom its rules fit is kept out; see `options.eastWest.istio.custom`"
        } else {
            "is not carried over: as `options.eastWest.istio.custom` says, another filter asks its provider"
        };
        self.note("spec.action", message);
        deny
    }

    /// Whom it is about; none if that is nobody here.
    fn istio_target(&mut self, spec: &Spec, namespace: &Rc<str>) -> Option<Target> {
        let Spec { selector, target_ref, target_refs, .. } = spec;
        let references = if target_refs.is_empty() { target_ref.as_slice() } else { target_refs.as_slice() };
        let given = [selector.is_some(), target_ref.is_some(), !target_refs.is_empty()];
        if given.iter().filter(|given| **given).count() > 1 {
            self.refuse_for_good("spec", "has more than one of `selector`, `targetRef` and `targetRefs`: keep one");
        }
        if !references.is_empty() {
            let field = if target_refs.is_empty() { "spec.targetRef" } else { "spec.targetRefs" };
            return self.gateways(field, references, namespace);
        }
        let labels =
            selector.as_ref().map(|WorkloadSelector { match_labels }| match_labels.clone()).unwrap_or_default();
        for (key, value) in &labels {
            if key.is_empty() || key.contains('*') || value.contains('*') {
                let message = "labels are compared as they are: there is no `*`, and no empty key";
                self.refuse_for_good("spec.selector.matchLabels", message);
            }
        }
        let root = self.options.istio.root_namespace.as_deref().unwrap_or(ROOT_NAMESPACE);
        Some(Target {
            namespace: (**namespace != *root).then(|| Rc::clone(namespace)),
            namespaces: LabelSelector::default(),
            pods: LabelSelector { match_labels: labels, match_expressions: Vec::new() },
        })
    }

    /// The pods of gateways of the policy's namespace.
    fn gateways(&mut self, field: &str, references: &[TargetReference], namespace: &Rc<str>) -> Option<Target> {
        let mut names = Vec::new();
        for (index, TargetReference { group, kind, name, namespace: of }) in references.iter().enumerate() {
            let field = if field.ends_with('s') { format!("{field}[{index}]") } else { field.to_owned() };
            if group != GATEWAY_GROUP || kind != "Gateway" {
                let message = format!(
                    "is not carried over: `{kind}` is attached to at a waypoint, which knows the service that is called; a \
                     sidecar passes over such a policy"
                );
                self.note(field, message);
            } else if !of.is_empty() && **of != **namespace {
                self.note(field, "is not carried over: a policy is attached to gateways of its own namespace");
            } else {
                names.push(name.clone());
            }
        }
        let requirement =
            LabelSelectorRequirement { key: GATEWAY_NAME.to_owned(), operator: LabelOperator::In, values: names };
        (!requirement.values.is_empty()).then(|| Target {
            namespace: Some(Rc::clone(namespace)),
            namespaces: LabelSelector::default(),
            pods: LabelSelector { match_expressions: vec![requirement], ..LabelSelector::default() },
        })
    }

    /// As Go reads truth; what is none is not tried out but holds.
    fn is_dry_run(&mut self, annotation: Option<&String>) -> bool {
        match annotation.map(String::as_str) {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some(other) => {
                let message = format!("`{other}` is neither true nor false, so the policy is enforced");
                self.note(format!("metadata.annotations.{DRY_RUN}"), message);
                false
            }
        }
    }

    fn istio_rule(
        &mut self,
        index: usize,
        rule: &sidegate_config::istio::Rule,
        effect: Effect,
        namespace: &Rc<str>,
        alias: Rc<str>,
    ) -> Rule {
        let path = format!("spec.rules[{index}]");
        let compat = self.options.istio.mode == IstioMode::Compat;
        let one_token = self.options.jwt_payload_keys.as_ref().is_none_or(|keys| keys.len() == 1);
        let mut reader = RuleReader::new(&path, namespace, effect, compat)
            .with_tokens(one_token)
            .with_paths_in_any_case(self.options.case_insensitive_paths.unwrap_or(false));
        let groups = reader.groups(rule);
        let RuleReader { problems, notes, .. } = reader;
        let invalid = !problems.is_empty();
        for (path, message) in problems {
            self.problem(path, message);
        }
        for (path, message) in notes {
            self.note(path, message);
        }
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let rule = Rule { name: None, index, effect, alias: Some(alias), invalid, groups };
        let terms = rule.groups.iter().flatten().flatten();
        if effect == Effect::Deny && is_http(&rule) && terms.clone().all(|term| term.dimension.is_http()) {
            self.note(path, "looks at HTTP alone, so of connections that are none it keeps out all; name its ports");
        }
        rule
    }
}
