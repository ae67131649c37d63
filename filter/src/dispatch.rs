//! Sends requests by way of Envoy's clusters.

use std::time::Duration;

use sidegate_engine::{CallError, HttpRequest};

use crate::host::{self, HostError};

/// Sends a request to the first of its clusters that there is; gives the number of the call.
///
/// # Errors
/// Why none took it.
pub fn send(request: &HttpRequest, timeout: Duration) -> Result<u32, CallError> {
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
            // Envoy 1.40 says this, and nothing more, of an open circuit breaker and of a cluster without healthy endpoints.
            // Clients can bring about the one, and by outlier detection the other too.
            Err(HostError::Internal) => {
                let why =
                    format!("cluster `{cluster}` takes no call: no endpoint is healthy, or a circuit breaker is open");
                return Err(CallError::Overrun(why));
            }
            Err(error) => {
                let why = format!("Envoy does not call cluster `{cluster}`: {}", error.name());
                return Err(CallError::Failed(why));
            }
        }
    }
    let tried = clusters.iter().map(|cluster| format!("`{cluster}`")).collect::<Vec<_>>().join(", ");
    Err(CallError::Failed(format!(
        "Envoy has no cluster for {scheme}://{authority}, tried {tried}: \
         define one, or name it for this URL in `upstreams`"
    )))
}
