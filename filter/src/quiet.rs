//! Lines of the log that every request may cause.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use sidegate_engine::Timestamp;

use crate::host::{self, Level};
use crate::observe::printable;

/// For so long after a line there is none of its kind.
const PAUSE: Duration = Duration::from_secs(10);

/// When each kind of line was written last. A kind is a rule, or a word of ours, so no client can make more of them.
#[derive(Default)]
pub struct Quiet(RefCell<BTreeMap<String, Said>>);

struct Said {
    at: Timestamp,
    left_out: u64,
}

impl Quiet {
    /// Warns, unless it was done a moment ago: then only who reads the debug log is told.
    pub fn warn(&self, kind: &str, line: &str) {
        match host::now().map_or(Some(0), |now| self.left_out(kind, now)) {
            Some(0) => host::log(Level::Warn, &printable(line)),
            Some(more) => host::log(Level::Warn, &printable(&format!("{line} (and {more} more since the last line)"))),
            None if host::logs(Level::Debug) => host::log(Level::Debug, &printable(line)),
            None => {}
        }
    }

    /// Another configuration has other rules.
    pub fn forget(&self) {
        self.0.take();
    }

    /// How many lines were left out before this one; none if it is to be left out as well.
    fn left_out(&self, kind: &str, now: Timestamp) -> Option<u64> {
        let mut kinds = self.0.borrow_mut();
        let Some(said) = kinds.get_mut(kind) else {
            kinds.insert(kind.to_owned(), Said { at: now, left_out: 0 });
            return Some(0);
        };
        // A clock that was set back keeps nobody quiet.
        if (said.at..said.at.after(PAUSE)).contains(&now) {
            said.left_out = said.left_out.saturating_add(1);
            return None;
        }
        Some(std::mem::replace(said, Said { at: now, left_out: 0 }).left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_a_kind_in_ten_seconds() {
        let quiet = Quiet::default();
        let at = |secs| Timestamp::default().after(Duration::from_secs(secs));
        assert_eq!(quiet.left_out("a", at(100)), Some(0));
        assert_eq!(quiet.left_out("b", at(100)), Some(0));
        assert_eq!([101, 102, 109].map(|secs| quiet.left_out("a", at(secs))), [None; 3]);
        assert_eq!(quiet.left_out("a", at(110)), Some(3));
        assert_eq!(quiet.left_out("a", at(111)), None);
        assert_eq!(quiet.left_out("b", at(200)), Some(0));
        assert_eq!(quiet.left_out("a", at(200)), Some(1));
        assert_eq!(quiet.left_out("a", at(50)), Some(0));
    }
}
