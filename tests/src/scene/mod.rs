//! Plays the scene of an example: its `docker-compose.yaml` without Docker, and the commands of its README.
//!
//! Each service has an address of its own on the loopback interface, and there the ports that it has in its container.

mod shell;
mod stage;

use std::collections::VecDeque;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::compose::{Project, Service};
use crate::envoy::Paths;
use crate::markdown::{self, blocks, commands};
use shell::Shell;
pub use stage::{Stage, StandIns, Theirs, keycloak, plugin_configurations};

/// The command that starts the servers.
const UP: &str = "docker compose up -d --wait";
/// The command that ends them.
const DOWN: &str = "docker compose down";

/// An example in a folder of its own, so that its commands may write there.
#[derive(Debug)]
pub struct Example {
    name: String,
    copy: TempDir,
}

/// A service and its place.
#[derive(Debug)]
struct Place {
    name: String,
    service: Service,
    address: Ipv4Addr,
}

/// An example whose servers are to be started: what comes before that is done.
#[derive(Debug)]
pub struct Scene {
    example: Example,
    places: Vec<Place>,
    shell: Shell,
    commands: VecDeque<markdown::Command>,
}

impl Example {
    /// The names of all.
    #[must_use]
    pub fn all() -> Vec<String> {
        let entries = fs::read_dir(examples()).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.path().join("policy.yaml").is_file());
        let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// A copy of one, with the module if there is one where the examples look for it.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn copy(name: &str, module: Option<&Path>) -> Result<Self, String> {
        let copy = tempfile::Builder::new().prefix("sidegate-example-").tempdir().map_err(text)?;
        copy_folder(&examples(), &copy.path().join("envoy-examples")).map_err(text)?;
        if let Some(module) = module {
            fs::create_dir(copy.path().join("target")).map_err(text)?;
            fs::copy(module, copy.path().join("target/sidegate.wasm")).map_err(text)?;
        }
        Ok(Self { name: name.to_owned(), copy })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.copy.path().join("envoy-examples").join(&self.name)
    }

    /// The commands of its README, in their order.
    ///
    /// # Errors
    /// There is none.
    pub fn commands(&self) -> Result<Vec<markdown::Command>, String> {
        let readme = fs::read_to_string(self.folder().join("README.md")).map_err(text)?;
        let console = blocks(&readme).into_iter().filter(|block| block.info == "console");
        Ok(console.flat_map(|block| commands(&block.text)).collect())
    }

    /// Runs the commands of our command line alone, which need no servers.
    ///
    /// # Errors
    /// One prints something else.
    pub fn run_without_servers(&self) -> Result<(), String> {
        let mut shell = Shell::start(&self.folder(), &[])?;
        let commands = self.commands()?;
        commands.iter().filter(|command| is_ours(&command.text)).try_for_each(|command| shell.expect(command))
    }

    /// Runs all of its commands, with Docker.
    ///
    /// # Errors
    /// One prints something else.
    pub fn run_with_docker(&self) -> Result<(), String> {
        let mut shell = Shell::start(&self.folder(), &[])?;
        let commands = self.commands()?;
        let ran =
            commands.iter().filter(|command| can_run(&command.text)).try_for_each(|command| shell.expect(command));
        let down = markdown::Command { text: DOWN.to_owned(), output: String::new() };
        ran.and(shell.expect(&down))
    }

    /// The same policy in the project that `sidegate render` makes of it: who has no key is kept out, and who has one is not.
    ///
    /// # Errors
    /// It is not so.
    pub fn run_rendered_with_docker(&self) -> Result<(), String> {
        let mut shell = Shell::start(&self.folder(), &[])?;
        let command = |text: &str, output: &str| markdown::Command { text: text.to_owned(), output: output.to_owned() };
        let asks = "curl -w '%{http_code}\\n' -o /dev/null";
        let steps = [
            command("mkdir ../rendered && cp ../../target/sidegate.wasm ../rendered/", ""),
            command("sidegate render -f policy.yaml -o docker-compose >../rendered/docker-compose.yaml", ""),
            command("cd ../rendered", ""),
            command(UP, ""),
            command(&format!("{asks} localhost:8000/hello"), "401\n"),
            command(
                &format!("{asks} -H 'Authorization: APIKEY quiet-otter-7f3a91c0d24e' localhost:8000/hello"),
                "200\n",
            ),
        ];
        let ran = steps.iter().try_for_each(|step| shell.expect(step));
        ran.and(shell.expect(&command(DOWN, "")))
    }

    /// Gives its services their addresses, and runs the commands that come before they are started.
    ///
    /// # Errors
    /// A command fails, or they are never started.
    pub fn begin(self, number: u8) -> Result<Scene, String> {
        let project = Project::load(&self.folder())?;
        let process = u8::try_from(std::process::id() % 100).unwrap_or_default();
        let places: Vec<Place> = (project.in_order()?.into_iter().zip(10..))
            .map(|((name, service), last)| Place {
                name: name.to_owned(),
                service: service.clone(),
                address: Ipv4Addr::new(127, 100 + process, number, last),
            })
            .collect();
        let mut shell = Shell::start(&self.folder(), &published(&places)?)?;
        let mut commands = VecDeque::from(self.commands()?);
        while let Some(command) = commands.pop_front() {
            if command.text == UP {
                return Ok(Scene { example: self, places, shell, commands });
            }
            shell.expect(&command)?;
        }
        Err(format!("there is no `{UP}`"))
    }
}

/// Scenes with their servers, of which each is played once.
pub struct Company {
    scenes: Mutex<Vec<Scene>>,
    /// The servers.
    pub stage: Stage,
}

impl Company {
    /// Starts the servers of examples, whose numbers begin with this one.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn start(paths: &Paths, names: &[String], first: u8, stand_ins: &dyn StandIns) -> Result<Self, String> {
        let begin = |(number, name): (u8, &String)| {
            let begun = Example::copy(name, Some(&paths.wasm)).and_then(|example| example.begin(number));
            begun.map_err(|error| format!("{name}: {error}"))
        };
        let scenes = (first..).zip(names).map(begin).collect::<Result<Vec<Scene>, String>>()?;
        let stage = Stage::start(paths, &scenes, stand_ins)?;
        Ok(Self { scenes: Mutex::new(scenes), stage })
    }

    /// Plays the scene of an example.
    ///
    /// # Errors
    /// It is none of these, or one of its commands prints something else.
    pub fn play(&self, name: &str) -> Result<(), String> {
        let scene = {
            let mut scenes = self.scenes.lock().unwrap_or_else(PoisonError::into_inner);
            let index = scenes.iter().position(|scene| scene.example.name == name).ok_or("it has no scene")?;
            scenes.swap_remove(index)
        };
        scene.run()
    }
}

impl Scene {
    /// Runs the rest of the commands.
    fn run(mut self) -> Result<(), String> {
        let mut asked = 0;
        let rest = self.commands.iter().filter(|command| can_run(&command.text) && command.text != DOWN);
        for command in rest {
            self.shell.expect(command)?;
            asked += 1;
        }
        if asked < 2 { Err(format!("the README asks nothing after `{UP}`")) } else { Ok(()) }
    }
}

/// Ports of `localhost`, and where they lead.
fn published(places: &[Place]) -> Result<Vec<(u16, SocketAddr)>, String> {
    let mut all = Vec::new();
    for Place { service, address, .. } in places {
        let ports = service.published()?.into_iter();
        all.extend(ports.map(|(outside, inside)| (outside, SocketAddr::from((*address, inside)))));
    }
    Ok(all)
}

/// Whether it is our own command line, which needs no servers.
fn is_ours(command: &str) -> bool {
    command.starts_with("sidegate ")
}

fn can_run(command: &str) -> bool {
    !is_ours(command) || programs().join("sidegate").is_file()
}

/// Where cargo puts programs: above the folder of a test.
#[must_use]
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// `envoy-examples`.
#[must_use]
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy-examples")
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
