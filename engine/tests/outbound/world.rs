//! The engine, and what the filter and the servers would be to it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use sidegate_engine::remote::Fetched;
use sidegate_engine::{
    Call, CallError, Decision, Following, Headers, HttpReply, HttpRequest, Policy, Progress, Question, Reply, Request,
    Session, StepRecord, Timestamp,
};

pub type Answer = Result<HttpReply, CallError>;

/// One policy over time.
pub struct World {
    pub policy: Rc<Policy>,
    pub now: Timestamp,
    /// What was sent, in order.
    pub sent: Vec<HttpRequest>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Outcome {
    /// Headers for the upstream; none if it was denied.
    pub headers: Option<BTreeMap<String, String>>,
    /// Lines of the trace, those of callbacks too.
    pub trace: Vec<String>,
    pub kinds: Vec<&'static str>,
}

impl Outcome {
    /// The line of a step.
    #[track_caller]
    pub fn line(&self, step: &str) -> &str {
        let line = self.trace.iter().find(|line| line.starts_with(&format!("{step}: ")));
        line.unwrap_or_else(|| panic!("no `{step}` in {:#?}", self.trace))
    }

    /// What the header `x-result` says.
    #[track_caller]
    pub fn result(&self) -> Option<&str> {
        self.headers.as_ref().unwrap_or_else(|| panic!("{self:#?}")).get("x-result").map(String::as_str)
    }
}

/// An AuthConfig that puts the metadata `it` into the header `x-result`.
pub fn with_metadata(method: &Value) -> Value {
    json!({"metadata": {"it": method}, "response": {"success": {"headers": {
        "x-result": {"plain": {"selector": "auth.metadata.it"}}}}}})
}

pub fn configuration(mut spec: Value, secrets: &Value, options: &Value) -> Vec<u8> {
    spec["hosts"] = json!(["*"]);
    let mut resources = vec![json!({"apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig",
        "metadata": {"name": "test"}, "spec": spec})];
    for (name, entries) in secrets.as_object().unwrap() {
        resources
            .push(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {"app": name}},
            "stringData": entries}));
    }
    json!({"apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": resources, "options": options})
        .to_string()
        .into_bytes()
}

/// The problems of a configuration.
pub fn problems(spec: Value, secrets: &Value) -> Vec<String> {
    let problems = Policy::compile(&configuration(spec, secrets, &json!({}))).expect_err("it is taken");
    problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

pub fn json_reply(body: &Value) -> Answer {
    reply(200, "application/json", &body.to_string())
}

pub fn reply(status: u16, content_type: &str, body: &str) -> Answer {
    let headers = Headers::from_pairs([("content-type", content_type)]);
    Ok(HttpReply { status, headers, body: body.into(), ..HttpReply::default() })
}

pub fn header<'a>(request: &'a HttpRequest, name: &str) -> Vec<&'a str> {
    request.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}

pub fn body(request: &HttpRequest) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

impl World {
    pub fn new(spec: Value, secrets: &Value) -> Self {
        Self::with_options(spec, secrets, &json!({}))
    }

    pub fn with_options(spec: Value, secrets: &Value, options: &Value) -> Self {
        let policy = Policy::compile(&configuration(spec, secrets, options));
        let policy = Rc::new(policy.unwrap_or_else(|problems| panic!("{problems:#?}")));
        Self { policy, now: Timestamp::from_secs(1_800_000_000), sent: Vec::new() }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    /// Does what the root context does on a tick.
    pub fn fetch(&mut self, answer: impl Fn(&HttpRequest) -> Answer) {
        let documents = self.policy.remote_documents();
        for id in documents.due(self.now) {
            let mut next = documents.begin(id, self.now);
            while let Some(fetch) = next.take() {
                let reply = answer(&fetch.request).map_err(|error| format!("{error:?}"));
                self.sent.push(fetch.request);
                if let Fetched::Next(fetch) = documents.fetched(fetch.id, reply, self.now) {
                    next = Some(fetch);
                }
            }
        }
    }

    pub fn get(&mut self, path: &str, answer: impl Fn(&HttpRequest) -> Answer) -> Outcome {
        self.send(&[(":path", path)], answer)
    }

    pub fn send(&mut self, headers: &[(&str, &str)], answer: impl Fn(&HttpRequest) -> Answer) -> Outcome {
        let (mut session, mut progress) = Session::start(Rc::clone(&self.policy), request(headers), self.now);
        let mut waiting: Vec<Call> = Vec::new();
        let verdict = loop {
            match progress {
                Progress::Done(verdict) => break verdict,
                Progress::Pending(calls) => waiting.extend(calls),
            }
            let call = waiting.remove(0);
            let reply = self.answer(&call, &answer);
            progress = session.resume(call.id, reply, self.now);
        };
        let mut steps = verdict.steps;
        steps.extend(self.follow(session, &answer));
        let headers = match verdict.decision {
            Decision::Allow(allowed) => {
                Some(allowed.set_headers.iter().map(|(name, value)| (name.clone(), value.to_string())).collect())
            }
            Decision::Deny(_) | Decision::Serve(_) => None,
        };
        let kinds = steps.iter().map(|step| step.kind).collect();
        Outcome { headers, trace: steps.iter().map(ToString::to_string).collect(), kinds }
    }

    fn follow(&mut self, session: Session, answer: &impl Fn(&HttpRequest) -> Answer) -> Vec<StepRecord> {
        let Some((mut follow_up, mut following)) = session.follow_up(self.now) else { return Vec::new() };
        let mut waiting: Vec<Call> = Vec::new();
        loop {
            match following {
                Following::Done(steps) => return steps,
                Following::Pending(calls) => waiting.extend(calls),
            }
            let call = waiting.remove(0);
            let reply = self.answer(&call, answer);
            following = follow_up.resume(call.id, reply, self.now);
        }
    }

    fn answer(&mut self, call: &Call, answer: &impl Fn(&HttpRequest) -> Answer) -> Result<Reply, CallError> {
        let Question::Http(request) = &call.question else { panic!("{call:?}") };
        self.sent.push(request.clone());
        answer(request).map(Reply::Http)
    }

    /// Sends requests that all stand at their first calls at once; these are returned.
    pub fn first_calls(&self, count: usize) -> Vec<HttpRequest> {
        let start = |_| match Session::start(Rc::clone(&self.policy), request(&[(":path", "/")]), self.now) {
            (_, Progress::Pending(calls)) => calls,
            (_, Progress::Done(verdict)) => panic!("{verdict:?}"),
        };
        let calls = (0..count).flat_map(start);
        calls
            .map(|call| if let Question::Http(request) = call.question { request } else { panic!("{call:?}") })
            .collect()
    }
}

fn request(headers: &[(&str, &str)]) -> Request {
    let usual = [(":method", "GET"), (":authority", "api.test"), (":scheme", "http"), (":path", "/")];
    let usual = usual.into_iter().filter(|(name, _)| headers.iter().all(|(given, _)| given != name));
    Request { headers: Headers::from_pairs(usual.chain(headers.iter().copied())), ..Request::default() }
}
