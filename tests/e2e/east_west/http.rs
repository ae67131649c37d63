//! Requests: who may call, and what a caller may try.

use serde_json::{Value, json};
use sidegate_tests::client::{self, Request, http2};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;
use sidegate_tests::mtls::{Clients, Dial};

use super::Scenario;
use super::forwarded::record;
use super::mesh::{self, Ask, Mesh, SLEEP, Tls, allow, allow_sleep, config, eventually, policy};

pub const ALL: &[(&str, Scenario)] = &[
    ("mesh: from sidecar to sidecar, over HTTP/1.1, HTTP/2 and gRPC", sidecars),
    ("mesh: what clients and operators are told of a denial", told),
    ("mesh: two SPIFFE IDs are none", several_names),
    ("mesh: a certificate that Envoy did not verify lets nobody in", untrusted),
    ("mesh: a caller without a certificate is nobody", without_certificate),
    ("mesh: one connection in HTTP/2, many requests", one_connection),
    ("mesh: who comes back is known, since no session is resumed", coming_back),
    ("mesh: tricks with paths", paths),
    ("mesh: tricks with repeated headers", repeated_headers),
    ("mesh: the peer is who has opened the connection, not who is in a header", peers),
    ("mesh: a policy with addresses of peers is refused where none are to be had", peers_unprovided),
    ("mesh: a workload that nobody knows is refused", unknown_workload),
    ("mesh: a trial run decides nothing, and is told of", trial),
    ("mesh: routes and hosts that Envoy does not know change no decision", unrouted),
    ("mesh: stats_tags make labels of who decided", labels),
];

pub fn listeners(paths: &Paths, tls: Tls<'_>) -> Vec<Listener> {
    let mesh = |name: &str, clients, policies: &[Value], east_west| {
        mesh::listener(name, paths, &config(policies, east_west), tls(clients))
    };
    let none = || json!({});
    let anybody = allow("anybody", json!([{}]));
    let paths_of =
        |kind: &str, value: &str| json!([{ "applicationAttributes": { "paths": [{ "type": kind, "value": value }] } }]);
    let header = |name: &str, value: &str| json!([{ "applicationAttributes": { "headers": [{ "name": name, "values": [value] }] } }]);
    let near = json!([{ "sources": [{ "type": "CIDR", "cidr": { "address": "Peer", "blocks": ["127.0.0.2"] } }] }]);
    let mut trial = policy("trial", "DENY", json!([{ "sources": [{ "type": "Namespace", "namespace": "foo" }] }]));
    trial["spec"]["mode"] = json!("Audit");
    let watched = policy("watched", "AUDIT", json!([{ "sources": [{ "type": "Namespace", "namespace": "foo" }] }]));
    let mut peers = mesh(
        "peers",
        Clients::Required,
        &[allow("near", near.clone())],
        json!({ "peerAddress": { "filterState": "sidegate.peer" } }),
    );
    peers.before.push(crate::operations::page_fragment("east-west-envoy.md", "sidegate.peer"));
    let mut plain = Listener::new("plain", &paths.wasm, &config(&[allow_sleep()], none()));
    plain.surroundings.forward_client_cert = Some("ALWAYS_FORWARD_ONLY".to_owned());
    let mut routed = mesh("routed", Clients::Required, &[allow_sleep()], none());
    let route = json!({ "match": { "path": "/known" }, "direct_response": { "status": 200 } });
    let host = json!({ "name": "some", "domains": ["known.test"], "routes": [route] });
    routed.manager.insert("route_config".to_owned(), json!({ "virtual_hosts": [host] }));
    vec![
        mesh("calls", Clients::Required, &[allow_sleep()], none()),
        mesh("optional", Clients::Optional, &[allow_sleep()], none()),
        mesh("any", Clients::Any, &[allow_sleep()], none()),
        mesh("open", Clients::Any, &[], none()),
        plain,
        routed,
        mesh(
            "no-admin",
            Clients::Required,
            &[anybody.clone(), policy("admin", "DENY/Application", paths_of("PathPrefix", "/admin"))],
            none(),
        ),
        mesh("api", Clients::Required, &[policy("api", "ALLOW/Application", paths_of("PathPrefix", "/api"))], none()),
        mesh(
            "no-role",
            Clients::Required,
            &[anybody, policy("role", "DENY/Application", header("x-role", "admin"))],
            none(),
        ),
        mesh("env", Clients::Required, &[policy("env", "ALLOW/Application", header("x-env", "prod"))], none()),
        peers,
        mesh("peers-unprovided", Clients::Required, &[allow("near", near)], none()),
        mesh("trial", Clients::Required, &[allow_sleep(), trial, watched], none()),
    ]
}

fn sidecars(mesh: &Mesh) {
    let get = |listener: &str, path: &str| mesh.ask_plainly(&Ask::new(listener, "", path)).status;
    for (path, as_sleep, as_evil) in [("/h1/good", 200, 403), ("/h2/good", 200, 403)] {
        assert_eq!(get("as-sleep", path), as_sleep);
        assert!(mesh.upstream.saw(path));
        let path = path.replace("good", "bad");
        assert_eq!(get("as-evil", &path), as_evil);
        assert!(!mesh.upstream.saw(&path), "{path}");
    }
    assert_eq!(mesh.call("as-sleep", "/grpc.Good/Say"), (200, Some("0".to_owned())));
    assert!(mesh.upstream.saw("/grpc.Good/Say"));
    assert_eq!(mesh.call("as-evil", "/grpc.Bad/Say"), (200, Some("7".to_owned())), "PERMISSION_DENIED");
    assert!(!mesh.upstream.saw("/grpc.Bad/Say"));
}

fn told(mesh: &Mesh) {
    let denied = mesh.ask(&Ask::new("calls", "evil", "/told/evil"));
    assert_eq!(denied.status, 403);
    let words: Vec<_> = denied.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let body = String::from_utf8_lossy(&denied.body).into_owned();
    for secret in ["sleep", "prod", "evil", "implicit"] {
        assert!(words.iter().chain([&body]).all(|text| !text.contains(secret)), "{denied:?}");
    }
    let line = mesh.logged("/told/evil");
    assert_eq!(line["details"], "sidegate_permission_denied{implicit(Network)}");
    assert_eq!(line["decision"], "permission_denied");
    assert_eq!(line["decider"], "implicit(Network)");
    assert_eq!(line["identity"], "spiffe://cluster.local/ns/evil/sa/sleep");
    assert!(line["reason"].as_str().is_some_and(|reason| reason.contains("closed by prod/sleep")), "{line}");
    let record = record(&line);
    assert_eq!(
        [&record["decision"], &record["decider"], &record["tier"], &record["level"], &record["identitySource"]],
        ["DENY", "implicit(Network)", "Namespace", "Network", "certificate"],
        "{line}"
    );
    // So one can tell by which configuration: the plugin says it when one comes into force.
    let revision = record["policyRevision"].as_str().unwrap_or_default();
    mesh.logs("calls", "info", &format!("configuration {revision} is in force"));
    // What is in force is told as the command line tells it.
    mesh.logs("calls", "debug", "policy prod/sleep: Namespace, ALLOW Network, Enforce: namespace prod, ");
    mesh.logs("calls", "debug", "port other: Allow foo/sleep: prod/sleep#0");

    assert_eq!(mesh.ask(&Ask::new("calls", "sleep", "/told/sleep")).status, 200);
    let line = mesh.logged("/told/sleep");
    assert_eq!(
        (&line["decision"], &line["decider"], &line["identity"]),
        (&json!("ok"), &json!("prod/sleep#0"), &json!(SLEEP))
    );
    mesh.logs("calls", "debug", "by prod/sleep#0");
}

fn several_names(mesh: &Mesh) {
    for (listener, who) in
        [("calls", "two"), ("calls", "two-reversed"), ("calls", "web"), ("open", "two"), ("calls", "spelled")]
    {
        let path = format!("/names/{listener}/{who}");
        assert_eq!(mesh.ask(&Ask::new(listener, who, &path)).status, 403, "{path}");
        assert!(!mesh.upstream.saw(&path));
        assert_eq!(mesh.logged(&path)["decider"], "identity-invalid");
    }
    assert_eq!(mesh.ask(&Ask::new("open", "evil", "/names/open")).status, 200, "there are no policies about it");
}

fn untrusted(mesh: &Mesh) {
    let path = "/untrusted/any";
    assert_eq!(mesh.ask(&Ask::new("any", "rogue", path)).status, 403);
    assert!(!mesh.upstream.saw(path));
    let line = mesh.logged(path);
    assert_eq!((&line["decider"], &line["identity"]), (&json!("identity-invalid"), &Value::Null), "{line}");
    assert_eq!(mesh.ask(&Ask::new("any", "sleep", "/untrusted/sleep")).status, 200);
    for listener in ["calls", "optional"] {
        assert!(mesh.try_ask(&Ask::new(listener, "rogue", "/untrusted")).is_err(), "{listener}: no handshake");
    }
}

fn without_certificate(mesh: &Mesh) {
    fn nobody<'a>(listener: &'a str, path: &'a str) -> Ask<'a> {
        Ask { who: None, ..Ask::new(listener, "", path) }
    }
    for listener in ["optional", "any"] {
        let path = format!("/nobody/{listener}");
        assert_eq!(mesh.ask(&nobody(listener, &path)).status, 403);
        assert_eq!(mesh.logged(&path)["decider"], "implicit(Network)");
    }
    assert!(mesh.try_ask(&nobody("calls", "/nobody/calls")).is_err(), "no handshake");
    assert_eq!(mesh.ask(&Ask::new("optional", "nobody", "/nobody/uri")).status, 403, "a certificate without a name");
    assert_eq!(mesh.ask_plainly(&nobody("plain", "/nobody/plain")).status, 403);
    let claims = [(
        "x-forwarded-client-cert",
        "By=spiffe://cluster.local/ns/prod/sa/api;URI=spiffe://cluster.local/ns/foo/sa/sleep",
    )];
    assert_eq!(mesh.ask_plainly(&Ask { headers: &claims, ..nobody("plain", "/nobody/forged") }).status, 403);
    assert!(!mesh.upstream.saw("/nobody"));
}

fn one_connection(mesh: &Mesh) {
    for (who, status) in [("sleep", 200), ("evil", 403)] {
        let responses = mesh.block_on(async {
            let dial = Dial { alpn: Some("h2"), ..mesh.dial(Some(who)) };
            let stream = dial.tls(mesh.address("calls"), &mesh.authority).await?;
            let request = |index| http2::Request::new("GET", &format!("/one/{who}/{index}"), "api.prod").body(None);
            http2::over(stream, (0..20).map(request).collect::<Result<_, _>>()?).await
        });
        let statuses: Vec<_> = responses.unwrap_or_else(|error| panic!("{error}")).iter().map(|r| r.status).collect();
        assert_eq!(statuses, [status; 20], "{who}");
    }
    assert!(mesh.upstream.saw("/one/sleep") && !mesh.upstream.saw("/one/evil"));
}

/// Of a session that is resumed Envoy says that the certificate was not validated.
fn coming_back(mesh: &Mesh) {
    let dial = mesh.dial(Some("sleep"));
    let known = dial.config(&mesh.authority).unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..4 {
        let response = mesh.block_on(async {
            let mut stream = dial.again(mesh.address("calls"), &known).await?;
            let request = Request::new("GET", "/back", "api.prod").body(None);
            client::exchange(&mut stream, &request).await
        });
        assert_eq!(response.map(|response| response.status), Ok(200));
    }
}

/// What Envoy answers by itself is a denial as well.
fn paths(mesh: &Mesh) {
    let passes = |listener: &str, path: &str| {
        let response = mesh.ask(&Ask::new(listener, "sleep", path));
        assert!([200, 400, 403].contains(&response.status), "{path}: {response:?}");
        response.status == 200
    };
    for path in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/admin?x=1",
        "//admin",
        "///admin//x",
        "/./admin",
        "/x/../admin",
        "/x/../../admin",
        "/%61dmin",
        "/%61%64min/x",
        "/x/%2e%2e/admin",
        "/x/..%2fadmin",
        "/x%2f..%2fadmin",
        "/admin%2fx",
        "/x%5c..%5cadmin",
        "/x\\..\\admin",
        "/admin\\x",
        "/admin;x=1",
        "/admin;x=1/y",
        "/x/..;/admin",
        "/admin/..;/x",
        "/admin//../x",
        "/;/admin",
        "/admin%3bx",
        "/admin%00",
        "/admin#x",
        "/%2561dmin/../admin",
    ] {
        assert!(!passes("no-admin", path), "{path}");
    }
    for path in ["/", "/administrator", "/Admin", "/x?y=/admin", "/x/admin", "/%2561dmin"] {
        assert!(passes("no-admin", path), "{path}");
        assert!(mesh.upstream.saw(path), "{path} goes on as it came");
    }
    for path in [
        "/",
        "/apiv2",
        "/API/x",
        "/api/../secret",
        "/api/..;/secret",
        "/api/..;x=1/secret",
        "/api/%2e%2e/secret",
        "/api/..%2fsecret",
        "/api%2f..%2fsecret",
        "/api\\..\\secret",
        "/secret/../../api/../secret",
        "/api;v=1/x",
        "/secret/..;/api/x",
        "/secret//../api/x",
        "/x/..%5capi",
    ] {
        assert!(!passes("api", path), "{path}");
    }
    for path in ["/api", "/api/x", "/api/x;v=1", "/api?x=/../", "/x/../api", "//api"] {
        assert!(passes("api", path), "{path}");
    }
}

fn repeated_headers(mesh: &Mesh) {
    let status = |listener, headers: &[(&str, &str)]| {
        mesh.ask(&Ask { headers, ..Ask::new(listener, "sleep", "/headers") }).status
    };
    for (headers, expected) in [
        (&[("x-role", "user")][..], 200),
        (&[], 200),
        (&[("x-role", "admin")], 403),
        (&[("x-role", "user"), ("x-role", "admin")], 403),
        (&[("x-role", "admin"), ("x-role", "user")], 403),
        (&[("x-role", "user,admin")], 403),
        (&[("X-Role", "user , admin")], 403),
    ] {
        assert_eq!(status("no-role", headers), expected, "{headers:?}");
    }
    for (headers, expected) in [
        (&[("x-env", "prod")][..], 200),
        (&[], 403),
        (&[("x-env", "dev")], 403),
        (&[("x-env", "prod"), ("x-env", "dev")], 403),
        (&[("x-env", "dev"), ("x-env", "prod")], 403),
        (&[("x-env", "prod,dev")], 403),
    ] {
        assert_eq!(status("env", headers), expected, "{headers:?}");
    }
}

fn peers(mesh: &Mesh) {
    for (from, claimed, expected) in [
        ("127.0.0.2", None, 200),
        ("127.0.0.2", Some("9.9.9.9"), 200),
        ("127.0.0.1", None, 403),
        ("127.0.0.1", Some("127.0.0.2"), 403),
        ("127.0.0.1", Some("9.9.9.9, 127.0.0.2"), 403),
    ] {
        let headers: Vec<_> = claimed.map(|claimed| ("x-forwarded-for", claimed)).into_iter().collect();
        let ask = Ask { from: Some(from), headers: &headers, ..Ask::new("peers", "sleep", "/peers") };
        assert_eq!(mesh.ask(&ask).status, expected, "{from} {claimed:?}");
    }
}

fn peers_unprovided(mesh: &Mesh) {
    assert!(mesh.refusal("peers-unprovided").contains("Unable to create Wasm"), "{}", mesh.refusal("peers-unprovided"));
    let problems = mesh.server.plugin_log("peers-unprovided", "error");
    assert!(problems.iter().any(|line| line.contains("X-Forwarded-For") && line.contains("prod/near")), "{problems:?}");
}

fn unknown_workload(mesh: &Mesh) {
    assert!(!mesh.refusal("whose").is_empty());
    let problems = mesh.client.plugin_log("whose", "error");
    assert!(problems.iter().any(|line| line.contains("workload.namespace")), "{problems:?}");
}

fn trial(mesh: &Mesh) {
    assert_eq!(mesh.ask(&Ask::new("trial", "sleep", "/trial")).status, 200);
    assert_eq!(mesh.logged("/trial")["shadow"], "deny by prod/trial#0");
    mesh.logs("trial", "info", "it would be DENY by prod/trial#0");
    assert_eq!(mesh.ask(&Ask::new("trial", "evil", "/trial/evil")).status, 403);
    assert_eq!(mesh.logged("/trial/evil")["shadow"], Value::Null, "it changes nothing");
    // What is only watched is marked, and decides nothing.
    for (path, audited) in [("/trial", true), ("/trial/evil", false)] {
        assert_eq!(record(&mesh.logged(path))["audited"], audited, "{path}");
    }
}

/// What is let in and has no route stays not found, and what is kept out is so, with a route or without one.
fn unrouted(mesh: &Mesh) {
    for (who, known, unknown) in [("sleep", 200, 404), ("evil", 403, 403)] {
        for (host, path, expected) in [
            ("known.test", "/known", known),
            ("known.test", "/unknown", unknown),
            ("127.0.0.1:8080", "/known", unknown),
        ] {
            let ask = Ask { host, ..Ask::new("routed", who, path) };
            assert_eq!(mesh.ask(&ask).status, expected, "{who} {host}{path}");
        }
    }
}

fn labels(mesh: &Mesh) {
    for who in ["sleep", "evil", "two"] {
        mesh.ask(&Ask::new("trial", who, "/labels"));
    }
    for start in [
        r#"sidegate_east_west_total{protocol="http",tier="Namespace",policy="prod%2Fsleep",decision="allow"} "#,
        r#"sidegate_east_west_total{protocol="http",tier="Namespace",policy="implicit",decision="deny"} "#,
        r#"sidegate_east_west_total{protocol="http",tier="Integrity",policy="identity-invalid",decision="deny"} "#,
        r#"sidegate_east_west_shadow_diff{} "#,
    ] {
        eventually(start, || {
            let shown = mesh.server.admin.get("/stats/prometheus").expect("Envoy answers");
            shown.lines().any(|line| line.starts_with(start)).then_some(())
        });
    }
}
