//! Who is who: Envoy's numbers for plugins, requests and connections.
//!
//! One VM may have several plugins, and two generations of one while requests of the older are still under way.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use sidegate_engine::east_west::Chain;

use crate::http::Stream;
use crate::plugin::Plugin;
use crate::tcp::Connection;

/// Of one VM, which has one thread.
#[derive(Default)]
struct Contexts {
    plugins: ById<Rc<Plugin>>,
    streams: ById<Rc<Stream>>,
    connections: ById<Rc<Connection>>,
}

type ById<T> = HashMap<u32, T, BuildHasherDefault<Spread>>;

/// Spreads numbers that Envoy counts up.
#[derive(Default)]
struct Spread(u32);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        // Hash maps look at the upper bits too.
        u64::from(self.0) << 32 | u64::from(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        // 2^32 divided by the golden ratio: neighbours fall far apart.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9);
    }
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// A context begins.
pub fn create(id: u32, root: u32) {
    CONTEXTS.with_borrow_mut(|contexts| {
        if root == 0 {
            contexts.plugins.insert(id, Rc::new(Plugin::new(id)));
            return;
        }
        let plugin = contexts.plugins.get(&root).map_or_else(nobody, Rc::clone);
        match plugin.chain() {
            Chain::Http => drop(contexts.streams.insert(id, Rc::new(Stream::new(id, &plugin)))),
            Chain::Tcp => drop(contexts.connections.insert(id, Rc::new(Connection::new(&plugin)))),
        }
    });
}

/// A plugin.
pub fn plugin(id: u32) -> Option<Rc<Plugin>> {
    CONTEXTS.with_borrow(|contexts| contexts.plugins.get(&id).cloned())
}

/// A request.
pub fn stream(id: u32) -> Rc<Stream> {
    CONTEXTS.with_borrow_mut(|contexts| {
        Rc::clone(contexts.streams.entry(id).or_insert_with(|| Rc::new(Stream::new(id, &nobody()))))
    })
}

/// A connection.
pub fn connection(id: u32) -> Rc<Connection> {
    CONTEXTS.with_borrow_mut(|contexts| {
        Rc::clone(contexts.connections.entry(id).or_insert_with(|| Rc::new(Connection::new(&nobody()))))
    })
}

/// A context ends.
pub fn end(id: u32) {
    let (stream, plugin) = CONTEXTS.with_borrow_mut(|contexts| {
        contexts.connections.remove(&id);
        (contexts.streams.remove(&id), contexts.plugins.remove(&id))
    });
    if let Some(stream) = stream {
        stream.gone();
    }
    if let Some(plugin) = plugin {
        plugin.end();
    }
}

/// Whose a request is of which nobody told us that, or which is not of the kind that its plugin is for: of a plugin without a
/// policy, which denies.
fn nobody() -> Rc<Plugin> {
    Rc::new(Plugin::new(0))
}
