//! What becomes of a request when a server that a rule asks is in trouble: services by troubles.
//!
//! `tests/e2e/faults` has a real Envoy meet each trouble of each service, and `docs/faults.md` is made of the same rows.

pub mod page;
mod services;
mod trouble;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sidegate_engine::trace::Stage;

use crate::case::{Service, ServiceReply};
pub use services::ALL;
pub use trouble::Trouble;

/// Milliseconds that a rule gives its server.
pub const TIMEOUT: u64 = 400;

/// How long a rule may take of which nobody can say how long its server may take.
pub const DEFAULT_TIMEOUT: u64 = 5_000;

/// A word that all secrets have: ours, those of clients, and those that servers give out.
pub const SECRET: &str = "s3cret";

/// A service, and the rule that asks it.
#[derive(Debug)]
pub struct Asked {
    /// Name of the service, and of the rule.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// Where in the pipeline the rule stands.
    pub stage: Stage,
    /// What metrics call its method.
    pub kind: &'static str,
    /// When it is asked, and what is said of it.
    pub when: When,
    /// Whether it speaks gRPC.
    pub grpc: bool,
    /// The first label of its host. Two may have one.
    pub host: &'static str,
    /// The path whose answer is in trouble.
    pub path: &'static str,
    /// Milliseconds that an answer may take.
    pub timeout: u64,
    /// The parts of the AuthConfig's `spec`, but for hosts.
    pub spec: fn(&Place) -> Value,
    /// What it answers if nothing is wrong, by path, and what others answer.
    pub replies: fn(&Place) -> Replies,
    /// What the rule makes of status 500 with an answer that is good otherwise.
    pub error: Taken,
    /// The same of 302.
    pub redirect: Taken,
    /// The same of bytes that mean nothing.
    pub garbage: Taken,
    /// The same of the wrong `content-type`.
    pub content_type: Taken,
}

/// When a service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// For a request, which waits. The service, as reasons name it.
    Waiting(&'static str),
    /// In its own time, for a document.
    Before {
        /// The document, as the log names it.
        what: &'static str,
        /// The same, as metrics name it.
        metric: &'static str,
        /// The reason of who needs it; `{}` is the place.
        reason: &'static str,
    },
}

/// What is made of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is as good as any.
    Yes,
    /// It is none; what the log says.
    No(&'static str),
    /// It is none; what client and log are told in place of the usual.
    Because(&'static str),
}

/// Answers by path.
pub type Answers = BTreeMap<String, ServiceReply>;

/// What servers answer.
#[derive(Debug, Default)]
pub struct Replies {
    /// The one that is in trouble.
    pub faulty: Answers,
    /// The one that never is.
    pub sound: Answers,
}

/// Where servers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Of one service in one trouble; good for a path segment.
    pub id: String,
    /// URL of the server in trouble.
    pub faulty: String,
    /// URL of the server that is never in any.
    pub sound: String,
}

/// What becomes of the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing: as if nothing was wrong.
    Ok,
    /// It cannot decide.
    Failed {
        /// What it says to a client that is denied, and to the log.
        reason: String,
        /// What the log alone is told.
        why: &'static str,
    },
}

impl Asked {
    /// Where it and the others are.
    #[must_use]
    pub fn place(&self, trouble: Trouble) -> Place {
        let port = if self.grpc { ":50051" } else { "" };
        Place {
            id: format!("{}-{}", self.name, trouble.name()),
            faulty: format!("{}://{}.{}.test{port}", trouble.scheme(), self.host, trouble.name()),
            sound: format!("{}://sound.test", trouble.scheme()),
        }
    }

    /// The Envoy cluster of the server in trouble.
    #[must_use]
    pub fn cluster(&self, trouble: Trouble) -> String {
        format!("{}{}", trouble.cluster(), if self.grpc { "-h2" } else { "" })
    }

    /// The host of requests that are decided by the rule.
    #[must_use]
    pub fn request_host(&self, trouble: Trouble) -> String {
        format!("{}.{}.test", self.name, trouble.name())
    }

    /// The AuthConfig with the rule.
    #[must_use]
    pub fn auth_config(&self, trouble: Trouble) -> Value {
        let place = self.place(trouble);
        let mut spec = (self.spec)(&place);
        spec["hosts"] = json!([self.request_host(trouble)]);
        json!({
            "apiVersion": "authorino.kuadrant.io/v1beta3",
            "kind": "AuthConfig",
            "metadata": { "name": place.id },
            "spec": spec,
        })
    }

    /// Where the rule says how long its document is good for; none if its server alone says that.
    const fn ttl(&self) -> Option<&'static str> {
        match self.name.as_bytes() {
            b"discovery" => Some("/spec/authentication/discovery/jwt"),
            b"keys" => Some("/spec/authentication/keys/jwt"),
            b"opa" => Some("/spec/authorization/opa/opa/externalPolicy"),
            _ => None,
        }
    }

    /// Whether it is a document, which is fetched again and again.
    #[must_use]
    pub const fn is_refreshed(&self) -> bool {
        matches!(self.when, When::Before { .. })
    }

    /// The AuthConfig with the rule, whose document is fetched as often as can be.
    #[must_use]
    pub fn refreshed_auth_config(&self, trouble: Trouble) -> Value {
        let mut auth_config = self.auth_config(trouble);
        if let Some(jwt) = self.ttl().and_then(|path| auth_config.pointer_mut(path)) {
            jwt["ttl"] = 1.into();
        }
        auth_config
    }

    /// How long a fetch lets itself be waited for then.
    #[must_use]
    pub const fn refreshed_within(&self) -> Duration {
        // A server may ask for a fetch each minute, and for none more often.
        Duration::from_secs(if self.ttl().is_some() { 1 } else { 60 })
    }

    /// The servers, by authority.
    #[must_use]
    pub fn services(&self, trouble: Trouble) -> BTreeMap<String, Service> {
        self.services_with(trouble, |reply| vec![trouble.of(reply)])
    }

    /// The same; they come into trouble before the second request.
    #[must_use]
    pub fn services_in_trouble_later(&self, trouble: Trouble) -> BTreeMap<String, Service> {
        self.services_with(trouble, |reply| vec![reply.clone(), ServiceReply { from: 2, ..trouble.of(reply) }])
    }

    fn services_with(
        &self,
        trouble: Trouble,
        of: impl FnOnce(ServiceReply) -> Vec<ServiceReply>,
    ) -> BTreeMap<String, Service> {
        let place = self.place(trouble);
        let Replies { mut faulty, sound } = (self.replies)(&place);
        let troubled = faulty.remove(self.path).map(|reply| (self.path.to_owned(), of(reply)));
        let service = |answers: Answers| Service {
            grpc: self.grpc,
            replies: answers.into_iter().map(|(path, reply)| (path, vec![reply])).collect(),
            ..Service::default()
        };
        let authority = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
        let mut faulty = service(faulty);
        faulty.replies.extend(troubled);
        [(authority(&place.faulty), faulty), (authority(&place.sound), service(sound))].into()
    }

    /// What becomes of the rule.
    #[must_use]
    pub fn end(&self, trouble: Trouble) -> End {
        let taken = match trouble {
            Trouble::None | Trouble::NoneByTls => Taken::Yes,
            Trouble::Error => self.error,
            Trouble::Redirect => self.redirect,
            Trouble::Garbage => self.garbage,
            Trouble::ContentType => self.content_type,
            other => return self.unanswered(trouble, other.unanswered(self.grpc)),
        };
        match (taken, self.when) {
            (Taken::Yes, _) => End::Ok,
            (Taken::Because(reason), _) => End::Failed { reason: reason.to_owned(), why: "" },
            (Taken::No(why), When::Before { .. }) => self.unanswered(trouble, why),
            (Taken::No(why), When::Waiting(server)) => {
                End::Failed { reason: format!("the {server} does not answer as it should"), why }
            }
        }
    }

    fn unanswered(&self, trouble: Trouble, why: &'static str) -> End {
        match self.when {
            When::Waiting(server) => End::Failed { reason: format!("the {server} does not answer"), why },
            When::Before { reason, .. } => End::Failed {
                reason: reason.replace("{}", &self.document(trouble)),
                why: if why == trouble::LATE { "no answer in time" } else { why },
            },
        }
    }

    /// What the log calls the document that is fetched, if it is one.
    #[must_use]
    pub fn document(&self, trouble: Trouble) -> String {
        let place = self.place(trouble).faulty;
        // One that leads to others has the name of its issuer.
        if self.path.starts_with("/.well-known/") { place } else { format!("{place}{}", self.path) }
    }

    /// The status of a request whose rule ends so: what is metadata or comes after the decision denies nobody.
    #[must_use]
    pub const fn status(&self, end: &End) -> u16 {
        match (end, self.stage) {
            (End::Failed { .. }, Stage::Authentication | Stage::Authorization) => 503,
            (End::Ok | End::Failed { .. }, _) => 200,
        }
    }
}
