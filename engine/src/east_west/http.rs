//! From what the proxy hands over of an HTTP request to facts.

use std::borrow::Cow;
use std::net::IpAddr;

use sidegate_config::{IdentitySource, PeerAddress};

use super::block;
use super::identity::{Identity, Peer, Told};
use super::index::{Facts, Http};
use super::object::Dimension;
use super::ruling::Ruling;
use super::tcp;
use super::workload::WorkloadPolicy;
use crate::request::{Attribute, Needs, Request};
use crate::view::metadata;

/// The filter that verifies tokens.
const JWT_AUTHN: &str = "envoy.filters.http.jwt_authn";

/// The header of trusted forwarders.
const FORWARDED: &str = "x-forwarded-client-cert";

impl WorkloadPolicy {
    /// The attributes that must be read to decide about a request.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        let identities = self.identities();
        let forwarded = identities.forwarded();
        let from_certificate = identities.source() == IdentitySource::Certificate;
        let client = self.reads(Dimension::Client);
        let peer = self.reads(Dimension::Peer).then_some(self.options().peer_address.as_ref()).flatten();
        let filter_state = peer.is_some_and(|peer| peer.filter_state.is_some());
        for (attribute, read) in [
            (Attribute::Mtls, from_certificate || forwarded),
            (Attribute::PeerCertificateValid, from_certificate),
            (Attribute::PeerCertificateDigest, from_certificate && cfg!(feature = "x509")),
            (Attribute::PeerCertificate, from_certificate),
            (Attribute::PeerUriSan, from_certificate),
            (Attribute::PeerPrincipal, !from_certificate),
            (Attribute::OwnUriSan, forwarded),
            (Attribute::DestinationPort, true),
            (Attribute::SourceAddress, client || (peer.is_some() && !filter_state)),
            (Attribute::PeerAddress, filter_state),
            (Attribute::DestinationAddress, self.reads(Dimension::Destination)),
            (Attribute::RequestedServerName, self.reads(Dimension::ServerName)),
            (Attribute::Metadata, self.reads(Dimension::Jwt) || self.reads(Dimension::Metadata)),
        ] {
            if read {
                needs.add(attribute);
            }
        }
        needs
    }

    /// Decides whether an HTTP request is let in.
    #[must_use]
    pub fn judge(&self, request: &Request) -> Ruling {
        let (identity, told) = self.identity(request);
        let tokens = if self.reads(Dimension::Jwt) { self.tokens(request) } else { None };
        let address =
            |attribute| request.attributes.text(attribute).and_then(|text: Cow<'_, str>| block::address(&text));
        let port = request.attributes.text(Attribute::DestinationPort).and_then(|text| text.parse().ok());
        let metadata = (self.reads(Dimension::Metadata))
            .then(|| metadata::whole(request.attributes.bytes(Attribute::Metadata).unwrap_or_default()))
            .flatten();
        let server_name = request.attributes.text(Attribute::RequestedServerName).unwrap_or_default();
        let ruling = self.decide(&Facts {
            identity: &identity,
            port,
            peer: self.peer(&address),
            client: address(Attribute::SourceAddress),
            destination: address(Attribute::DestinationAddress),
            server_name: Some(&server_name),
            metadata: metadata.as_ref(),
            http: Some(Http { headers: &request.headers, tokens: tokens.as_deref() }),
        });
        Ruling { told: Some(told), ..ruling }
    }

    fn peer(&self, address: &impl Fn(Attribute) -> Option<IpAddr>) -> Option<IpAddr> {
        match self.options().peer_address.as_ref()? {
            PeerAddress { filter_state: Some(_), .. } => address(Attribute::PeerAddress),
            PeerAddress { source_address: Some(true), .. } => address(Attribute::SourceAddress),
            PeerAddress { .. } => None,
        }
    }

    fn identity(&self, request: &Request) -> (Identity, Told) {
        let forwarded = if self.identities().forwarded() { request.headers.joined(FORWARDED) } else { None };
        self.identities().identify(&Peer { forwarded: forwarded.as_deref(), ..tcp::peer(&request.attributes) })
    }

    /// Payloads of tokens that Envoy has verified; none if they cannot be read, as those that are nested too deep.
    fn tokens(&self, request: &Request) -> Option<Vec<serde_json::Value>> {
        let bytes = request.attributes.bytes(Attribute::Metadata).unwrap_or_default();
        let serde_json::Value::Object(mut payloads) = metadata::part(bytes, JWT_AUTHN)? else {
            return Some(Vec::new());
        };
        Some(match &self.options().jwt_payload_keys {
            Some(keys) => keys.iter().filter_map(|key| payloads.remove(key)).collect(),
            None => payloads.remove("payload").into_iter().collect(),
        })
    }
}
