//! Whatever is written, and whatever is asked of it, nothing panics, and nothing runs beyond its budget.

use proptest::prelude::*;

use super::Program;
use super::tests::{compiled, view};
use crate::expression::testing::another;

fn check(source: &str) {
    let (program, problems, _) = compiled(|compiler| Program::compile(source, compiler));
    if problems.is_empty() {
        let value = program.value(&view());
        if let Ok(boolean) = program.boolean(&view()) {
            assert_eq!(value, Ok(boolean.into()), "{source}");
        }
    }
}

fn leaf() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "auth",
        "auth.identity",
        "auth.identity.sub",
        "auth.identity.age",
        "auth.identity.roles",
        "auth.identity.mixed",
        "auth.identity.nested",
        "auth.identity.uni",
        "auth.identity.nope",
        "auth.identity.?none",
        "request.headers",
        "request.headers.x",
        "request.path",
        "request.grpc.nope",
        "has(request.grpc.nope)",
        "request.time.seconds",
        "metadata",
        "source.port",
        "x",
        "y",
        "true",
        "false",
        "null",
        "-9223372036854775808",
        "9223372036854775807",
        "18446744073709551615u",
        "1e308",
        "-0.0",
        "0",
        "1",
        "2u",
        "''",
        "'é'",
        "'a%sb'",
        "b'\\xff'",
        "[]",
        "{}",
        "optional.none()",
        "timestamp('9999-12-31T23:59:59Z')",
        "timestamp(0)",
        "duration('-1h')",
        "int",
        "'+23:59'",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_filter("a literal", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        1 => any::<String>().prop_map(|text| format!("{text:?}"))]
}

fn expression() -> impl Strategy<Value = String> {
    let operator =
        prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"]);
    let global = prop::sample::select(vec![
        "size",
        "int",
        "uint",
        "double",
        "string",
        "bool",
        "bytes",
        "type",
        "dyn",
        "timestamp",
        "duration",
        "optional.of",
        "optional.ofNonZeroValue",
        "strings.quote",
        "!",
        "-",
    ]);
    let member = prop::sample::select(vec![
        "contains",
        "startsWith",
        "matches",
        "charAt",
        "indexOf",
        "lastIndexOf",
        "join",
        "split",
        "substring",
        "replace",
        "format",
        "orValue",
        "or",
        "getHours",
        "getFullYear",
        "getMilliseconds",
        "trim",
        "reverse",
        "upperAscii",
        "size",
        "value",
        "hasValue",
    ]);
    let looping = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter", "optMap", "optFlatMap"]);
    leaf().prop_recursive(6, 60, 3, move |inner| {
        let arguments = prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            (inner.clone(), operator.clone(), inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (global.clone(), inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (inner.clone(), member.clone(), arguments.clone())
                .prop_map(|(a, f, args)| format!("dyn({a}).{f}({})", args.join(", "))),
            (inner.clone(), looping.clone(), inner.clone()).prop_map(|(a, f, b)| format!("dyn({a}).{f}(x, {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("dyn({a})[{b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("dyn({a})[?{b}]")),
            inner.clone().prop_map(|a| format!("has(dyn({a}).k)")),
            arguments.clone().prop_map(|elements| format!("[{}]", elements.join(", "))),
            (inner.clone(), inner.clone()).prop_map(|(k, v)| format!("{{{k}: {v}}}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn of_any_text(source in any::<String>()) {
        check(&source);
    }

    #[test]
    fn of_tokens_in_any_order(tokens in prop::collection::vec(
        prop_oneof![leaf(), prop::sample::select(vec![
            "(", ")", "[", "]", "{", "}", ".", "?", ":", ",", "&&", "||", "!", "-", "in", "=", "'", "\"\"\"", "r'", "\\",
            "//", "\n", "has(", ".map(x,", "0x", "1e", "`", ".?",
        ]).prop_map(str::to_owned)], 0..20)) {
        check(&tokens.concat());
        check(&tokens.join(" "));
    }

    #[test]
    fn of_any_expression(source in expression()) {
        check(&source);
    }

    #[test]
    fn what_reads_nothing_of_a_request_is_the_same_for_another(source in expression()) {
        let (program, problems, needs) = compiled(|compiler| Program::compile(&source, compiler));
        if problems.is_empty() && needs.is_empty() {
            prop_assert_eq!(program.value(&view()), program.value(&another(&view())), "{}", source);
        }
    }
}
