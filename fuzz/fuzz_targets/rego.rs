//! Policies in Rego out of arbitrary text, and out of parts that fit together, decided on arbitrary input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidegate_engine::Timestamp;
use sidegate_engine::rego::{self, Asked, Policy, Version};

const CALLS: &[&str] = &[
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.lsh",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "crypto.hmac.sha256",
    "crypto.sha256",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "graph.reachable",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "io.jwt.decode",
    "io.jwt.verify_es256",
    "io.jwt.verify_hs256",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_expand",
    "net.cidr_intersects",
    "net.cidr_is_valid",
    "numbers.range",
    "numbers.range_step",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_all_string_submatch_n",
    "regex.find_n",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.format",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
];

const ATOMS: &[&str] = &[
    "input",
    "input.a",
    "input.b[_]",
    "\"\"",
    "\"a.b.c\"",
    "\"%d%s%5.2f\"",
    "\"ü€𝄞\"",
    "\"(a|b)*\"",
    "\"10.0.0.0/8\"",
    "0",
    "-1",
    "3",
    "1.5",
    "9007199254740993",
    "18446744073709551615",
    "1e300",
    "-9223372036854775808",
    "[]",
    "[1, \"a\", null]",
    "[\"a\", [\"b\"]]",
    "{}",
    "{\"a\": {\"b\": [1]}}",
    "set()",
    "{1, \"a\"}",
    "{{1}, {2}}",
    "true",
    "null",
    "x",
    "y",
    "[x, y]",
    "{\"a\": x}",
];

fuzz_target!(|case: (u8, &str, Vec<(u8, u8, u8, u8, u8)>, &str)| {
    let (mode, text, parts, input) = case;
    let text = if mode % 4 == 0 { text.to_owned() } else { generated(mode, &parts) };
    let version = if mode & 4 == 0 { Version::V0 } else { Version::V1 };
    let input = serde_json::from_str(input).unwrap_or_else(|_| serde_json::Value::from(input));
    let input = rego::from_json(&serde_json::json!({"a": input, "b": [input, 1, "a"]}));
    let Ok(policy) = Policy::compile(&text, version, Asked::All) else { return };
    let _ = policy.allow(&input, Timestamp::from_secs(1_800_000_000));
    let _ = policy.all(&input, Timestamp::from_secs(1_800_000_000));
});

/// Rules that call built-in functions on what the rules before them yield.
fn generated(mode: u8, parts: &[(u8, u8, u8, u8, u8)]) -> String {
    let v1 = mode & 4 != 0;
    let mut text = String::new();
    let atom = |index: u8, before: usize| {
        let text = ATOMS[usize::from(index) % ATOMS.len()];
        match (text, before) {
            ("x", 1..) => format!("r{}", before - 1),
            ("y", 1..) => format!("r{}", usize::from(index) % before),
            ("[x, y]", 1..) => format!("[r{0}, r{0}]", before - 1),
            ("{\"a\": x}", 1..) => format!("{{\"a\": r{}}}", before - 1),
            ("x" | "y" | "[x, y]" | "{\"a\": x}", _) => "input".to_owned(),
            _ => text.to_owned(),
        }
    };
    for (index, (kind, call, a, b, c)) in parts.iter().take(24).enumerate() {
        let (a, b, c) = (atom(*a, index), atom(*b, index), atom(*c, index));
        let call = CALLS[usize::from(*call) % CALLS.len()];
        let value = match kind % 10 {
            0 => format!("{call}({a})"),
            1 | 2 => format!("{call}({a}, {b})"),
            3 => format!("{call}({a}, {b}, {c})"),
            4 => format!("[v | v := {a}[_]; v != {b}]"),
            5 => format!("{{v: {c} | v := {a}[_]}}"),
            6 => format!("{a} + {b} * {c}"),
            7 => format!("{a} == {b}"),
            8 => format!("{a} - {b}"),
            _ => format!("{{{a} | {b}}}"),
        };
        let last = if v1 { format!("r{index} := {value}\n") } else { format!("r{index} = {value}\n") };
        text.push_str(&last);
    }
    let n = parts.len().min(24).saturating_sub(1);
    text.push_str(&if v1 { format!("allow if r{n} == r{n}\n") } else { format!("allow {{ r{n} }}\n") });
    text
}
