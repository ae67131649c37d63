//! The examples of `envoy-examples/`: `cargo test -p sidegate-tests --test examples -- NAME`.
//!
//! The commands of a README are run in a copy of its folder, one after another. In place of `docker compose` the servers of
//! `docker-compose.yaml` are started here, those of all examples at once: see `tests/src/scene`. With `EXAMPLES_IN_DOCKER` set
//! they are run as they stand there.

use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use sidegate_tests::compose::Project;
use sidegate_tests::envoy::Paths;
use sidegate_tests::scene::{self, Company, Example, Theirs};

mod files;
mod istio;

/// The scenes and their servers; each is taken by its own test.
static COMPANY: OnceLock<Result<Company, String>> = OnceLock::new();
/// Everybody wants port 8000.
static DOCKER: Mutex<()> = Mutex::new(());

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let paths = Paths::from_env();
    let command_line = scene::programs().join("sidegate").is_file();
    let docker = std::env::var_os("EXAMPLES_IN_DOCKER").is_some();
    let mut trials = files::trials();
    trials.extend(istio::trials());
    for name in Example::all() {
        let offline = name.clone();
        let without_envoy = move || Ok(Example::copy(&offline, None)?.run_without_servers()?);
        let title = format!("{name}: the commands that need no Envoy");
        trials.push(Trial::test(title, without_envoy).with_ignored_flag(!command_line));
        let no_image = docker && !images(&name).iter().all(|image| has_image(image));
        let (left_out, paths) = (paths.is_none() || no_image, paths.clone());
        let title = format!("{name}: what its README does, in {}", if docker { "Docker" } else { "Envoy" });
        let play = move || {
            let paths = paths.as_ref().ok_or("there is no Envoy")?;
            if docker { in_docker(&name, paths) } else { in_envoy(&name, paths) }
        };
        trials.push(Trial::test(title, play).with_ignored_flag(left_out));
    }
    if let (true, Some(paths)) = (docker && command_line, paths) {
        let title = "quickstart: what `sidegate render -o docker-compose` makes, in Docker";
        trials.push(Trial::test(title, move || Ok(rendered_project(&paths)?)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // `exit` runs no destructors; what was started by others ends by itself when we do.
    conclusion.exit();
}

fn in_envoy(name: &str, paths: &Paths) -> Result<(), Failed> {
    let company = COMPANY.get_or_init(|| Company::start(paths, &Example::all(), 1, &Theirs));
    Ok(company.as_ref().map_err(Failed::from)?.play(name)?)
}

/// The images of an example.
fn images(name: &str) -> Vec<String> {
    let project = Project::load(&scene::examples().join(name)).unwrap_or_else(|error| panic!("{error}"));
    project.services.into_values().map(|service| service.image).collect()
}

/// Whether an image is here, or can be pulled.
fn has_image(image: &str) -> bool {
    let docker = |arguments: &[&str]| {
        let status = Command::new("docker").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let has = docker(&["image", "inspect", image]) || docker(&["pull", "--quiet", image]);
    if !has {
        println!("left out: what needs the image {image}, which cannot be pulled");
    }
    has
}

fn in_docker(name: &str, paths: &Paths) -> Result<(), Failed> {
    let _one = DOCKER.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Example::copy(name, Some(&paths.wasm))?.run_with_docker()?)
}

/// The project that the command makes of a policy, with the commands that one would give.
fn rendered_project(paths: &Paths) -> Result<(), String> {
    let _one = DOCKER.lock().unwrap_or_else(PoisonError::into_inner);
    Example::copy("quickstart", Some(&paths.wasm))?.run_rendered_with_docker()
}
