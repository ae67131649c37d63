//! Runs a case by the engine alone.

mod outside;
mod snapshot;
mod world;

use std::rc::Rc;
use std::time::Duration;

use sidegate_engine::{
    Body, Call, CallError, Decision, FollowUp, Following, Headers, Policy, Progress, Question, Reply, Session,
    Timestamp, Verdict,
};

use crate::calls::{self, Calls};
use crate::case::{Case, Request};
use crate::outcome::{self, Metadata, Outcome};
use crate::prepare::{self, Prepared};
use crate::problems;
use outside::{Answer, Outside, UnderWay};
use world::World;

/// Runs a case.
///
/// # Errors
/// What is not as expected, ready to be read.
pub fn run(prepared: &Prepared) -> Result<(), String> {
    let now = Timestamp::from_secs(u64::try_from(prepare::now()).unwrap_or_default());
    watch(prepared, now, &mut |_| {})
}

/// Some requests that were under way together, and what came of them.
#[derive(Debug)]
pub struct Decided<'a> {
    /// Number of the first among those of the case, from 0.
    pub first: usize,
    /// The requests.
    pub requests: &'a [Request],
    /// What came of each.
    pub outcomes: &'a [Outcome],
    /// What services were asked.
    pub calls: &'a Calls,
}

/// Runs a case at a time, and shows what comes of its requests before it is judged.
///
/// # Errors
/// What is not as expected, ready to be read.
pub fn watch(prepared: &Prepared, mut now: Timestamp, see: &mut dyn FnMut(&Decided<'_>)) -> Result<(), String> {
    let Prepared { case, configuration, .. } = prepared;
    let policy = match (Policy::compile(configuration.as_bytes()), case.config_errors.is_empty()) {
        (Ok(policy), true) => Rc::new(policy),
        (Ok(_), false) => return Err("the configuration is taken, though it has errors".to_owned()),
        (Err(problems), true) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Err(format!("the configuration is refused:\n  {}", problems.join("\n  ")));
        }
        (Err(problems), false) => return problems::compare(&case.config_errors, &problems),
    };
    let mut world = World { prepared, policy, request: 1 };
    world.fetch_keys(now);
    for (first, group) in prepared.groups() {
        world.request = first + 1;
        for _ in 0..group.iter().map(|request| request.times).max().unwrap_or(1) {
            let after: u64 = group.iter().map(|request| request.after).sum();
            now = now.after(Duration::from_secs(after));
            world.fetch_keys(now);
            let (came, calls, end) = Play::new(&world, group, now).run(case)?;
            if calls.is_empty() {
                // Whatever is remembered of a request, nobody may see it by what comes of the next one.
                let (again, ..) = Play::new(&world, group, now).run(case)?;
                let [first, second] = [&came, &again].map(|came| format!("{came:#?}"));
                if first != second {
                    return Err(format!("decided once more, it comes out otherwise:\n{first}\n{second}"));
                }
            }
            now = end;
            see(&Decided { first, requests: group, outcomes: &came, calls: &calls });
            calls::judge_all((first, group), &came, &calls)?;
        }
    }
    Ok(())
}

/// Requests that are under way together.
struct Play<'a> {
    world: &'a World<'a>,
    requests: &'a [Request],
    now: Timestamp,
    outside: Outside<Question>,
    actors: Vec<Actor>,
    outcomes: Vec<Option<Outcome>>,
    calls: Calls,
}

/// What a request is busy with.
enum Actor {
    Deciding(Session),
    Following(FollowUp),
    Done,
}

impl<'a> Play<'a> {
    fn new(world: &'a World<'a>, requests: &'a [Request], now: Timestamp) -> Self {
        let calls = Calls { before: Vec::new(), later: Some(Vec::new()) };
        Self { world, requests, now, outside: Outside::default(), actors: Vec::new(), outcomes: Vec::new(), calls }
    }

    /// Gives back what came of each, all calls, and when it is over.
    fn run(mut self, case: &Case) -> Result<(Vec<Outcome>, Calls, Timestamp), String> {
        for (who, request) in self.requests.iter().enumerate() {
            let snapshot = snapshot::of(&self.world.policy, case, request, &format!("native-{who}"))?;
            self.actors.push(Actor::Done);
            self.outcomes.push(None);
            let (session, progress) = Session::start(Rc::clone(&self.world.policy), snapshot, self.now);
            self.progressed(who, session, progress);
        }
        while let Some(UnderWay { at, who, id, question, answer, .. }) = self.outside.next() {
            self.now = at;
            let reply = self.reply(who, question, answer);
            match std::mem::replace(&mut self.actors[who], Actor::Done) {
                Actor::Deciding(mut session) => {
                    let progress = session.resume(id, reply, at);
                    self.progressed(who, session, progress);
                }
                Actor::Following(mut follow_up) => {
                    let following = follow_up.resume(id, reply, at);
                    self.followed(who, follow_up, following);
                }
                Actor::Done => {}
            }
        }
        let outcomes: Option<Vec<Outcome>> = self.outcomes.into_iter().collect();
        Ok((outcomes.ok_or("the session waits, but for nothing")?, self.calls, self.now))
    }

    fn progressed(&mut self, who: usize, session: Session, progress: Progress) {
        match progress {
            Progress::Pending(calls) => {
                self.ask(who, calls, false);
                self.actors[who] = Actor::Deciding(session);
            }
            Progress::Done(verdict) => {
                self.outcomes[who] = Some(outcome(verdict, &session.request().headers));
                if let Some((follow_up, following)) = session.follow_up(self.now) {
                    self.followed(who, follow_up, following);
                }
            }
        }
    }

    fn followed(&mut self, who: usize, follow_up: FollowUp, following: Following) {
        match following {
            Following::Pending(calls) => {
                self.ask(who, calls, true);
                self.actors[who] = Actor::Following(follow_up);
            }
            Following::Done(steps) => {
                if let Some(Outcome { trace: Some(trace), steps: all, .. }) = &mut self.outcomes[who] {
                    trace.extend(steps.iter().map(ToString::to_string));
                    all.extend(steps);
                }
            }
        }
    }

    fn ask(&mut self, who: usize, calls: Vec<Call>, decided: bool) {
        let Self { world, outside, now, calls: Calls { before, later }, .. } = self;
        let seen = if decided { later.get_or_insert_default() } else { before };
        for Call { id, question, timeout } in calls {
            let Question::Http(request) = question.clone() else {
                outside.ask((who, id), question, *now);
                continue;
            };
            outside.send((who, id), (&request, question), (*now, timeout), || {
                seen.extend(world.call(&request));
                world.answer(&request)
            });
        }
    }

    fn reply(&self, who: usize, question: Question, answer: Answer) -> Result<Reply, CallError> {
        match (question, answer) {
            (_, Answer::Http(reply)) => reply.map(Reply::Http),
            (Question::Body { max_bytes }, Answer::Other) => {
                let body = self.requests[who].body.as_ref().map_or(&[][..], |body| body.bytes());
                if body.len() > max_bytes { Err(CallError::TooLong) } else { Ok(Reply::Body(Body(body.to_vec()))) }
            }
            (Question::RefreshDocument(_) | Question::Http(_), Answer::Other) => {
                self.world.fetch_keys(self.now);
                Ok(Reply::DocumentRefreshed)
            }
        }
    }
}

fn outcome(verdict: Verdict, headers: &Headers) -> Outcome {
    let Verdict { decision, auth_config, ruling, mut steps, overrun: _ } = verdict;
    if let Some(ruling) = ruling {
        steps.insert(0, ruling.step());
    }
    let decision = match decision {
        Decision::Allow(allowed) => {
            let removed = |name: &String| {
                allowed.remove_headers.contains(name) || allowed.set_headers.iter().any(|(set, _)| set == name)
            };
            // White space around a value does not go over the wire (RFC 9110 section 5.5).
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
            let set = allowed.set_headers.iter().map(|(name, value)| (name.clone(), text(value.as_bytes())));
            let sent = headers.iter().map(|(name, value)| (text(name), text(value))).filter(|(name, _)| !removed(name));
            outcome::Decision::Allowed {
                headers: sent.chain(set).collect(),
                metadata: Metadata::Typed(allowed.dynamic_metadata.into_iter().collect()),
            }
        }
        Decision::Serve(served) => {
            outcome::Decision::Served { status: served.code, headers: served.headers, body: served.body }
        }
        Decision::Deny(reply) => outcome::Decision::Denied {
            status: reply.code,
            headers: reply.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
            body: reply.body,
            kind: reply.status.name().to_owned(),
            rule: reply.rule.map(|rule| rule.to_string()),
        },
    };
    let trace = Some(steps.iter().map(ToString::to_string).collect());
    Outcome { decision, auth_config: auth_config.map(|id| id.to_string()), trace, trace_is_whole: true, steps }
}
