//! Everything people write to look at a request: selectors, templates, patterns, CEL.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use sidegate_config::ValueOrSelector;

use crate::compile::Compiler;
use crate::view::View;

#[cfg(feature = "cel")]
pub mod cel;
pub mod condition;
pub mod number;
mod pattern;
pub mod regex;
pub mod selector;
pub mod template;
#[cfg(test)]
pub mod testing;
pub mod text;

use selector::Selector;
use template::Template;

/// An expression that could not be evaluated: why, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError(pub String);

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A compiled [`ValueOrSelector`].
#[derive(Debug)]
pub enum Dynamic {
    /// A fixed value.
    Fixed(Value),
    /// What a path leads to.
    Selector(Selector),
    /// Text with placeholders.
    Template(Template),
    /// Text with placeholders, or the value of a single one.
    Interpolation(Template),
    /// What CEL computes.
    #[cfg(feature = "cel")]
    Cel(cel::Program),
}

impl Dynamic {
    /// Compiles; problems go to the compiler. `expression` wins over `selector`, and that over `value`; `template` stands
    /// alone.
    pub fn compile(source: &ValueOrSelector, compiler: &mut Compiler<'_>) -> Self {
        let ValueOrSelector { value, selector, expression, template } = source;
        if let Some(template) = template {
            if value.is_some() || selector.is_some() || expression.is_some() {
                compiler.problem("`template` stands alone: leave out `value`, `selector` and `expression`");
            }
            return Self::Interpolation(compiler.at("template", |c| Template::interpolation(template, c)));
        }
        let given = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
        match (given(expression), given(selector)) {
            (Some(source), _) => compiler.at("expression", |compiler| Self::compile_cel(&source, compiler)),
            (None, Some(source)) => compiler.at("selector", |compiler| Self::compile_selector(&source, compiler)),
            (None, None) => Self::Fixed(value.clone().unwrap_or_default()),
        }
    }

    /// Compiles what stands in a field named `selector`: a path, or a template.
    pub fn compile_selector(source: &str, compiler: &mut Compiler<'_>) -> Self {
        if template::is_template(source) {
            Self::Template(Template::compile(source, compiler))
        } else {
            Self::Selector(Selector::compile(source, compiler))
        }
    }

    /// Compiles what stands in a field of CEL.
    #[cfg(feature = "cel")]
    pub fn compile_cel(source: &str, compiler: &mut Compiler<'_>) -> Self {
        Self::Cel(cel::Program::compile(source, compiler))
    }

    /// Says that there is no CEL.
    #[cfg(not(feature = "cel"))]
    pub fn compile_cel(_source: &str, compiler: &mut Compiler<'_>) -> Self {
        compiler.left_out("cel");
        Self::Fixed(Value::Null)
    }

    /// Compiles the values of a map, each at its key.
    pub fn compile_map(
        sources: &BTreeMap<String, ValueOrSelector>,
        compiler: &mut Compiler<'_>,
    ) -> Vec<(String, Self)> {
        let compile = |(name, source): (&String, &ValueOrSelector)| {
            (name.clone(), compiler.at(name, |compiler| Self::compile(source, compiler)))
        };
        sources.iter().map(compile).collect()
    }

    /// The typed value; `null` where a selector finds nothing.
    ///
    /// # Errors
    /// CEL's run-time errors.
    pub fn value(&self, view: &View) -> Result<Value, EvalError> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Selector(selector) => selector.value(view),
            Self::Template(template) => Value::String(template.text(view)),
            Self::Interpolation(template) => template.value(view),
            #[cfg(feature = "cel")]
            Self::Cel(program) => program.value(view)?,
        })
    }

    /// The value as text: strings as they are, null as nothing, everything else as JSON.
    ///
    /// # Errors
    /// CEL's run-time errors.
    pub fn text(&self, view: &View) -> Result<String, EvalError> {
        Ok(match self {
            Self::Fixed(value) => text::stringify(value),
            Self::Selector(selector) => selector.text(view),
            Self::Template(template) | Self::Interpolation(template) => template.text(view),
            #[cfg(feature = "cel")]
            Self::Cel(program) => text::stringify(&program.value(view)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::{compiled, view};
    use super::*;

    fn dynamic(source: Value) -> Dynamic {
        let source = serde_json::from_value(source).unwrap();
        let (dynamic, problems, _) = compiled(json!({}), |compiler| Dynamic::compile(&source, compiler));
        assert_eq!(problems, [""; 0]);
        dynamic
    }

    #[test]
    fn a_value_is_fixed_or_selected_or_a_template() {
        let view =
            view(&[(":path", "/a?b=<c>")], &[], Some(json!({"sub": "al\"ice", "age": 41.0, "groups": ["a", "b"]})));
        for (source, value, text) in [
            (json!({}), json!(null), ""),
            (json!({"value": {"a": ["<"]}}), json!({"a": ["<"]}), r#"{"a":["\u003c"]}"#),
            (json!({"value": 1.50}), json!(1.5), "1.5"),
            (json!({"value": "{auth.identity.sub}"}), json!("{auth.identity.sub}"), "{auth.identity.sub}"),
            (json!({"selector": "auth.identity.age"}), json!(41.0), "41"),
            (json!({"selector": "auth.identity.sub"}), json!("al\"ice"), "al\"ice"),
            (json!({"selector": "auth.identity.groups"}), json!(["a", "b"]), r#"["a","b"]"#),
            (json!({"selector": "plain text"}), json!(null), ""),
            (json!({"selector": "auth.identity.missing"}), json!(null), ""),
            (json!({"selector": "auth.identity.sub", "value": 1}), json!("al\"ice"), "al\"ice"),
            (json!({"selector": "", "value": 1, "expression": ""}), json!(1), "1"),
            (json!({"selector": "{auth.identity.age}"}), json!("41"), "41"),
            (
                json!({"selector": "hello {auth.identity.sub}, {auth.identity.missing}{}{nowhere.x}!"}),
                json!("hello al\"ice, !"),
                "hello al\"ice, !",
            ),
            (json!({"selector": r#"\{"q":"{request.path}"}"#}), json!(r#"{"q":"/a?b=<c>"}"#), r#"{"q":"/a?b=<c>"}"#),
            (json!({"selector": "{{auth.identity.age}}"}), json!(r#"{"age":41}"#), r#"{"age":41}"#),
            (
                json!({"selector": "{auth.identity.groups}-{auth.identity.groups.#}"}),
                json!(r#"["a","b"]-2"#),
                r#"["a","b"]-2"#,
            ),
            (
                json!({"selector": r#"{auth.identity.sub.@extract:{"sep":"i","pos":1}}{auth.identity.sub.@case:upper}"#}),
                json!("ceAL\"ICE"),
                "ceAL\"ICE",
            ),
            (json!({"template": "{{auth.identity.age}}"}), json!(41.0), "41"),
            (json!({"template": "{{ auth.identity.groups }}"}), json!(["a", "b"]), r#"["a","b"]"#),
            (json!({"template": "{{auth.identity.missing}}"}), json!(null), ""),
            (json!({"template": " {{auth.identity.age}}"}), json!(" 41"), " 41"),
            (json!({"template": "plain {text}"}), json!("plain {text}"), "plain {text}"),
            (json!({"template": r#"{"q":"{{request.path}}"}"#}), json!(r#"{"q":"/a?b=<c>"}"#), r#"{"q":"/a?b=<c>"}"#),
            (json!({"template": ""}), json!(""), ""),
            // Upstream takes this for a template too.
            (json!({"selector": "auth.identity.{sub,age}"}), json!("auth.identity."), "auth.identity."),
        ] {
            let dynamic = dynamic(source.clone());
            assert_eq!(dynamic.value(&view), Ok(value), "{source}");
            assert_eq!(dynamic.text(&view), Ok(text.to_owned()), "{source}");
        }
    }

    #[test]
    fn problems_name_their_place() {
        let sources = [
            ("a".to_owned(), ValueOrSelector { selector: Some("x.#(y".to_owned()), ..Default::default() }),
            (
                "b".to_owned(),
                ValueOrSelector { selector: Some("{x.#(y}{source.port}".to_owned()), ..Default::default() },
            ),
        ];
        let (_, problems, needs) = compiled(json!({}), |compiler| Dynamic::compile_map(&sources.into(), compiler));
        assert_eq!(
            problems,
            [
                "AuthConfig default/test: spec.a.selector: `x.#(y` is no path: `#(` is never closed",
                "AuthConfig default/test: spec.b.selector: `x.#(y` is no path: `#(` is never closed",
            ]
        );
        assert!(needs.has(crate::Attribute::SourceAddress));
    }

    /// Rows of the tables under a heading of the users' page, their first two cells without backticks.
    fn documented(heading: &str) -> Vec<(String, String)> {
        let page = include_str!("../../../docs/expressions.md");
        let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")).map(|row| {
            let (source, rest) = row.split_once("` | `").unwrap();
            (source.replace("\\|", "|"), rest.split_once("` |").unwrap().0.to_owned())
        });
        rows.collect()
    }

    #[test]
    fn the_examples_of_the_page_are_true() {
        let page = include_str!("../../../docs/expressions.md");
        let (_, identity) = page.split_once("```json\n").unwrap();
        let identity = serde_json::from_str(identity.split("```").next().unwrap()).unwrap();
        let view = view(&[], &[], Some(identity));
        let sections = [("Selectors", 13), ("Modifiers", 17), ("Templates", 5), ("Double braces", 6), ("CEL", 16)];
        for (heading, count) in sections {
            let rows = documented(heading);
            assert_eq!(rows.len(), count, "{heading}");
            for (source, expected) in rows {
                if heading == "CEL" {
                    #[cfg(feature = "cel")]
                    assert_eq!(text::to_json(&dynamic(json!({"expression": source})).value(&view).unwrap()), expected);
                } else if heading == "Double braces" {
                    let value = dynamic(json!({"template": source})).value(&view).unwrap();
                    assert_eq!(text::to_json(&value), expected, "{source}");
                } else if heading == "Templates" {
                    assert!(template::is_template(&source), "{source}");
                    assert_eq!(dynamic(json!({"selector": source})).text(&view).unwrap(), expected, "{source}");
                } else {
                    let (selector, problems, _) = compiled(json!({}), |c| Selector::compile(&source, c));
                    assert_eq!(problems, [""; 0]);
                    assert_eq!(text::to_json(&selector.value(&view)), expected, "{source}");
                }
            }
        }
    }
}
