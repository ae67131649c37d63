//! What is refused before it is parsed, since parsing, compiling, evaluating and dropping an expression all recurse.

use std::mem;

use cel::parser::pratt_parser::{Lexer, TokenKind};

/// Longest source in bytes.
pub const MAX_SOURCE: usize = 16 << 10;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 200;

/// How deep an expression is so far within one pair of brackets. It is nested by members that follow one another
/// (`a.b.c`), by operators that do (`a + b + c`), and by choices (`a ? b : c ? d : e`); `&&` and `||` are balanced.
#[derive(Default)]
struct Level {
    /// The operand at hand: its members, or what stood in brackets of its own.
    operand: usize,
    /// The deepest of the operands before it, and how many operators join them.
    operands: usize,
    operators: usize,
    /// The deepest of what stood before the last `&&` or `||`.
    terms: usize,
    choices: usize,
    /// The deepest of what stood before the last comma.
    elements: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.elements.max(self.element())
    }

    fn element(&self) -> usize {
        self.choices.saturating_add(self.terms.max(self.term()))
    }

    fn term(&self) -> usize {
        self.operators.saturating_add(self.operands.max(self.operand))
    }

    fn after_operator(&mut self) {
        self.operands = self.operands.max(self.operand);
        self.operand = 0;
        self.operators = self.operators.saturating_add(1);
    }

    fn after_term(&mut self) {
        self.terms = self.terms.max(self.term());
        (self.operand, self.operands, self.operators) = (0, 0, 0);
    }
}

/// Refuses what is too long, too deep, or made of something other than tokens.
///
/// # Errors
/// What is wrong.
pub fn check(source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE {
        return Err(format!("the expression is longer than {MAX_SOURCE} bytes"));
    }
    let mut levels = Vec::new();
    let mut level = Level::default();
    let mut lexer = Lexer::new(source);
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd => return Ok(()),
            TokenKind::TokError => {
                let message = lexer.get_error().map_or("unexpected character", |error| &error.message);
                return Err(format!("at {}: {message}", position(source, token.start)));
            }
            kind => count(kind, &mut level, &mut levels),
        }
        let outer = levels.iter().map(|level| level.element().saturating_add(1));
        let depth = outer.fold(level.depth(), usize::saturating_add);
        if depth > MAX_DEPTH {
            return Err(format!("the expression is nested more than {MAX_DEPTH} deep"));
        }
    }
}

/// Follows one token at a level, which the token may open or close.
fn count(token: TokenKind, level: &mut Level, outer: &mut Vec<Level>) {
    use TokenKind as T;
    match token {
        T::TokLeftBracket | T::TokLeftBrace | T::TokLeftParen => outer.push(mem::take(level)),
        T::TokRightBracket | T::TokRightBrace | T::TokRightParen => {
            if let Some(parent) = outer.pop() {
                let inner = mem::replace(level, parent).depth();
                level.operand = level.operand.max(inner).saturating_add(1);
            }
        }
        T::TokDot => level.operand = level.operand.saturating_add(1),
        T::TokComma => *level = Level { elements: level.depth(), ..Level::default() },
        T::TokLogicalAnd | T::TokLogicalOr => level.after_term(),
        T::TokQuestion => {
            level.after_term();
            level.choices = level.choices.saturating_add(1);
        }
        T::TokMinus
        | T::TokPlus
        | T::TokAsterisk
        | T::TokSlash
        | T::TokPercent
        | T::TokExclamation
        | T::TokEqualEqual
        | T::TokExclamationEqual
        | T::TokLess
        | T::TokLessEqual
        | T::TokGreater
        | T::TokGreaterEqual
        | T::TokIn => level.after_operator(),
        _ => {}
    }
}

/// Line and column, from 1.
fn position(source: &str, offset: usize) -> String {
    let before = source.as_bytes().get(..offset).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count().saturating_add(1);
    format!("{line}:{column}")
}
