//! A call, as policies over identity see it: from the command line, which says nothing that they would not look at.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sidegate_config::EastWestOptions;
use sidegate_engine::Headers;
use sidegate_engine::east_west::{Facts, Http, Identity, SpiffeId, address};

use super::headers;
use crate::args::Explain;

/// Who has no identity, as `--from` says it.
const NOBODY: &str = "nobody";

/// A call.
#[derive(Debug)]
pub struct Call {
    identity: Identity,
    port: Option<u16>,
    is_request: bool,
    headers: Headers,
    tokens: Vec<Value>,
    metadata: Value,
    known: Known,
}

/// What Envoy knows of the connection.
#[derive(Debug, Default)]
struct Known {
    peer: Option<IpAddr>,
    client: Option<IpAddr>,
    destination: Option<IpAddr>,
    server_name: String,
}

/// Refuses what policies over identity do not look at, rather than leave it out of sight.
pub fn check(arguments: &Explain) -> Result<(), String> {
    let Explain { host, method, path, headers, token, body, from, tcp, now, jwks, replies, .. } = arguments;
    for (given, name, why) in [
        (body.is_some(), "--body", "do not look at bodies"),
        (now.is_some(), "--now", "do not look at the time: a token is taken for verified"),
        (jwks.is_some(), "--jwks", "need no keys: a token is taken for verified"),
        (replies.is_some(), "--replies", "ask nobody"),
    ] {
        if given {
            return Err(format!("`{name}` cannot be used with `--workload`: policies over identity {why}"));
        }
    }
    let of_requests = [
        (host.is_some(), "--host"),
        (method.is_some(), "--method"),
        (path.is_some(), "--path"),
        (!headers.is_empty(), "--header"),
        (token.is_some(), "--token"),
    ];
    if let Some((_, name)) = of_requests.iter().find(|(given, _)| *given && *tcp) {
        return Err(format!("`{name}` cannot be used with `--tcp`: a connection has no such thing"));
    }
    if from.is_none() && (host.is_some() || arguments.is_request()) {
        return Err("say by `--from` who calls, an identity or `nobody`; without, no call is decided".to_owned());
    }
    Ok(())
}

impl Call {
    /// The one that the command line says.
    pub fn read(arguments: &Explain, options: &EastWestOptions) -> Result<Self, String> {
        let Explain { port, token, attributes, from, tcp, .. } = arguments;
        let identity = match from.as_deref() {
            None | Some(NOBODY) => Identity::Absent,
            Some(text) => {
                Identity::Known(SpiffeId::parse(text).map_err(|reason| format!("`--from {text}`: {reason}"))?)
            }
        };
        let payload = token.as_deref().map(payload).transpose()?;
        let key = match &options.jwt_payload_keys {
            Some(keys) => keys.first().map(String::as_str),
            None => Some("payload"),
        };
        // Where the options name no key, tokens are not looked at.
        let verified: Map<String, Value> =
            key.zip(payload).map(|(key, payload)| (key.to_owned(), payload)).into_iter().collect();
        let tokens = verified.values().cloned().collect();
        Ok(Self {
            identity,
            port: *port,
            is_request: !tcp,
            headers: Headers::from_pairs(pairs(arguments)?),
            tokens,
            metadata: if verified.is_empty() { json!({}) } else { json!({ "envoy.filters.http.jwt_authn": verified }) },
            known: Known::read(attributes, options, *tcp)?,
        })
    }

    /// As policies decide by it.
    pub fn facts(&self) -> Facts<'_> {
        let Self { identity, port, is_request, headers, tokens, metadata, known } = self;
        let Known { peer, client, destination, server_name } = known;
        Facts {
            identity,
            port: *port,
            peer: *peer,
            client: *client,
            destination: *destination,
            server_name: Some(server_name),
            metadata: is_request.then_some(metadata),
            http: is_request.then_some(Http { headers, tokens: Some(tokens) }),
        }
    }
}

impl Known {
    fn read(attributes: &[String], options: &EastWestOptions, tcp: bool) -> Result<Self, String> {
        let peer = options.peer_address.as_ref();
        let filter_state = peer.and_then(|peer| peer.filter_state.as_ref()).filter(|_| !tcp);
        let filter_state = filter_state.map(|name| format!("filter_state.{name}"));
        let is_source = tcp || peer.is_some_and(|peer| peer.source_address == Some(true));
        let mut known = Self::default();
        for text in attributes {
            let (name, value) = text.split_once('=').ok_or("an attribute is written as `name=value`")?;
            let read = || address(value).map(Some).ok_or_else(|| format!("`{text}`: that is no address"));
            match name {
                "source.address" => {
                    known.client = read()?;
                    known.peer = if is_source { known.client } else { known.peer };
                }
                "destination.address" => known.destination = read()?,
                "connection.requested_server_name" => value.clone_into(&mut known.server_name),
                name if Some(name) == filter_state.as_deref() => known.peer = read()?,
                _ => {
                    let more = filter_state.map(|name| format!(", `{name}`")).unwrap_or_default();
                    return Err(format!(
                        "`{name}` is no attribute that policies over identity look at here; they look at `source.address`, \
                         `destination.address`, `connection.requested_server_name`{more}, `--from` and `--port`"
                    ));
                }
            }
        }
        Ok(known)
    }
}

/// What a JSON Web Token says; who made it was checked before policies look at it.
fn payload(token: &str) -> Result<Value, String> {
    let mut parts = token.trim().split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("`--token` is no JSON Web Token, and policies over identity look at the payload of one".to_owned());
    };
    let decoded = URL_SAFE_NO_PAD.decode(payload).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    decoded.filter(Value::is_object).ok_or_else(|| "the payload of `--token` is no JSON object in base64url".to_owned())
}

fn pairs(arguments: &Explain) -> Result<Vec<(String, Vec<u8>)>, String> {
    let Explain { host, method, path, .. } = arguments;
    let pseudo = [(":authority", host, ""), (":method", method, "GET"), (":path", path, "/")];
    let pseudo = pseudo.map(|(name, given, default)| (name.to_owned(), given.as_deref().unwrap_or(default).to_owned()));
    Ok(pseudo.into_iter().chain(headers(arguments)?).map(|(name, value)| (name, value.into_bytes())).collect())
}
