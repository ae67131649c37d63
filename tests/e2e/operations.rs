//! What docs/operations.md tells operators to write into Envoy does what it says: its own YAML is what runs here.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use serde_json::{Value, json};
use sidegate_tests::client::Request;
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;

use crate::Scenario;
use crate::world::{self, KEY, World, saw};

pub const ALL: &[(&str, Scenario)] = &[
    ("header_to_metadata makes dynamic metadata of what the policy says, and of nothing else", metadata),
    ("stats_tags make labels of what is in the names of metrics", labels),
    ("the access log tells of the decision by filter state", access_log),
];

/// The header that carries dynamic metadata.
const CARRIER: &str = "x-sidegate-metadata";

/// The part of docs/operations.md, as YAML, that has this text.
pub fn fragment(text: &str) -> Value {
    page_fragment("operations.md", text)
}

/// The part of a page of the documents, as YAML, that has this text.
pub fn page_fragment(page: &str, text: &str) -> Value {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let page = fs::read_to_string(page).expect("the page is there");
    let mut blocks = page.split("```yaml fragment\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    let block = blocks.find(|block| block.contains(text)).unwrap_or_else(|| panic!("the page has no YAML with {text}"));
    yaml_serde::from_str(block).unwrap_or_else(|error| panic!("{block}: {error}"))
}

pub fn listeners(paths: &Paths) -> Vec<Listener> {
    let mut metadata = Listener::new("metadata", &paths.wasm, &with_metadata());
    metadata.behind = list(&fragment("header_to_metadata"));
    metadata.access_logs = vec![stdout_log(
        "metadata %REQ(:PATH)% %DYNAMIC_METADATA(sidegate:auth:user:name)% \
         %DYNAMIC_METADATA(sidegate:auth:user:more:group)% %DYNAMIC_METADATA(sidegate:auth:level)%\n",
    )];
    let mut state = Listener::new("state", &paths.wasm, &with_metadata());
    state.access_logs = list(&fragment("access_log")["access_log"]);
    vec![metadata, state, Listener::new("labels", &paths.wasm, &with_metrics())]
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| panic!("{value} is no list"))
}

fn stdout_log(format: &str) -> Value {
    json!({ "name": "envoy.access_loggers.stdout", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "log_format": { "text_format_source": { "inline_string": format } },
    } })
}

/// Says who it is, for requests whose path does not begin with `/silent`; only John may go to `/admin`.
fn with_metadata() -> String {
    let loud = json!([{ "selector": "request.path", "operator": "matches", "value": "^/[^s]" }]);
    let spec = json!({
        "hosts": ["*"],
        "authentication": { "friends": {
            "apiKey": { "selector": { "matchLabels": { "group": "friends" } } },
            "credentials": { "authorizationHeader": { "prefix": "APIKEY" } },
        } },
        "authorization": { "admins": {
            "when": [{ "selector": "request.path", "operator": "matches", "value": "/admin" }],
            "patternMatching": { "patterns": [{ "selector": "auth.identity.metadata.name", "operator": "eq", "value": "root" }] },
        } },
        "response": { "success": { "dynamicMetadata": {
            "user": { "when": loud, "json": { "properties": {
                "name": { "selector": "auth.identity.metadata.name" },
                "more": { "selector": "auth.identity.metadata.labels" },
            } } },
            "identity": { "when": loud, "json": { "properties": {
                "sub": { "selector": "auth.identity.metadata.name" },
            } } },
            "level": { "when": loud, "plain": { "value": 7 } },
        } } },
    });
    world::plugin(
        &[world::policy(spec), world::key("john", "secret-of-john")],
        json!({ "dynamicMetadataHeader": CARRIER }),
    )
}

/// The line of an Envoy's stdout that begins like this.
fn line(world: &World, start: &str) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        let output = world.envoy.output();
        if let Some(line) = output.lines().find(|line| line.starts_with(start)) {
            return line.to_owned();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no line begins with `{start}`:\n{}", world.envoy.output());
}

/// What a client might send to be taken for somebody else.
fn forged() -> String {
    let text = |text: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.to_owned())) };
    let object = |name: &str, value| prost_types::Value {
        kind: Some(prost_types::value::Kind::StructValue(prost_types::Struct {
            fields: [(name.to_owned(), value)].into(),
        })),
    };
    STANDARD.encode(object("user", object("name", text("forged"))).encode_to_vec())
}

fn metadata(world: &World) {
    let forged = forged();
    let get = |path: &str, key: &str| world.get("metadata", path, &[("authorization", key), (CARRIER, &forged)]);
    for (path, metadata) in [("/loud", "john friends 7"), ("/silent", "- - -")] {
        let saw = saw(&get(path, KEY));
        assert!(saw.headers.iter().all(|(name, _)| name != CARRIER), "{saw:?}");
        assert_eq!(line(world, &format!("metadata {path} ")), format!("metadata {path} {metadata}"));
    }
    for (path, key, status) in [("/bad", "APIKEY bad", 401), ("/admin", KEY, 403)] {
        assert_eq!(get(path, key).status, status);
        assert_eq!(line(world, &format!("metadata {path} ")), format!("metadata {path} - - -"));
    }
}

fn access_log(world: &World) {
    let get = |authority: &str, path: &str, key: &str| {
        world.send("state", &Request::new("GET", path, authority).header("authorization", key).body(None))
    };
    assert_eq!(get("allowed.test", "/a", KEY).status, 200);
    assert_eq!(line(world, "GET allowed.test"), "GET allowed.test 200 via_upstream ok default/subject - john");
    assert_eq!(get("unknown.test", "/a", "APIKEY bad").status, 401);
    assert_eq!(
        line(world, "GET unknown.test"),
        "GET unknown.test 401 sidegate_unauthenticated{default/subject} unauthenticated default/subject - -"
    );
    assert_eq!(get("forbidden.test", "/admin", KEY).status, 403);
    assert_eq!(
        line(world, "GET forbidden.test"),
        "GET forbidden.test 403 sidegate_permission_denied{default/subject/admins} permission_denied default/subject admins -"
    );
}

/// An AuthConfig whose name has a dot, all of whose rules have metrics.
fn with_metrics() -> String {
    let spec = json!({
        "hosts": ["*"],
        "authentication": { "friends": {
            "metrics": true,
            "apiKey": { "selector": { "matchLabels": { "group": "friends" } } },
            "credentials": { "authorizationHeader": { "prefix": "APIKEY" } },
        } },
        "authorization": { "no-admin": {
            "metrics": true,
            "patternMatching": { "patterns": [{ "selector": "request.path", "operator": "neq", "value": "/admin" }] },
        } },
    });
    let mut policy = world::policy(spec);
    policy["metadata"] = json!({ "name": "labels.v1", "namespace": "shop" });
    let mut key = world::key("john", "secret-of-john");
    key["metadata"]["namespace"] = json!("shop");
    world::plugin(&[policy, key], json!({}))
}

fn labels(world: &World) {
    for (path, key, status) in
        [("/a", KEY, 200), ("/b", KEY, 200), ("/admin", KEY, 403), ("/c", "APIKEY bad", 401), ("/d", KEY, 200)]
    {
        assert_eq!(world.get("labels", path, &[("authorization", key)]).status, status);
    }
    world.wait_for_keys("shared");
    let ours = r#"namespace="shop",authconfig="labels%2Ev1""#;
    let lines = [
        ("authconfig_total", String::new(), 5),
        ("authconfig_response_status", r#",status="OK""#.to_owned(), 3),
        ("authconfig_response_status", r#",status="PERMISSION_DENIED""#.to_owned(), 1),
        ("authconfig_response_status", r#",status="UNAUTHENTICATED""#.to_owned(), 1),
        ("evaluator_total", evaluator("IDENTITY_APIKEY", "friends"), 5),
        ("evaluator_denied", evaluator("IDENTITY_APIKEY", "friends"), 1),
        ("evaluator_total", evaluator("AUTHORIZATION_JSON", "no-admin"), 4),
        ("evaluator_denied", evaluator("AUTHORIZATION_JSON", "no-admin"), 1),
    ]
    .map(|(metric, labels, count)| format!("auth_server_{metric}{{{ours}{labels}}} {count}"));
    // Each worker tells what it counted within a second, one counter after another.
    let end = Instant::now() + Duration::from_secs(10);
    let shown = loop {
        let shown = world.envoy.admin.get("/stats/prometheus").expect("Envoy answers");
        let Some(line) = lines.iter().find(|line| !shown.lines().any(|shown| shown == *line)) else { break shown };
        assert!(Instant::now() < end, "no line is `{line}`:\n{}", relevant(&shown));
        std::thread::sleep(Duration::from_millis(50));
    };
    // Counted for all listeners, so only their labels are known.
    for start in [
        r#"auth_server_response_status{status="OK"} "#,
        r#"sidegate_document_fetch_total{document="keys",result="ok"} "#,
        "sidegate_config_loaded_timestamp_seconds{} ",
    ] {
        assert!(shown.lines().any(|line| line.starts_with(start)), "no line begins `{start}`:\n{}", relevant(&shown));
    }
    // What is left of a name has no label in it any more.
    let names = shown.lines().filter(|line| line.contains("auth_server") || line.contains("sidegate_"));
    let left =
        names.filter_map(|line| line.split(['{', ' ']).next()).find(|name| name.contains("authconfig_namespace"));
    assert_eq!(left, None);
}

/// Looks until it sees something.
pub fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "it does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn evaluator(kind: &str, name: &str) -> String {
    format!(r#",evaluator_type="{kind}",evaluator_name="{name}""#)
}

fn relevant(shown: &str) -> String {
    shown
        .lines()
        .filter(|line| line.contains("auth_server") || line.contains("sidegate_"))
        .collect::<Vec<_>>()
        .join("\n")
}
