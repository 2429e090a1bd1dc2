//! Every sample event, through the deployed function that it is for, in the order of `events/scenario.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use local::functions::{self, FUNCTIONS};
use serde_json::{Value, json};

use crate::deployment::response_schema::mismatches;
use crate::support::deployed::{Deployment, ORIGIN};
use crate::support::harness::World;
use crate::support::template;

/// A line of the scenario: an event, what its response must be, and what later events take from the response.
struct Line {
    event: String,
    /// An HTTP status. For an event of a trigger: `ok` or `failures=2`.
    expected: String,
    /// Placeholders, each with the path of its value in the body of the response.
    captures: Vec<(String, String)>,
}

pub fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(file);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("events/{file}: {error}"))
}

fn scenario() -> Vec<Line> {
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

/// The function of an event: the longest name with which the name of the event begins.
fn function_of(event: &str) -> Option<&'static str> {
    functions::names()
        .into_iter()
        .filter(|name| event.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
        .max_by_key(|name| name.len())
}

fn is_http(function: &str) -> bool {
    FUNCTIONS.iter().any(|candidate| candidate.name == function)
}

/// The operation of the OpenAPI document for a request. A slash at the end of the path is ignored.
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

/// Runs the whole scenario. Returns each difference from the expected outcomes.
pub async fn run_scenario(deployment: &Deployment, world: &World) -> Vec<String> {
    let document = serde_json::to_value(local::stack::openapi()).unwrap();
    let now = world.clock.now();
    let in_30_days = now.plus(Duration::from_secs(30 * 24 * 3600));
    let mut values = BTreeMap::from([
        ("now".to_owned(), now.to_string()),
        ("expires_at".to_owned(), in_30_days.to_string()),
    ]);
    let mut wrong = Vec::new();
    for line in scenario() {
        let mut text = read(&format!("{}.json", line.event));
        for (name, value) in &values {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        assert!(!text.contains("{{"), "{} has a placeholder without a value", line.event);
        let function = function_of(&line.event).unwrap();
        let mails = world.mailbox.mails().len();
        let response = match deployment.call(function, text.as_bytes()).await {
            Ok(response) => response,
            Err(error) => json!({"errorMessage": error.to_string()}),
        };
        if world.mailbox.mails().len() > mails && !may_mail(function) {
            wrong.push(format!(
                "{}: {function} sent a mail, which its role refuses",
                line.event
            ));
        }
        let deviations = if is_http(function) {
            http_deviations(
                &document,
                &serde_json::from_str(&text).unwrap(),
                &line.expected,
                &response,
            )
        } else {
            trigger_deviations(&line.expected, &response)
        };
        wrong.extend(
            deviations
                .into_iter()
                .map(|deviation| format!("{}: {deviation}\n  {response}", line.event)),
        );
        let body = body(&response);
        for (name, filter) in line.captures {
            values.insert(name, captured(&body, &filter));
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

pub fn body(response: &Value) -> Value {
    let text = response["body"].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// The value that a jq filter selects from a body: a path, or a path and a capture in its text.
fn captured(body: &Value, filter: &str) -> String {
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
    let beginning = beginning.unwrap_or_else(|| panic!("{filter} is not supported"));
    let (_, rest) = text.split_once(beginning).unwrap();
    rest.split('&').next().unwrap().to_owned()
}

/// How the response to a trigger deviates from the expected one.
fn trigger_deviations(expected: &str, response: &Value) -> Vec<String> {
    let failures = response["batchItemFailures"].as_array().map_or(0, Vec::len);
    let holds = match expected.split_once('=') {
        None if expected == "ok" => response.get("errorMessage").is_none() && failures == 0,
        Some(("failures", number)) => failures.to_string() == number,
        _ => false,
    };
    if holds {
        vec![]
    } else {
        vec![format!("is not {expected}")]
    }
}

/// How the response to a request deviates from the expected status and from the OpenAPI document.
fn http_deviations(document: &Value, event: &Value, expected: &str, response: &Value) -> Vec<String> {
    let mut deviations = Vec::new();
    let status = response["statusCode"].to_string();
    if status != expected {
        return vec![format!("status {status}, expected {expected}")];
    }
    let header = |name: &str| response["headers"][name].as_str().unwrap_or_default();
    if header("x-request-id").is_empty() || !header("cache-control").contains("no-store") {
        deviations.push("lacks required headers".to_owned());
    }
    let http = &event["requestContext"]["http"];
    let (method, path) = (http["method"].as_str().unwrap(), http["path"].as_str().unwrap());
    let body = body(response);
    let content_type = header("content-type");
    if response["statusCode"].as_u64() >= Some(400) {
        let problem = &document["components"]["schemas"]["Problem"];
        mismatches(document, problem, &body, "body", &mut deviations);
        if content_type != "application/problem+json" || body["request_id"] != header("x-request-id") {
            deviations.push("is not a problem document with the id of its request".to_owned());
        }
        if let Some((name, operation)) = operation(document, method, path) {
            let codes = operation["responses"][expected]["x-error-codes"].as_array();
            if !codes.is_some_and(|codes| codes.contains(&body["error_code"])) {
                deviations.push(format!("the code is not documented for {name}"));
            }
        }
    } else if expected == "308" {
        if !path.starts_with(header("location")) || header("location").ends_with('/') {
            deviations.push("redirects to another path".to_owned());
        }
    } else if method == "OPTIONS" {
        if header("access-control-allow-origin") != ORIGIN {
            deviations.push("does not permit the origin".to_owned());
        }
    } else {
        let (name, operation) = operation(document, method, path).unwrap();
        let content = &operation["responses"][expected]["content"];
        match content.get(content_type.split(';').next().unwrap()) {
            None => deviations.push(format!("{content_type} is not documented for {name}")),
            Some(content) if content_type == "application/json" => {
                mismatches(document, &content["schema"], &body, "body", &mut deviations);
            }
            Some(_) => {}
        }
    }
    deviations
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
    let scenario = scenario();
    let sent: BTreeSet<String> = scenario.iter().map(|line| line.event.clone()).collect();
    assert_eq!(files, sent, "the files of events/, and the events of scenario.txt");

    let mut succeeding = BTreeSet::new();
    let mut calling = BTreeSet::new();
    for line in &scenario {
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
    assert_eq!(
        succeeding, operations,
        "operations with a successful event, and all operations"
    );
    let declared: BTreeSet<&str> = template::functions().iter().map(|function| function.name).collect();
    assert_eq!(calling, declared, "functions with an event, and all functions");
}

#[test]
fn every_event_equals_the_event_that_the_gateway_sends() {
    for line in scenario() {
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
        for (field, actual, expected) in [
            ("version", &event["version"], &json!("2.0")),
            ("rawPath", &event["rawPath"], path),
            ("routeKey", &event["routeKey"], &json!(route.key)),
            ("the context's routeKey", &context["routeKey"], &json!(route.key)),
            ("pathParameters", &event["pathParameters"], &proxy.into()),
        ] {
            assert_eq!(actual, expected, "{field} of {}", line.event);
        }
    }
}

#[tokio::test]
async fn the_scenario_has_the_expected_outcomes() {
    let world = World::new().await;
    let deployment = Deployment::of(&world).await;
    let wrong = run_scenario(&deployment, &world).await;
    assert!(
        wrong.is_empty(),
        "{} responses are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
