//! Calls for requests and for what follows them, bodies, deadlines, and the bounds of all that waits.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use sidegate_engine::{Call, CallError, CallId, HttpReply, HttpRequest, Question, Reply, Timestamp};

use super::envoy::{self, CONTINUE, PAUSE, Vm, host, stream};
use super::{bearer, config, errors, fixture, header, keys, other_keys, reply, tokens};
use crate::calls::{Asker, AskerId, Asking, MAX_UNDER_WAY, MAX_WAITING};
use crate::contexts;
use crate::plugin::Plugin;

const OK: (&str, &str) = (":status", "200");
const FROM_A_SERVER: (&str, &str) = ("x-envoy-upstream-service-time", "0");
const QUIET: [usize; 4] = [0; 4];

/// Keeps what it is told.
#[derive(Default)]
struct Probe {
    told: RefCell<Vec<(CallId, Result<Reply, CallError>)>>,
    expired: RefCell<usize>,
    /// What Envoy acted for when it was told.
    acted_for: RefCell<Vec<u32>>,
}

impl Asker for Probe {
    fn answered(self: Rc<Self>, id: CallId, reply: Result<Reply, CallError>) {
        self.told.borrow_mut().push((id, reply));
        self.acted_for.borrow_mut().push(host(|host| host.effective));
    }

    fn expired(self: Rc<Self>) {
        *self.expired.borrow_mut() += 1;
    }
}

impl Probe {
    fn told(&self) -> Vec<Result<Reply, CallError>> {
        self.told.take().into_iter().map(|(_, reply)| reply).collect()
    }

    /// The only thing that it was told.
    fn answer(&self) -> Result<HttpReply, CallError> {
        match <[_; 1]>::try_from(self.told()) {
            Ok([reply]) => reply.map(|reply| match reply {
                Reply::Http(reply) => reply,
                other => panic!("{other:?}"),
            }),
            Err(told) => panic!("{told:?}"),
        }
    }
}

/// A plugin, and somebody who asks on behalf of a request.
struct Bench {
    vm: Vm,
    plugin: Rc<Plugin>,
}

impl Bench {
    fn new() -> Self {
        let vm = Vm::start(&keys()).unwrap();
        let plugin = contexts::plugin(vm.root).unwrap();
        Self { vm, plugin }
    }

    fn probe(&self) -> (Rc<Probe>, Asking) {
        let id = self.vm.open(&[]);
        self.probe_as(AskerId::Request(id))
    }

    fn probe_as(&self, id: AskerId) -> (Rc<Probe>, Asking) {
        let probe = Rc::new(Probe::default());
        let deadline = now().after(Duration::from_secs(10));
        (Rc::clone(&probe), Asking { id, deadline, asker: probe })
    }

    fn ask(&self, asking: &Asking, call: u32, question: Question) -> Result<(), CallError> {
        self.plugin.ask(asking, Call { id: CallId(call), question, timeout: Duration::from_secs(5) }, now())
    }

    fn answer(&self, token: u32, headers: &[(&str, &str)], body: &str, trailers: &[(&str, &str)]) {
        let owned = |pairs: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        let leak = |pairs: &[(&str, &str)]| -> Vec<(&'static str, String)> {
            owned(&pairs.iter().map(|(name, value)| (&*String::leak((*name).to_owned()), *value)).collect::<Vec<_>>())
        };
        self.vm.answer_with(token, &leak(headers), body, &leak(trailers));
    }
}

fn now() -> Timestamp {
    Timestamp::from_nanos(host(|host| host.now))
}

fn request() -> HttpRequest {
    HttpRequest {
        method: "POST".to_owned(),
        scheme: "https",
        authority: "idp.example.com".to_owned(),
        path: "/introspect?a=1".to_owned(),
        clusters: vec!["not-there".to_owned(), "idp".to_owned()],
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: b"token=1".to_vec(),
        max_response_bytes: 100,
        share: None,
    }
}

fn shared(what: u8) -> Question {
    Question::Http(HttpRequest { share: Some([what; 32]), ..request() })
}

#[test]
fn a_request_goes_to_the_first_cluster_that_there_is() {
    let bench = Bench::new();
    let (probe, asking) = bench.probe();
    bench.ask(&asking, 0, Question::Http(request())).unwrap();
    host(|host| {
        let [call] = host.calls.as_slice() else { panic!("{} calls", host.calls.len()) };
        assert_eq!((call.cluster.as_str(), call.body.as_slice(), call.timeout), ("idp", &b"token=1"[..], 5000));
        let names: Vec<_> = call.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [":method", ":scheme", ":authority", ":path", "content-type"]);
    });
    bench.answer(0, &[OK, FROM_A_SERVER, ("x-a", "1")], "body", &[("grpc-status", "0")]);
    let reply = probe.answer().unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"body"[..]));
    assert_eq!(reply.headers.text("x-a").unwrap(), "1");
    assert_eq!(reply.trailers.text("grpc-status").unwrap(), "0");
    assert_eq!(bench.plugin.calls.counts(), QUIET);
    let AskerId::Request(id) = asking.id else { panic!() };
    assert_eq!(*probe.acted_for.borrow(), [id]);
    assert_eq!(host(|host| host.effective), bench.vm.root);
}

#[test]
fn a_call_that_nobody_takes_says_what_was_tried() {
    let bench = Bench::new();
    let (probe, asking) = bench.probe();
    let nobody = HttpRequest { clusters: vec!["a".to_owned(), "b".to_owned()], ..request() };
    let refused = bench.ask(&asking, 0, Question::Http(nobody));
    let Err(CallError::Failed(why)) = refused else { panic!("{refused:?}") };
    for word in ["https://idp.example.com", "`a`, `b`", "upstreams"] {
        assert!(why.contains(word), "{why}");
    }
    assert!(!why.contains("introspect"), "{why}");
    host(|host| host.refuse.insert("call", 10));
    let refused = bench.ask(&asking, 0, Question::Http(request()));
    assert!(
        matches!(&refused, Err(CallError::Overrun(why)) if why.contains("`not-there` takes no call")),
        "{refused:?}"
    );
    assert_eq!(probe.told(), []);
    assert_eq!(bench.plugin.calls.counts(), QUIET);
}

#[test]
fn what_envoy_says_in_a_servers_stead_is_no_answer() {
    let bench = Bench::new();
    let refused = "upstream connect error or disconnect/reset before headers. reset reason: connection refused";
    for (headers, body, expected) in [
        (vec![(":status", "503"), FROM_A_SERVER], "down for today", Ok(503)),
        (vec![(":status", "504"), FROM_A_SERVER], "", Ok(504)),
        (vec![(":status", "503")], refused, Err(Some("connection refused"))),
        (vec![(":status", "502")], "reset reason: protocol error", Err(Some("protocol error"))),
        (vec![(":status", "200")], "", Err(Some("200 of Envoy itself"))),
        (vec![(":status", "504")], "upstream request timeout", Err(None)),
        (vec![], "", Err(Some("broke off"))),
    ] {
        let (probe, asking) = bench.probe();
        bench.ask(&asking, 0, Question::Http(request())).unwrap();
        let token = u32::try_from(host(|host| host.calls.len())).unwrap() - 1;
        bench.answer(token, &headers, body, &[]);
        match (probe.answer(), expected) {
            (Ok(reply), Ok(status)) => assert_eq!(reply.status, status),
            (Err(CallError::Failed(why)), Err(Some(part))) => assert!(why.contains(part), "{why}"),
            (Err(CallError::Timeout), Err(None)) => {}
            (answer, expected) => panic!("{headers:?}: {answer:?} is not {expected:?}"),
        }
    }
    // An answer whose head came, but whose body did not come in time.
    let (probe, asking) = bench.probe();
    bench.ask(&asking, 0, Question::Http(request())).unwrap();
    host(|host| host.now += 5_000_000_000);
    bench.answer(u32::try_from(host(|host| host.calls.len())).unwrap() - 1, &[], "", &[]);
    assert_eq!(probe.answer(), Err(CallError::Timeout));
}

#[test]
fn an_answer_that_is_too_long_is_not_read() {
    let bench = Bench::new();
    let (probe, asking) = bench.probe();
    bench.ask(&asking, 0, Question::Http(request())).unwrap();
    bench.answer(0, &[OK, FROM_A_SERVER], &"x".repeat(100), &[]);
    assert_eq!(probe.answer().unwrap().body.len(), 100);
    bench.ask(&asking, 1, Question::Http(request())).unwrap();
    host(|host| host.refuse.insert("buffer", 10));
    bench.answer(1, &[OK, FROM_A_SERVER], &"x".repeat(101), &[]);
    assert_eq!(probe.answer(), Err(CallError::TooLong));
    bench.ask(&asking, 2, Question::Http(request())).unwrap();
    bench.answer(2, &[OK, FROM_A_SERVER], "unreadable", &[]);
    assert!(matches!(probe.answer(), Err(CallError::Failed(_))));
}

#[test]
fn those_who_ask_the_same_share_one_answer() {
    let bench = Bench::new();
    let probes: Vec<_> = std::iter::repeat_with(|| bench.probe()).take(5).collect();
    for (index, (_, asking)) in probes.iter().enumerate() {
        bench.ask(asking, 0, shared(if index == 4 { 2 } else { 1 })).unwrap();
    }
    let [first, second, third, fourth, other] = probes.as_slice() else { panic!() };
    // One asks twice. The first one leaves; what it began goes on. Of another Envoy knows no more, and did not say so.
    bench.ask(&second.1, 1, shared(1)).unwrap();
    bench.plugin.calls.forget(first.1.id);
    let AskerId::Request(gone) = third.1.id else { panic!() };
    host(|host| host.streams.remove(&gone));
    assert_eq!(host(|host| host.calls.len()), 2);
    bench.answer(0, &[OK, FROM_A_SERVER], "x", &[]);
    let told: Vec<_> = [first, second, third, fourth, other].iter().map(|(probe, _)| probe.told().len()).collect();
    assert_eq!(told, [0, 2, 0, 1, 0]);
    // The next one to ask asks anew.
    bench.ask(&first.1, 1, shared(1)).unwrap();
    assert_eq!(host(|host| host.calls.len()), 3);
    bench.answer(1, &[OK, FROM_A_SERVER], "x", &[]);
    bench.answer(2, &[OK, FROM_A_SERVER], "x", &[]);
    assert_eq!((other.0.told().len(), first.0.told().len()), (1, 1));
    assert_eq!(bench.plugin.calls.counts(), QUIET);
}

#[test]
fn one_call_that_takes_too_long_ends_alone_and_all_together_end_the_asker() {
    let bench = Bench::new();
    let (probe, asking) = bench.probe();
    bench.ask(&asking, 0, Question::Http(request())).unwrap();
    assert!(host(|host| host.tick) <= 5000);
    bench.vm.tick(4999);
    assert_eq!(probe.told(), []);
    bench.vm.tick(1);
    assert_eq!(probe.told(), [Err(CallError::Timeout)]);
    bench.ask(&asking, 1, Question::Http(request())).unwrap();
    bench.ask(&asking, 2, Question::Body { max_bytes: 1 }).unwrap();
    bench.vm.tick(5000);
    assert_eq!((probe.told(), *probe.expired.borrow()), (vec![], 1));
    bench.answer(0, &[OK, FROM_A_SERVER], "late", &[]);
    bench.answer(1, &[OK, FROM_A_SERVER], "late", &[]);
    assert_eq!((probe.told(), bench.plugin.calls.counts()), (vec![], QUIET));
    bench.vm.tick(1);
    assert_eq!(host(|host| host.tick), 0, "nothing is to be done any more");
}

#[test]
fn what_waits_is_bounded() {
    let bench = Bench::new();
    let request_of = |number| bench.probe_as(AskerId::Request(number)).1;
    let follow_up_of = |number| bench.probe_as(AskerId::FollowUp(number)).1;
    let many = u32::try_from(MAX_WAITING).unwrap();
    for number in 0..many {
        bench.ask(&request_of(number), 0, shared(1)).unwrap();
    }
    let refused = bench.ask(&request_of(many), 0, shared(1));
    assert_eq!(refused, Err(CallError::overrun()));
    bench.ask(&request_of(0), 1, shared(1)).expect("who waits already may ask for more");
    for number in 0..many {
        bench.ask(&follow_up_of(number), 0, shared(1)).expect("follow-ups have room of their own");
    }
    assert!(bench.ask(&follow_up_of(many), 0, shared(1)).is_err());
    assert_eq!(bench.plugin.calls.counts(), [1, 1, 2 * MAX_WAITING, MAX_WAITING]);
    bench.answer(0, &[OK, FROM_A_SERVER], "", &[]);
    assert_eq!(bench.plugin.calls.counts(), QUIET);
    bench.ask(&request_of(many), 0, shared(1)).expect("there is room again");
}

#[test]
fn requests_that_wait_for_their_bodies_take_no_place_from_others() {
    let bench = Bench::new();
    let request_of = |number| bench.probe_as(AskerId::Request(number)).1;
    let many = u32::try_from(MAX_WAITING).unwrap();
    for number in 0..many {
        bench.ask(&request_of(number), 0, Question::Body { max_bytes: 10 }).unwrap();
    }
    assert_eq!(bench.ask(&request_of(many), 0, Question::Body { max_bytes: 10 }), Err(CallError::overrun()));
    for number in many..2 * many {
        bench.ask(&request_of(number), 0, shared(1)).unwrap();
    }
    assert_eq!(bench.ask(&request_of(2 * many), 0, shared(1)), Err(CallError::overrun()));
}

#[test]
fn what_is_under_way_is_bounded_though_nobody_waits() {
    let bench = Bench::new();
    let (_, asking) = bench.probe();
    for _ in 0..MAX_UNDER_WAY {
        bench.ask(&asking, 0, Question::Http(request())).unwrap();
        bench.plugin.calls.forget(asking.id);
    }
    assert!(bench.ask(&asking, 0, Question::Http(request())).is_err());
    for token in 0..u32::try_from(MAX_UNDER_WAY).unwrap() {
        bench.answer(token, &[], "", &[]);
    }
    bench.ask(&asking, 0, Question::Http(request())).unwrap();
}

#[test]
fn a_plugin_that_ends_forgets_who_waits() {
    let bench = Bench::new();
    let (probe, asking) = bench.probe_as(AskerId::FollowUp(0));
    bench.ask(&asking, 0, shared(1)).unwrap();
    drop(asking);
    assert_eq!(Rc::strong_count(&probe), 2);
    bench.vm.end();
    assert_eq!(Rc::strong_count(&probe), 1);
}

#[test]
fn two_rules_of_one_request_wait_for_one_key_set() {
    let of_audience = |audience| json!({"jwt": {"jwksUrl": "https://idp.example.com/keys", "audiences": [audience]}});
    let spec = json!({
        "hosts": ["*"],
        "authentication": {"a": of_audience("nobody"), "b": {"jwt": {"jwksUrl": "https://idp.example.com/keys"}}},
        "response": {"success": {"headers": {"x-user": {"plain": {"selector": "auth.identity.sub"}}}}},
    });
    for (answer, passes) in [(fixture("jwks"), true), (other_keys(), false), ("garbage".to_owned(), false)] {
        let vm = Vm::start(&config(&spec, &[], &json!({}))).unwrap();
        vm.tick(2);
        vm.answer(0, Some(200), &other_keys());
        host(|host| host.now += 60_000_000_000);
        let (id, action) = bearer(&vm);
        let plugin = contexts::plugin(vm.root).unwrap();
        assert_eq!((action, plugin.calls.counts()), (PAUSE, [0, 0, 1, 0]));
        vm.tick(2);
        vm.answer(1, Some(200), &answer);
        // The rule that comes first may ask again, as what came may be what another worker had.
        vm.tick(11_000);
        if plugin.calls.counts()[0] > 0 {
            vm.answer(2, Some(200), &answer);
        }
        assert_eq!(stream(id, |stream| (stream.resumed == 1, stream.replies.len() == 1)), (passes, !passes));
        assert_eq!(plugin.calls.counts(), QUIET);
        vm.close(id);
        host(|host| *host = envoy::Host::default());
    }
}

#[test]
fn a_request_that_takes_too_long_tells_who_was_waited_for() {
    let vm = Vm::start(&tokens().replace("\"options\":{}", "\"options\":{\"timeout\":1000}")).unwrap();
    host(|host| host.debug = true);
    vm.tick(2);
    vm.answer(0, Some(200), &other_keys());
    host(|host| host.now += 60_000_000_000);
    let (id, action) = bearer(&vm);
    assert_eq!(action, PAUSE);
    vm.tick(2);
    vm.tick(1000);
    assert_eq!(stream(id, |stream| stream.replies.len()), 1);
    let logs = host(|host| host.logs.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>());
    let told = |line: &String| line.contains("took too long") && line.contains(": cancelled");
    assert!(logs.iter().any(told), "{logs:?}");
}

#[test]
fn what_is_decided_is_carried_out_though_callbacks_take_too_long() {
    let spec = |authentication: serde_json::Value| {
        json!({
            "hosts": ["*"],
            "authentication": {"it": authentication},
            "callbacks": {"tell": {"http": {"url": "https://idp.example.com/tell"}}},
        })
    };
    let known = json!({"anonymous": {}});
    let unknown = json!({"apiKey": {"selector": {"matchLabels": {"group": "none"}}}});
    for (authentication, passes) in [(known, true), (unknown, false)] {
        let options = json!({"callbacks": "Blocking", "timeout": 1000});
        let vm = Vm::start(&config(&spec(authentication), &[], &options)).unwrap();
        let (id, action) = vm.request(&[(":authority", "a"), (":path", "/"), (":method", "GET")]);
        assert_eq!(action, PAUSE);
        vm.tick(1001);
        vm.tick(1);
        assert_eq!(stream(id, |stream| (stream.resumed == 1, stream.replies.len() == 1)), (passes, !passes));
        vm.close(id);
        host(|host| *host = envoy::Host::default());
    }
}

#[test]
fn requests_against_a_dead_issuer_leave_nothing_behind() {
    let vm = Vm::start(&tokens().replace("\"options\":{}", "\"options\":{\"timeout\":1000}")).unwrap();
    vm.tick(2);
    vm.answer(0, Some(200), &other_keys());
    let plugin = contexts::plugin(vm.root).unwrap();
    let round = || {
        host(|host| host.now += 60_000_000_000);
        let streams: Vec<_> = std::iter::repeat_with(|| bearer(&vm).0).take(MAX_WAITING).collect();
        assert_eq!(plugin.calls.counts()[2], MAX_WAITING);
        vm.tick(2);
        vm.tick(1000);
        for id in streams {
            assert_eq!(reply(id).0, 503);
            vm.close(id);
        }
        let token = u32::try_from(host(|host| host.calls.len())).unwrap() - 1;
        vm.answer(token, None, "");
        host(|host| {
            host.logs.clear();
            host.logs.shrink_to_fit();
        });
        assert_eq!(plugin.calls.counts(), QUIET);
        super::allocated()
    };
    // What a first round leaves is there for the next.
    round();
    let (before, after) = (round(), round());
    assert!(after < before + 10_000, "{before} bytes became {after}");
}

/// Admits what has this body.
fn bodies(timeout: u64) -> String {
    let spec = json!({
        "hosts": ["*"],
        "authorization": {"hello": {"patternMatching": {"patterns": [
            {"selector": "request.body", "operator": "eq", "value": "hello"}]}}},
    });
    let options = json!({"allowOnHeadersStopIteration": true, "maxRequestBytes": 10, "timeout": timeout});
    config(&spec, &[], &options)
}

#[test]
fn a_body_is_waited_for_to_its_end() {
    let vm = Vm::start(&bodies(10_000)).unwrap();
    let id = vm.open(&[(":authority", "a")]);
    assert_eq!([vm.headers(id), vm.piece(id, "hel", false), vm.piece(id, "lo", false)], [PAUSE; 3]);
    assert_eq!(vm.piece(id, "", true), CONTINUE);
    assert_eq!(stream(id, |stream| (stream.resumed, stream.replies.len())), (0, 0), "the callback lets it go");

    let id = vm.open(&[(":authority", "a")]);
    assert_eq!([vm.headers(id), vm.piece(id, "hello", false), vm.trailers(id)], [PAUSE, PAUSE, CONTINUE]);

    let id = vm.open(&[(":authority", "a")]);
    assert_eq!([vm.headers(id), vm.piece(id, "hello!", true), vm.trailers(id)], [PAUSE; 3]);
    assert_eq!(reply(id).0, 403);
    let id = vm.open(&[(":authority", "a")]);
    assert_eq!((vm.headers_alone(id), reply(id).0), (PAUSE, 403), "without a body");
    let id = vm.open(&[(":authority", "a")]);
    assert_eq!((vm.headers(id), vm.trailers(id), reply(id).0), (PAUSE, PAUSE, 403), "without a body, but trailers");
}

#[test]
fn a_body_that_is_too_long_unreadable_endless_or_late_is_none() {
    let vm = Vm::start(&bodies(10_000)).unwrap();
    let id = vm.open(&[(":authority", "a")]);
    assert_eq!([vm.headers(id), vm.piece(id, "0123456789", false)], [PAUSE; 2]);
    assert_eq!((vm.piece(id, "x", false), reply(id).0), (PAUSE, 413), "at once");
    assert_eq!(vm.piece(id, "y", true), PAUSE);

    let id = vm.open(&[(":authority", "a")]);
    vm.headers(id);
    host(|host| host.refuse.insert("buffer", 10));
    assert_eq!((vm.piece(id, "hello", true), reply(id).0), (PAUSE, 503));
    host(|host| host.refuse.clear());
    let id = vm.open(&[(":authority", "a")]);
    vm.headers(id);
    assert_eq!((vm.body(id, true), reply(id).0), (PAUSE, 503), "less than was said");

    for tunnel in [(":method", "CONNECT"), ("upgrade", "websocket")] {
        let id = vm.open(&[(":authority", "a"), tunnel]);
        assert_eq!((vm.headers(id), reply(id).0), (PAUSE, 503), "{tunnel:?}");
    }

    // As where Envoy does not have the setting, whatever the operator says.
    let id = vm.open(&[(":authority", "a")]);
    assert_eq!(vm.headers(id), PAUSE);
    vm.tick(9_999);
    assert_eq!(stream(id, |stream| stream.replies.len()), 0);
    vm.tick(1);
    assert_eq!(reply(id).0, 503);
    assert_eq!(vm.piece(id, "hello", true), PAUSE);
    assert_eq!(contexts::plugin(vm.root).unwrap().calls.counts(), QUIET);
    assert_eq!(errors(), [] as [String; 0]);
    assert_eq!(header(id, "x"), [] as [String; 0]);
}
