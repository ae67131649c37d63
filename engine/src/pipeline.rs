//! The story of a decision.

use std::pin::pin;
use std::rc::Rc;

use sidegate_config::{AuthConfigWhenError, CallbackOrder};

use crate::call::CallError;
use crate::exec::apart;
use crate::expression::condition::Held;
use crate::policy::AuthConfig;
use crate::request::{Attribute, Headers};
use crate::response::denial::{self, Denial};
use crate::session::Cx;
use crate::token::grant;
use crate::trace::{Outcome, Stage, StepRecord};
use crate::verdict::{Allowed, Decision, DenialStatus, LocalReply, Verdict};
use crate::{authentication, authorization, callbacks, metadata, response};

/// Decides one request.
pub async fn decide(cx: &Cx) -> Verdict {
    if let Err(denied) = east_west(cx) {
        return verdict(cx, None, Decision::Deny(denied));
    }
    if let Some(served) = cx.policy.well_known().answer(&cx.request) {
        let auth_config = served.published.as_ref().map(|published| Rc::clone(&published.auth_config));
        return verdict(cx, auth_config, Decision::Serve(served));
    }
    let Some(policy) = cx.policy.auth_config_for(&cx.request) else {
        if cx.policy.is_east_west_alone() {
            return verdict(cx, None, Decision::Allow(response::untouched(cx)));
        }
        let denial = Denial::new(DenialStatus::NotFound, "Service not found");
        return verdict(cx, None, Decision::Deny(denial::standard(denial)));
    };
    let decision = if let Some(header) = rerouting_header(cx) {
        let reason = format!("the header `{header}` is not for clients: it may have chosen the route");
        Decision::Deny(denial::standard(Denial::new(DenialStatus::PermissionDenied, reason)))
    } else if let Err(denial) = body(policy, cx).await {
        Decision::Deny(denial::standard(denial))
    } else if !applies(policy, cx) {
        return verdict(cx, Some(Rc::clone(&policy.id)), Decision::Allow(response::untouched(cx)));
    } else if let Some(allowed) = grant::recall(policy, cx) {
        Decision::Allow(allowed)
    } else {
        match apart(pin!(run(policy, cx))).await {
            Ok(allowed) => {
                grant::remember(policy, &allowed, cx);
                Decision::Allow(allowed)
            }
            Err(denial) => Decision::Deny(denial::reply(&policy.response, denial, cx)),
        }
    };
    let decision = match cx.policy.options().callbacks {
        _ if policy.callbacks.is_empty() => decision,
        CallbackOrder::Detached => {
            cx.call_back_later(policy);
            decision
        }
        CallbackOrder::Blocking => {
            // Kept where it is found if the callbacks take too long.
            cx.decided(decision);
            apart(pin!(callbacks::call_all(&policy.callbacks, cx))).await;
            cx.take_decision().unwrap_or_else(|| {
                Decision::Deny(denial::standard(Denial::new(DenialStatus::Unavailable, "the decision is lost")))
            })
        }
    };
    verdict(cx, Some(Rc::clone(&policy.id)), decision)
}

/// Asks the policies over identity, which need nobody to be asked. The client is not told which of them kept it out.
#[inline(never)]
fn east_west(cx: &Cx) -> Result<(), LocalReply> {
    let Some(ruling) = cx.policy.rule(&cx.request) else { return Ok(()) };
    let ruling = Rc::new(ruling);
    cx.ruled(&ruling);
    if ruling.allowed {
        return Ok(());
    }
    let decider = ruling.reason.to_string().into();
    let denial = Denial { rule: Some(decider), ..Denial::new(DenialStatus::PermissionDenied, "Unauthorized") };
    Err(LocalReply { reason: ruling.to_string(), ..denial::standard(denial) })
}

async fn run(policy: &AuthConfig, cx: &Cx) -> Result<Allowed, Denial> {
    let identity =
        apart(pin!(authentication::prove(&policy.authentication, policy.authentication_strategy, cx))).await?;
    // Who is known is known, whatever else could not be asked.
    cx.forget_overrun();
    metadata::gather(&policy.metadata, cx).await;
    if let Some(overrun) = cx.overrun() {
        // Metadata that is missing for want of room might be what a rule would deny by.
        return Err(Denial::new(DenialStatus::Unavailable, overrun.reason()));
    }
    let granted = apart(pin!(authorization::all(&policy.authorization, identity, cx))).await?;
    Ok(response::build(&policy.response, granted, cx).await)
}

/// Has the body at hand if an expression reads it.
async fn body(policy: &AuthConfig, cx: &Cx) -> Result<(), Denial> {
    if !policy.needs.has(Attribute::Body) {
        return Ok(());
    }
    if becomes_tunnel(&cx.request.headers) {
        return Err(Denial::new(DenialStatus::Unavailable, "the request becomes a tunnel, whose body has no end"));
    }
    cx.read_body().await.map_err(|error| match error {
        CallError::TooLong => {
            let most = cx.policy.max_request_bytes();
            Denial::new(DenialStatus::TooLarge, format!("the request's body has more than {most} bytes"))
        }
        CallError::Timeout | CallError::Failed(_) | CallError::Overrun(_) | CallError::TooMuch => {
            Denial::new(DenialStatus::Unavailable, "the request's body cannot be read")
        }
    })
}

/// Whether the request is CONNECT or an upgrade: of its body there is more to come as long as it is open, so nobody may
/// wait for it. An upgrade over HTTP/2 has this header too: Envoy makes one of the two.
fn becomes_tunnel(headers: &Headers) -> bool {
    headers.has("upgrade") || headers.all(":method").any(|method| method == b"CONNECT")
}

/// A header by which the client may have chosen the route that named this AuthConfig, and that will be taken out or
/// changed: Envoy then chooses again, and the request would go where another AuthConfig has the say.
fn rerouting_header(cx: &Cx) -> Option<String> {
    let by_route = cx.policy.host_override().is_some_and(|source| source.route_metadata.is_some());
    by_route.then(|| cx.policy.owned_headers_in(&cx.request).into_iter().next()).flatten()
}

/// Whether the AuthConfig has a say in this request.
fn applies(policy: &AuthConfig, cx: &Cx) -> bool {
    let (applies, outcome, detail) = match policy.when.evaluate(&cx.view()) {
        Ok(Held::Yes) => return true,
        Ok(Held::No(criterion)) => (false, Outcome::Skipped, criterion),
        Err(error) => match policy.when_error {
            AuthConfigWhenError::Enforce => (true, Outcome::Failed, error.to_string()),
            AuthConfigWhenError::Skip => (false, Outcome::Skipped, error.to_string()),
        },
    };
    cx.record(StepRecord {
        stage: Stage::Selection,
        name: Rc::clone(&policy.id),
        kind: "",
        metrics: false,
        outcome,
        detail: Some(format!("when: {detail}")),
    });
    applies
}

/// The verdict on a request whose calls took too long together: a denial, unless all was decided and callbacks alone were waited for.
pub fn timed_out(cx: &Cx) -> Verdict {
    let policy = cx.policy.auth_config_for(&cx.request);
    let decision = cx.take_decision().unwrap_or_else(|| {
        if let Some(policy) = policy.filter(|policy| !policy.callbacks.is_empty()) {
            cx.call_back_later(policy);
        }
        let denial = denial::standard(Denial::new(DenialStatus::Unavailable, ""));
        Decision::Deny(LocalReply { reason: "the calls for this request took too long".to_owned(), ..denial })
    });
    verdict(cx, policy.map(|policy| Rc::clone(&policy.id)), decision)
}

fn verdict(cx: &Cx, auth_config: Option<Rc<str>>, decision: Decision) -> Verdict {
    Verdict { decision, auth_config, ruling: cx.ruling(), steps: cx.take_steps(), overrun: cx.overrun() }
}
