//! SpiceDB: `SPICEDB` is a folder with the program. Schema and relationships are written by its HTTP gateway.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sidegate_tests::envoy::Paths;

use crate::server::{self, Launch, Server};
use crate::web::Web;
use crate::{Case, Suite};

const KEY: &str = "key-of-the-proxy";

/// No case yet: the evaluator is not there. It will ask an Envoy cluster of HTTP/2 at the port `grpc`.
const ALL: &[(&str, Case<World>)] = &[];

struct World {
    _spicedb: Server,
}

pub fn suite(_: &Paths, folder: &Path) -> Result<Suite, String> {
    let [grpc, http] = server::free_ports()?;
    let program = folder.join("spicedb");
    let version = server::output(&program, &["version", "--skip-release-check"])?;
    let version = version.trim().trim_start_matches("spicedb v").to_owned();
    let web = Web::new(http, "localhost")?;
    let spicedb = start(&program, grpc, http)?;
    prepare(&web)?;
    check(&web)?;
    Ok(Suite::new(version, World { _spicedb: spicedb }, ALL))
}

fn start(program: &Path, grpc: u16, http: u16) -> Result<Server, String> {
    let arguments = [
        "serve",
        "--datastore-engine=memory",
        &format!("--grpc-preshared-key={KEY}"),
        &format!("--grpc-addr=127.0.0.1:{grpc}"),
        "--http-enabled",
        &format!("--http-addr=127.0.0.1:{http}"),
        "--metrics-enabled=false",
        "--telemetry-endpoint=",
        "--skip-release-check",
    ];
    let launch = Launch {
        name: "spicedb",
        program,
        arguments: arguments.map(str::to_owned).into(),
        environment: Vec::new(),
        patience: Duration::from_secs(60),
    };
    let gateway = Web::new(http, "localhost")?;
    // What it answers is no matter: there is no schema yet.
    Server::start(launch, server::folder("spicedb")?, || {
        gateway.json("POST", "/v1/schema/read", KEY, &json!({})).is_err_and(|error| error.contains("404"))
    })
}

fn prepare(web: &Web) -> Result<(), String> {
    let schema = "definition blog/user {}
        definition blog/post {
            relation reader: blog/user
            relation writer: blog/user
            permission read = reader + writer
            permission write = writer
        }";
    web.json("POST", "/v1/schema/write", KEY, &json!({ "schema": schema }))?;
    for (relation, user) in [("writer", "jane"), ("reader", "john")] {
        let relationship = json!({
            "resource": { "objectType": "blog/post", "objectId": "1" },
            "relation": relation,
            "subject": { "object": { "objectType": "blog/user", "objectId": user } },
        });
        let updates = json!({ "updates": [{ "operation": "OPERATION_TOUCH", "relationship": relationship }] });
        web.json("POST", "/v1/relationships/write", KEY, &updates)?;
    }
    Ok(())
}

/// That SpiceDB itself answers as cases will want: who may, who may not, and at which state of its data.
fn check(web: &Web) -> Result<(), String> {
    for (user, permission, expected) in [
        ("jane", "write", "PERMISSIONSHIP_HAS_PERMISSION"),
        ("john", "read", "PERMISSIONSHIP_HAS_PERMISSION"),
        ("john", "write", "PERMISSIONSHIP_NO_PERMISSION"),
        ("nobody", "read", "PERMISSIONSHIP_NO_PERMISSION"),
    ] {
        let question = json!({
            "consistency": { "fullyConsistent": true },
            "resource": { "objectType": "blog/post", "objectId": "1" },
            "permission": permission,
            "subject": { "object": { "objectType": "blog/user", "objectId": user } },
        });
        let answer = web.json("POST", "/v1/permissions/check", KEY, &question)?;
        let token = answer["checkedAt"]["token"].as_str().unwrap_or_default();
        if answer["permissionship"] != expected || token.is_empty() {
            return Err(format!("{user}, {permission}: {answer}"));
        }
    }
    Ok(())
}
