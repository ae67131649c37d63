//! Policies over identity, of requests and of connections.

use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value as Proto};
use serde_json::{Value, json};

use super::envoy::{self, CONTINUE, PAUSE, Vm, host, metric, stream};
use super::{errors, property, reply};

const SLEEP: &[u8] = b"spiffe://cluster.local/ns/foo/sa/sleep";
const EVIL: &[u8] = b"spiffe://cluster.local/ns/evil/sa/sleep";
/// A port, as Envoy gives numbers.
const PORT: (&str, &[u8]) = ("destination.port", &[0x90, 0x1f, 0, 0, 0, 0, 0, 0]);
const DOWNSTREAM_AND_UPSTREAM: [u32; 2] = [2, 3];

/// Lets in `foo/sleep`, at port 8080 of what has the label `app: api`; would keep out namespace `foo` if that were enforced.
fn policies() -> Value {
    let policy = |name: &str, action: &str, mode: &str, rule: Value| {
        json!({
            "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
            "metadata": {"name": name, "namespace": "prod"},
            "spec": {
                "targetRefs": [{"kind": "Pod", "selector": {"matchLabels": {"app": "api"}}}],
                "action": action, "enforcementLevel": "Network", "mode": mode, "rules": [rule],
            },
        })
    };
    let sleep = json!({"type": "ServiceAccount", "serviceAccount": {"namespace": "foo", "name": "sleep"}});
    json!([
        policy("sleep", "ALLOW", "Enforce", json!({"sources": [sleep], "networkAttributes": {"ports": [8080]}})),
        policy("trial", "DENY", "Audit", json!({"sources": [{"type": "Namespace", "namespace": "foo"}]})),
    ])
}

/// With what stands in the certificate by one property, since that is enough here.
fn config(workload: Value) -> String {
    let options = json!({"eastWest": {"identity": {"assumeSingleUriSan": true}}});
    let mut config = json!({"apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": policies(),
        "options": options});
    if !workload.is_null() {
        config["workload"] = workload;
    }
    config.to_string()
}

fn named() -> Value {
    json!({"namespace": "prod", "labels": {"app": "api"}})
}

fn tcp(configuration: &str) -> Option<Vm> {
    host(|host| host.root_properties.insert("plugin_root_id".to_owned(), b"sidegate_tcp".to_vec()));
    Vm::start(configuration)
}

/// What Envoy knows of a connection whose peer has shown this.
fn shown(uri: &[u8]) -> [(&'static str, &[u8]); 5] {
    [
        ("connection.tls_version", b"TLSv1.3"),
        ("connection.mtls", &[1]),
        ("connection.peer_certificate_valid", &[1]),
        ("connection.uri_san_peer_certificate", uri),
        PORT,
    ]
}

fn closed(id: u32) -> Vec<u32> {
    stream(id, |stream| stream.closed.clone())
}

fn total(vm: &Vm, labels: &str) -> i64 {
    vm.tick(1000);
    metric(&format!("sidegate_east_west_total.{labels}"))
}

#[test]
fn a_connection_passes_both_ways_once_it_is_let_in() {
    let vm = tcp(&config(named())).unwrap();
    let id = vm.connect(&shown(SLEEP));
    assert_eq!([vm.downstream(id), vm.upstream(id), vm.downstream(id)], [CONTINUE; 3]);
    assert!(closed(id).is_empty());
    assert_eq!(property(id, "sidegate.decision").unwrap(), "ok");
    assert_eq!(property(id, "sidegate.decider").unwrap(), "prod/sleep#0");
    assert_eq!(property(id, "sidegate.peer").unwrap().as_bytes(), SLEEP);
    assert!(property(id, "sidegate.record").unwrap().contains(r#""differs":true"#), "of a trial run");
    assert_eq!(total(&vm, "protocol.tcp.tier.Namespace.policy.prod%2Fsleep.decision.allow"), 1, "it is decided once");
    vm.close(id);
}

#[test]
fn a_connection_that_is_kept_out_is_closed_before_a_byte_passes() {
    let vm = tcp(&config(named())).unwrap();
    let plain: [(&str, &[u8]); 1] = [PORT];
    let other_port = [&shown(SLEEP)[..4], &[("destination.port", &[1, 0, 0, 0, 0, 0, 0, 0])]].concat();
    for properties in [&shown(EVIL)[..], &plain, &other_port, &shown(b"spiffe://td/a,spiffe://td/b"), &[]] {
        for server_first in [false, true] {
            let id = vm.connect(properties);
            let first = if server_first { vm.upstream(id) } else { vm.downstream(id) };
            assert_eq!([first, vm.downstream(id), vm.upstream(id)], [PAUSE; 3]);
            assert_eq!(closed(id), DOWNSTREAM_AND_UPSTREAM, "once");
            assert_eq!(property(id, "sidegate.decision").unwrap(), "permission_denied");
        }
    }
    assert_eq!(total(&vm, "protocol.tcp.tier.Namespace.policy.implicit.decision.deny"), 8);
    assert_eq!(total(&vm, "protocol.tcp.tier.Integrity.policy.identity-invalid.decision.deny"), 2);
}

#[test]
fn a_server_that_speaks_before_the_handshake_is_over_is_closed() {
    let vm = tcp(&config(named())).unwrap();
    for mtls in [Some(&[0_u8][..]), None] {
        let id = vm.connect(&[("connection.tls_version", b"TLSv1.2"), PORT]);
        stream(id, |stream| stream.properties.extend(mtls.map(|no| ("connection.mtls".to_owned(), no.to_vec()))));
        assert_eq!([vm.upstream(id), vm.downstream(id)], [PAUSE; 2]);
        assert_eq!(closed(id), DOWNSTREAM_AND_UPSTREAM);
        assert_eq!(property(id, "sidegate.rule").unwrap(), "identity-pending");
    }
    let said = |host: &mut envoy::Host| host.logs.iter().filter(|(_, line)| line.contains("server speaks")).count();
    assert_eq!(host(said), 1, "one line between two ticks");
    assert_eq!(total(&vm, "protocol.tcp.tier.Integrity.policy.identity-pending.decision.deny"), 2);

    let id = vm.connect(&shown(SLEEP));
    assert_eq!([vm.upstream(id), vm.downstream(id)], [CONTINUE; 2], "after the handshake it may");
}

#[test]
fn identities_of_filter_state_wait_for_no_handshake() {
    let configuration =
        config(named()).replace(r#""identity":{"assumeSingleUriSan":true}"#, r#""identity":{"source":"FilterState"}"#);
    let vm = tcp(&configuration).unwrap();
    let connect = |who: &[u8]| {
        vm.connect(&[("connection.tls_version", b"TLSv1.3"), ("filter_state.io.istio.peer_principal", who), PORT])
    };
    assert_eq!(vm.upstream(connect(SLEEP)), CONTINUE);
    assert_eq!(vm.upstream(connect(EVIL)), PAUSE);
}

#[test]
fn a_connection_that_cannot_be_decided_is_closed() {
    let vm = tcp(&config(named())).unwrap();
    host(|host| host.refuse.insert("get_property", 10));
    for server_first in [false, true] {
        let id = vm.connect(&shown(SLEEP));
        let first = if server_first { vm.upstream(id) } else { vm.downstream(id) };
        assert_eq!([first, vm.downstream(id), vm.upstream(id)], [PAUSE; 3]);
        assert_eq!(closed(id), DOWNSTREAM_AND_UPSTREAM);
        assert_eq!(property(id, "sidegate.decision").unwrap(), "unavailable");
    }
    host(|host| host.refuse.clear());
    vm.tick(1000);
    assert_eq!(metric("sidegate_failed_total.class.host"), 2);

    host(|host| host.refuse.insert("close", 10));
    let id = vm.connect(&shown(EVIL));
    assert_eq!([vm.downstream(id), vm.upstream(id)], [PAUSE; 2]);
    assert!(errors()[0].contains("stays open"), "{:?}", errors());
}

#[test]
fn requests_and_connections_are_not_taken_for_one_another() {
    let vm = Vm::start(&config(named())).unwrap();
    let id = vm.connect(&shown(SLEEP));
    assert_eq!([vm.downstream(id), vm.upstream(id)], [PAUSE; 2]);
    assert_eq!(closed(id), DOWNSTREAM_AND_UPSTREAM);
    let logged = host(|host| host.logs.iter().any(|(_, line)| line.contains("`sidegate_tcp`")));
    assert!(logged, "the log says what is wrong");

    let vm = tcp(&config(named())).unwrap();
    let (id, action) = vm.request(&[(":authority", "api.prod"), (":method", "GET"), (":path", "/")]);
    assert_eq!((action, reply(id).0), (PAUSE, 503));

    for nobody in [Vm::unknown(), Vm::unconfigured()] {
        let id = nobody.connect(&shown(SLEEP));
        assert_eq!([nobody.downstream(id), nobody.upstream(id)], [PAUSE; 2]);
        nobody.close(id);
    }
}

#[test]
fn a_connection_keeps_what_was_decided() {
    let vm = tcp(&config(named())).unwrap();
    let [open, new] = [vm.connect(&shown(SLEEP)), vm.connect(&shown(SLEEP))];
    assert_eq!(vm.downstream(open), CONTINUE);
    assert!(vm.configure(&config(named()).replace("8080", "1")));
    assert_eq!([vm.downstream(open), vm.upstream(open)], [CONTINUE; 2]);
    assert_eq!(vm.downstream(new), PAUSE);
}

#[test]
fn connections_that_are_over_leave_nothing() {
    let vm = tcp(&config(named())).unwrap();
    let round = || {
        for number in 0..1000 {
            let id = vm.connect(&shown(if number % 2 == 0 { SLEEP } else { EVIL }));
            if number % 3 > 0 {
                vm.downstream(id);
            }
            vm.close(id);
        }
        vm.tick(1000);
        host(|host| {
            host.logs.clear();
            host.logs.shrink_to_fit();
        });
        super::allocated()
    };
    // What a first round leaves is there for the next.
    round();
    let (before, after) = (round(), round());
    assert!(after < before + 10_000, "{before} bytes became {after}");
}

#[test]
fn connections_have_no_auth_configs() {
    assert!(tcp(&super::keys()).is_none());
    assert!(errors()[0].contains("no policy over identity"), "{:?}", errors());
    let without = json!({"apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": [],
        "options": {"eastWest": {}}});
    let vm = tcp(&without.to_string()).unwrap();
    let id = vm.connect(&[PORT]);
    assert_eq!(vm.downstream(id), CONTINUE, "what no policy is about is open");
    assert_eq!(property(id, "sidegate.record"), None, "there is nothing to remark on");
}

#[test]
fn a_request_that_is_kept_out_is_answered_without_a_word_why() {
    let vm = Vm::start(&config(named())).unwrap();
    let ask = |uri: &[u8]| {
        let id = vm.open(&[(":authority", "api.prod"), (":method", "GET"), (":path", "/")]);
        let properties = shown(uri).map(|(name, value)| (name.to_owned(), value.to_vec()));
        stream(id, |stream| stream.properties.extend(properties));
        (id, vm.headers(id))
    };
    let (id, action) = ask(EVIL);
    assert_eq!(action, PAUSE);
    assert_eq!(reply(id), (403, "sidegate_permission_denied{implicit(Network)}".to_owned()));
    assert_eq!(property(id, "sidegate.decider").unwrap(), "implicit(Network)");
    assert!(property(id, "sidegate.reason").unwrap().contains("closed by prod/sleep"));
    let record: Value = serde_json::from_str(&property(id, "sidegate.record").unwrap()).unwrap();
    let revision = format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(config(named())));
    assert_eq!(
        record,
        json!({
            "decision": "DENY", "decider": "implicit(Network)", "alias": null, "tier": "Namespace", "level": "Network",
            "reason": "closed by prod/sleep, none of which lets the caller in", "audited": false, "port": 8080,
            "identity": str::from_utf8(EVIL).unwrap(), "identitySource": "certificate",
            "policyRevision": &revision[..12],
            "shadow": {"decision": "DENY", "decider": "implicit(Network)", "differs": false},
        })
    );
    let line = format!("configuration {} is in force", &revision[..12]);
    assert!(host(|host| host.logs.iter().any(|(_, logged)| *logged == line)));
    super::assert_stopped(&vm, id);

    let (id, action) = ask(SLEEP);
    assert_eq!(action, CONTINUE);
    assert_eq!(property(id, "sidegate.peer").unwrap().as_bytes(), SLEEP);
    assert_eq!(property(id, "sidegate.shadow").unwrap(), "deny by prod/trial#0");
    ask(SLEEP);
    let infos = |host: &mut envoy::Host| {
        host.logs.iter().filter(|(level, line)| *level == 2 && line.contains("mode Audit")).count()
    };
    assert_eq!(host(infos), 1, "one line between two ticks");
    assert_eq!(total(&vm, "protocol.http.tier.Namespace.policy.prod%2Fsleep.decision.allow"), 2);
    assert_eq!(metric("sidegate_east_west_shadow_diff"), 2);
    assert_eq!(metric("sidegate_east_west_shadow_denied"), 3);
}

#[cfg(feature = "x509")]
#[test]
fn a_certificate_is_read_once_and_its_validity_each_time() {
    use base64::Engine as _;
    use sha2::{Digest as _, Sha256};

    let pem = include_str!("../../../tests/fixtures/certs/alice.pem");
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::prelude::BASE64_STANDARD.decode(base64).unwrap();
    let digest = format!("{:x}", Sha256::digest(der));
    let allow = json!({"type": "SPIFFE", "spiffe": "spiffe://acme.test/ns/default/sa/alice"});
    let mut config: Value = serde_json::from_str(&config(named())).unwrap();
    config["options"] = json!({"eastWest": {}});
    config["resources"] = json!([policies()[0]]);
    config["resources"][0]["spec"]["rules"] = json!([{"sources": [allow]}]);
    let digest: (&str, &[u8]) = ("connection.sha256_peer_certificate_digest", digest.as_bytes());
    let [no_digest, forged] =
        [b"" as &[u8], &[b'0'; 64]].map(|digest| ("connection.sha256_peer_certificate_digest", digest));
    let certificate: (&str, &[u8]) = ("connection.peer_certificate", pem.as_bytes());
    let mtls: (&str, &[u8]) = ("connection.mtls", &[1]);
    let valid = |valid: &'static [u8]| ("connection.peer_certificate_valid", valid);
    for tcp_too in [false, true] {
        let vm = if tcp_too { tcp(&config.to_string()) } else { Vm::start(&config.to_string()) }.unwrap();
        let action = |properties: &[(&str, &[u8])]| {
            let id = match tcp_too {
                true => vm.connect(properties),
                false => vm.open(&[(":authority", "api.prod"), (":method", "GET"), (":path", "/")]),
            };
            let owned = properties.iter().chain([&PORT]).map(|(name, value)| ((*name).to_owned(), value.to_vec()));
            stream(id, |stream| stream.properties.extend(owned));
            if tcp_too { vm.downstream(id) } else { vm.headers(id) }
        };
        assert_eq!(action(&[valid(&[1]), digest]), PAUSE, "a digest that nobody knows is none");
        for other in [no_digest, forged] {
            assert_eq!(action(&[mtls, valid(&[1]), other, certificate]), CONTINUE, "what is read is believed");
            assert_eq!(action(&[mtls, valid(&[1]), other]), PAUSE, "and not remembered by that");
        }
        assert_eq!(action(&[mtls, valid(&[1]), digest]), PAUSE);
        assert_eq!(action(&[mtls, valid(&[1]), digest, certificate]), CONTINUE);
        // All that is read from now on.
        assert_eq!(action(&[valid(&[1]), digest]), CONTINUE);
        assert_eq!(action(&[valid(&[0]), digest]), PAUSE, "its authority is gone, or the session was resumed");
        assert_eq!(action(&[digest]), PAUSE, "nobody says that it is valid");
        assert_eq!(action(&[valid(&[1]), no_digest]), PAUSE);
        assert_eq!(action(&[valid(&[1]), forged]), PAUSE);
        // A new configuration begins with nothing.
        assert!(vm.configure(&config.to_string()));
        assert_eq!(action(&[valid(&[1]), digest]), PAUSE);
        host(|host| *host = envoy::Host::default());
    }
}

/// The node as Istio describes it, serialized.
fn node(metadata: Value) -> Vec<u8> {
    fn proto(value: Value) -> Proto {
        let kind = match value {
            Value::String(text) => Kind::StringValue(text),
            Value::Object(members) => {
                Kind::StructValue(Struct { fields: members.into_iter().map(|(k, v)| (k, proto(v))).collect() })
            }
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            _ => Kind::NullValue(0),
        };
        Proto { kind: Some(kind) }
    }
    let Some(Kind::StructValue(metadata)) = proto(metadata).kind else { panic!("metadata is an object") };
    let metadata = metadata.encode_to_vec();
    let length = u8::try_from(metadata.len()).unwrap();
    // Field 1 is the id, field 3 the metadata.
    [&[0x0a, 4][..], b"pod1", &[0x1a, length], &metadata].concat()
}

#[test]
fn the_workload_is_what_the_node_says_unless_the_configuration_does() {
    let sleep = |configuration: &str, name: &str, metadata: Value| {
        host(|host| host.root_properties.insert(name.to_owned(), node(metadata)));
        let vm = tcp(configuration)?;
        Some([SLEEP, EVIL].map(|uri| vm.downstream(vm.connect(&shown(uri)))))
    };
    let prod = || json!({"NAMESPACE": "prod", "LABELS": {"app": "api"}, "MESH_ID": "cluster.local", "X": 1});
    for name in ["xds.node", "node"] {
        assert_eq!(sleep(&config(json!(null)), name, prod()), Some([CONTINUE, PAUSE]), "{name}");
        host(|host| host.root_properties.clear());
    }
    let other_labels = json!({"NAMESPACE": "prod", "LABELS": {"app": "web"}});
    assert_eq!(sleep(&config(json!(null)), "xds.node", other_labels.clone()), Some([CONTINUE; 2]), "not selected");
    assert_eq!(sleep(&config(named()), "xds.node", other_labels), Some([CONTINUE, PAUSE]), "the configuration says so");
    let other_mesh = json!({"NAMESPACE": "prod", "LABELS": {"app": "api"}, "MESH_ID": "other"});
    assert_eq!(sleep(&config(json!(null)), "xds.node", other_mesh), Some([PAUSE; 2]), "another trust domain");
}

#[test]
fn policies_without_a_workload_are_refused() {
    for (metadata, reason) in [
        (json!({}), "`NAMESPACE`"),
        (json!({"NAMESPACE": ""}), "`NAMESPACE`"),
        (json!({"NAMESPACE": 1}), "metadata.NAMESPACE"),
        (json!({"NAMESPACE": "prod", "LABELS": {"app": 1}}), "metadata.LABELS.app"),
        (json!({"NAMESPACE": "prod", "LABELS": {"app": null}}), "metadata.LABELS.app"),
        (json!({"NAMESPACE": "prod", "LABELS": "app"}), "metadata.LABELS"),
    ] {
        host(|host| host.root_properties.insert("xds.node".to_owned(), node(metadata)));
        assert!(Vm::start(&config(json!(null))).is_none(), "{reason}");
        assert!(errors()[0].contains(reason), "{:?}", errors());
        host(|host| *host = envoy::Host::default());
    }
    host(|host| host.root_properties.insert("xds.node".to_owned(), b"\xff".to_vec()));
    assert!(Vm::start(&config(json!(null))).is_none());
}

#[test]
fn what_is_left_out_of_a_configuration_is_told() {
    let mut config: Value = serde_json::from_str(&config(named())).unwrap();
    config["options"]["eastWest"]["lenient"] = json!(true);
    let resources = config["resources"].as_array_mut().unwrap();
    for number in 0..25 {
        let mut broken = resources[0].clone();
        broken["metadata"]["name"] = json!(format!("broken-{number}"));
        broken["spec"]["action"] = json!("MAYBE");
        resources.push(broken);
    }
    Vm::start(&config.to_string()).unwrap();
    let warnings: Vec<String> =
        host(|host| host.logs.iter().filter(|(level, _)| *level == 3).map(|(_, message)| message.clone()).collect());
    assert!(warnings[0].contains("prod/broken-0: spec.action"), "{warnings:?}");
    assert_eq!(
        (warnings.len(), &*warnings[20]),
        (21, "and 5 more; `sidegate validate` tells them all"),
        "{warnings:?}"
    );
}
