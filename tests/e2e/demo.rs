//! What `./build.sh demo` shows.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use sidegate_tests::demo;
use sidegate_tests::envoy::Paths;

/// A scenario with an Envoy of its own.
type Scenario = fn(&Paths);

pub const ALL: &[(&str, Scenario)] = &[("the demo shows what becomes of six requests, and stops", shown_and_kept)];

/// In order: what it is about, and the status.
const ACTS: [(&str, &str); 6] = [
    ("no credential", "401"),
    ("bad API key", "401"),
    ("good API key", "200"),
    ("expired token", "401"),
    ("good token without the role", "403"),
    ("good token with the role", "200"),
];

/// One after the other, since both would like the port that the documents name.
fn shown_and_kept(paths: &Paths) {
    shown(paths);
    kept();
}

fn shown(paths: &Paths) {
    let mut out = Vec::new();
    demo::run(paths, false, &mut out).unwrap_or_else(|error| panic!("{error}"));
    let out = String::from_utf8_lossy(&out);
    let blocks: Vec<&str> = out.split("\n\n").filter(|block| block.contains("$ curl")).collect();
    assert_eq!(blocks.len(), ACTS.len(), "{out}");
    for (block, (title, status)) in blocks.iter().zip(ACTS) {
        let lines: Vec<&str> = block.lines().map(str::trim).collect();
        assert_eq!(lines.first(), Some(&title), "{block}");
        assert!(lines.get(2).is_some_and(|line| line.starts_with(status)), "{block}");
        let says = |words: &str| lines.iter().any(|line| line.contains(words));
        assert!(says("decided by    default/talker-api, rule"), "{block}");
        match status {
            "200" => {
                let rule = if title.contains("key") { "rule friends: it knows" } else { "rule staff: it knows" };
                assert!(says(rule) && says("upstream saw  ") && says("x-user: j"), "{block}");
            }
            "403" => assert!(says("rule admins-only"), "{block}"),
            _ => assert!(says("rules friends and staff: none knows") && says("reason        "), "{block}"),
        }
    }
}

/// With `--keep` the printed commands do what was shown, until Ctrl-C.
fn kept() {
    let mut demo = Demo::start();
    let mut curls = demo.curls();
    assert_eq!(curls.len(), ACTS.len() + 1, "{curls:?}");
    let stats = curls.pop().unwrap_or_default();
    for (curl, (title, status)) in curls.iter().zip(ACTS) {
        assert!(run(curl).starts_with(&format!("HTTP/1.1 {status}")), "{title}: {curl}");
    }
    // They are counted up to a second later.
    let counted = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        run(&stats).contains("auth_server_authconfig_total")
    });
    assert!(counted, "{stats}");
    assert!(demo.interrupt().success());
    assert!(!run(&stats).contains("auth_server"), "Envoy is still there");
}

fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).stderr(Stdio::null()).output().expect("there is a shell");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `./build.sh demo --keep`.
struct Demo(Child);

impl Demo {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
        Self(command.arg("--keep").stdout(Stdio::piped()).spawn().expect("the demo starts"))
    }

    /// The commands that it prints, the last of which asks Envoy what it counts.
    fn curls(&mut self) -> Vec<String> {
        let out = BufReader::new(self.0.stdout.as_mut().expect("it is piped"));
        let mut lines = out.lines().map_while(Result::ok).skip_while(|line| !line.contains("until Ctrl-C"));
        let mut curls = Vec::new();
        while !curls.last().is_some_and(|curl: &String| curl.contains("/stats")) {
            let line = lines.next().expect("it goes on");
            curls.extend(line.starts_with("curl").then_some(line));
        }
        curls
    }

    /// Presses Ctrl-C.
    fn interrupt(&mut self) -> ExitStatus {
        run(&format!("kill -INT {}", self.0.id()));
        for _ in 0..100 {
            if let Some(ended) = self.0.try_wait().expect("it is ours") {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it is ours")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.interrupt();
        }
    }
}
