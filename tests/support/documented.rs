//! Every response in any test matches the OpenAPI document: its status, and an error's code.

use std::sync::LazyLock;

use serde_json::Value;

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
