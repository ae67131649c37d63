//! Projects of Docker Compose, as far as the examples need it: a field that is not here is an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// `docker-compose.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Containers by name.
    pub services: BTreeMap<String, Service>,
}

/// A container.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its image.
    pub image: String,
    /// Arguments, in place of the image's own.
    #[serde(default)]
    pub command: Vec<String>,
    /// Variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// `./file:/path:ro`.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// `outside:inside`.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Names that it has beside its own.
    #[serde(default)]
    pub networks: BTreeMap<String, Network>,
    /// Who is started before.
    #[serde(default)]
    pub depends_on: BTreeMap<String, Dependency>,
    /// How Docker sees that it is ready.
    pub healthcheck: Option<Value>,
}

/// How a container is in a network.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Names that it has there.
    pub aliases: Vec<String>,
}

/// What is waited for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// `service_started` or `service_healthy`.
    pub condition: String,
}

/// A file of ours in a container.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Where it is.
    pub source: PathBuf,
    /// Where the container finds it.
    pub target: String,
}

impl Project {
    /// Reads that of a folder.
    ///
    /// # Errors
    /// It is missing, or has what is not known here.
    pub fn load(folder: &Path) -> Result<Self, String> {
        let file = folder.join("docker-compose.yaml");
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        yaml_serde::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// The services, those that others depend on first.
    ///
    /// # Errors
    /// They depend on each other in a circle, or on one that is not there.
    pub fn in_order(&self) -> Result<Vec<(&str, &Service)>, String> {
        let mut ordered: Vec<(&str, &Service)> = Vec::new();
        while ordered.len() < self.services.len() {
            let is_started = |name: &str| ordered.iter().any(|(other, _)| *other == name);
            let next = self.services.iter().find(|(name, service)| {
                !is_started(name) && service.depends_on.keys().all(|dependency| is_started(dependency))
            });
            let (name, service) = next.ok_or("services depend on what is never started")?;
            ordered.push((name, service));
        }
        Ok(ordered)
    }
}

impl Service {
    /// Names by which others find it.
    pub fn names<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let aliases = self.networks.values().flat_map(|network| &network.aliases);
        std::iter::once(name).chain(aliases.map(String::as_str))
    }

    /// Its files.
    ///
    /// # Errors
    /// One is not written as `./file:/path:ro`, or is not there.
    pub fn mounts(&self, folder: &Path) -> Result<Vec<Mount>, String> {
        let mount = |volume: &String| match volume.split(':').collect::<Vec<_>>()[..] {
            [source, target, "ro"] if source.starts_with('.') => {
                let source = folder.join(source);
                let found = source.exists().then(|| Mount { source, target: target.to_owned() });
                found.ok_or_else(|| format!("`{volume}`: there is no such file"))
            }
            _ => Err(format!("`{volume}`: a volume is written as `./file:/path:ro`")),
        };
        self.volumes.iter().map(mount).collect()
    }

    /// Its ports, outside and inside.
    ///
    /// # Errors
    /// One is no pair of numbers.
    pub fn published(&self) -> Result<Vec<(u16, u16)>, String> {
        let pair = |text: &String| text.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        self.ports.iter().map(|text| pair(text).ok_or_else(|| format!("`{text}` is no pair of ports"))).collect()
    }
}

/// The file of ours that a container has at this path.
#[must_use]
pub fn mounted(mounts: &[Mount], path: &str) -> Option<PathBuf> {
    mounts.iter().find_map(|Mount { source, target }| match path.strip_prefix(target.as_str())? {
        "" => Some(source.clone()),
        rest => Some(source.join(rest.strip_prefix('/')?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(yaml: &str) -> Result<Project, String> {
        yaml_serde::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        assert!(project("services: {a: {image: b}}").is_ok());
        assert!(project("services: {a: {image: b, prots: ['1:1']}}").is_err_and(|error| error.contains("prots")));
        let service =
            |yaml: &str| project(&format!("services: {{a: {{image: b, {yaml}}}}}")).unwrap().services["a"].clone();
        assert!(service("ports: ['8000']").published().is_err());
        assert!(service("volumes: ['./nothing.here:/a:ro']").mounts(Path::new(".")).is_err());
        assert!(service("volumes: ['./src:/a']").mounts(Path::new(env!("CARGO_MANIFEST_DIR"))).is_err());
    }

    #[test]
    fn services_come_after_those_that_they_depend_on() {
        let dependent = |on: &str| {
            format!(
                "services: {{a: {{image: i, depends_on: {{{on}: {{condition: service_started}}}}}}, b: {{image: i}}}}"
            )
        };
        let names = |on: &str| -> Result<Vec<String>, String> {
            let project = project(&dependent(on))?;
            Ok(project.in_order()?.into_iter().map(|(name, _)| name.to_owned()).collect())
        };
        assert_eq!(names("b"), Ok(vec!["b".to_owned(), "a".to_owned()]));
        assert!(names("a").is_err() && names("c").is_err());
    }

    #[test]
    fn a_path_is_found_by_the_mount_that_it_is_in() {
        let mounts = [Mount { source: PathBuf::from("certs"), target: "/etc/certs".to_owned() }];
        assert_eq!(mounted(&mounts, "/etc/certs/ca.pem"), Some(PathBuf::from("certs/ca.pem")));
        assert_eq!(mounted(&mounts, "/etc/certs-2/ca.pem"), None);
    }
}
