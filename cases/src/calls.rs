//! What services were asked, and whether it is what was expected.

use std::collections::BTreeSet;

use crate::case::{ExpectedCall, Received, Request};
use crate::outcome::{self, Comparison, Outcome};

/// A request to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Name of the service.
    pub service: String,
    /// What it got.
    pub request: Received,
}

/// Requests to services, in the order of their arrival.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// Those before the verdict.
    pub before: Vec<Call>,
    /// Those after it; none: the runner cannot tell, and they are among those before.
    pub later: Option<Vec<Call>>,
}

impl Calls {
    /// Whether nobody was asked anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.later.as_ref().is_none_or(Vec::is_empty)
    }
}

/// How many calls requests are expected to cause, if that is looked at.
#[must_use]
pub fn expected(requests: &[Request]) -> Option<usize> {
    let (before, later) = wanted(requests)?;
    Some(before.len() + later.len())
}

/// Whether requests came out as expected, and the calls that they made: those of all of them together.
///
/// # Errors
/// Expected and got side by side, and the step trace.
pub fn judge_all((first, requests): (usize, &[Request]), outcomes: &[Outcome], calls: &Calls) -> Result<(), String> {
    for (index, (request, outcome)) in requests.iter().zip(outcomes).enumerate() {
        let head = format!("request {} {} {}", first + index + 1, request.method, request.path);
        outcome::judge(&request.expect, outcome).map_err(|report| format!("{head}\n{report}"))?;
    }
    let mut comparison = Comparison::default();
    if let Some((before, later)) = wanted(requests) {
        match &calls.later {
            Some(got) => {
                compare("call", &before, &calls.before, &mut comparison);
                compare("later", &later, got, &mut comparison);
            }
            None => compare("call", &[before, later].concat(), &calls.before, &mut comparison),
        }
    }
    let traces = outcomes.iter().flat_map(|outcome| outcome.trace.iter().flatten());
    comparison.report(traces).map_err(|report| format!("calls of request {}\n{report}", first + 1))
}

/// Calls before and after the verdict.
type Wanted<'a> = (Vec<&'a ExpectedCall>, Vec<&'a ExpectedCall>);

fn wanted(requests: &[Request]) -> Option<Wanted<'_>> {
    let expects = || requests.iter().map(|request| &request.expect);
    let before = expects().filter_map(|expect| expect.calls.as_ref());
    let later = expects().filter_map(|expect| expect.later.as_ref());
    (before.clone().count() > 0).then(|| (before.flatten().collect(), later.flatten().collect()))
}

fn compare(what: &'static str, expected: &[&ExpectedCall], got: &[Call], comparison: &mut Comparison) {
    let services = expected.iter().map(|call| &call.service).chain(got.iter().map(|call| &call.service));
    for service in services.collect::<BTreeSet<_>>() {
        let expected: Vec<_> = expected.iter().filter(|call| call.service == *service).collect();
        let got: Vec<_> = got.iter().filter(|call| call.service == *service).map(|call| &call.request).collect();
        for index in 0..expected.len().max(got.len()) {
            let got = got.get(index);
            let head = got.map_or_else(|| "no call".to_owned(), |got| format!("{} {}", got.method, got.path));
            let (expected, got, fits) = match expected.get(index).map(|expected| (expected, got)) {
                None => ("no call".to_owned(), head, false),
                Some((expected, None)) => (expected.to_string(), head, false),
                Some((expected, Some(got))) => match expected.differs(got) {
                    Some((expected, got)) => (expected, format!("{head}: {got}"), false),
                    None => (expected.to_string(), head, true),
                },
            };
            comparison.line(what, format!("{service}: {expected}"), got, fits);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn call(service: &str, path: &str, body: &str) -> Call {
        let request =
            Received { method: "GET".to_owned(), path: path.to_owned(), body: body.into(), ..Received::default() };
        Call { service: service.to_owned(), request }
    }

    /// Judges calls by what each of some requests expects of them.
    fn judged<const N: usize>(expects: [&Value; N], calls: &Calls) -> Result<(), String> {
        let request = |expect: &Value| {
            let mut expect = expect.clone();
            expect["allow"] = json!({});
            serde_json::from_value(json!({ "expect": expect })).unwrap()
        };
        let requests: Vec<Request> = expects.into_iter().map(request).collect();
        judge_all((0, &requests), &vec![Outcome::default(); requests.len()], calls)
    }

    fn before(calls: &[Call]) -> Calls {
        Calls { before: calls.to_vec(), later: Some(Vec::new()) }
    }

    #[test]
    fn calls_are_looked_at_if_they_are_said() {
        let one = before(&[call("a", "/x?y=1", "")]);
        assert_eq!(judged([&json!({})], &one), Ok(()));
        assert_eq!(judged([&json!({"calls": [{"service": "a", "path": "/x"}]})], &one), Ok(()));
        assert_eq!(judged([&json!({"calls": [{"service": "a", "path": "/x?y=1", "method": "GET"}]})], &one), Ok(()));
        for wrong in [
            json!([]),
            json!([{"service": "b"}]),
            json!([{"service": "a", "path": "/y"}]),
            json!([{"service": "a", "path": "/x?y=2"}]),
            json!([{"service": "a", "method": "POST"}]),
            json!([{"service": "a", "query": {"y": null}}]),
            json!([{"service": "a"}, {"service": "a"}]),
        ] {
            assert!(judged([&json!({ "calls": wrong })], &one).is_err_and(|report| report.contains('≠')), "{wrong}");
        }
    }

    #[test]
    fn order_counts_at_each_service() {
        let expected =
            json!({"calls": [{"service": "a", "path": "/1"}, {"service": "a", "path": "/2"}, {"service": "b"}]});
        let (a1, a2, b) = (call("a", "/1", ""), call("a", "/2", ""), call("b", "/", ""));
        assert_eq!(judged([&expected], &before(&[b.clone(), a1.clone(), a2.clone()])), Ok(()));
        assert!(judged([&expected], &before(&[a2, a1, b])).is_err());
    }

    #[test]
    fn later_calls_are_told_apart_where_the_runner_can() {
        let expected = json!({"calls": [{"service": "a", "path": "/1"}], "later": [{"service": "a", "path": "/2"}]});
        let (first, second) = (call("a", "/1", ""), call("a", "/2", ""));
        let both = [first.clone(), second.clone()].to_vec();
        let native = Calls { before: vec![first.clone()], later: Some(vec![second]) };
        assert_eq!(judged([&expected], &native), Ok(()));
        assert_eq!(judged([&expected], &Calls { before: both.clone(), later: None }), Ok(()));
        assert!(judged([&expected], &Calls { before: both, later: Some(Vec::new()) }).is_err());
        assert!(judged([&expected], &Calls { before: vec![first], later: None }).is_err());
    }

    #[test]
    fn requests_that_are_sent_together_answer_for_their_calls_together() {
        let one = json!({"calls": [{"service": "a"}]});
        let calls = before(&[call("a", "/", "")]);
        assert_eq!(judged([&one, &json!({"calls": []})], &calls), Ok(()));
        assert!(judged([&one, &one], &calls).is_err());
    }
}
