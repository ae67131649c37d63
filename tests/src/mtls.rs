//! Workloads with certificates: an authority that issues them, a client that shows one, Envoy's TLS settings.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Issues certificates.
#[derive(Debug)]
pub struct Authority {
    /// Its own certificate.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// Something is wrong with the name.
    pub fn new(name: &str) -> Result<Self, String> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(text)?;
        let pem = params.self_signed(&key).map_err(text)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// A certificate with these URI SANs, good for clients and servers. A server is `localhost` as well.
    ///
    /// # Errors
    /// A name is none.
    pub fn issue(&self, uris: &[&str]) -> Result<Pair, String> {
        self.issue_named(&["localhost"], uris)
    }

    /// The same with other DNS SANs; a mesh issues none.
    ///
    /// # Errors
    /// A name is none.
    pub fn issue_named(&self, names: &[&str], uris: &[&str]) -> Result<Pair, String> {
        let mut params = CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(*name).map_err(text)?));
        }
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(Ia5String::try_from(*uri).map_err(text)?));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(text)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(text)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

/// Which client certificates Envoy wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// One that it can verify.
    Required,
    /// One that it can verify, or none.
    Optional,
    /// Any, or none.
    Any,
}

/// Envoy's TLS as a server.
#[must_use]
pub fn server(own: &Pair, authority: &Authority, clients: Clients) -> Value {
    let verification = if clients == Clients::Any { "ACCEPT_UNTRUSTED" } else { "VERIFY_TRUST_CHAIN" };
    let mut common = common(own);
    common["validation_context"] =
        json!({ "trusted_ca": { "inline_string": authority.pem }, "trust_chain_verification": verification });
    common["alpn_protocols"] = json!(["h2", "http/1.1"]);
    json!({ "name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": clients == Clients::Required,
        "disable_stateless_session_resumption": true,
        "disable_stateful_session_resumption": true,
        "common_tls_context": common,
    } })
}

/// Envoy's TLS as a client of a workload.
#[must_use]
pub fn client(own: &Pair, authority: &Authority, server: &str) -> Value {
    let mut common = common(own);
    common["validation_context"] = json!({
        "trusted_ca": { "inline_string": authority.pem },
        "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": { "exact": server } }],
    });
    json!({ "name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    } })
}

fn common(own: &Pair) -> Value {
    json!({ "tls_certificates": [{
        "certificate_chain": { "inline_string": own.certificate },
        "private_key": { "inline_string": own.key },
    }] })
}

/// How a connection is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dial<'a> {
    /// Address of ours; none: any.
    pub from: Option<SocketAddr>,
    /// What is said before the handshake.
    pub preamble: &'a [u8],
    /// What is shown.
    pub pair: Option<&'a Pair>,
    /// Protocol to ask for.
    pub alpn: Option<&'a str>,
    /// The server's name that is asked for; none: it is `localhost`, and none is asked for.
    pub server_name: Option<&'a str>,
}

impl Dial<'_> {
    /// Connects without TLS.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn plain(&self, address: SocketAddr) -> Result<TcpStream, String> {
        let socket = TcpSocket::new_v4().map_err(text)?;
        if let Some(from) = self.from {
            socket.bind(from).map_err(text)?;
        }
        let mut stream = socket.connect(address).await.map_err(text)?;
        stream.write_all(self.preamble).await.map_err(text)?;
        Ok(stream)
    }

    /// Connects with TLS, to who has a certificate of the authority.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn tls(&self, address: SocketAddr, authority: &Authority) -> Result<TlsStream<TcpStream>, String> {
        self.again(address, &self.config(authority)?).await
    }

    /// Connects with TLS of a client that may know the server from before.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn again(&self, address: SocketAddr, known: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(self.server_name.unwrap_or("localhost").to_owned()).map_err(text)?;
        TlsConnector::from(Arc::clone(known)).connect(name, self.plain(address).await?).await.map_err(text)
    }

    /// A client, which remembers the servers that it has met.
    ///
    /// # Errors
    /// A certificate is none.
    pub fn config(&self, authority: &Authority) -> Result<Arc<ClientConfig>, String> {
        let pem = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(text);
        let mut roots = RootCertStore::empty();
        roots.add(pem(&authority.pem)?).map_err(text)?;
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match self.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(text)?;
                builder.with_client_auth_cert(vec![pem(&pair.certificate)?], key).map_err(text)?
            }
        };
        config.enable_sni = self.server_name.is_some();
        config.alpn_protocols = self.alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
