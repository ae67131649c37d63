//! Who proves identities, or what they are proved by.

use serde_json::json;
use sidegate_engine::trace::Stage;

use super::{API_SERVER, HAS_STATUS_302, HAS_STATUS_500, NO_JSON, NO_OBJECT, authentication, faulty, json_reply, keys};
use crate::faults::Taken::{Because, No, Yes};
use crate::faults::{Asked, TIMEOUT, When};

pub(super) const DISCOVERY: Asked = Asked {
    name: "discovery",
    title: "`jwt`: the discovery document of an issuer",
    stage: Stage::Authentication,
    kind: "IDENTITY_JWT",
    when: FETCHED,
    grpc: false,
    host: "discovery",
    path: "/.well-known/openid-configuration",
    timeout: TIMEOUT,
    spec: |place| authentication("discovery", &json!({ "jwt": { "issuerUrl": place.faulty, "timeout": TIMEOUT } })),
    replies: |place| {
        let document = json!({ "issuer": place.faulty, "jwks_uri": format!("{}/jwks", place.faulty) });
        faulty([("/.well-known/openid-configuration", json_reply(&document)), ("/jwks", json_reply(&keys()))])
    },
    error: No(HAS_STATUS_500),
    redirect: No(HAS_STATUS_302),
    garbage: No("the answer is no discovery document"),
    content_type: Yes,
};

pub(super) const KEY_SET: Asked = Asked {
    name: "keys",
    title: "`jwt`: a key set",
    stage: Stage::Authentication,
    kind: "IDENTITY_JWT",
    when: FETCHED,
    grpc: false,
    host: "keys",
    path: "/jwks",
    timeout: TIMEOUT,
    spec: |place| {
        let url = format!("{}/jwks", place.faulty);
        authentication("keys", &json!({ "jwt": { "jwksUrl": url, "timeout": TIMEOUT } }))
    },
    replies: |_| faulty([("/jwks", json_reply(&keys()))]),
    error: No(HAS_STATUS_500),
    redirect: No(HAS_STATUS_302),
    garbage: No("the answer is no JSON Web Key Set"),
    content_type: Yes,
};

pub(super) const INTROSPECTION: Asked = Asked {
    name: "introspection",
    title: "`oauth2Introspection`",
    stage: Stage::Authentication,
    kind: "IDENTITY_OAUTH2",
    when: When::Waiting("token introspection endpoint"),
    grpc: false,
    host: "introspection",
    path: "/introspect",
    timeout: TIMEOUT,
    spec: |place| {
        let endpoint = format!("{}/introspect", place.faulty);
        let rule = json!({ "endpoint": endpoint, "credentialsRef": { "name": "client" }, "timeout": TIMEOUT });
        authentication("introspection", &json!({ "oauth2Introspection": rule }))
    },
    replies: |_| faulty([("/introspect", json_reply(&json!({ "active": true })))]),
    error: Because("token introspection request failed: 500"),
    redirect: Because("token introspection request failed: 302"),
    garbage: No(NO_JSON),
    content_type: Yes,
};

pub(super) const TOKEN_REVIEW: Asked = Asked {
    name: "token-review",
    title: "`kubernetesTokenReview`",
    stage: Stage::Authentication,
    kind: "IDENTITY_KUBERNETES",
    when: When::Waiting(API_SERVER),
    grpc: false,
    host: "kubernetes",
    path: "/apis/authentication.k8s.io/v1/tokenreviews",
    timeout: TIMEOUT,
    spec: |_| {
        let rule = json!({ "audiences": ["talker"], "timeout": TIMEOUT });
        authentication("token-review", &json!({ "kubernetesTokenReview": rule }))
    },
    replies: |_| {
        let status = json!({ "authenticated": true, "user": { "username": "jane" }, "audiences": ["talker"] });
        let review = json_reply(&json!({ "status": status }));
        faulty([("/apis/authentication.k8s.io/v1/tokenreviews", review)])
    },
    error: No(HAS_STATUS_500),
    redirect: No(HAS_STATUS_302),
    garbage: No(NO_OBJECT),
    content_type: Yes,
};

const FETCHED: When =
    When::Before { what: "keys", metric: "keys", reason: "the keys of issuer `{}` are not available yet" };
