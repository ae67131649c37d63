//! `sidegate explain`: which policy holds, and how one decision comes about.

mod call;
mod decision;
mod diff;
mod options;
mod policy;
mod script;
mod workload;

use sidegate_cases::prepare;
use sidegate_config::{Documents, Workload};
use sidegate_engine::{Headers, Policy, Problem, Request};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Outcome;
use crate::args::{Explain, Files};
use crate::documents::Configuration;
use crate::effective::{self, Effective};
use crate::files;
use crate::validate::{self, auth_configs};

/// What is explained.
struct Subject {
    configuration: Configuration,
    documents: Documents,
    policy: Policy,
}

pub fn run(arguments: &Explain) -> Outcome {
    let Explain { files: Files { files }, host, .. } = arguments;
    if arguments.workload.is_some() {
        call::check(arguments)?;
    }
    let subject = Subject::of(Configuration::of(&files::read(files)?))?;
    let changed = changed(&subject, arguments)?.map(Subject::of).transpose()?;
    check_workload(&subject, changed.as_ref(), arguments)?;
    if let Some(changed) = &changed {
        return diff::explain(&subject, changed, arguments);
    }
    if let Some(workload) = &arguments.workload {
        let known = workload::known([&subject, &subject], workload, arguments)?;
        return workload::explain(&subject, &known, arguments);
    }
    if subject.policy.is_east_west_alone() {
        call::check(arguments)?;
        return workload::explain(&subject, &Workload::default(), arguments);
    }
    if subject.policy.wants_workload() {
        anstream::eprintln!(
            "note: policies over identity decide before: `--workload` shows them, and with `workload` in a `PluginConfig` a request is \
             decided by both"
        );
    }
    if arguments.is_request() {
        let host = host.as_deref().or_else(|| subject.only_host());
        let host = host.ok_or("say by `--host` which host the request is for")?;
        return decision::explain(&subject, host, arguments);
    }
    match host {
        Some(host) => Ok(policy::explain(&subject, Some(host), subject.selected(host), arguments.output)),
        None => Ok(policy::explain(&subject, None, effective::all(&subject.documents), arguments.output)),
    }
}

/// Refuses what cannot be answered without a workload, where none is known: policies over identity keep everybody out until then,
/// which would pass for what they decide.
fn check_workload(subject: &Subject, changed: Option<&Subject>, arguments: &Explain) -> Result<(), String> {
    let Explain { workload, port, from, tcp, .. } = arguments;
    if workload.is_some() {
        return Ok(());
    }
    let wants = subject.policy.wants_workload() || changed.is_some_and(|changed| changed.policy.wants_workload());
    if wants && arguments.is_request() {
        return Err(
            "policies over identity decide of a request before AuthConfigs do: name its workload by `workload` of the \
             PluginConfig, with `namespace`, or say by `--workload` whose are to be shown"
                .to_owned(),
        );
    }
    let is_alone = changed.is_none() && subject.policy.is_east_west_alone();
    let own = subject.documents.settings.workload.as_ref();
    if is_alone && own.is_none_or(|own| own.namespace.is_none()) {
        return Err(
            "the documents have policies over identity alone: say by `--workload` whose are to be shown".to_owned()
        );
    }
    let of_calls = [(port.is_some(), "--port"), (from.is_some(), "--from"), (*tcp, "--tcp")];
    match of_calls.iter().find(|(given, _)| *given && !is_alone) {
        Some((_, name)) => Err(format!("`{name}` is of policies over identity: say by `--workload` whose")),
        None => Ok(()),
    }
}

/// What the documents are compared with, if with anything.
fn changed(subject: &Subject, Explain { diff, add, without, .. }: &Explain) -> Result<Option<Configuration>, String> {
    if !diff.is_empty() {
        return Ok(Some(Configuration::of(&files::read(diff)?)));
    }
    if add.is_empty() && without.is_empty() {
        return Ok(None);
    }
    let fewer = without.iter().try_fold(subject.configuration.clone(), |rest, name| rest.without(name))?;
    fewer.with(Configuration::of(&files::read(add)?)).map(Some)
}

impl Subject {
    fn of(configuration: Configuration) -> Result<Self, String> {
        let documents = validate::whole(&configuration).map_err(|findings| {
            findings.iter().for_each(|finding| anstream::eprintln!("{finding}"));
            "the documents are refused"
        })?;
        let refused = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let policy = Policy::compile(configuration.text().as_bytes()).map_err(refused)?;
        Ok(Self { configuration, documents, policy })
    }

    /// The AuthConfig that a host selects.
    fn selected(&self, host: &str) -> Vec<Effective<'_>> {
        let headers = Headers::from_pairs([(":authority".to_owned(), host.as_bytes().to_vec())]);
        let request = Request { headers, ..Request::default() };
        let id = self.policy.auth_config_for(&request).map(|policy| &*policy.id);
        effective::all(&self.documents).into_iter().filter(|effective| id == Some(&*effective.id())).collect()
    }

    /// The host, if there is but one.
    fn only_host(&self) -> Option<&str> {
        let mut hosts = auth_configs(&self.documents).flat_map(|document| &document.spec.hosts);
        match (hosts.next(), hosts.next()) {
            (Some(host), None) if !host.starts_with('*') => Some(host),
            _ => None,
        }
    }

    /// `file:line` of what an AuthConfig has by a path; of what it imports, where that was written.
    fn place(&self, effective: &Effective<'_>, path: &str) -> String {
        let (document, path) = effective.written(path);
        let (mark, ..) = self.configuration.locate(&document, &path);
        format!("{}:{}", mark.file, mark.line)
    }
}

/// The headers of a request, its token among them; a path that is none is refused, too.
fn headers(Explain { path, headers, token, .. }: &Explain) -> Result<Vec<(String, String)>, String> {
    if path.as_ref().is_some_and(|path| !path.starts_with('/') && path != "*") {
        return Err("`--path` begins with `/`".to_owned());
    }
    let mut pairs = Vec::new();
    for header in headers {
        let (name, value) = header.split_once(':').ok_or("a header is written as `name: value`")?;
        if name.trim().is_empty() {
            return Err(
                "a header is written as `name: value`; `--method`, `--path` and `--host` say the rest".to_owned()
            );
        }
        pairs.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    pairs.extend(token.iter().map(|token| ("authorization".to_owned(), format!("Bearer {}", token.trim()))));
    Ok(pairs)
}

/// Seconds since the epoch: as they are, by RFC 3339, or those of the clock.
fn seconds(now: Option<&str>) -> Result<i64, String> {
    let Some(text) = now else { return Ok(prepare::now()) };
    let parsed = text.parse().ok().or_else(|| Some(OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp()));
    parsed
        .filter(|seconds| *seconds >= 0)
        .ok_or_else(|| format!("`{text}` is no time: write `2026-01-31T12:00:00Z`, or seconds since 1970"))
}
