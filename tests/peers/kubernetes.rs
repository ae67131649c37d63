//! kube-apiserver over etcd: `KUBERNETES` is a folder with both programs. Accounts, roles and tokens are made by its API.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sidegate_tests::client::Request;
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::{self, Cluster};
use sidegate_tests::fixtures;

use crate::definitions;
use crate::server::{self, Launch, Server};
use crate::stage::{self, Policy, Stage, denied, upstream_header};
use crate::web::Web;
use crate::{Case, Suite};

const URL: &str = "https://kubernetes.test";
const ACCOUNT: &str = "system:serviceaccount:default:api-consumer";
/// May do everything.
pub const ROOT: &str = "token-of-root";
/// May ask for reviews, and nothing else.
const PROXY: &str = "token-of-the-proxy";
const NOBODY: &str = "token-of-nobody";

const ALL: &[(&str, Case<World>)] = &[
    ("jwt: a token of a service account passes, by the server's own discovery", issuer),
    ("kubernetesTokenReview: a token for the audience passes, and its account is the identity", right_audience),
    ("kubernetesTokenReview: a token for another audience is refused", wrong_audience),
    ("kubernetesTokenReview: without audiences the request's host is the audience", audience_of_host),
    ("kubernetesTokenReview: a token of nobody is refused", garbage),
    ("kubernetesTokenReview: a token of an account that is gone is refused", account_is_gone),
    ("kubernetesTokenReview: if the proxy may not ask, nothing is decided", may_not_ask_for_tokens),
    ("kubernetesSubjectAccessReview: a Role lets an account do what it names, and nothing else", role),
    ("kubernetesSubjectAccessReview: a ClusterRole lets a group get a path", group),
    ("kubernetesSubjectAccessReview: of nobody there is no review, and no access", of_nobody),
    ("kubernetesSubjectAccessReview: once the binding is gone, access is", unbound),
    ("kubernetesSubjectAccessReview: if the proxy may not ask, nothing is decided", may_not_ask_for_access),
    ("wristband: kube-apiserver knows its holder, by the documents that Sidegate serves", wristbands),
    (
        "wristband: kube-apiserver refuses one for another audience, a changed one, and one of another key",
        bad_wristbands,
    ),
    (
        "ClusterAuthorizationPolicy: kube-apiserver takes its manifests, judges policies by them, and drops nothing",
        manifests,
    ),
];

struct World {
    stage: Stage,
    web: Web,
    // In this order: a server whose store is gone takes its time to end.
    _server: Server,
    _store: Server,
}

pub fn suite(paths: &Paths, programs: &Path) -> Result<Suite, String> {
    let [client, peer, port] = server::free_ports()?;
    let issuing = config::free_port()?;
    let store = start_store(&programs.join("etcd"), client, peer)?;
    let server = start_server(&programs.join("kube-apiserver"), client, port, issuing)?;
    let web = Web::secure(port, "localhost")?;
    prepare(&web)?;
    let version = web.json("GET", "/version", ROOT, &Value::Null)?;
    let store_version = Web::new(client, "localhost")?.json("GET", "/version", ROOT, &Value::Null)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().trim_start_matches('v').to_owned();
    let version = format!("{}, etcd {}", text(&version["gitVersion"]), text(&store_version["etcdserver"]));
    let cluster = Cluster { tls: true, ..Cluster::new("kubernetes", web.address) };
    let stage = Stage::start(paths, &[(URL, cluster)], &policies(issuing))?;
    Ok(Suite::new(version, World { stage, web, _server: server, _store: store }, ALL))
}

fn start_store(program: &Path, client: u16, peer: u16) -> Result<Server, String> {
    let [client_url, peer_url] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
    let arguments = [
        "--data-dir=data",
        &format!("--listen-client-urls={client_url}"),
        &format!("--advertise-client-urls={client_url}"),
        &format!("--listen-peer-urls={peer_url}"),
        &format!("--initial-advertise-peer-urls={peer_url}"),
        &format!("--initial-cluster=default={peer_url}"),
    ];
    let launch = Launch {
        name: "etcd",
        program,
        arguments: arguments.map(str::to_owned).into(),
        environment: Vec::new(),
        patience: Duration::from_secs(60),
    };
    let health = Web::new(client, "localhost")?;
    Server::start(launch, server::folder("etcd")?, || health.is_ready("/health"))
}

fn start_server(program: &Path, store: u16, port: u16, issuing: u16) -> Result<Server, String> {
    let folder = server::folder("kube-apiserver")?;
    let tokens = format!("{ROOT},root,1,system:masters\n{PROXY},proxy,2,\n{NOBODY},nobody,3,\n");
    let issuers = believed(issuing)?.to_string();
    fs::write(folder.path().join("tokens.csv"), tokens)
        .and_then(|()| fs::write(folder.path().join("authentication.json"), issuers))
        .map_err(|error| error.to_string())?;
    let file = |name: &str| fixtures::path(name).display().to_string();
    let arguments = [
        &format!("--etcd-servers=http://127.0.0.1:{store}"),
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        &format!("--secure-port={port}"),
        "--cert-dir=certs",
        &format!("--tls-cert-file={}", file("certs/localhost.pem")),
        &format!("--tls-private-key-file={}", file("certs/localhost.key")),
        "--token-auth-file=tokens.csv",
        "--authentication-config=authentication.json",
        "--authorization-mode=RBAC",
        &format!("--service-account-issuer={URL}"),
        &format!("--service-account-jwks-uri={URL}/openid/v1/jwks"),
        &format!("--service-account-signing-key-file={}", file("keys/rsa-1.pem")),
        &format!("--service-account-key-file={}", file("keys/rsa-1.pem")),
    ];
    let launch = Launch {
        name: "kube-apiserver",
        program,
        arguments: arguments.map(str::to_owned).into(),
        environment: Vec::new(),
        patience: Duration::from_secs(120),
    };
    let health = Web::secure(port, "localhost")?;
    Server::start(launch, folder, || health.is_ready("/readyz"))
}

/// Wristbands: response item, algorithm, and key of the fixtures.
const WRISTBANDS: [(&str, &str, &str); 3] =
    [("x-es256", "ES256", "ec-256"), ("x-es512", "ES512", "ec-521"), ("x-rs384", "RS384", "rsa-2")];

/// The issuer of a wristband, where `issuing` is the port of its documents.
fn wristband_issuer(issuing: u16, item: &str) -> String {
    format!("https://localhost:{issuing}/default/issuing/{item}")
}

/// That kube-apiserver is to believe in wristbands.
fn believed(issuing: u16) -> Result<Value, String> {
    let authority = fixtures::text("certs/ca.pem")?;
    let issuers = WRISTBANDS.map(|(item, _, _)| {
        json!({
            "issuer": {
                "url": wristband_issuer(issuing, item),
                "audiences": ["kubernetes"],
                "certificateAuthority": authority,
            },
            "claimMappings": {
                "username": { "claim": "sub", "prefix": "wristband:" },
                "groups": { "claim": "groups", "prefix": "wristband:" },
            },
        })
    });
    Ok(json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": issuers,
    }))
}

/// Gives wristbands to anybody who says a name, and serves their documents; or with keys that are in no such document.
fn wristband_policy(name: &'static str, issuing: u16, keys: [&str; 3]) -> Policy {
    let wristband = |(item, algorithm, _): (&str, &str, &str)| {
        let wristband = json!({
            "issuer": wristband_issuer(issuing, item),
            "signingKeyRefs": [{ "name": item, "algorithm": algorithm }],
            "customClaims": {
                "aud": { "selector": "request.headers.x-audience" },
                "groups": { "value": ["greeters"] },
            },
        });
        (item.to_owned(), json!({ "wristband": wristband }))
    };
    let headers: Map<String, Value> = WRISTBANDS.into_iter().map(wristband).collect();
    let spec = json!({
        "hosts": ["*"],
        "authentication": { "who": { "plain": { "selector": "request.headers.x-who" } } },
        "response": { "success": { "headers": headers } },
    });
    let secret = |((item, _, _), key): ((&str, _, _), &str)| {
        let pem = fixtures::text(&format!("keys/{key}.pem")).unwrap_or_else(|error| panic!("{error}"));
        stage::secret(item, &json!({ "key.pem": pem }))
    };
    Policy {
        resources: WRISTBANDS.into_iter().zip(keys).map(secret).collect(),
        options: json!({ "wristbandDiscovery": { "host": "localhost" } }),
        ..Policy::new(name, spec)
    }
}

/// Accounts, and what they may do.
fn prepare(web: &Web) -> Result<(), String> {
    for account in ["api-consumer", "passing"] {
        create(web, "/api/v1/namespaces/default/serviceaccounts", &json!({ "metadata": { "name": account } }))?;
    }
    let account = json!({ "kind": "ServiceAccount", "name": "api-consumer", "namespace": "default" });
    let named = |kind: &str, name: &str| json!({ "kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io" });
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let own = format!("{rbac}/namespaces/default");
    for (verb, role) in [("get", "reader"), ("delete", "remover")] {
        let rules = json!([{ "apiGroups": ["greetings.test"], "resources": ["greetings"], "verbs": [verb] }]);
        create(web, &format!("{own}/roles"), &json!({ "metadata": { "name": role }, "rules": rules }))?;
        let binding = json!({
            "metadata": { "name": role }, "roleRef": named("Role", role), "subjects": [account],
        });
        create(web, &format!("{own}/rolebindings"), &binding)?;
    }
    let rules = json!([{ "nonResourceURLs": ["/hello"], "verbs": ["get"] }]);
    create(web, &format!("{rbac}/clusterroles"), &json!({ "metadata": { "name": "hello" }, "rules": rules }))?;
    for (role, subject) in [
        ("hello", named("Group", "greeters")),
        ("system:auth-delegator", named("User", "proxy")),
        ("system:service-account-issuer-discovery", named("Group", "system:unauthenticated")),
    ] {
        let binding = json!({
            "metadata": { "name": format!("test:{role}") },
            "roleRef": named("ClusterRole", role),
            "subjects": [subject],
        });
        create(web, &format!("{rbac}/clusterrolebindings"), &binding)?;
    }
    Ok(())
}

pub fn create(web: &Web, path: &str, object: &Value) -> Result<Value, String> {
    web.json("POST", path, ROOT, object)
}

fn policies(issuing: u16) -> Vec<Policy> {
    let review = |audiences: Value| json!({ "account": { "kubernetesTokenReview": { "audiences": audiences } } });
    let user = json!({ "x-user": { "plain": { "selector": "auth.identity.user.username" } } });
    let asked_by = |secret: &str, name, authentication: Value, authorization: Value| Policy {
        resources: [("proxy", PROXY), ("nobody", NOBODY)]
            .map(|(name, token)| stage::secret(name, &json!({ "token": token })))
            .into(),
        options: json!({ "kubernetes": { "url": URL, "tokenRef": { "name": secret } } }),
        ..Policy::new(
            name,
            json!({
                "hosts": ["*"],
                "authentication": authentication,
                "authorization": authorization,
                "response": { "success": { "headers": user } },
            }),
        )
    };
    let anybody = json!({ "anybody": { "anonymous": {} } });
    let access = |spec: Value| json!({ "access": { "kubernetesSubjectAccessReview": spec } });
    let greetings = access(json!({
        "user": { "selector": "auth.identity.user.username" },
        "resourceAttributes": {
            "namespace": { "value": "default" },
            "group": { "value": "greetings.test" },
            "resource": { "value": "greetings" },
            "verb": { "selector": "request.method.@case:lower" },
        },
    }));
    let path = access(
        json!({ "user": { "value": "jane" }, "authorizationGroups": { "selector": "request.headers.x-groups" } }),
    );
    let groups = access(json!({ "authorizationGroups": { "selector": "request.headers.x-groups" } }));
    let issuer = json!({ "account": { "jwt": { "issuerUrl": URL, "audiences": ["talker"] } } });
    vec![
        Policy::new("issuer", json!({ "hosts": ["*"], "authentication": issuer })),
        asked_by("proxy", "talker", review(json!(["talker"])), json!({})),
        asked_by("proxy", "host", json!({ "account": { "kubernetesTokenReview": {} } }), json!({})),
        asked_by("nobody", "tokens-nobody", review(json!(["talker"])), json!({})),
        asked_by("proxy", "greetings", review(json!(["talker"])), greetings),
        asked_by("proxy", "path", anybody.clone(), path.clone()),
        asked_by("proxy", "groups", anybody.clone(), groups),
        asked_by("nobody", "access-nobody", anybody, path),
        Policy { port: issuing, tls: true, ..wristband_policy("issuing", issuing, WRISTBANDS.map(|(_, _, key)| key)) },
        wristband_policy("forging", issuing, ["ec-256-2", "ec-521", "rsa-1"]),
    ]
}

impl World {
    /// A token of a service account, by the TokenRequest API.
    fn token(&self, account: &str, audience: &str) -> String {
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "audiences": [audience], "expirationSeconds": 600 },
        });
        let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
        let answer = create(&self.web, &path, &request).unwrap_or_else(|error| panic!("{error}"));
        answer["status"]["token"].as_str().unwrap_or_else(|| panic!("there is no token in {answer}")).to_owned()
    }

    fn delete(&self, path: &str) {
        self.web.json("DELETE", path, ROOT, &Value::Null).unwrap_or_else(|error| panic!("{error}"));
    }

    /// A wristband of jane.
    fn wristband(&self, listener: &str, item: &str, audience: &str) -> String {
        let request = Request::new("GET", "/hello", "api.test").header("x-who", "jane").header("x-audience", audience);
        let token = upstream_header(&self.stage.send(listener, request), item);
        token.unwrap_or_else(|| panic!("there is no {item}"))
    }

    /// Who the holder of a token is to kube-apiserver itself.
    fn who(&self, token: &str) -> Result<Value, String> {
        let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
        self.web.json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", token, &review)
    }

    /// The same, once it has fetched the documents of the issuer, which it does in its own time.
    fn known(&self, token: &str) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match self.who(token) {
                Ok(answer) => return answer["status"]["userInfo"].clone(),
                Err(error) if Instant::now() > end => panic!("{error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    /// Asks with a method for what the Roles are about.
    fn greetings(&self, method: &str) -> sidegate_tests::client::Response {
        let token = format!("Bearer {}", self.token("api-consumer", "talker"));
        self.stage.send("greetings", Request::new(method, "/greetings", "api.test").header("authorization", token))
    }
}

fn issuer(world: &World) {
    let token = world.token("api-consumer", "talker");
    world.stage.until(200, || world.stage.get("issuer", &token));
    denied(&world.stage.get("issuer", &world.token("api-consumer", "others")), 401, "audience");
}

fn right_audience(world: &World) {
    let response = world.stage.get("talker", &world.token("api-consumer", "talker"));
    assert_eq!(upstream_header(&response, "x-user").as_deref(), Some(ACCOUNT));
}

fn wrong_audience(world: &World) {
    denied(&world.stage.get("talker", &world.token("api-consumer", "others")), 401, "not authenticated");
}

fn audience_of_host(world: &World) {
    let response = world.stage.get("host", &world.token("api-consumer", "api.test"));
    assert_eq!(upstream_header(&response, "x-user").as_deref(), Some(ACCOUNT));
    denied(&world.stage.get("host", &world.token("api-consumer", "talker")), 401, "not authenticated");
}

fn garbage(world: &World) {
    denied(&world.stage.get("talker", "no-token-at-all"), 401, "not authenticated");
}

fn account_is_gone(world: &World) {
    let token = world.token("passing", "talker");
    assert_eq!(world.stage.get("talker", &token).status, 200);
    world.delete("/api/v1/namespaces/default/serviceaccounts/passing");
    // The server itself remembers tokens for ten seconds.
    denied(&world.stage.until(401, || world.stage.get("talker", &token)), 401, "not authenticated");
}

fn may_not_ask_for_tokens(world: &World) {
    denied(
        &world.stage.get("tokens-nobody", &world.token("api-consumer", "talker")),
        503,
        "does not answer as it should",
    );
}

fn role(world: &World) {
    world.stage.until(200, || world.greetings("GET"));
    denied(&world.greetings("POST"), 403, "not authorized");
}

fn group(world: &World) {
    let ask = |groups: &str, path: &str| {
        world.stage.send("path", Request::new("GET", path, "api.test").header("x-groups", groups))
    };
    world.stage.until(200, || ask(r#"["others","greeters"]"#, "/hello"));
    denied(&ask(r#"["others"]"#, "/hello"), 403, "not authorized");
    denied(&ask(r#"["greeters"]"#, "/elsewhere"), 403, "not authorized");
}

fn of_nobody(world: &World) {
    let ask =
        |groups: &str| world.stage.send("groups", Request::new("GET", "/hello", "api.test").header("x-groups", groups));
    world.stage.until(200, || ask(r#"["greeters"]"#));
    denied(&ask("[]"), 403, "cannot review this");
}

fn unbound(world: &World) {
    world.stage.until(200, || world.greetings("DELETE"));
    world.delete("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/remover");
    denied(&world.stage.until(403, || world.greetings("DELETE")), 403, "not authorized");
}

fn may_not_ask_for_access(world: &World) {
    let request = Request::new("GET", "/hello", "api.test").header("x-groups", r#"["greeters"]"#);
    denied(&world.stage.send("access-nobody", request), 503, "does not answer as it should");
}

fn wristbands(world: &World) {
    for (item, _, _) in WRISTBANDS {
        let user = world.known(&world.wristband("issuing", item, "kubernetes"));
        // SHA-256 of `"jane"`.
        let name = "wristband:858186a7d4917261fb32a35fa095f42fddbdfde01b0e3bc8ba837c12dac34c17";
        assert_eq!(user["username"], name, "{item}: {user}");
        let groups = user["groups"].as_array().cloned().unwrap_or_default();
        assert!(groups.contains(&json!("wristband:greeters")), "{item}: {user}");
    }
}

fn bad_wristbands(world: &World) {
    for (item, algorithm, _) in WRISTBANDS {
        let good = world.wristband("issuing", item, "kubernetes");
        world.known(&good);
        let refused = |token: &str, why: &str| {
            let answer = world.who(token);
            assert!(answer.as_ref().is_err_and(|error| error.contains("401")), "{algorithm}, {why}: {answer:?}");
        };
        refused(&world.wristband("issuing", item, "others"), "another audience");
        let (signed, signature) = good.rsplit_once('.').unwrap_or_default();
        let mirrored: String = signature.chars().rev().collect();
        refused(&format!("{signed}.{mirrored}"), "a changed signature");
        let other = world.wristband("forging", item, "kubernetes");
        match item {
            // The fixtures have one key of this curve.
            "x-es512" => drop(world.known(&other)),
            _ => refused(&other, "a key that is not published"),
        }
    }
}

fn manifests(world: &World) {
    definitions::check(&world.web);
}
