//! What one expression costs, compiled and for each request.

use std::hint::black_box;
use std::rc::Rc;

use criterion::{Criterion, criterion_main};
use serde_json::json;
use sidegate_engine::compile::{Compiler, Shared};
use sidegate_engine::expression::cel::Program;
use sidegate_engine::expression::selector::Selector;
use sidegate_engine::resources::Resources;
use sidegate_engine::view::{Auth, View};
use sidegate_engine::{Headers, Request, Timestamp};

const PREDICATES: [(&str, &str); 7] = [
    ("claim", "auth.identity.role == 'admin'"),
    ("header", "request.headers['x-tenant'] == 'acme'"),
    ("absent header", "has(request.headers.absent) || request.method == 'GET'"),
    ("number", "auth.identity.age >= 18 && auth.identity.age < 65"),
    ("list", "'dev' in auth.identity.groups && auth.identity.groups.exists(g, g.startsWith('o'))"),
    ("text", "request.path.startsWith('/api/') && request.path.matches('^/api/v[0-9]+/')"),
    ("optional", "auth.identity.?org.?name.orValue('none') == 'none'"),
];

fn compiled<T>(compile: impl FnOnce(&mut Compiler<'_>) -> T) -> T {
    let (patterns, resources, options) = (Default::default(), Resources::default(), Default::default());
    let mut problems = Vec::new();
    let shared = &mut Shared::default();
    let mut compiler = Compiler::new(("default", "bench"), &patterns, &resources, &options, shared, &mut problems);
    let compiled = compile(&mut compiler);
    assert!(problems.is_empty(), "{problems:?}");
    compiled
}

/// A request as proxies see them, with 15 headers and a token of 20 claims.
fn view() -> View {
    let mut headers: Vec<(String, String)> = (0..10).map(|n| (format!("x-header-{n}"), "value ".repeat(n))).collect();
    for (name, value) in [
        (":method", "GET"),
        (":path", "/api/v2/orders?page=3"),
        (":authority", "api.example.com"),
        ("user-agent", "bench"),
        ("x-tenant", "acme"),
    ] {
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut identity = json!({"sub": "alice", "role": "admin", "age": 41, "groups": ["dev", "ops", "admin"]});
    for claim in 0..16 {
        identity[format!("claim-{claim}")] = json!({"values": [claim, claim + 1]});
    }
    View {
        request: Rc::new(Request { headers: Headers::from_pairs(headers), ..Request::default() }),
        time: Timestamp::from_secs(1_700_000_000),
        auth: Rc::new(Auth { identity: Some(Rc::new(identity)), ..Auth::default() }),
    }
}

fn expressions(criterion: &mut Criterion) {
    let view = view();
    let mut group = criterion.benchmark_group("cel");
    for (name, source) in PREDICATES {
        let program = compiled(|compiler| Program::compile_predicate(source, compiler));
        assert_eq!(program.boolean(&view), Ok(true), "{source}");
        group.bench_function(name, |bencher| bencher.iter(|| program.boolean(black_box(&view))));
    }
    let object = "{'user': auth.identity.sub, 'groups': auth.identity.groups.map(g, g.upperAscii())}";
    let program = compiled(|compiler| Program::compile(object, compiler));
    group.bench_function("object", |bencher| bencher.iter(|| program.value(black_box(&view))));
    group.bench_function("compile", |bencher| {
        bencher.iter(|| compiled(|compiler| Program::compile_predicate(black_box(PREDICATES[4].1), compiler)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("selector");
    for (name, source) in [
        ("claim", "auth.identity.role"),
        ("header", "request.headers.x-tenant"),
        ("query", "auth.identity.groups.#(%\"o*\")"),
    ] {
        let selector = compiled(|compiler| Selector::compile(source, compiler));
        group.bench_function(name, |bencher| bencher.iter(|| selector.text(black_box(&view))));
    }
    group.finish();
}

mod benches {
    criterion::criterion_group!(all, super::expressions);
}

criterion_main!(benches::all);
