//! New policies, while requests and connections come in.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sidegate_tests::client::{self, Request};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::{self, Cluster, Listener};
use sidegate_tests::mtls::{self, Authority, Clients, Dial, Pair};
use sidegate_tests::servers::talker::Talker;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::mesh::{API, EVIL, SLEEP, allow, eventually, sleep};
use crate::world::World;

pub const UNDER_LOAD: (&str, super::Alone) =
    ("mesh: policies change under load, and not one decision is wrong", updates_under_load);

/// The last of them has no guest.
const EDITIONS: usize = 6;

/// Where everything is.
struct Stage {
    authority: Authority,
    api: Pair,
    http: u16,
    tcp: u16,
}

impl Stage {
    /// `sleep` is let in by a policy of another name each time, `guest` every other time, beside others that are of no matter.
    fn listeners(&self, paths: &Paths, edition: usize) -> Vec<Listener> {
        let name = format!("edition-{edition}");
        let account = |namespace: &str, name: &str| json!({ "type": "ServiceAccount", "serviceAccount": { "namespace": namespace, "name": name } });
        let mut policies = vec![allow(&name, json!([{ "sources": [sleep()] }]))];
        if has_guest(edition) {
            policies.push(allow("guests", json!([{ "sources": [account("foo", "guest")] }])));
        }
        for number in 0..edition {
            policies.push(allow(
                &format!("zz-{number}"),
                json!([{ "sources": [account("other", &format!("n{number}"))] }]),
            ));
        }
        let configuration = json!({
            "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": policies,
            "workload": { "namespace": "prod", "labels": { "app": "api" } },
        })
        .to_string();
        let tls = || Some(mtls::server(&self.api, &self.authority, Clients::Required));
        let http = Listener::new("http", &paths.wasm, &configuration);
        let tcp = Listener::tcp("tcp", &paths.wasm, &configuration, "quiet");
        vec![
            Listener { port: self.http, transport_socket: tls(), ..http },
            Listener { port: self.tcp, transport_socket: tls(), ..tcp },
        ]
    }

    async fn status(&self, pair: &Pair) -> Result<u16, String> {
        let dial = Dial { pair: Some(pair), ..Dial::default() };
        let mut stream = dial.tls(SocketAddr::from(([127, 0, 0, 1], self.http)), &self.authority).await?;
        let request = Request::new("GET", "/update", "api.prod").body(None);
        Ok(client::exchange(&mut stream, &request).await?.status)
    }

    async fn echo(&self, pair: &Pair) -> Result<Vec<u8>, String> {
        let dial = Dial { pair: Some(pair), ..Dial::default() };
        let mut stream = dial.tls(SocketAddr::from(([127, 0, 0, 1], self.tcp)), &self.authority).await?;
        let mut heard = vec![0; 5];
        drop(stream.write_all(b"hello").await);
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut heard)).await;
        let whole = read.map_err(|_| "neither an answer nor an end".to_owned())?.is_ok();
        Ok(if whole { heard } else { Vec::new() })
    }
}

fn has_guest(edition: usize) -> bool {
    edition % 2 == 1
}

fn updates_under_load(paths: &Paths) {
    let port = || config::free_port().expect("there are ports");
    let authority = Authority::new("mesh").expect("an authority");
    let issue = |id| authority.issue(&[id]).expect("a certificate");
    let [api, friend, stranger, guest] = [API, SLEEP, EVIL, "spiffe://cluster.local/ns/foo/sa/guest"].map(issue);
    let stage = Stage { authority, api, http: port(), tcp: port() };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let quiet = runtime.block_on(Talker::start(b"")).expect("a server");
    let clusters = [Cluster::new("quiet", quiet.address)];
    let world = World::with_clusters(paths, &stage.listeners(paths, 0), &[].into(), &clusters)
        .unwrap_or_else(|error| panic!("{error}"));
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let end = Instant::now() + Duration::from_secs(120);
    let load = |check: &(dyn Fn() + Sync)| {
        while !done.load(Ordering::Relaxed) && Instant::now() < end {
            check();
            asked.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let (load, stage, friend, stranger, guest, runtime) = (&load, &stage, &friend, &stranger, &guest, &runtime);
        scope.spawn(move || load(&|| assert_eq!(runtime.block_on(stage.status(friend)), Ok(200))));
        scope.spawn(move || load(&|| assert_eq!(runtime.block_on(stage.status(stranger)), Ok(403))));
        scope.spawn(move || load(&|| assert_eq!(runtime.block_on(stage.echo(friend)), Ok(b"hello".to_vec()))));
        scope.spawn(move || load(&|| assert_eq!(runtime.block_on(stage.echo(stranger)), Ok(Vec::new()))));
        for edition in 1..=EDITIONS {
            world.envoy.update_listeners(&stage.listeners(paths, edition)).expect("the file is written");
            let decider = format!("prod/edition-{edition}#0");
            eventually(&format!("{decider} decides"), || world.envoy.access_log().contains(&decider).then_some(()));
            let tcp = || world.envoy.plugin_log("tcp", "debug").iter().any(|line| line.contains(&decider));
            eventually(&format!("{decider} decides about connections"), || tcp().then_some(()));
            let (status, heard) = if has_guest(edition) { (200, b"hello".to_vec()) } else { (403, Vec::new()) };
            eventually(&format!("guest gets {status}"), || {
                let (asked, spoke) = runtime.block_on(async { (stage.status(guest).await, stage.echo(guest).await) });
                (asked == Ok(status) && spoke == Ok(heard.clone())).then_some(())
            });
            let before = asked.load(Ordering::Relaxed);
            eventually("there is load", || (asked.load(Ordering::Relaxed) > before + 40).then_some(()));
        }
        // What was taken back stays taken back.
        for _ in 0..10 {
            assert_eq!(runtime.block_on(stage.status(guest)), Ok(if has_guest(EDITIONS) { 200 } else { 403 }));
        }
        done.store(true, Ordering::Relaxed);
    });
}
