//! `x509`: client certificates.

use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sidegate_config::X509Spec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::resources::Scope;
use crate::session::Cx;

mod certificate;
mod memory;
mod roots;
mod signature;
mod source;
mod subject;
#[cfg(test)]
pub mod testing;
mod verification;
mod xfcc;

pub use memory::CertificateMemory;
use memory::Fingerprint;

/// Verifies a client certificate by trusted CAs. What a verified one proves is its subject.
#[derive(Debug)]
pub struct X509 {
    source: source::Source,
    roots: roots::Roots,
    /// Digest begun with everything that a certificate is verified by, so that rules with the same know the same ones.
    checks: Sha256,
}

impl X509 {
    pub(super) fn compile(spec: &X509Spec, compiler: &mut Compiler<'_>) -> Self {
        let X509Spec { selector, all_namespaces, namespaces, source } = spec;
        let scope = Scope::compile(*all_namespaces, namespaces, compiler);
        let source = compiler.at("source", |compiler| source::Source::compile(source.as_ref(), compiler));
        let roots = compiler.at("selector", |compiler| roots::Roots::compile(&scope, selector, compiler));
        let checks = Sha256::new().chain_update(source.form()).chain_update(roots.digest());
        Self { source, roots, checks }
    }

    pub(super) const fn challenge(&self) -> &'static str {
        "Certificate"
    }

    #[inline(never)] // Large, and beside what is small: docs/decisions/0012.
    pub(super) fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let shown = self.source.find(cx)?;
        let fingerprint: Fingerprint = self.checks.clone().chain_update(&shown).finalize().into();
        let certificates = cx.policy.certificates();
        if let Some(identity) = certificates.recall(&fingerprint, cx.time) {
            return Ok(identity);
        }
        let chain = self.source.decode(&shown)?;
        let (subject, validity) = verification::verify(&chain, &self.roots, cx.time)?;
        let identity = Rc::new(subject);
        certificates.remember(fingerprint, Rc::clone(&identity), validity);
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Ca, NOW, pem};
    use crate::{Attribute, Attributes, Decision, Headers, Policy, Progress, Request, Session, Timestamp};
    use serde_json::json;
    use std::rc::Rc;

    /// Hosts `one` and `two` trust a CA each; host `header` trusts the first, by header.
    fn policy(one: &Ca, two: &Ca) -> Rc<Policy> {
        let secret = |name: &str, ca: &Ca| {
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "labels": { "ca": name } },
                "stringData": { "ca.crt": pem(&[&ca.certificate]) } })
        };
        let auth_config = |host: &str, ca: &str, source: serde_json::Value| {
            json!({ "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": { "name": host },
                "spec": { "hosts": [host], "authentication": { "certificate": { "x509":
                    { "selector": { "matchLabels": { "ca": ca } }, "source": source } } } } })
        };
        let header = json!({ "expression": "request.headers['x-cert']" });
        let configuration = json!({ "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": [
            secret("one", one), secret("two", two), auth_config("one", "one", json!({})),
            auth_config("two", "two", json!({})), auth_config("header", "one", header),
        ] });
        Rc::new(Policy::compile(configuration.to_string().as_bytes()).unwrap())
    }

    fn reason(policy: &Rc<Policy>, host: &str, certificate: &str, now: Timestamp) -> Result<(), String> {
        let mut attributes = Attributes::default();
        attributes.insert(Attribute::PeerCertificate, certificate.as_bytes().to_vec());
        let headers = Headers::from_pairs([(":authority", host), (":path", "/")]);
        match Session::start(Rc::clone(policy), Request { headers, attributes, ..Request::default() }, now).1 {
            Progress::Done(verdict) => match verdict.decision {
                Decision::Allow(_) => Ok(()),
                Decision::Deny(reply) => Err(reply.reason),
                Decision::Serve(served) => panic!("{served:?}"),
            },
            Progress::Pending(calls) => panic!("{calls:?}"),
        }
    }

    #[test]
    fn what_is_remembered_counts_where_the_same_is_verified_and_while_it_is_valid() {
        let (one, two) = (Ca::root("one"), Ca::root("two"));
        let policy = policy(&one, &two);
        let alice = pem(&[&one.client("alice")]);
        let year_later = Timestamp::from_secs(NOW.secs() + 31_536_000);
        for _ in 0..2 {
            assert_eq!(reason(&policy, "one", &alice, NOW), Ok(()));
            let unknown = "x509: certificate signed by unknown authority".to_owned();
            assert_eq!(reason(&policy, "two", &alice, NOW), Err(unknown));
            assert!(reason(&policy, "header", &alice, NOW).unwrap_err().starts_with("failed to obtain"));
            assert!(reason(&policy, "one", &alice, year_later).unwrap_err().contains("has expired"));
        }
        let bob = pem(&[&two.client("bob")]);
        assert_eq!(reason(&policy, "two", &bob, NOW), Ok(()));
        assert!(reason(&policy, "one", &bob, NOW).is_err());
    }
}
