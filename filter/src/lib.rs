//! The Proxy-Wasm shell around the engine: it hears Envoy's callbacks, asks the engine, and does what it says.

// A panic ends the VM for every stream of a worker, so nothing that may panic is used outside tests.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod answer;
mod calls;
mod contexts;
mod dispatch;
mod documents;
mod drive;
mod exports;
mod follow_up;
mod host;
mod http;
mod metrics;
mod observe;
mod plugin;
mod quiet;
mod rulings;
#[cfg(feature = "wristband")]
mod sign;
mod snapshot;
#[cfg(feature = "explain")]
mod standing;
mod tcp;
mod verify;
mod workload;

/// Where memory comes from, with less code than by libc's `malloc`: docs/decisions/0014.
#[cfg(target_family = "wasm")]
#[global_allocator]
static MEMORY: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

#[cfg(test)]
mod tests;
