//! Whom a proxy in front speaks for: `X-Forwarded-Client-Cert`.

use serde_json::{Value, json};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;
use sidegate_tests::mtls::Clients;

use super::Scenario;
use super::mesh::{self, API, Ask, EVIL, GATEWAY, Mesh, SLEEP, Tls, allow_sleep, config};

pub const ALL: &[(&str, Scenario)] = &[
    ("mesh: a forged X-Forwarded-Client-Cert says nothing", forged),
    ("mesh: a trusted forwarder says who calls", trusted),
    ("mesh: where Envoy appends, its own element must be the last", appended),
];

pub fn listeners(paths: &Paths, tls: Tls<'_>) -> Vec<Listener> {
    let listener = |name: &str, mode: &str, east_west: Value| {
        let mut listener = mesh::listener(name, paths, &config(&[allow_sleep()], east_west), tls(Clients::Optional));
        listener.surroundings.forward_client_cert = Some(mode.to_owned());
        listener
    };
    vec![
        listener("untrusting", "ALWAYS_FORWARD_ONLY", json!({})),
        listener("forwarded", "ALWAYS_FORWARD_ONLY", json!({ "trustedForwarders": [GATEWAY] })),
        listener("appended", "APPEND_FORWARD", json!({ "trustedForwarders": [GATEWAY], "xfccAppended": true })),
    ]
}

fn status(mesh: &Mesh, listener: &str, who: Option<&str>, lines: &[&str]) -> u16 {
    let headers: Vec<_> = lines.iter().map(|line| ("x-forwarded-client-cert", *line)).collect();
    mesh.ask(&Ask { who, headers: &headers, ..Ask::new(listener, "", "/forwarded") }).status
}

fn forged(mesh: &Mesh) {
    let claim = format!("By={API};URI={SLEEP}");
    for listener in ["untrusting", "forwarded", "appended"] {
        for who in [Some("evil"), Some("nobody"), None] {
            assert_eq!(status(mesh, listener, who, &[&claim]), 403, "{listener} {who:?}");
        }
        assert_eq!(
            status(mesh, listener, Some("sleep"), &[&format!("URI={EVIL}")]),
            200,
            "{listener}: it speaks for itself"
        );
    }
    assert_eq!(status(mesh, "untrusting", Some("gateway"), &[&claim]), 403, "nobody is trusted there");
}

fn trusted(mesh: &Mesh) {
    let [sleep, evil] = [SLEEP, EVIL].map(|id| format!("By={GATEWAY};Hash=aa;Subject=\"CN=a,O=b\";URI={id}"));
    let bare = format!("URI={SLEEP}");
    for (lines, expected) in [
        (&[sleep.as_str()][..], 200),
        (&[bare.as_str()], 200),
        (&[&format!("{evil},{sleep}")], 200),
        (&[&evil, &sleep], 200),
        (&[], 403),
        (&[&evil], 403),
        (&[&format!("{sleep},{evil}")], 403),
        (&[&sleep, &evil], 403),
        (&[&format!("By={EVIL};URI={SLEEP}")], 403),
        (&[&format!("URI={SLEEP};URI={EVIL}")], 403),
        (&[&format!("By={GATEWAY};URI=")], 403),
        (&[&format!("By={GATEWAY}")], 403),
        (&[&format!("{sleep};Role=admin")], 403),
        (&[&format!("{sleep},")], 403),
        (&["x"], 403),
        (&["URI=spiffe://cluster.local/ns/foo/sa/../sa/sleep"], 403),
    ] {
        assert_eq!(status(mesh, "forwarded", Some("gateway"), lines), expected, "{lines:?}");
    }
}

fn appended(mesh: &Mesh) {
    let [sleep, evil] = [SLEEP, EVIL].map(|id| format!("By={GATEWAY};URI={id}"));
    let spelled = format!("By={API};URI={GATEWAY}");
    for (who, lines, expected) in [
        ("gateway", &[sleep.as_str()][..], 200),
        ("gateway", &[&evil], 403),
        ("gateway", &[], 403),
        ("gateway", &[&sleep, &evil], 403),
        // What a client writes to look like what Envoy appends.
        ("evil", &[&sleep, &spelled], 403),
        ("sleep", &[&evil, &spelled], 200),
    ] {
        assert_eq!(status(mesh, "appended", Some(who), lines), expected, "{who} {lines:?}");
    }
}
