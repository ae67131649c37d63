//! Who is told of decisions.

use serde_json::{Value, json};
use sidegate_engine::trace::Stage;

use super::{
    REDIRECTS, STATUS_302, STATUS_500, access_token, answers, anybody, faulty, http, json_reply, measured, oauth2,
};
use crate::faults::Taken::{No, Yes};
use crate::faults::{Asked, Replies, TIMEOUT, When};

pub(super) const CALLBACK: Asked = Asked {
    name: "callback",
    title: "`callbacks`",
    stage: Stage::Callback,
    kind: "CALLBACK_HTTP",
    when: When::Waiting("callback server"),
    grpc: false,
    host: "callback",
    path: "/",
    timeout: TIMEOUT,
    spec: |place| callback("callback", &http(&place.faulty)),
    replies: |_| faulty([("/", json_reply(&json!({ "it": true })))]),
    error: Yes,
    redirect: No(REDIRECTS),
    garbage: No("the answer is broken JSON"),
    content_type: Yes,
};

pub(super) const TOKEN: Asked = Asked {
    name: "callback-token",
    title: "`callbacks`: the token endpoint of `oauth2`",
    stage: Stage::Callback,
    kind: "CALLBACK_HTTP",
    when: When::Waiting("token endpoint"),
    grpc: false,
    host: "callback-token",
    path: "/token",
    timeout: TIMEOUT,
    spec: |place| callback("callback-token", &json!({ "url": place.sound, "oauth2": oauth2(&place.faulty) })),
    replies: |_| Replies {
        sound: answers([("/", json_reply(&json!({ "it": true })))]),
        ..faulty([("/token", access_token())])
    },
    error: No(STATUS_500),
    redirect: No(STATUS_302),
    garbage: No("the answer has no access token"),
    content_type: Yes,
};

fn callback(name: &str, http: &Value) -> Value {
    let mut spec = anybody();
    spec["callbacks"] = json!({ name: measured(&json!({ "http": http })) });
    spec
}
