//! Patterns with `*` and `?`.

/// A pattern.
#[derive(Debug)]
pub struct Glob(Vec<Token>);

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token {
    /// `*`: any text.
    Any,
    /// `?`: any character.
    One,
    /// This character.
    Char(char),
}

impl Glob {
    /// From its parts.
    pub const fn new(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }

    /// From text in which a backslash makes the character after it stand for itself.
    pub fn parse(pattern: &str) -> Self {
        let mut chars = pattern.chars();
        let mut tokens = Vec::new();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => Token::Char(chars.next().unwrap_or('\\')),
                c => Token::Char(c),
            });
        }
        Self(tokens)
    }

    /// Whether all of the text matches. Time is bounded by the product of the two lengths: only the last `*` is ever
    /// taken back.
    pub fn matches(&self, text: &str) -> bool {
        let (mut tokens, mut rest) = (self.0.as_slice(), text);
        let mut last_star: Option<(&[Token], &str)> = None;
        loop {
            let c = rest.chars().next();
            match (tokens.split_first(), c) {
                (None, None) => return true,
                (Some((Token::Any, after)), _) => {
                    last_star = Some((after, rest));
                    tokens = after;
                    continue;
                }
                (Some((Token::One, after)), Some(c)) => {
                    tokens = after;
                    rest = skip(rest, c);
                    continue;
                }
                (Some((Token::Char(expected), after)), Some(c)) if *expected == c => {
                    tokens = after;
                    rest = skip(rest, c);
                    continue;
                }
                _ => {}
            }
            let Some((after, from)) = last_star else { return false };
            let Some(c) = from.chars().next() else { return false };
            rest = skip(from, c);
            tokens = after;
            last_star = Some((after, rest));
        }
    }
}

fn skip(text: &str, c: char) -> &str {
    text.get(c.len_utf8()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b*", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("*ab", "aab", true),
            ("?", "é", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("**a", "ba", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\", r"a\", true),
        ] {
            assert_eq!(Glob::parse(pattern).matches(text), expected, "`{pattern}` on {text:?}");
        }
    }

    #[test]
    fn many_stars_take_no_long_time() {
        let glob = Glob::parse(&"*a".repeat(1000));
        assert!(!glob.matches(&"b".repeat(60_000)));
        assert!(!glob.matches(&format!("{}b", "a".repeat(60_000))));
    }
}
