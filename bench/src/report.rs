//! What the measurements say: a table, a plot, and the page with both.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::load::Sample;
use crate::mesh::Row;
use crate::scenario::Scenario;

/// Median and quartiles of some numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread {
    median: f64,
    lower: f64,
    upper: f64,
}

/// What the rounds showed of one scenario.
#[derive(Debug, Clone)]
pub struct Measured {
    name: &'static str,
    title: &'static str,
    cpu: Spread,
    rate: Spread,
    p50: Spread,
    p99: Spread,
    /// CPU for each request as a multiple of another scenario's in the same round.
    ratios: BTreeMap<&'static str, Spread>,
    samples: Vec<Sample>,
}

/// What it takes to start Envoy with a module.
#[derive(Debug, Clone)]
pub struct Start {
    /// The module.
    pub title: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Seconds of CPU until Envoy is ready.
    pub cpu: Spread,
    /// Seconds until then.
    pub wall: Spread,
    /// MB of memory then.
    pub memory: Spread,
}

/// The module that holds what every gateway needs.
pub const CORE: &str = "`sidegate-core.wasm`";

/// The module that lets everything pass.
pub const EMPTY: &str = "empty filter";

/// What others are compared with.
const BASES: [(&str, &str); 3] = [("empty", "empty Wasm"), ("native", "native"), ("native-cache", "native, cache")];

impl Spread {
    /// Of some numbers.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        Self { median: at(last / 2), lower: at(last / 4), upper: at(last * 3 / 4) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        write!(f, "{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.lower, self.upper)
    }
}

/// Sums up.
#[must_use]
pub fn measured(scenarios: &[Scenario], samples: &BTreeMap<&str, Vec<Sample>>) -> Vec<Measured> {
    let none = Vec::new();
    let of = |name: &str| samples.get(name).unwrap_or(&none);
    let one = |Scenario { name, title, .. }: &Scenario| {
        let spread = |number: fn(&Sample) -> f64| Spread::of(of(name).iter().map(number));
        let ratio = |base: &str| Spread::of(of(name).iter().zip(of(base)).map(|(sample, base)| sample.cpu / base.cpu));
        Measured {
            name,
            title,
            cpu: spread(|sample| sample.cpu),
            rate: spread(|sample| sample.rate),
            p50: spread(|sample| sample.p50),
            p99: spread(|sample| sample.p99),
            ratios: BASES
                .into_iter()
                .filter(|(base, _)| !of(base).is_empty())
                .map(|(base, _)| (base, ratio(base)))
                .collect(),
            samples: of(name).clone(),
        }
    };
    scenarios.iter().map(one).collect()
}

/// A Markdown table.
#[must_use]
pub fn table(measured: &[Measured]) -> String {
    let mut table = String::from("| | CPU for each request, µs |");
    BASES.iter().for_each(|(_, title)| {
        let _ = write!(table, " to {title} |");
    });
    table.push_str(" requests a second | p50, µs | p99, µs |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for Measured { title, cpu, rate, p50, p99, ratios, .. } in measured {
        let _ = write!(table, "| {title} | {cpu:.1} |");
        for (base, _) in BASES {
            let ratio = ratios.get(base).map(|ratio| format!(" {ratio:.2}")).unwrap_or_default();
            let _ = write!(table, "{ratio} |");
        }
        let _ = writeln!(table, " {rate:.0} | {p50:.0} | {p99:.0} |");
    }
    table
}

/// Writes `docs/performance.svg`, and the tables into `docs/performance.md`.
///
/// # Errors
/// A file cannot be written, or the page has no place for the tables.
pub fn write(measured: &[Measured], accepting: &Spread, direct: bool) -> Result<(), String> {
    write_part("", &results(measured, accepting, direct))?;
    fs::write(docs().join("performance.svg"), plot(measured)).map_err(|error| error.to_string())
}

/// Prints a part of `docs/performance.md`, and writes it there; `name` is what it is called by on the command line, if it can be
/// measured alone.
///
/// # Errors
/// The page cannot be written, or has no place for it.
pub fn write_part(name: &str, results: &str) -> Result<(), String> {
    let page = docs().join("performance.md");
    let text = fs::read_to_string(&page).map_err(|error| format!("{}: {error}", page.display()))?;
    let begin = format!("<!-- written by {} -->", format!("./build.sh bench {name}").trim_end());
    let missing = || format!("performance.md has no `{begin}` with an `{END}`");
    let (head, rest) = text.split_once(&begin).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(END).ok_or_else(missing)?;
    print!("{results}");
    fs::write(&page, format!("{head}{begin}\n\n{}\n{END}{tail}", results.trim())).map_err(|error| error.to_string())
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

const END: &str = "<!-- end -->";

fn results(measured: &[Measured], accepting: &Spread, direct: bool) -> String {
    let upstream = if direct { "Envoy answers by itself" } else { "another Envoy is the upstream" };
    let mut text = format!("Median (lower–upper quartile) of the rounds; {upstream}.\n\n{}", table(measured));
    let _ = write!(text, "\n{}", aims(measured));
    text + &accepted(accepting)
}

/// What Envoy's start costs, by module.
#[must_use]
pub fn starts(starts: &[Start]) -> String {
    let mut text =
        "| Envoy's start with | size, bytes | CPU until ready, s | time until ready, s | memory, MB |\n".to_owned();
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for Start { title, bytes, cpu, wall, memory } in starts {
        let _ = writeln!(text, "| {title} | {bytes} | {cpu:.2} | {wall:.2} | {memory:.0} |");
    }
    let of = |title: &str| starts.iter().find(|start| start.title == title).map(|start| start.cpu);
    if let Some((core, empty)) = of(CORE).zip(of(EMPTY)) {
        let times = core.median / empty.median;
        let reached = if core.median <= 5.0 { "reached" } else { "missed" };
        let _ = writeln!(
            text,
            "\n- Ready within 5 s of CPU with {CORE}: {core:.2}, {times:.1} times what it is with the empty filter: {reached}."
        );
    }
    text
}

/// What is aimed at, and whether it is reached.
#[must_use]
pub fn aims(measured: &[Measured]) -> String {
    let find = |name: &str| measured.iter().find(|measured| measured.name == name);
    let mut text = String::new();
    let mut say = |what: &str, shown: String, reached: bool| {
        let _ = writeln!(text, "- {what}: {shown}: {}.", if reached { "reached" } else { "missed" });
    };
    for (name, letter) in [("api-key", "a"), ("jwt", "b")] {
        if let Some(ratio) = find(name).and_then(|measured| measured.ratios.get("empty")) {
            say(
                &format!("({letter}) within 1.25 times the empty filter's CPU"),
                format!("{ratio:.2}"),
                ratio.median <= 1.25,
            );
        }
    }
    if let Some((jwt, native)) = find("jwt").zip(find("native")) {
        let rates = jwt.samples.iter().zip(&native.samples).map(|(jwt, native)| jwt.rate / native.rate);
        let ratio = Spread::of(rates);
        let [ours, theirs] = [jwt, native].map(|side| Spread::of(side.samples.iter().map(Sample::busy)));
        let shown = format!("{ratio:.2}, with {ours:.2} and {theirs:.2} of a processor in use");
        say("(b) with 1.5 times native's requests a second", shown, ratio.median >= 1.5);
    }
    for (few, many) in [("keys-10", "keys-10000"), ("hosts-10", "hosts-1000")] {
        if let Some((few, many)) = find(few).zip(find(many)) {
            let shown = format!("{:.1} and {:.1} µs", few.cpu, many.cpu);
            say(&format!("{} like {}", many.title, few.title), shown, many.cpu.lower <= few.cpu.upper);
        }
    }
    text
}

/// What the updates of a running Envoy show.
#[must_use]
pub fn accepted(seconds: &Spread) -> String {
    let reached = if seconds.median < 1.0 { "reached" } else { "missed" };
    format!(
        "- 1,000 AuthConfigs accepted in under a second of CPU: {seconds:.3}, by a running Envoy with one worker, of all its VMs \
         together and with all that Envoy does meanwhile: {reached}.\n"
    )
}

/// Policies over identity, between two sidecars.
#[must_use]
pub fn mesh(rows: &[Row]) -> String {
    let mut text = String::from(
        "| Between two sidecars | CPU for each request, µs | more than without | to empty Wasm | p50, µs | memory, MB |\n",
    );
    text.push_str("| --- | --- | --- | --- | --- | --- |\n");
    let base = rows.first().map(|row| row.cpu.median).unwrap_or_default();
    for Row { title, cpu, to_empty, p50, memory } in rows {
        let more = cpu.median - base;
        let _ = writeln!(text, "| {title} | {cpu:.1} | {more:.1} | {to_empty:.2} | {p50:.0} | {memory:.0} |");
    }
    let find = |title: &str| rows.iter().find(|row| row.title == title);
    let mut say = |what: &str, shown: String, reached: bool| {
        let _ = write!(text, "\n- {what}: {shown}: {}.", if reached { "reached" } else { "missed" });
    };
    if let Some((few, many)) = find("Sidegate, 10 identities").zip(find("Sidegate, 100,000 identities")) {
        let shown = format!("{:.1} and {:.1} µs", few.cpu, many.cpu);
        say("100,000 identities like 10", shown, many.cpu.lower <= few.cpu.upper);
    }
    if let Some((native, ours)) = find("native `rbac`, 10,000 principals").zip(find("Sidegate, 10,000 identities")) {
        let [native, ours] = [native, ours].map(|row| row.cpu.median - base);
        let shown = format!("{native:.0} µs to {ours:.1} µs more than without");
        say("At 10,000 a fiftieth of what native `rbac` adds", shown, ours * 50.0 <= native);
    }
    text.push('\n');
    text
}

/// Bars of the CPU for each request, with the spread as a line.
fn plot(measured: &[Measured]) -> String {
    const ROW: f64 = 26.0;
    const LEFT: f64 = 330.0;
    const WIDTH: f64 = 400.0;
    let most = measured.iter().map(|measured| measured.cpu.upper).fold(1.0, f64::max);
    let x = |microseconds: f64| LEFT + microseconds / most * WIDTH;
    let height = ROW * (measured.len() as f64 + 1.0) + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 820 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"820\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">CPU for each request, µs: median and quartiles</text>\n"
    );
    for (index, Measured { name, title, cpu, .. }) in measured.iter().enumerate() {
        let top = ROW * (index as f64 + 1.0);
        let color =
            if ["none", "empty", "native", "native-cache", "lua"].contains(name) { "#b0b7c3" } else { "#2f6fde" };
        let (text, middle) = (top + 16.0, top + 11.0);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"16\" fill=\"{color}\"/>\
             <path d=\"M{:.1} {middle}H{:.1}\" stroke=\"#111\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{:.1}</text>",
            LEFT - 8.0,
            title.replace('`', ""),
            top + 3.0,
            x(cpu.median) - LEFT,
            x(cpu.lower),
            x(cpu.upper),
            x(cpu.upper) + 6.0,
            cpu.median,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
