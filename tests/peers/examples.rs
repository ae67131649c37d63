//! The examples in which Keycloak is, with Keycloak itself in the place of its stand-in.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use sidegate_tests::compose::Service;
use sidegate_tests::envoy::Paths;
use sidegate_tests::scene::{self, Example, Scene, Stage, StandIns};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The examples, as far as nobody has run them yet.
pub struct Examples {
    scenes: Mutex<Vec<Scene>>,
    _stage: Stage,
}

/// Makes a realm.
type Import<'a> = dyn Fn(&Value) -> Result<(), String> + 'a;

/// Keycloak at its own port, for all of them.
struct Keycloak<'a> {
    port: u16,
    import: &'a Import<'a>,
    imported: Mutex<bool>,
}

impl StandIns for Keycloak<'_> {
    /// Leads to it from where the example has it.
    fn start(
        &self,
        runtime: &Runtime,
        service: &Service,
        folder: &Path,
        address: Ipv4Addr,
    ) -> Result<Box<dyn Any + Send + Sync>, String> {
        let (url, mut realm) = scene::keycloak(service, folder)?;
        let mut imported = self.imported.lock().unwrap_or_else(PoisonError::into_inner);
        if !*imported {
            // As `KC_HOSTNAME` says it of the whole server.
            realm["attributes"]["frontendUrl"] = json!(url);
            (self.import)(&realm)?;
            *imported = true;
        }
        let keycloak = SocketAddr::from(([127, 0, 0, 1], self.port));
        let listener = runtime.block_on(TcpListener::bind((address, 8080))).map_err(|error| error.to_string())?;
        let forwarding = runtime.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(keycloak).await else { return };
                    drop(copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        Ok(Box::new(forwarding))
    }
}

impl Examples {
    pub fn start(paths: &Paths, port: u16, import: &Import<'_>) -> Result<Self, String> {
        let keycloak = Keycloak { port, import, imported: Mutex::default() };
        let names = ["keycloak", "roles", "introspection", "login"];
        let begin = |(number, name): (u8, &str)| Example::copy(name, Some(&paths.wasm))?.begin(number);
        let scenes = (101..).zip(names).map(begin).collect::<Result<Vec<Scene>, String>>()?;
        let stage = Stage::start(paths, &scenes, &keycloak)?;
        Ok(Self { scenes: Mutex::new(scenes), _stage: stage })
    }

    pub fn run(&self, name: &str) {
        let scene = {
            let mut scenes = self.scenes.lock().unwrap_or_else(PoisonError::into_inner);
            let index = scenes.iter().position(|scene| scene.name() == name).expect("it was started");
            scenes.swap_remove(index)
        };
        scene.run().unwrap_or_else(|error| panic!("{error}"));
    }
}
