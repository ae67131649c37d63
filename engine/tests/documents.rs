//! Documents of servers that are no key sets: the same life, other contents.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use sidegate_config::RegoVersion;
use sidegate_engine::remote::{Adopted, DocumentId, Fetch, Fetched, Location, RemoteDocuments, RemoteDocumentsBuilder};
use sidegate_engine::remote::{Source, rego};
use sidegate_engine::url::Upstreams;
use sidegate_engine::{Headers, HttpReply, Timestamp};

const ISSUER: &str = "https://idp.example.com/realms/a";
const FIRST: DocumentId = DocumentId(0);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

fn build(location: Location, ttl: Option<u64>) -> RemoteDocuments {
    let mut builder = RemoteDocumentsBuilder::new(Rc::new(Upstreams::default()));
    let ttl = ttl.map(Duration::from_secs);
    builder.add(Source { location, ttl, timeout: Duration::from_secs(5) }).unwrap();
    let documents = builder.build();
    documents.bind(b"a configuration");
    documents
}

fn uma() -> RemoteDocuments {
    build(Location::Uma(ISSUER.to_owned()), None)
}

fn rego(ttl: Option<u64>) -> RemoteDocuments {
    let url = "https://policies.example.com/v1/policies/a?token=s3cret".to_owned();
    build(
        Location::Rego(rego::Place {
            url,
            credential: None,
            max_bytes: 99,
            version: RegoVersion::V0,
            all_values: false,
        }),
        ttl,
    )
}

fn begin(documents: &RemoteDocuments, now: Timestamp) -> Fetch {
    assert_eq!(documents.due(now), [FIRST]);
    documents.begin(FIRST, now).unwrap()
}

fn answer(status: u16, body: impl ToString) -> Result<HttpReply, String> {
    Ok(HttpReply { status, body: body.to_string().into_bytes(), ..HttpReply::default() })
}

fn load(documents: &RemoteDocuments, body: impl ToString, now: Timestamp) -> Fetched {
    let fetch = begin(documents, now);
    documents.fetched(fetch.id, answer(200, body), now)
}

fn configuration() -> serde_json::Value {
    json!({"issuer": ISSUER, "token_endpoint": "https://idp.example.com/token",
           "resource_registration_endpoint": "https://idp.example.com/resources"})
}

#[test]
fn a_uma_configuration_is_fetched_shared_refreshed_and_kept_on_failure() {
    let mine = uma();
    assert!(mine.uma(FIRST).is_none());
    let fetch = begin(&mine, at(0));
    assert_eq!(fetch.request.path, "/realms/a/.well-known/uma2-configuration");
    assert!(matches!(mine.fetched(fetch.id, answer(503, ""), at(0)), Fetched::Failed(_)));
    assert_eq!(mine.due(at(0)), [], "not again at once");
    assert_eq!(load(&mine, configuration(), at(2)), Fetched::Done);
    let first = mine.uma(FIRST).unwrap();
    assert_eq!(first.token_endpoint.path, "/token");

    let yours = uma();
    assert_eq!(yours.adopt(FIRST, &mine.publication(FIRST).unwrap(), at(3)), Adopted::Newer);
    assert_eq!(yours.uma(FIRST), mine.uma(FIRST));
    assert_eq!(yours.due(at(3)), []);

    assert!(matches!(load(&mine, "<html>", at(300)), Fetched::Failed(_)));
    assert!(Rc::ptr_eq(&first, &mine.uma(FIRST).unwrap()));
    let status = mine.status(FIRST).unwrap();
    assert_eq!((status.what, status.name.as_str(), status.keys), ("UMA configuration", ISSUER, None));
    assert_eq!(status.failure.as_deref(), Some("the answer is no UMA configuration"));
    assert!(mine.key_set(FIRST).is_none() && mine.rego(FIRST).is_none());
}

#[test]
fn a_policy_is_fetched_once_or_as_its_rule_says() {
    let once = rego(None);
    let fetch = begin(&once, at(0));
    assert_eq!((fetch.request.max_response_bytes, fetch.request.headers.len()), (99, 0));
    assert_eq!(once.fetched(fetch.id, answer(200, "allow = true"), at(0)), Fetched::Done);
    assert_eq!(once.rego(FIRST).as_deref(), Some("allow = true"));
    assert_eq!(once.due(at(1_000_000_000)), []);
    let other = rego(None);
    assert_eq!(other.adopt(FIRST, &once.publication(FIRST).unwrap(), at(1)), Adopted::Newer);
    assert_eq!((other.rego(FIRST), other.due(at(1_000_000_000))), (once.rego(FIRST), vec![]));

    let often = rego(Some(10));
    let _ = load(&often, "allow = true", at(0));
    let first = often.rego(FIRST).unwrap();
    assert_eq!(load(&often, "allow = true", at(10)), Fetched::Done);
    assert!(Rc::ptr_eq(&first, &often.rego(FIRST).unwrap()), "the same text is the same policy");
    assert!(matches!(load(&often, "# empty", at(20)), Fetched::Done));
    assert_eq!(often.rego(FIRST).as_deref(), Some("# empty"));
}

#[test]
fn a_policy_may_come_as_json_and_its_url_is_not_told_whole() {
    let documents = rego(None);
    let fetch = begin(&documents, at(0));
    let headers = Headers::from_pairs([("content-type", "application/json")]);
    let body = json!({"result": {"raw": "allow = true"}}).to_string().into_bytes();
    let reply = HttpReply { status: 200, headers, body, ..HttpReply::default() };
    assert_eq!(documents.fetched(fetch.id, Ok(reply), at(0)), Fetched::Done);
    assert_eq!(documents.rego(FIRST).as_deref(), Some("allow = true"));
    assert_eq!(documents.status(FIRST).unwrap().name, "https://policies.example.com/v1/policies/a");
}

#[test]
fn where_user_info_is_goes_with_the_keys() {
    let issuer = || build(Location::Issuer(ISSUER.to_owned()), None);
    let mine = issuer();
    let discovery = json!({"issuer": ISSUER, "jwks_uri": "https://idp.example.com/keys",
                           "userinfo_endpoint": "https://idp.example.com/info"});
    let first = begin(&mine, at(0));
    let Fetched::Next(second) = mine.fetched(first.id, answer(200, discovery), at(0)) else { panic!() };
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    assert_eq!(mine.fetched(second.id, answer(200, keys), at(0)), Fetched::Done);
    let endpoint = |documents: &RemoteDocuments| documents.user_info_endpoint(FIRST).map(|url| url.to_string());
    assert_eq!(endpoint(&mine).as_deref(), Some("https://idp.example.com/info"));
    let yours = issuer();
    assert_eq!(endpoint(&yours), None);
    assert_eq!(yours.adopt(FIRST, &mine.publication(FIRST).unwrap(), at(1)), Adopted::Newer);
    assert_eq!(endpoint(&yours), endpoint(&mine));
}
