//! Hosts of one AuthConfig that lie within a wildcard of another.

use sidegate_config::Documents;

use super::{Warnings, label};
use crate::validate::auth_configs;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let all: Vec<_> = auth_configs(documents)
        .flat_map(|document| document.spec.hosts.iter().map(move |host| (document, host.to_ascii_lowercase())))
        .collect();
    for document in auth_configs(documents) {
        for (index, host) in document.spec.hosts.iter().enumerate() {
            let host = host.to_ascii_lowercase();
            // `*` is there to catch what nobody else has.
            let wider =
                all.iter().filter(|(other, wildcard)| lies_in(&host, wildcard) && label(other) != label(document));
            if let Some((other, wildcard)) = wider.max_by_key(|(_, wildcard)| wildcard.len()) {
                let message = format!(
                    "`{host}` lies within `{wildcard}` of {}, whose rules do not hold for it: only the AuthConfig with the \
                     narrower host is asked",
                    label(other)
                );
                warnings.add(document, format!("spec.hosts[{index}]"), message);
            }
        }
    }
}

fn lies_in(host: &str, wildcard: &str) -> bool {
    let Some(suffix) = wildcard.strip_prefix("*.") else { return false };
    let name = host.strip_prefix("*.").unwrap_or(host);
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    host != wildcard && (name == suffix || name.ends_with(&format!(".{suffix}")))
}
