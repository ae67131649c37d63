use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::*;

fn policy(text: &str, version: RegoVersion) -> Policy {
    Policy::compile(text, version, Asked::All).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:?}"))
}

fn allow(text: &str, input: Json) -> Result<Json, Fault> {
    let time = Timestamp::from_nanos(1_700_000_000_000_000_005);
    policy(text, RegoVersion::V1).allow(&from_json(&input), time).map(|value| to_json(&value))
}

fn mistakes(text: &str) -> Vec<String> {
    match Policy::compile(text, RegoVersion::V1, Asked::All) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn both_syntaxes_and_the_default() {
    assert_eq!(allow("allow if input.a == 1", json!({"a": 1})), Ok(json!(true)));
    assert_eq!(allow("allow if input.a == 1", json!({"a": 2})), Ok(json!(false)));
    let old = policy("allow { input.a == 1 }", RegoVersion::V0);
    assert_eq!(old.allow(&from_json(&json!({"a": 1})), Timestamp::default()), Ok(Value::Bool(true)));
    assert_eq!(allow("default allow := 7", json!({})), Ok(json!(7)));
    assert_eq!(allow("", json!({})), Ok(json!(false)));
}

#[test]
fn a_package_is_taken_out_where_it_is_declared_and_nowhere_else() {
    for package in ["package a", "# about\n\npackage a.b[\"c-d\"]", "package  a ;", "package\n  a"] {
        assert_eq!(
            allow(&format!("{package}\nallow if x == \"package b;\"\nx := \"package b;\"\n"), json!({})),
            Ok(json!(true))
        );
        assert_eq!(mistakes(&format!("{package}\n\n  allow if {{ no(1) }}")).len(), 1);
    }
    assert_eq!(allow("package_a := 1\nallow if package_a == 1", json!({})), Ok(json!(true)));
}

#[test]
fn mistakes_are_told_with_their_place_in_the_text_that_was_written() {
    assert_eq!(mistakes("allow if {\n  x == }\n"), ["line 2, column 8: expecting expression"]);
    assert_eq!(mistakes("package a\nallow if {\n  x == }\n"), ["line 3, column 8: expecting expression"]);
    assert_eq!(mistakes("allow if y == 3"), ["line 1, column 10: use of undefined variable `y` is unsafe"]);
    assert_eq!(mistakes("allow if nothing(3)"), ["line 1, column 10: Unknown function: 'nothing'"]);
    assert_eq!(mistakes("allow if a\na if b\nb if a"), ["the rule `a` needs itself"]);
    assert_eq!(
        mistakes("allow if b with input as 3\nb if input == 3"),
        ["line 1, column 10: `with` is not in Sidegate"]
    );
}

#[test]
fn what_is_refused_is_told_by_name() {
    let text =
        "# http.send(1)\nallow if {\n  http.send({}).status == 200\n  x := \"rand.intn(\"\n  walk(input, [p, v])\n}";
    assert_eq!(
        mistakes(text),
        [
            "line 3, column 3: `http.send` needs the network, which a policy does not have",
            "line 5, column 3: `walk` is not in Sidegate"
        ]
    );
    assert!(mistakes("allow if rand.intn(\"a\", 2) == 1")[0].contains("differs from call to call"));
    assert!(mistakes("allow if opa.runtime().env")[0].contains("Envoy's"));
    assert_eq!(
        mistakes("allow if p.a\np[\"a\"] := 1"),
        ["line 2, column 4: partial object rules with constant keys are not in Sidegate"]
    );
    assert_eq!(mistakes("allow if 1e999999999 > 1"), ["line 1, column 10: the number is too large"]);
    let function = "line 1, column 9: default values of functions are not in Sidegate";
    assert_eq!(mistakes("default f(x) := 1\nallow if f(1) == 1"), [function]);
    for value in ["[x | x := 1]", "{x | x := 1}", "{\n\"a\": 1 | true}"] {
        let found = mistakes(&format!("default a := {value}\nallow if a"));
        assert!(found[0].contains("comprehensions as default values"), "{found:?}");
    }
    assert_eq!(
        mistakes("allow if not { false; true }"),
        ["line 1, column 10: `not` of a body in braces is not in Sidegate"]
    );
    drop(policy("default a := {1,\n2}\nallow if a | {3} == {1, 2, 3}", RegoVersion::V1));
}

#[test]
fn reading_the_body_is_seen() {
    for text in ["input.request.body", "input.context.request.http.raw_body", "r.body", r#"input.request["body"]"#] {
        assert!(reads_body(&format!("allow if {text} == 1")), "{text}");
    }
    for text in ["input.auth.metadata.x.body", "body", "nobody", "\"the body\"", "1 # r.body"] {
        assert!(!reads_body(&format!("allow if {text} == 1")), "{text}");
    }
}

#[test]
fn all_values() {
    let policy = policy("allow if n > 1\nn := 2\nnone if false\nf(x) := x\nset contains 1", RegoVersion::V1);
    let values = policy.all(&Value::new_object(), Timestamp::default()).unwrap();
    assert_eq!(values.first(), Some(&("allow", Value::Bool(true))));
    let values: Json = values.iter().map(|(name, value)| ((*name).to_owned(), to_json(value))).collect();
    assert_eq!(values, json!({"allow": true, "n": 2, "none": null, "f": null, "set": [1]}));
}

#[test]
fn time_is_when_the_request_came() {
    assert_eq!(allow("allow := time.now_ns()", json!({})), Ok(json!(1_700_000_000_000_000_005_u64)));
    assert_eq!(allow("allow := time.date(time.now_ns())", json!({})), Ok(json!([2023, 11, 14])));
    assert_eq!(allow("allow := time.weekday([0, \"UTC\"])", json!({})), Ok(json!("Thursday")));
    let zone = allow("allow := time.clock([0, \"Europe/Berlin\"])", json!({}));
    assert_eq!(zone, Err(Fault::Failed("a time zone is not in Sidegate: use UTC".to_owned())));
}

/// Policies that would run for ever, or eat all memory.
fn runaways() -> Vec<(&'static str, String)> {
    let chain = |first: &str, next: &dyn Fn(String) -> String, last: &str| {
        let steps: Vec<_> = (1..64).map(|n| format!("x{n} := {}", next(format!("x{}", n - 1)))).collect();
        format!("x0 := {first}\n{}\nallow if {last}", steps.join("\n"))
    };
    let range = "numbers.range(1, 1000)";
    vec![
        (
            "loops in loops",
            format!("allow if {{ some a in {range}; some b in {range}; some c in {range}; a + b + c < 0 }}"),
        ),
        (
            "comprehensions in comprehensions",
            format!("allow if {{ count([1 | some a in {range}; some b in {range}; some c in {range}]) < 0 }}"),
        ),
        (
            "a comprehension per element",
            format!("allow if {{ xs := [y | some a in {range}; y := [b | some b in {range}]]; count(xs) < 0 }}"),
        ),
        ("every in every", format!("allow if {{ every a in {range} {{ every b in {range} {{ a + b > 0 }} }} }}")),
        ("a huge range", "allow if count(numbers.range(1, 1000000000)) > 0".to_owned()),
        ("an endless range", "allow if count(numbers.range(-9223372036854775807, 9223372036854775807)) > 0".to_owned()),
        ("texts that double", chain("\"ab\"", &|x| format!("concat(\"\", [{x}, {x}])"), "count(x63) < 0")),
        (
            "texts that double by sprintf",
            chain("\"ab\"", &|x| format!("sprintf(\"%s%s\", [{x}, {x}])"), "count(x63) < 0"),
        ),
        (
            "texts that grow by replace",
            chain("\"aa\"", &|x| format!("replace({x}, \"a\", \"aaaa\")"), "count(x63) < 0"),
        ),
        (
            "texts that grow by regex.replace",
            chain("\"aa\"", &|x| format!("regex.replace({x}, \"a\", \"$0$0$0\")"), "count(x63) < 0"),
        ),
        ("lists that double", chain("[1]", &|x| format!("array.concat({x}, {x})"), "count(x63) < 0")),
        ("shared parts, compared", chain("[1]", &|x| format!("[{x}, {x}]"), "x63 == [x62, x62, 1]")),
        ("shared parts, printed", chain("[1]", &|x| format!("[{x}, {x}]"), "count(json.marshal(x63)) < 0")),
        ("shared parts, in sets", chain("[1]", &|x| format!("{{\"a\": {x}, \"b\": {x}}}"), "count({x63, x62}) < 0")),
        ("shared parts, by comprehension", chain("[1]", &|x| format!("[{x} | some i in [1, 2, 3]]"), "x63 == x62")),
        ("numbers that square", chain("3", &|x| format!("{x} * {x}"), "x63 < 0")),
        ("numbers that shift", "allow if bits.lsh(1, 1000000000) < 0".to_owned()),
        ("a product", format!("allow if product({range}) < 0")),
        ("networks", "allow if count(net.cidr_expand(\"::/0\")) < 0".to_owned()),
        ("widths", "allow if count(sprintf(\"%999999999d\", [1])) < 0".to_owned()),
        (
            "patterns",
            format!(
                "allow if {{ some a in {range}; some b in {range}; regex.match(sprintf(\"(%d|b{{0,200}})*c\", [a * b]), \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\") }}"
            ),
        ),
        (
            "searches",
            format!(
                "allow if {{ xs := concat(\"\", [\"a\" | some a in {range}]); some a in {range}; some b in {range}; indexof_n(xs, xs) == [] }}"
            ),
        ),
        ("nested values", {
            let rules: Vec<_> = (1..400).map(|n| format!("x{n} := [x{}]", n - 1)).collect();
            format!("x0 := 1\n{}\nallow if x399 == x398", rules.join("\n"))
        }),
        (
            "a rule with many results",
            format!("f(a) := [b | some b in {range}]\nallow if {{ some a in {range}; f(a) == f(a + 1); false }}"),
        ),
    ]
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn no_policy_holds_a_worker() {
    for (what, text) in runaways() {
        let policy = Policy::compile(&text, RegoVersion::V1, Asked::Allow).unwrap();
        let start = Instant::now();
        let result = policy.allow(&Value::new_object(), Timestamp::default());
        let taken = start.elapsed();
        assert_ne!(result, Ok(Value::Bool(true)), "{what}");
        let most = if cfg!(debug_assertions) { 10_000 } else { 500 };
        assert!(taken < Duration::from_millis(most), "{what}: {taken:?} for {result:?}");
    }
}

#[test]
fn a_policy_that_ran_away_is_good_for_the_next_request() {
    let text = "allow if { count([1 | some a in numbers.range(1, input.n); some b in numbers.range(1, input.n)]) > 0 }";
    let policy = policy(text, RegoVersion::V1);
    let run = |n: u64| policy.allow(&from_json(&json!({"n": n})), Timestamp::default());
    assert_eq!(run(3), Ok(Value::Bool(true)));
    assert_eq!(run(3000), Err(Fault::Runaway));
    assert_eq!(run(3), Ok(Value::Bool(true)));
}

#[test]
fn what_a_policy_made_of_a_large_request_does_not_stay() {
    let policy = policy("allow if count(numbers) > 1\nnumbers := json.unmarshal(input.body)", RegoVersion::V1);
    let keeps = |numbers: usize| {
        let body = format!("[0{}]", ", 0".repeat(numbers));
        assert_eq!(policy.allow(&from_json(&json!({ "body": body })), Timestamp::default()), Ok(Value::Bool(true)));
        policy.machine.borrow().is_some()
    };
    assert!(keeps(10), "it is made anew for each request");
    assert!(!keeps(100_000), "it keeps a list of 100,000");
    assert!(keeps(10));
}

#[test]
fn built_in_functions_of_our_own() {
    for (expression, expected) in [
        (r#"regex.match("^/a/[0-9]+$", "/a/12")"#, json!(true)),
        (r#"regex.split(",\\s*", "a, b,c")"#, json!(["a", "b", "c"])),
        (r#"regex.replace("a1b2", "([0-9])", "<$1>")"#, json!("a<1>b<2>")),
        (r#"regex.find_n("[0-9]+", "1 22 333", 2)"#, json!(["1", "22"])),
        (r#"regex.find_all_string_submatch_n("(a)(b)?", "ab a", -1)"#, json!([["ab", "a", "b"], ["a", "a", ""]])),
        (r#"glob.match("*.github.com", [], "api.github.com")"#, json!(true)),
        (r#"glob.match("*.github.com", [], "api.cdn.github.com")"#, json!(false)),
        (r#"glob.match("*hub.com", null, "api.cdn.github.com")"#, json!(true)),
        (r#"glob.match("/api/**/x", ["/"], "/api/a/b/x")"#, json!(true)),
        (r#"glob.match("{cat,bat,[fr]at}", [], "rat")"#, json!(true)),
        (r#"glob.match("[!a-c]x", [], "bx")"#, json!(false)),
        (r#"net.cidr_contains("10.0.0.0/8", "10.1.2.3")"#, json!(true)),
        (r#"net.cidr_contains("10.0.0.0/8", "10.0.0.0/7")"#, json!(false)),
        (r#"net.cidr_contains("::/0", "10.1.2.3")"#, json!(false)),
        (r#"net.cidr_intersects("10.0.0.0/8", "10.1.0.0/16")"#, json!(true)),
        (r#"count(net.cidr_expand("10.0.0.0/30"))"#, json!(4)),
        (r#"numbers.range(3, 1)"#, json!([3, 2, 1])),
        (r#"numbers.range_step(1, 6, 2)"#, json!([1, 3, 5])),
        (
            r#"sprintf("%s|%5d|%-5s|%05.1f|%v|%q", ["a", 42, "b", 3.14159, ["x", 1], "q\"q"])"#,
            json!("a|   42|b    |003.1|[\"x\", 1]|\"q\\\"q\""),
        ),
        (r#"sprintf("%d %s", [1])"#, json!("1 %!s(MISSING)")),
        (r#"sprintf("%d", ["a"])"#, json!("%!d(string=a)")),
        (r#"replace("aXbX", "X", "--")"#, json!("a--b--")),
        (r#"strings.replace_n({"<": "&lt;", ">": "&gt;"}, "<a>")"#, json!("&lt;a&gt;")),
        (r#"substring("größe", 2, 2)"#, json!("öß")),
        (r#"substring("abc", 1, -1)"#, json!("bc")),
        (r#"indexof("größe", "ß")"#, json!(3)),
        (r#"indexof_n("aaa", "aa")"#, json!([0, 1])),
        (r#"strings.count("cheese", "e")"#, json!(3)),
        (r#"strings.count("five", "")"#, json!(5)),
        (r#"object.subset({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}})"#, json!(true)),
        (r#"object.subset([1, 2, 3], [2, 3])"#, json!(true)),
        (r#"object.subset([1, 2, 3], [])"#, json!(true)),
        (r#"object.subset({1}, {2})"#, json!(false)),
        (r#"trim("--a--", "-")"#, json!("a")),
        (r#"to_number("1e3")"#, json!(1000)),
        (r#"json.unmarshal("{\"a\": [1]}")"#, json!({"a": [1]})),
        (r#"urlquery.decode("a+b%2F")"#, json!("a b/")),
        (r#"urlquery.encode_object({"a": ["1", "2"], "b": "x y"})"#, json!("a=1&a=2&b=x+y")),
        (r#"urlquery.decode_object("a=1&a=2&b")"#, json!({"a": ["1", "2"], "b": [""]})),
        (r#"graph.reachable({"a": ["b"], "b": ["c"], "c": [], "d": []}, ["a"])"#, json!(["a", "b", "c"])),
        (r#"crypto.sha256("abc")"#, json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")),
        (r#"crypto.hmac.equal(crypto.hmac.sha256("m", "k"), crypto.hmac.sha256("m", "k"))"#, json!(true)),
        (r#"io.jwt.decode("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.AAE")[1].sub"#, json!("a")),
        (r#"io.jwt.decode("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.AAE")[2]"#, json!("0001")),
        (r#"time.parse_rfc3339_ns("1970-01-01T00:00:01Z")"#, json!(1_000_000_000)),
        (r#"time.parse_duration_ns("1h30m1.5s")"#, json!(5_401_500_000_000_i64)),
        (r#"time.add_date(0, 0, 13, 1)"#, json!(34_300_800_000_000_000_i64)),
        (
            r#"time.diff(time.parse_rfc3339_ns("2020-03-01T00:00:00Z"), time.parse_rfc3339_ns("2020-01-31T12:00:00Z"))"#,
            json!([0, 1, 0, 12, 0, 0]),
        ),
        (r#"time.format(0)"#, json!("1970-01-01T00:00:00Z")),
    ] {
        let result = allow(&format!("allow := {expression}"), json!({}));
        assert_eq!(result, Ok(expected), "{expression}");
    }
}

#[test]
fn large_tables() {
    let list = |n: usize| (0..n).map(|n| format!("\"v{n}\"")).collect::<Vec<_>>().join(", ");
    let object = |n: usize| (0..n).map(|n| format!("\"k{n}\": {{\"a\": [{n}]}}")).collect::<Vec<_>>().join(", ");
    for n in [10, 1000] {
        assert_eq!(allow(&format!("t := [{}]\nallow if t[_] == \"v9\"", list(n)), json!({})), Ok(json!(true)));
        assert_eq!(allow(&format!("t := {{{}}}\nallow if \"v9\" in t", list(n)), json!({})), Ok(json!(true)));
        assert_eq!(allow(&format!("t := {{{}}}\nallow if t.k9.a[0] == 9", object(n)), json!({})), Ok(json!(true)));
    }
}

#[test]
fn two_values_are_a_failure_and_not_undefined() {
    for text in [
        "allow if not blocked\nblocked := true\nblocked := false if input.a",
        "allow if not blocked\nblocked := x if some x in [1, 2]",
        "allow if not f(1)\nf(x) := 1\nf(x) := 2 if input.a",
        "allow if not o.a\no[k] := v if some [k, v] in [[\"a\", 1], [\"a\", false]]",
        "allow if { o := {k: v | some [k, v] in [[\"a\", 1], [\"a\", 2]]}; o.a == 2 }",
    ] {
        let result = allow(text, json!({"a": true}));
        assert!(matches!(&result, Err(Fault::Failed(why)) if why.contains("two values")), "{text}: {result:?}");
    }
    for text in [
        "allow if { f(1) == 2; f(2) == 3 }\nf(x) := x + 1",
        "allow if { every x in [1, 2, 3] { f(x) == x } }\nf(x) := y if { y := x }",
        "allow if x == 1\nx := 1 if true\nx := 1 if input.a",
        "allow if x == 1\nx := 1 if true else := 2",
        "allow if x == 3\nx := y if some y in [3, 3]",
        "allow if o == {\"a\": 1}\no[k] := v if { some [k, v] in [[\"a\", 1], [\"a\", 2], [\"b\", 3]]; v < 2 }",
        "allow if { o := {k: v | some [k, v] in [[\"a\", 1], [\"a\", 1]]}; o.a == 1 }",
        "allow if { some x in [1, 2]; g(x) > 1 }\ng(x) := h(x) if true\nh(x) := x",
    ] {
        assert_eq!(allow(text, json!({"a": true})), Ok(json!(true)), "{text}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn texts_that_are_deep_or_long_hold_nobody_and_overflow_no_stack() {
    let many = |text: &str, n: usize| text.repeat(n);
    for n in [10, 14, 15, 16, 30, 60, 100, 120, 130, 1_000, 20_000] {
        for text in [
            format!("allow if {}1{}", many("(", n), many(")", n)),
            format!("allow if {}1{}", many("[", n), many("]", n)),
            format!("allow if {}1{}", many("{\"a\": ", n), many("}", n)),
            format!("allow if {}1{}", many("{1 | ", n), many("}", n)),
            format!("allow if {}1{}", many("count([x | x := ", n), many("])", n)),
            format!("allow if 1{} > 0", many(" + 1", n)),
            format!("allow if (1{}) > 0", many("\n+ 1", n)),
            format!("allow if (1{}) > 0", many(" +\n1", n)),
            format!("allow if f(1, 2){} > 0\nf(x, y) := x", many(" + f(1, 2)", n)),
            format!("allow if 1{}", many(" == 1", n)),
            format!("allow if x{}\nx := {{1}}", many(" | x", n)),
            format!("allow if input{}", many(".a", n)),
            format!("allow if input{}", many("[0]", n)),
            format!("allow if {}1{}", many("input[", n), many("]", n)),
            format!("allow if {}true", many("not ", n)),
            format!("allow if {{ {} }}", many("1; ", n)),
            format!("allow if false{}", many(" else if false", n)),
            format!("allow if false{}", many(" else := 1 if false", n)),
            format!("allow if {}1", many("-", n)),
            format!("a{} := 1", many(".a", n)),
            format!("allow if {{ {}true{} }}", many("every x in [1] { ", n), many(" }", n)),
            format!("allow if {{ {}true }}", many("some x in [1]; ", n)),
            format!("allow if 1 in {}[1]", many("[1] in ", n)),
        ] {
            let start = Instant::now();
            let policy = Policy::compile(&text, RegoVersion::V1, Asked::Allow);
            drop(policy.map(|policy| policy.allow(&Value::new_object(), Timestamp::default())));
            let most = if cfg!(debug_assertions) { 20 } else { 2 };
            let what = text.chars().take(40).collect::<String>();
            assert!(start.elapsed() < Duration::from_secs(most), "{n} times: {what}");
        }
    }
    let list = format!("x := [{}1]", "1, ".repeat(20_000));
    assert!(Policy::compile(&list, RegoVersion::V1, Asked::Allow).is_ok());
}

/// Rules that are called after others which stand behind them: regorus, asked for one step at a time, goes on past such a call.
#[test]
fn rules_that_several_need_are_found_from_each() {
    let input = json!({"who": "jane", "path": "/a/b", "n": 2});
    for text in [
        "names := {\"jane\": \"admin\"}\nrole := names[input.who]\nallow if role == \"admin\"",
        "allow if not blocked\nlist := {\"jane\": false}\nblocked if list[input.who]",
        "allow if { a; b }\na if { input.n == 1 }\na if { c }\nb if { c }\nc if { d(input.n) == 4 }\nd(x) := x * 2",
        "allow if { f(input.n) == 3; g(input.n) == 4 }\nf(x) := x + 1\ng(x) := f(x) + 1",
        "allow if { g(1) == 3; f(1) == 2; h == 4 }\nh := f(g(1))\ng(x) := f(x) + 1\nf(x) := x + 1",
        "allow if { some x in parts; x == last }\nlast := parts[count(parts) - 1]\nparts := split(trim(input.path, \"/\"), \"/\")",
        "z := 1\nallow if { y == 2; x == 3 }\ny := z + 1\nx := y + z",
    ] {
        for asked in [Asked::Allow, Asked::All] {
            let policy =
                Policy::compile(text, RegoVersion::V1, asked).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
            for _ in 0..2 {
                assert_eq!(policy.allow(&from_json(&input), Timestamp::default()), Ok(Value::Bool(true)), "{text}");
            }
            let values = policy.all(&from_json(&input), Timestamp::default()).unwrap();
            assert_eq!(values.first(), Some(&("allow", Value::Bool(true))), "{text}");
        }
    }
    let blocked = "allow if not blocked\nlist := {\"jane\": true}\nblocked if list[input.who]";
    assert_eq!(allow(blocked, input), Ok(json!(false)));
}

/// What regorus would call undefined, or several values, and `not` of it true.
#[test]
fn rules_within_others_are_not_looked_up() {
    let banned = "banned.mallory if input.a == 1\nbanned.john if false\n";
    for text in ["allow if not banned[input.who]", "allow if banned", "allow if { some name; banned[name] }"] {
        let found = mistakes(&format!("{banned}{text}"));
        assert_eq!(
            found,
            ["the rule `banned` is used as a whole, but `banned.john` is one of its own: not in Sidegate"],
            "{text}"
        );
    }
    let one = format!("{banned}allow if banned.mallory");
    let policy = Policy::compile(&one, RegoVersion::V1, Asked::Allow).unwrap();
    assert_eq!(policy.allow(&from_json(&json!({"a": 1})), Timestamp::default()), Ok(Value::Bool(true)));
    assert_eq!(
        mistakes("a := 1\nallow if data.authorino[input.x].a"),
        ["rules that are looked up in `data` are not in Sidegate"]
    );
}
