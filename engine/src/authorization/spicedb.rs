//! `spicedb`: relationships in SpiceDB (`authzed.api.v1`, `CheckPermission`).

use prost::Message;
use serde_json::{Value, json};
use sidegate_config::{SecretKeyRef, SpiceDbObject, SpiceDbSpec, ValueOrSelector};

use crate::compile::Compiler;
use crate::error::StepError;
use crate::expression::{Dynamic, EvalError};
use crate::grpc::{self, Code, Fault};
use crate::outbound::Endpoint;
use crate::secret::Secret;
use crate::session::Cx;
use crate::view::View;

const PATH: &str = "/authzed.api.v1.PermissionsService/CheckPermission";

/// An answer has a token of some ten bytes; this leaves room for a condition that is not met.
const MAX_RESPONSE_BYTES: usize = 16 << 10;

/// `PERMISSIONSHIP_NO_PERMISSION`.
const NO_PERMISSION: i32 = 1;

/// `PERMISSIONSHIP_HAS_PERMISSION`.
const HAS_PERMISSION: i32 = 2;

/// Grants if a subject has a permission on a resource.
#[derive(Debug)]
pub struct SpiceDb {
    endpoint: Endpoint,
    secret: Option<Secret>,
    resource: Object,
    subject: Object,
    permission: Dynamic,
}

#[derive(Debug)]
struct Object {
    kind: Dynamic,
    name: Dynamic,
}

impl SpiceDb {
    pub(super) fn compile(spec: &SpiceDbSpec, compiler: &mut Compiler<'_>) -> Option<Self> {
        let SpiceDbSpec { endpoint, insecure, shared_secret_ref, subject, resource, permission } = spec;
        let endpoint = compiler.at("endpoint", |compiler| compile_endpoint(endpoint, *insecure, compiler));
        let secret = shared_secret_ref.as_ref().map(|SecretKeyRef { name, key, namespace }| {
            compiler.at("sharedSecretRef", |compiler| compiler.secret(namespace.as_deref(), name, key))
        });
        let subject = compiler.at("subject", |compiler| Object::compile(subject.as_ref(), compiler));
        let resource = compiler.at("resource", |compiler| Object::compile(resource.as_ref(), compiler));
        let permission = compile_value("permission", permission.as_ref(), compiler);
        Some(Self {
            endpoint: endpoint?,
            secret: match secret {
                Some(secret) => Some(secret?),
                None => None,
            },
            resource: resource?,
            subject: subject?,
            permission: permission?,
        })
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Value, StepError> {
        let question = self.question(&cx.view())?;
        let mut request = self.endpoint.request("POST");
        request.max_response_bytes = MAX_RESPONSE_BYTES;
        grpc::call(&mut request, &question, self.endpoint.timeout());
        if let Some(secret) = &self.secret {
            request.headers.push(("authorization".to_owned(), format!("Bearer {}", secret.reveal())));
        }
        let reply = self.endpoint.ask(request, cx).await?;
        let answer: CheckPermissionResponse = grpc::answer(&reply).map_err(|fault| self.undecided(fault))?;
        let CheckPermissionResponse { checked_at, permissionship } = answer;
        if permissionship == HAS_PERMISSION {
            return Ok(match checked_at {
                Some(ZedToken { token }) => json!({"checked_at": {"token": token}, "permissionship": permissionship}),
                None => json!({"permissionship": permissionship}),
            });
        }
        let token = checked_at.unwrap_or_default().token;
        // What depends on conditions is not the no that a rule with `action: deny` lets through.
        let refused = if permissionship == NO_PERMISSION { StepError::denied } else { StepError::failed };
        Err(refused(format!("{};token={token}", permissionship_name(permissionship))))
    }

    /// Who asks for what, so that a permission that is kept is for nothing else.
    pub(super) fn asked(&self, cx: &Cx) -> Result<Vec<u8>, StepError> {
        Ok(self.question(&cx.view())?.encode_to_vec())
    }

    fn question(&self, view: &View) -> Result<CheckPermissionRequest, EvalError> {
        Ok(CheckPermissionRequest {
            resource: Some(self.resource.reference(view)?),
            permission: self.permission.text(view)?,
            subject: Some(SubjectReference { object: Some(self.subject.reference(view)?) }),
        })
    }

    /// What the server says of a request that it cannot make sense of is lasting; all else may be otherwise another time,
    /// our own credential included, for which no client can do anything.
    fn undecided(&self, fault: Fault) -> StepError {
        let grpc::Status { code, text } = match fault {
            Fault::Status(status) => status,
            Fault::Malformed(why) => return self.endpoint.unfit(why),
        };
        let secret = self.secret.as_ref().map(Secret::reveal).filter(|secret| !secret.is_empty());
        let repeats = secret.is_some_and(|secret| text.contains(secret));
        let detail =
            if text.is_empty() || repeats { code.name().to_owned() } else { format!("{}: {text}", code.name()) };
        match code {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => {
                StepError::failed("the SpiceDB server cannot check the permission").because(detail)
            }
            Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => self.endpoint.unfit(detail),
        }
    }
}

impl Object {
    fn compile(spec: Option<&SpiceDbObject>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let Some(SpiceDbObject { kind, name }) = spec else {
            compiler.problem("is needed, with `kind` and `name`");
            return None;
        };
        let kind = compile_value("kind", kind.as_ref(), compiler);
        let name = compile_value("name", name.as_ref(), compiler);
        Some(Self { kind: kind?, name: name? })
    }

    fn reference(&self, view: &View) -> Result<ObjectReference, EvalError> {
        Ok(ObjectReference { object_type: self.kind.text(view)?, object_id: self.name.text(view)? })
    }
}

fn compile_endpoint(endpoint: &str, insecure: bool, compiler: &mut Compiler<'_>) -> Option<Endpoint> {
    let host_and_port = endpoint.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = host.starts_with('[') || !host.contains(':');
        plain && !host.contains(['/', '?', '#', '@']) && port.parse().is_ok_and(|port: u16| port > 0)
    });
    if !host_and_port {
        compiler.problem(format!("`{endpoint}` is no server: write `host:port`"));
        return None;
    }
    let scheme = if insecure { "http" } else { "https" };
    Endpoint::compile("SpiceDB server", &format!("{scheme}://{endpoint}{PATH}"), None, compiler)
}

fn compile_value(field: &str, source: Option<&ValueOrSelector>, compiler: &mut Compiler<'_>) -> Option<Dynamic> {
    compiler.at(field, |compiler| match source {
        Some(source) => Some(Dynamic::compile(source, compiler)),
        None => {
            compiler.problem("is needed");
            None
        }
    })
}

fn permissionship_name(number: i32) -> String {
    match number {
        0 => "PERMISSIONSHIP_UNSPECIFIED".to_owned(),
        1 => "PERMISSIONSHIP_NO_PERMISSION".to_owned(),
        2 => "PERMISSIONSHIP_HAS_PERMISSION".to_owned(),
        3 => "PERMISSIONSHIP_CONDITIONAL_PERMISSION".to_owned(),
        other => other.to_string(),
    }
}

/// `authzed.api.v1.CheckPermissionRequest`, as far as we use it.
#[derive(Message)]
struct CheckPermissionRequest {
    #[prost(message, optional, tag = "2")]
    resource: Option<ObjectReference>,
    #[prost(string, tag = "3")]
    permission: String,
    #[prost(message, optional, tag = "4")]
    subject: Option<SubjectReference>,
}

#[derive(Message)]
struct SubjectReference {
    #[prost(message, optional, tag = "1")]
    object: Option<ObjectReference>,
}

#[derive(Message)]
struct ObjectReference {
    #[prost(string, tag = "1")]
    object_type: String,
    #[prost(string, tag = "2")]
    object_id: String,
}

/// `authzed.api.v1.CheckPermissionResponse`, as far as we use it.
#[derive(Message)]
struct CheckPermissionResponse {
    #[prost(message, optional, tag = "1")]
    checked_at: Option<ZedToken>,
    #[prost(int32, tag = "2")]
    permissionship: i32,
}

#[derive(Message)]
struct ZedToken {
    #[prost(string, tag = "1")]
    token: String,
}
