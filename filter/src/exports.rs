//! What Envoy calls: the callbacks of the Proxy-Wasm ABI 0.2.1, as far as they are for us.
//!
//! A callback that is not here is not called, and costs nothing. `proxy_on_request_headers`, `_body` and `_trailers` must
//! be here: Envoy lets pass what nobody stops. So must `proxy_on_response_headers`: it withholds the answer to a request
//! that was never shown to us, as when a capability restriction leaves a callback out. Of connections,
//! `proxy_on_new_connection` is not here: who calls is not known before the handshake is over.
#![expect(unsafe_code, reason = "the ABI is C functions under their plain names")]

use crate::answer::Announced;
use crate::contexts;
use crate::http::Action;
use crate::plugin::Plugin;

/// The version of the ABI; it only has to be there.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Called before everything else.
#[cfg(target_os = "wasi")]
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker makes it, and Envoy calls us once. That it is called here keeps the linker from calling it in
    // every callback.
    unsafe { __wasm_call_ctors() };
}

/// Memory for what Envoy gives us; `host::returned` takes it over. Null if there is none.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut bytes: Vec<u8> = Vec::new();
    if bytes.try_reserve_exact(size).is_err() {
        return std::ptr::null_mut();
    }
    bytes.resize(size, 0);
    Box::into_raw(bytes.into_boxed_slice()).cast()
}

/// A context begins: of a plugin if it has no root, else of a request or of a connection.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, root: u32) {
    contexts::create(id, root);
}

/// The VM runs; plugins are told one by one, and each has its configuration yet to come.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, _configuration_size: usize) -> u32 {
    u32::from(true)
}

/// The plugin's configuration is there to be read.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, _configuration_size: usize) -> u32 {
    u32::from(contexts::plugin(root).is_some_and(|plugin| plugin.read_configuration()))
}

/// The time asked for has passed.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    with_plugin(root, Plugin::tick);
}

/// The answer to a call.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(root: u32, token: u32, headers: u32, body_size: usize, trailers: u32) {
    let announced = Announced { headers, body: body_size, trailers };
    with_plugin(root, |plugin| plugin.answered(token, announced));
}

/// The head of a request.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _headers: u32, end_of_stream: u32) -> Action {
    contexts::stream(id).headers(end_of_stream != 0)
}

/// Some of the body of a request.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, end_of_stream: u32) -> Action {
    contexts::stream(id).body(size, end_of_stream != 0)
}

/// The end of a request that has trailers.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _trailers: u32) -> Action {
    contexts::stream(id).trailers()
}

/// The head of a response.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _headers: u32, _end_of_stream: u32) -> Action {
    contexts::stream(id).response_headers()
}

/// Bytes of who has opened the connection, or their end. Only of a connection, as the next one.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_downstream_data(id: u32, _size: usize, _end_of_stream: u32) -> Action {
    contexts::connection(id).downstream_data()
}

/// Bytes of who was called, or their end.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_upstream_data(id: u32, _size: usize, _end_of_stream: u32) -> Action {
    contexts::connection(id).upstream_data()
}

/// A context ends; nothing of it is needed any more.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(id: u32) -> u32 {
    contexts::end(id);
    u32::from(true)
}

fn with_plugin(root: u32, act: impl FnOnce(&Plugin)) {
    if let Some(plugin) = contexts::plugin(root) {
        act(&plugin);
    }
}
