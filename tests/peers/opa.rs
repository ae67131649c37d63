//! OPA, as a server that keeps policies: `OPA` is a folder with the program. Policies are written by its API; a plain web server,
//! Python's, has another one as a file.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::client::{Request, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Cluster;

use crate::server::{self, Launch, Server};
use crate::stage::{self, Policy, Stage, denied, upstream_header};
use crate::web::Web;
use crate::{Case, Suite};

/// May write policies.
const ROOT: &str = "token-of-root";
/// May read policies, and nothing else.
const PROXY: &str = "token-of-the-proxy";

/// By which OPA lets somebody use its API.
const ACCESS: &str = r#"package system.authz
default allow := false
allow if input.path == ["health"]
allow if input.identity == "token-of-root"
allow if {
    input.identity == "token-of-the-proxy"
    input.method == "GET"
    input.path[1] == "policies"
}
"#;

const TALKER: &str = r#"package talker

names := {"jane": "admin", "john": "reader"}
who := input.request.headers["x-who"]
role := names[who]
segments := split(trim(input.request.path, "/"), "/")
default verb := "see"
verb := "change" if input.request.method in {"POST", "PUT", "DELETE"}

allow if role == "admin"
allow if {
    role == "reader"
    verb == "see"
    count(segments) == 2
    every segment in segments { regex.match(`^[a-z]+$`, segment) }
}
"#;

const ALL: &[(&str, Case<World>)] = &[
    ("opa: a policy that OPA keeps decides, and OPA itself decides the same by it", same_decisions),
    ("opa: with allValues the values of its rules are there for others to see", all_values),
    ("opa: without OPA's consent there is no policy, and nothing is decided", stranger),
    ("opa: a policy that OPA does not have decides nothing", unknown),
    ("opa: a server that nobody runs decides nothing", nowhere),
    ("opa: a policy that is changed counts once its ttl is over", changed),
    ("opa: a policy that asks the network is refused, and the one before it stays", network),
    ("opa: once the server is gone its policy stays", gone),
    ("opa: a file of a web server is a policy, and a broken one does not take its place", file),
    ("opa: a bundle is no policy", bundle),
];

struct World {
    stage: Stage,
    web: Web,
    _opa: Server,
    passing: Mutex<Option<Server>>,
    files: PathBuf,
    _files: Server,
}

pub fn suite(paths: &Paths, folder: &Path) -> Result<Suite, String> {
    let [opa, passing, files, nobody] = server::free_ports()?;
    let program = folder.join("opa");
    let version = server::output(&program, &["version"])?;
    let version = version.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap_or_default().to_owned();
    let server = start(&program, opa)?;
    let passing_server = start(&program, passing)?;
    let web = Web::new(opa, "localhost")?;
    for (web, name, text) in [
        (&web, "talker", TALKER),
        (&web, "changing", &by_name("changing", "jane")),
        (&web, "network", &by_name("network", "jane")),
        (&Web::new(passing, "localhost")?, "passing", &by_name("passing", "jane")),
    ] {
        put(web, name, text)?;
    }
    let (files_server, folder) = start_files(&program, files)?;
    let cluster = |name, port| Cluster::new(name, (Ipv4Addr::LOCALHOST, port).into());
    let peers = [
        ("http://opa.test", cluster("opa", opa)),
        ("http://passing.test", cluster("passing", passing)),
        ("http://files.test", cluster("files", files)),
        ("http://nobody.test", cluster("nobody", nobody)),
    ];
    let stage = Stage::start(paths, &peers, &policies())?;
    let passing = Mutex::new(Some(passing_server));
    Ok(Suite::new(version, World { stage, web, _opa: server, passing, files: folder, _files: files_server }, ALL))
}

fn start(program: &Path, port: u16) -> Result<Server, String> {
    let folder = server::folder("opa")?;
    fs::write(folder.path().join("access.rego"), ACCESS).map_err(|error| error.to_string())?;
    let arguments = [
        "run",
        "--server",
        &format!("--addr=127.0.0.1:{port}"),
        "--authentication=token",
        "--authorization=basic",
        "--disable-telemetry",
        "access.rego",
    ];
    let health = Web::new(port, "localhost")?;
    Server::start(launch("opa", program, &arguments), folder, || health.is_ready("/health"))
}

/// A web server over a folder, which has a policy, and a bundle of it that OPA made.
fn start_files(opa: &Path, port: u16) -> Result<(Server, PathBuf), String> {
    let folder = server::folder("files")?;
    let path = folder.path().to_owned();
    fs::write(path.join("policy.rego"), by_name("file", "jane")).map_err(|error| error.to_string())?;
    let [policy, bundle] = ["policy.rego", "bundle.tar.gz"].map(|name| path.join(name).display().to_string());
    server::output(opa, &["build", "--output", &bundle, &policy])?;
    let arguments = ["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()];
    let web = Web::new(port, "localhost")?;
    let ready = || web.is_ready("/bundle.tar.gz");
    Ok((Server::start(launch("files", Path::new("python3"), &arguments), folder, ready)?, path))
}

fn launch<'a>(name: &'static str, program: &'a Path, arguments: &[&str]) -> Launch<'a> {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Launch { name, program, arguments, environment: Vec::new(), patience: Duration::from_secs(60) }
}

/// A policy for one person.
fn by_name(package: &str, name: &str) -> String {
    format!("package {package}\nallow if input.request.headers[\"x-who\"] == \"{name}\"\n")
}

/// Has OPA keep a policy, if it is one to OPA.
fn put(web: &Web, name: &str, text: &str) -> Result<(), String> {
    let path = format!("/v1/policies/{name}");
    let request = Request::new("PUT", &path, "localhost").header("authorization", format!("Bearer {ROOT}"));
    let response = web.send(&request.header("content-type", "text/plain").body(Some(text)))?;
    let Response { status, body, .. } = response;
    if status == 200 { Ok(()) } else { Err(format!("{path}: {status} {}", String::from_utf8_lossy(&body))) }
}

fn policies() -> Vec<Policy> {
    let policy = |name, url: &str, secret: &str, response: Value| {
        let external = json!({ "url": url, "ttl": 1, "sharedSecretRef": { "name": secret, "key": "token" } });
        let spec = json!({
            "hosts": ["*"],
            "authentication": { "anybody": { "anonymous": {} } },
            "authorization": { "company": { "opa": {
                "externalPolicy": external,
                "version": "v1",
                "allValues": response != json!({}),
            } } },
            "response": { "success": { "headers": response } },
        });
        let secrets = [("ours", PROXY), ("wrong", "token-of-nobody")];
        let resources = secrets.map(|(name, token)| stage::secret(name, &json!({ "token": token })));
        Policy { resources: resources.into(), ..Policy::new(name, spec) }
    };
    let opa = |name: &str| format!("http://opa.test/v1/policies/{name}");
    let role = json!({ "x-role": { "plain": { "selector": "auth.authorization.company.role" } } });
    vec![
        policy("talker", &opa("talker"), "ours", json!({})),
        policy("values", &opa("talker"), "ours", role),
        policy("changing", &opa("changing"), "ours", json!({})),
        policy("network", &opa("network"), "ours", json!({})),
        policy("stranger", &opa("talker"), "wrong", json!({})),
        policy("unknown", &opa("nothing"), "ours", json!({})),
        policy("passing", "http://passing.test/v1/policies/passing", "ours", json!({})),
        policy("nowhere", "http://nobody.test/policy.rego", "ours", json!({})),
        policy("file", "http://files.test/policy.rego", "ours", json!({})),
        policy("bundle", "http://files.test/bundle.tar.gz", "ours", json!({})),
    ]
}

impl World {
    fn ask(&self, listener: &str, method: &str, path: &str, who: &str) -> Response {
        self.stage.send(listener, Request::new(method, path, "api.test").header("x-who", who))
    }

    fn see(&self, listener: &str, who: &str) -> Response {
        self.ask(listener, "GET", "/hello", who)
    }

    /// What OPA itself says of a request by a policy that it keeps.
    fn opa_says(&self, package: &str, method: &str, path: &str, who: &str) -> bool {
        let input = json!({ "request": { "method": method, "path": path, "headers": { "x-who": who } } });
        let answer = self.web.json("POST", &format!("/v1/data/{package}/allow"), ROOT, &json!({ "input": input }));
        answer.unwrap_or_else(|error| panic!("{error}"))["result"] == true
    }

    /// Waits until a listener's log says that its policy cannot be fetched, and why; from then on.
    fn fails(&self, listener: &str, why: &str) {
        let failures = || {
            let lines = self.stage.envoy.plugin_log(listener, "error");
            lines.into_iter().filter(|line| line.contains("cannot be fetched") && line.contains(why)).count()
        };
        let (before, end) = (failures(), Instant::now() + Duration::from_secs(30));
        while failures() == before {
            assert!(Instant::now() < end, "no fetch for {listener} fails with `{why}`: {}", self.stage.envoy.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn same_decisions(world: &World) {
    world.stage.until(200, || world.see("talker", "jane"));
    let mut allowed = 0;
    for who in ["jane", "john", "joan", ""] {
        for (method, path) in [
            ("GET", "/hello/world"),
            ("GET", "/hello"),
            ("GET", "/hello/world/again"),
            ("GET", "/hello/World"),
            ("POST", "/hello/world"),
            ("DELETE", "/hello/world"),
            ("OPTIONS", "/hello/world"),
        ] {
            let response = world.ask("talker", method, path, who);
            let expected = world.opa_says("talker", method, path, who);
            let got = response.status == 200;
            assert_eq!(got, expected, "{method} {path} by `{who}`: {response:?}");
            if got {
                allowed += 1;
            } else {
                denied(&response, 403, "Unauthorized");
            }
        }
    }
    // Seven by jane, and john's two.
    assert_eq!(allowed, 9);
}

fn all_values(world: &World) {
    let response = world.stage.until(200, || world.see("values", "jane"));
    assert_eq!(upstream_header(&response, "x-role").as_deref(), Some("admin"));
}

fn stranger(world: &World) {
    denied(&world.stage.until(503, || world.see("stranger", "jane")), 503, "the policy is not there");
    world.fails("stranger", "401");
    denied(&world.see("stranger", "jane"), 503, "the policy is not there");
}

fn unknown(world: &World) {
    world.fails("unknown", "404");
    denied(&world.see("unknown", "jane"), 503, "the policy is not there");
}

fn nowhere(world: &World) {
    world.fails("nowhere", "");
    denied(&world.see("nowhere", "jane"), 503, "the policy is not there");
}

fn changed(world: &World) {
    world.stage.until(200, || world.see("changing", "jane"));
    denied(&world.see("changing", "john"), 403, "Unauthorized");
    put(&world.web, "changing", &by_name("changing", "john")).unwrap_or_else(|error| panic!("{error}"));
    world.stage.until(200, || world.see("changing", "john"));
    denied(&world.see("changing", "jane"), 403, "Unauthorized");
}

fn network(world: &World) {
    world.stage.until(200, || world.see("network", "jane"));
    let text = r#"package network
allow if http.send({"method": "GET", "url": "http://localhost/"}).status_code == 200"#;
    // OPA takes it, since it has a network.
    put(&world.web, "network", text).unwrap_or_else(|error| panic!("{error}"));
    world.fails("network", "`http.send` needs the network");
    assert_eq!(world.see("network", "jane").status, 200);
    denied(&world.see("network", "john"), 403, "Unauthorized");
    put(&world.web, "network", &by_name("network", "john")).unwrap_or_else(|error| panic!("{error}"));
    world.stage.until(200, || world.see("network", "john"));
}

fn gone(world: &World) {
    world.stage.until(200, || world.see("passing", "jane"));
    let server = world.passing.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(server.expect("it is there"));
    world.fails("passing", "");
    assert_eq!(world.see("passing", "jane").status, 200);
    denied(&world.see("passing", "john"), 403, "Unauthorized");
}

fn file(world: &World) {
    let write = |text: &str| {
        // At once, so that nobody reads half of it.
        let draft = world.files.join("draft");
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, world.files.join("policy.rego")));
        written.unwrap_or_else(|error| panic!("{error}"));
    };
    world.stage.until(200, || world.see("file", "jane"));
    write("package file\nallow if input.request.headers[");
    world.fails("file", "does not compile");
    assert_eq!(world.see("file", "jane").status, 200);
    write(&by_name("file", "john"));
    world.stage.until(200, || world.see("file", "john"));
    denied(&world.see("file", "jane"), 403, "Unauthorized");
}

fn bundle(world: &World) {
    world.fails("bundle", "the policy is not UTF-8");
    denied(&world.see("bundle", "jane"), 503, "the policy is not there");
}
