//! What the filter asks of Envoy: bytes and `Result`s over the raw Proxy-Wasm ABI.
//!
//! The other way, what Envoy asks of the filter, is `exports.rs`.
#![expect(unsafe_code, reason = "the ABI is C functions that take and give pointers")]

use std::cell::Cell;
use std::ptr::null_mut;
use std::time::Duration;

use sidegate_engine::Timestamp;

/// Why Envoy did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostError {
    /// There is no such thing.
    NotFound,
    /// The arguments make no sense now: an unknown cluster, a stream that is gone, headers when their time is over.
    BadArgument,
    /// The value cannot be written as bytes.
    Serialization,
    /// Somebody else was faster.
    CasMismatch,
    /// Envoy could not.
    Internal,
    /// Another status.
    Other(u32),
}

impl HostError {
    /// The error's name, for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::BadArgument => "bad argument",
            Self::Serialization => "serialization failure",
            Self::CasMismatch => "compare-and-swap mismatch",
            Self::Internal => "internal failure",
            Self::Other(_) => "unknown status",
        }
    }
}

/// Severity of a log line; the numbers are the ABI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look at single requests.
    Debug = 1,
    /// For those who try something out.
    Info = 2,
    /// Somebody should look at this some day.
    Warn = 3,
    /// Somebody must act.
    Error = 4,
}

/// Kinds of metrics; the numbers are the ABI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter = 0,
    /// Is set.
    Gauge = 1,
    /// Whole numbers, of which Envoy keeps the distribution.
    Histogram = 2,
}

/// A metric that Envoy knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric(u32);

thread_local! {
    /// The least level of which log lines are written; all until it was seen.
    static LOG_LEVEL: Cell<u32> = const { Cell::new(0) };
}

const REQUEST_HEADERS: u32 = 0;
const CALL_RESPONSE_HEADERS: u32 = 6;
const CALL_RESPONSE_TRAILERS: u32 = 7;
const REQUEST_BODY: u32 = 0;
const CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;
const REQUEST_STREAM: u32 = 0;
const DOWNSTREAM: u32 = 2;
const UPSTREAM: u32 = 3;
/// Envoy derives the gRPC status from the HTTP status.
const NO_GRPC_STATUS: i32 = -1;

/// Writes a log line, if lines of its level are written.
pub fn log(level: Level, message: &str) {
    if logs(level) {
        // SAFETY: the pointer and length are those of a live slice.
        let _: Result<(), HostError> = done(unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) });
    }
}

/// Whether log lines of this level are written, as far as was seen, so that others need not be worded.
#[must_use]
pub fn logs(level: Level) -> bool {
    LOG_LEVEL.get() <= level as u32
}

/// Sees which log lines are written: an operator may change it at any time, and a request shall not pay for asking.
pub fn look_at_log_level() {
    let mut current = 0;
    // SAFETY: `current` outlives the call.
    if done(unsafe { proxy_get_log_level(&raw mut current) }).is_ok() {
        LOG_LEVEL.set(current);
    }
}

/// The time.
///
/// # Errors
/// Envoy has none.
pub fn now() -> Result<Timestamp, HostError> {
    let mut nanos = 0;
    // SAFETY: `nanos` outlives the call.
    done(unsafe { proxy_get_current_time_nanoseconds(&raw mut nanos) })?;
    Ok(Timestamp::from_nanos(nanos))
}

/// Has the root context's tick called this often; never if zero.
///
/// # Errors
/// Envoy would not.
pub fn set_tick_period(period: Duration) -> Result<(), HostError> {
    // SAFETY: plain numbers.
    done(unsafe { proxy_set_tick_period_milliseconds(millis(period)) })
}

/// The plugin's configuration.
///
/// # Errors
/// There is none to be read now.
pub fn plugin_configuration() -> Result<Vec<u8>, HostError> {
    buffer(PLUGIN_CONFIGURATION, usize::MAX)
}

/// The request's headers as the ABI serializes them.
///
/// # Errors
/// Their time is over.
pub fn request_headers() -> Result<Vec<u8>, HostError> {
    header_map(REQUEST_HEADERS)
}

/// The body of the request as far as it has come, cut off after `limit` bytes.
///
/// # Errors
/// There is none.
pub fn request_body(limit: usize) -> Result<Vec<u8>, HostError> {
    buffer(REQUEST_BODY, limit)
}

/// The headers of the reply to a call as the ABI serializes them.
///
/// # Errors
/// There are none, as after some failures.
pub fn call_response_headers() -> Result<Vec<u8>, HostError> {
    header_map(CALL_RESPONSE_HEADERS)
}

/// The trailers of the reply to a call as the ABI serializes them.
///
/// # Errors
/// There are none.
pub fn call_response_trailers() -> Result<Vec<u8>, HostError> {
    header_map(CALL_RESPONSE_TRAILERS)
}

/// The body of the reply to a call, cut off after `limit` bytes.
///
/// # Errors
/// There is none.
pub fn call_response_body(limit: usize) -> Result<Vec<u8>, HostError> {
    buffer(CALL_RESPONSE_BODY, limit)
}

/// Takes a header out of the request.
///
/// # Errors
/// The time of the headers is over.
pub fn remove_request_header(name: &str) -> Result<(), HostError> {
    // SAFETY: the pointer and length are those of a live slice.
    done(unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) })
}

/// Sets a header of the request, in place of all of that name.
///
/// # Errors
/// The time of the headers is over.
pub fn set_request_header(name: &str, value: &[u8]) -> Result<(), HostError> {
    // SAFETY: the pointers and lengths are those of live slices.
    done(unsafe {
        proxy_replace_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Reads a property; `path` is its steps with a zero byte between them.
///
/// # Errors
/// [`HostError::NotFound`] if there is none.
pub fn property(path: &[u8]) -> Result<Vec<u8>, HostError> {
    returned(|data, size| {
        // SAFETY: the pointer and length are those of a live slice; `data` and `size` outlive the call.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }
    })
}

/// Sets a property, which Envoy keeps as filter state under the path with dots, after `wasm.`.
///
/// # Errors
/// Envoy would not.
pub fn set_property(path: &[u8], value: &[u8]) -> Result<(), HostError> {
    // SAFETY: the pointers and lengths are those of live slices.
    done(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// Lets a paused request go on.
///
/// # Errors
/// The stream is gone.
pub fn resume_request() -> Result<(), HostError> {
    // SAFETY: plain numbers.
    done(unsafe { proxy_continue_stream(REQUEST_STREAM) })
}

/// Answers the request; `details` is what `%RESPONSE_CODE_DETAILS%` shows.
///
/// # Errors
/// Envoy would not.
pub fn send_local_response(
    code: u16,
    details: &str,
    headers: &[(String, String)],
    body: &str,
) -> Result<(), HostError> {
    let headers = to_wire(headers);
    // SAFETY: the pointers and lengths are those of live slices.
    done(unsafe {
        proxy_send_local_response(
            u32::from(code),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

/// Closes the connection on both sides; what Envoy has written to the client already still reaches it.
///
/// # Errors
/// It is gone.
pub fn close_connection() -> Result<(), HostError> {
    // SAFETY: plain numbers.
    let [downstream, upstream] = [DOWNSTREAM, UPSTREAM].map(|side| done(unsafe { proxy_close_stream(side) }));
    downstream.and(upstream)
}

/// Ends the request without an answer.
///
/// # Errors
/// The stream is gone.
pub fn reset_request() -> Result<(), HostError> {
    // SAFETY: plain numbers.
    done(unsafe { proxy_close_stream(REQUEST_STREAM) })
}

/// Acts for another context from now on. If that is gone, the one that was acted for stays.
///
/// # Errors
/// [`HostError::BadArgument`] if there is no such context.
pub fn set_effective_context(id: u32) -> Result<(), HostError> {
    // SAFETY: plain numbers.
    done(unsafe { proxy_set_effective_context(id) })
}

/// Reads what the VMs share, and the number that a later write must name to be sure that nobody wrote in between.
///
/// # Errors
/// [`HostError::NotFound`] if nobody wrote it yet.
pub fn shared_data(key: &str) -> Result<(Vec<u8>, u32), HostError> {
    let mut cas = 0;
    let value = returned(|data, size| {
        // SAFETY: the pointer and length are those of a live slice; `data`, `size` and `cas` outlive the call.
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut cas) }
    })?;
    Ok((value, cas))
}

/// Writes what the VMs share; with a number, only if nobody wrote since it was read.
///
/// # Errors
/// [`HostError::CasMismatch`] if somebody did.
pub fn set_shared_data(key: &str, value: &[u8], cas: Option<u32>) -> Result<(), HostError> {
    // SAFETY: the pointers and lengths are those of live slices.
    done(unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas.unwrap_or_default())
    })
}

/// Makes a metric known to Envoy. One that is known keeps its value.
///
/// # Errors
/// Envoy would not.
pub fn define_metric(kind: MetricKind, name: &str) -> Result<Metric, HostError> {
    let mut id = 0;
    // SAFETY: the pointer and length are those of a live slice; `id` outlives the call.
    done(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(Metric(id))
}

/// Adds to a counter.
///
/// # Errors
/// There is no such metric.
pub fn increment_metric(metric: Metric, by: i64) -> Result<(), HostError> {
    // SAFETY: plain numbers.
    done(unsafe { proxy_increment_metric(metric.0, by) })
}

/// Sets a gauge, or adds a number to a histogram.
///
/// # Errors
/// There is no such metric.
pub fn record_metric(metric: Metric, value: u64) -> Result<(), HostError> {
    // SAFETY: plain numbers.
    done(unsafe { proxy_record_metric(metric.0, value) })
}

/// Calls a function that Envoy offers beyond the ABI.
///
/// # Errors
/// [`HostError::NotFound`] if this Envoy has no such function.
pub fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
    returned(|data, size| {
        // SAFETY: the pointers and lengths are those of live slices; `data` and `size` outlive the call.
        unsafe {
            proxy_call_foreign_function(name.as_ptr(), name.len(), arguments.as_ptr(), arguments.len(), data, size)
        }
    })
}

/// Calls a cluster; the reply comes to the context that is called back now, under the number given back.
///
/// # Errors
/// [`HostError::BadArgument`] if there is no such cluster, [`HostError::Internal`] if it has nobody to be called.
pub fn dispatch_http_call(
    cluster: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<u32, HostError> {
    let (headers, trailers) = (to_wire(headers), to_wire::<&str>(&[]));
    let mut token = 0;
    // SAFETY: the pointers and lengths are those of live slices; `token` outlives the call.
    done(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            // Zero would be no timeout at all.
            millis(timeout).max(1),
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// A header map as the ABI serializes it; see `Headers::from_wire` for the form.
fn to_wire<T: AsRef<str>>(headers: &[(T, T)]) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let mut wire = Vec::with_capacity(256);
    wire.extend(number(headers.len()));
    for (name, value) in headers {
        wire.extend(number(name.as_ref().len()));
        wire.extend(number(value.as_ref().len()));
    }
    for (name, value) in headers {
        for text in [name, value] {
            wire.extend(text.as_ref().bytes());
            wire.push(0);
        }
    }
    wire
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn header_map(kind: u32) -> Result<Vec<u8>, HostError> {
    returned(|data, size| {
        // SAFETY: `data` and `size` outlive the call.
        unsafe { proxy_get_header_map_pairs(kind, data, size) }
    })
}

fn buffer(kind: u32, limit: usize) -> Result<Vec<u8>, HostError> {
    returned(|data, size| {
        // SAFETY: `data` and `size` outlive the call.
        unsafe { proxy_get_buffer_bytes(kind, 0, limit, data, size) }
    })
}

/// Runs a call that gives back bytes, and takes them over.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, HostError> {
    let mut data = null_mut();
    let mut size = 0;
    done(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host got this memory from our `proxy_on_memory_allocate`, which makes a boxed slice of exactly
    // `size` bytes, filled it, and gives it to us.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

const fn done(status: u32) -> Result<(), HostError> {
    Err(match status {
        0 => return Ok(()),
        1 => HostError::NotFound,
        2 => HostError::BadArgument,
        3 => HostError::Serialization,
        8 => HostError::CasMismatch,
        10 => HostError::Internal,
        other => HostError::Other(other),
    })
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, message_size: usize) -> u32;
    fn proxy_get_log_level(return_level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(return_time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max_size: usize,
        return_data: *mut *mut u8,
        return_size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(kind: u32, return_data: *mut *mut u8, return_size: *mut usize) -> u32;
    fn proxy_remove_header_map_value(kind: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_replace_header_map_value(
        kind: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, return_data: *mut *mut u8, return_size: *mut usize)
    -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_continue_stream(kind: u32) -> u32;
    fn proxy_close_stream(kind: u32) -> u32;
    fn proxy_send_local_response(
        code: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_set_effective_context(id: u32) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        return_data: *mut *mut u8,
        return_size: *mut usize,
        return_cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, value_size: usize, cas: u32) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        return_token: *mut u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, return_id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        return_data: *mut *mut u8,
        return_size: *mut usize,
    ) -> u32;
}
