//! Regular expressions in Go's dialect (RE2), not anchored.

pub use regex::bytes::Regex;
use regex::bytes::RegexBuilder;

/// Bytes that one compiled expression may take; what people write takes a few thousand.
const SIZE_LIMIT: usize = 1 << 16;

/// Nesting of groups that is compiled.
const NEST_LIMIT: u32 = 100;

/// Compiles an expression written for Go. It is matched against bytes, since `\B` may match within a character.
///
/// # Errors
/// What is wrong with it, briefly.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    compile_within(SIZE_LIMIT, pattern)
}

/// As [`compile`], for an expression of no more than so many bytes when compiled.
///
/// # Errors
/// What is wrong with it, briefly.
pub fn compile_within(size_limit: usize, pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(&translate(pattern)).size_limit(size_limit).nest_limit(NEST_LIMIT).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too big".to_owned(),
        // The first lines show the expression and a pointer into it; the last says what is wrong.
        error => {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })
}

/// Rewrites what Go reads otherwise than Rust: `\d`, `\w`, `\s` and `\b` know ASCII alone, `\Q…\E` quotes, `\<` is a `<`, a
/// brace that is no repetition stands for itself, and so do `[`, `&&` and `~~` within a class.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = match c {
            '\\' => escape(after, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                open_class(after, &mut out)
            }
            '[' if after.starts_with(':') => {
                let end = after.find(":]").map_or(0, |at| at.saturating_add(2));
                out.push('[');
                out.push_str(after.get(..end).unwrap_or_default());
                after.get(end..).unwrap_or_default()
            }
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                after
            }
            ']' => {
                in_class = false;
                out.push(c);
                after
            }
            '{' if !in_class && !is_repetition(after) => {
                out.push_str("\\{");
                after
            }
            c => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// The start of a class: a `]` that comes first stands for itself.
fn open_class<'a>(after: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let inside = after.strip_prefix('^').unwrap_or(after);
    if inside.len() < after.len() {
        out.push('^');
    }
    inside.strip_prefix(']').map_or(inside, |rest| {
        out.push_str("\\]");
        rest
    })
}

fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = after.get(c.len_utf8()..).unwrap_or_default();
    match c {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        's' => out.push_str("[\\t\\n\\f\\r ]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        'B' if !in_class => out.push_str("(?-u:\\B)"),
        '<' | '>' => out.push(c),
        'Q' if !in_class => {
            let (quoted, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(quoted));
            return rest;
        }
        c => {
            out.push('\\');
            out.push(c);
        }
    }
    rest
}

/// Whether what follows a `{` makes it `{n}`, `{n,}` or `{n,m}`.
fn is_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let (from, to) = inside.split_once(',').unwrap_or((inside, ""));
    !from.is_empty() && from.bytes().chain(to.bytes()).all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_as_in_go() {
        for (pattern, text, expected) in [
            ("", "anything", true),
            ("ab", "cabd", true),
            ("^ab$", "cabd", false),
            ("^ab$", "ab\n", false),
            (".", "\n", false),
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢", false),
            (r"^\w$", "é", false),
            (r"^[\w-]+$", "a-b", true),
            (r"^[^\d]$", "x", true),
            (r"\bfoo\b", "a foo b", true),
            (r"o\Bo", "foo", true),
            ("(?i)É", "é", true),
            (r"^\Qa.b\E+$", "a.bbb", true),
            (r"^\Qa.b", "axb", false),
            (r"\<a\>", "<a>", true),
            ("^[[]a[]]$", "[a]", true),
            ("^[]a]+$", "]a", true),
            ("^[^]a]$", "b", true),
            ("^[a&&b]+$", "&", true),
            ("^[[:alpha:]]+$", "abc", true),
            ("^/api/{id}$", "/api/{id}", true),
            ("^a{2}$", "aa", true),
            ("^a{2,3}$", "aaaa", false),
            (r"^\/x\-y\_z\%$", "/x-y_z%", true),
            ("^(?P<v>a)$", "a", true),
            ("é.$", "éü", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text.as_bytes()), expected, "`{pattern}` on {text:?}");
        }
    }

    #[test]
    fn bad_and_huge_expressions_are_refused_with_a_short_reason() {
        for (pattern, reason) in [
            ("(", "unclosed group"),
            ("a**)", "unopened group"),
            ("[z-a]", "invalid character class range"),
            (r"\", "incomplete escape sequence"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences are not supported"),
            ("((a{1000}){1000}){1000}", "too big"),
        ] {
            let error = compile(pattern).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\n'), "`{pattern}`: {error}");
        }
        assert!(compile(&"(".repeat(10_000)).is_err());
    }
}
