//! The demo: `envoy-examples/quickstart` in a real Envoy, and what becomes of six requests.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::case::{Service, ServiceReply, Token};
use crate::client::{self, Response};
use crate::envoy::{Envoy, Paths, config};
use crate::example::Example;
use crate::servers::services::Services;
use crate::servers::upstream::{Saw, Upstream};
use crate::{prepare, token};

const ISSUER: &str = "http://idp.example.com/realms/staff";
const KEY: &str = "quiet-otter-7f3a91c0d24e";
const DOCUMENTED_PORT: u16 = 8000;
/// The key that tokens are signed with.
const SIGNER: &str = "ec-256";

/// One request of the demo.
struct Act {
    title: &'static str,
    credential: Option<String>,
    status: u16,
}

/// Shows the demo; `keep` leaves it running until Ctrl-C. Gives back the statuses.
///
/// # Errors
/// It cannot be shown, or a request came out otherwise than it should.
pub fn run(paths: &Paths, keep: bool, out: &mut dyn Write) -> Result<Vec<u16>, String> {
    let runtime = Runtime::new().map_err(text)?;
    let (upstream, services) = runtime
        .block_on(async { Ok::<_, std::io::Error>((Upstream::start("talker").await?, Services::start().await?)) })
        .map_err(text)?;
    services.add(&issuer()?);
    let port = free_port()?;
    let example = Example::load("quickstart")?;
    let clusters = [("talker", upstream.address), ("idp", services.address)];
    let envoy = Envoy::start(&paths.envoy, 2, |_| Ok(example.bootstrap(&paths.wasm, port, &clusters)))?;
    let stage = Stage { runtime, envoy, port, asked: Cell::new(0), style: Style::new() };
    stage.envoy.wait_for_keys("sidegate", ISSUER)?;
    stage.say(out, &stage.opening())?;
    let mut statuses = Vec::new();
    for act in acts()? {
        let status = stage.play(&act, out)?;
        if status != act.status {
            return Err(format!("{}: the status is {status}, it should be {}", act.title, act.status));
        }
        statuses.push(status);
    }
    if keep {
        stage.say(out, &stage.curls()?)?;
        stage.runtime.block_on(tokio::signal::ctrl_c()).map_err(text)?;
        stage.say(out, "\nstopped\n")?;
    }
    Ok(statuses)
}

struct Stage {
    runtime: Runtime,
    envoy: Envoy,
    port: u16,
    /// How many requests were sent so far.
    asked: Cell<usize>,
    style: Style,
}

impl Stage {
    fn opening(&self) -> String {
        let Style { bold, plain, dim } = self.style;
        format!(
            "\n{bold}Sidegate in Envoy, http://localhost:{}{plain}\n\
             {dim}friends by API key, staff by a token with the role `admin`: envoy-examples/quickstart/policy.yaml{plain}\n\n",
            self.port
        )
    }

    fn play(&self, act: &Act, out: &mut dyn Write) -> Result<u16, String> {
        let response = self.ask("/hello", act.credential.as_deref())?;
        let log = self.nth(self.asked.get(), Self::log)?;
        let steps = self.nth(self.asked.get(), Self::steps)?;
        self.say(out, &self.block(act, &response, &log, &steps))?;
        Ok(response.status)
    }

    fn block(&self, act: &Act, response: &Response, log: &Value, steps: &str) -> String {
        let Style { bold, plain, dim } = self.style;
        let colour = self.style.of(response.status);
        let mut lines = vec![
            format!("{bold}{}{plain}", act.title),
            format!("  {dim}${plain} {}", self.curl(act.credential.as_deref(), true)),
            format!("  {colour}{} {}{plain}", response.status, phrase(response.status)),
        ];
        let field = |name: &str| log[name].as_str().filter(|value| !value.is_empty());
        let auth_config = field("auth_config").unwrap_or("no AuthConfig");
        let asked = |wanted: bool| {
            let asked = steps.split("; ").filter_map(|step| step.strip_prefix("authentication ")?.split_once(": "));
            let names = asked.filter(|(_, outcome)| (*outcome == "ok") == wanted).map(|(name, _)| name);
            names.collect::<Vec<_>>().join(" and ")
        };
        lines.push(match (response.status, field("rule")) {
            (200, _) => {
                format!(
                    "  decided by    {auth_config}, rule {bold}{}{plain}: it knows who asks, and none denies",
                    asked(true)
                )
            }
            (_, Some(rule)) => format!("  decided by    {auth_config}, rule {bold}{rule}{plain}"),
            (_, None) => {
                format!("  decided by    {auth_config}, rules {bold}{}{plain}: none knows who asks", asked(false))
            }
        });
        lines.extend(field("reason").map(|reason| format!("  reason        {reason}")));
        if let Ok(saw) = serde_json::from_slice::<Saw>(&response.body) {
            let told = saw.headers.iter().map(|(name, value)| match name.as_str() {
                "authorization" => format!("{name}: …"),
                _ => format!("{name}: {value}"),
            });
            lines.extend(told.enumerate().map(|(index, header)| {
                let title = if index == 0 { "upstream saw" } else { "" };
                format!("  {title:<12}  {header}")
            }));
        }
        lines.join("\n") + "\n\n"
    }

    fn curl(&self, credential: Option<&str>, short: bool) -> String {
        let url = format!("http://localhost:{}/hello", self.port);
        match credential {
            None => format!("curl -i {url}"),
            Some(text) if short && text.len() > 60 => {
                format!("curl -i -H 'Authorization: {}…' {url}", text.get(..40).unwrap_or_default())
            }
            Some(text) => format!("curl -i -H 'Authorization: {text}' {url}"),
        }
    }

    fn curls(&self) -> Result<String, String> {
        let Style { bold, plain, dim } = self.style;
        let mut lines = vec![format!("{bold}It is yours until Ctrl-C.{plain} The tokens are good for an hour.")];
        for act in acts()? {
            lines.push(format!("\n{dim}# {}{plain}\n{}", act.title, self.curl(act.credential.as_deref(), false)));
        }
        lines.push(format!(
            "\n{dim}# what Envoy counts\n{plain}curl -s http://{}/stats | grep auth_server",
            self.envoy.admin
        ));
        Ok(lines.join("\n") + "\n")
    }

    fn ask(&self, path: &str, credential: Option<&str>) -> Result<Response, String> {
        let mut request = client::Request::new("GET", path, &format!("localhost:{}", self.port));
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        self.asked.set(self.asked.get() + 1);
        let address = ([127, 0, 0, 1], self.port).into();
        self.runtime.block_on(client::send(address, &request.body(None)))
    }

    /// The lines that Envoy has logged of requests.
    fn log(&self) -> Vec<Value> {
        let output = self.envoy.output();
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The steps of each decision, by the filter's debug log.
    fn steps(&self) -> Vec<String> {
        let lines = self.envoy.plugin_log("sidegate", "debug");
        lines.into_iter().filter(|line| line.starts_with("request ")).collect()
    }

    /// What is logged of the `number`-th request.
    fn nth<T>(&self, number: usize, log: impl Fn(&Self) -> Vec<T>) -> Result<T, String> {
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if let Some(line) = log(self).into_iter().nth(number - 1) {
                return Ok(line);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("Envoy logs nothing of a request".to_owned())
    }

    fn say(&self, out: &mut dyn Write, words: &str) -> Result<(), String> {
        out.write_all(words.as_bytes()).and_then(|()| out.flush()).map_err(text)
    }
}

/// Colours, where there are any.
#[derive(Debug, Clone, Copy)]
struct Style {
    bold: &'static str,
    dim: &'static str,
    plain: &'static str,
}

impl Style {
    fn new() -> Self {
        if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            Self { bold: "\x1b[1m", dim: "\x1b[2m", plain: "\x1b[0m" }
        } else {
            Self { bold: "", dim: "", plain: "" }
        }
    }

    const fn of(self, status: u16) -> &'static str {
        match (self.plain.is_empty(), status) {
            (true, _) => "",
            (false, 200) => "\x1b[1;32m",
            (false, _) => "\x1b[1;31m",
        }
    }
}

fn acts() -> Result<Vec<Act>, String> {
    let bearer = |seconds, roles: &[&str]| janes_token(seconds, roles).map(|token| Some(format!("Bearer {token}")));
    Ok(vec![
        Act { title: "no credential", credential: None, status: 401 },
        Act { title: "bad API key", credential: Some("APIKEY let-me-in".to_owned()), status: 401 },
        Act { title: "good API key", credential: Some(format!("APIKEY {KEY}")), status: 200 },
        Act { title: "expired token", credential: bearer(-60, &["admin"])?, status: 401 },
        Act { title: "good token without the role", credential: bearer(3600, &["reader"])?, status: 403 },
        Act { title: "good token with the role", credential: bearer(3600, &["reader", "admin"])?, status: 200 },
    ])
}

fn janes_token(seconds: i64, roles: &[&str]) -> Result<String, String> {
    let now = prepare::now();
    let claims =
        [("iss", json!(ISSUER)), ("sub", json!("jane")), ("roles", json!(roles)), ("exp", json!(now + seconds))];
    let claims = claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    token::sign(&Token { key: Some(SIGNER.to_owned()), claims, ..Token::default() }, now)
}

fn issuer() -> Result<BTreeMap<String, Service>, String> {
    let reply = |json| vec![ServiceReply { json: Some(json), ..ServiceReply::default() }];
    let discovery = json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{ISSUER}/certs"),
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    let replies = BTreeMap::from([
        ("/realms/staff/.well-known/openid-configuration".to_owned(), reply(discovery)),
        ("/realms/staff/certs".to_owned(), reply(token::key_set(&[SIGNER.to_owned()])?)),
    ]);
    Ok([("idp.example.com".to_owned(), Service { replies, ..Service::default() })].into())
}

const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        401 => "Unauthorized",
        403 => "Forbidden",
        503 => "Service Unavailable",
        _ => "",
    }
}

/// The port that the documents name, or another that is free.
fn free_port() -> Result<u16, String> {
    let free = std::net::TcpListener::bind(("127.0.0.1", DOCUMENTED_PORT)).is_ok();
    if free { Ok(DOCUMENTED_PORT) } else { config::free_port() }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
