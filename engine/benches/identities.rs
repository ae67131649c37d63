//! What a decision by identity takes with so many of them, what it takes to compile them, and how much memory.
//!
//! With `--figures` the tables of `docs/performance.md` alone, which `./build.sh bench` writes there.
#![expect(missing_docs, reason = "criterion's macro makes a function without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group};
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

/// A policy, and the bytes that it holds; what is kept to select for another workload is counted too.
fn held(configuration: &str) -> (Policy, usize) {
    let before = HELD.load(Ordering::Relaxed);
    let policy = compile(configuration);
    (policy, HELD.load(Ordering::Relaxed) - before)
}

fn identity(number: usize) -> Identity {
    let id = format!("spiffe://cluster.local/ns/ns-{}/sa/sa-{number}", number % 100);
    Identity::Known(SpiffeId::parse(&id).unwrap())
}

fn headers() -> Headers {
    Headers::from_pairs([(":method", "GET"), (":path", "/p7/x"), (":authority", "a")])
}

fn decides(policy: &Policy, number: usize) -> bool {
    decide(policy, &identity(number), &headers())
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
    let headers = headers();
    for size in SIZES {
        for (form, configuration) in forms(size) {
            let (policy, held) = held(&configuration);
            println!(
                "{size} identities {form}: {} bytes for each, {} of configuration",
                held / size,
                configuration.len() / size
            );
            assert!(decides(&policy, size - 1) && !decides(&policy, size));
            for (who, number) in [("let in", size / 2), ("kept out", size)] {
                let identity = identity(number);
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
    let headers = headers();
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

/// 10,000 policies, of which each so many'th is about the workload.
fn mesh(own: usize) -> String {
    let policies = (0..10_000).map(|number| {
        let namespace = if number % own == 0 { "prod".to_owned() } else { format!("other-{}", number % 97) };
        policy(
            number,
            &namespace,
            &json!([{"sources": [account(number), account(number + 1)], "networkAttributes": {"ports": [80]}}]),
        )
    });
    configuration(policies.collect())
}

const MESHES: [(&str, usize); 2] = [("of a mesh, 10 of them about the workload", 1_000), ("all about the workload", 1)];

fn compiling(criterion: &mut Criterion) {
    for (what, own) in MESHES {
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

#[expect(clippy::disallowed_methods, reason = "a program has arguments")]
fn main() {
    if std::env::args().any(|argument| argument == "--figures") {
        return figures();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}

#[expect(clippy::disallowed_macros, reason = "what is printed is what is asked for")]
fn figures() {
    println!("| Identities, natively | in | bytes for each | let in, ns | kept out, ns |");
    println!("| --- | --- | --- | --- | --- |");
    let headers = headers();
    for size in SIZES {
        for (form, configuration) in forms(size) {
            let (policy, held) = held(&configuration);
            assert!(decides(&policy, size - 1) && !decides(&policy, size));
            let [let_in, kept_out] = [size / 2, size].map(|number| {
                let identity = identity(number);
                let decisions = || {
                    for _ in 0..2_000 {
                        black_box(decide(black_box(&policy), &identity, &headers));
                    }
                };
                median(decisions).as_nanos() / 2_000
            });
            let (form, each) = (form.trim_start_matches("in "), held / size);
            println!("| {size} | {form} | {each} | {let_in} | {kept_out} |");
        }
    }
    println!();
    for (what, own) in MESHES {
        let configuration = mesh(own);
        let taken = median(|| assert!(Policy::compile_for(Chain::Http, black_box(configuration.as_bytes())).is_ok()));
        let reached = if taken < Duration::from_secs(1) { "reached" } else { "missed" };
        println!("- 10,000 policies {what}, compiled within a second: {} ms: {reached}.", taken.as_millis());
    }
}

/// Of several runs.
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn median(run: impl Fn()) -> Duration {
    let mut taken: Vec<Duration> = (0..11)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    taken.sort_unstable();
    taken[5]
}
