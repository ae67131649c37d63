//! Forwarded certificates that everybody may send, or write more into than a proxy means to.

use sidegate_config::{Documents, EastWestOptions, Problem};

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
    if let Some(EastWestOptions { trusted_forwarders, forwarders_sanitize: false, .. }) =
        &documents.settings.options.east_west
        && !trusted_forwarders.is_empty()
    {
        warnings.0.push(Problem {
            document: "PluginConfig".to_owned(),
            path: "options.eastWest.trustedForwarders".to_owned(),
            message: "whoever has a certificate whose URI SAN has a comma in it may write an element more than these \
                      forwarders mean, and be anybody: say `forwardersSanitize: true` where they replace the header \
                      (`SANITIZE_SET`); else see that the authorities that they trust issue SPIFFE IDs alone"
                .to_owned(),
        });
    }
}
