//! What the tests of expressions have in common.

use std::rc::Rc;

use serde_json::Value;

use crate::compile::{Compiler, Shared};
use crate::request::{Attribute, Attributes, Headers, Needs, Request};
use crate::resources::Resources;
use crate::time::Timestamp;
use crate::view::{Auth, View};

/// What compiles where `patterns` are named, the problems, and what it needs.
pub fn compiled<T>(patterns: Value, compile: impl FnOnce(&mut Compiler<'_>) -> T) -> (T, Vec<String>, Needs) {
    let patterns = serde_json::from_value(patterns).unwrap();
    let (resources, options, mut problems) = (Resources::default(), Default::default(), Vec::new());
    let shared = &mut Shared::default();
    let name = ("default", "test");
    let mut compiler = Compiler::new(name, &patterns, &resources, &options, shared, &mut problems);
    let result = compile(&mut compiler);
    let needs = compiler.needs;
    (result, problems.iter().map(ToString::to_string).collect(), needs)
}

/// A request and an identity.
pub fn view(headers: &[(&str, &str)], attributes: &[(Attribute, &str)], identity: Option<Value>) -> View {
    let mut request = Request { headers: Headers::from_pairs(headers.iter().copied()), ..Default::default() };
    request.attributes = attributes.iter().fold(Attributes::default(), |mut all, (attribute, value)| {
        all.insert(*attribute, value.as_bytes().to_vec());
        all
    });
    let auth = Auth { identity: identity.map(Rc::new), ..Auth::default() };
    View { request: Rc::new(request), time: Timestamp::from_nanos(1_700_000_000_000_000_005), auth: Rc::new(auth) }
}

/// Another request, at another time, of the same client.
pub fn another(of: &View) -> View {
    let headers = [(":method", "POST"), (":path", "/a.B/C"), ("content-type", "application/grpc"), ("x", "y")];
    let time = Timestamp::from_nanos(1_800_000_000_000_000_006);
    View { time, auth: Rc::clone(&of.auth), ..view(&headers, &[(Attribute::SourceAddress, "10.9.8.7:6")], None) }
}
