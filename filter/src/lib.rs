//! The Proxy-Wasm shell around the engine.
