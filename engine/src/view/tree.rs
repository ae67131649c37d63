//! The shape of the Authorization JSON: what is where, and from what it is read.
//!
//! As Go's `omitempty` has it, empty texts, zeros and empty objects are absent, except where the table says `Object`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{Auth, Results, View, metadata, target};
use crate::call::Body;
use crate::gather::gathered;
use crate::request::{Attribute, Needs};

/// A node of the tree.
#[derive(Debug)]
pub enum Node {
    /// An object that is always there.
    Object(&'static [Member]),
    /// An object that is absent if it has no members.
    Optional(&'static [Member]),
    /// A value, and the attributes that it is read from.
    Value(fn(&View) -> Option<Value>, &'static [Attribute]),
    /// `auth.identity`.
    Identity,
    /// Results of rules.
    Results(fn(&Auth) -> &Results),
    /// Request headers by their lower-case names.
    Headers,
    /// Envoy's dynamic metadata by namespace.
    FilterMetadata,
}

type Member = (&'static str, Node);

impl Node {
    /// What is here, whole.
    pub fn read<'a>(&self, view: &'a View) -> Option<Cow<'a, Value>> {
        match self {
            Self::Object(members) => Some(Cow::Owned(Value::Object(whole(members, view)))),
            Self::Optional(members) => object(whole(members, view)),
            Self::Value(read, _) => read(view).map(Cow::Owned),
            Self::Identity => view.auth.identity.as_deref().map(Cow::Borrowed),
            Self::Results(results) => {
                let results = results(&view.auth).iter();
                object(gathered(results.map(|(name, value)| (name.to_string(), Value::clone(value)))))
            }
            Self::Headers => {
                // Each once: joining the repetitions of a name anew for each of them would cost their square.
                let names = view.request.headers.iter().map(|(name, _)| String::from_utf8_lossy(name));
                let names: BTreeSet<_> = gathered(names);
                object(gathered(names.into_iter().filter_map(|name| Some((name.to_string(), header(view, &name)?)))))
            }
            Self::FilterMetadata => {
                view.request.attributes.bytes(Attribute::Metadata).and_then(metadata::all).map(Cow::Owned)
            }
        }
    }

    /// One member of an object whose members nobody knows beforehand.
    pub fn read_member<'a>(&self, view: &'a View, name: &str) -> Option<Cow<'a, Value>> {
        match self {
            Self::Results(results) => results(&view.auth).get(name).map(|value| Cow::Borrowed(value.as_ref())),
            Self::Headers => header(view, name).map(Cow::Owned),
            Self::FilterMetadata => {
                let bytes = view.request.attributes.bytes(Attribute::Metadata)?;
                metadata::namespace(bytes, name).map(Cow::Owned)
            }
            Self::Object(_) | Self::Optional(_) | Self::Value(..) | Self::Identity => None,
        }
    }

    /// What is read of a request to read it whole: the attributes that must be fetched for it, and whether it is of the request at all.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        match self {
            // Who reads an object whole does not ask for the body by that: a request would have to wait for it.
            Self::Object(members) | Self::Optional(members) => {
                members.iter().for_each(|(_, node)| needs.extend(node.needs().without(Attribute::Body)));
            }
            Self::Value(_, attributes) => {
                needs.add_what_is_at_hand();
                attributes.iter().for_each(|attribute| needs.add(*attribute));
            }
            Self::FilterMetadata => needs.add(Attribute::Metadata),
            Self::Headers => needs.add_what_is_at_hand(),
            Self::Identity | Self::Results(_) => {}
        }
        needs
    }
}

fn whole(members: &[Member], view: &View) -> Map<String, Value> {
    gathered(members.iter().filter_map(|(name, node)| Some(((*name).to_owned(), node.read(view)?.into_owned()))))
}

fn object<'a>(members: Map<String, Value>) -> Option<Cow<'a, Value>> {
    (!members.is_empty()).then_some(Cow::Owned(Value::Object(members)))
}

use Node::{FilterMetadata, Headers, Identity, Object, Optional, Value as Read};

/// The whole.
pub static ROOT: Node = Object(&[
    ("context", CONTEXT),
    ("metadata", METADATA),
    (
        "request",
        Object(&[
            ("id", Read(|view| text(view.header("x-request-id")), &[])),
            ("time", TIME),
            ("protocol", PROTOCOL),
            ("scheme", SCHEME),
            ("host", HOST),
            ("method", METHOD),
            ("path", PATH),
            ("url_path", Read(|view| with_path(view, |path| text(Some(target::url_path(path)))), &[])),
            ("query", Read(|view| with_path(view, |path| text(Some(target::query(path).into()))), &[])),
            ("headers", Headers),
            ("referer", Read(|view| text(view.header("referer")), &[])),
            ("user_agent", Read(|view| text(view.header("user-agent")), &[])),
            ("size", SIZE),
            ("body", BODY),
            ("raw_body", RAW_BODY),
            (
                "grpc",
                Optional(&[
                    ("service", Read(|view| text(grpc(view).map(|(service, _)| service.into())), &[])),
                    ("method", Read(|view| text(grpc(view).map(|(_, method)| method.into())), &[])),
                ]),
            ),
        ]),
    ),
    // No `certificate`: upstream documents it here but never fills it.
    ("source", Object(&[("address", SOURCE_ADDRESS), ("port", SOURCE_PORT), ("principal", PRINCIPAL)])),
    ("destination", Object(&[("address", DESTINATION_ADDRESS), ("port", DESTINATION_PORT)])),
    (
        "auth",
        Object(&[
            ("identity", Identity),
            ("metadata", Node::Results(|auth| &auth.metadata)),
            ("authorization", Node::Results(|auth| &auth.authorization)),
            ("response", Node::Results(|auth| &auth.response)),
            ("callbacks", Node::Results(|auth| &auth.callbacks)),
        ]),
    ),
]);

/// `envoy.service.auth.v3.AttributeContext` as Go's `encoding/json` writes it; deprecated, and most selectors use it.
const CONTEXT: Node = Object(&[
    (
        "request",
        Object(&[
            ("time", TIME),
            (
                "http",
                Object(&[
                    ("id", Read(|view| text(view.header("x-request-id")), &[])),
                    ("method", METHOD),
                    ("headers", Headers),
                    ("path", PATH),
                    ("host", HOST),
                    ("scheme", SCHEME),
                    ("protocol", PROTOCOL),
                    ("size", SIZE),
                    ("body", BODY),
                    ("raw_body", RAW_BODY),
                ]),
            ),
        ]),
    ),
    (
        "source",
        Object(&[
            (
                "address",
                Optional(&[(
                    "Address",
                    Optional(&[(
                        "SocketAddress",
                        Optional(&[
                            ("address", SOURCE_ADDRESS),
                            ("PortSpecifier", Optional(&[("PortValue", SOURCE_PORT_VALUE)])),
                        ]),
                    )]),
                )]),
            ),
            ("principal", PRINCIPAL),
            ("certificate", Read(certificate, &[Attribute::PeerCertificate])),
        ]),
    ),
    (
        "destination",
        Object(&[(
            "address",
            Optional(&[(
                "Address",
                Optional(&[(
                    "SocketAddress",
                    Optional(&[
                        ("address", DESTINATION_ADDRESS),
                        ("PortSpecifier", Optional(&[("PortValue", DESTINATION_PORT_VALUE)])),
                    ]),
                )]),
            )]),
        )]),
    ),
    ("metadata_context", METADATA),
    (
        "tls_session",
        Optional(&[(
            "sni",
            Read(|view| attribute(view, Attribute::RequestedServerName), &[Attribute::RequestedServerName]),
        )]),
    ),
]);

const METADATA: Node = Optional(&[("filter_metadata", FilterMetadata)]);
const TIME: Node = Object(&[
    ("seconds", Read(|view| number(view.time.secs()), &[])),
    ("nanos", Read(|view| number(view.time.subsec_nanos()), &[])),
]);
const METHOD: Node = Read(|view| text(view.header(":method")), &[]);
const PATH: Node = Read(|view| text(view.header(":path")), &[]);
const HOST: Node = Read(|view| text(view.header(":authority").or_else(|| view.header("host"))), &[]);
const SCHEME: Node = Read(|view| text(view.header(":scheme")), &[]);
const PROTOCOL: Node = Read(|view| attribute(view, Attribute::Protocol), &[Attribute::Protocol]);
const SIZE: Node = Read(size, &[Attribute::Size]);
const BODY: Node = Read(|view| text(Some(String::from_utf8_lossy(body(view)?))), &[Attribute::Body]);
const RAW_BODY: Node = Read(|view| text(Some(STANDARD.encode(body(view)?).into())), &[Attribute::Body]);
const PRINCIPAL: Node = Read(|view| attribute(view, Attribute::PeerUriSan), &[Attribute::PeerUriSan]);
const SOURCE_ADDRESS: Node = Read(|view| ip(view, Attribute::SourceAddress), &[Attribute::SourceAddress]);
const SOURCE_PORT: Node =
    Read(|view| port(view, Attribute::SourceAddress).and_then(number), &[Attribute::SourceAddress]);
const DESTINATION_ADDRESS: Node =
    Read(|view| ip(view, Attribute::DestinationAddress), &[Attribute::DestinationAddress]);
const DESTINATION_PORT: Node =
    Read(|view| port(view, Attribute::DestinationAddress).and_then(number), &[Attribute::DestinationAddress]);
// The only number that is there even if it is zero: Go's name for the choice has no `omitempty`.
const SOURCE_PORT_VALUE: Node =
    Read(|view| port(view, Attribute::SourceAddress).map(Value::from), &[Attribute::SourceAddress]);
const DESTINATION_PORT_VALUE: Node =
    Read(|view| port(view, Attribute::DestinationAddress).map(Value::from), &[Attribute::DestinationAddress]);

fn header(view: &View, name: &str) -> Option<Value> {
    view.header(name).map(|value| Value::String(value.into_owned()))
}

fn text(value: Option<Cow<'_, str>>) -> Option<Value> {
    value.filter(|value| !value.is_empty()).map(|value| Value::String(value.into_owned()))
}

fn number(value: u64) -> Option<Value> {
    (value != 0).then(|| Value::from(value))
}

fn attribute(view: &View, attribute: Attribute) -> Option<Value> {
    text(view.request.attributes.text(attribute))
}

fn with_path<T>(view: &View, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    read(&view.header(":path")?)
}

fn size(view: &View) -> Option<Value> {
    let size: i64 = view.request.attributes.text(Attribute::Size)?.parse().ok()?;
    (size != 0).then(|| Value::from(size))
}

fn body(view: &View) -> Option<&[u8]> {
    view.request.body.get().map(|Body(bytes)| bytes.as_slice())
}

fn grpc(view: &View) -> Option<(String, String)> {
    view.header("content-type").filter(|kind| kind.starts_with("application/grpc"))?;
    with_path(view, target::grpc)
}

fn ip(view: &View, attribute: Attribute) -> Option<Value> {
    let address = view.request.attributes.text(attribute)?;
    let (ip, _) = split_address(&address)?;
    text(Some(ip.into()))
}

fn port(view: &View, attribute: Attribute) -> Option<u64> {
    split_address(&view.request.attributes.text(attribute)?).map(|(_, port)| port.into())
}

/// `ip:port` or `[ip]:port`; a Unix socket has neither.
fn split_address(address: &str) -> Option<(&str, u16)> {
    let (ip, port) = address.rsplit_once(':')?;
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    Some((ip, port.parse().ok()?))
}

fn certificate(view: &View) -> Option<Value> {
    /// What Envoy escapes in a PEM.
    const ESCAPED: AsciiSet = AsciiSet::EMPTY.add(b'\n').add(b' ').add(b'+').add(b'/').add(b'=');
    let pem = view.request.attributes.text(Attribute::PeerCertificate)?;
    text(Some(utf8_percent_encode(&pem, &ESCAPED).to_string().into()))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::expression::testing::view;
    use crate::view::Place;

    fn full() -> View {
        let headers = [
            (":method", "POST"),
            (":path", "/pkg.Service/Do%20it?x=1&y=%20"),
            (":authority", "api.example.com:8080"),
            (":scheme", "https"),
            ("x-request-id", "id-1"),
            ("content-type", "application/grpc+proto"),
            ("user-agent", "test"),
            ("referer", "https://example.com"),
            ("x-many", "a"),
            ("x-empty", ""),
            ("x-many", "b"),
        ];
        let attributes = [
            (Attribute::SourceAddress, "[2001:db8::1]:4321"),
            (Attribute::DestinationAddress, "10.0.0.2:443"),
            (Attribute::Protocol, "HTTP/2"),
            (Attribute::Size, "42"),
            (Attribute::PeerUriSan, "spiffe://cluster.local/ns/a/sa/b"),
            (Attribute::PeerCertificate, "-----BEGIN CERTIFICATE-----\nab+/=\n"),
            (Attribute::RequestedServerName, "sni.example.com"),
        ];
        let mut view = view(&headers, &attributes, Some(json!({"sub": "alice"})));
        Rc::make_mut(&mut view.auth).authorization.insert("rule".into(), Rc::new(json!(true)));
        view
    }

    #[test]
    fn the_whole_is_what_authorino_makes_of_a_check_request() {
        let headers = json!({
            ":method": "POST", ":path": "/pkg.Service/Do%20it?x=1&y=%20", ":authority": "api.example.com:8080",
            ":scheme": "https", "x-request-id": "id-1", "content-type": "application/grpc+proto", "user-agent": "test",
            "referer": "https://example.com", "x-many": "a,b", "x-empty": "",
        });
        let time = json!({"seconds": 1_700_000_000, "nanos": 5});
        let source =
            json!({"Address": {"SocketAddress": {"address": "2001:db8::1", "PortSpecifier": {"PortValue": 4321}}}});
        let destination =
            json!({"Address": {"SocketAddress": {"address": "10.0.0.2", "PortSpecifier": {"PortValue": 443}}}});
        let expected = json!({
            "context": {
                "request": {
                    "time": time,
                    "http": {
                        "id": "id-1", "method": "POST", "headers": headers, "path": "/pkg.Service/Do%20it?x=1&y=%20",
                        "host": "api.example.com:8080", "scheme": "https", "protocol": "HTTP/2", "size": 42,
                    },
                },
                "source": {
                    "address": source, "principal": "spiffe://cluster.local/ns/a/sa/b",
                    "certificate": "-----BEGIN%20CERTIFICATE-----%0Aab%2B%2F%3D%0A",
                },
                "destination": {"address": destination},
                "tls_session": {"sni": "sni.example.com"},
            },
            "request": {
                "id": "id-1", "time": time, "protocol": "HTTP/2", "scheme": "https", "host": "api.example.com:8080",
                "method": "POST", "path": "/pkg.Service/Do%20it?x=1&y=%20", "url_path": "/pkg.Service/Do it",
                "query": "x=1&y=%20", "headers": headers, "referer": "https://example.com", "user_agent": "test", "size": 42,
                "grpc": {"service": "pkg.Service", "method": "Do it"},
            },
            "source": {"address": "2001:db8::1", "port": 4321, "principal": "spiffe://cluster.local/ns/a/sa/b"},
            "destination": {"address": "10.0.0.2", "port": 443},
            "auth": {"identity": {"sub": "alice"}, "authorization": {"rule": true}},
        });
        let view = full();
        assert_eq!(Place::ROOT.read(&view).as_deref(), Some(&expected));
        assert_eq!(view.root("request").as_ref(), expected.get("request"));
        each(&expected, &mut Vec::new(), &mut |path, value| {
            assert_eq!(view.get(path).as_deref(), Some(value), "{path:?}");
        });
    }

    /// Visits every value that is reached by names alone.
    fn each<'a>(value: &'a Value, path: &mut Vec<&'a str>, visit: &mut dyn FnMut(&[&str], &Value)) {
        for (name, value) in value.as_object().into_iter().flatten() {
            path.push(name);
            visit(path, value);
            each(value, path, visit);
            path.pop();
        }
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let bare =
            view(&[(":method", "CONNECT"), (":authority", "")], &[(Attribute::SourceAddress, "9.9.9.9:0")], None);
        for (path, expected) in [
            (&["request", "path"] as &[&str], None),
            (&["request", "url_path"], None),
            (&["request", "host"], None),
            (&["request", "size"], None),
            (&["request", "grpc"], None),
            (&["request", "headers", "x"], None),
            (&["request", "headers", ":authority"], Some(json!(""))),
            (&["request", "headers", "X"], None),
            (&["request", "method", "x"], None),
            (&["request", "nonesuch"], None),
            (&["source"], Some(json!({"address": "9.9.9.9"}))),
            (
                &["context", "source", "address", "Address", "SocketAddress", "PortSpecifier"],
                Some(json!({"PortValue": 0})),
            ),
            (&["context", "destination"], Some(json!({}))),
            (&["context", "context_extensions"], None),
            (&["destination"], Some(json!({}))),
            (&["source", "certificate"], None),
            (&["metadata"], None),
            (&["metadata", "filter_metadata", "a"], None),
            (&["auth"], Some(json!({}))),
            (&["auth", "identity"], None),
            (&["auth", "metadata"], None),
            (&["nonesuch"], None),
        ] {
            assert_eq!(bare.get(path).map(Cow::into_owned), expected, "{path:?}");
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (address, expected) in [
            ("10.0.0.1:80", Some(("10.0.0.1", 80))),
            ("[::1]:443", Some(("::1", 443))),
            ("8.8.8.8:0", Some(("8.8.8.8", 0))),
            ("/run/envoy.sock", None),
            ("@sock:x", None),
            ("10.0.0.1:99999", None),
            ("", None),
        ] {
            assert_eq!(split_address(address), expected, "{address}");
        }
    }

    #[test]
    fn only_names_lead_on_and_lists_have_none() {
        let view = view(&[], &[], Some(json!({"list": [{"a": 1}], "0": "x", "deep": {"er": [2]}})));
        assert_eq!(view.get(&["auth", "identity", "0"]).as_deref(), Some(&json!("x")));
        assert_eq!(view.get(&["auth", "identity", "deep", "er"]).as_deref(), Some(&json!([2])));
        assert_eq!(view.get(&["auth", "identity", "list", "0"]), None);
    }
}
