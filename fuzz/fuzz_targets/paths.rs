//! Paths and hosts, as bytes: what is in its one form stays so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidegate_engine::east_west::host;
use sidegate_engine::east_west::path::Reading;

fuzz_target!(|bytes: &[u8]| {
    let reading = Reading::default();
    if let Some(views) = reading.views(bytes) {
        for view in std::iter::once(&views.raw).chain(&views.stripped) {
            assert!(view.starts_with('/') && !view.contains("//") && !view.contains("/../") && !view.ends_with("/.."));
            assert_eq!(reading.views(view.as_bytes()).map(|again| again.raw).as_ref(), Some(view));
        }
        assert!(views.stripped.is_none_or(|stripped| !stripped.contains(';')));
        assert!(views.otherwise.is_none_or(|path| path.starts_with('/') && !path.contains("//") && path != views.raw));
    }
    if let Some(host) = std::str::from_utf8(bytes).ok().and_then(host::bare) {
        assert!(!host.is_empty() && !host.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
});
