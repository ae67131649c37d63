//! Who calls, from what the proxy says of the connection. Nobody is not the same as somebody who cannot be told.

use std::fmt;

use sidegate_config::{EastWestOptions, IdentitySource};

use super::spiffe::SpiffeId;
use super::xfcc::Forwarders;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Somebody without an identity: no TLS, no client certificate.
    Absent,
    /// Somebody who shows an identity that is not valid; why.
    Invalid(&'static str),
    /// A workload.
    Known(SpiffeId),
}

impl From<Result<Option<SpiffeId>, &'static str>> for Identity {
    fn from(read: Result<Option<SpiffeId>, &'static str>) -> Self {
        match read {
            Ok(Some(id)) => Self::Known(id),
            Ok(None) => Self::Absent,
            Err(reason) => Self::Invalid(reason),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no identity"),
            Self::Invalid(reason) => write!(f, "an invalid identity ({reason})"),
            Self::Known(id) => id.fmt(f),
        }
    }
}

/// Where it is told who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// By the certificate of the connection.
    Certificate,
    /// By filter state.
    FilterState,
    /// By a trusted forwarder.
    Forwarder,
}

impl Told {
    /// As records have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::FilterState => "filterState",
            Self::Forwarder => "forwarder",
        }
    }
}

/// What the proxy says of the peer of a connection. What it does not have is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peer<'a> {
    /// `connection.mtls`: a client certificate was shown.
    pub mtls: bool,
    /// `connection.peer_certificate_valid`: it was validated.
    pub validated: Option<bool>,
    /// `connection.sha256_peer_certificate_digest`: of the leaf, in hexadecimal digits. Of a certificate that was read before it
    /// is enough.
    pub digest: Option<&'a [u8]>,
    /// `connection.peer_certificate`: percent-encoded PEM of the leaf.
    pub certificate: Option<&'a [u8]>,
    /// `connection.uri_san_peer_certificate`: the first of its URI SANs.
    pub first_uri_san: Option<&'a [u8]>,
    /// `connection.uri_san_local_certificate`: our own.
    pub own_uri_san: Option<&'a [u8]>,
    /// The filter state that has the identity.
    pub filter_state: Option<&'a [u8]>,
    /// `X-Forwarded-Client-Cert`, all lines joined by commas.
    pub forwarded: Option<&'a [u8]>,
}

/// How it is told who calls.
#[derive(Debug)]
pub struct Identities {
    source: IdentitySource,
    assume_single_uri_san: bool,
    assume_validated: bool,
    forwarders: Forwarders,
    #[cfg(feature = "x509")]
    certificates: super::certificate::Certificates,
}

impl Identities {
    /// Compiles; `problem` is told of each path of `options.eastWest` and what is wrong there.
    pub fn compile(options: &EastWestOptions, problem: &mut dyn FnMut(String, String)) -> Self {
        let mut trusted = Vec::new();
        for (index, forwarder) in options.trusted_forwarders.iter().enumerate() {
            match SpiffeId::parse(forwarder) {
                Ok(id) => trusted.push(id),
                Err(reason) => problem(format!("trustedForwarders[{index}]"), reason.to_owned()),
            }
        }
        if options.xfcc_appended && trusted.is_empty() {
            problem("xfccAppended".to_owned(), "goes with `trustedForwarders`".to_owned());
        }
        if options.forwarders_sanitize && trusted.is_empty() {
            problem("forwardersSanitize".to_owned(), "goes with `trustedForwarders`".to_owned());
        }
        if options.identity.filter_state.is_some() && options.identity.source != IdentitySource::FilterState {
            problem("identity.filterState".to_owned(), "goes with `source: FilterState`".to_owned());
        }
        #[cfg(not(feature = "x509"))]
        if options.identity.source == IdentitySource::Certificate && !options.identity.assume_single_uri_san {
            problem("identity.source".to_owned(), crate::compile::left_out("Certificate"));
        }
        let max_hops = options.max_hops.unwrap_or(1);
        Self {
            source: options.identity.source,
            assume_single_uri_san: options.identity.assume_single_uri_san,
            assume_validated: options.identity.assume_validated,
            forwarders: Forwarders {
                trusted,
                max_hops,
                appended: options.xfcc_appended,
                sanitized: options.forwarders_sanitize,
            },
            #[cfg(feature = "x509")]
            certificates: super::certificate::Certificates::default(),
        }
    }

    /// Whether the header of trusted forwarders has a say.
    #[must_use]
    pub fn forwarded(&self) -> bool {
        !self.forwarders.trusted.is_empty()
    }

    /// Where identities are taken from.
    #[must_use]
    pub const fn source(&self) -> IdentitySource {
        self.source
    }

    /// Whether the certificate of this digest was read before, so that nothing else of it is needed but whether it is valid.
    #[cfg(feature = "x509")]
    #[must_use]
    pub fn knows(&self, digest: &[u8]) -> bool {
        self.source == IdentitySource::Certificate && self.certificates.recall(digest).is_some()
    }

    /// None was: without the feature `x509` certificates are not read.
    #[cfg(not(feature = "x509"))]
    #[must_use]
    pub const fn knows(&self, _digest: &[u8]) -> bool {
        false
    }

    /// Who calls, and where that is told.
    #[must_use]
    pub fn identify(&self, peer: &Peer<'_>) -> (Identity, Told) {
        let (identity, told) = self.connected(peer);
        let Identity::Known(id) = identity else { return (identity, told) };
        // Without mutual TLS nothing is known of who has written the header.
        if !self.forwarded() || !self.is_mutual(peer) {
            return (Identity::Known(id), told);
        }
        let own = peer.own_uri_san.and_then(|own| str::from_utf8(own).ok());
        match self.forwarders.client(&id, own, peer.forwarded) {
            Ok(Some(client)) if client == id => (Identity::Known(id), told),
            client => (client.into(), Told::Forwarder),
        }
    }

    /// Who has opened the connection, and where that is told.
    #[must_use]
    pub fn connected(&self, peer: &Peer<'_>) -> (Identity, Told) {
        let told = match self.source {
            IdentitySource::Certificate => Told::Certificate,
            IdentitySource::FilterState => Told::FilterState,
        };
        (self.peer(peer).into(), told)
    }

    fn peer(&self, peer: &Peer<'_>) -> Result<Option<SpiffeId>, &'static str> {
        if self.source == IdentitySource::FilterState {
            // Envoy's formatter writes `-` for what is not there.
            return match peer.filter_state {
                None | Some([] | b"-") => Ok(None),
                Some(text) => only(text).map(Some),
            };
        }
        if !self.is_mutual(peer) {
            return match peer.digest {
                None | Some([]) => Ok(None),
                // Somebody is there: not the same as nobody, whom a denial by name passes over.
                Some(_) => Err("a certificate was shown, but Envoy does not say so of the connection"),
            };
        }
        match peer.validated {
            Some(true) => {}
            // Not the same as nobody: of a session that is resumed Envoy says so as well, and who is denied by name would
            // come back as nobody.
            Some(false) => return Err("Envoy has not validated the certificate, or has resumed the session"),
            None if self.assume_validated => {}
            None => return Err("Envoy does not say whether the certificate was validated"),
        }
        self.certificate(peer)
    }

    /// Whether a client certificate was shown; one that has a digest that is known was.
    fn is_mutual(&self, peer: &Peer<'_>) -> bool {
        peer.mtls || peer.digest.is_some_and(|digest| self.knows(digest))
    }

    fn certificate(&self, peer: &Peer<'_>) -> Result<Option<SpiffeId>, &'static str> {
        #[cfg(feature = "x509")]
        {
            if let Some(certificate) = peer.certificate.filter(|certificate| !certificate.is_empty()) {
                return self.certificates.identity(certificate, peer.digest);
            }
            if let Some(read) = peer.digest.and_then(|digest| self.certificates.recall(digest)) {
                return read;
            }
        }
        match peer.first_uri_san {
            // It has a certificate that was not read, so nobody knows that there is no name in it.
            None | Some([]) if !self.assume_single_uri_san && peer.digest.is_some_and(|digest| !digest.is_empty()) => {
                Err("Envoy does not show the certificate")
            }
            None | Some([]) => Ok(None),
            Some(_) if !self.assume_single_uri_san => {
                Err("Envoy does not show the certificate, so it may have more URI SANs")
            }
            Some(uri) => only(uri).map(Some),
        }
    }
}

/// The one SPIFFE ID that a text is. A comma, which is in none, stands between several.
fn only(text: &[u8]) -> Result<SpiffeId, &'static str> {
    SpiffeId::parse(str::from_utf8(text).map_err(|_| "the identity is no text")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidegate_config::IdentityOptions;

    const SLEEP: &str = "spiffe://cluster.local/ns/foo/sa/sleep";

    fn identities(identity: IdentityOptions) -> Identities {
        let options = EastWestOptions { identity, ..EastWestOptions::default() };
        Identities::compile(&options, &mut |path, message| panic!("{path}: {message}"))
    }

    fn peer() -> Peer<'static> {
        Peer { mtls: true, validated: Some(true), first_uri_san: Some(SLEEP.as_bytes()), ..Peer::default() }
    }

    fn who(identities: &Identities, peer: &Peer<'_>) -> Identity {
        identities.identify(peer).0
    }

    fn known() -> Identity {
        Identity::Known(SpiffeId::parse(SLEEP).unwrap())
    }

    #[test]
    fn only_what_was_validated_is_an_identity() {
        let identities = identities(IdentityOptions { assume_single_uri_san: true, ..IdentityOptions::default() });
        assert_eq!(who(&identities, &peer()), known());
        assert_eq!(who(&identities, &Peer { mtls: false, ..peer() }), Identity::Absent);
        let untrusted = who(&identities, &Peer { validated: Some(false), ..peer() });
        assert!(matches!(untrusted, Identity::Invalid(_)), "{untrusted}");
        assert_eq!(who(&identities, &Peer { first_uri_san: None, ..peer() }), Identity::Absent);
        let unsaid = who(&identities, &Peer { validated: None, ..peer() });
        assert!(matches!(unsaid, Identity::Invalid(_)), "{unsaid}");
        let web = who(&identities, &Peer { first_uri_san: Some(b"https://foo/sleep"), ..peer() });
        assert!(matches!(web, Identity::Invalid(_)), "{web}");
    }

    #[test]
    fn the_first_name_is_not_enough_and_a_validation_may_be_asserted() {
        let unsure = who(&identities(IdentityOptions::default()), &peer());
        assert!(matches!(unsure, Identity::Invalid(_)), "{unsure}");
        let options =
            IdentityOptions { assume_single_uri_san: true, assume_validated: true, ..IdentityOptions::default() };
        assert_eq!(who(&identities(options), &Peer { validated: None, ..peer() }), known());
    }

    #[cfg(feature = "x509")]
    #[test]
    fn of_a_certificate_that_was_read_the_digest_is_enough() {
        use crate::authentication::x509::testing::{Ca, pem};
        use sha2::{Digest as _, Sha256};

        let shown = |uri: &str| {
            let name = rcgen::SanType::URI(uri.try_into().unwrap());
            let ca = Ca::root_with("peer", |params| params.subject_alt_names.push(name));
            (pem(&[&ca.certificate]), format!("{:x}", Sha256::digest(&ca.certificate)))
        };
        let ((sleep, digest), (evil, other)) = (shown(SLEEP), shown("spiffe://cluster.local/ns/evil/sa/sleep"));
        let identities = identities(IdentityOptions::default());
        let digest_alone = |digest| Peer { digest: Some(digest), validated: Some(true), ..Peer::default() };
        let read = |digest, certificate| Peer { mtls: true, certificate: Some(certificate), ..digest_alone(digest) };
        let (sleep, digest) = (sleep.as_bytes(), digest.as_bytes());
        let is_invalid = |peer: &Peer<'_>| matches!(who(&identities, peer), Identity::Invalid(_));

        // Before it was read the digest says nothing; and it is of what is read, or is not kept.
        assert!(!identities.knows(digest));
        assert!(is_invalid(&Peer { mtls: true, ..digest_alone(digest) }));
        let forged = who(&identities, &read(digest, evil.as_bytes()));
        assert_eq!(forged.to_string(), "spiffe://cluster.local/ns/evil/sa/sleep");
        assert!(!identities.knows(digest));

        assert_eq!(who(&identities, &read(digest, sleep)), known());
        assert!(identities.knows(digest) && !identities.knows(other.as_bytes()) && !identities.knows(b""));
        assert_eq!(who(&identities, &digest_alone(digest)), known());
        // What is read has the last word.
        assert_eq!(who(&identities, &read(digest, evil.as_bytes())), forged);
        // Whether it is valid is asked each time: its authority may be gone, or the session be resumed.
        for validated in [Some(false), None] {
            assert!(is_invalid(&Peer { validated, ..digest_alone(digest) }));
        }
        assert!(is_invalid(&Peer { mtls: true, ..digest_alone(other.as_bytes()) }));
        assert_eq!(who(&identities, &Peer { digest: None, ..digest_alone(b"") }), Identity::Absent);
    }

    #[test]
    fn filter_state_has_one_identity_or_none() {
        let identities =
            identities(IdentityOptions { source: IdentitySource::FilterState, ..IdentityOptions::default() });
        let identify = |text: &[u8]| who(&identities, &Peer { filter_state: Some(text), ..Peer::default() });
        assert_eq!(identify(SLEEP.as_bytes()), known());
        assert_eq!(who(&identities, &peer()), Identity::Absent);
        for nobody in [&b""[..], b"-"] {
            assert_eq!(identify(nobody), Identity::Absent);
        }
        for text in [&b"spiffe://td/a,spiffe://td/b"[..], b"spiffe://td", b"\xff", b"spiffe://td/a "] {
            assert!(matches!(identify(text), Identity::Invalid(_)), "{text:?}");
        }
    }

    #[test]
    fn the_header_counts_from_a_trusted_forwarder_over_mutual_tls() {
        let options = EastWestOptions {
            trusted_forwarders: vec![SLEEP.to_owned()],
            identity: IdentityOptions { source: IdentitySource::FilterState, ..IdentityOptions::default() },
            ..EastWestOptions::default()
        };
        let identities = Identities::compile(&options, &mut |path, message| panic!("{path}: {message}"));
        let forwarding = Peer {
            mtls: true,
            filter_state: Some(SLEEP.as_bytes()),
            forwarded: Some(b"URI=spiffe://td/client"),
            ..Peer::default()
        };
        let (client, told) = identities.identify(&forwarding);
        assert_eq!((client.to_string(), told), ("spiffe://td/client".to_owned(), Told::Forwarder));
        assert_eq!(identities.identify(&Peer { forwarded: None, ..forwarding }).1, Told::FilterState);
        assert_eq!(who(&identities, &Peer { mtls: false, ..forwarding }), known());
        assert!(matches!(who(&identities, &Peer { forwarded: Some(b"x"), ..forwarding }), Identity::Invalid(_)));
    }

    #[test]
    fn what_is_wrong_with_the_options_is_named() {
        let options = EastWestOptions {
            trusted_forwarders: vec!["*".to_owned()],
            xfcc_appended: true,
            forwarders_sanitize: true,
            identity: IdentityOptions { filter_state: Some("x".to_owned()), ..IdentityOptions::default() },
            ..EastWestOptions::default()
        };
        let mut paths = Vec::new();
        Identities::compile(&options, &mut |path, _| paths.push(path));
        assert_eq!(paths, ["trustedForwarders[0]", "xfccAppended", "forwardersSanitize", "identity.filterState"]);
    }
}
