//! Who says who may, or by what it is said.

use serde_json::json;
use sidegate_engine::trace::Stage;

use super::{API_SERVER, HAS_STATUS_302, HAS_STATUS_500, NO_OBJECT, authorization, faulty, json_reply, reply};
use crate::case::{GrpcReply, Raw, ServiceReply};
use crate::faults::Taken::{No, Yes};
use crate::faults::{Asked, DEFAULT_TIMEOUT, TIMEOUT, When};

pub(super) const OPA: Asked = Asked {
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
};

pub(super) const ACCESS_REVIEW: Asked = Asked {
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
};

pub(super) const SPICEDB: Asked = Asked {
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
};
