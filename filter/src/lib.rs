//! The Proxy-Wasm shell around the engine: it hears Envoy's callbacks, asks the engine, and does what it says.

mod host;
mod http;
mod observe;
mod plugin;
mod root;
mod snapshot;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
}}
