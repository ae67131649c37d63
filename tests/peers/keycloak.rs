//! Keycloak: `KEYCLOAK` is its folder.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Cluster;

use crate::server::{self, Launch, Server};
use crate::stage::{self, Policy, Stage, denied, reason, upstream_header};
use crate::web::Web;
use crate::{Case, Suite};

/// The issuer, as tokens name it wherever Keycloak listens.
const ISSUER: &str = "http://keycloak.test/realms/staff";
const TOKENS: &str = "/realms/staff/protocol/openid-connect/token";
const COMPONENTS: &str = "/admin/realms/staff/components";
const ADMIN: &str = "admin";

const ALL: &[(&str, Case<World>)] = &[
    ("jwt: tokens signed by RS256, ES256 and PS256 pass", algorithms),
    ("jwt: a token that another service was meant to get is refused", audience),
    ("jwt: a token of another realm is refused", realm),
    ("jwt: a token whose signature was changed is refused", forged),
    ("jwt: a token passes until it expires", expiry),
    ("jwt: a role that the token does not give is missed", roles),
    ("oauth2Introspection: an active token's claims are the identity", active),
    ("oauth2Introspection: a token of nobody is refused", inactive),
    ("oauth2Introspection: a token that was revoked is refused", revoked),
    ("oauth2Introspection: a token for another audience is not active for this client", not_for_us),
    ("oauth2Introspection: with a wrong secret nothing is decided", wrong_secret),
    ("jwt: after a rotation new tokens pass at once, and those of the key that is gone no longer", rotation),
];

struct World {
    stage: Stage,
    web: Web,
    _keycloak: Server,
}

pub fn suite(paths: &Paths, home: &Path) -> Result<Suite, String> {
    let [port, management] = server::free_ports()?;
    let keycloak = start(home, port, management)?;
    let web = Web::new(port, "keycloak.test")?;
    let admin = administrator(&web)?;
    let realm = serde_json::from_str(include_str!("keycloak/realm.json")).map_err(|error| error.to_string())?;
    import(&web, &admin, &realm)?;
    let info = web.json("GET", "/admin/serverinfo", &administrator(&web)?, &Value::Null)?;
    let version = info["systemInfo"]["version"].as_str().ok_or("Keycloak does not say its version")?.to_owned();
    let stage = Stage::start(paths, "http://keycloak.test", Cluster::new("keycloak", web.address), &policies())?;
    Ok(Suite::new(version, World { stage, web, _keycloak: keycloak }, ALL))
}

fn start(home: &Path, port: u16, management: u16) -> Result<Server, String> {
    let health = Web::new(management, "localhost")?;
    let arguments = [
        "start",
        "--optimized",
        "--http-enabled=true",
        "--http-host=127.0.0.1",
        &format!("--http-port={port}"),
        &format!("--http-management-port={management}"),
        "--hostname=http://keycloak.test",
    ];
    let launch = Launch {
        name: "keycloak",
        program: &home.join("bin/kc.sh"),
        arguments: arguments.map(str::to_owned).into(),
        environment: vec![
            ("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN.to_owned()),
            ("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN.to_owned()),
            ("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m".to_owned()),
        ],
        patience: Duration::from_secs(300),
    };
    Server::start(launch, server::folder("keycloak")?, || health.is_ready("/health/ready"))
}

/// Makes the realm. Its keys take longer than an answer may where others use the processor.
fn import(web: &Web, admin: &str, realm: &Value) -> Result<(), String> {
    let made = web.json("POST", "/admin/realms", admin, realm);
    let end = Instant::now() + Duration::from_secs(120);
    while !web.is_ready("/realms/staff") {
        if Instant::now() > end {
            return made.and(Err("the realm is not there".to_owned()));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn policies() -> Vec<Policy> {
    let jwt = |name, ttl, authorization| {
        let spec = json!({
            "hosts": ["*"],
            "authentication": { "staff": { "jwt": {
                "issuerUrl": ISSUER, "issuer": ISSUER, "audiences": ["talker"], "ttl": ttl,
            } } },
            "authorization": authorization,
            "response": { "success": { "headers": { "x-user": { "plain": { "selector": "auth.identity.preferred_username" } } } } },
        });
        Policy::new(name, spec)
    };
    let admins = json!({ "admins": { "patternMatching": { "patterns": [
        { "selector": "auth.identity.realm_access.roles", "operator": "incl", "value": "admin" },
    ] } } });
    let introspection = |name, secret: &str| {
        let spec = json!({
            "hosts": ["*"],
            "authentication": { "staff": { "oauth2Introspection": {
                "endpoint": format!("{ISSUER}/protocol/openid-connect/token/introspect"),
                "credentialsRef": { "name": "client" },
            } } },
            "response": { "success": { "headers": { "x-user": { "plain": { "selector": "auth.identity.username" } } } } },
        });
        let client = stage::secret("client", &json!({ "clientID": "talker", "clientSecret": secret }));
        Policy { resources: vec![client], ..Policy::new(name, spec) }
    };
    vec![
        introspection("introspection", "talker-secret"),
        introspection("stranger", "not-the-secret"),
        jwt("jwt", 2, json!({})),
        jwt("admins", 2, admins),
        jwt("rotation", 3600, json!({})),
    ]
}

fn administrator(web: &Web) -> Result<String, String> {
    let fields = [("grant_type", "password"), ("client_id", "admin-cli"), ("username", ADMIN), ("password", ADMIN)];
    access_token(&web.form("/realms/master/protocol/openid-connect/token", &fields)?)
}

fn access_token(answer: &Value) -> Result<String, String> {
    answer["access_token"].as_str().map(str::to_owned).ok_or_else(|| format!("there is no token in {answer}"))
}

impl World {
    /// A token that a person gets through a client of the realm.
    fn token(&self, client: &str, user: &str) -> String {
        let password = format!("{user}-password");
        let fields =
            [("grant_type", "password"), ("client_id", client), ("username", user), ("password", password.as_str())];
        let answer = self.web.form(TOKENS, &fields);
        answer.and_then(|answer| access_token(&answer)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn administrate(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = administrator(&self.web).and_then(|admin| self.web.json(method, path, &admin, body));
        answer.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Adds a key for ES256; the one of the highest priority signs.
    fn new_key(&self, name: &str, priority: &str) {
        let key = json!({
            "name": name,
            "providerId": "ecdsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": { "priority": [priority], "ecdsaEllipticCurveKey": ["P-256"] },
        });
        self.administrate("POST", COMPONENTS, &key);
    }

    fn remove_key(&self, name: &str) {
        let found = self.administrate("GET", &format!("{COMPONENTS}?name={name}"), &Value::Null);
        let id = found[0]["id"].as_str().unwrap_or_else(|| panic!("there is no key `{name}` in {found}"));
        self.administrate("DELETE", &format!("{COMPONENTS}/{id}"), &Value::Null);
    }

    fn refuses(&self, token: &str) {
        // Whatever it answers before it has keys is no proof.
        let good = self.token("rs256", "jane");
        self.stage.until(200, || self.stage.get("jwt", &good));
        let response = self.stage.get("jwt", token);
        assert_eq!(response.status, 401, "{response:?}");
        assert!(reason(&response).is_some_and(|reason| !reason.is_empty()), "{response:?}");
    }
}

fn algorithms(world: &World) {
    for client in ["rs256", "es256", "ps256"] {
        let token = world.token(client, "jane");
        let response = world.stage.until(200, || world.stage.get("jwt", &token));
        assert_eq!(upstream_header(&response, "x-user").as_deref(), Some("jane"), "{client}");
    }
}

fn audience(world: &World) {
    world.refuses(&world.token("elsewhere", "jane"));
}

fn realm(world: &World) {
    world.refuses(&administrator(&world.web).unwrap_or_else(|error| panic!("{error}")));
}

fn forged(world: &World) {
    let token = world.token("rs256", "jane");
    let other = world.token("rs256", "john");
    let (claims, _) = token.rsplit_once('.').unwrap_or_default();
    let (_, signature) = other.rsplit_once('.').unwrap_or_default();
    world.refuses(&format!("{claims}.{signature}"));
}

fn expiry(world: &World) {
    let first = world.token("rs256", "jane");
    world.stage.until(200, || world.stage.get("jwt", &first));
    let token = world.token("brief", "jane");
    assert_eq!(world.stage.get("jwt", &token).status, 200);
    world.stage.until(401, || world.stage.get("jwt", &token));
}

fn roles(world: &World) {
    let (jane, john) = (world.token("rs256", "jane"), world.token("rs256", "john"));
    world.stage.until(200, || world.stage.get("admins", &jane));
    let response = world.stage.get("admins", &john);
    assert_eq!(response.status, 403, "{response:?}");
}

fn rotation(world: &World) {
    // Keys of this listener are fetched again for a token of an unknown key alone, once in ten seconds at most.
    let ask = |token: &str| world.stage.get("rotation", token);
    let old = world.token("es256", "jane");
    world.stage.until(200, || ask(&old));
    world.new_key("second", "200");
    let new = world.token("es256", "jane");
    assert_eq!(ask(&new).status, 200, "the new key is not fetched when its first token comes");
    assert_eq!(ask(&old).status, 200, "the old key is still published");
    world.remove_key("es256");
    world.new_key("third", "300");
    let newest = world.token("es256", "jane");
    world.stage.until(200, || ask(&newest));
    world.stage.until(401, || ask(&old));
    assert_eq!(ask(&new).status, 200);
}

fn active(world: &World) {
    let response = world.stage.get("introspection", &world.token("es256", "jane"));
    assert_eq!(upstream_header(&response, "x-user").as_deref(), Some("jane"));
}

fn inactive(world: &World) {
    denied(&world.stage.get("introspection", "no-token-at-all"), 401, "token is not active");
}

fn revoked(world: &World) {
    let token = world.token("ps256", "john");
    assert_eq!(world.stage.get("introspection", &token).status, 200);
    let fields = [("client_id", "ps256"), ("token", token.as_str())];
    let revoked = world.web.form("/realms/staff/protocol/openid-connect/revoke", &fields);
    revoked.unwrap_or_else(|error| panic!("{error}"));
    denied(&world.stage.get("introspection", &token), 401, "token is not active");
}

fn not_for_us(world: &World) {
    denied(&world.stage.get("introspection", &world.token("elsewhere", "jane")), 401, "token is not active");
}

fn wrong_secret(world: &World) {
    denied(&world.stage.get("stranger", &world.token("rs256", "jane")), 503, "introspection");
}
