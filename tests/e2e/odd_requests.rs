//! Requests that well-meaning clients do not send.

use sidegate_tests::client::Request;

use crate::Scenario;
use crate::world::{KEY, World, johns_token, reason, saw};

pub const ALL: &[(&str, Scenario)] = &[
    ("a header that is no UTF-8 does no harm", not_utf8),
    ("a request with 200 headers is decided", many_headers),
    ("a header of 60 KiB is decided", long_header),
    ("two authorization headers are no credential", two_credentials),
    ("after all hostile requests the filter still decides", after_all),
];

/// All of them.
pub fn hostile() -> Vec<Vec<u8>> {
    let get = |path: &str| Request::new("GET", path, "api.test");
    let mut requests = vec![
        get("/odd").header("authorization", b"APIKEY \xff\xfe\x80").body(None),
        get("/odd").header("x-odd", b"\xc3\x28\xf0\x28\x8c\xbc").header("cookie", b"a=\xff; \xfe").body(None),
        get("/%zz?a=%&%ff=%00;b").body(None),
        get("/\u{7f}").body(None),
        get("//evil/../..//?#").body(None),
        Request::new("GET", "/odd", "").body(None),
        Request::new("GET", "/odd", "[::1]:80").body(None),
        Request::new("GET", "/odd", "a:b:c:99999999").body(None),
        Request::new("OPTIONS", "*", "api.test").body(None),
        get("/odd").header("authorization", "Bearer .").body(None),
        get("/odd").header("authorization", "Bearer ....").body(None),
        get("/odd").header("authorization", format!("APIKEY {}", "x".repeat(60 << 10))).body(None),
        get(&format!("/odd?{}", "a=b&".repeat(10_000))).body(None),
        get("/odd").header("cookie", "=".repeat(10_000)).body(None),
        get("/odd").header("content-length", "5").open(),
    ];
    let mut many = get("/odd");
    for index in 0..300 {
        many = many.header(&format!("x-{index}"), "y");
    }
    requests.push(many.body(None));
    requests
}

fn not_utf8(world: &World) {
    let request = |key: &[u8]| {
        let request = Request::new("GET", "/odd/utf8", "api.test").header("x-odd", b"caf\xe9 \xff");
        request.header("authorization", key).body(None)
    };
    assert_eq!(world.send("key", &request(b"APIKEY \xff")).status, 401);
    let saw = saw(&world.send("key", &request(KEY.as_bytes())));
    assert!(saw.headers.contains(&("x-odd".to_owned(), "caf\u{fffd} \u{fffd}".to_owned())), "{saw:?}");
}

fn many_headers(world: &World) {
    let request = |key: &str| {
        let mut request = Request::new("GET", "/odd/many", "api.test");
        for index in 0..200 {
            request = request.header(&format!("x-{index}"), format!("value-{index}"));
        }
        request.header("authorization", key).body(None)
    };
    assert_eq!(world.send("key", &request("APIKEY bad")).status, 401);
    let saw = saw(&world.send("key", &request(KEY)));
    assert!(saw.headers.len() > 200, "{}", saw.headers.len());
}

fn long_header(world: &World) {
    let long = "x".repeat(60 << 10);
    let bad = format!("APIKEY {long}");
    let response = world.get("key", "/odd/long", &[("authorization", &bad)]);
    assert_eq!((response.status, reason(&response)), (401, Some("the API Key provided is invalid")));
    let saw = saw(&world.get("key", "/odd/long", &[("authorization", KEY), ("x-long", &long)]));
    assert!(saw.headers.iter().any(|(name, value)| name == "x-long" && value.len() == long.len()));
}

fn two_credentials(world: &World) {
    let token = format!("Bearer {}", johns_token("rsa-1"));
    world.wait_for_keys("shared");
    for (listener, good, bad) in [("key", KEY, "APIKEY bad"), ("shared", &token, "Bearer bad")] {
        for pair in [[good, bad], [bad, good], [good, good]] {
            let headers = pair.map(|value| ("authorization", value));
            assert_eq!(world.get(listener, "/odd/two", &headers).status, 401, "{pair:?}");
        }
        assert_eq!(world.get(listener, "/odd/one", &[("authorization", good)]).status, 200);
    }
    assert!(!world.upstream.saw("/odd/two"));
}

fn after_all(world: &World) {
    for request in hostile() {
        // Envoy itself refuses some of these, or waits for more; that is its business.
        drop(world.block_on(async {
            let sending = sidegate_tests::client::send(world.address("key"), &request);
            tokio::time::timeout(std::time::Duration::from_secs(1), sending).await
        }));
    }
    for _ in 0..10 {
        assert_eq!(world.get("key", "/odd/after", &[]).status, 401);
        assert_eq!(world.get("key", "/odd/after", &[("authorization", KEY)]).status, 200);
    }
    let reloads = world.envoy.admin.stats("vm_reload").expect("Envoy answers");
    assert!(!reloads.is_empty() && reloads.values().all(|count| *count == 0), "a VM died: {reloads:?}");
}
