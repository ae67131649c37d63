//! The rows of `tests/east-west`, which the engine decides alone there, through a real Envoy: each by a listener of its own, with
//! certificates for the identities, and the ports and addresses by the PROXY protocol.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sidegate_tests::client::{self, Request};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::{Cluster, Listener};
use sidegate_tests::mtls::{self, Authority, Clients, Dial};
use sidegate_tests::servers::talker::Talker;
use sidegate_tests::vectors::{self, Call, Row, Table};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

use super::mesh::{API, eventually};
use crate::world::World;

/// An Envoy with a listener for each row.
pub struct Vectors {
    world: World,
    authority: Authority,
    /// Servers run as long as this.
    _servers: Runtime,
}

/// A row, and where it is from.
#[derive(Debug, Clone)]
pub struct Vector {
    pub name: String,
    table: Table,
    row: Row,
}

/// Rows that never come to the filter, with the reason.
const BEFORE_THE_FILTER: [(&str, &str); 2] = [
    ("istio-path-without-query", "Envoy answers 400 to a path with a fragment"),
    ("istio-method-case", "Envoy's parser knows no method `get`"),
];

/// All rows but those of [`BEFORE_THE_FILTER`].
pub fn all() -> Vec<Vector> {
    let tables = vectors::load().unwrap_or_else(|error| panic!("{error}"));
    tables
        .into_iter()
        .flat_map(|(file, table)| {
            let rows = table.rows.clone();
            rows.into_iter().map(move |row| {
                // One word, so that it is found in logs.
                let name = format!("{file}-{}", row.id.replace(' ', "-"));
                Vector { name, table: table.clone(), row }
            })
        })
        .filter(|vector| BEFORE_THE_FILTER.iter().all(|(name, _)| *name != vector.name))
        .collect()
}

impl Vectors {
    pub fn start(paths: &Paths) -> Result<Self, String> {
        let authority = Authority::new("mesh")?;
        // A client looks for the name that it asks for.
        let vectors = all();
        let asked: Vec<String> =
            vectors.iter().filter_map(|vector| vector.table.call(&vector.row).server_name).collect();
        let names: Vec<&str> = std::iter::once("localhost").chain(asked.iter().map(String::as_str)).collect();
        let own = authority.issue_named(&names, &[API])?;
        let servers = Runtime::new().map_err(|error| error.to_string())?;
        let quiet = servers.block_on(Talker::start(b"")).map_err(|error| error.to_string())?;
        let tls = mtls::server(&own, &authority, Clients::Optional);
        let listeners = vectors.iter().map(|vector| vector.listener(paths, &tls)).collect::<Result<Vec<_>, _>>()?;
        let world = World::with_clusters(paths, &listeners, &[].into(), &[Cluster::new("quiet", quiet.address)])?;
        Ok(Self { world, authority, _servers: servers })
    }

    /// Runs one.
    pub fn check(&self, vector: &Vector) -> Result<(), String> {
        let Vector { name, table, row } = vector;
        let call = table.call(row);
        let uris = call.identities.clone().unwrap_or_default();
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let pair = if uris.is_empty() { None } else { Some(self.authority.issue(&uris)?) };
        let preamble = preamble(&call)?;
        let server_name = call.server_name.as_deref();
        let dial = Dial { pair: pair.as_ref(), preamble: preamble.as_bytes(), server_name, ..Dial::default() };
        let address = self.world.address(name);
        let [allowed, decider, shadow] = if call.connection == Some(true) {
            let echoed = self.world.block_on(self.echo(&dial, address))?;
            self.connection(name, echoed)
        } else {
            let status = self.world.block_on(self.status(&dial, address, name, &call))?;
            self.request(name, status)?
        };
        let got = format!("{allowed} {decider}");
        let plain = got.strip_suffix("(Network)").or_else(|| got.strip_suffix("(Application)"));
        if got != row.want && plain != Some(&row.want) {
            return Err(format!("expected {}, got {got}", row.want));
        }
        // It is told only where it is something else.
        let wanted = row.shadow.as_deref().and_then(|shadow| shadow.split_once(' '));
        match wanted.map(|(decision, who)| (decision.to_ascii_lowercase(), who)) {
            Some((decision, who)) if !row.want.to_ascii_lowercase().starts_with(&decision) => {
                let wanted = format!("{decision} by {who}");
                if shadow == wanted { Ok(()) } else { Err(format!("expected in the shadow {wanted}, got {shadow}")) }
            }
            _ => Ok(()),
        }
    }

    async fn status(&self, dial: &Dial<'_>, address: SocketAddr, name: &str, call: &Call) -> Result<u16, String> {
        let text = |field: &Option<String>, default: &str| field.clone().unwrap_or_else(|| default.to_owned());
        let (method, host) = (text(&call.method, "GET"), text(&call.host, "api.test"));
        // CONNECT names who is to be connected to, with a port, and no path.
        let path = if method == "CONNECT" { format!("{host}:80") } else { text(&call.path, "/") };
        let host = if method == "CONNECT" { &path } else { &host };
        let mut request = Request::new(&method, &path, host).header("x-request-id", name);
        for (name, value) in call.headers.iter().flatten() {
            request = request.header(name, value);
        }
        if let Some(client) = &call.client {
            request = request.header("x-forwarded-for", client);
        }
        if let Some(peer) = &call.peer {
            request = request.header("x-test-peer", peer);
        }
        let mut stream = dial.tls(address, &self.authority).await?;
        Ok(client::exchange(&mut stream, &request.body(None)).await?.status)
    }

    async fn echo(&self, dial: &Dial<'_>, address: SocketAddr) -> Result<bool, String> {
        let mut stream = dial.tls(address, &self.authority).await?;
        let mut heard = [0; 5];
        drop(stream.write_all(b"hello").await);
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut heard)).await;
        let read = read.map_err(|_| "neither an answer nor an end".to_owned())?;
        Ok(read.is_ok() && &heard == b"hello")
    }

    /// What the access log says of a request.
    fn request(&self, name: &str, status: u16) -> Result<[String; 3], String> {
        let line: Value = eventually(&format!("the access log has {name}"), || {
            let log = self.world.envoy.access_log();
            log.lines().filter_map(|line| serde_json::from_str(line).ok()).find(|line: &Value| line["id"] == name)
        });
        let fact = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        let allowed = match (status, fact("decision").as_str()) {
            (200, "ok") => "ALLOW",
            (403, "permission_denied") => "DENY",
            _ => return Err(format!("the status is {status}: {line}")),
        };
        Ok([allowed.to_owned(), fact("decider"), fact("shadow")])
    }

    /// What the log of connections says, of which there is one.
    fn connection(&self, name: &str, echoed: bool) -> [String; 3] {
        let line = eventually(&format!("the log has {name}"), || {
            let log = fs::read_to_string(self.world.envoy.folder().join("connections.log")).unwrap_or_default();
            log.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned))
        });
        let facts: Vec<&str> = line.split(' ').collect();
        let decider = facts.get(1).copied().unwrap_or_default();
        let shadow = match facts.get(3..6) {
            Some([decision @ ("allow" | "deny"), "by", who]) => format!("{decision} by {who}"),
            _ => "-".to_owned(),
        };
        [if echoed { "ALLOW" } else { "DENY" }.to_owned(), decider.to_owned(), shadow]
    }
}

impl Vector {
    fn listener(&self, paths: &Paths, tls: &Value) -> Result<Listener, String> {
        let Self { name, table, row } = self;
        let configuration = table.configuration(row)?;
        let tokens = configuration["options"]["eastWest"]["jwtPayloadKeys"][0].as_str().unwrap_or("payload").to_owned();
        let configuration = configuration.to_string();
        let call = table.call(row);
        let mut listener = if call.connection == Some(true) {
            Listener::tcp(name, &paths.wasm, &configuration, "quiet")
        } else {
            Listener::new(name, &paths.wasm, &configuration)
        };
        listener.transport_socket = Some(tls.clone());
        listener.listener_filters.push(json!({ "name": "proxy", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
        } }));
        // Without it nobody knows which name was asked for.
        listener.listener_filters.push(json!({ "name": "inspector", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        } }));
        let metadata = call.metadata.as_ref().and_then(Value::as_object).into_iter().flatten();
        listener.surroundings.metadata = metadata.map(|(filter, value)| (filter.clone(), value.clone())).collect();
        if let Some(token) = &call.token {
            let payload = json!({ tokens: token });
            listener.surroundings.metadata.insert("envoy.filters.http.jwt_authn".to_owned(), payload);
        }
        listener.before.push(json!({ "name": "peer", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [{
                "object_key": "peer", "factory_key": "envoy.string",
                "format_string": { "text_format_source": { "inline_string": "%REQ(X-TEST-PEER)%" } },
            }],
        } }));
        Ok(listener)
    }
}

/// What a proxy in front says of the connection.
fn preamble(call: &Call) -> Result<String, String> {
    let peer = call.peer.as_deref().unwrap_or("127.0.0.1");
    let port = call.port.ok_or("a row needs a port")?;
    let (protocol, local) = if peer.contains(':') { ("TCP6", "fd00::2") } else { ("TCP4", "10.0.0.2") };
    let of_the_same_kind = |local: &&str| local.contains(':') == peer.contains(':');
    let local = call.destination.as_deref().filter(of_the_same_kind).unwrap_or(local);
    Ok(format!("PROXY {protocol} {peer} {local} 40000 {port}\r\n"))
}
