//! Every sample event, through the deployed function that it is for, in the order of the life in `events/scenario.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use local::functions::{self, FUNCTIONS};
use serde_json::{Value, json};
use shared::event::EventError;

use crate::support::deployed::{Deployment, ORIGIN};
use crate::support::harness::World;
use crate::support::template;

/// A line of the life: an event, what its answer must be, and what later events take from the answer.
struct Line {
    event: String,
    /// An HTTP status; for an event that is no request, `ok` or `failures=2`.
    expected: String,
    /// A placeholder and where in the answer's body its value lies.
    captures: Vec<(String, String)>,
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(file);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("events/{file}: {error}"))
}

fn life() -> Vec<Line> {
    let text = read("scenario.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (event, expected) = (words.next().unwrap(), words.next().unwrap());
            let captures = words.map(|word| word.split_once('=').map(|(name, filter)| (name.into(), filter.into())));
            Line {
                event,
                expected,
                captures: captures.collect::<Option<_>>().unwrap(),
            }
        })
        .collect()
}

/// The function that an event is for: the one whose name it begins with, the longest of them.
fn function_of(event: &str) -> Option<&'static str> {
    functions::names()
        .into_iter()
        .filter(|name| event.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
        .max_by_key(|name| name.len())
}

fn is_http(function: &str) -> bool {
    FUNCTIONS.iter().any(|candidate| candidate.name == function)
}

/// The OpenAPI document's operation for a request, by its path's template. A slash at the end makes no difference.
fn operation<'d>(document: &'d Value, method: &str, path: &str) -> Option<(String, &'d Value)> {
    let fits = |template: &str| {
        let (mut template, mut path) = (
            template.trim_end_matches('/').split('/'),
            path.trim_end_matches('/').split('/'),
        );
        let pairs = std::iter::from_fn(|| match (template.next(), path.next()) {
            (None, None) => None,
            pair => Some(pair),
        });
        let mut pairs = pairs.map(|pair| match pair {
            (Some(template), Some(path)) => template.starts_with('{') || template == path,
            _ => false,
        });
        pairs.all(|fits| fits)
    };
    let (template, item) = document["paths"].as_object()?.iter().find(|(path, _)| fits(path))?;
    let operation = item.get(method.to_lowercase())?;
    Some((format!("{method} {template}"), operation))
}

/// Lives the whole life; what did not go as written.
pub async fn live(deployment: &Deployment, world: &World) -> Vec<String> {
    let document = serde_json::to_value(local::stack::openapi()).unwrap();
    let now = world.clock.now();
    let in_30_days = now.plus(Duration::from_secs(30 * 24 * 3600));
    let mut values = BTreeMap::from([
        ("now".to_owned(), now.to_string()),
        ("expires_at".to_owned(), in_30_days.to_string()),
    ]);
    let mut wrong = Vec::new();
    for line in life() {
        let mut text = read(&format!("{}.json", line.event));
        for (name, value) in &values {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        assert!(
            !text.contains("{{"),
            "{} has a placeholder that nobody fills",
            line.event
        );
        let function = function_of(&line.event).unwrap();
        let mails = world.mailbox.mails().len();
        let answer = match deployment.call(function, text.as_bytes()).await {
            Ok(answer) => answer,
            Err(error) => json!({"errorMessage": error.to_string()}),
        };
        if world.mailbox.mails().len() > mails && !may_mail(function) {
            wrong.push(format!(
                "{}: {function} sent a mail, which its role refuses",
                line.event
            ));
        }
        let faults = if is_http(function) {
            http_faults(
                &document,
                &serde_json::from_str(&text).unwrap(),
                &line.expected,
                &answer,
            )
        } else {
            triggered_faults(&line.expected, &answer)
        };
        wrong.extend(
            faults
                .into_iter()
                .map(|fault| format!("{}: {fault}\n  {answer}", line.event)),
        );
        let body = body(&answer);
        for (name, filter) in line.captures {
            values.insert(name, taken(&body, &filter));
        }
    }
    wrong
}

fn may_mail(function: &str) -> bool {
    let declared = template::functions();
    let declared = declared.iter().find(|declared| declared.name == function).unwrap();
    let mut statements = declared.statements().into_iter();
    statements.any(|statement| statement.actions.contains(&"ses:SendEmail"))
}

fn body(answer: &Value) -> Value {
    let text = answer["body"].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// The value that a filter of jq takes from a body: a path, or what a capture finds in the text there.
fn taken(body: &Value, filter: &str) -> String {
    let (path, capture) = match filter.split_once('|') {
        Some((path, capture)) => (path, Some(capture)),
        None => (filter, None),
    };
    let text = body.pointer(&path.replace('.', "/")).and_then(Value::as_str);
    let text = text.unwrap_or_else(|| panic!("no {path} in {body}"));
    let Some(capture) = capture else {
        return text.to_owned();
    };
    let beginning = capture
        .strip_prefix("capture(\"")
        .and_then(|rest| rest.strip_suffix("(?<it>[^&]+)\").it"));
    let beginning = beginning.unwrap_or_else(|| panic!("{filter} is more of jq than is known here"));
    let (_, rest) = text.split_once(beginning).unwrap();
    rest.split('&').next().unwrap().to_owned()
}

/// What is wrong with the answer to a trigger.
fn triggered_faults(expected: &str, answer: &Value) -> Vec<String> {
    let failures = answer["batchItemFailures"].as_array().map_or(0, Vec::len);
    let holds = match expected.split_once('=') {
        None if expected == "ok" => answer.get("errorMessage").is_none() && failures == 0,
        Some(("failures", number)) => failures.to_string() == number,
        _ => false,
    };
    if holds { vec![] } else { vec![format!("not {expected}")] }
}

/// What is wrong with the answer to a request: its status, or a shape that is not the contract's.
fn http_faults(document: &Value, event: &Value, expected: &str, answer: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let status = answer["statusCode"].to_string();
    if status != expected {
        return vec![format!("{status}, not {expected}")];
    }
    let header = |name: &str| answer["headers"][name].as_str().unwrap_or_default();
    if header("x-request-id").is_empty() || !header("cache-control").contains("no-store") {
        faults.push("lacks headers that every answer has".to_owned());
    }
    let http = &event["requestContext"]["http"];
    let (method, path) = (http["method"].as_str().unwrap(), http["path"].as_str().unwrap());
    let body = body(answer);
    let content_type = header("content-type");
    if answer["statusCode"].as_u64() >= Some(400) {
        let problem = &document["components"]["schemas"]["Problem"];
        mismatches(document, problem, &body, "body", &mut faults);
        if content_type != "application/problem+json" || body["request_id"] != header("x-request-id") {
            faults.push("is no problem of its request".to_owned());
        }
        if let Some((name, operation)) = operation(document, method, path) {
            let codes = operation["responses"][expected]["x-error-codes"].as_array();
            if !codes.is_some_and(|codes| codes.contains(&body["error_code"])) {
                faults.push(format!("{name} is not documented to answer so"));
            }
        }
    } else if expected == "308" {
        if !path.starts_with(header("location")) || header("location").ends_with('/') {
            faults.push("redirects elsewhere".to_owned());
        }
    } else if method == "OPTIONS" {
        if header("access-control-allow-origin") != ORIGIN {
            faults.push("does not let the origin call".to_owned());
        }
    } else {
        let (name, operation) = operation(document, method, path).unwrap();
        let content = &operation["responses"][expected]["content"];
        match content.get(content_type.split(';').next().unwrap()) {
            None => faults.push(format!("{name} is not documented to answer {content_type}")),
            Some(content) if content_type == "application/json" => {
                mismatches(document, &content["schema"], &body, "body", &mut faults);
            }
            Some(_) => {}
        }
    }
    faults
}

/// Adds what in `value` is not as `schema` says, a field that the schema does not know included.
fn mismatches(document: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let schema = resolved(document, schema);
    if let Some(ways) = ["oneOf", "anyOf"].iter().find_map(|way| schema[*way].as_array()) {
        let fits = |way: &Value| {
            let mut faults = Vec::new();
            mismatches(document, way, value, at, &mut faults);
            faults.is_empty()
        };
        if !ways.iter().any(fits) {
            faults.push(format!("{at} is none of what it may be"));
        }
        return;
    }
    let mut parts = Vec::new();
    flatten(document, schema, &mut parts);
    let types: Vec<&str> = parts.iter().flat_map(|part| type_names(&part["type"])).collect();
    if !types.is_empty() && !types.iter().any(|name| is_of_type(value, name)) {
        faults.push(format!("{at} is no {types:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        faults.push(format!("{at} is none of {allowed:?}"));
    }
    if !value.is_null() && !is_of_format(value, schema["format"].as_str()) {
        faults.push(format!("{at} is no {}", schema["format"]));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        mismatches(document, &schema["items"], item, &format!("{at}[{index}]"), faults);
    }
    let properties: BTreeMap<&str, &Value> = parts
        .iter()
        .filter_map(|part| part["properties"].as_object())
        .flatten()
        .map(|(name, property)| (name.as_str(), property))
        .collect();
    let Some(object) = value.as_object().filter(|_| !properties.is_empty()) else {
        return;
    };
    for name in parts.iter().filter_map(|part| part["required"].as_array()).flatten() {
        if !object.contains_key(name.as_str().unwrap()) {
            faults.push(format!("{at} lacks {name}"));
        }
    }
    for (name, value) in object {
        match properties.get(name.as_str()) {
            None => faults.push(format!("{at} has {name}, which nobody documents")),
            Some(property) => mismatches(document, property, value, &format!("{at}.{name}"), faults),
        }
    }
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(name) => document.pointer(name.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    }
}

/// A schema and all that it is put together from.
fn flatten<'d>(document: &'d Value, schema: &'d Value, parts: &mut Vec<&'d Value>) {
    let schema = resolved(document, schema);
    parts.push(schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        flatten(document, part, parts);
    }
}

fn type_names(types: &Value) -> Vec<&str> {
    match types {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the document has the type {other}"),
    }
}

fn is_of_format(value: &Value, format: Option<&str>) -> bool {
    let text = value.as_str().unwrap_or_default();
    match format {
        Some("uuid") => uuid::Uuid::parse_str(text).is_ok(),
        // Fixed width, milliseconds, `Z`.
        Some("date-time") => {
            text.len() == 24
                && text
                    .parse::<shared::clock::Time>()
                    .is_ok_and(|time| time.to_string() == text)
        }
        _ => true,
    }
}

#[test]
fn every_event_is_lived_and_every_operation_has_one() {
    let document = serde_json::to_value(local::stack::openapi()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    let life = life();
    let lived: BTreeSet<String> = life.iter().map(|line| line.event.clone()).collect();
    assert_eq!(files, lived, "the files of events/, and the events of scenario.txt");

    let mut succeeding = BTreeSet::new();
    let mut calling = BTreeSet::new();
    for line in &life {
        let function = function_of(&line.event).unwrap_or_else(|| panic!("{} is for no function", line.event));
        calling.insert(function);
        if is_http(function) && line.expected.starts_with('2') {
            let event: Value = serde_json::from_str(&read(&format!("{}.json", line.event))).unwrap();
            let http = &event["requestContext"]["http"];
            let found = operation(
                &document,
                http["method"].as_str().unwrap(),
                http["path"].as_str().unwrap(),
            );
            succeeding.extend(found.map(|(name, _)| name));
        }
    }
    let operations: BTreeSet<String> = crate::support::harness::operations()
        .iter()
        .map(crate::support::harness::Operation::name)
        .collect();
    assert_eq!(succeeding, operations, "operations that an event succeeds in, and all");
    let declared: BTreeSet<&str> = template::functions().iter().map(|function| function.name).collect();
    assert_eq!(calling, declared, "functions that have an event, and all");
}

#[test]
fn every_event_is_what_the_gateway_makes_of_its_request() {
    for line in life() {
        let function = function_of(&line.event).unwrap();
        if !is_http(function) {
            continue;
        }
        let event: Value = serde_json::from_str(&read(&format!("{}.json", line.event))).unwrap();
        let context = &event["requestContext"];
        let (method, path) = (&context["http"]["method"], &context["http"]["path"]);
        let route = template::route(method.as_str().unwrap(), path.as_str().unwrap());
        assert_eq!(route.function, function, "{}", line.event);
        let proxy = route.key.split_once("{proxy+}").map(|(before, _)| {
            let beginning = before.split_once(' ').map_or(before, |(_, path)| path);
            json!({"proxy": path.as_str().unwrap().strip_prefix(beginning).unwrap()})
        });
        for (what, is, should_be) in [
            ("version", &event["version"], &json!("2.0")),
            ("rawPath", &event["rawPath"], path),
            ("routeKey", &event["routeKey"], &json!(route.key)),
            ("the context's routeKey", &context["routeKey"], &json!(route.key)),
            ("pathParameters", &event["pathParameters"], &proxy.into()),
        ] {
            assert_eq!(is, should_be, "{} of {}", what, line.event);
        }
    }
}

#[tokio::test]
async fn the_life_goes_as_written() {
    let world = World::new().await;
    let deployment = Deployment::of(&world).await;
    let wrong = live(&deployment, &world).await;
    assert!(
        wrong.is_empty(),
        "{} answers are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What a function made of an event: a status, its body being a problem where it must be one, or a refusal.
async fn outcome(deployment: &Deployment, function: &str, event: &[u8]) -> String {
    let answer = match deployment.call(function, event).await {
        Ok(answer) => answer,
        Err(EventError::Malformed(_)) => return "refused".to_owned(),
        Err(EventError::Failed(error)) => return format!("failed: {error}"),
    };
    let status = answer["statusCode"].as_u64().unwrap();
    let document = serde_json::to_value(local::stack::openapi()).unwrap();
    let mut faults = Vec::new();
    if status >= 400 {
        let problem = &document["components"]["schemas"]["Problem"];
        mismatches(&document, problem, &body(&answer), "body", &mut faults);
    }
    assert!(faults.is_empty(), "{faults:?} in {answer}");
    status.to_string()
}

#[tokio::test]
async fn what_is_no_request_is_refused_by_every_function() {
    let world = World::new().await;
    let deployment = Deployment::of(&world).await;
    let rest = json!({
        "version": "1.0", "resource": "/invite", "path": "/invite", "httpMethod": "GET", "headers": {},
        "multiValueHeaders": {}, "requestContext": {"httpMethod": "GET", "path": "/invite", "stage": "$default"},
        "body": null, "isBase64Encoded": false
    });
    let events = [
        Vec::new(),
        b"{".to_vec(),
        b"\0".to_vec(),
        b"\xff\xfe".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"7".to_vec(),
        b"\"GET /invite\"".to_vec(),
        br#"{"Records": [{"eventSource": "aws:sqs", "body": "{}"}]}"#.to_vec(),
        br#"{"source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": {}}"#.to_vec(),
        br#"{"version": "2.0", "rawPath": "/invite"}"#.to_vec(),
        rest.to_string().into_bytes(),
    ];
    for function in FUNCTIONS.iter().map(|function| function.name) {
        for event in &events {
            let shown = String::from_utf8_lossy(event);
            assert_eq!(
                outcome(&deployment, function, event).await,
                "refused",
                "{function}: {shown}"
            );
        }
    }
}

#[tokio::test]
async fn a_strange_request_is_answered_or_refused_and_the_next_one_served() {
    let world = World::new().await;
    let deployment = Deployment::of(&world).await;
    let login: Value = serde_json::from_str(&read("auth-login.json")).unwrap();
    let with = |changes: Value| {
        let mut event = login.clone();
        for (pointer, value) in changes.as_object().unwrap() {
            *event.pointer_mut(pointer).unwrap() = value.clone();
        }
        event.to_string()
    };
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let cases = [
        (
            "a body that is no base64",
            with(json!({"/isBase64Encoded": true, "/body": "%%%"})),
            "refused",
        ),
        (
            "a body that is no UTF-8",
            with(json!({"/isBase64Encoded": true, "/body": "//79/A=="})),
            "422",
        ),
        ("a body of NULs", with(json!({"/body": "\0\0\0\0"})), "422"),
        (
            "NULs in a field",
            with(json!({"/body": r#"{"email": "a\u0000@example.com", "password": "\u0000"}"#})),
            "401",
        ),
        ("no body", with(json!({"/body": null})), "422"),
        ("a deep body", with(json!({"/body": deep})), "422"),
        ("a big body", with(json!({"/body": "x".repeat(64 * 1024 + 1)})), "413"),
        (
            "a NUL in the path",
            with(json!({"/rawPath": "/api/v1/auth/\0login"})),
            "404",
        ),
        (
            "an escaped NUL in the path",
            with(json!({"/rawPath": "/api/v1/auth/%00"})),
            "404",
        ),
        (
            "a path that is no UTF-8",
            with(json!({"/rawPath": "/api/v1/auth/%ff%fe"})),
            "404",
        ),
        ("no path", with(json!({"/rawPath": ""})), "404"),
        (
            "a query that is no UTF-8",
            with(json!({"/rawQueryString": "a=%ff&%00"})),
            "401",
        ),
        (
            "a host that is none",
            with(json!({"/headers/host": "a host"})),
            "refused",
        ),
        (
            "an address that is none",
            with(json!({"/requestContext/http/sourceIp": "here"})),
            "401",
        ),
        (
            "another method",
            with(json!({"/requestContext/http/method": "BREW"})),
            "405",
        ),
        (
            "a lone surrogate",
            with(json!({"/body": "?"})).replace("\"?\"", r#""\ud800""#),
            "refused",
        ),
    ];
    for (what, event, expected) in cases {
        assert_eq!(outcome(&deployment, "auth", event.as_bytes()).await, expected, "{what}");
        let next = read("auth-jwks.json");
        assert_eq!(
            outcome(&deployment, "auth", next.as_bytes()).await,
            "200",
            "after {what}"
        );
    }
}

#[test]
fn a_body_of_another_shape_is_noticed() {
    let document = json!({"components": {"schemas": {"Role": {"type": "string", "enum": ["owner", "member"]}}}});
    let schema = json!({
        "type": "object",
        "required": ["id", "role"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "role": {"oneOf": [{"$ref": "#/components/schemas/Role"}, {"type": "null"}]},
            "times": {"type": "array", "items": {"type": "string", "format": "date-time"}},
        },
    });
    let id = "00000000-0000-7000-8000-000000000000";
    for (value, faults) in [
        (
            json!({"id": id, "role": "owner", "times": ["2026-01-02T03:04:05.678Z"]}),
            0,
        ),
        (json!({"id": id, "role": null}), 0),
        (json!([]), 1),
        (json!({}), 2),
        (json!({"id": id, "role": "king"}), 1),
        (json!({"id": 7, "role": null}), 2),
        (json!({"id": "7", "role": null}), 1),
        (json!({"id": id, "role": null, "hash": "x"}), 1),
        (json!({"id": id, "role": null, "times": ["2026-01-02T03:04:05Z", 7]}), 3),
    ] {
        let mut found = Vec::new();
        mismatches(&document, &schema, &value, "body", &mut found);
        assert_eq!(found.len(), faults, "{found:?} in {value}");
    }
}
