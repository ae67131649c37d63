//! Policies over identity: what the indexes find is what a look at every rule finds.

mod explain;
mod made;
mod plain;
mod scale;
mod tree;

use std::collections::BTreeMap;

use sidegate_config::{Document, Documents, Settings};
use sidegate_engine::Policy;
use sidegate_engine::east_west::{Reason, Workload, WorkloadPolicy};

use made::{Call, Dice};
use plain::{Said, World};
use tree::Tally;

/// The policies of a world, compiled.
fn compiled(world: &World) -> Policy {
    let policies = world.policies.iter().map(|policy| Document::AuthorizationPolicy(Box::new(policy.clone())));
    let cluster = world.cluster.iter().map(|policy| Document::ClusterAuthorizationPolicy(Box::new(policy.clone())));
    let Workload { namespace, labels, namespace_labels, trust_domain, service_account } = world.workload.clone();
    let mut settings = Settings::default();
    settings.options.east_west = Some(world.options.clone());
    settings.workload = Some(sidegate_config::Workload {
        namespace: Some(namespace.clone()),
        labels,
        service_account,
        trust_domain: Some(trust_domain),
    });
    let istio = world.istio.iter().map(|policy| Document::IstioAuthorizationPolicy(Box::new(policy.clone())));
    let resources =
        policies.chain(cluster).chain(istio).chain([made::namespace(&namespace, &namespace_labels)]).collect();
    let documents = Documents { resources, settings, ..Documents::default() };
    Policy::from_documents(documents).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// What comes of a call, by the policies that are about the workload, and by a look at every rule.
fn both(world: &World, policy: &WorkloadPolicy, call: &Call, tally: &mut Tally) -> Said {
    let facts = call.facts();
    let ruling = policy.decide(&facts);
    let said = |allowed: bool, reason: &Reason| format!("{} {reason}", if allowed { "ALLOW" } else { "DENY" });
    let got = Said { decision: said(ruling.allowed, &ruling.reason), audited: ruling.audited };
    let expected = plain::decide(world, &facts, false, tally);
    assert_eq!(got, expected, "{call:?}\n{}", made::shown(world));
    if let Some(shadow) = &ruling.shadow {
        let got = said(shadow.allowed, &shadow.reason);
        let expected = plain::decide(world, &facts, true, tally).decision;
        assert_eq!(got, expected, "in the shadow: {call:?}\n{}", made::shown(world));
    }
    expected
}

#[test]
fn many_policies_are_decided_in_their_order() {
    for seed in 0..6 {
        let mut dice = Dice::new(seed);
        let world = dice.world_of(400, 100);
        let policy = compiled(&world);
        for _ in 0..40 {
            both(&world, policy.workload().unwrap(), &dice.call(), &mut Tally::new());
        }
    }
}

/// How often each kind of decision came up, and each condition mattered.
type Told = (BTreeMap<String, u32>, Tally);

/// Fifty calls of each of a thousand worlds.
fn calls_of(world: impl Fn(&mut Dice) -> World) -> Told {
    let (mut kinds, mut tally) = Told::default();
    for seed in 0..1_000 {
        let mut dice = Dice::new(seed);
        let world = world(&mut dice);
        let policy = compiled(&world);
        let workload = policy.workload().unwrap().workload().clone();
        let selected = policy.mesh().unwrap().select(workload, world.chain).unwrap();
        for _ in 0..50 {
            let Said { decision, audited } = both(&world, &selected, &dice.call_of(world.chain), &mut tally);
            *kinds.entry(made::kind(&decision)).or_default() += 1;
            *kinds.entry("audited".to_owned()).or_default() += u32::from(audited);
        }
    }
    (kinds, tally)
}

/// What never comes up is not tested.
fn all_come_up((told, tally): &Told, kinds: &[&str], conditions: &[(&'static str, bool)]) {
    for kind in kinds {
        assert!(told.get(*kind).copied().unwrap_or(0) > 50, "{kind} hardly ever: {told:#?}");
    }
    for condition in conditions {
        let [fits, does_not, _] = tally.get(condition).copied().unwrap_or_default();
        assert!(fits.min(does_not) >= 10, "{condition:?} hardly ever: {fits} times it fits, {does_not} it does not");
    }
    let unknown: Vec<_> = tally.keys().filter(|known| !conditions.contains(known)).collect();
    assert!(unknown.is_empty(), "not asked for: {unknown:?}");
}

/// Each of these once as what must fit, and if so once as what must not.
fn conditions(both: &[&'static str], positive: &[&'static str]) -> Vec<(&'static str, bool)> {
    let all = both.iter().flat_map(|name| [(*name, false), (*name, true)]);
    all.chain(positive.iter().map(|name| (*name, false))).collect()
}

const DECISIONS: [&str; 13] = [
    "ALLOW rule",
    "DENY rule",
    "DENY rule(unavailable)",
    "ALLOW Admin",
    "DENY Admin",
    "DENY Admin(unavailable)",
    "ALLOW Baseline",
    "DENY Baseline",
    "DENY implicit(Network)",
    "DENY implicit(Application)",
    "ALLOW default",
    "DENY default",
    "DENY identity-invalid",
];

const BOTH_WAYS: [&str; 3] = ["CIDR Peer", "CIDR Client", "header present"];

const ONE_WAY: [&str; 18] = [
    "ServiceAccount",
    "ServiceAccount *",
    "SPIFFE",
    "SPIFFE /*",
    "Namespace",
    "TrustDomain",
    "JWT",
    "Unauthenticated",
    "ports",
    "methods",
    "hosts",
    "paths",
    "paths Exact",
    "paths PathPrefix",
    "paths StringPrefix",
    "paths Suffix",
    "paths Template",
    "header values",
];

const ISTIO: [&str; 33] = [
    "principals",
    "requestPrincipals",
    "namespaces",
    "namespace wherever",
    "serviceAccounts",
    "account wherever",
    "trustDomains",
    "ipBlocks",
    "remoteIpBlocks",
    "hosts (Istio)",
    "hosts (Istio), as Istio",
    "ports (Istio)",
    "methods (Istio)",
    "paths (Istio)",
    "paths (Istio), as Istio",
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.claims",
    "request.auth.claims[][]",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "request.headers",
    "request.headers, as Istio",
    "request.headers[:method]",
    "experimental",
];

// Together a hundred thousand, in two for as many cores.

#[test]
fn fifty_thousand_calls_are_decided_as_by_a_look_at_every_rule() {
    let told = calls_of(Dice::world);
    all_come_up(&told, &[&DECISIONS[..], &["audited"]].concat(), &conditions(&BOTH_WAYS, &ONE_WAY));
}

#[test]
fn fifty_thousand_more_with_policies_of_istio_too() {
    let (kinds, mut tally) = calls_of(Dice::world_with_istio);
    let mesh = ["ALLOW istio-system", "DENY istio-system", "DENY istio-system(unavailable)", "audited"];
    // What is not valid, or not of connections, has one outcome.
    let once = ["not valid", "HTTP of a connection"].map(|name| tally.remove(&(name, false)).unwrap_or_default());
    assert!(once[0][0] > 100 && once[1][1] > 100, "{once:?}");
    // The others are asked for above.
    tally.retain(|condition, _| !conditions(&BOTH_WAYS, &ONE_WAY).contains(condition));
    all_come_up(&(kinds, tally), &[&DECISIONS[..], &mesh].concat(), &conditions(&ISTIO, &[]));
}
