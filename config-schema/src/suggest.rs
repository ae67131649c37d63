//! What somebody may have meant.

use crate::problem::quote;

/// Words longer than this are not compared.
const LONGEST: usize = 40;

/// `; did you mean …?` if one of the known words is close, else what is known.
pub fn suggestion(word: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|candidate| (distance(word, candidate), candidate)).min();
    match nearest {
        None => "; none is known here".to_owned(),
        Some((distance, candidate)) if distance <= 2.min(candidate.len() / 3) => {
            format!("; did you mean {}?", quote(candidate))
        }
        Some(_) => format!("; known are {}", known.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")),
    }
}

/// Letters to insert, leave out, replace or swap with their neighbour until the words are the same in lower case.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.chars().take(LONGEST + 1).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (letters(a), letters(b));
    if a.len().max(b.len()) > LONGEST {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_gets_the_word_that_was_meant() {
        for word in ["isuerUrl", "issuerURL", "issuerUlr", "issuer_url", "issuersUrl"] {
            assert_eq!(suggestion(word, &["jwksUrl", "issuerUrl"]), "; did you mean `issuerUrl`?", "{word}");
        }
    }

    #[test]
    fn another_word_gets_all_that_are_known() {
        assert_eq!(suggestion("endpoint", &["jwksUrl", "ttl"]), "; known are `jwksUrl`, `ttl`");
        assert_eq!(suggestion("ttx", &["opa"]), "; known are `opa`");
        assert_eq!(suggestion(&"x".repeat(10_000), &["ttl"]), "; known are `ttl`");
        assert_eq!(suggestion("x", &[]), "; none is known here");
    }
}
