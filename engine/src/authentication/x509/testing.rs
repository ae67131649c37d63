//! Certificates for tests.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use pki_types::CertificateDer;
use rand_core::OsRng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};

use sidegate_config::{LabelSelector, ObjectMeta, Options, Problem, Secret};

use crate::compile::{Compiler, Shared};
use crate::resources::Resources;
use crate::time::Timestamp;

/// 2026-07-01T00:00:00Z, in the middle of the year that certificates here are valid for.
pub const NOW: Timestamp = Timestamp::from_secs(1_782_864_000);

/// A key of P-256.
pub struct Key {
    signing: SigningKey,
    public: Vec<u8>,
}

impl Key {
    pub fn new() -> Self {
        let signing = SigningKey::random(&mut OsRng);
        let public = signing.verifying_key().to_encoded_point(false).as_bytes().to_vec();
        Self { signing, public }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: DerSignature = self.signing.sign(message);
        Ok(signature.as_bytes().to_vec())
    }
}

/// A CA with its key.
pub struct Ca {
    pub certificate: CertificateDer<'static>,
    params: CertificateParams,
    key: Key,
}

impl Ca {
    /// One that signs itself.
    pub fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    pub fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = (ca_params(name), Key::new());
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap().into();
        Self { certificate, params, key }
    }

    /// Another certificate of the same name and key.
    pub fn renewed(&self, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = self.params.clone();
        change(&mut params);
        params.self_signed(&self.key).unwrap().into()
    }

    /// A CA below this one.
    pub fn intermediate(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = (ca_params(name), Key::new());
        change(&mut params);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap().into();
        Self { certificate, params, key }
    }

    /// A client's certificate.
    pub fn client(&self, name: &str) -> CertificateDer<'static> {
        self.client_with(name, |_| {})
    }

    pub fn client_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        params.signed_by(&Key::new(), &Issuer::from_params(&self.params, &self.key)).unwrap().into()
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(42.into());
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 12, 31);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// PEM of certificates, one after another.
pub fn pem(certificates: &[&CertificateDer<'_>]) -> String {
    use base64::Engine as _;
    let mut pem = String::new();
    for certificate in certificates {
        let base64 = base64::engine::general_purpose::STANDARD.encode(certificate);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in base64.as_bytes().chunks(64) {
            pem.push_str(std::str::from_utf8(line).unwrap());
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// As Envoy writes PEM into headers.
pub fn url_encoded(pem: &str) -> String {
    pem.replace('+', "%2B").replace('\n', "%0A").replace(' ', "%20").replace('/', "%2F").replace('=', "%3D")
}

/// What compiles under a configuration, and its problems. Secrets are name, entry and text; all are in namespace `ns`.
pub fn compiled<T>(
    trusted_forwarders: &[&str],
    secrets: &[(&str, &str, &str)],
    compile: impl FnOnce(&mut Compiler<'_>) -> T,
) -> (T, Vec<Problem>) {
    let secrets = secrets.iter().map(|(name, entry, text)| Secret {
        metadata: ObjectMeta { name: (*name).into(), namespace: "ns".into(), ..Default::default() },
        string_data: [((*entry).to_owned(), (*text).to_owned())].into(),
        ..Default::default()
    });
    let mut problems = Vec::new();
    let resources = Resources::new(secrets, &mut problems);
    let trusted_forwarders = trusted_forwarders.iter().map(|it| (*it).to_owned()).collect();
    let options = Options { trusted_forwarders, ..Default::default() };
    let patterns = Default::default();
    let shared = &mut Shared::default();
    let mut compiler = Compiler::new(("ns", "name"), &patterns, &resources, &options, shared, &mut problems);
    let result = compile(&mut compiler);
    (result, problems)
}

/// Selects all Secrets.
pub fn everything() -> LabelSelector {
    LabelSelector::default()
}
