//! Whether the text of a policy has a shape that regorus can read within bounds.
//!
//! It reads what is in brackets twice, since it cannot know beforehand what they are: what is in thirty brackets, a thousand
//! million times. And it calls itself for each operator of a chain, as deep as the chain is long.

use super::scan::{Kind, Word};

/// Words that may be read.
const WORDS: u64 = 1 << 18;

/// Operators, dots and indices of one expression.
const CHAIN: u32 = 128;

/// What one sign after another counts in a chain.
const SIGN: u32 = 16;

/// What was seen of a text so far.
#[derive(Debug)]
pub struct Shape {
    read: u64,
    /// Brackets that are open, parentheses not among them.
    doubling: u32,
    /// For each level of brackets, the length of the chain in it.
    chains: Vec<u32>,
    after_operator: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self { read: 0, doubling: 0, chains: vec![0], after_operator: false }
    }
}

impl Shape {
    /// Takes the next word.
    pub fn take(&mut self, word: &Word<'_>) -> Result<(), &'static str> {
        self.read = self.read.saturating_add(1_u64.checked_shl(self.doubling).unwrap_or(u64::MAX));
        if self.read > WORDS {
            return Err("the policy is too long, or nested too deeply");
        }
        let longer = match (word.kind, word.text) {
            (Kind::Path, "not" | "else" | "in" | "every") => 1,
            (Kind::Path, path) => u32::try_from(path.matches('.').count()).unwrap_or(u32::MAX),
            (Kind::Sign, "\n") => {
                if !self.after_operator && !word.rest.trim_start().starts_with(is_operator) {
                    self.end();
                }
                return Ok(());
            }
            (Kind::Sign, "," | ";") => {
                self.end();
                0
            }
            (Kind::Sign, open @ ("(" | "[" | "{")) => {
                self.chain(1)?;
                self.chains.push(0);
                self.doubling = self.doubling.saturating_add(u32::from(open != "("));
                0
            }
            (Kind::Sign, close @ (")" | "]" | "}")) => {
                if self.chains.len() > 1 {
                    self.chains.pop();
                }
                self.doubling = self.doubling.saturating_sub(u32::from(close != ")"));
                0
            }
            // Signs of signs take the most.
            (Kind::Sign, "-") if self.after_operator => SIGN,
            (Kind::Sign, _) => 1,
            (Kind::Text | Kind::Number, _) => 0,
        };
        self.after_operator = word.kind == Kind::Sign && word.text.starts_with(is_operator);
        self.chain(longer)
    }

    fn chain(&mut self, longer: u32) -> Result<(), &'static str> {
        let Some(chain) = self.chains.last_mut() else { return Ok(()) };
        *chain = chain.saturating_add(longer);
        if *chain > CHAIN { Err("the expression is too long: give parts of it names") } else { Ok(()) }
    }

    fn end(&mut self) {
        if let Some(chain) = self.chains.last_mut() {
            *chain = 0;
        }
    }
}

fn is_operator(c: char) -> bool {
    matches!(c, '+' | '-' | '*' | '/' | '%' | '|' | '&' | '=' | '!' | '<' | '>' | ':' | '.' | '(')
}
