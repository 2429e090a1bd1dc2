//! Compares JSON values with the schemas of the OpenAPI document.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Adds every mismatch of `value` with `schema` to `found`. A field that the schema does not have is a mismatch.
pub fn mismatches(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let schema = resolved(document, schema);
    if let Some(ways) = ["oneOf", "anyOf"].iter().find_map(|way| schema[*way].as_array()) {
        let fits = |way: &Value| {
            let mut found = Vec::new();
            mismatches(document, way, value, at, &mut found);
            found.is_empty()
        };
        if !ways.iter().any(fits) {
            found.push(format!("{at} matches no alternative"));
        }
        return;
    }
    let mut parts = Vec::new();
    flatten(document, schema, &mut parts);
    let types: Vec<&str> = parts.iter().flat_map(|part| type_names(&part["type"])).collect();
    if !types.is_empty() && !types.iter().any(|name| is_of_type(value, name)) {
        found.push(format!("{at} is not of type {types:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        found.push(format!("{at} is not one of {allowed:?}"));
    }
    if !value.is_null() && !is_of_format(value, schema["format"].as_str()) {
        found.push(format!("{at} is not of format {}", schema["format"]));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        mismatches(document, &schema["items"], item, &format!("{at}[{index}]"), found);
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
            found.push(format!("{at} lacks {name}"));
        }
    }
    for (name, value) in object {
        match properties.get(name.as_str()) {
            None => found.push(format!("{at} has {name}, which is not documented")),
            Some(property) => mismatches(document, property, value, &format!("{at}.{name}"), found),
        }
    }
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(name) => document.pointer(name.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    }
}

/// A schema and the schemas of its `allOf`.
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
        other => panic!("the document has the unknown type {other}"),
    }
}

fn is_of_format(value: &Value, format: Option<&str>) -> bool {
    let text = value.as_str().unwrap_or_default();
    match format {
        Some("uuid") => uuid::Uuid::parse_str(text).is_ok(),
        // Times have a fixed width, milliseconds, and end with `Z`.
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
fn a_mismatch_with_the_schema_is_found() {
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
    for (value, mismatch_count) in [
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
        assert_eq!(found.len(), mismatch_count, "{found:?} in {value}");
    }
}
