//! The header map as the host hands it over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidegate_engine::Headers;

fuzz_target!(|bytes: Vec<u8>| {
    if let Some(headers) = Headers::from_wire(bytes) {
        for (name, _) in headers.iter() {
            let name = String::from_utf8_lossy(name);
            let _ = headers.joined(&name);
        }
    }
});
