//! What the filter and the services would be to the engine.

use std::rc::Rc;
use std::time::Duration;

use sidegate_engine::remote::Fetched;
use sidegate_engine::{CallError, Headers, HttpReply, HttpRequest, Policy, Timestamp};

use crate::calls::Call;
use crate::case::{Received, Wire};
use crate::prepare::Prepared;

/// Longer than any call may take.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A policy, and the services that it may ask.
pub struct World<'a> {
    /// The case.
    pub prepared: &'a Prepared,
    /// What it configures.
    pub policy: Rc<Policy>,
    /// Number of the request of the case that is under way.
    pub request: usize,
}

impl World<'_> {
    /// What the root context does on a tick, with nobody else to share keys with.
    pub fn fetch_keys(&self, now: Timestamp) {
        let keys = self.policy.remote_documents();
        for id in keys.due(now) {
            let mut next = keys.begin(id, now);
            while let Some(fetch) = next.take() {
                let reply = match self.answer(&fetch.request) {
                    (_, delay) if delay > fetch.timeout => Err(CallError::Timeout),
                    (reply, _) => reply,
                };
                let reply = reply.map_err(CallError::in_words);
                if let Fetched::Next(fetch) = keys.fetched(fetch.id, reply, now) {
                    next = Some(fetch);
                }
            }
        }
    }

    /// What a server answers, and how long that takes.
    pub fn answer(&self, request: &HttpRequest) -> (Result<HttpReply, CallError>, Duration) {
        let failed = |why: &str| Err(CallError::Failed(why.to_owned()));
        let Some(service) = self.prepared.services.get(&request.authority) else {
            return (failed(&format!("no reply of `{}` is scripted", request.authority)), Duration::ZERO);
        };
        if service.down || request.clusters.is_empty() {
            return (failed("connection refused"), Duration::ZERO);
        }
        let Some(reply) = service.reply(&service.receive(received(request)), self.request) else {
            return (Ok(HttpReply { status: 404, ..HttpReply::default() }), Duration::ZERO);
        };
        let Wire { status, headers, body, trailers } = reply.wire();
        let answer = if reply.reset {
            failed("the connection was reset")
        } else if body.len() > request.max_response_bytes {
            Err(CallError::TooLong)
        } else if reply.truncated {
            failed("the answer broke off")
        } else {
            let [headers, trailers] = [headers, trailers].map(Headers::from_pairs);
            Ok(HttpReply { status, headers, body, trailers })
        };
        (answer, if reply.stalls { FOR_EVER } else { Duration::from_millis(reply.delay) })
    }

    /// The call that a service sees, if somebody listens and it is for no document that is fetched in its own time.
    pub fn call(&self, request: &HttpRequest) -> Option<Call> {
        let service = self.prepared.services.get(&request.authority)?;
        let seen = !service.down && !request.clusters.is_empty() && !service.has_document(&request.path);
        let name = self.prepared.service_name(&request.authority)?;
        seen.then(|| Call { service: name.to_owned(), request: service.receive(received(request)) })
    }
}

fn received(HttpRequest { method, path, headers, body, .. }: &HttpRequest) -> Received {
    Received { method: method.clone(), path: path.clone(), headers: headers.clone(), body: body.clone() }
}
