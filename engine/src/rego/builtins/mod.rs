//! Built-in functions of our own: those whose work or memory regorus does not bound, and those that it has not without
//! libraries three times its size. What fails is undefined, as in OPA.

use regorus::Value;
use sidegate_config::RegoVersion;

use super::fuel::Fuel;
use super::machine::Fault;
use crate::time::Timestamp;

mod collections;
mod net;
mod numbers;
mod print;
pub mod regexes;
mod text;
mod times;
mod tokens;

use regexes::Patterns;

/// What built-in functions may know beside their arguments.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// When the request came.
    pub time: Timestamp,
    /// Patterns that were compiled for earlier calls.
    pub patterns: &'a Patterns,
}

/// One call.
pub struct Call<'a> {
    args: &'a [Value],
    time: Timestamp,
    patterns: &'a Patterns,
    fuel: &'a mut Fuel,
}

/// Why a call yields nothing.
pub enum Stop {
    /// It is undefined: the arguments are of no use.
    Undefined,
    /// The policy ends here.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What comes of a call.
pub type Outcome = Result<Value, Stop>;

struct Builtin {
    name: &'static str,
    arity: usize,
    call: fn(&mut Call<'_>) -> Outcome,
    /// Gone in v1.
    old: bool,
}

const fn builtin(name: &'static str, arity: usize, call: fn(&mut Call<'_>) -> Outcome) -> Builtin {
    Builtin { name, arity, call, old: false }
}

const fn old(name: &'static str, arity: usize, call: fn(&mut Call<'_>) -> Outcome) -> Builtin {
    Builtin { name, arity, call, old: true }
}

/// In order of their names.
const BUILTINS: [Builtin; 75] = [
    old("all", 1, collections::all),
    old("any", 1, collections::any),
    builtin("bits.lsh", 2, numbers::lsh),
    old("cast_array", 1, collections::cast_array),
    old("cast_boolean", 1, |call| call.cast(|value| matches!(value, Value::Bool(_)))),
    old("cast_null", 1, |call| call.cast(|value| matches!(value, Value::Null))),
    old("cast_object", 1, |call| call.cast(|value| matches!(value, Value::Object(_)))),
    old("cast_set", 1, collections::cast_set),
    old("cast_string", 1, |call| call.cast(|value| matches!(value, Value::String(_)))),
    builtin("crypto.hmac.equal", 2, tokens::hmac_equal),
    builtin("crypto.hmac.sha256", 2, tokens::hmac_sha256),
    builtin("crypto.hmac.sha512", 2, tokens::hmac_sha512),
    builtin("crypto.sha256", 1, tokens::sha256),
    builtin("glob.match", 3, regexes::glob_match),
    builtin("glob.quote_meta", 1, regexes::glob_quote_meta),
    builtin("graph.reachable", 2, collections::reachable),
    builtin("indexof", 2, text::indexof),
    builtin("indexof_n", 2, text::indexof_n),
    builtin("io.jwt.decode", 1, tokens::decode),
    builtin("io.jwt.verify_es256", 2, tokens::verify_es256),
    builtin("io.jwt.verify_es384", 2, tokens::verify_es384),
    builtin("io.jwt.verify_es512", 2, tokens::verify_es512),
    builtin("io.jwt.verify_hs256", 2, tokens::verify_hs256),
    builtin("io.jwt.verify_hs384", 2, tokens::verify_hs384),
    builtin("io.jwt.verify_hs512", 2, tokens::verify_hs512),
    builtin("io.jwt.verify_ps256", 2, tokens::verify_ps256),
    builtin("io.jwt.verify_ps384", 2, tokens::verify_ps384),
    builtin("io.jwt.verify_ps512", 2, tokens::verify_ps512),
    builtin("io.jwt.verify_rs256", 2, tokens::verify_rs256),
    builtin("io.jwt.verify_rs384", 2, tokens::verify_rs384),
    builtin("io.jwt.verify_rs512", 2, tokens::verify_rs512),
    builtin("json.is_valid", 1, text::json_is_valid),
    builtin("json.unmarshal", 1, text::json_unmarshal),
    builtin("net.cidr_contains", 2, net::contains),
    builtin("net.cidr_expand", 1, net::expand),
    builtin("net.cidr_intersects", 2, net::intersects),
    builtin("net.cidr_is_valid", 1, net::is_valid),
    old("net.cidr_overlap", 2, net::contains),
    builtin("numbers.range", 2, numbers::range),
    builtin("numbers.range_step", 3, numbers::range_step),
    builtin("object.subset", 2, collections::subset),
    builtin("product", 1, numbers::product),
    old("re_match", 2, regexes::is_match),
    builtin("regex.find_all_string_submatch_n", 3, regexes::find_groups),
    builtin("regex.find_n", 3, regexes::find),
    builtin("regex.is_valid", 1, regexes::is_valid),
    builtin("regex.match", 2, regexes::is_match),
    builtin("regex.replace", 3, regexes::replace),
    builtin("regex.split", 2, regexes::split),
    builtin("replace", 3, text::replace),
    old("set_diff", 2, collections::set_diff),
    builtin("sprintf", 2, print::sprintf),
    builtin("strings.any_prefix_match", 2, text::any_prefix),
    builtin("strings.any_suffix_match", 2, text::any_suffix),
    builtin("strings.count", 2, text::count),
    builtin("strings.replace_n", 2, text::replace_n),
    builtin("substring", 3, text::substring),
    builtin("time.add_date", 4, times::add_date),
    builtin("time.clock", 1, times::clock),
    builtin("time.date", 1, times::date),
    builtin("time.diff", 2, times::diff),
    builtin("time.format", 1, times::format),
    builtin("time.now_ns", 0, times::now),
    builtin("time.parse_duration_ns", 1, times::parse_duration),
    builtin("time.parse_ns", 2, times::parse),
    builtin("time.parse_rfc3339_ns", 1, times::parse_rfc3339),
    builtin("time.weekday", 1, times::weekday),
    builtin("to_number", 1, numbers::to_number),
    builtin("trim", 2, text::trim),
    builtin("trim_left", 2, text::trim_left),
    builtin("trim_right", 2, text::trim_right),
    builtin("urlquery.decode", 1, text::url_decode),
    builtin("urlquery.decode_object", 1, text::url_decode_object),
    builtin("urlquery.encode", 1, text::url_encode),
    builtin("urlquery.encode_object", 1, text::url_encode_object),
];

/// Names and the numbers of arguments.
pub fn all(version: RegoVersion) -> impl Iterator<Item = (&'static str, usize)> {
    let is_there = move |builtin: &&Builtin| version == RegoVersion::V0 || !builtin.old;
    BUILTINS.iter().filter(is_there).map(|builtin| (builtin.name, builtin.arity))
}

/// Calls one.
pub fn call(name: &Value, args: &Value, around: Surroundings<'_>, fuel: &mut Fuel) -> Result<Value, Fault> {
    let (Value::String(name), Value::Array(args)) = (name, args) else { return Ok(Value::Undefined) };
    let Ok(index) = BUILTINS.binary_search_by(|builtin| builtin.name.cmp(name)) else { return Ok(Value::Undefined) };
    let Some(Builtin { call, .. }) = BUILTINS.get(index) else { return Ok(Value::Undefined) };
    let args: Vec<Value> = args.iter().cloned().collect();
    args.iter().try_for_each(|arg| fuel.weigh(arg))?;
    let Surroundings { time, patterns } = around;
    match call(&mut Call { args: &args, time, patterns, fuel }) {
        Ok(value) => fuel.weigh(&value).map(|()| value),
        Err(Stop::Undefined) => Ok(Value::Undefined),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

impl<'a> Call<'a> {
    fn arg(&self, index: usize) -> &'a Value {
        self.args.get(index).unwrap_or(&Value::Undefined)
    }

    fn text(&self, index: usize) -> Result<&'a str, Stop> {
        as_text(self.arg(index))
    }

    /// A whole number.
    fn whole(&self, index: usize) -> Result<i64, Stop> {
        as_whole(self.arg(index))
    }

    /// The members of a list or set, or the one text.
    fn texts(&self, index: usize) -> Result<Vec<&'a str>, Stop> {
        match self.arg(index) {
            Value::String(text) => Ok(vec![text]),
            value => items(value)?.into_iter().map(as_text).collect(),
        }
    }

    fn cast(&self, is_one: fn(&Value) -> bool) -> Outcome {
        let value = self.arg(0);
        if is_one(value) { Ok(value.clone()) } else { Err(Stop::Undefined) }
    }
}

fn as_text(value: &Value) -> Result<&str, Stop> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Stop::Undefined),
    }
}

fn as_whole(value: &Value) -> Result<i64, Stop> {
    match value {
        Value::Number(number) if number.is_integer() => number.as_i64().ok_or(Stop::Undefined),
        _ => Err(Stop::Undefined),
    }
}

/// The members of a list or a set.
fn items(value: &Value) -> Result<Vec<&Value>, Stop> {
    match value {
        Value::Array(items) => Ok(items.iter().collect()),
        Value::Set(items) => Ok(items.iter().collect()),
        _ => Err(Stop::Undefined),
    }
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::from(items.into_iter().collect::<Vec<_>>())
}

const NETWORK: &str = "needs the network, which a policy does not have";
const CHANCE: &str = "differs from call to call, so that no decision could be told again";
const HOST: &str = "tells of the process that a policy runs in, which is Envoy's";
const ABSENT: &str = "is not in Sidegate";

/// Why a built-in function of OPA is refused; none if it is not.
pub fn refused(name: &str) -> Option<&'static str> {
    match name {
        "http.send" | "net.lookup_ip_addr" => Some(NETWORK),
        "rand.intn" | "uuid.rfc4122" => Some(CHANCE),
        "opa.runtime" => Some(HOST),
        "array.flatten"
        | "crypto.hmac.md5"
        | "crypto.hmac.sha1"
        | "crypto.md5"
        | "crypto.parse_private_keys"
        | "crypto.sha1"
        | "crypto.x509.parse_and_verify_certificates"
        | "crypto.x509.parse_and_verify_certificates_with_options"
        | "crypto.x509.parse_certificate_request"
        | "crypto.x509.parse_certificates"
        | "crypto.x509.parse_keypair"
        | "crypto.x509.parse_rsa_private_key"
        | "graph.reachable_paths"
        | "graphql.is_valid"
        | "graphql.parse"
        | "graphql.parse_and_verify"
        | "graphql.parse_query"
        | "graphql.parse_schema"
        | "graphql.schema_is_valid"
        | "io.jwt.decode_verify"
        | "io.jwt.encode_sign"
        | "io.jwt.encode_sign_raw"
        | "io.jwt.verify_eddsa"
        | "json.marshal_with_options"
        | "json.match_schema"
        | "json.patch"
        | "json.verify_schema"
        | "net.cidr_contains_matches"
        | "net.cidr_merge"
        | "providers.aws.sign_req"
        | "regex.globs_match"
        | "regex.template_match"
        | "rego.metadata.chain"
        | "rego.metadata.rule"
        | "rego.parse_module"
        | "strings.render_template"
        | "units.parse"
        | "units.parse_bytes"
        | "uri.is_valid"
        | "uri.parse"
        | "uuid.parse"
        | "walk"
        | "yaml.is_valid"
        | "yaml.marshal"
        | "yaml.unmarshal" => Some(ABSENT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_refuses_nothing_it_has() {
        assert!(BUILTINS.is_sorted_by(|a, b| a.name < b.name));
        assert!(BUILTINS.iter().all(|builtin| refused(builtin.name).is_none()));
    }
}
