//! Issuers that are confused, or change their keys.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sidegate_tests::case::{Raw, Service, ServiceReply};
use sidegate_tests::client::Request;
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Scenario;
use crate::traps;
use crate::world::{self, World, johns_token, reason};

pub const ALL: &[(&str, Scenario)] = &[
    ("an issuer that answers garbage: 503, until it answers well", garbage),
    ("new keys: a token of the new key passes at once, one of the old key no longer", rotation),
    ("a key that no one has is asked for once, not for each request", unknown_keys),
    ("a client that leaves while its key is fetched does no harm", gone),
    ("an issuer that is slow holds up who shows an unknown key for its timeout, and nobody else", slow),
    ("two workers share what one fetched", two_workers),
];

const NAMES: [&str; 6] = ["garbage", "rotation", "unknown", "gone", "slow", "shared"];

/// Milliseconds that the keys of the issuer `slow` may take.
const SHORT: u64 = 800;

pub fn listeners(paths: &Paths) -> Vec<Listener> {
    let listener = |name: &&str| {
        let timeout = if *name == "slow" { SHORT } else { 8_000 };
        Listener::new(name, &paths.wasm, &world::jwt_within(&format!("http://{name}.test"), timeout))
    };
    NAMES.iter().chain(&["down"]).map(listener).collect()
}

pub fn services() -> BTreeMap<String, Service> {
    let mut services: BTreeMap<_, _> = NAMES.iter().map(|name| issuer(name)).collect();
    services.extend(crate::traps::issuers());
    let reply = ServiceReply { body: Some(Raw::Text("\u{0}<html>{".to_owned())), ..ServiceReply::default() };
    if let Some(service) = services.get_mut("garbage.test") {
        service.replies.values_mut().for_each(|replies| *replies = vec![reply.clone()]);
    }
    services
}

fn issuer(name: &str) -> (String, Service) {
    world::issuer(&format!("{name}.test"), "rsa-1", "rsa-2", 0)
}

fn garbage(world: &World) {
    assert_eq!(world.with_token("garbage", "/keys/garbage", &johns_token("rsa-1")).status, 503);
    world.services.add(&[issuer("garbage")].into());
    world.until(200, || world.with_token("garbage", "/keys/mended", &johns_token("rsa-1")));
}

fn rotation(world: &World) {
    let (old, new) = (johns_token("rsa-1"), johns_token("rsa-2"));
    world.wait_for_keys("rotation");
    assert_eq!(world.with_token("rotation", "/keys/old", &old).status, 200);
    world.services.request(["rotation.test".to_owned()].iter(), 2);
    assert_eq!(world.with_token("rotation", "/keys/new", &new).status, 200);
    // The other worker hears of it on its tick.
    world.until(401, || world.with_token("rotation", "/keys/old", &johns_token("rsa-1")));
}

fn unknown_keys(world: &World) {
    world.wait_for_keys("unknown");
    assert_eq!(world.with_token("unknown", "/keys/known", &johns_token("rsa-1")).status, 200);
    let asked = world.services.asked("unknown.test", "/jwks");
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(world.with_token("unknown", "/keys/unknown", &johns_token("ec-256")).status, 401);
    }
    let more = world.services.asked("unknown.test", "/jwks") - asked;
    let turns = usize::try_from(begun.elapsed().as_secs() / 10).expect("the test ends") + 1;
    assert!((1..=2 * turns).contains(&more), "{more} fetches by two workers in {turns} times ten seconds");
}

fn gone(world: &World) {
    let asked = traps::hold(world, "gone");
    world.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..10 {
            let mut stream = TcpStream::connect(world.address("gone")).await.expect("Envoy listens");
            let bearer = format!("Bearer {}", johns_token("rsa-2"));
            let request = Request::new("GET", "/keys/gone", "api.test").header("authorization", bearer).open();
            stream.write_all(&request).await.expect("the request is sent");
            streams.push(stream);
        }
        // The issuer is asked, and does not answer until all of them have left.
        traps::paused(world, "gone", asked).await;
        let mut byte = [0; 1];
        for stream in &mut streams {
            let answered = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut byte)).await;
            assert!(answered.is_err(), "a request was not paused: {answered:?}");
        }
        drop(streams);
        tokio::time::sleep(Duration::from_millis(200)).await;
    });
    world.services.hold("gone.test", false);
    world.until(200, || world.with_token("gone", "/keys/after", &johns_token("rsa-2")));
    assert!(!world.upstream.saw("/keys/gone"), "a request went on without its client");
}

fn slow(world: &World) {
    world.wait_for_keys("slow");
    assert_eq!(world.with_token("slow", "/keys/known", &johns_token("rsa-1")).status, 200);
    world.services.hold("slow.test", true);
    let begun = Instant::now();
    let response = world.with_token("slow", "/keys/slow", &johns_token("rsa-2"));
    let took = begun.elapsed();
    let told = "failed to verify signature: fetching keys oidc: get keys failed";
    assert_eq!((response.status, reason(&response)), (401, Some(told)));
    let timeout = Duration::from_millis(SHORT);
    assert!(took + Duration::from_millis(100) > timeout && took < timeout + Duration::from_secs(2), "{took:?}");
    // The keys that are here are in force.
    assert_eq!(world.with_token("slow", "/keys/known", &johns_token("rsa-1")).status, 200);
    assert!(!world.upstream.saw("/keys/slow"));
    world.services.request(["slow.test".to_owned()].iter(), 2);
    world.services.hold("slow.test", false);
    world.until(200, || world.with_token("slow", "/keys/mended", &johns_token("rsa-2")));
}

fn two_workers(world: &World) {
    let token = johns_token("rsa-1");
    world.wait_for_keys("shared");
    for _ in 0..60 {
        assert_eq!(world.with_token("shared", "/keys/shared", &token).status, 200);
    }
    for path in ["/jwks", "/.well-known/openid-configuration"] {
        assert_eq!(world.services.asked("shared.test", path), 1, "{path} is fetched by one worker for all");
    }
    let stats = world.envoy.admin.stats("listener.shared.worker_").expect("Envoy answers");
    let counts = stats.iter().filter(|(name, _)| name.ends_with("downstream_cx_total"));
    assert!(counts.clone().count() == 2 && counts.clone().all(|(_, count)| *count > 0), "not both workers were asked");
}
