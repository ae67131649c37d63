//! `cache`: results of a rule that are kept for a while, so that a server is not asked the same again and again.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lru::LruCache;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sidegate_config::CacheSpec;

use crate::compile::Compiler;
use crate::credentials::Credentials;
use crate::expression::{Dynamic, text};
use crate::request::{Headers, Request};
use crate::time::Timestamp;
use crate::view::{Auth, View};

/// Default of `options.evaluatorCacheSize`.
const BYTES: usize = 1 << 20;

/// What an entry takes beside its value.
const OVERHEAD: usize = 128;

/// Default of `ttl`, and what 0 means.
const TTL: i64 = 60;

/// Digest of what tells one entry from another.
pub type Key = [u8; 32];

/// Results of one rule, in one VM.
#[derive(Debug)]
pub struct Cache {
    key: Dynamic,
    /// None: nothing is kept, as with Authorino if `ttl` is negative.
    ttl: Option<Duration>,
    capacity: usize,
    store: RefCell<Store>,
}

#[derive(Debug)]
struct Store {
    entries: LruCache<Key, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    value: Rc<Value>,
    until: Timestamp,
    bytes: usize,
}

/// How long results are kept; none: they are not.
#[must_use]
pub fn ttl(spec: &CacheSpec) -> Option<Duration> {
    let ttl = if spec.ttl == 0 { TTL } else { spec.ttl };
    u64::try_from(ttl).ok().map(Duration::from_secs)
}

impl Cache {
    /// Compiles.
    pub fn compile(spec: &CacheSpec, compiler: &mut Compiler<'_>) -> Self {
        let CacheSpec { key, ttl: _ } = spec;
        Self {
            key: compiler.at("key", |compiler| Dynamic::compile(key, compiler)),
            ttl: ttl(spec),
            capacity: compiler.options.evaluator_cache_size.unwrap_or(BYTES),
            // Unbounded, since a bounded one takes all of its memory at once.
            store: RefCell::new(Store { entries: LruCache::unbounded(), bytes: 0 }),
        }
    }

    /// Whether two requests that differ in the credential alone have different keys, as those of an identity must. That
    /// the credential is part of each key in any case makes no key that leaves it out a good one: it says that its author
    /// thinks of something else.
    pub fn covers(&self, credentials: &Credentials) -> bool {
        let key = |credential: &str| {
            let pairs = credentials.carry(credential);
            let usual = [(":method", "GET"), (":authority", "host"), (":scheme", "https")];
            let usual = usual.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let headers = Headers::from_pairs(usual.into_iter().chain(pairs));
            let request = Rc::new(Request { headers, ..Request::default() });
            self.key.value(&View { request, time: Timestamp::default(), auth: Rc::new(Auth::default()) })
        };
        match (key("aaaa.bbbb.cccc"), key("dddd.eeee.ffff")) {
            (Ok(one), Ok(other)) => one != other,
            // It needs something that these requests do not have.
            _ => true,
        }
    }

    /// The key for a request; none if there is nothing to be kept. `credential` goes into it.
    #[must_use]
    pub fn key(&self, view: &View, credential: Option<&[u8]>) -> Option<Key> {
        self.ttl?;
        let key = self.key.value(view).ok().filter(|key| !key.is_null())?;
        // As JSON, in which values of different types differ.
        let digest = Sha256::new().chain_update(Sha256::digest(text::to_json(&key)));
        let digest = credential.into_iter().fold(digest, |digest, credential| digest.chain_update(credential));
        Some(digest.finalize().into())
    }

    /// What is kept, if it is not too old.
    #[must_use]
    pub fn recall(&self, key: &Key, now: Timestamp) -> Option<Rc<Value>> {
        let mut store = self.store.borrow_mut();
        let entry = store.entries.get(key)?;
        if now < entry.until {
            return Some(Rc::clone(&entry.value));
        }
        store.forget(key);
        None
    }

    /// Keeps a result; the ones that were not asked for longest make room. Null is never kept.
    pub fn keep(&self, key: Key, value: &Rc<Value>, now: Timestamp) {
        let Some(ttl) = self.ttl.filter(|_| !value.is_null()) else { return };
        let bytes = memory(value).saturating_add(OVERHEAD);
        if bytes > self.capacity {
            return;
        }
        let mut store = self.store.borrow_mut();
        store.forget(&key);
        store.bytes = store.bytes.saturating_add(bytes);
        store.entries.put(key, Entry { value: Rc::clone(value), until: now.after(ttl), bytes });
        while store.bytes > self.capacity {
            let Some((_, oldest)) = store.entries.pop_lru() else { break };
            store.bytes = store.bytes.saturating_sub(oldest.bytes);
        }
    }
}

/// The bytes that a value takes in memory, rather more than less: short JSON can be much there.
fn memory(value: &Value) -> usize {
    let behind = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(memory).fold(0, usize::saturating_add),
        Value::Object(members) if members.is_empty() => 0,
        Value::Object(members) => {
            // A node has room for eleven, and each may be half empty.
            let room = size_of::<(String, Value)>().saturating_mul(members.len().saturating_mul(2).max(11));
            let member = |(name, value): (&String, &Value)| name.len().saturating_add(memory(value));
            members.iter().map(member).fold(room, usize::saturating_add)
        }
    };
    size_of::<Value>().saturating_add(behind)
}

impl Store {
    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.pop(key) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::expression::testing::{compiled, view};

    fn cache(spec: Value) -> Cache {
        let spec = serde_json::from_value(spec).unwrap();
        compiled(json!({}), |compiler| Cache::compile(&spec, compiler)).0
    }

    fn by_path(ttl: i64) -> Cache {
        cache(json!({"key": {"selector": "request.path"}, "ttl": ttl}))
    }

    fn key_of(cache: &Cache, path: &str) -> Option<Key> {
        cache.key(&view(&[(":path", path)], &[], None), None)
    }

    #[test]
    fn what_is_kept_is_there_until_its_time_is_over() {
        let cache = by_path(0);
        let (key, start) = (key_of(&cache, "/a").unwrap(), Timestamp::from_secs(1_000));
        assert_eq!(cache.recall(&key, start), None);
        cache.keep(key, &Rc::new(json!({"a": 1})), start);
        assert_eq!(cache.recall(&key, start.after(Duration::from_secs(59))), Some(Rc::new(json!({"a": 1}))));
        assert_eq!(cache.recall(&key, start.after(Duration::from_secs(60))), None);
        assert_eq!(cache.recall(&key_of(&cache, "/b").unwrap(), start), None);
        assert_eq!(cache.store.borrow().bytes, 0);
    }

    #[test]
    fn nothing_is_kept_under_null_of_null_or_for_less_than_no_time() {
        assert_eq!(key_of(&by_path(-1), "/a"), None);
        assert_eq!(key_of(&cache(json!({"key": {"selector": "request.headers.none"}})), "/a"), None);
        let cache = by_path(10);
        let key = key_of(&cache, "/a").unwrap();
        cache.keep(key, &Rc::new(Value::Null), Timestamp::default());
        assert_eq!(cache.recall(&key, Timestamp::default()), None);
    }

    #[test]
    fn keys_of_different_types_and_credentials_differ() {
        let key = |value: Value| cache(json!({"key": {"value": value}})).key(&view(&[], &[], None), None);
        assert_ne!(key(json!(1)), key(json!("1")));
        let cache = by_path(10);
        let view = view(&[(":path", "/a")], &[], None);
        assert_ne!(cache.key(&view, Some(b"a")), cache.key(&view, Some(b"b")));
    }

    #[test]
    fn what_is_short_as_json_but_large_in_memory_is_not_kept() {
        let cache = by_path(10);
        let key = key_of(&cache, "/a").unwrap();
        for large in [json!(vec![0; BYTES / 16]), json!(vec![json!({"": 0}); BYTES / 128])] {
            assert!(large.to_string().len() < BYTES / 4);
            cache.keep(key, &Rc::new(large), Timestamp::default());
            assert_eq!(cache.recall(&key, Timestamp::default()), None);
        }
    }

    #[test]
    fn it_is_bounded_by_bytes() {
        let cache = by_path(10);
        let now = Timestamp::default();
        let large = Rc::new(json!("x".repeat(BYTES / 4)));
        for index in 0..10 {
            cache.keep(key_of(&cache, &format!("/{index}")).unwrap(), &large, now);
            assert!(cache.store.borrow().bytes <= BYTES);
        }
        assert!(cache.recall(&key_of(&cache, "/9").unwrap(), now).is_some());
        assert!(cache.recall(&key_of(&cache, "/0").unwrap(), now).is_none());
        cache.keep(key_of(&cache, "/huge").unwrap(), &Rc::new(json!("x".repeat(BYTES))), now);
        assert!(cache.recall(&key_of(&cache, "/9").unwrap(), now).is_some(), "what is too large displaces nothing");
    }

    #[test]
    fn a_key_for_identities_depends_on_the_credential() {
        let bearer = Credentials::AuthorizationHeader { prefix: "Bearer".to_owned() };
        let parameter = Credentials::QueryString("key".to_owned());
        for (key, credentials, covers) in [
            (json!({"selector": "request.headers.authorization"}), &bearer, true),
            (json!({"selector": r#"request.headers.authorization.@extract:{"pos":1}"#}), &bearer, true),
            (json!({"selector": r#"request.headers.authorization.@extract:{"pos":0}"#}), &bearer, false),
            (json!({"selector": "request.path"}), &bearer, false),
            (json!({"selector": "request.path"}), &parameter, true),
            (json!({"value": "everyone"}), &bearer, false),
            (json!({"selector": "request.headers.x-token"}), &bearer, false),
        ] {
            assert_eq!(cache(json!({"key": key})).covers(credentials), covers, "{key} {credentials:?}");
        }
    }
}
