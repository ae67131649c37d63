//! JUnit's XML, as far as CI servers agree on it: a suite for each file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::Ran;

pub fn report(ran: &[Ran]) -> String {
    let mut suites: BTreeMap<&str, Vec<&Ran>> = BTreeMap::new();
    for case in ran {
        suites.entry(file(case)).or_default().push(case);
    }
    let failures = |cases: &[&Ran]| cases.iter().filter(|case| case.failure.is_some()).count();
    let seconds = |cases: &[&Ran]| cases.iter().map(|case| case.took).sum::<Duration>().as_secs_f64();
    let all: Vec<&Ran> = ran.iter().collect();
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let counts = |cases: &[&Ran]| {
        format!(
            "tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{:.3}\"",
            cases.len(),
            failures(cases),
            seconds(cases)
        )
    };
    let _ = writeln!(xml, "<testsuites name=\"sidegate\" {}>", counts(&all));
    for (name, cases) in suites {
        let _ = writeln!(xml, "  <testsuite name=\"{}\" {}>", escaped(name), counts(&cases));
        cases.iter().for_each(|case| xml.push_str(&test_case(name, case)));
        xml.push_str("  </testsuite>\n");
    }
    xml + "</testsuites>\n"
}

fn file(case: &Ran) -> &str {
    case.place.rsplit_once(':').map_or("", |(file, _)| file)
}

fn test_case(file: &str, Ran { id, took, failure, place, .. }: &Ran) -> String {
    let title = id.split_once(": ").map_or(&**id, |(_, title)| title);
    let line = place.rsplit_once(':').map_or("", |(_, line)| line);
    let head = format!(
        "    <testcase name=\"{}\" classname=\"{}\" file=\"{}\" line=\"{line}\" time=\"{:.3}\"",
        escaped(title),
        escaped(file),
        escaped(file),
        took.as_secs_f64()
    );
    match failure {
        None => head + "/>\n",
        Some(text) => {
            let first = text.lines().next().unwrap_or_default();
            format!(
                "{head}>\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                escaped(first),
                escaped(text)
            )
        }
    }
}

/// Text of XML 1.0, which has no control characters.
fn escaped(text: &str) -> String {
    let mut all = String::new();
    for c in text.chars() {
        match c {
            '&' => all.push_str("&amp;"),
            '<' => all.push_str("&lt;"),
            '>' => all.push_str("&gt;"),
            '"' => all.push_str("&quot;"),
            '\n' | '\t' => all.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => all.push('\u{fffd}'),
            c => all.push(c),
        }
    }
    all
}
