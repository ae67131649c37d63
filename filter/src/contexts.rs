//! Who is who: Envoy's numbers for plugins and requests.
//!
//! One VM may have several plugins, and two generations of one while requests of the older are still under way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::http::Stream;
use crate::plugin::Plugin;

/// Of one VM, which has one thread.
#[derive(Default)]
struct Contexts {
    plugins: BTreeMap<u32, Rc<Plugin>>,
    streams: BTreeMap<u32, Rc<Stream>>,
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// A context begins.
pub fn create(id: u32, root: u32) {
    CONTEXTS.with_borrow_mut(|contexts| {
        if root == 0 {
            contexts.plugins.insert(id, Rc::new(Plugin::new(id)));
        } else {
            let plugin = contexts.plugins.get(&root);
            contexts.streams.insert(id, Rc::new(plugin.map_or_else(|| orphan(id), |plugin| Stream::new(id, plugin))));
        }
    });
}

/// A plugin.
pub fn plugin(id: u32) -> Option<Rc<Plugin>> {
    CONTEXTS.with_borrow(|contexts| contexts.plugins.get(&id).cloned())
}

/// A request.
pub fn stream(id: u32) -> Rc<Stream> {
    CONTEXTS.with_borrow_mut(|contexts| Rc::clone(contexts.streams.entry(id).or_insert_with(|| Rc::new(orphan(id)))))
}

/// A context ends.
pub fn end(id: u32) {
    let (stream, plugin) =
        CONTEXTS.with_borrow_mut(|contexts| (contexts.streams.remove(&id), contexts.plugins.remove(&id)));
    if let Some(stream) = stream {
        stream.gone();
    }
    if let Some(plugin) = plugin {
        plugin.end();
    }
}

/// A request of which nobody told us whose it is. It belongs to a plugin without a policy, which denies.
fn orphan(id: u32) -> Stream {
    Stream::new(id, &Rc::new(Plugin::new(0)))
}
