//! What a decision by identity takes with so many of them, what it takes to compile them, and how much memory.
#![expect(missing_docs, reason = "criterion's macro makes a function without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use sidegate_engine::east_west::{Chain, Facts, Http, Identity, SpiffeId};
use sidegate_engine::{Headers, Policy};

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

/// Counts what is held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator that counts and hands on")]
// SAFETY: it hands on to the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn policy(name: usize, namespace: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
        "metadata": {"name": format!("p{name}"), "namespace": namespace},
        "spec": {"targetRefs": [{"kind": "Pod", "selector": {}}], "action": "ALLOW", "enforcementLevel": "Application", "rules": rules},
    })
}

fn configuration(policies: Vec<Value>) -> String {
    let workload = json!({"namespace": "prod"});
    json!({"apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": policies, "workload": workload})
        .to_string()
}

fn account(number: usize) -> Value {
    let namespace = format!("ns-{}", number % 100);
    json!({"type": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": format!("sa-{number}")}})
}

fn compile(configuration: &str) -> Policy {
    Policy::compile(configuration.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn decides(policy: &Policy, number: usize) -> bool {
    let id = SpiffeId::parse(&format!("spiffe://cluster.local/ns/ns-{}/sa/sa-{number}", number % 100)).unwrap();
    decide(
        policy,
        &Identity::Known(id),
        &Headers::from_pairs([(":method", "GET"), (":path", "/p7/x"), (":authority", "a")]),
    )
}

fn decide(policy: &Policy, identity: &Identity, headers: &Headers) -> bool {
    let http = Some(Http { headers, tokens: Some(&[]) });
    policy.workload().unwrap().decide(&Facts { port: Some(8080), http, ..Facts::of(identity) }).allowed
}

/// One rule with all of them, or one rule for each.
fn forms(size: usize) -> [(&'static str, String); 2] {
    let one = json!([{"sources": (0..size).map(account).collect::<Vec<_>>()}]);
    let each: Vec<_> =
        (0..size).map(|number| json!({"sources": [account(number)], "networkAttributes": {"ports": [8080]}})).collect();
    let each = each.chunks(100).enumerate().map(|(name, rules)| policy(name, "prod", &json!(rules))).collect();
    [("in one rule", configuration(vec![policy(0, "prod", &one)])), ("in a rule each", configuration(each))]
}

#[expect(clippy::disallowed_macros, reason = "memory is a figure that criterion does not print")]
fn identities(criterion: &mut Criterion) {
    let headers = Headers::from_pairs([(":method", "GET"), (":path", "/p7/x"), (":authority", "a")]);
    for size in SIZES {
        for (form, configuration) in forms(size) {
            let before = HELD.load(Ordering::Relaxed);
            let policy = compile(&configuration);
            // What is kept to select for another workload is counted too.
            let held = HELD.load(Ordering::Relaxed) - before;
            println!(
                "{size} identities {form}: {} bytes for each, {} of configuration",
                held / size,
                configuration.len() / size
            );
            assert!(decides(&policy, size - 1) && !decides(&policy, size));
            for (who, number) in [("let in", size / 2), ("kept out", size)] {
                let id = format!("spiffe://cluster.local/ns/ns-{}/sa/sa-{number}", number % 100);
                let identity = Identity::Known(SpiffeId::parse(&id).unwrap());
                criterion.bench_with_input(
                    BenchmarkId::new(format!("{form}, {who}"), size),
                    &policy,
                    |bencher, policy| {
                        bencher.iter(|| decide(black_box(policy), &identity, &headers));
                    },
                );
            }
        }
    }
}

fn mixed(criterion: &mut Criterion) {
    let policies = (0..1_000).map(|number| {
        let paths = json!([{"type": "PathPrefix", "value": format!("/p{number}")}]);
        let rules = json!([
            {"sources": [account(number), {"type": "Namespace", "namespace": format!("ns-{number}*")}]},
            {"sources": [account(number)], "networkAttributes": {"ports": [8080, 9000 + number % 100]}},
            {"sources": [{"type": "Namespace", "namespace": format!("team-{number}")}], "applicationAttributes": {"methods": ["GET"], "paths": paths}},
        ]);
        policy(number, "prod", &rules)
    });
    let policy = compile(&configuration(policies.collect()));
    let headers = Headers::from_pairs([(":method", "GET"), (":path", "/p7/x"), (":authority", "a")]);
    for (who, id) in
        [("let in", "spiffe://cluster.local/ns/team-7/sa/a"), ("kept out", "spiffe://cluster.local/ns/team-x/sa/a")]
    {
        let identity = Identity::Known(SpiffeId::parse(id).unwrap());
        assert_eq!(decide(&policy, &identity, &headers), who == "let in");
        criterion.bench_function(&format!("1000 policies with mixed rules, {who}"), |bencher| {
            bencher.iter(|| decide(black_box(&policy), &identity, &headers));
        });
    }
}

fn compiling(criterion: &mut Criterion) {
    let mesh = |own: usize| {
        let policies = (0..10_000).map(|number| {
            let namespace = if number % own == 0 { "prod".to_owned() } else { format!("other-{}", number % 97) };
            policy(
                number,
                &namespace,
                &json!([{"sources": [account(number), account(number + 1)], "networkAttributes": {"ports": [80]}}]),
            )
        });
        configuration(policies.collect())
    };
    for (what, own) in [("of a mesh, 10 of its own", 1_000), ("all of its own", 1)] {
        let configuration = mesh(own);
        criterion.bench_function(&format!("compile 10000 policies {what}"), |bencher| {
            bencher.iter(|| Policy::compile_for(Chain::Http, black_box(configuration.as_bytes())).is_ok());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = identities, mixed, compiling
}
criterion_main!(benches);
