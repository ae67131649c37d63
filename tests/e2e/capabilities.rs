//! Trap 4: a `capability_restriction_config` may forget anything that the module wants to be called for, or to ask for. What is forgotten
//! Envoy passes over without a word, as if the module had said yes.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use sidegate_tests::client::{self, Request, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::admin::ListenerState;
use sidegate_tests::envoy::config::Listener;

use crate::traps;
use crate::world::{self, KEY, World};

/// A scenario with an Envoy of its own.
type Scenario = fn(&Paths);

pub const ALL: &[(&str, Scenario)] = &[
    ("trap 4: a capability restriction that leaves out what the module needs lets nothing pass", left_out),
    ("the smaller module says which signatures it cannot check if Envoy may not be asked", signatures),
];

/// The list that leaves out nothing.
const WHOLE: &str = "nothing";

/// Without it the head of a request is gone before the module hears anything of it; the answer does not come back.
const HEAD: &str = "proxy_on_request_headers";

/// Questions to Envoy without whose answer nothing can be decided, or nothing be done about it.
const QUESTIONS: [&str; 10] = [
    "proxy_get_current_time_nanoseconds",
    "random_get",
    "proxy_set_effective_context",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_buffer_bytes",
    "proxy_send_local_response",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_set_property",
];

/// Every capability that the module has a use for.
fn capabilities() -> Vec<String> {
    let imports = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../filter/imports.txt")).unwrap_or_default();
    let imports: Vec<String> = imports
        .lines()
        .filter_map(|line| Some(line.split_once('.').filter(|_| !line.starts_with('#'))?.1.to_owned()))
        .collect();
    assert!(QUESTIONS.iter().all(|name| imports.iter().any(|import| import == name)), "no longer asked: {imports:?}");
    imports.into_iter().chain(callbacks()).collect()
}

/// Every callback of the ABI that the module exports.
fn callbacks() -> Vec<String> {
    let source = include_str!("../../filter/src/exports.rs");
    let names = source.lines().filter_map(|line| line.strip_prefix("extern \"C\" fn ")?.split('(').next());
    let callbacks: Vec<_> = names.filter(|name| name.starts_with("proxy_on_")).map(ToOwned::to_owned).collect();
    assert!(callbacks.iter().any(|name| name == HEAD), "filter/src/exports.rs is not what it was: {callbacks:?}");
    callbacks
}

fn left_out(_: &Paths) {
    // Each list has a VM of its own, so the smaller module is the one to take.
    let Some(paths) = Paths::core_from_env() else { panic!("SIDEGATE_CORE_WASM is not set") };
    let names = [WHOLE].into_iter().chain(QUESTIONS).map(ToOwned::to_owned).chain(callbacks());
    let names: Vec<String> = names.collect();
    let listeners: Vec<Listener> = names.iter().map(|name| without(name, &paths)).collect();
    let world =
        World::with_refusals(&paths, &listeners, &BTreeMap::new(), &[]).unwrap_or_else(|error| panic!("{error}"));
    for (name, state) in &world.states {
        match state {
            // The module asked while it was configured.
            ListenerState::Refused(why) => assert!(name != WHOLE && why.contains("Wasm"), "{name}: {why}"),
            ListenerState::Active(address) if name == WHOLE => decides(&world, *address),
            ListenerState::Active(address) => nothing_passes(&world, name, *address),
        }
    }
}

/// An issuer whose key is no point of its curve, which the smaller module does not see by itself.
const OFF_CURVE: &str = "off-curve";

/// An issuer's name, its key, what the module may not ask Envoy for, and what a token comes to.
const SIGNATURES: [(&str, &str, &str, u16); 6] = [
    ("asked", "ec-384", WHOLE, 200),
    ("asked-long", "ec-521", WHOLE, 200),
    ("not-asked", "ec-384", "proxy_call_foreign_function", 503),
    ("not-asked-long", "ec-521", "proxy_call_foreign_function", 503),
    ("not-needed", "rsa-1", "proxy_call_foreign_function", 200),
    (OFF_CURVE, "ec-384", WHOLE, 401),
];

fn signatures(_: &Paths) {
    let Some(paths) = Paths::core_from_env() else { panic!("SIDEGATE_CORE_WASM is not set") };
    let listener = |(name, _, forgotten, _): &(&str, _, &str, _)| {
        restricted(name, &world::jwt(&format!("http://{name}.test")), forgotten, &paths)
    };
    let listeners: Vec<_> = SIGNATURES.iter().map(listener).collect();
    let issuers = SIGNATURES.map(|(name, key, ..)| world::issuer(&format!("{name}.test"), key, key, 0));
    let mut issuers = BTreeMap::from(issuers);
    let keys = issuers.get_mut(&format!("{OFF_CURVE}.test")).and_then(|issuer| issuer.replies.get_mut("/jwks"));
    for document in keys.into_iter().flatten().filter_map(|reply| reply.json.as_mut()) {
        let x = document["keys"][0]["x"].clone();
        document["keys"][0]["y"] = x;
    }
    let world = World::with(&paths, &listeners, &issuers).unwrap_or_else(|error| panic!("{error}"));
    for (name, key, _, status) in SIGNATURES {
        world.wait_for_keys(name);
        let response = world.with_token(name, "/trap4/signatures", &world::johns_token(key));
        assert_eq!(response.status, status, "{name}: {response:?}");
        let reason = match status {
            503 if key == "ec-384" => Some("signatures of ES384 cannot be checked here"),
            503 => Some("signatures of ES512 cannot be checked here"),
            401 => Some("failed to verify signature: failed to verify id token signature"),
            _ => None,
        };
        assert_eq!(world::reason(&response), reason, "{name}");
    }
    // It is said when the configuration comes, too.
    let log = world.envoy.log();
    for (name, _, forgotten, _) in SIGNATURES {
        let warning = format!("wasm log {name} {name}: tokens signed by ES384 and ES512 get 503");
        assert_eq!(log.contains(&warning), forgotten != WHOLE, "{warning}");
    }
}

fn without(forgotten: &str, paths: &Paths) -> Listener {
    restricted(forgotten, &world::api_key(), forgotten, paths)
}

fn restricted(name: &str, configuration: &str, forgotten: &str, paths: &Paths) -> Listener {
    let mut listener = Listener::new(name, &paths.wasm, configuration);
    let rest = capabilities().into_iter().filter(|capability| capability != forgotten);
    let allowed: Value = rest.map(|name| (name, json!({}))).collect();
    listener.plugin.insert("capability_restriction_config".to_owned(), json!({ "allowed_capabilities": allowed }));
    traps::own_vm(&mut listener, paths);
    listener
}

/// What all lists are compared with.
fn decides(world: &World, address: SocketAddr) {
    for (key, status) in [("APIKEY bad", 401), (KEY, 200)] {
        let request = Request::new("GET", "/trap4/decides", "api.test").header("authorization", key).body(None);
        let response = world.block_on(client::send(address, &request)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(response.status, status);
    }
}

fn nothing_passes(world: &World, forgotten: &str, address: SocketAddr) {
    let send = |request: Request, body: Option<&str>| world.block_on(client::send(address, &request.body(body)));
    for body in [None, Some("some body")] {
        let path = format!("/trap4/{forgotten}/{}", body.is_some());
        let response = send(Request::new("POST", &path, "api.test").header("authorization", "APIKEY bad"), body);
        assert!(!response.is_ok_and(is_upstreams), "without {forgotten} the answer of the upstream comes back");
        assert!(!world.upstream.saw(&path) || forgotten == HEAD, "without {forgotten} the request passes");
    }
    // What the policy sets is from the policy, or the request does not pass.
    let path = format!("/trap4/{forgotten}/john");
    let request = Request::new("GET", &path, "api.test").header("authorization", KEY).header("x-user", "mallory");
    if let Some(response) = send(request, None).ok().filter(|response| is_upstreams(response.clone())) {
        let users: Vec<String> = world::saw(&response)
            .headers
            .into_iter()
            .filter(|(name, _)| name == "x-user")
            .map(|(_, value)| value)
            .collect();
        assert_eq!(users, ["john"], "without {forgotten}");
    }
}

fn is_upstreams(response: Response) -> bool {
    response.header("x-upstream").is_some()
}
