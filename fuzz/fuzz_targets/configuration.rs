//! Configurations, as bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidegate_engine::Policy;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problems) = Policy::compile(bytes) {
        assert!(!problems.is_empty(), "a configuration is refused without a reason");
    }
});
