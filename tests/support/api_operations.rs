//! The operations of the API, read from the OpenAPI document.

use serde_json::{Value, json};

/// An operation of the OpenAPI document.
#[derive(Clone, Debug)]
pub struct Operation {
    pub method: String,
    pub path: String,
    /// Whether the operation is available without a token.
    pub open: bool,
    /// The fields of the request body; none without a body.
    pub fields: Option<Vec<String>>,
}

impl Operation {
    /// Method and path, such as `GET /api/v1/workspaces/usage`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path with `id` in place of its parameter.
    pub fn about(&self, id: &str) -> String {
        self.path.replace("{user_id}", id).replace("{id}", id)
    }
}

/// Every operation of the API.
pub fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(local::stack::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "patch", "delete"] {
            let Some(operation) = item.get(method) else { continue };
            let security = operation["security"].as_array();
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                open: security.is_none_or(|ways| ways.iter().any(|way| way == &json!({}))),
                fields: (!schema.is_null()).then(|| fields(&document, schema)),
            });
        }
    }
    assert!(operations.len() > 20, "the document could not be parsed");
    operations
}

fn fields(document: &Value, schema: &Value) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return fields(document, document.pointer(name.strip_prefix('#').unwrap()).unwrap());
    }
    let parts = schema["allOf"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|part| fields(document, part));
    let own = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|own| own.keys().cloned());
    parts.chain(own).collect()
}
