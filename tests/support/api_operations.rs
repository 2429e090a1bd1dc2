//! The operations of the API, read from the OpenAPI document.

use serde_json::{Value, json};

/// An operation, as the OpenAPI document has it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub method: String,
    pub path: String,
    /// Whether it answers without a token too.
    pub open: bool,
    /// The fields of its body; none when it takes no body.
    pub fields: Option<Vec<String>>,
}

impl Operation {
    /// Its method and path, such as `GET /api/v1/workspaces/usage`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Its path, about `id` where it is about one.
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
    assert!(operations.len() > 20, "the document is not read rightly");
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
