//! Calls.

use std::net::IpAddr;

use serde_json::{Value, json};
use sidegate_engine::Headers;
use sidegate_engine::east_west::{Chain, Facts, Http, Identity, SpiffeId};

use super::{ADDRESSES, AUDIENCES, Dice, ISSUERS, PATHS, PORTS};

impl Dice {
    /// A call of what may come to a chain of filters.
    pub fn call_of(&mut self, chain: Chain) -> Call {
        let call = self.call();
        match chain {
            Chain::Http => call,
            Chain::Tcp => Call { http: None, metadata: None, ..call },
        }
    }

    pub fn call(&mut self) -> Call {
        let identity = match self.below(8) {
            0 => Identity::Absent,
            1 if self.one_in(2) => Identity::Invalid("it has two names"),
            _ => Identity::Known(SpiffeId::parse(&self.spiffe()).unwrap()),
        };
        let http = !self.one_in(8);
        let tokens = self.some(1, |dice| {
            let groups = dice.pick(&[json!(["user", "admin"]), json!("admin"), json!(["user"]), json!(7), Value::Null]);
            let audiences = dice.pick(&[json!(AUDIENCES), json!(AUDIENCES[0]), Value::Null]);
            json!({
                "iss": dice.pick(&ISSUERS), "sub": dice.pick(&["a", "b", ""]), "groups": groups, "aud": audiences,
                "azp": dice.pick(&AUDIENCES), "a": dice.pick(&[json!({"b": "c"}), json!({"b": ["c", "d"]}), json!("c")]),
            })
        });
        let tokens = (!self.one_in(10)).then_some(tokens);
        let mut headers = vec![
            (":method".to_owned(), self.text(&["GET", "GET", "GET", "POST", "POST", "CONNECT"])),
            (":path".to_owned(), self.text(&PATHS)),
            (":authority".to_owned(), self.text(&["api.prod", "API.prod.:80", "prod", "[::1]:1", "other", "a@b"])),
        ];
        headers.extend(self.some(2, |dice| {
            let value =
                dice.text(&["admin", "user", "user, admin", "user,admin", "a,b", "", "x", "admin ", "user\u{a0}"]);
            (dice.text(&["x-role", "x-env"]), value)
        }));
        let address = |dice: &mut Self| (!dice.one_in(10)).then(|| dice.pick(&ADDRESSES).parse().unwrap());
        Call {
            identity,
            port: (!self.one_in(20)).then(|| self.pick(&PORTS)),
            peer: address(self),
            client: address(self),
            destination: address(self),
            server_name: (!self.one_in(10)).then(|| self.text(&["api.prod", "other", ""])),
            metadata: (!self.one_in(10)).then(|| {
                let value = self.pick(&[json!("v"), json!("w"), json!(["v", "w"]), json!(["x"]), json!(7)]);
                json!({ "envoy.filters.a": {"k": value} })
            }),
            http: http.then(|| (Headers::from_pairs(headers), tokens)),
        }
    }
}

#[derive(Debug)]
pub struct Call {
    identity: Identity,
    port: Option<u16>,
    peer: Option<IpAddr>,
    client: Option<IpAddr>,
    destination: Option<IpAddr>,
    server_name: Option<String>,
    metadata: Option<Value>,
    http: Option<(Headers, Option<Vec<Value>>)>,
}

impl Call {
    /// Whether all that rules may look at is known.
    pub fn is_readable(&self) -> bool {
        let Self { identity, port, peer, client, http, .. } = self;
        let known = !matches!(identity, Identity::Invalid(_)) && port.is_some() && peer.is_some() && client.is_some();
        let is_connect = |headers: &Headers| headers.all(":method").any(|method| method == b"CONNECT");
        known && http.as_ref().is_some_and(|(headers, tokens)| tokens.is_some() && !is_connect(headers))
    }

    pub fn facts(&self) -> Facts<'_> {
        let Self { identity, port, peer, client, destination, server_name, metadata, http } = self;
        Facts {
            identity,
            port: *port,
            peer: *peer,
            client: *client,
            destination: *destination,
            server_name: server_name.as_deref(),
            metadata: metadata.as_ref(),
            http: http.as_ref().map(|(headers, tokens)| Http { headers, tokens: tokens.as_deref() }),
        }
    }
}
