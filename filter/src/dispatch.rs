//! Sends requests by way of Envoy's clusters.

use std::time::Duration;

use sidegate_engine::HttpRequest;

use crate::host::{self, HostError};

/// Sends a request to the first of its clusters that there is; gives the number of the call.
///
/// # Errors
/// Why none took it.
pub fn send(request: &HttpRequest, timeout: Duration) -> Result<u32, String> {
    let HttpRequest { method, scheme, authority, path, clusters, headers, body, .. } = request;
    let pseudo = [
        (":method", method.as_str()),
        (":scheme", scheme),
        (":authority", authority.as_str()),
        (":path", path.as_str()),
    ];
    let headers: Vec<_> =
        pseudo.into_iter().chain(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect();
    for cluster in clusters {
        match host::dispatch_http_call(cluster, &headers, body, timeout) {
            Ok(token) => return Ok(token),
            Err(HostError::BadArgument) => {}
            Err(HostError::Internal) => return Err(format!("cluster `{cluster}` has no endpoint that takes the call")),
            Err(error) => return Err(format!("Envoy does not call cluster `{cluster}`: {}", error.name())),
        }
    }
    let tried = clusters.iter().map(|cluster| format!("`{cluster}`")).collect::<Vec<_>>().join(", ");
    Err(format!(
        "Envoy has no cluster for {scheme}://{authority}, tried {tried}: \
         define one, or name it for this URL in `upstreams`"
    ))
}
