//! What operators see of policies over identity: facts for access logs, metrics, the log.

use sidegate_engine::east_west::{Chain, Identity, Ruling, Shadow};

use crate::host::{self, HostError, Level};
use crate::observe::printable;
use crate::plugin::Plugin;

/// What a server that speaks before the client has shown who it is, is closed by.
pub const UNIDENTIFIED: &str = "identity-pending";

/// A request was ruled on.
pub fn of_request(plugin: &Plugin, ruling: &Ruling) {
    facts(plugin, Chain::Http, ruling);
}

/// A connection was ruled on, and nothing else is asked about it.
pub fn of_connection(plugin: &Plugin, ruling: &Ruling) {
    facts(plugin, Chain::Tcp, ruling);
    plugin.tell_soon();
    if ruling.allowed {
        fact("sidegate.decision", "ok");
    } else {
        denied("permission_denied", Some(&ruling.reason.to_string()), &ruling.to_string());
    }
    if host::logs(Level::Debug) {
        let port = ruling.port.map_or_else(|| "an unknown port".to_owned(), |port| format!("port {port}"));
        host::log(Level::Debug, &printable(&format!("connection to {port}: {ruling}; {}", ruling.to_json())));
    }
}

/// The server has spoken before it was known who calls.
pub fn unidentified(plugin: &Plugin) {
    const WHY: &str =
        "the server speaks before the client has shown who it is; see `upstream_connect_mode` of tcp_proxy";
    plugin.metrics.unidentified();
    plugin.tell_soon();
    denied("permission_denied", Some(UNIDENTIFIED), WHY);
    if plugin.says_so_now() {
        host::log(Level::Warn, &format!("a connection is closed: {WHY}"));
    }
}

/// A connection is closed since something of ours or of Envoy's did not work.
pub fn failure(plugin: &Plugin, why: &str) {
    plugin.metrics.connection_failed();
    plugin.tell_soon();
    denied("unavailable", None, why);
    plugin.quiet.warn("connection", &format!("a connection is closed: {why}"));
}

fn facts(plugin: &Plugin, chain: Chain, ruling: &Ruling) {
    let Ruling { allowed: _, reason, identity, told: _, revision: _, port: _, audited, shadow } = ruling;
    plugin.metrics.ruled(chain, ruling);
    fact("sidegate.decider", &reason.to_string());
    if let Identity::Known(id) = identity {
        fact("sidegate.peer", id.as_str());
    }
    if ruling.is_remarkable() {
        fact("sidegate.record", &ruling.to_json().to_string());
    }
    if *audited {
        fact("sidegate.audited", "true");
    }
    if let Some(Shadow { allowed, reason }) = shadow.as_ref().filter(|_| ruling.differs()) {
        fact("sidegate.shadow", &format!("{} by {reason}", if *allowed { "allow" } else { "deny" }));
        if plugin.says_so_now() {
            host::log(Level::Info, &printable(&format!("policies of mode Audit would change a decision: {ruling}")));
        }
    }
}

fn denied(decision: &str, rule: Option<&str>, reason: &str) {
    fact("sidegate.decision", decision);
    if let Some(rule) = rule {
        fact("sidegate.rule", rule);
    }
    fact("sidegate.reason", reason);
}

/// What is only to be looked at must not change what happens.
fn fact(name: &str, value: &str) {
    let _: Result<(), HostError> = host::set_property(name.as_bytes(), value.as_bytes());
}
