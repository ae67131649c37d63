//! Envoy's admin interface, asked one blocking request at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{self, Response};

/// The admin interface.
#[derive(Debug, Clone, Copy)]
pub struct Admin(SocketAddr);

/// What became of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerState {
    /// It serves here.
    Active(SocketAddr),
    /// Envoy refused it; why.
    Refused(String),
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Admin {
    /// At an address.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// The body of a page.
    ///
    /// # Errors
    /// The status is not 200, or there is no answer.
    pub fn get(&self, path: &str) -> Result<String, String> {
        self.ask("GET", path)
    }

    /// Does something by POST.
    ///
    /// # Errors
    /// The status is not 200, or there is no answer.
    pub fn post(&self, path: &str) -> Result<String, String> {
        self.ask("POST", path)
    }

    fn ask(&self, method: &str, path: &str) -> Result<String, String> {
        let exchange = || {
            let mut stream = TcpStream::connect_timeout(&self.0, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        let answer = exchange().map_err(|error| format!("admin {path}: {error}"))?;
        let Response { status, body, .. } = client::parse(&answer)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        if status == 200 { Ok(body) } else { Err(format!("admin {path}: {status} {body}")) }
    }

    /// The value of one statistic; 0 if Envoy has none of that name.
    ///
    /// # Errors
    /// There is no answer.
    pub fn stat(&self, name: &str) -> Result<u64, String> {
        Ok(self.stats(name)?.get(name).copied().unwrap_or(0))
    }

    /// Counters and gauges whose names have this text in them.
    ///
    /// # Errors
    /// There is no answer.
    pub fn stats(&self, part: &str) -> Result<BTreeMap<String, u64>, String> {
        let all = self.get("/stats")?;
        let lines = all.lines().filter_map(|line| line.split_once(": "));
        let numbers = lines.filter(|(name, _)| name.contains(part));
        Ok(numbers.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect())
    }

    /// What became of each listener, once Envoy has dealt with all of these.
    ///
    /// # Errors
    /// It has not after a while.
    pub fn listeners(&self, names: &[&str]) -> Result<BTreeMap<String, ListenerState>, String> {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let states = self.listener_states()?;
            match names.iter().find(|name| !states.contains_key(**name)) {
                None => return Ok(states),
                Some(name) if Instant::now() > end => return Err(format!("Envoy knows nothing of listener `{name}`")),
                Some(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn listener_states(&self) -> Result<BTreeMap<String, ListenerState>, String> {
        let dump =
            json(&self.get(
                "/config_dump?resource=dynamic_listeners&mask=name,error_state.details,active_state.version_info",
            )?)?;
        let mut states = BTreeMap::new();
        for listener in dump["configs"].as_array().into_iter().flatten() {
            if let (Some(name), Some(details)) =
                (listener["name"].as_str(), listener["error_state"]["details"].as_str())
            {
                states.insert(name.to_owned(), ListenerState::Refused(details.to_owned()));
            }
        }
        for listener in
            json(&self.get("/listeners?format=json")?)?["listener_statuses"].as_array().into_iter().flatten()
        {
            let address = &listener["local_address"]["socket_address"];
            let ip = address["address"].as_str().and_then(|ip| ip.parse().ok());
            let port = address["port_value"].as_u64().and_then(|port| u16::try_from(port).ok());
            if let (Some(name), Some(ip), Some(port)) = (listener["name"].as_str(), ip, port) {
                let active = ListenerState::Active(SocketAddr::new(ip, port));
                states.entry(name.to_owned()).or_insert(active);
            }
        }
        Ok(states)
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("admin: {error}"))
}
