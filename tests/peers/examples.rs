//! The examples in which Keycloak is, with Keycloak itself in the place of its stand-in.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use sidegate_tests::compose::Service;
use sidegate_tests::envoy::Paths;
use sidegate_tests::scene::{self, Company, StandIns};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

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

/// The examples, with Keycloak at a port.
pub fn start(paths: &Paths, port: u16, import: &Import<'_>) -> Result<Company, String> {
    let keycloak = Keycloak { port, import, imported: Mutex::default() };
    let names = ["keycloak", "roles", "introspection", "login"].map(str::to_owned);
    Company::start(paths, &names, 101, &keycloak)
}
