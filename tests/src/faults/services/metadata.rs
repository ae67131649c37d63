//! Who says more of a request.

use serde_json::{Value, json};
use sidegate_engine::trace::Stage;

use super::{
    HAS_STATUS_302, HAS_STATUS_500, NO_JSON, NO_OBJECT, REDIRECTS, STATUS_302, STATUS_500, access_token, answers,
    anybody, faulty, http, json_reply, measured, oauth2,
};
use crate::case::ServiceReply;
use crate::faults::Taken::{No, Yes};
use crate::faults::{Answers, Asked, Place, Replies, TIMEOUT, When};

const REGISTRATION: &str = "UMA resource registration";

pub(super) const HTTP: Asked = Asked {
    name: "http",
    title: "`http`",
    stage: Stage::Metadata,
    kind: "METADATA_GENERIC_HTTP",
    when: When::Waiting("metadata server"),
    grpc: false,
    host: "http",
    path: "/",
    timeout: TIMEOUT,
    spec: |place| metadata("http", &json!({ "http": http(&place.faulty) })),
    replies: |_| faulty([("/", json_reply(&json!({ "it": true })))]),
    error: Yes,
    redirect: No(REDIRECTS),
    garbage: No("the answer is broken JSON"),
    content_type: Yes,
};

pub(super) const TOKEN: Asked = Asked {
    name: "token",
    title: "`http`: the token endpoint of `oauth2`",
    stage: Stage::Metadata,
    kind: "METADATA_GENERIC_HTTP",
    when: When::Waiting("token endpoint"),
    grpc: false,
    host: "token",
    path: "/token",
    timeout: TIMEOUT,
    spec: |place| metadata("token", &json!({ "http": { "url": place.sound, "oauth2": oauth2(&place.faulty) } })),
    replies: |_| Replies {
        sound: answers([("/", json_reply(&json!({ "it": true })))]),
        ..faulty([("/token", access_token())])
    },
    error: No(STATUS_500),
    redirect: No(STATUS_302),
    garbage: No("the answer has no access token"),
    content_type: Yes,
};

pub(super) const USER_INFO: Asked = Asked {
    name: "user-info",
    title: "`userInfo`",
    stage: Stage::Metadata,
    kind: "METADATA_USERINFO",
    when: When::Waiting("UserInfo endpoint"),
    grpc: false,
    host: "user-info",
    path: "/info",
    timeout: TIMEOUT,
    spec: |place| {
        let url = format!("{}/info", place.faulty);
        let mut spec = metadata("user-info", &json!({ "userInfo": { "userInfoUrl": url, "timeout": TIMEOUT } }));
        spec["authentication"] =
            json!({ "jane": { "apiKey": { "selector": { "matchLabels": { "group": "friends" } } } } });
        spec
    },
    replies: |_| faulty([("/info", json_reply(&json!({ "it": true })))]),
    error: Yes,
    redirect: No(REDIRECTS),
    garbage: No(NO_OBJECT),
    content_type: Yes,
};

pub(super) const UMA_CONFIGURATION: Asked = Asked {
    name: "uma-configuration",
    title: "`uma`: the configuration of the server",
    when: When::Before {
        what: "UMA configuration",
        metric: "uma",
        reason: "the UMA configuration of `{}` is not available yet",
    },
    path: "/.well-known/uma2-configuration",
    host: "uma-configuration",
    spec: |place| metadata("uma-configuration", &uma(&place.faulty)),
    replies: |place| {
        let configuration = uma_configuration(&place.faulty, &issuer(place), &issuer(place));
        // As often as a server may ask for it, which is once a minute.
        let often = vec![("cache-control".to_owned(), "max-age=0".to_owned())];
        Replies {
            sound: answers_at(
                place,
                [("/token", access_token()), ("/resources", resource_ids()), ("/resources/r1", resource())],
            ),
            ..faulty([("/.well-known/uma2-configuration", ServiceReply { headers: often, ..configuration })])
        }
    },
    error: No(HAS_STATUS_500),
    redirect: No(HAS_STATUS_302),
    garbage: No("the answer is no UMA configuration"),
    ..UMA
};

pub(super) const UMA_TOKEN: Asked = Asked {
    name: "uma-token",
    title: "`uma`: the token endpoint",
    when: When::Waiting("UMA token endpoint"),
    path: "/token",
    host: "uma-token",
    spec: |place| metadata("uma-token", &uma(&issuer(place))),
    replies: |place| Replies {
        sound: answers_at(
            place,
            [
                ("/.well-known/uma2-configuration", uma_configuration(&issuer(place), &place.faulty, &issuer(place))),
                ("/resources", resource_ids()),
                ("/resources/r1", resource()),
            ],
        ),
        ..faulty([("/token", access_token())])
    },
    garbage: No("the answer has no access token"),
    ..UMA
};

pub(super) const UMA_RESOURCES: Asked = Asked {
    name: "uma-resources",
    title: "`uma`: the list of resources",
    path: "/resources",
    host: "uma-resources",
    spec: |place| metadata("uma-resources", &uma(&issuer(place))),
    replies: uma_registration,
    garbage: No("the answer is no list of resource ids"),
    ..UMA
};

pub(super) const UMA_RESOURCE: Asked = Asked {
    name: "uma-resource",
    title: "`uma`: a resource",
    path: "/resources/r1",
    host: "uma-resource",
    spec: |place| metadata("uma-resource", &uma(&issuer(place))),
    replies: uma_registration,
    garbage: No(NO_JSON),
    ..UMA
};

/// What the parts of a UMA server have in common.
const UMA: Asked = Asked {
    name: "",
    title: "",
    stage: Stage::Metadata,
    kind: "METADATA_UMA",
    when: When::Waiting(REGISTRATION),
    grpc: false,
    host: "",
    path: "",
    timeout: TIMEOUT,
    spec: |_| Value::Null,
    replies: |_| Replies { faulty: Answers::new(), sound: Answers::new() },
    error: No(STATUS_500),
    redirect: No(STATUS_302),
    garbage: No(NO_JSON),
    content_type: Yes,
};

fn uma(issuer: &str) -> Value {
    json!({ "uma": { "endpoint": issuer, "credentialsRef": { "name": "client" }, "timeout": TIMEOUT } })
}

/// An issuer of its own at the server that is in no trouble.
fn issuer(place: &Place) -> String {
    format!("{}/{}", place.sound, place.id)
}

fn uma_configuration(issuer: &str, token: &str, resources: &str) -> ServiceReply {
    json_reply(&json!({
        "issuer": issuer,
        "token_endpoint": format!("{token}/token"),
        "resource_registration_endpoint": format!("{resources}/resources"),
    }))
}

/// A server whose registration of resources is in trouble.
fn uma_registration(place: &Place) -> Replies {
    let configuration = uma_configuration(&issuer(place), &issuer(place), &place.faulty);
    Replies {
        sound: answers_at(place, [("/.well-known/uma2-configuration", configuration), ("/token", access_token())]),
        ..faulty([("/resources", resource_ids()), ("/resources/r1", resource())])
    }
}

fn resource_ids() -> ServiceReply {
    json_reply(&json!(["r1"]))
}

fn resource() -> ServiceReply {
    json_reply(&json!({ "id": "r1" }))
}

/// Below the issuer at the server that is in no trouble.
fn answers_at<const N: usize>(place: &Place, answers: [(&str, ServiceReply); N]) -> Answers {
    answers.into_iter().map(|(path, reply)| (format!("/{}{path}", place.id), reply)).collect()
}

/// What is found goes to the upstream.
fn metadata(name: &str, rule: &Value) -> Value {
    let mut spec = anybody();
    spec["metadata"] = json!({ name: measured(rule) });
    let found = json!({ "plain": { "selector": format!("auth.metadata.{name}") } });
    spec["response"] = json!({ "success": { "headers": { "x-it": found } } });
    spec
}
