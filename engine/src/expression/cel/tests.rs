use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use sidegate_config::Options;

use super::Program;
use crate::compile::{Compiler, Shared};
use crate::request::{Attribute, Attributes, Headers, Needs, Request};
use crate::resources::Resources;
use crate::time::Timestamp;
use crate::view::{Auth, View};

/// A request as the tables see it; `cel_go.tsv` was made with the same.
pub fn view() -> View {
    let headers = Headers::from_pairs([
        (":method", "GET"),
        (":path", "/a?b=c"),
        (":authority", "api.example"),
        ("x-role", "admin"),
        ("x-two", "1"),
        ("x-two", "2"),
        ("empty", ""),
    ]);
    let mut attributes = Attributes::default();
    attributes.insert(Attribute::SourceAddress, b"10.0.0.1:1234".to_vec());
    attributes.insert(Attribute::Size, b"12".to_vec());
    let identity = json!({
        "sub": "joe", "age": 35, "half": 1.5, "big": 9_007_199_254_740_993_u64, "roles": ["admin", "dev"],
        "mixed": [1, "a", null, true, {"k": "v"}], "nested": {"a": {"b": "c"}}, "none": null, "flag": true,
        "off": false, "empty": "", "uni": "héllo wörld", "list0": [], "map0": {}
    });
    View {
        request: Rc::new(Request { headers, attributes, ..Request::default() }),
        time: Timestamp::from_nanos(1_700_000_000_000_000_005),
        auth: Rc::new(Auth { identity: Some(Rc::new(identity)), ..Auth::default() }),
    }
}

/// Compiles, and says what was wrong and what is read.
pub fn compiled(compile: impl FnOnce(&mut Compiler<'_>) -> Program) -> (Program, Vec<String>, Needs) {
    let mut problems = Vec::new();
    let resources = Resources::new([], &mut problems);
    let (patterns, options) = (BTreeMap::new(), Options::default());
    let shared = &mut Shared::default();
    let mut compiler = Compiler::new(("ns", "name"), &patterns, &resources, &options, shared, &mut problems);
    let program = compile(&mut compiler);
    let needs = compiler.needs;
    (program, problems.into_iter().map(|problem| problem.message).collect(), needs)
}

/// The value of an expression; `Err(Ok(error))` at run time, `Err(Err(problem))` in the configuration.
fn run(source: &str) -> Result<Value, Result<String, String>> {
    let (program, problems, _) = compiled(|compiler| Program::compile(source, compiler));
    if !problems.is_empty() {
        return Err(Err(problems.join("; ")));
    }
    program.value(&view()).map_err(|error| Ok(error.0))
}

/// What cel-go 0.21 says of fourteen hundred expressions over the same request: `value` with its JSON, `error` with its text
/// where it has one, `refused` when it is compiled.
const CEL_GO: &str = include_str!("cel_go.tsv");

/// Where we differ, and why.
const DEVIATIONS: &[(Outcome, &[&str])] = &[
    // Element types of literals are not tracked: what cel-go refuses at once shows when it runs, or has a clear meaning.
    (Outcome::Value, &["{1: 'x'}[1.0]", "{1: 'x'}[1u]", "1 < 2.0", "1u < 2", "[1] == [1.0]", "1 in [1.0]"]),
    (Outcome::Value, &["{'a': 1} == {'a': 1.0}", "optional.of(1) == optional.of(1.0)"]),
    (Outcome::Error, &["[1,2].all(x, x)", "[1].join()", "auth.identity.nested[null]"]),
    (Outcome::Error, &["'%d'.format([1.5])", "'%d'.format(['a'])", "'%f'.format([1])", "'%f'.format([1u])"]),
    (Outcome::Error, &["'%e'.format([1])", "'%b'.format(['a'])", "'%o'.format(['a'])", "'%x'.format([1.5])"]),
    (Outcome::Error, &["'%d'.format(['NaN'])", "'%d'.format([timestamp(0)])", "'%s'.format([optional.of(1)])"]),
    (Outcome::Error, &["'%s'.format([auth.identity.?sub])", "'%s'.format([[auth.identity.?sub]])"]),
    // Literals that can never be right are refused at once.
    (Outcome::Refused, &["'abc'.matches('(')", "string(null)", "null < null", "timestamp('x')"]),
    (Outcome::Refused, &["timestamp('2020-01-01')", "timestamp('2020-02-30T00:00:00Z')", "duration('x')"]),
    (Outcome::Refused, &["duration('')", "duration('1d')", "duration('999999999999h')"]),
    (Outcome::Refused, &["timestamp(0).getHours('nowhere')", "timestamp(0).getHours('+2')"]),
    // No zone database, no protobuf messages.
    (Outcome::Refused, &["timestamp(0).getHours('Europe/Berlin')", "timestamp(0).getHours('+99:00')"]),
    (Outcome::Refused, &["google.protobuf.Struct{}", "google.protobuf.Int64Value{value: 3}"]),
    // A name that later versions of cel-go have.
    (Outcome::Value, &["[1,2,3].existsOne(x, x > 2)"]),
    // Go's parser of numbers lets underscores pass.
    (Outcome::Error, &["double('1_000')"]),
    // Not padded, not escaped as Go does it.
    (Outcome::Value, &["'%e'.format(['NaN'])", "'%e'.format(['Infinity'])", "'%e'.format([1.0/0.0])"]),
    (Outcome::Value, &["'%s'.format([['é\\u0000']])"]),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Value,
    Error,
    Refused,
}

#[test]
fn expressions_mean_what_they_mean_to_cel_go() {
    let mut differences = Vec::new();
    for row in CEL_GO.lines() {
        let mut columns = row.splitn(3, '\t');
        let (outcome, expected, source) = (columns.next().unwrap(), columns.next().unwrap(), columns.next().unwrap());
        let got = run(source);
        let deviation = DEVIATIONS.iter().find(|(_, sources)| sources.contains(&source));
        let agrees = match (deviation, outcome, &got) {
            (Some((outcome, _)), ..) => *outcome == outcome_of(&got),
            (None, "value", Ok(value)) => same(value, &serde_json::from_str(expected).unwrap()),
            (None, "error", Err(Ok(error))) => same_error(error, expected),
            (None, "refused", Err(Err(_))) => true,
            _ => false,
        };
        if !agrees {
            differences.push(format!("{source}\n    expected: {outcome} {expected}\n    got: {got:?}"));
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

fn outcome_of(got: &Result<Value, Result<String, String>>) -> Outcome {
    match got {
        Ok(_) => Outcome::Value,
        Err(Ok(_)) => Outcome::Error,
        Err(Err(_)) => Outcome::Refused,
    }
}

/// The texts that people may rely on are the same to the letter; others only say the same.
fn same_error(error: &str, expected: &str) -> bool {
    // What is not written in the expression is told to nobody.
    if error == "no such key" {
        return expected.starts_with("no such key: ");
    }
    let alike = ["no such overload", "expected iterable type", "unknown time zone", "invalid UTF-8"];
    error == expected || expected.is_empty() || alike.iter().any(|text| error.contains(text) && expected.contains(text))
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            let in_right = |(name, left)| right.get(name).is_some_and(|right| same(left, right));
            left.len() == right.len() && left.iter().all(in_right)
        }
        (left, right) => left == right,
    }
}

#[test]
fn predicates_yield_a_boolean_or_an_error() {
    let predicate = |source: &str| {
        let (program, problems, _) = compiled(|compiler| Program::compile_predicate(source, compiler));
        if problems.is_empty() { program.boolean(&view()).map_err(|error| error.0) } else { Err(problems.join("; ")) }
    };
    for (source, expected) in [
        ("auth.identity.age > 18", Ok(true)),
        ("auth.identity.flag", Ok(true)),
        ("auth.identity.off", Ok(false)),
        ("auth.identity.sub", Err("the predicate yields a string, not a bool")),
        ("auth.identity.age", Err("the predicate yields a double, not a bool")),
        ("auth.identity.none", Err("the predicate yields a null_type, not a bool")),
        ("auth.identity.?flag.orValue(false)", Ok(true)),
        ("auth.identity.nope", Err("no such key: nope")),
        ("'true'", Err("a predicate must be of type bool, not string")),
        ("1", Err("a predicate must be of type bool, not int")),
        ("size(auth.identity.roles)", Err("a predicate must be of type bool, not int")),
        ("auth.identity.age + 1.0", Err("a predicate must be of type bool, not double")),
        ("auth.identity.?flag", Err("a predicate must be of type bool, not optional_type")),
        ("auth", Err("a predicate must be of type bool, not map")),
    ] {
        assert_eq!(predicate(source), expected.map_err(str::to_owned), "{source}");
    }
}

#[test]
fn problems_say_what_to_write_instead() {
    let known = "known are `metadata`, `request`, `source`, `destination` and `auth`";
    for (source, problem) in [
        (
            "context.request.http.path",
            &*format!("unknown identifier `context` (`context` is for selectors only); {known}"),
        ),
        ("user == 'a'", &format!("unknown identifier `user`; {known}")),
        ("[1].all(x, y)", &format!("unknown identifier `y`; {known}")),
        ("now()", "unknown function `now`"),
        ("auth.identity.sub.upper()", "unknown function `upper`"),
        ("auth.identity.anonymous?", "`auth.identity.anonymous?` is no CEL expression: at 1:25: "),
        ("auth.identity.age + 1 == 36.0", "int and double are never equal"),
        ("'a' + 1", "`+` does not take (string, int)"),
        ("request.path.matches('(')", "`(` is no regular expression: "),
        ("'a'.b", "a string has no member `b`"),
        ("1[0]", "a int has no members"),
        ("'%d'.format(['a', 'b'])", "the format has 1 clauses, but 2 arguments"),
        ("'%y'.format(['a'])", "could not parse formatting clause: unrecognized formatting clause \"y\""),
        ("auth.identity.sub && 1", "what stands after `&&` must be of type bool, not int"),
        ("", "`` is no CEL expression: "),
        ("é", "`é` is no CEL expression: at 1:1: unexpected character"),
        ("'a\n", "`'a\n` is no CEL expression: at 1:1: unterminated string literal"),
    ] {
        let Err(Err(got)) = run(source) else { panic!("`{source}` was accepted") };
        assert!(got.starts_with(problem), "{source}\n    expected: {problem}\n    got: {got}");
    }
}

#[test]
fn only_what_an_expression_can_read_is_needed() {
    use Attribute as A;
    let source = [A::SourceAddress, A::PeerUriSan].as_slice();
    let table: [(&str, &[A]); 14] = [
        ("request.headers['x-role'] == 'admin' && auth.identity.age > 3", &[]),
        ("request.method == request.path + request.host", &[]),
        ("source.address == '10.0.0.1'", &[A::SourceAddress]),
        ("source['address'] == '10.0.0.1'", &[A::SourceAddress]),
        ("has(source.address)", &[A::SourceAddress]),
        ("source.?address.hasValue()", source),
        ("source[auth.identity.sub] == ''", source),
        ("size(source) > 1", source),
        ("[source].exists(s, s.port == 1)", source),
        ("[1].all(source, source > 0)", &[]),
        ("[1].all(x, .source.port > x)", &[A::SourceAddress]),
        ("metadata.filter_metadata.ns.key == 'a'", &[A::Metadata]),
        ("true || destination.port == 80", &[A::DestinationAddress]),
        ("{'a': request.method}[request.protocol] == ''", &[A::Protocol]),
    ];
    for (expression, expected) in table {
        let (_, problems, needs) = compiled(|compiler| Program::compile(expression, compiler));
        assert_eq!(problems, [""; 0], "{expression}");
        let mut wanted = Needs::default();
        expected.iter().for_each(|attribute| wanted.add(*attribute));
        assert_eq!(needs.iter().collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>(), "{expression}");
    }
}

#[test]
fn whether_a_request_is_read_at_all() {
    for (expression, is_read) in [
        ("auth.identity.age > 3", false),
        ("auth.identity.roles.exists(role, role == 'admin') && auth.authorization.a", false),
        ("size(auth) > 1", false),
        ("[1].all(request, request > 0)", false),
        ("request.headers['x-role'] == 'admin'", true),
        ("'x-role' in request.headers", true),
        ("request.headers.exists(name, name == 'x-role')", true),
        ("auth.identity.at < request.time.seconds", true),
        ("auth.identity[request.path] == 1", true),
        ("has(request.headers.x)", true),
        ("request.?headers.?x.hasValue()", true),
        ("true || request.method == 'GET'", true),
        ("[request].exists(r, r.method == 'GET')", true),
        ("size(metadata) > 1", true),
        // Nothing can be there; but whether it is the first or the second name that is missing is up to the request.
        ("has(request.grpc.nowhere)", true),
    ] {
        let (_, problems, needs) = compiled(|compiler| Program::compile(expression, compiler));
        assert_eq!(problems, [""; 0], "{expression}");
        assert_eq!(!needs.is_empty(), is_read, "{expression}");
    }
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    let deep = 10_000;
    for (what, source) in [
        ("parentheses", "(".repeat(deep) + "1" + &")".repeat(deep)),
        ("open parentheses", "(".repeat(deep)),
        ("lists", "[".repeat(deep) + &"]".repeat(deep)),
        ("maps", "{1:".repeat(deep / 2) + "1" + &"}".repeat(deep / 2)),
        ("calls", "size(".repeat(deep / 4) + "1" + &")".repeat(deep / 4)),
        ("members", "auth".to_owned() + &".a".repeat(deep / 2)),
        ("indexes", "auth".to_owned() + &"[0]".repeat(deep / 4)),
        ("signs", "!-".repeat(deep / 2) + "1"),
        ("sums", "1".to_owned() + &"+1".repeat(deep / 2)),
        ("choices", "true ? 1 : ".repeat(deep / 11) + "1"),
        ("choices of a disjunction", "true || false ? 1 : ".repeat(deep / 20) + "1"),
        ("macros", "[1].map(x,".repeat(deep / 11) + "1" + &")".repeat(deep / 11)),
        ("length", format!("'{}'", "a".repeat(deep * 2))),
    ] {
        let Err(Err(got)) = run(&source) else { panic!("{what} were accepted") };
        assert!(got.contains("nested more than") || got.contains("longer than"), "{what}: {got}");
        assert!(got.len() < 1000, "{what}");
    }
}

#[test]
fn what_people_write_is_not_too_deep() {
    let many = |count: usize, part: &str, between: &str| vec![part; count].join(between);
    for source in [
        many(300, "auth.identity.sub == 'joe'", " || "),
        many(300, "auth.identity.sub == 'joe'", " && "),
        format!("auth.identity.sub in [{}]", many(1000, "'someone'", ", ")),
        format!("size({}) > 1", many(90, "auth.identity.sub", " + ")),
        "(".repeat(40) + "true" + &")".repeat(40),
    ] {
        assert!(run(&source).is_ok(), "{:.80}: {:?}", source, run(&source));
    }
}

#[test]
fn no_expression_runs_long() {
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let numbers = format!("[{}]", numbers.join(","));
    let nested = |depth: usize| {
        let open: String = (0..depth).map(|index| format!("{numbers}.all(x{index}, ")).collect();
        open + "true" + &")".repeat(depth)
    };
    let doubled = |body: &str, times: usize| "['ab']".to_owned() + &format!(".map(a, {body})").repeat(times);
    for (what, source) in [
        ("loops in loops", nested(5)),
        ("texts that double", doubled("a + a", 40)),
        ("texts that are squared", doubled("a.replace('', a)", 20)),
        ("texts that are joined", doubled("[a, a, a].join(a)", 30)),
        ("texts that are formatted", doubled("'%s%s'.format([a, a])", 30)),
        ("lists that double", "[[1]]".to_owned() + &".map(a, a + a)".repeat(40)),
        ("lists of the same list, as JSON", doubled("[a, a]", 40)),
        ("lists of the same list, compared", format!("{0} == {0}", doubled("[a, a]", 40))),
        ("lists of the same list, formatted", format!("'%s'.format([{}])", doubled("[a, a]", 40))),
        ("regular expressions", format!("{numbers}.all(x, 'a'.matches('b' + string(x)) || true)")),
        ("absorbed by a disjunction", format!("{} || true", nested(5))),
        ("absorbed by a loop", format!("[1, 2].exists(y, {} || y == 2)", nested(5))),
        ("bytes", "[b'ab']".to_owned() + &".map(a, a + a)".repeat(40)),
    ] {
        assert_eq!(run(&source), Err(Ok("the expression takes too many steps".to_owned())), "{what}");
    }
}

#[test]
fn ten_thousand_roles_can_be_searched() {
    let roles: Vec<String> = (0..10_000).map(|index| format!("role-{index}")).collect();
    let view = view().with_identity(Rc::new(json!({"roles": roles})));
    for source in [
        "'role-9999' in auth.identity.roles",
        "auth.identity.roles.exists(role, role == 'role-9999')",
        "auth.identity.roles.filter(role, role.endsWith('-77')).size() == 1",
    ] {
        let (program, ..) = compiled(|compiler| Program::compile_predicate(source, compiler));
        assert_eq!(program.boolean(&view), Ok(true), "{source}");
    }
}

#[test]
fn optional_access_yields_nothing_where_there_is_nothing() {
    let view = View { auth: Rc::default(), ..view() };
    let value = |source: &str| compiled(|compiler| Program::compile(source, compiler)).0.value(&view);
    assert_eq!(value("auth.?identity.?sub.orValue('nobody')"), Ok(json!("nobody")));
    assert_eq!(value("has(auth.identity)"), Ok(json!(false)));
    assert_eq!(value("has(auth.identity.sub)"), Err(super::EvalError("no such key: identity".to_owned())));
    assert_eq!(value("has(metadata.filter_metadata)"), Ok(json!(false)));
    assert_eq!(value("metadata.filter_metadata.ns"), Err(super::EvalError("no such key: filter_metadata".to_owned())));
    assert_eq!(value("request.headers['x-two']"), Ok(json!("1,2")));
    assert_eq!(value("has(request.headers.nope) || 'nope' in request.headers"), Ok(json!(false)));
}

/// The deepest that is accepted fits a stack of the size that a module has, even without optimisation.
#[test]
fn the_deepest_expressions_fit_the_stack() {
    let shapes: [(&str, &str, &str); 11] = [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1:", "1", "}"),
        ("size(", "'a'", ")"),
        ("[1].map(x,", "1", ")"),
        ("[1].all(x,", "true", ")"),
        ("auth", ".a", ""),
        ("!-", "1", ""),
        ("1", "+1", ""),
        ("true ? 1 : ", "1", ""),
        ("optional.of(1).optMap(x,", "1", ")"),
    ];
    for (open, middle, close) in shapes {
        let source = |times: usize| match close {
            "" if middle.starts_with(['.', '+']) => open.to_owned() + &middle.repeat(times),
            close => open.repeat(times) + middle + &close.repeat(times),
        };
        let deepest = (1..1000).map(source).take_while(|source| super::guard::check(source).is_ok()).last().unwrap();
        let run = move || drop(run(&deepest));
        #[expect(clippy::disallowed_types, reason = "a stack of the size that a worker's VM has")]
        if cfg!(target_family = "wasm") {
            run();
        } else {
            std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
        }
    }
}

#[test]
fn what_is_read_again_and_again_counts() {
    let mut request = Request::default();
    let long = "x".repeat(60_000);
    request.headers =
        Headers::from_pairs((0..200).map(|n| (format!("x-{n}"), "v")).chain([("long".to_owned(), &*long)]));
    let view = View { request: Rc::new(request), ..view() };
    let numbers = format!("[{}]", vec!["1"; 2_000].join(","));
    for body in [
        "request.headers.long != ''",
        "request.headers['lo' + 'ng'] != ''",
        "has(request.headers.long)",
        "size(request.headers) > 0",
        "request.headers.all(h, true)",
        "has(request.headers.no) || has(request.headers.none) || has(request.headers.never) || true",
    ] {
        let (program, ..) =
            compiled(|compiler| Program::compile_predicate(&format!("{numbers}.all(n, {body})"), compiler));
        assert_eq!(program.boolean(&view).unwrap_err().0, "the expression takes too many steps", "{body}");
    }
}
