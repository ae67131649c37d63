//! Where a client certificate is, and whether who put it there is believed.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode;
use pki_types::CertificateDer;
use pki_types::pem::PemObject as _;
use serde_json::Value;
use sidegate_config::{ValueOrSelector, X509Source};

use super::{verification, xfcc};
use crate::compile::Compiler;
use crate::error::StepError;
use crate::expression::Dynamic;
use crate::request::{Attribute, Request};
use crate::session::Cx;

/// Where a client certificate is.
#[derive(Debug)]
pub enum Source {
    /// The TLS connection.
    Peer,
    /// A header as Envoy's `X-Forwarded-Client-Cert`.
    Xfcc(Header),
    /// A header as RFC 9440's `Client-Cert`.
    ClientCert(Header),
    /// What an expression yields: percent-encoded PEM.
    Expression(Dynamic),
}

/// A header.
#[derive(Debug)]
pub struct Header {
    /// As written.
    name: String,
    /// As looked up.
    lower: String,
}

impl Source {
    /// Compiles `x509.source`.
    pub fn compile(source: Option<&X509Source>, compiler: &mut Compiler<'_>) -> Self {
        let X509Source { xfcc_header, client_cert_header, expression } = source.cloned().unwrap_or_default();
        let mut found = Vec::new();
        if let Some(name) = xfcc_header {
            found.push(Self::Xfcc(compiler.at("xfccHeader", |compiler| Header::compile(name, compiler))));
        }
        if let Some(name) = client_cert_header {
            found.push(Self::ClientCert(compiler.at("clientCertHeader", |compiler| Header::compile(name, compiler))));
        }
        if expression.is_some() {
            let value = ValueOrSelector { value: None, selector: None, expression };
            found.push(Self::Expression(Dynamic::compile(&value, compiler)));
        }
        if found.len() > 1 {
            compiler.problem("more than one source is given: keep one");
        }
        found.into_iter().next().unwrap_or_else(|| {
            compiler.need(Attribute::PeerCertificate);
            Self::Peer
        })
    }

    /// What stands there, as it stands there.
    pub fn find<'c>(&'c self, cx: &'c Cx) -> Result<Cow<'c, [u8]>, StepError> {
        match self {
            Self::Peer => match cx.request.attributes.bytes(Attribute::PeerCertificate) {
                None | Some([]) => Err(StepError::denied("client certificate is missing")),
                Some(pem) => Ok(Cow::Borrowed(pem)),
            },
            Self::Xfcc(header) => header.find(cx, "failed to extract XFCC header: ").map(Cow::Borrowed),
            Self::ClientCert(header) => header.find(cx, "").map(Cow::Borrowed),
            Self::Expression(expression) => match expression.value(&cx.view()) {
                Ok(Value::String(text)) if !text.is_empty() => Ok(Cow::Owned(text.into_bytes())),
                Ok(_) => Err(verification::invalid()),
                Err(error) => Err(StepError::failed(format!("failed to obtain the client certificate: {error}"))),
            },
        }
    }

    /// The certificates in it, the client's own first.
    pub fn decode(&self, shown: &[u8]) -> Result<Vec<CertificateDer<'static>>, StepError> {
        match self {
            Self::Peer | Self::Expression(_) => from_pem(shown),
            Self::Xfcc(_) => {
                from_pem(&xfcc::certificates(shown).map_err(|reason| {
                    StepError::denied(format!("failed to extract certificate from XFCC: {reason}"))
                })?)
            }
            Self::ClientCert(_) => from_client_cert(shown).map(|certificate| vec![certificate]).map_err(|reason| {
                StepError::denied(format!("failed to extract certificate from Client-Cert header: {reason}"))
            }),
        }
    }
}

impl Header {
    fn compile(name: String, compiler: &mut Compiler<'_>) -> Self {
        let forwarders = &compiler.options.trusted_forwarders;
        let everyone = forwarders.iter().any(|forwarder| forwarder == "*");
        if name.is_empty() {
            compiler.problem("the name is empty");
        }
        if forwarders.is_empty() {
            compiler.problem(
                "any client can send this header, and `options.trustedForwarders` is empty: list there the URI SANs of \
                 the proxies in front that set it, or `*` if Envoy itself sets it (`forward_client_cert_details: \
                 SANITIZE_SET`) or nobody else can reach this listener",
            );
        } else if !everyone {
            for attribute in [Attribute::Mtls, Attribute::PeerCertificateValid, Attribute::PeerUriSan] {
                compiler.need(attribute);
            }
        }
        Self { lower: name.to_ascii_lowercase(), name }
    }

    /// The header of a request whose peer may set it.
    fn find<'c>(&'c self, cx: &'c Cx, context: &str) -> Result<&'c [u8], StepError> {
        let Self { name, lower } = self;
        if !forwarder_is_trusted(&cx.request, &cx.policy.options().trusted_forwarders) {
            return Err(StepError::denied(format!("header {name} is not believed from this peer")).because(
                "the peer is none of `options.trustedForwarders` by a URI SAN of a certificate that Envoy validated",
            ));
        }
        let mut values = cx.request.headers.all(lower);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(StepError::denied(format!("{context}header {name} not found in request"))),
            (Some(_), Some(_)) => Err(StepError::denied(format!("{context}header {name} is there more than once"))),
        }
    }
}

/// Whether the peer is one that the operator trusts to set headers about clients. That it showed some certificate is not
/// enough: under `ACCEPT_UNTRUSTED` anybody can write any name into one.
fn forwarder_is_trusted(request: &Request, trusted: &[String]) -> bool {
    let attributes = &request.attributes;
    let validated = || attributes.is_true(Attribute::Mtls) && attributes.is_true(Attribute::PeerCertificateValid);
    let peer = attributes.bytes(Attribute::PeerUriSan).filter(|peer| !peer.is_empty() && validated());
    trusted.iter().any(|forwarder| forwarder == "*" || peer == Some(forwarder.as_bytes()))
}

/// The certificates of a PEM text that may be percent-encoded. A `+` stays one, since base64 needs it, unlike in Go's
/// `url.QueryUnescape`, which Authorino uses; but form encoding, too, has `BEGIN+CERTIFICATE`.
fn from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, StepError> {
    let decoded: Vec<u8> = percent_decode(text).collect();
    let pem = String::from_utf8(decoded).map_err(|_| verification::invalid())?;
    let pem = pem.replace("+CERTIFICATE-----", " CERTIFICATE-----");
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    certificates.ok().filter(|certificates| !certificates.is_empty()).ok_or_else(verification::invalid)
}

/// The certificate of a `Client-Cert` header: base64 between colons (RFC 9440 section 2.2, RFC 9651 section 3.3.5).
fn from_client_cert(value: &[u8]) -> Result<CertificateDer<'static>, &'static str> {
    let colons = value.trim_ascii().strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":"));
    let base64 =
        colons.ok_or("invalid Client-Cert header format: missing colon delimiters (expected format: :base64_cert:)")?;
    if base64.is_empty() {
        return Err("empty certificate in Client-Cert header");
    }
    let der = STANDARD.decode(base64).map_err(|_| "failed to base64 decode certificate")?;
    Ok(CertificateDer::from(der))
}
