//! What the policy reads of a request, taken while its headers can be read; and of a connection.

use sidegate_engine::{Attribute, Attributes, Headers, Needs, Policy, Request};

use crate::host::{self, HostError};

/// Where Istio's waypoints have the identity of who calls.
const PEER_PRINCIPAL: &str = "io.istio.peer_principal";

/// The request's headers and the attributes that the policy reads of it.
///
/// # Errors
/// Envoy gave no headers, or an attribute that is there cannot be read.
pub fn take(policy: &Policy, paths: &Paths) -> Result<Request, HostError> {
    let headers = Headers::from_wire(host::request_headers()?).ok_or(HostError::Serialization)?;
    let mut request = Request { headers, ..Request::default() };
    let lookup = look_up(policy, paths, &mut request.attributes)?;
    if let Some(auth_config) = policy.auth_config_for(&request) {
        let needs = auth_config.needs;
        read(needs, lookup, paths, &mut request.attributes)?;
    }
    Ok(request)
}

/// The attributes that the policy reads of a connection.
///
/// # Errors
/// One that is there cannot be read.
pub fn of_connection(policy: &Policy, paths: &Paths) -> Result<Attributes, HostError> {
    let mut attributes = Attributes::default();
    look_up(policy, paths, &mut attributes)?;
    Ok(attributes)
}

/// Reads what is read of each request or connection, and says what that was. Of a certificate that the policy has seen before its
/// digest is enough.
fn look_up(policy: &Policy, paths: &Paths, attributes: &mut Attributes) -> Result<Needs, HostError> {
    let first = policy.first_needs();
    read(first, Needs::default(), paths, attributes)?;
    let rest = policy.lookup_needs_beside(attributes);
    read(rest, first, paths, attributes)?;
    Ok(first.with(rest))
}

/// Whether who calls is yet to be known, if that is told by its certificate: there is TLS, and no certificate was shown.
///
/// # Errors
/// Envoy does not say.
pub fn is_unidentified() -> Result<bool, HostError> {
    let there = |path: &[u8]| match host::property(path) {
        Ok(value) => Ok(Some(value)),
        Err(HostError::NotFound) => Ok(None),
        Err(error) => Err(error),
    };
    // Its value is wrong until the handshake is over, but it is there.
    let is_tls = there(b"connection\0tls_version")?.is_some_and(|version| !version.is_empty());
    Ok(is_tls && there(path(Attribute::Mtls))?.as_deref() != Some(&[1]))
}

/// Paths of the properties that the configuration names.
#[derive(Debug, Default)]
pub struct Paths {
    host_override: Vec<u8>,
    peer_principal: Vec<u8>,
    peer_address: Vec<u8>,
}

impl Paths {
    /// Those of a policy.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let filter_state = |key: &str| ["filter_state", key].join("\0").into_bytes();
        let east_west = policy.options().east_west.clone().unwrap_or_default();
        let peer_address = east_west.peer_address.and_then(|address| address.filter_state);
        Self {
            host_override: host_override(policy),
            peer_principal: filter_state(east_west.identity.filter_state.as_deref().unwrap_or(PEER_PRINCIPAL)),
            peer_address: peer_address.as_deref().map(filter_state).unwrap_or_default(),
        }
    }
}

fn host_override(policy: &Policy) -> Vec<u8> {
    let Some(source) = policy.host_override() else { return Vec::new() };
    let steps = match &source.route_metadata {
        Some(key) => vec![
            "xds",
            "route_metadata",
            "filter_metadata",
            key.namespace.as_deref().unwrap_or("sidegate"),
            key.key.as_deref().unwrap_or("host"),
        ],
        None => vec!["xds", "virtual_host_name"],
    };
    steps.join("\0").into_bytes()
}

fn read(needs: Needs, known: Needs, paths: &Paths, attributes: &mut Attributes) -> Result<(), HostError> {
    for attribute in needs.without(Attribute::Body).iter().filter(|attribute| !known.has(*attribute)) {
        let value = match attribute {
            Attribute::HostOverride => host::property(&paths.host_override),
            Attribute::PeerPrincipal => host::property(&paths.peer_principal),
            Attribute::PeerAddress => host::property(&paths.peer_address),
            _ => host::property(path(attribute)),
        };
        match value {
            Ok(value) => attributes.insert(attribute, to_text(attribute, value)),
            Err(HostError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const fn path(attribute: Attribute) -> &'static [u8] {
    match attribute {
        Attribute::SourceAddress => b"source\0address",
        Attribute::DestinationAddress => b"destination\0address",
        Attribute::Protocol => b"request\0protocol",
        Attribute::Scheme => b"request\0scheme",
        Attribute::Size => b"request\0size",
        Attribute::Mtls => b"connection\0mtls",
        Attribute::PeerCertificateValid => b"connection\0peer_certificate_valid",
        Attribute::PeerCertificate => b"connection\0peer_certificate",
        Attribute::PeerCertificateDigest => b"connection\0sha256_peer_certificate_digest",
        Attribute::PeerUriSan => b"connection\0uri_san_peer_certificate",
        Attribute::RequestedServerName => b"connection\0requested_server_name",
        Attribute::Metadata => b"metadata",
        Attribute::DestinationPort => b"destination\0port",
        Attribute::OwnUriSan => b"connection\0uri_san_local_certificate",
        Attribute::HostOverride | Attribute::Body | Attribute::PeerPrincipal | Attribute::PeerAddress => b"",
    }
}

/// Envoy gives numbers as 8 bytes, little-endian, and truth as one byte.
fn to_text(attribute: Attribute, value: Vec<u8>) -> Vec<u8> {
    match (attribute, value.as_slice()) {
        (Attribute::Size | Attribute::DestinationPort, bytes) => match bytes.try_into() {
            Ok(bytes) => i64::from_le_bytes(bytes).to_string().into_bytes(),
            Err(_) => value,
        },
        (Attribute::Mtls | Attribute::PeerCertificateValid, [truth]) => {
            if *truth == 1 {
                b"true".to_vec()
            } else {
                b"false".to_vec()
            }
        }
        _ => value,
    }
}
