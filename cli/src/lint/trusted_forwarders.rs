//! Forwarded certificates that everybody may send.

use sidegate_config::{Documents, Problem};

use super::Warnings;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let forwarders = documents.settings.options.trusted_forwarders.iter().enumerate();
    for (index, _) in forwarders.filter(|(_, forwarder)| *forwarder == "*") {
        warnings.0.push(Problem {
            document: "PluginConfig".to_owned(),
            path: format!("options.trustedForwarders[{index}]"),
            message:
                "a client may send any certificate as its own in a header, unless a proxy in front takes it out: name \
                      that proxy"
                    .to_owned(),
        });
    }
}
