//! What happens when a VM ends. Sidegate's own must not, so a module stands in for it that does nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;

use crate::operations::fragment;
use crate::world::World;

/// A scenario with an Envoy of its own.
type Scenario = fn(&Paths);

pub const ALL: &[(&str, Scenario)] = &[("with the recommended settings a VM that ends lets nothing pass", ends)];

/// Ends whenever it is shown a request.
const MODULE: &str = r#"
(module
  (memory (export "memory") 1)
  (func (export "_initialize"))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 1024)
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))
"#;

fn ends(paths: &Paths) {
    let folder = tempfile::tempdir().expect("there is room");
    let wasm = folder.path().join("ends.wasm");
    std::fs::write(&wasm, wat::parse_str(MODULE).expect("the module is well-formed")).expect("it can be written");
    let mut listener = Listener::new("ends", &wasm, "{}");
    let recommended = fragment("failure_policy")["typed_config"]["config"].clone();
    listener.plugin.insert("failure_policy".to_owned(), recommended["failure_policy"].clone());
    let world = World::with(paths, &[listener], &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
    for turn in 0..4 {
        let response = world.get("ends", "/vm/ends", &[]);
        assert_eq!(response.status, 503, "{turn}: {response:?}");
        assert!(!world.upstream.saw("/vm/ends"), "a VM ended, and the request passed");
        std::thread::sleep(Duration::from_millis(1200));
    }
    let reloads = world.envoy.admin.stats("vm_reload_success").expect("Envoy answers");
    assert!(reloads.values().sum::<u64>() > 0, "there was no new VM: {reloads:?}");
}
