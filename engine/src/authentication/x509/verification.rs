//! Paths from a client certificate to a trusted CA (RFC 5280 section 6). Revocation is not looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, VerifiedPath,
};
use x509_cert::der::DateTime;

use super::certificate::{self, Validity};
use super::roots::Roots;
use super::{signature, subject};
use crate::error::StepError;
use crate::time::Timestamp;

/// Certificates of a chain that are looked at, the client's own among them.
const MAX_CHAIN: usize = 8;

/// Verifies the first certificate of a chain, with the others as intermediates: its subject as JSON, and while that holds.
pub fn verify(chain: &[CertificateDer<'_>], roots: &Roots, now: Timestamp) -> Result<(Value, Validity), StepError> {
    let Some((leaf, others)) = chain.split_first() else { return Err(invalid()) };
    if chain.len() > MAX_CHAIN {
        return Err(StepError::denied(format!("x509: more than {MAX_CHAIN} certificates")));
    }
    let parsed = certificate::parse(leaf).ok_or_else(invalid)?;
    let subject = subject::to_json(&parsed.subject).ok_or_else(invalid)?;
    let end_entity = EndEntityCert::try_from(leaf).map_err(refused)?;
    let intermediates = intermediates(others);
    let path = end_entity
        .verify_for_usage(
            signature::ALL,
            roots.anchors(),
            &intermediates,
            certificate::unix_time(now.secs()),
            Client,
            None,
            Some(&|path| upper_validity(path, roots, now).map(drop)),
        )
        .map_err(refused)?;
    let upper = upper_validity(&path, roots, now).map_err(refused)?;
    Ok((subject, certificate::validity(&parsed).and(upper)))
}

/// The intermediates that may help. Of those with one name the first stands, since each further one multiplies the paths
/// to be tried, and whoever sends them chooses how many.
fn intermediates<'a>(certificates: &'a [CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    let mut seen = BTreeSet::new();
    let new = |der: &&CertificateDer<'_>| {
        EndEntityCert::try_from(*der).is_ok_and(|certificate| seen.insert(certificate.subject().to_vec()))
    };
    certificates.iter().filter(new).map(|der| CertificateDer::from(der.as_ref())).collect()
}

/// While all of a path but the client's own certificate is valid. `webpki` has no eye on the validity of its anchors, nor
/// on key usage.
fn upper_validity(path: &VerifiedPath<'_>, roots: &Roots, now: Timestamp) -> Result<Validity, Error> {
    let mut validity = roots.validity(path.anchor(), now)?;
    for intermediate in path.intermediate_certificates() {
        let parsed = certificate::parse(&intermediate.der()).ok_or(Error::BadDer)?;
        if !certificate::may_sign(&parsed) {
            return Err(Error::EndEntityUsedAsCa);
        }
        validity = validity.and(certificate::validity(&parsed));
    }
    Ok(validity)
}

/// `clientAuth` and `anyExtendedKeyUsage` (RFC 5280 section 4.2.1.12).
const CLIENT: [KeyPurposeId<'static>; 2] =
    [KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]), KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0])];

/// Wants `clientAuth` of each certificate that restricts its use; "any purpose" will do.
struct Client;

impl ExtendedKeyUsageValidator for Client {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut restricted = false;
        for purpose in purposes {
            restricted = true;
            if CLIENT.contains(&purpose?) {
                return Ok(());
            }
        }
        if restricted {
            let context = RequiredEkuNotFoundContext { required: KeyUsage::client_auth(), present: Vec::new() };
            return Err(Error::RequiredEkuNotFoundContext(context));
        }
        Ok(())
    }
}

/// No certificate at all, as the reason of Authorino has it.
pub fn invalid() -> StepError {
    StepError::denied("invalid client certificate")
}

/// The reason, as Go's `crypto/x509` words it where it has one.
fn refused(error: Error) -> StepError {
    let reason = match &error {
        Error::CertExpired { time, not_after } => {
            format!(
                "certificate has expired or is not yet valid: current time {} is after {}",
                at(*time),
                at(*not_after)
            )
        }
        Error::CertNotValidYet { time, not_before } => {
            let (time, not_before) = (at(*time), at(*not_before));
            format!("certificate has expired or is not yet valid: current time {time} is before {not_before}")
        }
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        Error::PathLenConstraintViolated => "too many intermediates for path length constraint".to_owned(),
        Error::NameConstraintViolation => {
            "a root or intermediate certificate is not authorized to sign for this name".to_owned()
        }
        Error::UnsupportedCriticalExtension => "unhandled critical extension".to_owned(),
        Error::CaUsedAsEndEntity => "certificate is a CA's, not a client's".to_owned(),
        Error::UnsupportedCertVersion => "certificate is not of version 3".to_owned(),
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::MalformedExtensions => return invalid(),
        _ => "certificate signed by unknown authority".to_owned(),
    };
    let refused = StepError::denied(format!("x509: {reason}"));
    match detail(&error) {
        Some(detail) => refused.because(detail),
        None => refused,
    }
}

/// What else the log may say of a CA that does not count.
const fn detail(error: &Error) -> Option<&'static str> {
    match error {
        Error::UnknownIssuer => Some("no trusted CA has the name of the issuer"),
        Error::EndEntityUsedAsCa => Some("a certificate of the path may not sign others"),
        Error::InvalidSignatureForPublicKey => Some("there is a CA of that name, but the signature is not by its key"),
        Error::SignatureAlgorithmMismatch
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Some("the signature is of a kind that is not accepted, such as SHA-1")
        }
        _ => None,
    }
}

fn at(time: UnixTime) -> String {
    DateTime::from_unix_duration(Duration::from_secs(time.as_secs()))
        .map_or_else(|_| "?".to_owned(), |it| it.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::x509::testing::{Ca, NOW, pem};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use pki_types::pem::PemObject as _;
    use proptest::prelude::*;
    use rcgen::{
        CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
        NameConstraints, SanType, date_time_ymd,
    };

    fn trusting(certificates: &[&CertificateDer<'_>]) -> Roots {
        let mut roots = Roots::default();
        roots.add(pem(certificates).as_bytes()).unwrap();
        roots
    }

    fn outcome(chain: &[&CertificateDer<'static>], roots: &Roots, now: Timestamp) -> Result<(), String> {
        let chain: Vec<_> = chain.iter().map(|it| (*it).clone()).collect();
        verify(&chain, roots, now).map(drop).map_err(|error| error.reason)
    }

    fn refused<T>(reason: &str) -> Result<T, String> {
        Err(reason.to_owned())
    }

    const UNKNOWN: &str = "x509: certificate signed by unknown authority";
    const USAGE: &str = "x509: certificate specifies an incompatible key usage";

    #[test]
    fn a_certificate_of_a_trusted_ca_passes_and_no_other() {
        let (ca, other) = (Ca::root("ca"), Ca::root("other"));
        let impostor = Ca::root("ca");
        let roots = trusting(&[&ca.certificate]);
        let client = ca.client("alice");
        assert_eq!(outcome(&[&client], &roots, NOW), Ok(()));
        assert_eq!(outcome(&[&other.client("alice")], &roots, NOW), refused(UNKNOWN));
        assert_eq!(outcome(&[&impostor.client("alice")], &roots, NOW), refused(UNKNOWN));
        assert_eq!(outcome(&[&client], &Roots::default(), NOW), refused(UNKNOWN));
        assert_eq!(outcome(&[], &roots, NOW), refused("invalid client certificate"));
        assert_eq!(
            outcome(&[&CertificateDer::from(vec![0x30, 0])], &roots, NOW),
            refused("invalid client certificate")
        );
    }

    #[test]
    fn all_certificates_of_a_bundle_are_trusted() {
        let (first, last) = (Ca::root("first"), Ca::root("last"));
        let roots = trusting(&[&first.certificate, &last.certificate]);
        assert_eq!(outcome(&[&first.client("alice")], &roots, NOW), Ok(()));
        assert_eq!(outcome(&[&last.client("bob")], &roots, NOW), Ok(()));
    }

    #[test]
    fn a_changed_certificate_is_refused_whatever_byte_changed() {
        let ca = Ca::root("ca");
        let roots = trusting(&[&ca.certificate]);
        let client = ca.client("alice");
        for index in 0..client.len() {
            let mut changed = client.to_vec();
            changed[index] ^= 1;
            let changed = CertificateDer::from(changed);
            assert!(outcome(&[&changed], &roots, NOW).is_err(), "byte {index}");
        }
    }

    #[test]
    fn time_counts_for_client_and_ca() {
        let ca = Ca::root("ca");
        let roots = trusting(&[&ca.certificate]);
        let client = ca.client("alice");
        // The certificates are valid from the first second of 2026-01-01 to the first of 2026-12-31.
        let (first, last) = (1_767_225_600, 1_798_675_200);
        let at = |secs| outcome(&[&client], &roots, Timestamp::from_secs(secs));
        assert_eq!(at(first), Ok(()));
        assert_eq!(at(last), Ok(()));
        let expired = "x509: certificate has expired or is not yet valid: current time";
        let early = format!("{expired} 2025-12-31T23:59:59Z is before 2026-01-01T00:00:00Z");
        assert_eq!(at(first - 1), Err(early));
        assert_eq!(at(last + 1), Err(format!("{expired} 2026-12-31T00:00:01Z is after 2026-12-31T00:00:00Z")));
        let long = ca.client_with("alice", |params| params.not_after = date_time_ymd(2030, 1, 1));
        let of_ca = outcome(&[&long], &roots, Timestamp::from_secs(last + 1));
        assert_eq!(of_ca, Err(format!("{expired} 2026-12-31T00:00:01Z is after 2026-12-31T00:00:00Z")));
        let renewed = ca.renewed(|params| params.not_after = date_time_ymd(2030, 1, 1));
        for bundle in [[&ca.certificate, &renewed], [&renewed, &ca.certificate]] {
            assert_eq!(outcome(&[&long], &trusting(&bundle), Timestamp::from_secs(last + 1)), Ok(()));
        }
    }

    #[test]
    fn what_is_remembered_ends_with_the_first_certificate_of_the_path() {
        let year = |params: &mut CertificateParams, from, to| {
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        };
        let ca = Ca::root_with("ca", |params| year(params, 2020, 2028));
        let sub = ca.intermediate("sub", |params| year(params, 2026, 2029));
        let client = sub.client_with("alice", |params| year(params, 2025, 2030));
        let roots = trusting(&[&ca.certificate]);
        let (_, validity) = verify(&[client, sub.certificate], &roots, NOW).unwrap();
        assert_eq!(validity, Validity { not_before: 1_767_225_600, not_after: 1_830_297_600 });
    }

    #[test]
    fn the_extended_key_usage_must_allow_clients_if_there_is_one() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        let ca = Ca::root("ca");
        let roots = trusting(&[&ca.certificate]);
        for (usages, expected) in [
            (vec![ClientAuth], Ok(())),
            (vec![ServerAuth, ClientAuth], Ok(())),
            (vec![Any], Ok(())),
            (vec![], Ok(())),
            (vec![ServerAuth], refused(USAGE)),
        ] {
            let client = ca.client_with("alice", |params| params.extended_key_usages = usages.clone());
            assert_eq!(outcome(&[&client], &roots, NOW), expected, "{usages:?}");
            let sub = ca.intermediate("sub", |params| params.extended_key_usages = usages.clone());
            assert_eq!(outcome(&[&sub.client("alice"), &sub.certificate], &roots, NOW), expected, "sub {usages:?}");
        }
    }

    #[test]
    fn intermediates_are_used_if_they_are_cas() {
        let ca = Ca::root("ca");
        let roots = trusting(&[&ca.certificate]);
        let sub = ca.intermediate("sub", |_| {});
        let below = sub.intermediate("below", |_| {});
        let client = below.client("alice");
        assert_eq!(outcome(&[&client, &below.certificate, &sub.certificate], &roots, NOW), Ok(()));
        assert_eq!(outcome(&[&client, &sub.certificate, &ca.certificate, &below.certificate], &roots, NOW), Ok(()));
        assert_eq!(outcome(&[&client, &below.certificate], &roots, NOW), refused(UNKNOWN));
        assert_eq!(outcome(&[&client], &roots, NOW), refused(UNKNOWN));
        assert_eq!(outcome(&[&client], &trusting(&[&below.certificate]), NOW), Ok(()));

        let no_ca = ca.intermediate("sub", |params| params.is_ca = IsCa::NoCa);
        assert_eq!(outcome(&[&no_ca.client("alice"), &no_ca.certificate], &roots, NOW), refused(UNKNOWN));
        let no_signer = ca.intermediate("sub", |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
        assert_eq!(outcome(&[&no_signer.client("alice"), &no_signer.certificate], &roots, NOW), refused(UNKNOWN));
        let short = Ca::root_with("ca", |params| {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        let zero = short.intermediate("zero", |params| {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        });
        let one = zero.intermediate("one", |_| {});
        let roots = trusting(&[&short.certificate]);
        assert_eq!(outcome(&[&zero.client("alice"), &zero.certificate], &roots, NOW), Ok(()));
        assert_eq!(
            outcome(&[&one.client("alice"), &one.certificate, &zero.certificate], &roots, NOW),
            refused("x509: too many intermediates for path length constraint")
        );
    }

    #[test]
    fn constraints_and_critical_extensions_are_heeded() {
        let only_example = |params: &mut CertificateParams| {
            let permitted_subtrees = vec![GeneralSubtree::DnsName("example.com".to_owned())];
            params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        };
        let ca = Ca::root_with("ca", only_example);
        let roots = trusting(&[&ca.certificate]);
        let named = |name: &str| {
            let name = SanType::DnsName(name.try_into().unwrap());
            ca.client_with("alice", |params| params.subject_alt_names = vec![name])
        };
        assert_eq!(outcome(&[&named("a.example.com")], &roots, NOW), Ok(()));
        assert_eq!(
            outcome(&[&named("a.example.org")], &roots, NOW),
            refused("x509: a root or intermediate certificate is not authorized to sign for this name")
        );
        let extended = |critical| {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            extension.set_criticality(critical);
            ca.client_with("alice", |params| params.custom_extensions = vec![extension])
        };
        assert_eq!(outcome(&[&extended(false)], &roots, NOW), Ok(()));
        assert_eq!(outcome(&[&extended(true)], &roots, NOW), refused("x509: unhandled critical extension"));
        assert_eq!(outcome(&[&ca.certificate], &roots, NOW), refused("x509: certificate is a CA's, not a client's"));
    }

    #[test]
    fn a_long_chain_is_refused_before_any_of_it_is_verified() {
        let ca = Ca::root("ca");
        let client = ca.client("alice");
        let chain = vec![&client; MAX_CHAIN + 1];
        let roots = trusting(&[&ca.certificate]);
        assert_eq!(outcome(&chain, &roots, NOW), refused("x509: more than 8 certificates"));
        assert_eq!(outcome(&chain[..MAX_CHAIN], &roots, NOW), Ok(()));
    }

    #[test]
    fn of_intermediates_with_one_name_the_first_counts() {
        let ca = Ca::root("ca");
        let (right, wrong) = (ca.intermediate("sub", |_| {}), Ca::root("sub"));
        let client = right.client("alice");
        let roots = trusting(&[&ca.certificate]);
        assert_eq!(outcome(&[&client, &right.certificate, &wrong.certificate], &roots, NOW), Ok(()));
        assert_eq!(outcome(&[&client, &wrong.certificate, &right.certificate], &roots, NOW), refused(UNKNOWN));
    }

    /// Where we are stricter than Go, and what we say.
    const NOT_AS_GO: &[(&str, &str)] = &[
        ("critical policies", "x509: unhandled critical extension"),
        ("critical key identifier", "x509: unhandled critical extension"),
        ("leaf is CA", "x509: certificate is a CA's, not a client's"),
        ("root as leaf", "x509: certificate is a CA's, not a client's"),
        ("self-signed leaf as root", UNKNOWN),
        ("pinned leaf as root", UNKNOWN),
        ("root eku server", UNKNOWN),
        ("repeated attribute in a set", "invalid client certificate"),
    ];

    #[test]
    fn go_decides_alike() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../../../testdata/x509/go.json")).unwrap();
        assert!(cases.len() > 50);
        for case in cases {
            let name = case["Name"].as_str().unwrap();
            let certificates = |field: &str| -> Vec<CertificateDer<'static>> {
                let texts = case[field].as_array().into_iter().flatten();
                texts.map(|text| STANDARD.decode(text.as_str().unwrap()).unwrap().into()).collect()
            };
            let mut roots = Roots::default();
            for root in certificates("Roots") {
                // One that may sign no client's certificate is refused at load.
                drop(roots.add(pem(&[&root]).as_bytes()));
            }
            let now = Timestamp::from_secs(case["Now"].as_u64().unwrap());
            let ours = verify(&certificates("Chain"), &roots, now).map(|(subject, _)| subject);
            let go = case["Err"].as_str().unwrap();
            let expected = match NOT_AS_GO.iter().find(|(differing, _)| *differing == name) {
                Some((_, reason)) => Err((*reason).to_owned()),
                None if go.is_empty() => Ok(case["Subject"].clone()),
                None if go.starts_with("parse: ") => refused("invalid client certificate"),
                // Go goes on with details of which ours are for the log.
                None => refused(go.split(" (possibly").next().unwrap().split(": DNS name").next().unwrap()),
            };
            assert_eq!(ours.map_err(|error| error.reason), expected, "{name}: Go says `{go}`");
        }
    }

    proptest! {
        #[test]
        fn damaged_certificates_never_panic_nor_pass(
            edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let ca = Ca::root("ca");
            let roots = trusting(&[&ca.certificate]);
            let client = ca.client("alice");
            let mut damaged = client.to_vec();
            for (index, byte) in edits {
                *index.get_mut(&mut damaged) = byte;
            }
            let (whole, part) = (CertificateDer::from(damaged.clone()), damaged[..cut.index(damaged.len())].to_vec());
            prop_assert!(whole == client || outcome(&[&whole], &roots, NOW).is_err());
            prop_assert!(outcome(&[&part.into()], &roots, NOW).is_err());
            prop_assert!(outcome(&[&client, &whole], &roots, NOW).is_ok());
        }
    }

    #[test]
    fn kinds_of_keys_and_signatures() {
        const NAMES: &[(&str, &str, bool)] = &[
            ("rsa2048-sha256", include_str!("../../../testdata/x509/rsa2048-sha256.pem"), true),
            ("rsa2048-sha384", include_str!("../../../testdata/x509/rsa2048-sha384.pem"), true),
            ("rsa2048-sha512", include_str!("../../../testdata/x509/rsa2048-sha512.pem"), true),
            ("rsa2048-pss-sha256", include_str!("../../../testdata/x509/rsa2048-pss-sha256.pem"), true),
            ("rsa2048-pss-sha384", include_str!("../../../testdata/x509/rsa2048-pss-sha384.pem"), true),
            ("rsa2048-pss-sha512", include_str!("../../../testdata/x509/rsa2048-pss-sha512.pem"), true),
            ("rsa4096-sha256", include_str!("../../../testdata/x509/rsa4096-sha256.pem"), true),
            ("p256-sha256", include_str!("../../../testdata/x509/p256-sha256.pem"), true),
            ("p256-sha384", include_str!("../../../testdata/x509/p256-sha384.pem"), true),
            ("p256-sha512", include_str!("../../../testdata/x509/p256-sha512.pem"), true),
            ("p384-sha256", include_str!("../../../testdata/x509/p384-sha256.pem"), true),
            ("p384-sha384", include_str!("../../../testdata/x509/p384-sha384.pem"), true),
            ("p384-sha512", include_str!("../../../testdata/x509/p384-sha512.pem"), true),
            ("p521-sha256", include_str!("../../../testdata/x509/p521-sha256.pem"), true),
            ("p521-sha384", include_str!("../../../testdata/x509/p521-sha384.pem"), true),
            ("p521-sha512", include_str!("../../../testdata/x509/p521-sha512.pem"), true),
            ("ed25519", include_str!("../../../testdata/x509/ed25519.pem"), true),
            ("ed448", include_str!("../../../testdata/x509/ed448.pem"), false),
            ("rsa1024-sha256", include_str!("../../../testdata/x509/rsa1024-sha256.pem"), false),
            ("rsa2048-sha1", include_str!("../../../testdata/x509/rsa2048-sha1.pem"), false),
            ("rsa2048-pss-sha1", include_str!("../../../testdata/x509/rsa2048-pss-sha1.pem"), false),
            ("p256-sha1", include_str!("../../../testdata/x509/p256-sha1.pem"), false),
            ("p384-sha1", include_str!("../../../testdata/x509/p384-sha1.pem"), false),
            ("p521-sha1", include_str!("../../../testdata/x509/p521-sha1.pem"), false),
            ("secp256k1-sha256", include_str!("../../../testdata/x509/secp256k1-sha256.pem"), false),
        ];
        for (name, pem, accepted) in NAMES {
            let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
            let [client, ca] = certificates.as_slice() else { panic!("{name}") };
            let made = Timestamp::from_secs(1_798_761_600);
            let expected = if *accepted { Ok(()) } else { refused(UNKNOWN) };
            assert_eq!(outcome(&[client], &trusting(&[ca]), made), expected, "{name}");
            let mut forged = client.to_vec();
            *forged.last_mut().unwrap() ^= 1;
            assert_eq!(outcome(&[&forged.into()], &trusting(&[ca]), made), refused(UNKNOWN), "forged {name}");
        }
    }
}
