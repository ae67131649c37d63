//! What is refused before it is parsed, since parsing, compiling, evaluating and dropping an expression all recurse.

use cel::parser::pratt_parser::{Lexer, TokenKind};

/// Longest source in bytes.
pub const MAX_SOURCE: usize = 16 << 10;
/// Deepest nesting: of brackets, and of operators and members that follow one another without a comma, `&&` or `||`.
pub const MAX_DEPTH: usize = 200;

/// How deep an expression goes within one pair of brackets.
#[derive(Default)]
struct Level {
    /// Operators and members since the last comma, `&&` or `||`, which starts a branch of its own.
    chain: usize,
    /// `?`s since the last comma: what follows one is nested in it.
    choices: usize,
}

/// Refuses what is too long, too deep, or made of something other than tokens.
///
/// # Errors
/// What is wrong.
pub fn check(source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE {
        return Err(format!("the expression is longer than {MAX_SOURCE} bytes"));
    }
    let mut levels = vec![Level::default()];
    let mut lexer = Lexer::new(source);
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd => return Ok(()),
            TokenKind::TokError => {
                let message = lexer.get_error().map_or("unexpected character", |error| &error.message);
                return Err(format!("at {}: {message}", position(source, token.start)));
            }
            TokenKind::TokRightBracket | TokenKind::TokRightBrace | TokenKind::TokRightParen if levels.len() > 1 => {
                levels.pop();
            }
            kind => count(kind, &mut levels),
        }
        let depth = levels.iter().map(|level| level.chain.saturating_add(level.choices)).fold(0, usize::saturating_add);
        if depth > MAX_DEPTH {
            return Err(format!("the expression is nested more than {MAX_DEPTH} deep"));
        }
    }
}

fn count(kind: TokenKind, levels: &mut Vec<Level>) {
    use TokenKind as T;
    let Some(level) = levels.last_mut() else { return };
    match kind {
        T::TokComma => *level = Level::default(),
        T::TokLogicalAnd | T::TokLogicalOr => level.chain = 0,
        T::TokQuestion => {
            level.chain = 0;
            level.choices = level.choices.saturating_add(1);
        }
        T::TokLeftBracket | T::TokLeftBrace | T::TokLeftParen => {
            level.chain = level.chain.saturating_add(1);
            levels.push(Level::default());
        }
        T::TokDot
        | T::TokMinus
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
        | T::TokIn => level.chain = level.chain.saturating_add(1),
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
