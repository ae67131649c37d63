//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::report;

/// Checks, renders, explains, tests and migrates Sidegate's documents, by the engine that decides in the proxy
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 110, after_help = EXIT)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT: &str = "\
Examples:
  sidegate validate -f policies/
  sidegate explain -f policies/ --host talker.example.com --path /hello --token \"$TOKEN\" --jwks keys.json
  sidegate test -f policies/ policy-tests/ --coverage
  sidegate render -f policies/ -o envoy --upstream localhost:8080 > envoy.yaml
  sidegate migrate -f policies/ --write

Exit codes:
  0  fine
  1  problems were found, a request was denied, a test failed, somebody's access changes
  2  the command line or a file cannot be read";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell everything that is wrong with documents, and what is legal but dangerous
    #[command(after_help = VALIDATE)]
    Validate(Validate),
    /// Turn documents into what a proxy takes, with the clusters that policies call
    #[command(after_help = RENDER)]
    Render(Box<Render>),
    /// Show which policy holds for a host, or how one request is decided, step by step
    #[command(after_help = EXPLAIN)]
    Explain(Box<Explain>),
    /// Run policy tests: cases with requests, scripted replies, and what is expected
    #[command(after_help = TEST)]
    Test(Test),
    /// Rewrite AuthConfigs of `v1beta1` and `v1beta2` as `v1beta3`, and policies of Istio and Linkerd as ours
    #[command(after_help = MIGRATE)]
    Migrate(Migrate),
    /// Print a script that completes this command line
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

const COMPLETIONS: &str = "\
Examples:
  source <(sidegate completions bash)
  sidegate completions zsh > \"${fpath[1]}/_sidegate\"
  sidegate completions fish > ~/.config/fish/completions/sidegate.fish";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Which documents.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// A file, a folder, or `-` for standard input; YAML or JSON, many documents to a file. May be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Labels of the workload that `--workload` names.
#[derive(Debug, Clone, Args)]
pub struct Labels {
    /// A label of its pod. May be repeated, or have several with commas between
    #[arg(
        long = "label",
        visible_alias = "labels",
        value_name = "NAME=VALUE",
        value_delimiter = ',',
        requires = "workload"
    )]
    pub labels: Vec<String>,
}

const VALIDATE: &str = "\
Examples:
  sidegate validate -f policies/
  kubectl get authconfig,secret -A -o yaml | sidegate validate -f -
  sidegate validate -f policies/ --strict -o sarif > sidegate.sarif";

#[derive(Debug, Args)]
pub struct Validate {
    #[command(flatten)]
    pub files: Files,
    /// Warnings are errors
    #[arg(long)]
    pub strict: bool,
    /// A Secret that is named but not given is a warning, not an error, with `--strict` too
    #[arg(long)]
    pub without_secrets: bool,
    /// How findings are printed
    #[arg(short, long, value_enum, default_value_t = report::Format::Text)]
    pub output: report::Format,
}

const RENDER: &str = "\
Only those Secrets go in that a rule reads, and of them only what it reads; of API keys the
digests. The same input gives the same bytes.

Examples:
  sidegate render -f policies/ -o envoy --upstream localhost:8080 > envoy.yaml
  sidegate render -f policies/ -o wasmplugin --module oci://registry.example.com/sidegate:0.1.0 --selector app=talker
  sidegate render -f policies/ -o docker-compose > docker-compose.yaml
  sidegate render -f policies/ -o plugin-config --workload prod/api --label app=api
  sidegate render -f policies/ -o wasmplugin --module oci://registry.example.com/sidegate:0.1.0 --selector app=db --tcp 3306
  sidegate render -f policies/ -f deployments/ -o wasmplugin --module oci://registry.example.com/sidegate:0.1.0 --split-by-workload
  kubectl get authconfig,secret -l app=talker -o yaml | sidegate render -f - -o plugin-config";

#[derive(Debug, Args)]
pub struct Render {
    #[command(flatten)]
    pub files: Files,
    /// What to make
    #[arg(short, long, value_enum)]
    pub output: Target,
    /// Leave API keys as they are, instead of their digests
    #[arg(long)]
    pub keep_keys: bool,
    /// Where the module is: a path for Envoy, `oci://…`, `https://…` or `file://…` for control planes
    #[arg(long, value_name = "URL")]
    pub module: Option<String>,
    /// SHA-256 of the module or image, in hex
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub sha256: Option<String>,
    /// Name of the manifest
    #[arg(long, default_value = "sidegate", value_parser = name)]
    pub name: String,
    /// Namespace of the manifests. Default: none is written
    #[arg(short, long, value_parser = name)]
    pub namespace: Option<String>,
    /// A label of the pods that it is for. May be repeated
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "target")]
    pub selector: Vec<String>,
    /// What it is for: `Gateway/name`, `HTTPRoute/name`, `Service/name`
    #[arg(long, value_name = "KIND/NAME")]
    pub target: Option<String>,
    /// Only the policies over identity that are about this workload: `NAMESPACE` or `NAMESPACE/NAME` of a Deployment or the like
    /// among the documents, or else of a ServiceAccount
    #[arg(long, value_name = "WORKLOAD")]
    pub workload: Option<String>,
    #[command(flatten)]
    pub labels: Labels,
    /// The same for each workload that the documents have: Pods, Deployments and the like
    #[arg(long, conflicts_with_all = ["workload", "target", "selector"])]
    pub split_by_workload: bool,
    /// Envoy: host and port of what is protected
    #[arg(long, value_name = "HOST:PORT", default_value = "upstream:80")]
    pub upstream: Upstream,
    /// Envoy: the port on which it listens for requests. Default: 8000, or with `--tcp` none
    #[arg(long, value_name = "PORT", value_parser = port())]
    pub listen: Option<u16>,
    /// A port at which connections come that are no HTTP, for policies over identity. May be repeated
    #[arg(long, value_name = "PORT", value_parser = port())]
    pub tcp: Vec<u16>,
    /// Envoy: its certificate. Clients must show one of their own, which says who they are
    #[arg(long, value_name = "FILE", requires = "key_file", requires = "client_ca_file")]
    pub cert_file: Option<String>,
    /// Envoy: the key of its certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<String>,
    /// Envoy: the CAs that clients are believed by
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub client_ca_file: Option<String>,
    /// Envoy: the port of its admin interface, on the loopback interface
    #[arg(long, value_name = "PORT", default_value_t = 9901, value_parser = port())]
    pub admin: u16,
    /// Envoy: the CAs that servers are believed by
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    pub ca_file: String,
    /// The CA that the API server of Kubernetes is believed by
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")]
    pub kubernetes_ca_file: String,
}

/// `HOST:PORT`.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub host: String,
    pub port: u16,
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match parts {
            // Envoy has addresses of IPv6 without brackets.
            Some((host, port)) if !host.is_empty() && port > 0 => {
                let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                if address.is_none() && host.contains(':') {
                    return Err("write an address of IPv6 in brackets, as in `[::1]:8080`".to_owned());
                }
                Ok(Self { host: address.unwrap_or(host).to_owned(), port })
            }
            _ => Err("write host and port, as in `localhost:8080`".to_owned()),
        }
    }
}

fn port() -> impl TypedValueParser<Value = u16> {
    value_parser!(u16).range(1..)
}

fn sha256(text: &str) -> Result<String, String> {
    let digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digest { Ok(text.to_ascii_lowercase()) } else { Err("write 64 hex digits".to_owned()) }
}

/// As Kubernetes has names.
pub fn name(text: &str) -> Result<String, String> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = text.len() <= 253
        && text.chars().all(|c| letter(c) || matches!(c, '-' | '.'))
        && text.starts_with(letter)
        && text.ends_with(letter);
    if fits { Ok(text.to_owned()) } else { Err("a name is of small letters, digits, `-` and `.`".to_owned()) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The configuration of the plugin, as JSON
    PluginConfig,
    /// Istio's WasmPlugin, with ServiceEntry and DestinationRule
    Wasmplugin,
    /// Istio's TrafficExtension (1.30 and later), with the same
    Trafficextension,
    /// A bootstrap configuration of Envoy
    Envoy,
    /// Envoy Gateway's EnvoyExtensionPolicy
    EnvoyExtensionPolicy,
    /// A project with Envoy and an upstream
    DockerCompose,
}

const EXPLAIN: &str = "\
Without a request the policy itself is shown. With one it is decided: exit code 0 if it is allowed,
1 if denied. Nobody is asked anything: what servers would answer is said by `--jwks` and `--replies`.
With `--diff`, `--add` or `--without` it says whose access changes: exit code 0 if nobody's does, 1 if somebody's does or may.

Examples:
  sidegate explain -f policies/ --host talker.example.com
  sidegate explain -f policies/ --host talker.example.com --method POST --path /hello -H 'x-tenant: acme'
  sidegate explain -f policies/ --host talker.example.com --token \"$TOKEN\" --jwks keys.json --now 2026-01-31T12:00:00Z
  sidegate explain -f policies/ --host talker.example.com --token '${token.jane}' --replies replies.yaml -o json
  sidegate explain -f policies/ --workload prod --label app=api --port 8080 --from spiffe://cluster.local/ns/shop/sa/web
  sidegate explain -f policies/ --diff changed/
  sidegate explain -f policies/ --without AuthorizationPolicy/prod/api
  git show main:policy.yaml | sidegate explain -f - --diff policy.yaml --workload prod --label app=api";

#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    pub files: Files,
    /// The host of the request. Default: that of the documents, if there is but one
    #[arg(long)]
    pub host: Option<String>,
    /// Method of the request. Default: GET
    #[arg(long)]
    pub method: Option<String>,
    /// Path of the request, with its query. Default: /
    #[arg(long)]
    pub path: Option<String>,
    /// A header of the request, as `name: value`. May be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// The same as the header `authorization: Bearer TOKEN`. With `--from`, also a token that Envoy has verified
    #[arg(long)]
    pub token: Option<String>,
    /// Body of the request
    #[arg(long)]
    pub body: Option<String>,
    /// What Envoy knows of the connection, as `source.address=10.0.0.1:4711`. May be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
    /// Policies over identity: the workload that is called, as `NAMESPACE` or `NAMESPACE/NAME` of a Deployment or the like among
    /// the documents, or else of a ServiceAccount
    #[arg(long, value_name = "WORKLOAD")]
    pub workload: Option<String>,
    #[command(flatten)]
    pub labels: Labels,
    /// The port that is called
    #[arg(long, value_parser = port())]
    pub port: Option<u16>,
    /// Who calls: a SPIFFE ID, or `nobody` for somebody without an identity
    #[arg(long, value_name = "ID")]
    pub from: Option<String>,
    /// It is a connection, not a request
    #[arg(long)]
    pub tcp: bool,
    /// A second set of documents: say whose access changes from those of `-f` to these. May be repeated
    #[arg(long, value_name = "FILE")]
    pub diff: Vec<PathBuf>,
    /// As `--diff`, with the documents of this file more, or in the place of those of their names. May be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "diff")]
    pub add: Vec<PathBuf>,
    /// As `--diff`, without this document, such as `AuthorizationPolicy/prod/api`. May be repeated
    #[arg(long, value_name = "KIND/NAMESPACE/NAME", conflicts_with = "diff")]
    pub without: Vec<String>,
    /// The time of the request, by RFC 3339 or in seconds since 1970. Default: now
    #[arg(long, value_name = "TIME")]
    pub now: Option<String>,
    /// A JSON Web Key Set, which all issuers and `jwksUrl`s have
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// What servers answer: `services` and `tokens` as cases have them
    #[arg(long, value_name = "FILE")]
    pub replies: Option<PathBuf>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = ExplainFormat::Text)]
    pub output: ExplainFormat,
}

impl Explain {
    /// Whether a request is to be decided.
    pub fn is_request(&self) -> bool {
        let Self { method, path, headers, token, body, attributes, .. } = self;
        let given = [method.is_some(), path.is_some(), token.is_some(), body.is_some()];
        given.contains(&true) || !headers.is_empty() || !attributes.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// For people
    Text,
    /// One object
    Json,
}

const MIGRATE: &str = "\
Of AuthConfigs of `v1beta2` one word changes, and the rest of the text stays as it is. `v1beta1` and
the policies of Istio and Linkerd are written anew, with comments beside what they stood at. What
comes of a policy never lets in more than it did: what cannot be carried over lets nobody in, or the
document stays as it is. That, and what a person must look at, is told on standard error. Linkerd's
default policy, which decides of ports without a Server, is not carried over, and documents of
Linkerd that stay are not read by Sidegate: write `options.eastWest.default: Deny`, or a policy of
tier `Baseline`. A Server's port by name needs all workloads that it selects beside it. Exit code 1
if the outcome is refused.

Examples:
  sidegate migrate -f policies/ --write
  kubectl get authconfig -A -o yaml | sidegate migrate -f - > migrated.yaml
  kubectl get authorizationpolicies.security.istio.io -A -o yaml | sidegate migrate -f - --assume normal-forms
  sidegate migrate -f linkerd/ -f deployments/ > policies.yaml";

#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    pub files: Files,
    /// Write the files, instead of printing
    #[arg(short, long)]
    pub write: bool,
    /// What may be taken for granted of Istio's mesh, so that more can be carried over. May be repeated
    #[arg(long, value_enum, value_name = "WHAT")]
    pub assume: Vec<Assumption>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Assumption {
    /// Servers take spellings of a path (`//a`, `/a`) or a host (`a:80`, `a`) for the same
    NormalForms,
    /// All callers are ServiceAccounts of the workload's own trust domain
    OneTrustDomain,
}

const TEST: &str = "\
A case brings its policy along, or is about the documents that `-f` names. docs/testing.md says how
one is written.

Examples:
  sidegate test tests/cases/jwt/expired.yaml --explain
  sidegate test -f policies/ policy-tests/ --coverage
  sidegate test policy-tests/ -o junit > report.xml";

#[derive(Debug, Args)]
pub struct Test {
    /// Files of cases, or folders of them
    #[arg(required = true, value_name = "CASES")]
    pub cases: Vec<PathBuf>,
    /// Documents that cases without a policy of their own are about
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only cases with this in their name
    #[arg(long, value_name = "PART")]
    pub only: Option<String>,
    /// No cases with this in their name. May be repeated
    #[arg(long, value_name = "PART")]
    pub skip: Vec<String>,
    /// Print the steps of each decision
    #[arg(long)]
    pub explain: bool,
    /// Say which rules no case has reached
    #[arg(long)]
    pub coverage: bool,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = TestFormat::Text)]
    pub output: TestFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestFormat {
    /// One line a case, and what is not as expected
    Text,
    /// JUnit's XML, as CI servers read it
    Junit,
}
