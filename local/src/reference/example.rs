//! Example requests of the routes.

use serde_json::{Map, Value, json};

use super::{
    entries, items,
    schema::{resolve, values},
    text,
};

/// The deepest nesting of an example. The API's schemas are not deeper; the limit ends recursive schemas.
const DEPTH_MAX: u8 = 4;

/// A `curl` command that calls the route, with a body of the required fields.
pub(super) fn curl(
    document: &Value,
    base: &str,
    path: &str,
    method: &str,
    needs_token: bool,
    body: Option<&Value>,
) -> String {
    let url = format!("{base}{}", with_variables(path));
    let mut command = match method {
        "get" => format!("curl \"{url}\""),
        _ => format!("curl -X {} \"{url}\"", method.to_uppercase()),
    };
    if needs_token {
        command.push_str(" \\\n  -H \"authorization: Bearer $TOKEN\"");
    }
    let Some(schema) = body else { return command };
    // Inside single quotes, a single quote is the only character that the shell interprets.
    let body = example(document, schema, DEPTH_MAX).to_string().replace('\'', r"'\''");
    format!("{command} \\\n  -H 'content-type: application/json' \\\n  -d '{body}'")
}

/// The path with each parameter replaced by a shell variable: `{user_id}` becomes `$USER_ID`.
fn with_variables(path: &str) -> String {
    let segments =
        path.split('/').map(
            |segment| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => format!("${}", name.to_uppercase()),
                None => segment.to_owned(),
            },
        );
    segments.collect::<Vec<_>>().join("/")
}

/// An example value of the schema: the schema's example, or its default, or a generated value. A generated object has
/// only the required fields.
fn example(document: &Value, schema: &Value, depth: u8) -> Value {
    let schema = resolve(document, schema);
    let given = schema.get("example").or_else(|| schema["examples"].get(0));
    if let Some(given) = given.or_else(|| schema.get("default")) {
        return given.clone();
    }
    if depth == 0 {
        return Value::Null;
    }
    if let Some(word) = values(schema).first() {
        return json!(word);
    }
    if let Some(part) = ["oneOf", "anyOf"]
        .iter()
        .flat_map(|name| items(&schema[name]))
        .find(|part| part["type"] != "null")
    {
        return example(document, part, depth - 1);
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().map(text).find(|name| *name != "null").unwrap_or_default(),
        name => text(name),
    };
    match name {
        "string" => json!(match text(&schema["format"]) {
            "email" => "ann@example.com",
            "uuid" => "01990000-0000-7000-8000-000000000000",
            "date-time" => "2026-01-31T12:00:00.000Z",
            "uri" => "https://example.com",
            "password" => "password123",
            _ => "text",
        }),
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "array" => json!([]),
        _ => object(document, schema, depth),
    }
}

fn object(document: &Value, schema: &Value, depth: u8) -> Value {
    let mut object = Map::new();
    for part in items(&schema["allOf"]) {
        if let Value::Object(fields) = example(document, part, depth - 1) {
            object.extend(fields);
        }
    }
    for (name, property) in entries(&schema["properties"]) {
        if items(&schema["required"]).any(|required| required == name) {
            object.insert(name.to_owned(), example(document, property, depth - 1));
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_a_curl_command_for_the_route() {
        let document = json!({"components": {"schemas": {"Login": {
            "type": "object",
            "required": ["email", "name"],
            "properties": {
                "email": {"type": "string", "format": "email"},
                "name": {"type": "string", "example": "Ann's"},
                "more": {"type": "string"}
            }
        }}}});
        let body = json!({"$ref": "#/components/schemas/Login"});
        assert_eq!(
            curl(&document, "http://127.0.0.1:3000", "/login", "post", true, Some(&body)),
            r#"curl -X POST "http://127.0.0.1:3000/login" \
  -H "authorization: Bearer $TOKEN" \
  -H 'content-type: application/json' \
  -d '{"email":"ann@example.com","name":"Ann'\''s"}'"#
        );
        assert_eq!(
            curl(&document, "http://h", "/x/{user_id}/y", "get", false, None),
            r#"curl "http://h/x/$USER_ID/y""#
        );
    }
}
