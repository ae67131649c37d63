//! Asks servers, and says what they answered.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use sidegate_tests::client::{self, Request, Response};
use tokio::runtime::{Builder, Runtime};

/// A server's HTTP interface on loopback.
#[derive(Debug)]
pub struct Web {
    pub address: SocketAddr,
    authority: String,
    tls: bool,
    runtime: Runtime,
}

impl Web {
    pub fn new(port: u16, authority: &str) -> Result<Self, String> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into(), authority: authority.to_owned(), tls: false, runtime })
    }

    /// In TLS, as `localhost`, with a certificate of the fixtures' authority.
    pub fn secure(port: u16, authority: &str) -> Result<Self, String> {
        Ok(Self { tls: true, ..Self::new(port, authority)? })
    }

    pub fn send(&self, request: &[u8]) -> Result<Response, String> {
        match self.tls {
            true => self.runtime.block_on(client::send_tls(self.address, None, request)),
            false => self.runtime.block_on(client::send(self.address, request)),
        }
    }

    /// Whether a page can be had.
    pub fn is_ready(&self, path: &str) -> bool {
        let request = Request::new("GET", path, &self.authority).body(None);
        self.send(&request).is_ok_and(|response| (200..=299).contains(&response.status))
    }

    /// Sends a form, with the name and password of a client if there is one.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Result<Value, String> {
        let form: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let request =
            Request::new("POST", path, &self.authority).header("content-type", "application/x-www-form-urlencoded");
        self.answer("POST", path, &request.body(Some(&form.join("&"))))
    }

    /// Sends JSON, or nothing if it is null, as the holder of a token.
    pub fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> Result<Value, String> {
        let request = Request::new(method, path, &self.authority).header("authorization", format!("Bearer {token}"));
        let request = match body {
            Value::Null => request.body(None),
            body => request.header("content-type", "application/json").body(Some(&body.to_string())),
        };
        self.answer(method, path, &request)
    }

    /// The JSON of a good answer, or null if it has no body.
    fn answer(&self, method: &str, path: &str, request: &[u8]) -> Result<Value, String> {
        let Response { status, body, .. } = self.send(request).map_err(|error| format!("{method} {path}: {error}"))?;
        match (status, body.is_empty()) {
            (200..=299, true) => Ok(Value::Null),
            (200..=299, false) => serde_json::from_slice(&body).map_err(|error| format!("{method} {path}: {error}")),
            _ => Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body))),
        }
    }
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
