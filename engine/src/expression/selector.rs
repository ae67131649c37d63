//! Selectors: gjson paths into the Authorization JSON.
//!
//! A path is parsed once (`parse`) into segments (`path`); what it starts from is found in the shape of the
//! Authorization JSON then, so that a plain path reads one place and builds nothing else.

use std::borrow::Cow;

use serde_json::Value;

use super::text;
use crate::compile::Compiler;
use crate::request::Needs;
use crate::view::View;

mod glob;
mod modifier;
mod parse;
mod path;
mod query;

use path::{Found, Input, Path};

/// A compiled path.
#[derive(Debug)]
pub struct Selector {
    path: Path,
    /// Whether the text of an object or list is spread over lines: the last thing is `@pretty`.
    pretty: bool,
}

impl Selector {
    /// Compiles a path. One that leads nowhere is no problem, as in gjson; one that cannot be read is.
    pub fn compile(source: &str, compiler: &mut Compiler<'_>) -> Self {
        match Self::parse(source) {
            Ok((selector, needs)) => {
                compiler.need_all(needs);
                selector
            }
            Err(reason) => {
                compiler.problem(format!("`{}` is no path: {reason}", source.chars().take(200).collect::<String>()));
                Self { path: Path::default(), pretty: false }
            }
        }
    }

    fn parse(source: &str) -> Result<(Self, Needs), String> {
        let (path, needs) = parse::root(source)?;
        let pretty = path.ends_pretty();
        Ok((Self { path, pretty }, needs))
    }

    /// The value, if there is one.
    #[must_use]
    pub fn find<'a>(&'a self, view: &'a View) -> Option<Cow<'a, Value>> {
        self.evaluate(Input::View(view))
    }

    /// The typed value; `null` if there is none.
    #[must_use]
    pub fn value(&self, view: &View) -> Value {
        self.find(view).map_or(Value::Null, Cow::into_owned)
    }

    /// The value as text; nothing if there is none.
    #[must_use]
    pub fn text(&self, view: &View) -> String {
        match self.find(view) {
            Some(Cow::Owned(Value::String(text))) => text,
            Some(value) => self.stringify(&value),
            None => String::new(),
        }
    }

    /// As [`Selector::text`], for one who only wants to look at it.
    pub fn with_text<T>(&self, view: &View, read: impl FnOnce(&str) -> T) -> T {
        match self.find(view).as_deref() {
            Some(Value::String(text)) => read(text),
            Some(value) => read(&self.stringify(value)),
            None => read(""),
        }
    }

    /// Whether an item of the list satisfies; what is no list is a list of itself, and nothing or null an empty one.
    pub fn any_item(&self, view: &View, mut satisfies: impl FnMut(&Value) -> bool) -> bool {
        match self.find(view).as_deref() {
            None | Some(Value::Null) => false,
            Some(Value::Array(items)) => items.iter().any(satisfies),
            Some(value) => satisfies(value),
        }
    }

    fn evaluate<'a>(&'a self, input: Input<'a>) -> Found<'a> {
        self.path.evaluate(input)
    }

    fn stringify(&self, value: &Value) -> String {
        match value {
            Value::Array(_) | Value::Object(_) if self.pretty => text::pretty(value),
            value => text::stringify(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::expression::testing;

    fn view(identity: Value) -> View {
        testing::view(&[], &[], Some(identity))
    }

    fn identity() -> Value {
        json!({
            "s": "a b&c", "n": null, "e": "", "t": true, "f": 1.50, "i": 9_007_199_254_740_993_u64, "x.y": {"z": "q"},
            "@id": "at", "star*": 1, "roles": ["r1", "r2"], "long": {"a": {"b": 1}, "c": {"d": 2}},
            "objs": [{"k": 1, "v": "one", "t": ["p"]}, {"k": 2, "v": "two", "t": []}, {"k": 3, "u": null}],
            "b64": "eyJhIjoiYiJ9",
        })
    }

    fn find(path: &str, view: &View) -> Option<Value> {
        let (selector, _) = Selector::parse(path).unwrap_or_else(|reason| panic!("`{path}`: {reason}"));
        selector.find(view).map(Cow::into_owned)
    }

    /// What gjson 1.14.0 with Authorino's modifiers finds, unless a row says otherwise.
    #[test]
    fn paths_find_what_gjson_finds() {
        let view = view(json!({"doc": identity()}));
        for (path, expected) in [
            ("s", Some(json!("a b&c"))),
            ("n", Some(json!(null))),
            ("missing", None),
            ("s.missing", None),
            ("roles.1", Some(json!("r2"))),
            ("roles.01", Some(json!("r2"))),
            ("roles.2", None),
            ("roles.x", None),
            ("x\\.y.z", Some(json!("q"))),
            ("x\\.y|@keys", Some(json!(["z"]))),
            // gjson 1.14.0 loses the modifier after an escaped part.
            ("x\\.y.@keys", Some(json!(["z"]))),
            ("@id", Some(json!("at"))),
            ("s.@nonesuch", None),
            ("r*s.0", Some(json!("r1"))),
            ("long.*.d", Some(json!(2))),
            ("?", Some(json!(""))),
            ("star\\*", Some(json!(1))),
            ("star\\?", None),
            // Lists.
            ("roles.#", Some(json!(2))),
            ("s.#", None),
            ("objs.#.v", Some(json!(["one", "two"]))),
            ("objs.#.v|#", Some(json!(2))),
            ("objs.#.t.0", Some(json!(["p"]))),
            ("objs.#.v.@case:upper", Some(json!(["ONE", "TWO"]))),
            ("objs.#(k==2).v", Some(json!("two"))),
            ("objs.#(k>1)#.k", Some(json!([2, 3]))),
            ("objs.#(k>=2)#|#", Some(json!(2))),
            ("objs.#(k==9).v", None),
            ("objs.#(k==9)#.v", Some(json!([]))),
            ("objs.#(k==9)#.v|#", Some(json!([]))),
            ("objs.#(k==9)#|#", Some(json!(0))),
            ("objs.#(v%\"t*\").k", Some(json!(2))),
            ("objs.#(v!%\"t*\").k", Some(json!(1))),
            ("objs.#(v!=\"one\")#.k", Some(json!([2]))),
            ("objs.#(u)#.k", Some(json!([3]))),
            ("objs.#(v==~false).k", Some(json!(1))),
            ("objs.#(t.#(==\"p\")).k", Some(json!(1))),
            ("objs.#(t.#>0)#.k", Some(json!([1]))),
            ("objs.#[k==2].v", Some(json!("two"))),
            ("roles.#(==\"r2\")", Some(json!("r2"))),
            ("roles.#(!=\"r2\")#", Some(json!(["r1"]))),
            ("roles.#(>\"r1\")", Some(json!("r2"))),
            // Several paths at once.
            ("[s,missing,roles.0]", Some(json!(["a b&c", "r1"]))),
            ("{s,\"q\":t,long.a.b,z:n,roles.#}", Some(json!({"s": "a b&c", "q": true, "b": 1, "z": null, "_": 2}))),
            ("long.{a,c}.c.d", Some(json!(2))),
            ("[s", None),
            // Literals.
            ("!\"lit\"", Some(json!("lit"))),
            ("!{\"a\":[1]}|a.0", Some(json!(1))),
            ("!true", Some(json!(true))),
            ("!-1.5", Some(json!(-1.5))),
            ("!nonsense", None),
            // Modifiers.
            ("long.@this.a.b", Some(json!(1))),
            ("long|@keys|1", Some(json!("c"))),
            ("b64.@base64:decode|@fromstr|a", Some(json!("b"))),
            ("b64.@base64:decode.a", Some(json!("eyJhIjoiYiJ9"))),
            ("s.@extract:{\"pos\":1}.@case:upper", Some(json!("B&C"))),
            ("missing.@extract", Some(json!(""))),
            ("missing|@extract", Some(json!(""))),
            ("missing.x.@extract", None),
            ("missing.@case:upper", None),
            ("n.@extract", Some(json!(""))),
            ("roles.@tostr.@fromstr.0", Some(json!("r1"))),
            ("roles.@valid.@ugly.@pretty.@reverse.0", Some(json!("r2"))),
        ] {
            assert_eq!(find(&format!("auth.identity.doc|{path}"), &view), expected, "{path}");
            if !path.starts_with('!') {
                assert_eq!(find(&format!("auth.identity.doc.{path}"), &view), expected, "{path}");
            }
        }
    }

    #[test]
    fn the_text_of_a_value_is_what_gjson_prints() {
        let view = view(identity());
        for (path, expected) in [
            ("s", "a b&c"),
            ("n", ""),
            ("e", ""),
            ("missing", ""),
            ("t", "true"),
            ("f", "1.5"),
            ("i", "9007199254740993"),
            ("roles", r#"["r1","r2"]"#),
            ("[s]", r#"["a b\u0026c"]"#),
            ("objs.0.@pretty", "{\n  \"k\": 1,\n  \"t\": [\"p\"],\n  \"v\": \"one\"\n}\n"),
        ] {
            let (selector, _) = Selector::parse(&format!("auth.identity.{path}")).unwrap();
            assert_eq!(selector.text(&view), expected, "{path}");
            assert!(selector.with_text(&view, |text| text == expected), "{path}");
        }
    }

    #[test]
    fn paths_start_in_the_authorization_json() {
        let view = view(identity());
        for (path, expected) in [
            ("", None),
            ("auth.identity.roles.#", Some(json!(2))),
            ("a?th.identity.t", Some(json!(true))),
            ("auth.*.t", Some(json!(true))),
            ("@this.auth.identity.t", Some(json!(true))),
            ("@this|auth|identity|t", Some(json!(true))),
            ("{auth.identity.t,auth.identity.n,request.method}", Some(json!({"t": true, "n": null}))),
            ("[auth.identity.e]|0", Some(json!(""))),
            ("source", Some(json!({}))),
            ("nowhere.x", None),
            ("plain text", None),
            ("identity.t", None),
            ("auth.identity.missing.@extract", Some(json!(""))),
            ("nowhere.x|@extract", None),
        ] {
            assert_eq!(find(path, &view), expected, "{path}");
        }
    }

    #[test]
    fn a_path_needs_the_attributes_that_it_may_read() {
        use crate::request::Attribute::{
            self, DestinationAddress, Metadata, PeerUriSan, Protocol, Size, SourceAddress,
        };
        let everything = crate::view::Place::ROOT.needs().iter().collect::<Vec<_>>();
        for (path, expected) in [
            ("auth.identity.sub", &[] as &[Attribute]),
            ("request.headers.x", &[]),
            ("context.request.http.path", &[]),
            ("source.address", &[SourceAddress]),
            ("source", &[SourceAddress, PeerUriSan]),
            ("context.destination.address.Address.SocketAddress.address", &[DestinationAddress]),
            ("metadata.filter_metadata.x.y", &[Metadata]),
            ("request.*", &[Protocol, Size]),
            ("request|protocol", &[Protocol, Size]),
            ("{request.protocol,source.port}", &[SourceAddress, Protocol]),
            ("@this", &everything),
            ("a*", &everything),
        ] {
            let (_, needs) = Selector::parse(path).unwrap();
            assert_eq!(needs.iter().collect::<Vec<_>>(), expected, "{path}");
        }
    }

    #[test]
    fn whether_a_path_reads_the_request_at_all() {
        for (path, is_read) in [
            ("auth.identity.sub", false),
            ("auth.identity.roles.#(==\"admin\")", false),
            ("auth", false),
            ("{auth.identity.sub,auth.metadata.x}", false),
            ("nowhere.to.be.found", false),
            ("request.headers.x", true),
            ("request.headers", true),
            ("request.time.seconds", true),
            ("request.id", true),
            ("context.request.http.host", true),
            ("metadata", true),
            ("{auth.identity.sub,request.path}", true),
            ("auth*", true),
            ("@this|auth.identity", true),
        ] {
            let (_, needs) = Selector::parse(path).unwrap();
            assert_eq!(!needs.is_empty(), is_read, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_problem() {
        for (path, expected) in [
            ("a.#(b==1", "`#(` is never closed"),
            ("a.#(b!1)", "`!1` begins with no operator"),
            ("a.@extract:{sep:\"/\"}", "the argument of `@extract` is no JSON object"),
            (&"a.".repeat(3000), "longer than 4096 bytes"),
            (&"a.#.".repeat(50), "nested more than 16 deep"),
            (&"[@this,@this]|".repeat(20), "more than 256 copies"),
        ] {
            let reason = Selector::parse(path).unwrap_err();
            assert!(reason.contains(expected), "{path}: {reason}");
        }
    }

    /// Text made of what paths are made of.
    fn path_like() -> impl Strategy<Value = String> {
        #[rustfmt::skip]
        const WORDS: &[&str] = &[
            "auth", "identity", ".", "|", "#", "#(", ")", "[", "]", "{", "}", ",", ":", "@", "*", "?", "\\", "\"", "!", "=",
            "a", "b", "0", "1", "99999999999999999999", "~", "%", "<", ">=", "é", "\u{0}", "@this", "@reverse", "@flatten",
            "@join", "@keys", "@values", "@tostr", "@fromstr", "@extract", ":{\"sep\":\"\",\"pos\":1}", "@replace",
            ":{\"old\":\"\",\"new\":\"xx\"}", "@case:upper", "@base64:encode", "@base64:decode", "@strip", "@pretty",
            "@split", ":{\"sep\":\"\"}", "@translate", ":{\"a\":\"bb\",\"b\":\"\"}",
        ];
        prop::collection::vec(prop::sample::select(WORDS), 0..24).prop_map(|words| words.concat())
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let members =
                prop::collection::btree_map(prop::sample::select(&["a", "b", "0", "é"][..]), inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                members.prop_map(|members| {
                    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_path_panics_on_any_json(path in prop_oneof![path_like(), ".{0,40}"], identity in json_value()) {
            let view = view(identity);
            for path in [format!("auth.identity.{path}"), format!("auth.identity|{path}"), path] {
                if let Ok((selector, needs)) = Selector::parse(&path) {
                    let text = selector.text(&view);
                    prop_assert!(selector.with_text(&view, |seen| seen == text));
                    if needs.is_empty() {
                        prop_assert_eq!(selector.text(&testing::another(&view)), text, "{}", path);
                    }
                    prop_assert_eq!(selector.value(&view).is_null(), selector.find(&view).is_none_or(|value| value.is_null()));
                }
            }
        }
    }
}
