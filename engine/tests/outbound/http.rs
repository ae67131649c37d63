//! `metadata.http`.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate_engine::{CallError, HttpRequest};

use crate::world::{World, body, header, json_reply, problems, reply, with_metadata};

fn secrets() -> Value {
    json!({"shared": {"token": "s3cret"}})
}

fn with(fields: Value) -> Value {
    let mut http = json!({});
    if fields.get("url").is_none() && fields.get("urlExpression").is_none() {
        http["url"] = json!("http://data.test/x");
    }
    http.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    with_metadata(&json!({"http": http}))
}

/// What is sent for a request with this path.
#[track_caller]
fn sent(fields: Value, path: &str) -> HttpRequest {
    let mut world = World::new(with(fields), &secrets());
    let outcome = world.get(path, |_| json_reply(&json!({})));
    world.sent.pop().unwrap_or_else(|| panic!("{outcome:#?}"))
}

/// The path that is sent, or why none is.
fn path(fields: Value, path: &str) -> Result<String, String> {
    let mut world = World::new(with(fields), &secrets());
    let outcome = world.get(path, |_| json_reply(&json!({})));
    world.sent.pop().map(|request| request.path).ok_or_else(|| outcome.line("metadata it").to_owned())
}

#[test]
fn a_value_from_outside_stays_within_its_place() {
    for (value, encoded) in [
        ("/a/admin", "%2Fa%2Fadmin"),
        ("/a?b=c&d#e", "%2Fa%3Fb%3Dc%26d%23e"),
        ("/%2e%2e", "%2F%252e%252e"),
        ("/a\n\r", "%2Fa%0A%0D"),
        ("/ü;@:\\", "%2F%C3%BC%3B%40%3A%5C"),
    ] {
        for (template, before, after) in [
            ("http://data.test/u/{request.path}", "/u/", ""),
            ("http://data.test/u/{request.path}/z", "/u/", "/z"),
            ("http://data.test/?q={request.path}&r=1", "/?q=", "&r=1"),
            ("http://data.test?{request.path}=1", "/?", "=1"),
        ] {
            let sent = path(json!({"url": template}), value);
            assert_eq!(sent, Ok(format!("{before}{encoded}{after}")), "{template} {value}");
        }
    }
    let by_header = |template: &str, value: &str| {
        let mut world = World::new(with(json!({"url": template})), &secrets());
        let outcome = world.send(&[("x-user", value)], |_| json_reply(&json!({})));
        world.sent.pop().map(|request| request.path).ok_or_else(|| outcome.line("metadata it").to_owned())
    };
    for value in [".", "..", "/../admin", "a/..", "..\\a"] {
        let refused = by_header("http://data.test/u/{request.headers.x-user}/z", value).unwrap_err();
        assert_eq!(refused, "metadata it: failed (the URL of the metadata server has a path with `.` or `..`)");
        assert!(by_header("http://data.test/u/?{request.headers.x-user}", value).is_ok());
    }
    assert!(by_header("http://data.test/u/.{request.headers.x-user}", ".").is_err());
    assert_eq!(by_header("http://data.test/u/{request.headers.x-user}", "..."), Ok("/u/...".to_owned()));
    let long = by_header("http://data.test/{request.headers.x-user}", &"x".repeat(2048)).unwrap_err();
    assert!(long.contains("longer than 2048 bytes"), "{long}");
}

#[test]
fn clients_do_not_choose_the_server() {
    for url in [
        "{request.path}",
        "{request.scheme}://data.test/",
        "http://{request.host}/",
        "http://{request.host}",
        "http://data.test:{request.headers.port}/x",
        "http://data.test{request.path}",
        "http://data.test{request.path}/x",
    ] {
        let found = problems(with(json!({"url": url})), &secrets());
        assert!(
            found[0].starts_with("spec.metadata.it.http.url: a placeholder must stand after the host"),
            "{found:?}"
        );
    }
    for url in [
        "data.test/{request.path}",
        "ftp://data.test/{request.path}",
        "http:///{request.path}",
        "http://u:p@data.test/{request.path}",
        "http://data.test/#{request.path}",
        "http://data.test/ {request.path}",
    ] {
        let found = problems(with(json!({"url": url})), &secrets());
        assert!(found[0].starts_with("spec.metadata.it.http.url: "), "{url}: {found:?}");
    }
}

#[test]
fn cel_may_choose_everything_within_bounds() {
    let chosen = |expression: &str| path(json!({"urlExpression": expression}), "/a?b=c");
    assert_eq!(chosen("'http://data.test' + request.path"), Ok("/a?b=c".to_owned()));
    assert_eq!(chosen("'http://data.test/a b#c'"), Ok("/a%20b".to_owned()));
    for (expression, part) in [
        ("1", "is no text"),
        ("request.headers['none']", "no such key"),
        ("'http://data.test/../x'", "`..`"),
        ("'http://data.test/\\r\\nx: y'", "control characters"),
        ("'gopher://data.test/'", "does not begin with"),
        ("'http://u:p@data.test/'", "user or password"),
        ("'/a'", ""),
    ] {
        let refused = chosen(expression).unwrap_err();
        assert!(refused.starts_with("metadata it: failed (") && refused.contains(part), "{expression}: {refused}");
    }
    let mut world =
        World::new(with(json!({"urlExpression": "'http://' + request.headers['x-host'] + '/'"})), &secrets());
    world.send(&[("x-host", "other.test:81")], |_| json_reply(&json!({})));
    let request = world.sent.pop().unwrap();
    assert_eq!(request.authority, "other.test:81");
    assert_eq!(request.clusters, ["outbound|81||other.test", "other.test:81", "other.test"]);
}

#[test]
fn bodies_are_for_methods_that_have_one() {
    for (method, has_body) in [
        ("GET", false),
        ("HEAD", false),
        ("DELETE", false),
        ("OPTIONS", false),
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
    ] {
        let request = sent(json!({"method": method, "body": {"value": "b"}}), "/");
        assert_eq!((request.method.as_str(), body(&request)), (method, if has_body { "b" } else { "" }));
        assert_eq!(header(&request, "content-type").len(), usize::from(has_body), "{method}");
    }
    for method in ["CONNECT", "TRACE"] {
        let found = problems(with(json!({"method": method})), &secrets());
        assert!(found[0].starts_with("spec.metadata.it.http.method: "), "{found:?}");
    }
}

#[test]
fn a_body_is_written_as_its_content_type_says() {
    let parameters =
        json!({"z": {"value": 1}, "a b": {"selector": "request.path"}, "n": {"selector": "auth.identity.none"}});
    for (fields, expected) in [
        (json!({}), ""),
        (json!({"contentType": "application/json"}), "{}"),
        (json!({"bodyParameters": parameters}), "a+b=%2Fx%3Fy%3D%26%2B&n=&z=1"),
        (
            json!({"bodyParameters": parameters, "contentType": "application/json"}),
            r#"{"a b":"/x?y=\u0026+","n":null,"z":1}"#,
        ),
        (json!({"body": {"value": {"a": [1]}}, "contentType": "application/json"}), r#"{"a":[1]}"#),
        (json!({"body": {"selector": "path={request.path}"}}), "path=/x?y=&+"),
    ] {
        let mut fields = fields;
        fields["method"] = json!("POST");
        let request = sent(fields.clone(), "/x?y=&+");
        assert_eq!(body(&request), expected, "{fields}");
        let content_type = fields["contentType"].as_str().unwrap_or("application/x-www-form-urlencoded");
        assert_eq!(header(&request, "content-type"), [content_type]);
    }
    let both = json!({"method": "POST", "body": {"value": 1}, "bodyParameters": {"a": {"value": 1}}});
    assert_eq!(
        problems(with(both), &secrets()),
        ["spec.metadata.it.http: `body` and `bodyParameters` are both given: keep one"]
    );
}

#[test]
fn the_secret_goes_where_credentials_say() {
    let secret = |credentials: Value| {
        let mut fields =
            json!({"url": "http://data.test/x?k=mine", "sharedSecretRef": {"name": "shared", "key": "token"}});
        if !credentials.is_null() {
            fields["credentials"] = credentials;
        }
        sent(fields, "/")
    };
    let pairs = |request: &HttpRequest| request.headers.iter().map(|(k, v)| format!("{k}: {v}")).collect::<Vec<_>>();
    for (credentials, expected) in [
        (json!(null), "authorization: Bearer s3cret"),
        (json!({"authorizationHeader": {"prefix": "Key"}}), "authorization: Key s3cret"),
        (json!({"customHeader": {"name": "X-Key"}}), "x-key: s3cret"),
        (json!({"cookie": {"name": "key"}}), "cookie: key=s3cret"),
    ] {
        let request = secret(credentials);
        assert_eq!((pairs(&request), request.path.as_str()), (vec![expected.to_owned()], "/x?k=mine"));
    }
    let request = secret(json!({"queryString": {"name": "k"}}));
    assert_eq!((pairs(&request), request.path.as_str()), (vec![], "/x?k=s3cret"));
    assert!(!format!("{request:?}").contains("s3cret"));
}

#[test]
fn headers_come_after_the_credential_and_before_the_content_type() {
    let request = sent(
        json!({"method": "POST", "sharedSecretRef": {"name": "shared", "key": "token"},
               "headers": {"Authorization": {"value": "Mine"}, "Content-Type": {"value": "text/plain"},
                           "X-Path": {"selector": "request.path"}}}),
        "/a",
    );
    assert_eq!(header(&request, "authorization"), ["Mine"]);
    assert_eq!(header(&request, "content-type"), ["application/x-www-form-urlencoded"]);
    assert_eq!(header(&request, "x-path"), ["/a"]);
    let mut world = World::new(with(json!({"headers": {"x-a": {"selector": "request.headers.x-a"}}})), &secrets());
    let outcome = world.send(&[("x-a", "a\r\nb: c")], |_| panic!("it is sent"));
    assert_eq!(outcome.line("metadata it"), "metadata it: failed (the value of header `x-a` has control characters)");
}

#[test]
fn the_trace_context_goes_along_once() {
    let mut world = World::new(with(json!({"headers": {"X-Request-Id": {"value": "ours"}}})), &secrets());
    world.send(&[("x-request-id", "theirs"), ("traceparent", "00-a-b-01")], |_| json_reply(&json!({})));
    assert_eq!(header(&world.sent[0], "x-request-id"), ["ours"]);
    assert_eq!(header(&world.sent[0], "traceparent"), ["00-a-b-01"]);
}

#[test]
fn what_cannot_be_sent_is_refused_at_once() {
    for (fields, expected) in [
        (json!({"headers": {"Host": {"value": "x"}}}), "headers.Host: `Host` is a header that frames or routes"),
        (json!({"headers": {"a b": {"value": "x"}}}), "headers.a b: `a b` is no header name"),
        (json!({"url": "http://a/", "urlExpression": "'x'"}), ": exactly one of `url` and `urlExpression`"),
        (json!({"url": "nonsense"}), "url: `nonsense` "),
        (json!({"urlExpression": "1 +"}), "urlExpression: "),
        (
            json!({"sharedSecretRef": {"name": "none", "key": "token"}}),
            "sharedSecretRef: there is no Secret `default/none`",
        ),
        (
            json!({"sharedSecretRef": {"name": "shared", "key": "none"}}),
            "sharedSecretRef: Secret `default/shared` has no entry `none`",
        ),
        (json!({"credentials": {"customHeader": {"name": "Host"}}}), "credentials.customHeader: `Host` is a header"),
        (json!({"credentials": {"cookie": {"name": "a;b"}}}), "credentials.cookie: `a;b` is no cookie name"),
        (
            json!({"credentials": {"authorizationHeader": {"prefix": "a\nb"}}}),
            "credentials.authorizationHeader: the prefix",
        ),
    ] {
        let found = problems(with(fields.clone()), &secrets());
        let place = "spec.metadata.it.http";
        assert_eq!(found.len(), 1, "{fields}: {found:?}");
        let rest = found[0].strip_prefix(place).unwrap().trim_start_matches('.');
        assert!(rest.starts_with(expected.trim_start_matches('.')), "{fields}: {found:?}");
        assert!(!found[0].contains("s3cret"));
    }
    let neither = with_metadata(&json!({"http": {}}));
    assert_eq!(problems(neither, &secrets()).len(), 1);
}

#[test]
fn an_answer_is_json_objects_or_text_whatever_its_status() {
    let answered = |status: u16, content_type: &str, body: &str| {
        let outcome = World::new(with(json!({})), &secrets()).get("/", |_| reply(status, content_type, body));
        outcome.result().map(ToOwned::to_owned).ok_or_else(|| outcome.line("metadata it").to_owned())
    };
    let ok = |text: &str| Ok(text.to_owned());
    for (status, content_type, body, expected) in [
        (200, "application/json", r#"{"a": 1}"#, ok(r#"{"a":1}"#)),
        (500, "application/json; charset=utf-8", r#"{"a": 1}"#, ok(r#"{"a":1}"#)),
        (404, "text/html", "<b>", ok("<b>")),
        (200, "application/json", "{\"a\":1}\n{\"b\":2} null", ok(r#"[{"a":1},{"b":2},null]"#)),
        (200, "text/plain", "{\"a\":1}", ok("{\"a\":1}")),
        (200, "text/plain", "", ok("")),
    ] {
        assert_eq!(answered(status, content_type, body), expected, "{status} {content_type} {body}");
    }
    for (status, content_type, body, part) in [
        (200, "application/json", "", "is empty"),
        (200, "application/json", "[1]", "no object"),
        (200, "application/json", "1", "no object"),
        (200, "application/json", r#"{"a": 1"#, "broken JSON"),
        (200, "application/json", r#"{"a": 1}x"#, "broken JSON"),
        (200, "application/json", "\u{fffd}", "broken JSON"),
        (200, "application/json", &"{\"a\":".repeat(1000), "broken JSON"),
        (301, "text/plain", "moved", "redirects with status 301"),
        (308, "application/json", "{}", "redirects with status 308"),
    ] {
        let refused = answered(status, content_type, body).unwrap_err();
        assert!(
            refused.starts_with("metadata it: failed (the metadata server does not answer as it should: "),
            "{refused}"
        );
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn no_answer_is_no_metadata_and_denies_nothing() {
    for (error, part) in [
        (CallError::Timeout, "it took too long"),
        (CallError::TooLong, "the answer is too long"),
        (CallError::Failed("connection refused".to_owned()), "connection refused"),
    ] {
        let outcome = World::new(with(json!({})), &secrets()).get("/", |_| Err(error.clone()));
        assert_eq!(outcome.result(), None);
        assert_eq!(
            outcome.line("metadata it"),
            format!("metadata it: failed (the metadata server does not answer: {part})")
        );
        assert_eq!(outcome.kinds.iter().filter(|kind| **kind == "METADATA_GENERIC_HTTP").count(), 1);
    }
}

#[test]
fn bounds_are_those_of_the_rule() {
    assert_eq!(sent(json!({}), "/").max_response_bytes, 1 << 20);
    assert_eq!(sent(json!({"maxResponseBytes": 10}), "/").max_response_bytes, 10);
}

#[test]
fn a_kept_answer_is_not_asked_for_again_and_misses_share_one_call() {
    let spec = with_metadata(&json!({"http": {"url": "http://data.test/{request.path}"},
        "cache": {"key": {"selector": "request.path"}, "ttl": 5}}));
    let mut world = World::new(spec, &secrets());
    for (path, seconds, calls) in [("/a", 0, 1), ("/a", 4, 1), ("/b", 0, 2), ("/a", 1, 3)] {
        world.pass(seconds);
        let outcome = world.get(path, |request| json_reply(&json!({"path": request.path})));
        assert_eq!(outcome.result(), Some(format!(r#"{{"path":"/{}"}}"#, path.replace('/', "%2F")).as_str()));
        assert_eq!(world.sent.len(), calls);
    }
    world.pass(10);
    let calls = world.first_calls(2);
    assert!(calls[0].share.is_some() && calls[0].share == calls[1].share);
    let plain = World::new(with(json!({})), &secrets()).first_calls(1);
    assert_eq!(plain[0].share, None);
    // A failure is not kept.
    world.get("/c", |_| Err(CallError::Timeout));
    assert!(world.get("/c", |_| json_reply(&json!({}))).result().is_some());
}

#[test]
fn groups_see_what_earlier_groups_found() {
    let spec = json!({
        "metadata": {
            "second": {"priority": 1, "http": {"url": "http://data.test/{auth.metadata.first.id}"}},
            "first": {"http": {"url": "http://data.test/first"}},
            "skipped": {"when": [{"predicate": "false"}], "http": {"url": "http://data.test/skipped"}},
            "twin": {"http": {"url": "http://data.test/twin"}},
        },
        "authorization": {"known": {"patternMatching": {"patterns": [
            {"predicate": "auth.metadata.second.name == 'found'"}]}}},
    });
    let mut world = World::new(spec, &secrets());
    let answer = |request: &HttpRequest| match request.path.as_str() {
        "/first" => json_reply(&json!({"id": "a/b"})),
        "/a%2Fb" => json_reply(&json!({"name": "found"})),
        _ => Err(CallError::Timeout),
    };
    assert!(world.get("/", answer).headers.is_some());
    let paths: Vec<&str> = world.sent.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/first", "/twin", "/a%2Fb"]);
    let refused = world.get("/", |_| Err(CallError::Timeout));
    assert!(refused.headers.is_none(), "without the metadata its authorization denies");
    assert!(refused.line("metadata skipped").contains("skipped"));
}

#[test]
fn the_timeout_is_that_of_the_rule() {
    use sidegate_engine::{Progress, Question, Session};
    for (timeout, expected) in [(json!(null), 5000), (json!(0), 5000), (json!(70), 70)] {
        let fields = if timeout.is_null() { json!({}) } else { json!({"timeout": timeout}) };
        let world = World::new(with(fields), &secrets());
        let request = sidegate_engine::Request {
            headers: sidegate_engine::Headers::from_pairs([(":authority", "a"), (":path", "/")]),
            ..Default::default()
        };
        let (_session, progress) = Session::start(world.policy, request, world.now);
        let Progress::Pending(calls) = progress else { panic!() };
        assert!(matches!(calls[0].question, Question::Http(_)));
        assert_eq!(calls[0].timeout, Duration::from_millis(expected));
    }
}
