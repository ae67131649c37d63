//! A host for tests: the functions that Envoy offers, over state that a test can look at.
//!
//! The filter keeps its contexts per thread, and so does this, so that each thread is a VM; VMs of one process may share data.
#![expect(unsafe_code, reason = "the ABI is C functions that take and give pointers")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::slice;
use std::sync::{Arc, Mutex};

pub const CONTINUE: u32 = 0;
pub const PAUSE: u32 = 1;

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const CAS_MISMATCH: u32 = 8;

/// What the VMs of a process share, each value with its number.
pub type Shared = Arc<Mutex<HashMap<String, (Vec<u8>, u32)>>>;

/// Pairs of a header map.
pub type Pairs = Vec<(String, Vec<u8>)>;

#[derive(Default)]
pub struct Host {
    pub configuration: Vec<u8>,
    pub now: u64,
    pub debug: bool,
    pub logs: Vec<(u32, String)>,
    pub metrics: BTreeMap<String, i64>,
    pub shared: Shared,
    pub streams: BTreeMap<u32, Stream>,
    pub tick: u32,
    /// Names of clusters that there are.
    pub clusters: Vec<String>,
    /// Calls made, by token.
    pub calls: Vec<Call>,
    /// Statuses that functions answer instead of doing their work.
    pub refuse: HashMap<&'static str, u32>,
    /// What `verify_signature` answers.
    pub verify: Option<bool>,
    /// What `sign` answers; and what it was asked.
    pub sign: Option<Vec<u8>>,
    pub asked_to_sign: Vec<Vec<u8>>,
    metric_names: Vec<String>,
    answer: Answer,
    /// Root contexts that there are.
    roots: BTreeSet<u32>,
    /// What a root context can read.
    pub root_properties: BTreeMap<String, Vec<u8>>,
    /// The context that is acted for.
    pub effective: u32,
}

/// The answer that can be read now.
#[derive(Default)]
struct Answer {
    headers: Pairs,
    body: Vec<u8>,
    trailers: Pairs,
}

/// A call that was made.
pub struct Call {
    pub cluster: String,
    pub headers: Pairs,
    pub body: Vec<u8>,
    pub timeout: u32,
}

/// A request or a connection, and what was done to it.
#[derive(Default)]
pub struct Stream {
    pub headers: Pairs,
    /// As much of it as has come.
    pub body: Vec<u8>,
    /// Instead of the headers: bytes that may be no header map.
    pub wire: Option<Vec<u8>>,
    pub properties: BTreeMap<String, Vec<u8>>,
    pub replies: Vec<Reply>,
    pub resumed: u32,
    pub reset: bool,
    /// Sides of a connection that were closed.
    pub closed: Vec<u32>,
}

/// A local reply.
pub struct Reply {
    pub code: u32,
    pub details: String,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
    static LAST_ID: Cell<u32> = const { Cell::new(0) };
}

/// Looks at the host of this thread, or changes it.
pub fn host<T>(act: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(act)
}

/// A plugin in the VM of this thread.
pub struct Vm {
    pub root: u32,
}

impl Vm {
    /// Configures a plugin; none if it refuses.
    pub fn start(configuration: &str) -> Option<Self> {
        let vm = Self::unconfigured();
        vm.configure(configuration).then_some(vm)
    }

    /// A plugin whose configuration has not come yet.
    pub fn unconfigured() -> Self {
        host(|host| host.clusters = vec!["idp".to_owned()]);
        let vm = Self { root: new_id() };
        host(|host| host.roots.insert(vm.root));
        unsafe {
            proxy_on_context_create(vm.root, 0);
            assert_eq!(proxy_on_vm_start(vm.root, 0), 1);
        }
        vm
    }

    /// A plugin of which the filter is told nothing.
    pub fn unknown() -> Self {
        Self { root: new_id() }
    }

    pub fn configure(&self, configuration: &str) -> bool {
        host(|host| {
            host.configuration = configuration.as_bytes().to_vec();
            host.effective = self.root;
        });
        unsafe { proxy_on_configure(self.root, configuration.len()) == 1 }
    }

    /// A new request, whose headers come later.
    pub fn open(&self, headers: &[(&str, &str)]) -> u32 {
        let id = self.open_silently(headers);
        unsafe { proxy_on_context_create(id, self.root) }
        id
    }

    /// A new request, of which the filter is told nothing.
    pub fn open_silently(&self, headers: &[(&str, &str)]) -> u32 {
        let id = new_id();
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        host(|host| host.streams.insert(id, Stream { headers, ..Stream::default() }));
        id
    }

    /// The plugin ends, once its requests are gone.
    pub fn end(&self) {
        act_for(self.root);
        assert_eq!(unsafe { proxy_on_done(self.root) }, 1);
        host(|host| host.roots.remove(&self.root));
    }

    /// A new request with its headers.
    pub fn request(&self, headers: &[(&str, &str)]) -> (u32, u32) {
        let stream = self.open(headers);
        (stream, self.headers(stream))
    }

    pub fn headers(&self, stream: u32) -> u32 {
        act_for(stream);
        unsafe { proxy_on_request_headers(stream, 1, 0) }
    }

    /// The headers of a request that has nothing else.
    pub fn headers_alone(&self, stream: u32) -> u32 {
        act_for(stream);
        unsafe { proxy_on_request_headers(stream, 1, 1) }
    }

    /// A piece of the body, which Envoy adds to what came before.
    pub fn piece(&self, id: u32, piece: &str, end: bool) -> u32 {
        act_for(id);
        let size = stream(id, |stream| {
            stream.body.extend(piece.bytes());
            stream.body.len()
        });
        unsafe { proxy_on_request_body(id, size, u32::from(end)) }
    }

    pub fn body(&self, stream: u32, end: bool) -> u32 {
        act_for(stream);
        unsafe { proxy_on_request_body(stream, 10, u32::from(end)) }
    }

    pub fn trailers(&self, stream: u32) -> u32 {
        act_for(stream);
        unsafe { proxy_on_request_trailers(stream, 1) }
    }

    /// The headers of a response.
    pub fn response(&self, stream: u32) -> u32 {
        act_for(stream);
        unsafe { proxy_on_response_headers(stream, 1, 0) }
    }

    /// A new connection, on which nothing was sent.
    pub fn connect(&self, properties: &[(&str, &[u8])]) -> u32 {
        let id = self.open(&[]);
        let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_vec()));
        stream(id, |stream| stream.properties.extend(properties));
        id
    }

    /// Who has opened the connection sends something.
    pub fn downstream(&self, id: u32) -> u32 {
        act_for(id);
        unsafe { proxy_on_downstream_data(id, 3, 0) }
    }

    /// Who was called sends something.
    pub fn upstream(&self, id: u32) -> u32 {
        act_for(id);
        unsafe { proxy_on_upstream_data(id, 3, 0) }
    }

    /// The stream ends, as when its client leaves.
    pub fn close(&self, stream: u32) {
        act_for(stream);
        assert_eq!(unsafe { proxy_on_done(stream) }, 1);
        host(|host| host.streams.remove(&stream));
    }

    /// Some milliseconds pass, and the tick comes.
    pub fn tick(&self, millis: u64) {
        host(|host| host.now += millis * 1_000_000);
        act_for(self.root);
        unsafe { proxy_on_tick(self.root) }
    }

    /// The answer of a server to a call; without a status it is a failure without headers.
    pub fn answer(&self, token: u32, status: Option<u16>, body: &str) {
        let headers = status
            .map(|status| vec![(":status", status.to_string()), ("x-envoy-upstream-service-time", "3".to_owned())]);
        self.answer_with(token, &headers.unwrap_or_default(), body, &[]);
    }

    /// The answer to a call, to the last trailer.
    pub fn answer_with(&self, token: u32, headers: &[(&str, String)], body: &str, trailers: &[(&str, String)]) {
        let pairs = |pairs: &[(&str, String)]| -> Pairs {
            pairs.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
        };
        let count = |pairs: &[(&str, String)]| u32::try_from(pairs.len()).unwrap();
        host(|host| host.answer = Answer { headers: pairs(headers), body: body.into(), trailers: pairs(trailers) });
        act_for(self.root);
        unsafe { proxy_on_http_call_response(self.root, token, count(headers), body.len(), count(trailers)) }
    }
}

/// What was done to a request.
pub fn stream<T>(id: u32, look: impl FnOnce(&mut Stream) -> T) -> T {
    host(|host| look(host.streams.get_mut(&id).expect("the stream is open")))
}

/// A counter; zero if nobody counted.
pub fn metric(name: &str) -> i64 {
    host(|host| host.metrics.get(name).copied().unwrap_or_default())
}

fn new_id() -> u32 {
    LAST_ID.set(LAST_ID.get() + 1);
    LAST_ID.get()
}

fn act_for(context: u32) {
    host(|host| host.effective = context);
}

pub fn to_wire(pairs: &Pairs) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let mut wire = number(pairs.len()).to_vec();
    for (name, value) in pairs {
        wire.extend([number(name.len()), number(value.len())].concat());
    }
    for (name, value) in pairs {
        wire.extend([name.as_bytes(), &[0], value, &[0]].concat());
    }
    wire
}

unsafe fn from_wire(data: *const u8, size: usize) -> Pairs {
    let headers = sidegate_engine::Headers::from_wire(unsafe { bytes(data, size) }.to_vec()).expect("a header map");
    headers.iter().map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec())).collect()
}

unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 { &[] } else { unsafe { slice::from_raw_parts(data, size) } }
}

unsafe fn text(data: *const u8, size: usize) -> String {
    String::from_utf8(unsafe { bytes(data, size) }.to_vec()).expect("text")
}

unsafe fn give(value: &[u8], data: *mut *mut u8, size: *mut usize) -> u32 {
    unsafe {
        if !value.is_empty() {
            *data = proxy_on_memory_allocate(value.len());
            slice::from_raw_parts_mut(*data, value.len()).copy_from_slice(value);
        }
        *size = value.len();
    }
    OK
}

/// Does the work, unless the test wants a refusal.
fn unless_refused(function: &'static str, act: impl FnOnce(&mut Host) -> u32) -> u32 {
    host(|host| match host.refuse.get(function) {
        Some(status) => *status,
        None => act(host),
    })
}

/// Does the work on the stream that is acted for.
fn on_stream(function: &'static str, act: impl FnOnce(&mut Stream) -> u32) -> u32 {
    unless_refused(function, |host| host.streams.get_mut(&host.effective).map_or(BAD_ARGUMENT, act))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_log(level: u32, data: *const u8, size: usize) -> u32 {
    let message = unsafe { text(data, size) };
    host(|host| host.logs.push((level, message)));
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_log_level(level: *mut u32) -> u32 {
    unsafe { *level = if host(|host| host.debug) { 1 } else { 2 } };
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    unless_refused("time", |host| {
        unsafe { *time = host.now }
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    host(|host| host.tick = period);
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_buffer_bytes(
    kind: u32,
    _start: usize,
    max_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    unless_refused("buffer", |host| {
        let buffer = match (kind, host.streams.get(&host.effective)) {
            (7, _) => &host.configuration,
            (4, _) => &host.answer.body,
            (0, Some(stream)) => &stream.body,
            _ => return BAD_ARGUMENT,
        };
        unsafe { give(&buffer[..buffer.len().min(max_size)], data, size) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_pairs(kind: u32, data: *mut *mut u8, size: *mut usize) -> u32 {
    unless_refused("headers", |host| match (kind, host.streams.get(&host.effective)) {
        (0, Some(stream)) => unsafe {
            give(&stream.wire.clone().unwrap_or_else(|| to_wire(&stream.headers)), data, size)
        },
        (6, _) => unsafe { give(&to_wire(&host.answer.headers), data, size) },
        (7, _) => unsafe { give(&to_wire(&host.answer.trailers), data, size) },
        _ => BAD_ARGUMENT,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_remove_header_map_value(_kind: u32, name: *const u8, size: usize) -> u32 {
    on_stream("remove", |stream| {
        let name = unsafe { text(name, size) };
        stream.headers.retain(|(other, _)| *other != name);
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_replace_header_map_value(
    _kind: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    on_stream("replace", |stream| {
        let (name, value) = unsafe { (text(name, name_size), bytes(value, value_size).to_vec()) };
        stream.headers.retain(|(other, _)| *other != name);
        stream.headers.push((name, value));
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let path = unsafe { text(path, path_size) }.replace('\0', ".");
    unless_refused("get_property", |host| {
        let properties = match host.streams.get(&host.effective) {
            Some(stream) => &stream.properties,
            None if host.roots.contains(&host.effective) => &host.root_properties,
            None => return BAD_ARGUMENT,
        };
        properties.get(&path).map_or(NOT_FOUND, |value| unsafe { give(value, data, size) })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32 {
    on_stream("set_property", |stream| {
        let (path, value) = unsafe { (text(path, path_size), bytes(value, value_size)) };
        stream.properties.insert(path.replace('\0', "."), value.to_vec());
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_continue_stream(_kind: u32) -> u32 {
    on_stream("resume", |stream| {
        stream.resumed += 1;
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_close_stream(kind: u32) -> u32 {
    on_stream("close", |stream| {
        match kind {
            0 => stream.reset = true,
            side => stream.closed.push(side),
        }
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_send_local_response(
    code: u32,
    details: *const u8,
    details_size: usize,
    _body: *const u8,
    _body_size: usize,
    headers: *const u8,
    headers_size: usize,
    _grpc_status: i32,
) -> u32 {
    on_stream("reply", |stream| {
        let details = unsafe { text(details, details_size) };
        unsafe { from_wire(headers, headers_size) };
        stream.replies.push(Reply { code, details });
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(id: u32) -> u32 {
    host(|host| {
        if !host.roots.contains(&id) && !host.streams.contains_key(&id) {
            return BAD_ARGUMENT;
        }
        host.effective = id;
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_shared_data(
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    cas: *mut u32,
) -> u32 {
    unless_refused("shared", |host| match host.shared.lock().unwrap().get(&unsafe { text(key, key_size) }) {
        Some((value, number)) => unsafe {
            *cas = *number;
            give(value, data, size)
        },
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_shared_data(
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
    cas: u32,
) -> u32 {
    unless_refused("shared", |host| {
        let (key, value) = unsafe { (text(key, key_size), bytes(value, value_size).to_vec()) };
        let mut shared = host.shared.lock().unwrap();
        let number = shared.values().map(|(_, number)| *number).max().unwrap_or_default() + 1;
        match shared.get(&key) {
            Some((_, current)) if cas != 0 && cas != *current => CAS_MISMATCH,
            _ => {
                shared.insert(key, (value, number));
                OK
            }
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_http_call(
    cluster: *const u8,
    cluster_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    trailers: *const u8,
    trailers_size: usize,
    timeout: u32,
    token: *mut u32,
) -> u32 {
    assert_ne!(timeout, 0, "no timeout at all");
    unless_refused("call", |host| {
        let (cluster, headers) = unsafe { (text(cluster, cluster_size), from_wire(headers, headers_size)) };
        let body = unsafe { bytes(body, body_size) }.to_vec();
        assert_eq!(unsafe { from_wire(trailers, trailers_size) }, []);
        if !host.clusters.contains(&cluster) {
            return BAD_ARGUMENT;
        }
        unsafe { *token = u32::try_from(host.calls.len()).unwrap() };
        host.calls.push(Call { cluster, headers, body, timeout });
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_define_metric(_kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32 {
    host(|host| {
        unsafe { *id = u32::try_from(host.metric_names.len()).unwrap() };
        host.metric_names.push(unsafe { text(name, name_size) });
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, by: i64) -> u32 {
    host(|host| {
        *host.metrics.entry(host.metric_names[id as usize].clone()).or_default() += by;
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, value: u64) -> u32 {
    host(|host| {
        host.metrics.insert(host.metric_names[id as usize].clone(), i64::try_from(value).unwrap());
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_call_foreign_function(
    name: *const u8,
    name_size: usize,
    arguments: *const u8,
    arguments_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    host(|host| match (unsafe { text(name, name_size) }.as_str(), host.verify, &host.sign) {
        ("verify_signature", Some(good), _) => unsafe { give(&[8, u8::from(good)], data, size) },
        ("sign", _, Some(answer)) => {
            host.asked_to_sign.push(unsafe { bytes(arguments, arguments_size) }.to_vec());
            unsafe { give(answer, data, size) }
        }
        _ => NOT_FOUND,
    })
}

unsafe extern "C" {
    fn proxy_on_memory_allocate(size: usize) -> *mut u8;
    fn proxy_on_context_create(id: u32, root: u32);
    fn proxy_on_vm_start(id: u32, size: usize) -> u32;
    fn proxy_on_configure(id: u32, size: usize) -> u32;
    fn proxy_on_tick(id: u32);
    fn proxy_on_request_headers(id: u32, count: u32, end: u32) -> u32;
    fn proxy_on_request_body(id: u32, size: usize, end: u32) -> u32;
    fn proxy_on_request_trailers(id: u32, count: u32) -> u32;
    fn proxy_on_downstream_data(id: u32, size: usize, end_of_stream: u32) -> u32;
    fn proxy_on_upstream_data(id: u32, size: usize, end_of_stream: u32) -> u32;
    fn proxy_on_response_headers(id: u32, count: u32, end: u32) -> u32;
    fn proxy_on_http_call_response(id: u32, token: u32, headers: u32, body: usize, trailers: u32);
    fn proxy_on_done(id: u32) -> u32;
}
