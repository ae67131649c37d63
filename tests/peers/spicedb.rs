//! SpiceDB: `SPICEDB` is a folder with the program. Schema and relationships are written by its HTTP gateway; one more server,
//! which is to go away, speaks TLS and reads them from a file.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sidegate_tests::client::{Request, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Cluster;
use sidegate_tests::fixtures;

use crate::server::{self, Launch, Server};
use crate::stage::{self, Policy, Stage, denied, reason, upstream_header};
use crate::web::Web;
use crate::{Case, Suite};

const KEY: &str = "key-of-the-proxy";
const HOST: &str = "spicedb.test:50051";
const PASSING_HOST: &str = "passing.test:50051";

const SCHEMA: &str = "
    caveat in_office(place string) { place == 'office' }
    definition blog/user {}
    definition blog/post {
        relation reader: blog/user | blog/user with in_office
        relation writer: blog/user
        permission read = reader + writer
        permission write = writer
    }";

const ALL: &[(&str, Case<World>)] = &[
    ("spicedb: who is related as the schema wants passes, and the answer is there for others to see", allowed),
    ("spicedb: who is not is refused, with a token in the reason that SpiceDB knows", refused),
    ("spicedb: a relationship that is written counts, and no more once it is deleted", changed),
    ("spicedb: a permission that hangs on a caveat without its context is none", conditional),
    ("spicedb: a permission that the schema does not have is refused", unknown_permission),
    ("spicedb: a definition that the schema does not have is refused", unknown_definition),
    ("spicedb: an id that SpiceDB does not take is refused", broken_id),
    ("spicedb: with a wrong preshared key nothing is decided", wrong_key),
    ("spicedb: without a preshared key nothing is decided", no_key),
    ("spicedb: over TLS it decides, and once the server is gone nothing is decided", gone),
];

struct World {
    stage: Stage,
    web: Web,
    _spicedb: Server,
    passing: Mutex<Option<Server>>,
}

pub fn suite(paths: &Paths, folder: &Path) -> Result<Suite, String> {
    let [grpc, http, passing] = server::free_ports()?;
    let program = folder.join("spicedb");
    let version = server::output(&program, &["version", "--skip-release-check"])?;
    let version = version.trim().trim_start_matches("spicedb v").to_owned();
    let web = Web::new(http, "localhost")?;
    let spicedb = start(&program, grpc, http)?;
    prepare(&web)?;
    let passing_server = start_passing(&program, passing)?;
    let cluster = |name, port| Cluster { http2: true, ..Cluster::new(name, (Ipv4Addr::LOCALHOST, port).into()) };
    let peers = [
        (&*format!("http://{HOST}"), cluster("spicedb", grpc)),
        (&*format!("https://{PASSING_HOST}"), Cluster { tls: true, ..cluster("passing", passing) }),
    ];
    let stage = Stage::start(paths, &peers, &policies())?;
    let world = World { stage, web, _spicedb: spicedb, passing: Mutex::new(Some(passing_server)) };
    Ok(Suite::new(version, world, ALL))
}

fn start(program: &Path, grpc: u16, http: u16) -> Result<Server, String> {
    let gateway = Web::new(http, "localhost")?;
    let more = ["--http-enabled".to_owned(), format!("--http-addr=127.0.0.1:{http}")];
    let launch = launch(program, grpc, more.into());
    // What it answers is no matter: there is no schema yet.
    Server::start(launch, server::folder("spicedb")?, || {
        gateway.json("POST", "/v1/schema/read", KEY, &json!({})).is_err_and(|error| error.contains("404"))
    })
}

fn start_passing(program: &Path, grpc: u16) -> Result<Server, String> {
    let folder = server::folder("spicedb")?;
    let data = json!({ "schema": SCHEMA, "relationships": "blog/post:1#writer@blog/user:jane" });
    // JSON is YAML.
    fs::write(folder.path().join("data.yaml"), data.to_string()).map_err(|error| error.to_string())?;
    let file = |name: &str| fixtures::path(name).display().to_string();
    let more = [
        "--datastore-bootstrap-files=data.yaml".to_owned(),
        format!("--grpc-tls-cert-path={}", file("certs/localhost.pem")),
        format!("--grpc-tls-key-path={}", file("certs/localhost.key")),
    ];
    let launch = launch(program, grpc, more.into());
    Server::start(launch, folder, || TcpStream::connect((Ipv4Addr::LOCALHOST, grpc)).is_ok())
}

fn launch(program: &Path, grpc: u16, more: Vec<String>) -> Launch<'_> {
    let usual = [
        "serve",
        "--datastore-engine=memory",
        &format!("--grpc-preshared-key={KEY}"),
        &format!("--grpc-addr=127.0.0.1:{grpc}"),
        "--metrics-enabled=false",
        "--telemetry-endpoint=",
        "--skip-release-check",
    ];
    Launch {
        name: "spicedb",
        program,
        arguments: usual.map(str::to_owned).into_iter().chain(more).collect(),
        environment: Vec::new(),
        patience: Duration::from_secs(60),
    }
}

fn prepare(web: &Web) -> Result<(), String> {
    web.json("POST", "/v1/schema/write", KEY, &json!({ "schema": SCHEMA }))?;
    for (relation, user, caveat) in
        [("writer", "jane", None), ("reader", "john", None), ("reader", "joan", Some("in_office"))]
    {
        write(web, "OPERATION_TOUCH", relation, user, caveat)?;
    }
    Ok(())
}

/// Writes a relationship of post 1, or deletes it.
fn write(web: &Web, operation: &str, relation: &str, user: &str, caveat: Option<&str>) -> Result<Value, String> {
    let mut relationship = json!({
        "resource": { "objectType": "blog/post", "objectId": "1" },
        "relation": relation,
        "subject": { "object": { "objectType": "blog/user", "objectId": user } },
    });
    if let Some(caveat) = caveat {
        relationship["optionalCaveat"] = json!({ "caveatName": caveat });
    }
    let updates = json!({ "updates": [{ "operation": operation, "relationship": relationship }] });
    web.json("POST", "/v1/relationships/write", KEY, &updates)
}

fn policies() -> Vec<Policy> {
    let policy = |name, endpoint: &str, insecure: bool, secret: Value| {
        let mut spicedb = json!({
            "endpoint": endpoint,
            "insecure": insecure,
            "subject": { "kind": { "value": "blog/user" }, "name": { "selector": "request.headers.x-who" } },
            "resource": { "kind": { "selector": "request.headers.x-kind" }, "name": { "value": "1" } },
            "permission": { "selector": "request.headers.x-permission" },
        });
        if let Some(key) = secret.as_str() {
            spicedb["sharedSecretRef"] = json!({ "name": key, "key": "key" });
        }
        let spec = json!({
            "hosts": ["*"],
            "authentication": { "anybody": { "anonymous": {} } },
            "authorization": { "posts": { "spicedb": spicedb } },
            "response": { "success": { "headers": { "x-answer": { "plain": { "selector": "auth.authorization.posts" } } } } },
        });
        let secrets = [("ours", KEY), ("wrong", "key-of-nobody")];
        let resources = secrets.map(|(name, key)| stage::secret(name, &json!({ "key": key })));
        Policy { resources: resources.into(), ..Policy::new(name, spec) }
    };
    vec![
        policy("posts", HOST, true, json!("ours")),
        policy("wrong-key", HOST, true, json!("wrong")),
        policy("no-key", HOST, true, Value::Null),
        policy("passing", PASSING_HOST, false, json!("ours")),
    ]
}

impl World {
    /// Asks whether somebody may do something with post 1.
    fn ask(&self, listener: &str, who: &str, permission: &str) -> Response {
        self.ask_of(listener, "blog/post", who, permission)
    }

    fn ask_of(&self, listener: &str, kind: &str, who: &str, permission: &str) -> Response {
        let headers = [("x-kind", kind), ("x-who", who), ("x-permission", permission)];
        let request = headers
            .into_iter()
            .fold(Request::new("GET", "/posts/1", "api.test"), |request, (name, value)| request.header(name, value));
        self.stage.send(listener, request)
    }
}

fn allowed(world: &World) {
    for (who, permission) in [("jane", "write"), ("jane", "read"), ("john", "read")] {
        let answer = upstream_header(&world.ask("posts", who, permission), "x-answer").unwrap_or_default();
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(answer["permissionship"], 2, "{answer}");
        assert!(answer["checked_at"]["token"].as_str().is_some_and(|token| !token.is_empty()), "{answer}");
    }
}

fn refused(world: &World) {
    for (who, permission) in [("john", "write"), ("nobody", "read")] {
        let response = world.ask("posts", who, permission);
        denied(&response, 403, "PERMISSIONSHIP_NO_PERMISSION;token=");
        let token = reason(&response).and_then(|reason| Some(reason.split_once("token=")?.1)).unwrap_or_default();
        let question = json!({
            "consistency": { "atExactSnapshot": { "token": token } },
            "resource": { "objectType": "blog/post", "objectId": "1" },
            "permission": permission,
            "subject": { "object": { "objectType": "blog/user", "objectId": who } },
        });
        let answer = world.web.json("POST", "/v1/permissions/check", KEY, &question);
        let answer = answer.unwrap_or_else(|error| panic!("SpiceDB does not know the token {token}: {error}"));
        assert_eq!(answer["permissionship"], "PERMISSIONSHIP_NO_PERMISSION", "{answer}");
    }
}

fn changed(world: &World) {
    let write =
        |operation| write(&world.web, operation, "reader", "guest", None).unwrap_or_else(|error| panic!("{error}"));
    denied(&world.ask("posts", "guest", "read"), 403, "NO_PERMISSION");
    write("OPERATION_CREATE");
    // SpiceDB itself answers from what it had some seconds ago.
    world.stage.until(200, || world.ask("posts", "guest", "read"));
    write("OPERATION_DELETE");
    world.stage.until(403, || world.ask("posts", "guest", "read"));
}

fn conditional(world: &World) {
    denied(&world.ask("posts", "joan", "read"), 403, "PERMISSIONSHIP_CONDITIONAL_PERMISSION;token=");
}

fn unknown_permission(world: &World) {
    denied(&world.ask("posts", "jane", "burn"), 403, "the SpiceDB server cannot check the permission");
}

fn unknown_definition(world: &World) {
    let response = world.ask_of("posts", "blog/comment", "jane", "read");
    denied(&response, 403, "the SpiceDB server cannot check the permission");
}

fn broken_id(world: &World) {
    denied(&world.ask("posts", "jane doe?", "read"), 403, "the SpiceDB server cannot check the permission");
}

fn wrong_key(world: &World) {
    denied(&world.ask("wrong-key", "jane", "read"), 503, "the SpiceDB server does not answer as it should");
}

fn no_key(world: &World) {
    denied(&world.ask("no-key", "jane", "read"), 503, "the SpiceDB server does not answer as it should");
}

fn gone(world: &World) {
    assert_eq!(world.ask("passing", "jane", "write").status, 200);
    denied(&world.ask("passing", "john", "read"), 403, "NO_PERMISSION");
    let server = world.passing.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(server.expect("it is there"));
    for _ in 0..3 {
        denied(&world.ask("passing", "jane", "write"), 503, "the SpiceDB server does not answer");
    }
}
