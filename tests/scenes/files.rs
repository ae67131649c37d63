//! What each example has.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use sidegate_tests::compose::Project;
use sidegate_tests::scene::{self, Example, plugin_configurations};

pub fn trials() -> Vec<Trial> {
    let all = Example::all();
    let compose_is_here = docker_compose(&["version"]).is_ok();
    if !compose_is_here {
        println!("left out: what Docker Compose itself says of the projects; `docker compose` is not here");
    }
    let mut trials = vec![Trial::test("all examples are told of in their list", || listed().map_err(Failed::from))];
    for name in all {
        let folder = scene::examples().join(&name);
        let (compose, by_docker) = (folder.clone(), folder.join("docker-compose.yaml").display().to_string());
        let config = move || Ok(docker_compose(&["-f", &by_docker, "config", "--quiet"])?);
        let title = format!("{name}: docker-compose.yaml, by Docker Compose itself");
        trials.push(Trial::test(title, config).with_ignored_flag(!compose_is_here));
        trials
            .push(Trial::test(format!("{name}: docker-compose.yaml"), move || project(&compose).map_err(Failed::from)));
        trials.push(Trial::test(format!("{name}: Envoy and Istio have the policy that people read"), move || {
            same_policy(&folder).map_err(Failed::from)
        }));
    }
    trials
}

fn docker_compose(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("docker").arg("compose").args(arguments).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The list of the examples, and that of the project.
fn listed() -> Result<(), String> {
    let root = scene::examples().join("..");
    for page in ["README.md", "envoy-examples/README.md"] {
        let text = fs::read_to_string(root.join(page)).map_err(|error| format!("{page}: {error}"))?;
        let link = |name: &String| text.contains(&format!("{name}/README.md)")) || text.contains(&format!("{name})"));
        if let Some(name) = Example::all().iter().find(|name| !link(name)) {
            return Err(format!("{page} has no link to `{name}`"));
        }
    }
    Ok(())
}

/// It has what we rely on: the Envoy that we test with, files that are there, and the ports that the README asks.
fn project(folder: &Path) -> Result<(), String> {
    let project = Project::load(folder)?;
    let build = fs::read_to_string(scene::examples().join("../build.sh")).map_err(|error| error.to_string())?;
    let version = |name: &str| build.lines().find_map(|line| line.strip_prefix(&format!("readonly {name}=")));
    let envoy = format!("envoyproxy/envoy:v{}", version("ENVOY_VERSION").ok_or("build.sh names no Envoy")?);
    let mut ports = Vec::new();
    for (name, service) in project.in_order()? {
        if service.image.starts_with("envoyproxy/") && service.image != envoy {
            return Err(format!("{name}: the image is {}, and we test with {envoy}", service.image));
        }
        ports.extend(service.published()?.into_iter().map(|(outside, _)| outside.to_string()));
    }
    let readme = fs::read_to_string(folder.join("README.md")).map_err(|error| error.to_string())?;
    let asked = readme.split("localhost").skip(1).filter_map(|rest| rest.strip_prefix([':', '/']));
    let asked = asked.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    match asked.filter(|port| !port.is_empty()).find(|port| !ports.contains(port)) {
        Some(port) => Err(format!("the README asks port {port}, which no service has")),
        None => Ok(()),
    }
}

/// A configuration that is written by hand has `policy.yaml` in it. Those that `sidegate render` makes are compared with what
/// it prints by the tests of the command line.
fn same_policy(folder: &Path) -> Result<(), String> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).map_err(|error| format!("{file}: {error}"));
    let parse = |text: &str| yaml_serde::from_str::<Value>(text).map_err(|error| error.to_string());
    let is_made = |text: &str| text.starts_with("# sidegate ");
    let (envoy, istio) = (read("envoy.yaml")?, read("wasmplugin.yaml")?);
    let policy = || parse(&read("policy.yaml")?);
    if !is_made(&envoy) {
        let (policy, configurations) = (policy()?, plugin_configurations(&parse(&envoy)?));
        if configurations.is_empty() || configurations.iter().any(|configuration| *configuration != policy) {
            return Err("the policies in envoy.yaml are not those of policy.yaml".to_owned());
        }
    }
    if !is_made(&istio) && parse(&istio)?["spec"]["pluginConfig"] != policy()? {
        return Err("the policies in wasmplugin.yaml are not those of policy.yaml".to_owned());
    }
    Ok(())
}
