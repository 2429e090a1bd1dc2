//! Every response in any test matches the OpenAPI document: its status, and an error's code.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use shared::Code;

use crate::support::harness::ApiResponse;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(local::stack::openapi()).unwrap());

/// Asserts that the document has the response, if it has the operation.
///
/// # Panics
///
/// Panics when the document has no such response.
pub fn hold(method: &str, path: &str, response: &ApiResponse) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let documented = &operation["responses"][response.status.as_str()];
    assert!(
        documented.is_object(),
        "{method} {path}: {} is not documented: {}",
        response.status,
        response.text
    );
    if response.status.is_success() {
        return;
    }
    let code = &response.body["error_code"];
    let codes = documented["x-error-codes"].as_array();
    assert!(
        codes.is_some_and(|codes| codes.contains(code)),
        "{method} {path}: {code} is not documented under {}",
        response.status
    );
}

/// The operation of a request in the document; none when it has no such path or method.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = if path == "/api/v1/workspaces" {
        "/api/v1/workspaces/"
    } else {
        path
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    // A path without a parameter takes precedence over a path with one.
    let named = paths.get(path);
    let item = named.or_else(|| {
        let found = paths.iter().find(|(template, _)| is_of(template, path));
        found.map(|(_, item)| item)
    })?;
    item.get(method.to_lowercase())
}

fn is_of(template: &str, path: &str) -> bool {
    let (parts, given) = (template.split('/'), path.split('/'));
    parts.clone().count() == given.clone().count()
        && parts
            .zip(given)
            .all(|(part, given)| part == given || (part.starts_with('{') && !given.is_empty()))
}

#[test]
fn operations_are_found_by_path_and_method() {
    for (method, path) in [
        ("GET", "/api/v1/workspaces"),
        ("DELETE", "/api/v1/workspaces/"),
        ("PATCH", "/api/v1/workspaces/members/x"),
        ("POST", "/api/v1/workspaces/invitations/x/resend"),
        ("GET", "/.well-known/jwks.json"),
    ] {
        assert!(operation(method, path).is_some(), "{method} {path}");
    }
    for (method, path) in [
        ("PUT", "/api/v1/workspaces/members"),
        ("PATCH", "/api/v1/workspaces/members/"),
        ("GET", "/api/v1/nothing"),
    ] {
        assert!(operation(method, path).is_none(), "{method} {path}");
    }
}

/// Every code that the document lists under a response.
fn documented_codes() -> BTreeSet<&'static str> {
    let operations = DOCUMENT["paths"].as_object().unwrap().values();
    operations
        .flat_map(|item| item.as_object().unwrap().values())
        .flat_map(|operation| operation["responses"].as_object().unwrap().values())
        .filter_map(|response| response["x-error-codes"].as_array())
        .flatten()
        .map(|code| code.as_str().unwrap())
        .collect()
}

#[test]
fn every_code_belongs_to_an_operation() {
    let mut documented = documented_codes();
    // Requests that reach no operation get these codes.
    documented.extend([Code::MethodNotAllowed, Code::NotFound].map(Code::as_str));
    let codes = BTreeSet::from(Code::ALL.map(Code::as_str));
    assert_eq!(documented, codes, "a route must name its errors in its annotation");
}

#[test]
fn the_schema_of_codes_spells_them_as_responses_do() {
    let schema = &DOCUMENT["components"]["schemas"]["Code"]["enum"];
    assert_eq!(schema, &json!(Code::ALL.to_vec()));
}

fn forbidden() -> ApiResponse {
    let body = json!({"error_code": Code::Forbidden});
    ApiResponse {
        status: StatusCode::FORBIDDEN,
        headers: HeaderMap::new(),
        text: body.to_string(),
        body,
    }
}

#[test]
fn a_documented_error_is_accepted() {
    hold("DELETE", "/api/v1/workspaces/", &forbidden());
}

#[test]
#[should_panic(expected = "403 Forbidden is not documented")]
fn a_status_that_the_operation_does_not_document_is_refused() {
    hold("GET", "/api/v1/workspaces/", &forbidden());
}

#[test]
#[should_panic(expected = "\"SELF_INVITE\" is not documented under 403")]
fn a_code_that_the_operation_does_not_document_is_refused() {
    let mut response = forbidden();
    response.body["error_code"] = json!(Code::SelfInvite);
    hold("DELETE", "/api/v1/workspaces/", &response);
}
