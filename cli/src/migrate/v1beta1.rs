//! `v1beta1`, in which rules were lists, and many fields had other names.

use serde_json::{Map, Value, json};

use super::fields::{Context, Fields};
use crate::report::Finding;
use crate::yaml::Node;

type Object = Map<String, Value>;

/// A document of `v1beta1` as `v1beta3`; its status is left out.
pub fn convert(document: &Node, value: Value, notes: &mut Vec<Finding>) -> Value {
    let cx = &mut Context { document, notes };
    let mut members = Object::new();
    let Value::Object(mut before) = value else { return Value::Null };
    for name in ["kind", "metadata"] {
        members.extend(before.remove(name).map(|value| (name.to_owned(), value)));
    }
    members.insert("apiVersion".to_owned(), super::V1BETA3.into());
    if let Some(spec) = before.remove("spec") {
        let spec = Fields::of(spec, "spec".to_owned(), cx);
        members.insert("spec".to_owned(), self::spec(spec, cx).into());
    }
    Value::Object(members)
}

fn spec(mut from: Fields, cx: &mut Context<'_>) -> Object {
    let mut spec = Object::new();
    from.keep(&["hosts", "patterns", "when"], &mut spec);
    let lists: [(&str, &str, Rule); 4] = [
        ("identity", "authentication", authentication),
        ("metadata", "metadata", metadata),
        ("authorization", "authorization", authorization),
        ("callbacks", "callbacks", callback),
    ];
    for (name, as_name, rule) in lists {
        let rules = from.list(name, cx);
        if name == "identity" && rules.len() > 1 {
            cx.note("spec.identity", "ways in of one priority are tried in the order of their names, not of the list: give each a `priority` if the order matters");
        }
        let rules = named(rules, rule, cx);
        if !rules.is_empty() {
            spec.insert(as_name.to_owned(), rules.into());
        }
    }
    let response = response(&mut from, cx);
    if !response.is_empty() {
        spec.insert("response".to_owned(), response.into());
    }
    from.end(cx);
    spec
}

/// Converts what a rule has beside its name.
type Rule = fn(&mut Fields, &mut Object, &mut Context<'_>);

/// A list of things with names as an object by their names.
fn named(list: Vec<Fields>, rule: Rule, cx: &mut Context<'_>) -> Object {
    let mut all = Object::new();
    for mut from in list {
        let Some(name) = from.text("name").filter(|name| !name.is_empty()) else {
            cx.note(&from.path, "has no name: left out");
            continue;
        };
        let mut to = Object::new();
        from.keep(&["priority", "metrics", "when"], &mut to);
        if let Some(cache) = from.object("cache", cx) {
            to.insert("cache".to_owned(), self::cache(cache, cx).into());
        }
        rule(&mut from, &mut to, cx);
        let path = from.path.clone();
        from.end(cx);
        if all.insert(name.clone(), to.into()).is_some() {
            cx.note(&path, format!("is another one of the name `{name}`, of which the last stands, as with Authorino"));
        }
    }
    all
}

fn cache(mut from: Fields, cx: &mut Context<'_>) -> Object {
    let mut cache = Object::new();
    move_value("key", &mut from, &mut cache, cx);
    from.keep(&["ttl"], &mut cache);
    from.end(cx);
    cache
}

fn authentication(from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    credentials(from, to, cx);
    for mut property in from.list("extendedProperties", cx) {
        let overwrites = property.take("overwrite").is_some_and(|(value, _)| value == true);
        let part = if overwrites { "overrides" } else { "defaults" };
        let part = to.entry(part).or_insert_with(|| json!({}));
        if let (Some(name), Some(part)) = (property.text("name"), part.as_object_mut()) {
            part.insert(name, value(property, cx));
        }
    }
    method(from, to, cx, ("oidc", "jwt"), |from, to, _| {
        from.move_to("endpoint", to, "issuerUrl");
        from.keep(&["ttl"], to);
    });
    method(from, to, cx, ("oauth2", "oauth2Introspection"), |from, to, _| {
        from.move_to("tokenIntrospectionUrl", to, "endpoint");
        from.keep(&["tokenTypeHint", "credentialsRef"], to);
    });
    method(from, to, cx, ("apiKey", "apiKey"), |from, to, _| from.keep(&["selector", "allNamespaces"], to));
    method(from, to, cx, ("mtls", "x509"), |from, to, _| from.keep(&["selector", "allNamespaces"], to));
    method(from, to, cx, ("kubernetes", "kubernetesTokenReview"), |from, to, _| from.keep(&["audiences"], to));
    method(from, to, cx, ("plain", "plain"), |from, to, _| from.move_to("authJSON", to, "selector"));
    method(from, to, cx, ("anonymous", "anonymous"), |_, _, _| {});
}

fn metadata(from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    method(from, to, cx, ("http", "http"), http);
    method(from, to, cx, ("userInfo", "userInfo"), |from, to, _| from.keep(&["identitySource"], to));
    method(from, to, cx, ("uma", "uma"), |from, to, _| from.keep(&["endpoint", "credentialsRef"], to));
}

fn authorization(from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    method(from, to, cx, ("json", "patternMatching"), |from, to, _| from.move_to("rules", to, "patterns"));
    method(from, to, cx, ("opa", "opa"), opa);
    method(from, to, cx, ("kubernetes", "kubernetesSubjectAccessReview"), |from, to, cx| {
        move_value("user", from, to, cx);
        from.keep(&["groups"], to);
        method(from, to, cx, ("resourceAttributes", "resourceAttributes"), |from, to, cx| {
            for name in ["namespace", "group", "resource", "name", "subresource", "verb"] {
                move_value(name, from, to, cx);
            }
        });
    });
    method(from, to, cx, ("authzed", "spicedb"), |from, to, cx| {
        from.keep(&["endpoint", "insecure", "sharedSecretRef"], to);
        for name in ["subject", "resource"] {
            method(from, to, cx, (name, name), |from, to, cx| {
                move_value("kind", from, to, cx);
                move_value("name", from, to, cx);
            });
        }
        move_value("permission", from, to, cx);
    });
}

fn opa(from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    from.move_to("inlineRego", to, "rego");
    from.keep(&["allValues"], to);
    let Some(mut registry) = from.object("externalRegistry", cx) else { return };
    let mut external = Object::new();
    registry.move_to("endpoint", &mut external, "url");
    registry.keep(&["sharedSecretRef", "ttl"], &mut external);
    credentials(&mut registry, &mut external, cx);
    let path = registry.path.clone();
    registry.end(cx);
    if external.get("url").is_none_or(|url| url == "") {
        return cx.note(&path, "has no endpoint: left out");
    }
    if to.contains_key("rego") {
        cx.note(&path, "stands beside `inlineRego`, and only one of them can: keep one");
    }
    to.insert("externalPolicy".to_owned(), external.into());
}

fn callback(from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    method(from, to, cx, ("http", "http"), http);
}

fn http(from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    from.move_to("endpoint", to, "url");
    from.keep(&["method", "contentType", "sharedSecretRef", "oauth2"], to);
    move_value("body", from, to, cx);
    for name in ["bodyParameters", "headers"] {
        move_properties(name, from, to, cx);
    }
    credentials(from, to, cx);
}

fn response(from: &mut Fields, cx: &mut Context<'_>) -> Object {
    let mut response = Object::new();
    if let Some(mut denials) = from.object("denyWith", cx) {
        for name in ["unauthenticated", "unauthorized"] {
            method(&mut denials, &mut response, cx, (name, name), |from, to, cx| {
                from.keep(&["code"], to);
                move_value("message", from, to, cx);
                move_properties("headers", from, to, cx);
                move_value("body", from, to, cx);
            });
        }
        denials.end(cx);
    }
    let (mut headers, mut facts) = (Vec::new(), Vec::new());
    for mut item in from.list("response", cx) {
        match item.text("wrapper").as_deref() {
            Some("envoyDynamicMetadata") => facts.push(item),
            _ => headers.push(item),
        }
    }
    let mut success = Object::new();
    for (name, items) in [("headers", headers), ("dynamicMetadata", facts)] {
        let items = named(items, success_item, cx);
        if !items.is_empty() {
            success.insert(name.to_owned(), items.into());
        }
    }
    if !success.is_empty() {
        response.insert("success".to_owned(), success.into());
    }
    response
}

fn success_item(from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    if let Some(key) = from.text("wrapperKey").filter(|key| !key.is_empty()) {
        to.insert("key".to_owned(), key.into());
    }
    move_value("plain", from, to, cx);
    method(from, to, cx, ("json", "json"), |from, to, cx| move_properties("properties", from, to, cx));
    method(from, to, cx, ("wristband", "wristband"), |from, to, cx| {
        from.keep(&["issuer", "tokenDuration", "signingKeyRefs"], to);
        move_properties("customClaims", from, to, cx);
    });
}

/// Converts an object, and gives it its new name.
fn method(from: &mut Fields, to: &mut Object, cx: &mut Context<'_>, (name, as_name): (&str, &str), convert: Rule) {
    if let Some(mut from) = from.object(name, cx) {
        let mut method = Object::new();
        convert(&mut from, &mut method, cx);
        from.end(cx);
        to.insert(as_name.to_owned(), method.into());
    }
}

fn credentials(from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    let Some(mut credentials) = from.object("credentials", cx) else { return };
    let place = credentials.text("in");
    let key = credentials.text("keySelector").unwrap_or_default();
    let path = credentials.path.clone();
    credentials.end(cx);
    let credentials = match place.as_deref() {
        None | Some("authorization_header") if key.is_empty() => return,
        None | Some("authorization_header") => json!({ "authorizationHeader": { "prefix": key } }),
        Some("custom_header") => json!({ "customHeader": { "name": key } }),
        Some("query") => json!({ "queryString": { "name": key } }),
        Some("cookie") => json!({ "cookie": { "name": key } }),
        Some(other) => return cx.note(&path, format!("`{other}` is no place for credentials: left out")),
    };
    to.insert("credentials".to_owned(), credentials);
}

/// `{value}` or `{valueFrom: {authJSON}}`, of which the second stands.
fn value(mut from: Fields, cx: &mut Context<'_>) -> Value {
    let fixed = from.take("value");
    let selector = from.object("valueFrom", cx).and_then(|mut dynamic| {
        let selector = dynamic.text("authJSON");
        dynamic.end(cx);
        selector.filter(|selector| !selector.is_empty())
    });
    let path = from.path.clone();
    from.end(cx);
    match (selector, fixed) {
        (Some(selector), None) => json!({ "selector": selector }),
        (Some(selector), Some(_)) => {
            cx.note(&path, "has both `value` and `valueFrom`: the second stands, as with Authorino");
            json!({ "selector": selector })
        }
        (None, Some((value, _))) => json!({ "value": value }),
        (None, None) => json!({ "value": "" }),
    }
}

fn move_value(name: &str, from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    if let Some(value) = from.object(name, cx) {
        to.insert(name.to_owned(), self::value(value, cx));
    }
}

/// A list of things with names and values as an object.
fn move_properties(name: &str, from: &mut Fields, to: &mut Object, cx: &mut Context<'_>) {
    let mut properties = Object::new();
    let list = from.list(name, cx);
    if list.is_empty() && name != "properties" {
        return;
    }
    for mut property in list {
        let path = property.path.clone();
        match property.text("name") {
            Some(name) => {
                if properties.insert(name.clone(), value(property, cx)).is_some() {
                    cx.note(
                        &path,
                        format!("is another one of the name `{name}`, of which the last stands, as with Authorino"),
                    );
                }
            }
            None => cx.note(&path, "has no name: left out"),
        }
    }
    to.insert(name.to_owned(), properties.into());
}
