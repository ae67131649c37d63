//! Load by `wrk`: one thread, and so many connections, with requests one after another on each, that it is the Envoy measured that
//! bounds them.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::envoy::Envoy;

/// Where the load is made and answered.
pub const LOAD_PROCESSOR: &str = "0";

/// Where the filters are measured.
pub const MEASURED_PROCESSOR: &str = "1";

/// Enough that the Envoy that is measured is what bounds them, and few enough that what it has to remember of each does not put everything
/// else out of the processor's caches.
const CONNECTIONS: &str = "64";

/// The same where a request may take so long that more of them would not be answered in a second.
const CONNECTIONS_THROUGH: &str = "16";

/// What one run of load showed.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Microseconds of Envoy's CPU for each request.
    pub cpu: f64,
    /// Requests a second.
    pub rate: f64,
    /// Median of the latency, in microseconds.
    pub p50: f64,
    /// The latency that one of a hundred requests exceeds, in microseconds.
    pub p99: f64,
}

impl Sample {
    /// How much of a processor Envoy used.
    #[must_use]
    pub fn busy(&self) -> f64 {
        self.cpu * self.rate / 1e6
    }
}

/// Sends requests for a while.
///
/// # Errors
/// There is no `wrk`, or a request was not answered with 200.
pub fn run(envoy: &Envoy, token: &str, requests: &[(String, String)], time: Duration) -> Result<Sample, String> {
    load(envoy, envoy.address, token, requests, time, CONNECTIONS)
}

/// The same by way of somebody in front of the Envoy that is measured.
///
/// # Errors
/// There is no `wrk`, or a request was not answered with 200.
pub fn run_through(
    envoy: &Envoy,
    front: SocketAddr,
    token: &str,
    requests: &[(String, String)],
    time: Duration,
) -> Result<Sample, String> {
    load(envoy, front, token, requests, time, CONNECTIONS_THROUGH)
}

fn load(
    envoy: &Envoy,
    front: SocketAddr,
    token: &str,
    requests: &[(String, String)],
    time: Duration,
    connections: &str,
) -> Result<Sample, String> {
    let script = envoy.folder().join("load.lua");
    fs::write(&script, lua(token, requests)).map_err(|error| error.to_string())?;
    let before = envoy.cpu();
    let output = Command::new("taskset")
        .args(["--cpu-list", LOAD_PROCESSOR, "wrk"])
        .args(["--threads", "1", "--connections", connections, "--duration"])
        .arg(format!("{}s", time.as_secs().max(1)))
        .arg("--script")
        .arg(&script)
        .arg(format!("http://{front}/hello"))
        .output()
        .map_err(|error| format!("wrk: {error}"))?;
    let cpu = envoy.cpu().saturating_sub(before);
    let report = String::from_utf8_lossy(&output.stdout);
    let result =
        report.lines().find_map(|line| line.strip_prefix("RESULT ")).ok_or_else(|| format!("wrk: {report}"))?;
    let numbers: Vec<f64> = result.split(' ').filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [count, microseconds, 0.0, p50, p99] if count > 0.0 => {
            Ok(Sample { cpu: cpu.as_secs_f64() * 1e6 / count, rate: count * 1e6 / microseconds, p50, p99 })
        }
        _ => Err(format!("requests failed, or there were none: {report}")),
    }
}

fn lua(token: &str, requests: &[(String, String)]) -> String {
    let mut targets = String::new();
    for (host, key) in requests {
        let _ = writeln!(targets, "  {{ '{host}', '{key}' }},");
    }
    format!(
        r#"local targets = {{
{targets}}}
local made = {{}}
local sent = 0

function init()
  for _, target in ipairs(targets) do
    made[#made + 1] = wrk.format("GET", nil, {{
      ["Host"] = target[1], ["x-api-key"] = target[2], ["authorization"] = "Bearer {token}",
      ["user-agent"] = "bench/1.0", ["accept"] = "application/json", ["accept-encoding"] = "gzip, deflate, br",
      ["x-request-id"] = "c0ffee00-0000-4000-8000-000000000000",
    }})
  end
end

function request()
  sent = sent + 1
  return made[sent % #made + 1]
end

function done(summary, latency)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, errors,
    latency:percentile(50), latency:percentile(99)))
end
"#
    )
}
