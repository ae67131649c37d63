//! The names that one caller has in several trust domains.

/// The trust domain that stands for the workload's own, whatever that is.
const POINTER: &str = "cluster.local";

/// A principal in each of the workload's own trust domains, if it is one of a ServiceAccount of one of them: so it has five parts.
/// A trust domain with a star stays as it is for the domains that it fits.
pub fn expand(principal: &str, domains: &[String]) -> Vec<String> {
    let as_it_is = vec![principal.to_owned()];
    let Some((domain, rest)) = principal.split_once('/').filter(|_| principal.matches('/').count() == 4) else {
        return as_it_is;
    };
    let own = domain != "*" && (domain == POINTER || domains.iter().any(|own| meet(domain, own)));
    if !own || domains.is_empty() {
        return as_it_is;
    }
    let mut names = Vec::new();
    for own in domains {
        let name = if ends(own, domain) { principal.to_owned() } else { format!("{own}/{rest}") };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether two trust domains are the same, where either may have a star.
fn meet(a: &str, b: &str) -> bool {
    let begins = |text: &str, pattern: &str| pattern.strip_suffix('*').is_some_and(|part| text.starts_with(part));
    a == b || begins(a, b) || begins(b, a) || ends(a, b) || ends(b, a)
}

fn ends(text: &str, pattern: &str) -> bool {
    pattern.strip_prefix('*').is_some_and(|part| text.ends_with(part))
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn principals_have_a_name_in_each_trust_domain_of_ours() {
        let domains = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (principal, own, expected) in [
            ("cluster.local/ns/a/sa/b", &["td1", "td2"][..], &["td1/ns/a/sa/b", "td2/ns/a/sa/b"][..]),
            ("td2/ns/a/sa/b", &["td1", "td2"], &["td1/ns/a/sa/b", "td2/ns/a/sa/b"]),
            ("other/ns/a/sa/b", &["td1", "td2"], &["other/ns/a/sa/b"]),
            ("*/ns/a/sa/b", &["td1", "td2"], &["*/ns/a/sa/b"]),
            // Four parts, of which Istio makes nothing.
            ("cluster.local/ns/a/*", &["td1"], &["cluster.local/ns/a/*"]),
            ("*-td/ns/a/sa/b", &["new-td", "old-td", "x"], &["*-td/ns/a/sa/b", "x/ns/a/sa/b"]),
            ("cluster.local/ns/a/sa/b*", &["td1"], &["td1/ns/a/sa/b*"]),
            ("*", &["td1"], &["*"]),
        ] {
            assert_eq!(expand(principal, &domains(own)), domains(expected), "{principal}");
        }
    }
}
