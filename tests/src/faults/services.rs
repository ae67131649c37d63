//! The services, and the rules that ask them.

use serde_json::{Value, json};
use sidegate_engine::trace::Stage;

use super::Taken::{Because, No, Yes};
use super::{Answers, Asked, DEFAULT_TIMEOUT, Place, Replies, TIMEOUT, When};
use crate::case::{GrpcReply, Raw, ServiceReply};
use crate::token;

const API_SERVER: &str = "Kubernetes API server";
const REGISTRATION: &str = "UMA resource registration";
const NO_JSON: &str = "the answer is no JSON";
const NO_OBJECT: &str = "the answer is no JSON object";
const STATUS_500: &str = "it answers with status 500";
const STATUS_302: &str = "it answers with status 302";
const HAS_STATUS_500: &str = "the answer has status 500";
const HAS_STATUS_302: &str = "the answer has status 302";
const REDIRECTS: &str = "it redirects with status 302, which is not followed";

/// All of them, in the order of the pipeline.
pub const ALL: [Asked; 15] = [
    Asked {
        name: "discovery",
        title: "`jwt`: the discovery document of an issuer",
        stage: Stage::Authentication,
        kind: "IDENTITY_JWT",
        when: KEYS,
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
    },
    Asked {
        name: "keys",
        title: "`jwt`: a key set",
        stage: Stage::Authentication,
        kind: "IDENTITY_JWT",
        when: KEYS,
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
    },
    Asked {
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
    },
    Asked {
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
    },
    Asked {
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
    },
    Asked {
        name: "token",
        title: "`http`: the token endpoint of `oauth2`",
        stage: Stage::Metadata,
        kind: "METADATA_GENERIC_HTTP",
        when: When::Waiting("token endpoint"),
        grpc: false,
        host: "token",
        path: "/token",
        timeout: TIMEOUT,
        spec: |place| {
            let oauth2 = json!({
                "tokenUrl": format!("{}/token", place.faulty),
                "clientId": "us",
                "clientSecretRef": { "name": "client", "key": "clientSecret" },
                "timeout": TIMEOUT,
            });
            metadata("token", &json!({ "http": { "url": place.sound, "oauth2": oauth2 } }))
        },
        replies: |_| Replies {
            sound: answers([("/", json_reply(&json!({ "it": true })))]),
            ..faulty([("/token", access_token())])
        },
        error: No(STATUS_500),
        redirect: No(STATUS_302),
        garbage: No("the answer has no access token"),
        content_type: Yes,
    },
    Asked {
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
    },
    Asked {
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
            faulty([
                ("/.well-known/uma2-configuration", uma_configuration(&place.faulty, &place.faulty, &place.faulty)),
                ("/token", access_token()),
                ("/resources", resource_ids()),
                ("/resources/r1", resource()),
            ])
        },
        error: No(HAS_STATUS_500),
        redirect: No(HAS_STATUS_302),
        garbage: No("the answer is no UMA configuration"),
        ..UMA
    },
    Asked {
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
                    (
                        "/.well-known/uma2-configuration",
                        uma_configuration(&issuer(place), &place.faulty, &issuer(place)),
                    ),
                    ("/resources", resource_ids()),
                    ("/resources/r1", resource()),
                ],
            ),
            ..faulty([("/token", access_token())])
        },
        garbage: No("the answer has no access token"),
        ..UMA
    },
    Asked {
        name: "uma-resources",
        title: "`uma`: the list of resources",
        path: "/resources",
        host: "uma-resources",
        spec: |place| metadata("uma-resources", &uma(&issuer(place))),
        replies: uma_registration,
        garbage: No("the answer is no list of resource ids"),
        ..UMA
    },
    Asked {
        name: "uma-resource",
        title: "`uma`: a resource",
        path: "/resources/r1",
        host: "uma-resource",
        spec: |place| metadata("uma-resource", &uma(&issuer(place))),
        replies: uma_registration,
        garbage: No(NO_JSON),
        ..UMA
    },
    Asked {
        name: "opa",
        title: "`opa`: an external policy",
        stage: Stage::Authorization,
        kind: "AUTHORIZATION_OPA",
        when: When::Before { what: "policy", metric: "rego", reason: "the policy is not there" },
        grpc: false,
        host: "opa",
        path: "/policy",
        timeout: TIMEOUT,
        spec: |place| {
            let policy = json!({ "url": format!("{}/policy", place.faulty), "timeout": TIMEOUT });
            authorization("opa", &json!({ "opa": { "externalPolicy": policy } }))
        },
        replies: |_| faulty([("/policy", reply("text/plain", "allow = true"))]),
        error: No(HAS_STATUS_500),
        redirect: No(HAS_STATUS_302),
        garbage: No("the policy does not compile"),
        content_type: No("the answer is JSON without a policy at `result.raw`"),
    },
    Asked {
        name: "access-review",
        title: "`kubernetesSubjectAccessReview`",
        stage: Stage::Authorization,
        kind: "AUTHORIZATION_KUBERNETES",
        when: When::Waiting(API_SERVER),
        grpc: false,
        host: "kubernetes",
        path: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        timeout: TIMEOUT,
        spec: |_| {
            let rule = json!({ "user": { "value": "jane" }, "timeout": TIMEOUT });
            authorization("access-review", &json!({ "kubernetesSubjectAccessReview": rule }))
        },
        replies: |_| {
            let review = json_reply(&json!({ "status": { "allowed": true } }));
            faulty([("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)])
        },
        error: No(HAS_STATUS_500),
        redirect: No(HAS_STATUS_302),
        garbage: No(NO_OBJECT),
        content_type: Yes,
    },
    Asked {
        name: "spicedb",
        title: "`spicedb`",
        stage: Stage::Authorization,
        kind: "AUTHORIZATION_AUTHZED",
        when: When::Waiting("SpiceDB server"),
        grpc: true,
        host: "spicedb",
        path: "/authzed.api.v1.PermissionsService/CheckPermission",
        timeout: DEFAULT_TIMEOUT,
        spec: |place| {
            let (scheme, endpoint) = place.faulty.split_once("://").unwrap_or_default();
            let object = json!({ "kind": { "value": "doc" }, "name": { "value": "1" } });
            let rule = json!({
                "endpoint": endpoint,
                "insecure": scheme == "http",
                "sharedSecretRef": { "name": "client", "key": "clientSecret" },
                "subject": object,
                "resource": object,
                "permission": { "value": "read" },
            });
            authorization("spicedb", &json!({ "spicedb": rule }))
        },
        replies: |_| {
            // PERMISSIONSHIP_HAS_PERMISSION, by the token `zt`.
            let body = Raw::Bytes { base64: b"\x0a\x04\x0a\x02zt\x10\x02".to_vec() };
            let granted = ServiceReply {
                content_type: Some("application/grpc".to_owned()),
                grpc: Some(GrpcReply { body: Some(body), ..GrpcReply::default() }),
                ..ServiceReply::default()
            };
            faulty([("/authzed.api.v1.PermissionsService/CheckPermission", granted)])
        },
        error: No("the HTTP status is 500"),
        redirect: No("the HTTP status is 302"),
        garbage: No("the message has an unknown flag"),
        content_type: No("the `content-type` is not that of gRPC"),
    },
    Asked {
        name: "callback",
        title: "`callbacks`",
        stage: Stage::Callback,
        kind: "CALLBACK_HTTP",
        when: When::Waiting("callback server"),
        grpc: false,
        host: "callback",
        path: "/",
        timeout: TIMEOUT,
        spec: |place| {
            let mut spec = anybody();
            spec["callbacks"] = json!({ "callback": { "metrics": true, "http": http(&place.faulty) } });
            spec
        },
        replies: |_| faulty([("/", json_reply(&json!({ "it": true })))]),
        error: Yes,
        redirect: No(REDIRECTS),
        garbage: No("the answer is broken JSON"),
        content_type: Yes,
    },
];

const KEYS: When =
    When::Before { what: "keys", metric: "keys", reason: "the keys of issuer `{}` are not available yet" };

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

fn anybody() -> Value {
    json!({ "authentication": { "anybody": { "anonymous": {} } } })
}

fn measured(rule: &Value) -> Value {
    let mut rule = rule.clone();
    rule["metrics"] = true.into();
    rule
}

fn authentication(name: &str, rule: &Value) -> Value {
    json!({ "authentication": { name: measured(rule) } })
}

fn authorization(name: &str, rule: &Value) -> Value {
    let mut spec = anybody();
    spec["authorization"] = json!({ name: measured(rule) });
    spec
}

/// What is found goes to the upstream.
fn metadata(name: &str, rule: &Value) -> Value {
    let mut spec = anybody();
    spec["metadata"] = json!({ name: measured(rule) });
    let found = json!({ "plain": { "selector": format!("auth.metadata.{name}") } });
    spec["response"] = json!({ "success": { "headers": { "x-it": found } } });
    spec
}

fn http(url: &str) -> Value {
    json!({ "url": url, "timeout": TIMEOUT, "sharedSecretRef": { "name": "client", "key": "clientSecret" } })
}

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

fn access_token() -> ServiceReply {
    json_reply(&json!({ "access_token": format!("{}-of-the-token-endpoint", super::SECRET), "expires_in": 300 }))
}

fn keys() -> Value {
    token::key_set(&["rsa-1".to_owned()]).unwrap_or_default()
}

fn json_reply(body: &Value) -> ServiceReply {
    reply("application/json", &body.to_string())
}

fn reply(content_type: &str, body: &str) -> ServiceReply {
    ServiceReply {
        content_type: Some(content_type.to_owned()),
        body: Some(Raw::Text(body.to_owned())),
        ..ServiceReply::default()
    }
}

fn answers<const N: usize>(answers: [(&str, ServiceReply); N]) -> Answers {
    answers.into_iter().map(|(path, reply)| (path.to_owned(), reply)).collect()
}

/// Below the issuer at the server that is in no trouble.
fn answers_at<const N: usize>(place: &Place, answers: [(&str, ServiceReply); N]) -> Answers {
    answers.into_iter().map(|(path, reply)| (format!("/{}{path}", place.id), reply)).collect()
}

fn faulty<const N: usize>(replies: [(&str, ServiceReply); N]) -> Replies {
    Replies { faulty: answers(replies), sound: Answers::new() }
}
