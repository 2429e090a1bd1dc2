//! Events that are malformed, or that are for another kind of function.

use local::functions::FUNCTIONS;
use serde_json::{Value, json};
use shared::event::EventError;

use crate::deployment::events::{body, read};
use crate::deployment::response_schema::mismatches;
use crate::support::deployed::Deployment;
use crate::support::harness::World;

/// The status of the response to an event, or `refused`. Asserts that the body of a refusal is a problem document.
async fn outcome(deployment: &Deployment, function: &str, event: &[u8]) -> String {
    let response = match deployment.call(function, event).await {
        Ok(response) => response,
        Err(EventError::Malformed(_)) => return "refused".to_owned(),
        Err(EventError::Failed(error)) => return format!("failed: {error}"),
    };
    let status = response["statusCode"].as_u64().unwrap();
    let document = serde_json::to_value(local::stack::openapi()).unwrap();
    let mut found = Vec::new();
    if status >= 400 {
        let problem = &document["components"]["schemas"]["Problem"];
        mismatches(&document, problem, &body(&response), "body", &mut found);
    }
    assert!(found.is_empty(), "{found:?} in {response}");
    status.to_string()
}

#[tokio::test]
async fn every_function_refuses_an_event_that_is_not_a_request() {
    let world = World::new().await;
    let deployment = Deployment::of(&world).await;
    let version_1 = json!({
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
        version_1.to_string().into_bytes(),
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
async fn an_unusual_request_event_does_not_affect_the_next_event() {
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
            "a body that is not Base64",
            with(json!({"/isBase64Encoded": true, "/body": "%%%"})),
            "refused",
        ),
        (
            "a body that is not UTF-8",
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
            "a path that is not UTF-8",
            with(json!({"/rawPath": "/api/v1/auth/%ff%fe"})),
            "404",
        ),
        ("no path", with(json!({"/rawPath": ""})), "404"),
        (
            "a query that is not UTF-8",
            with(json!({"/rawQueryString": "a=%ff&%00"})),
            "401",
        ),
        ("an invalid host", with(json!({"/headers/host": "a host"})), "refused"),
        (
            "an invalid IP address",
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
    for (case, event, expected) in cases {
        assert_eq!(outcome(&deployment, "auth", event.as_bytes()).await, expected, "{case}");
        let next = read("auth-jwks.json");
        assert_eq!(
            outcome(&deployment, "auth", next.as_bytes()).await,
            "200",
            "after {case}"
        );
    }
}
