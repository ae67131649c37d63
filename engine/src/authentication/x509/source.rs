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
    /// What reasons begin with.
    context: &'static str,
}

impl Source {
    /// Compiles `x509.source`.
    pub fn compile(source: Option<&X509Source>, compiler: &mut Compiler<'_>) -> Self {
        let X509Source { xfcc_header, client_cert_header, expression } = source.cloned().unwrap_or_default();
        let mut found = Vec::new();
        if let Some(name) = xfcc_header {
            found.push(Self::Xfcc(
                compiler
                    .at("xfccHeader", |compiler| Header::compile(name, "failed to extract XFCC header: ", compiler)),
            ));
        }
        if let Some(name) = client_cert_header {
            found.push(Self::ClientCert(
                compiler.at("clientCertHeader", |compiler| Header::compile(name, "", compiler)),
            ));
        }
        if expression.is_some() {
            let value = ValueOrSelector { expression, ..Default::default() };
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

    /// Tells apart how the same bytes are read.
    #[must_use]
    pub const fn form(&self) -> [u8; 1] {
        match self {
            Self::Peer | Self::Expression(_) => [0],
            Self::Xfcc(_) => [1],
            Self::ClientCert(_) => [2],
        }
    }

    /// What stands there, as it stands there.
    pub fn find<'c>(&'c self, cx: &'c Cx) -> Result<Cow<'c, [u8]>, StepError> {
        match self {
            Self::Peer => match cx.request.attributes.bytes(Attribute::PeerCertificate) {
                None | Some([]) => Err(StepError::absent("client certificate is missing")),
                Some(pem) => Ok(Cow::Borrowed(pem)),
            },
            Self::Xfcc(header) | Self::ClientCert(header) => {
                header.find(&cx.request, &cx.policy.options().trusted_forwarders).map(Cow::Borrowed)
            }
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
    fn compile(name: String, context: &'static str, compiler: &mut Compiler<'_>) -> Self {
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
        Self { lower: name.to_ascii_lowercase(), name, context }
    }

    /// The header of a request whose peer may set it.
    fn find<'r>(&'r self, request: &'r Request, trusted: &[String]) -> Result<&'r [u8], StepError> {
        let Self { name, lower, context } = self;
        if !forwarder_is_trusted(request, trusted) {
            return Err(StepError::denied(format!("header {name} is not believed from this peer")).because(
                "the peer is none of `options.trustedForwarders` by a URI SAN of a certificate that Envoy validated",
            ));
        }
        let mut values = request.headers.all(lower);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(StepError::absent(format!("{context}header {name} not found in request"))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::x509::testing::{Ca, compiled, pem, url_encoded};
    use crate::request::{Attributes, Headers};
    use proptest::prelude::*;

    fn header() -> Header {
        Header { name: "X-Cert".to_owned(), lower: "x-cert".to_owned(), context: "" }
    }

    fn request(headers: &[(&str, &str)], attributes: &[(Attribute, &str)]) -> Request {
        let mut known = Attributes::default();
        for (attribute, value) in attributes {
            known.insert(*attribute, value.as_bytes().to_vec());
        }
        Request { headers: Headers::from_pairs(headers.iter().copied()), attributes: known, ..Request::default() }
    }

    #[test]
    fn headers_are_believed_from_trusted_forwarders_alone() {
        use Attribute::{Mtls, PeerCertificateValid, PeerUriSan};
        const EDGE: &str = "spiffe://td/edge";
        const REFUSED: &str = "header X-Cert is not believed from this peer";
        let edge = [(Mtls, "true"), (PeerCertificateValid, "true"), (PeerUriSan, EDGE)];
        let rogue = [(Mtls, "true"), (PeerCertificateValid, "false"), (PeerUriSan, EDGE)];
        let other = [(Mtls, "true"), (PeerCertificateValid, "true"), (PeerUriSan, "spiffe://td/edge2")];
        let nameless = [(Mtls, "true"), (PeerCertificateValid, "true"), (PeerUriSan, "")];
        let no_tls = [(Mtls, "false"), (PeerCertificateValid, "true"), (PeerUriSan, EDGE)];
        let found = |attributes: &[(Attribute, &str)], trusted: &[&str]| {
            let trusted: Vec<String> = trusted.iter().map(|it| (*it).to_owned()).collect();
            let request = request(&[("x-cert", "v")], attributes);
            header().find(&request, &trusted).map(<[u8]>::to_vec).map_err(|error| error.reason)
        };
        for trusted in [&["*"][..], &[EDGE], &["spiffe://td/a", EDGE]] {
            assert_eq!(found(&edge, trusted), Ok(b"v".to_vec()), "{trusted:?}");
        }
        assert_eq!(found(&[], &["*"]), Ok(b"v".to_vec()));
        for (attributes, trusted) in [
            (&rogue[..], EDGE),
            (&other, EDGE),
            (&nameless, EDGE),
            (&nameless, ""),
            (&no_tls, EDGE),
            (&edge[..1], EDGE),
            (&edge[..2], EDGE),
            (&edge[1..], EDGE),
            (&edge, "spiffe://td/*"),
            (&edge, "spiffe://td/edg"),
            (&[], EDGE),
            (&[], ""),
        ] {
            assert_eq!(found(attributes, &[trusted]), Err(REFUSED.to_owned()), "{attributes:?} {trusted}");
        }
        assert_eq!(found(&edge, &[]), Err(REFUSED.to_owned()));
    }

    #[test]
    fn a_header_must_be_there_once() {
        let (everyone, header) = (["*".to_owned()], header());
        let none = request(&[], &[]);
        assert_eq!(header.find(&none, &everyone).unwrap_err().reason, "header X-Cert not found in request");
        let twice = request(&[("x-cert", "a"), ("X-Cert", "a")], &[]);
        assert_eq!(header.find(&twice, &everyone).unwrap_err().reason, "header X-Cert is there more than once");
    }

    #[test]
    fn a_source_is_compiled_or_its_problem_named() {
        let (xfcc, rfc9440) = (Some("X-Fcc".to_owned()), Some("Client-Cert".to_owned()));
        let compile = |source: X509Source, trusted: &[&str]| {
            compiled(trusted, &[], |compiler| (Source::compile(Some(&source), compiler), compiler.needs))
        };
        let header = |xfcc_header, client_cert_header| X509Source { xfcc_header, client_cert_header, expression: None };

        let ((source, needs), problems) = compile(header(None, None), &[]);
        assert!(matches!(source, Source::Peer) && problems.is_empty());
        assert_eq!(needs.iter().collect::<Vec<_>>(), [Attribute::PeerCertificate]);

        let ((source, needs), problems) = compile(header(xfcc.clone(), None), &["*"]);
        assert!(matches!(source, Source::Xfcc(Header { lower, .. }) if lower == "x-fcc") && problems.is_empty());
        assert_eq!(needs.iter().count(), 0);

        let ((source, needs), problems) = compile(header(None, rfc9440.clone()), &["spiffe://td/edge"]);
        assert!(matches!(source, Source::ClientCert(_)) && problems.is_empty());
        let expected = [Attribute::Mtls, Attribute::PeerCertificateValid, Attribute::PeerUriSan];
        assert_eq!(needs.iter().collect::<Vec<_>>(), expected);

        for (source, trusted, path, message) in [
            (header(xfcc.clone(), rfc9440.clone()), &["*"][..], "spec", "keep one"),
            (header(xfcc, None), &[], "spec.xfccHeader", "options.trustedForwarders"),
            (header(None, rfc9440), &[], "spec.clientCertHeader", "options.trustedForwarders"),
            (header(Some(String::new()), None), &["*"], "spec.xfccHeader", "the name is empty"),
        ] {
            let (_, problems) = compile(source, trusted);
            let [problem] = problems.as_slice() else { panic!("{problems:?}") };
            assert!(problem.path == path && problem.message.contains(message), "{problem}");
        }
    }

    #[test]
    fn pem_is_read_as_it_is_and_percent_encoded() {
        let ca = Ca::root("ca");
        let (client, other) = (ca.client("a"), ca.client("b"));
        let plain = pem(&[&client, &other]);
        let form = url_encoded(&plain).replace("%20", "+");
        for text in [plain.clone(), url_encoded(&plain), form, plain.replace('\n', "\r\n"), format!("x\n{plain}")] {
            assert_eq!(from_pem(text.as_bytes()).unwrap(), [client.clone(), other.clone()], "{text}");
        }
        // Encoders that leave `+` alone, which base64 often has.
        assert_eq!(from_pem(plain.replace('\n', "%0A").as_bytes()).unwrap().len(), 2);
        let cut = plain.len() - 30;
        for text in ["", "nonsense", "%zz", "-----BEGIN CERTIFICATE-----\n\n", &plain[..cut]] {
            assert_eq!(from_pem(text.as_bytes()).unwrap_err().reason, "invalid client certificate", "{text}");
        }
    }

    #[test]
    fn client_cert_is_a_byte_sequence() {
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let client = Ca::root("ca").client("a");
        let base64 = STANDARD.encode(&client);
        for value in [format!(":{base64}:"), format!(" :{base64}: ")] {
            assert_eq!(from_client_cert(value.as_bytes()).unwrap(), client, "{value}");
        }
        const COLONS: &str =
            "invalid Client-Cert header format: missing colon delimiters (expected format: :base64_cert:)";
        const BASE64: &str = "failed to base64 decode certificate";
        let (start, end) = base64.split_at(64);
        for (value, reason) in [
            (base64.clone(), COLONS),
            (format!(":{base64}"), COLONS),
            (format!("{base64}:"), COLONS),
            (":".to_owned(), COLONS),
            (String::new(), COLONS),
            (format!(":{base64}:;a=1"), COLONS),
            ("::".to_owned(), "empty certificate in Client-Cert header"),
            (format!(": {base64}:"), BASE64),
            (format!(":{start} {end}:"), BASE64),
            (format!(":{base64}=:"), BASE64),
            (format!(":{base64}:, :{base64}:"), BASE64),
            (format!(":{}:", URL_SAFE_NO_PAD.encode([0xff; 32])), BASE64),
            (":AAA:".to_owned(), BASE64),
        ] {
            assert_eq!(from_client_cert(value.as_bytes()), Err(reason), "{value}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for source in [Source::Peer, Source::Xfcc(header()), Source::ClientCert(header())] {
                drop(source.decode(&bytes));
            }
        }

        #[test]
        fn almost_right_text_never_panics(text in "[-BEGIN CERTF\\\\\n\r\"%+=,;:A0]{0,200}") {
            let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
            for shown in [text.as_bytes(), pem.as_bytes(), format!("Cert=\"{pem}\"").as_bytes()] {
                for source in [Source::Peer, Source::Xfcc(header()), Source::ClientCert(header())] {
                    drop(source.decode(shown));
                }
            }
        }
    }
}
