//! Policies over identity: what the indexes find is what a look at every rule finds.

mod explain;
mod made;
mod plain;
mod scale;

use sidegate_config::{Document, Documents, Settings};
use sidegate_engine::Policy;
use sidegate_engine::east_west::{Ruling, Workload};

use made::Dice;
use plain::World;

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
    let resources = policies.chain(cluster).chain([made::namespace(&namespace, &namespace_labels)]).collect();
    let documents = Documents { resources, settings, ..Documents::default() };
    Policy::from_documents(documents).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn said(ruling: &Ruling) -> String {
    format!("{} {}", if ruling.allowed { "ALLOW" } else { "DENY" }, ruling.reason)
}

#[test]
fn many_policies_are_decided_in_their_order() {
    for seed in 0..6 {
        let mut dice = Dice::new(seed);
        let world = dice.world_of(400, 100);
        let policy = compiled(&world);
        for number in 0..40 {
            let call = dice.call();
            let (facts, ruling) = (call.facts(), policy.workload().unwrap().decide(&call.facts()));
            assert_eq!(said(&ruling), plain::decide(&world, &facts, false), "seed {seed}, call {number}: {call:?}");
        }
    }
}

#[test]
fn a_hundred_thousand_calls_are_decided_as_by_a_look_at_every_rule() {
    let mut told = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..2_000 {
        let mut dice = Dice::new(seed);
        let world = dice.world();
        let policy = compiled(&world);
        let workload = policy.workload().unwrap();
        for number in 0..50 {
            let call = dice.call();
            let facts = call.facts();
            let ruling = workload.decide(&facts);
            let expected = plain::decide(&world, &facts, false);
            assert_eq!(said(&ruling), expected, "seed {seed}, call {number}: {call:?}\n{}", made::shown(&world));
            if let Some(shadow) = &ruling.shadow {
                let got = format!("{} {}", if shadow.allowed { "ALLOW" } else { "DENY" }, shadow.reason);
                let expected = plain::decide(&world, &facts, true);
                assert_eq!(
                    got,
                    expected,
                    "in the shadow, seed {seed}, call {number}: {call:?}\n{}",
                    made::shown(&world)
                );
            }
            *told.entry(made::kind(&expected)).or_default() += 1;
        }
    }
    // What never comes up is not tested.
    for kind in [
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
    ] {
        assert!(told.get(kind).copied().unwrap_or(0) > 100, "{kind} hardly ever: {told:#?}");
    }
}
