//! From what the proxy hands over of a connection to facts.

use sidegate_config::IdentitySource;

use super::block;
use super::identity::Peer;
use super::index::Facts;
use super::object::Dimension;
use super::ruling::Ruling;
use super::workload::WorkloadPolicy;
use crate::request::{Attribute, Attributes, Needs};

impl WorkloadPolicy {
    /// The attributes that must be read to decide about a connection.
    #[must_use]
    pub fn connection_needs(&self) -> Needs {
        // There is no header, neither of forwarders nor with an address, and no token.
        let not_of_connections =
            [Attribute::OwnUriSan, Attribute::Metadata, Attribute::PeerAddress, Attribute::SourceAddress];
        let mut needs = not_of_connections.into_iter().fold(self.needs(), Needs::without);
        if self.reads(Dimension::Peer) || self.reads(Dimension::Client) {
            needs.add(Attribute::SourceAddress);
        }
        needs
    }

    /// Whether it is not known who calls before the handshake is over.
    #[must_use]
    pub fn waits_for_handshake(&self) -> bool {
        self.identities().source() == IdentitySource::Certificate
    }

    /// Decides whether a connection is let in, once its handshake is over.
    #[must_use]
    pub fn judge_connection(&self, attributes: &Attributes) -> Ruling {
        let address = |attribute| attributes.text(attribute).and_then(|text| block::address(&text));
        let peer_address = address(Attribute::SourceAddress);
        let port = attributes.text(Attribute::DestinationPort).and_then(|text| text.parse().ok());
        let (identity, told) = self.identities().connected(&peer(attributes));
        let server_name = attributes.text(Attribute::RequestedServerName).unwrap_or_default();
        let ruling = self.decide(&Facts {
            identity: &identity,
            port,
            peer: peer_address,
            client: peer_address,
            destination: address(Attribute::DestinationAddress),
            server_name: Some(&server_name),
            metadata: None,
            http: None,
        });
        Ruling { told: Some(told), ..ruling }
    }
}

/// What the attributes say of the peer.
pub(super) fn peer(attributes: &Attributes) -> Peer<'_> {
    Peer {
        mtls: attributes.is_true(Attribute::Mtls),
        digest: attributes.bytes(Attribute::PeerCertificateDigest),
        validated: attributes.bytes(Attribute::PeerCertificateValid).map(|valid| valid == b"true"),
        certificate: attributes.bytes(Attribute::PeerCertificate),
        first_uri_san: attributes.bytes(Attribute::PeerUriSan),
        own_uri_san: attributes.bytes(Attribute::OwnUriSan),
        filter_state: attributes.bytes(Attribute::PeerPrincipal),
        forwarded: None,
    }
}
