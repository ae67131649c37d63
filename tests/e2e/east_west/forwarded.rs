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
    ("mesh: what a certificate spells at a gateway is one element more", spelled),
    ("mesh: where Envoy appends, its own element must be the last", appended),
    ("mesh: a waypoint's filter state says who calls, and nothing else does", waypoint),
];

pub fn listeners(paths: &Paths, tls: Tls<'_>) -> Vec<Listener> {
    let listener = |name: &str, mode: &str, east_west: Value| {
        let mut listener = mesh::listener(name, paths, &config(&[allow_sleep()], east_west), tls(Clients::Optional));
        listener.surroundings.forward_client_cert = Some(mode.to_owned());
        listener
    };
    // What Istio's waypoint has from its outer listener, another filter writes from the certificate here.
    let waypoint = |name: &str, mut listener: Listener| {
        listener.name = name.to_owned();
        listener.before.push(json!({ "name": "waypoint", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [{
                "object_key": "io.istio.peer_principal", "factory_key": "envoy.string", "read_only": true,
                "format_string": { "text_format_source": { "inline_string": "%DOWNSTREAM_PEER_URI_SAN%" } },
            }],
        } }));
        listener
    };
    let of_filter_state = || listener("waypoint", "SANITIZE", json!({ "identity": { "source": "FilterState" } }));
    vec![
        waypoint("waypoint", of_filter_state()),
        Listener { name: "no-waypoint".to_owned(), ..of_filter_state() },
        listener("untrusting", "ALWAYS_FORWARD_ONLY", json!({})),
        listener("forwarded", "ALWAYS_FORWARD_ONLY", json!({ "trustedForwarders": [GATEWAY] })),
        listener(
            "sanitized",
            "ALWAYS_FORWARD_ONLY",
            json!({ "trustedForwarders": [GATEWAY], "forwardersSanitize": true }),
        ),
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
    for (lines, expected) in [
        (&[sleep.as_str()][..], 200),
        (&[&evil], 403),
        (&[], 403),
        (&[&evil, &sleep], 403),
        (&[&format!("{evil},{sleep}")], 403),
    ] {
        assert_eq!(status(mesh, "sanitized", Some("gateway"), lines), expected, "{lines:?}");
    }
    let headers = [("x-forwarded-client-cert", evil.as_str())];
    mesh.ask(&Ask { headers: &headers, ..Ask::new("forwarded", "gateway", "/forwarded/told") });
    let record = record(&mesh.logged("/forwarded/told"));
    assert_eq!((&record["identity"], &record["identitySource"]), (&json!(EVIL), &json!("forwarder")), "{record}");
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

/// By way of a real gateway that replaces the header.
fn spelled(mesh: &Mesh) {
    let forged = [("x-forwarded-client-cert", format!("By={GATEWAY};URI={SLEEP}"))];
    let forged = forged.each_ref().map(|(name, value)| (*name, value.as_str()));
    for (server, who, headers, expected) in [
        ("forwarded", "sleep", &[][..], 200),
        ("forwarded", "evil", &[], 403),
        ("forwarded", "evil", &forged, 403),
        ("forwarded", "two", &[], 403),
        // Envoy escapes nothing, so this cannot be told from what a gateway writes that appends.
        ("forwarded", "spelled-gateway", &[], 200),
        ("sanitized", "spelled-gateway", &[], 403),
        ("sanitized", "spelled", &[], 403),
        ("sanitized", "sleep", &forged, 200),
        ("sanitized", "evil", &forged, 403),
        ("sanitized", "two", &[], 403),
        ("sanitized", "nobody", &forged, 403),
    ] {
        let path = format!("/edge/{server}/{who}");
        assert_eq!(mesh.ask(&Ask { headers, ..Ask::new("edge", who, &path) }).status, expected, "{path} {headers:?}");
    }
}

fn waypoint(mesh: &Mesh) {
    for (listener, who, status, decider, source) in [
        ("waypoint", Some("sleep"), 200, "prod/sleep#0", None),
        ("waypoint", Some("evil"), 403, "implicit(Network)", Some("filterState")),
        // Envoy writes both, with a comma between.
        ("waypoint", Some("two"), 403, "identity-invalid", Some("filterState")),
        ("waypoint", Some("spelled"), 403, "identity-invalid", Some("filterState")),
        ("waypoint", Some("web"), 403, "identity-invalid", Some("filterState")),
        // Envoy writes `-` for nothing.
        ("waypoint", Some("nobody"), 403, "implicit(Network)", Some("filterState")),
        ("waypoint", None, 403, "implicit(Network)", Some("filterState")),
        // Where no filter writes it nobody is known, whatever certificate is shown.
        ("no-waypoint", Some("sleep"), 403, "implicit(Network)", Some("filterState")),
    ] {
        let path = format!("/waypoint/{listener}/{}", who.unwrap_or("none"));
        assert_eq!(mesh.ask(&Ask { who, ..Ask::new(listener, "", &path) }).status, status, "{path}");
        let line = mesh.logged(&path);
        assert_eq!(line["decider"], decider, "{line}");
        assert_eq!(record(&line)["identitySource"].as_str(), source, "{line}");
    }
}

/// The record of a decision that the access log has.
pub fn record(line: &Value) -> Value {
    line["record"].as_str().and_then(|record| serde_json::from_str(record).ok()).unwrap_or_default()
}
