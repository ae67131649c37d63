//! Keycloak: `KEYCLOAK` is its folder.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::client::{Request, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Cluster;
use sidegate_tests::scene::Company;

use crate::examples;
use crate::server::{self, Launch, Server};
use crate::stage::{self, Policy, Stage, denied, reason, upstream_header};
use crate::web::Web;
use crate::{Case, Suite};

/// The issuer, as tokens name it wherever Keycloak listens.
const ISSUER: &str = "http://keycloak.test/realms/staff";
/// The same again, for keys that change.
const ROTATING_ISSUER: &str = "http://keycloak.test/realms/rotating";
const TOKENS: &str = "/realms/staff/protocol/openid-connect/token";
const COMPONENTS: &str = "/admin/realms/rotating/components";
const RESOURCES: &str = "/realms/staff/authz/protection/resource_set";
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
    ("userInfo: what Keycloak says of who shows a token is there for rules, by the issuer's discovery", known_user),
    ("userInfo: a token that Keycloak does not take there gives nothing that a rule could grant by", unknown_user),
    ("userInfo: once its session is over a token still passes, and gives nothing", logged_out),
    ("userInfo: what is changed in Keycloak counts for the next request", renamed),
    ("uma: the resource of a path is there for rules, and none where there is none", resource),
    ("uma: a resource that is registered counts, and no more once it is deleted", registered),
    ("uma: with a wrong secret there is none", uma_wrong_secret),
    (
        "jwt: after a rotation of ES256 new tokens pass at once, and those of the key that is gone no longer",
        rotation_es,
    ),
    (
        "jwt: after a rotation of RS256 new tokens pass at once, and those of the key that is gone no longer",
        rotation_rs,
    ),
    (
        "jwt: after a rotation of PS256 new tokens pass at once, and those of the key that is gone no longer",
        rotation_ps,
    ),
    ("the example `keycloak`: what its README does", |world| play(world, "keycloak")),
    ("the example `roles`: what its README does", |world| play(world, "roles")),
    ("the example `introspection`: what its README does", |world| play(world, "introspection")),
    ("the example `login`: what its README does", |world| play(world, "login")),
];

struct World {
    stage: Stage,
    web: Web,
    examples: Company,
    _keycloak: Server,
}

fn play(world: &World, example: &str) {
    world.examples.play(example).unwrap_or_else(|error| panic!("{error}"));
}

pub fn suite(paths: &Paths, home: &Path) -> Result<Suite, String> {
    let [port, management] = server::free_ports()?;
    let keycloak = start(home, port, management)?;
    let web = Web::new(port, "keycloak.test")?;
    let admin = administrator(&web)?;
    let mut realm: Value =
        serde_json::from_str(include_str!("keycloak/realm.json")).map_err(|error| error.to_string())?;
    for name in ["staff", "rotating"] {
        realm["realm"] = json!(name);
        import(&web, &admin, &realm)?;
    }
    let info = web.json("GET", "/admin/serverinfo", &administrator(&web)?, &Value::Null)?;
    let version = info["systemInfo"]["version"].as_str().ok_or("Keycloak does not say its version")?.to_owned();
    let examples = examples::start(paths, port, &|realm| import(&web, &administrator(&web)?, realm))?;
    let stage = Stage::start(paths, &[("http://keycloak.test", Cluster::new("keycloak", web.address))], &policies())?;
    Ok(Suite::new(version, World { stage, web, examples, _keycloak: keycloak }, ALL))
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
    let page = format!("/realms/{}", realm["realm"].as_str().unwrap_or_default());
    while !web.is_ready(&page) {
        if Instant::now() > end {
            return made.and(Err("the realm is not there".to_owned()));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn policies() -> Vec<Policy> {
    let staff = |issuer, ttl| json!({ "staff": { "jwt": { "issuerUrl": issuer, "issuer": issuer, "audiences": ["talker"], "ttl": ttl } } });
    let jwt = |name, issuer, ttl, authorization| {
        let spec = json!({
            "hosts": ["*"],
            "authentication": staff(issuer, ttl),
            "authorization": authorization,
            "response": { "success": { "headers": { "x-user": { "plain": { "selector": "auth.identity.preferred_username" } } } } },
        });
        Policy::new(name, spec)
    };
    let admins = json!({ "admins": { "patternMatching": { "patterns": [
        { "selector": "auth.identity.realm_access.roles", "operator": "incl", "value": "admin" },
    ] } } });
    let client = |secret: &str| stage::secret("client", &json!({ "clientID": "talker", "clientSecret": secret }));
    let introspection = |name, secret: &str| {
        let spec = json!({
            "hosts": ["*"],
            "authentication": { "staff": { "oauth2Introspection": {
                "endpoint": format!("{ISSUER}/protocol/openid-connect/token/introspect"),
                "credentialsRef": { "name": "client" },
            } } },
            "response": { "success": { "headers": { "x-user": { "plain": { "selector": "auth.identity.username" } } } } },
        });
        Policy { resources: vec![client(secret)], ..Policy::new(name, spec) }
    };
    let asking = |name, metadata: Value, header: &str, pattern: Value, secret| {
        let spec = json!({
            "hosts": ["*"],
            "authentication": staff(ISSUER, 2),
            "metadata": { "more": metadata },
            "authorization": { "known": { "patternMatching": { "patterns": [pattern] } } },
            "response": { "success": { "headers": { "x-more": { "plain": { "selector": header } } } } },
        });
        Policy { resources: vec![client(secret)], ..Policy::new(name, spec) }
    };
    let uma = |name, secret| {
        let has_name = json!({ "selector": "auth.metadata.more.#.type", "operator": "incl", "value": "greeting" });
        let metadata = json!({ "uma": { "endpoint": ISSUER, "credentialsRef": { "name": "client" } } });
        asking(name, metadata, "auth.metadata.more.0.name", has_name, secret)
    };
    let has_email = json!({ "selector": "auth.metadata.more.email", "operator": "matches", "value": "@example.com$" });
    vec![
        asking(
            "user-info",
            json!({ "userInfo": { "identitySource": "staff" } }),
            "auth.metadata.more.email",
            has_email,
            "talker-secret",
        ),
        uma("uma", "talker-secret"),
        uma("uma-stranger", "not-the-secret"),
        introspection("introspection", "talker-secret"),
        introspection("stranger", "not-the-secret"),
        jwt("jwt", ISSUER, 2, json!({})),
        jwt("admins", ISSUER, 2, admins),
        jwt("rotation-es", ROTATING_ISSUER, 3600, json!({})),
        jwt("rotation-rs", ROTATING_ISSUER, 3600, json!({})),
        jwt("rotation-ps", ROTATING_ISSUER, 3600, json!({})),
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
        self.token_of("staff", client, user)
    }

    fn token_of(&self, realm: &str, client: &str, user: &str) -> String {
        let password = format!("{user}-password");
        let fields =
            [("grant_type", "password"), ("client_id", client), ("username", user), ("password", password.as_str())];
        let answer = self.web.form(&format!("/realms/{realm}/protocol/openid-connect/token"), &fields);
        answer.and_then(|answer| access_token(&answer)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A token in whose name Keycloak tells of the person, and one that ends the session.
    fn session(&self, user: &str) -> (String, String) {
        let password = format!("{user}-password");
        let fields = [
            ("grant_type", "password"),
            ("client_id", "es256"),
            ("scope", "openid email"),
            ("username", user),
            ("password", password.as_str()),
        ];
        let answer = self.web.form(TOKENS, &fields).unwrap_or_else(|error| panic!("{error}"));
        let refresh = answer["refresh_token"].as_str().unwrap_or_default().to_owned();
        (access_token(&answer).unwrap_or_else(|error| panic!("{error}")), refresh)
    }

    /// GET of a path, as the holder of a token.
    fn get(&self, listener: &str, path: &str, token: &str) -> Response {
        let request = Request::new("GET", path, "api.test").header("authorization", format!("Bearer {token}"));
        self.stage.send(listener, request)
    }

    fn administrate(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = administrator(&self.web).and_then(|admin| self.web.json(method, path, &admin, body));
        answer.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Adds a key for an algorithm; the one of the highest priority signs.
    fn new_key(&self, algorithm: &str, name: &str, priority: &str) {
        let (kind, config) = match algorithm {
            "ES256" => ("ecdsa-generated", json!({ "priority": [priority], "ecdsaEllipticCurveKey": ["P-256"] })),
            _ => ("rsa-generated", json!({ "priority": [priority], "algorithm": [algorithm], "keySize": ["2048"] })),
        };
        let key = json!({
            "name": name,
            "providerId": kind,
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": config,
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

fn rotation_es(world: &World) {
    rotation(world, "rotation-es", "ES256");
}

fn rotation_rs(world: &World) {
    rotation(world, "rotation-rs", "RS256");
}

fn rotation_ps(world: &World) {
    rotation(world, "rotation-ps", "PS256");
}

fn rotation(world: &World, listener: &str, algorithm: &str) {
    // Keys of this listener are fetched again for a token of an unknown key alone, once in ten seconds at most.
    let ask = |token: &str| world.stage.get(listener, token);
    let first = algorithm.to_lowercase();
    let token = || world.token_of("rotating", &first, "jane");
    let old = token();
    world.stage.until(200, || ask(&old));
    world.new_key(algorithm, &format!("{first}-second"), "200");
    let new = token();
    assert_eq!(ask(&new).status, 200, "the new key is not fetched when its first token comes");
    assert_eq!(ask(&old).status, 200, "the old key is still published");
    world.remove_key(&first);
    world.new_key(algorithm, &format!("{first}-third"), "300");
    let newest = token();
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

fn known_user(world: &World) {
    let (token, _) = world.session("jane");
    let response = world.stage.until(200, || world.stage.get("user-info", &token));
    assert_eq!(upstream_header(&response, "x-more").as_deref(), Some("jane@example.com"));
}

fn unknown_user(world: &World) {
    // Without the scope `openid` Keycloak says nothing, and that with status 403.
    let (token, _) = world.session("jane");
    world.stage.until(200, || world.stage.get("user-info", &token));
    denied(&world.stage.get("user-info", &world.token("es256", "jane")), 403, "Unauthorized");
}

fn logged_out(world: &World) {
    let (token, refresh) = world.session("jane");
    world.stage.until(200, || world.stage.get("user-info", &token));
    let fields = [("client_id", "es256"), ("refresh_token", refresh.as_str())];
    let ended = world.web.form("/realms/staff/protocol/openid-connect/logout", &fields);
    ended.unwrap_or_else(|error| panic!("{error}"));
    denied(&world.stage.get("user-info", &token), 403, "Unauthorized");
    assert_eq!(world.stage.get("jwt", &token).status, 200, "a signature knows of no session");
}

fn renamed(world: &World) {
    let (token, _) = world.session("john");
    world.stage.until(200, || world.stage.get("user-info", &token));
    let found = world.administrate("GET", "/admin/realms/staff/users?username=john&exact=true", &Value::Null);
    let mut john = found[0].clone();
    let id = john["id"].as_str().unwrap_or_else(|| panic!("there is no john in {found}")).to_owned();
    john["email"] = json!("john@example.org");
    world.administrate("PUT", &format!("/admin/realms/staff/users/{id}"), &john);
    denied(&world.stage.get("user-info", &token), 403, "Unauthorized");
}

fn resource(world: &World) {
    let token = world.token("rs256", "jane");
    let response = world.stage.until(200, || world.get("uma", "/greetings/1", &token));
    assert_eq!(upstream_header(&response, "x-more").as_deref(), Some("greeting-1"));
    denied(&world.get("uma", "/elsewhere", &token), 403, "Unauthorized");
}

fn registered(world: &World) {
    let token = world.token("rs256", "jane");
    world.stage.until(200, || world.get("uma", "/greetings/1", &token));
    denied(&world.get("uma", "/greetings/7", &token), 403, "Unauthorized");
    let fields = [("grant_type", "client_credentials"), ("client_id", "talker"), ("client_secret", "talker-secret")];
    let protection = world.web.form(TOKENS, &fields).and_then(|answer| access_token(&answer));
    let protection = protection.unwrap_or_else(|error| panic!("{error}"));
    let greeting = json!({ "name": "greeting-7", "type": "greeting", "uris": ["/greetings/7"] });
    let made = world.web.json("POST", RESOURCES, &protection, &greeting).unwrap_or_else(|error| panic!("{error}"));
    let response = world.get("uma", "/greetings/7", &token);
    assert_eq!(upstream_header(&response, "x-more").as_deref(), Some("greeting-7"));
    let id = made["_id"].as_str().unwrap_or_else(|| panic!("there is no id in {made}"));
    let deleted = world.web.json("DELETE", &format!("{RESOURCES}/{id}"), &protection, &Value::Null);
    deleted.unwrap_or_else(|error| panic!("{error}"));
    denied(&world.get("uma", "/greetings/7", &token), 403, "Unauthorized");
}

fn uma_wrong_secret(world: &World) {
    let token = world.token("rs256", "jane");
    world.stage.until(200, || world.get("uma", "/greetings/1", &token));
    denied(&world.stage.until(403, || world.get("uma-stranger", "/greetings/1", &token)), 403, "Unauthorized");
}
