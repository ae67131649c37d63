//! What the policy reads of a request, taken while its headers can be read.

use sidegate_engine::{Attribute, Headers, Needs, Policy, Request};

use crate::host::{self, HostError};

/// The request's headers and the attributes that its AuthConfig reads; `host_override` is the path of
/// [`Attribute::HostOverride`].
///
/// # Errors
/// Envoy gave no headers, or an attribute that is there cannot be read.
pub fn take(policy: &Policy, host_override: &[u8]) -> Result<Request, HostError> {
    let headers = Headers::from_wire(host::request_headers()?).ok_or(HostError::Serialization)?;
    let mut request = Request { headers, ..Request::default() };
    let lookup = policy.lookup_needs();
    read(lookup, Needs::default(), host_override, &mut request)?;
    if let Some(auth_config) = policy.auth_config_for(&request) {
        read(auth_config.needs, lookup, host_override, &mut request)?;
    }
    Ok(request)
}

/// The path of the property that stands in for the request's host.
#[must_use]
pub fn host_override_path(policy: &Policy) -> Vec<u8> {
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

fn read(needs: Needs, known: Needs, host_override: &[u8], request: &mut Request) -> Result<(), HostError> {
    for attribute in needs.without(Attribute::Body).iter().filter(|attribute| !known.has(*attribute)) {
        let value = match attribute {
            Attribute::HostOverride => host::property(host_override),
            _ => host::property(path(attribute)),
        };
        match value {
            Ok(value) => request.attributes.insert(attribute, to_text(attribute, value)),
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
        Attribute::PeerUriSan => b"connection\0uri_san_peer_certificate",
        Attribute::RequestedServerName => b"connection\0requested_server_name",
        Attribute::Metadata => b"metadata",
        Attribute::HostOverride | Attribute::Body => b"",
    }
}

/// Envoy gives numbers as 8 bytes, little-endian, and truth as one byte.
fn to_text(attribute: Attribute, value: Vec<u8>) -> Vec<u8> {
    match (attribute, value.as_slice()) {
        (Attribute::Size, bytes) => match bytes.try_into() {
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
