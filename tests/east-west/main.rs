//! Policies over identity, decided by the engine alone: `cargo test -p sidegate-tests --test east-west`.

use libtest_mimic::{Arguments, Failed, Trial};
use sidegate_engine::east_west::{Chain, Facts, Http, Identity, SpiffeId, address};
use sidegate_engine::{Headers, Policy};
use sidegate_tests::vectors::{self, Call, Row, Table};

fn main() {
    let tables = vectors::load().unwrap_or_else(|error| panic!("{error}"));
    let trials = tables.into_iter().flat_map(|(file, table)| {
        let rows = table.rows.clone();
        rows.into_iter().map(move |row| {
            let table = table.clone();
            Trial::test(format!("{file}: {}", row.id), move || run(&table, &row).map_err(Failed::from))
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn run(table: &Table, row: &Row) -> Result<(), String> {
    let configuration = table.configuration(row)?.to_string();
    let call = table.call(row);
    let chain = if call.connection == Some(true) { Chain::Tcp } else { Chain::Http };
    let policy = Policy::compile_for(chain, configuration.as_bytes()).map_err(|problems| format!("{problems:#?}"))?;
    let workload = policy.workload().ok_or("no workload was selected")?;
    let identity = identity(call.identities.as_deref().unwrap_or_default());
    let headers = headers(&call);
    let tokens: Vec<_> = call.token.clone().into_iter().collect();
    let metadata = call.metadata.clone().unwrap_or_default();
    let ruling = workload.decide(&Facts {
        identity: &identity,
        port: call.port,
        peer: call.peer.as_deref().and_then(address),
        client: call.client.as_deref().and_then(address),
        destination: call.destination.as_deref().and_then(address),
        server_name: Some(call.server_name.as_deref().unwrap_or_default()),
        metadata: (chain == Chain::Http).then_some(&metadata),
        http: (chain == Chain::Http).then_some(Http { headers: &headers, tokens: Some(&tokens) }),
    });
    let said = |allowed: bool, by: &str| format!("{} {by}", if allowed { "ALLOW" } else { "DENY" });
    let got = said(ruling.allowed, &ruling.reason.to_string());
    // A row may leave out the level of what is denied implicitly.
    let plain = got.strip_suffix("(Network)").or_else(|| got.strip_suffix("(Application)"));
    if got != row.want && plain != Some(&row.want) {
        return Err(format!("expected {}, got {got}: {ruling}", row.want));
    }
    let shadow = ruling.shadow.as_ref().map(|shadow| said(shadow.allowed, &shadow.reason.to_string()));
    if row.shadow.is_some() && row.shadow != shadow {
        return Err(format!("expected in the shadow {:?}, got {shadow:?}", row.shadow));
    }
    Ok(())
}

/// As the certificate of a caller would give it.
fn identity(uris: &[String]) -> Identity {
    match uris {
        [] => Identity::Absent,
        [uri] => SpiffeId::parse(uri).map_or_else(Identity::Invalid, Identity::Known),
        _ => Identity::Invalid("the certificate has more than one URI SAN"),
    }
}

fn headers(call: &Call) -> Headers {
    let text = |field: &Option<String>, default: &str| field.clone().unwrap_or_else(|| default.to_owned());
    let pseudo = [
        (":method".to_owned(), text(&call.method, "GET")),
        (":path".to_owned(), text(&call.path, "/")),
        (":authority".to_owned(), text(&call.host, "api.test")),
    ];
    Headers::from_pairs(pseudo.into_iter().chain(call.headers.clone().unwrap_or_default()))
}
