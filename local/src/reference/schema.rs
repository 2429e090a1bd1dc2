//! Describes JSON schemas in words.

use serde_json::Value;

use super::{entries, items, text};

const REFERENCE: &str = "#/components/schemas/";

/// A field of an object, or a parameter of a route.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind<'a>,
    pub(super) required: bool,
    pub(super) description: &'a str,
    /// The constraints on the value, such as "at most 255 characters".
    pub(super) limits: String,
}

impl<'a> Field<'a> {
    /// The field of a path or query parameter.
    pub(super) fn of_parameter(parameter: &'a Value) -> Self {
        let schema = &parameter["schema"];
        Self {
            name: text(&parameter["name"]),
            kind: Kind::of(schema),
            required: parameter["required"] == true,
            description: text(&parameter["description"]),
            limits: limits(schema),
        }
    }

    fn of_property(name: &'a str, schema: &'a Value, required: bool) -> Self {
        Self {
            name,
            kind: Kind::of(schema),
            required,
            description: text(&schema["description"]),
            limits: limits(schema),
        }
    }
}

/// A type in words. The words may contain the name of a schema, which the page renders as a link.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kind<'a> {
    /// The words before the schema's name.
    pub(super) before: String,
    /// The schema's name.
    pub(super) schema: Option<&'a str>,
    /// The words after the schema's name.
    pub(super) after: String,
}

impl<'a> Kind<'a> {
    pub(super) fn of(schema: &'a Value) -> Self {
        if let Some(name) = reference(schema) {
            return Self {
                schema: Some(name),
                ..Self::default()
            };
        }
        for alternatives in ["oneOf", "anyOf", "allOf"] {
            if let Some(kind) = Self::of_alternatives(&schema[alternatives]) {
                return kind;
            }
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let nullable = types.contains(&"null");
        let kind = match types.iter().find(|name| **name != "null") {
            Some(&"array") => Self::of(&schema["items"]).preceded_by("list of "),
            Some(name) => Self::word(word(name, &schema["format"])),
            None => Self::word("any JSON"),
        };
        kind.nullable(nullable)
    }

    /// The alternatives other than null, joined by "or".
    fn of_alternatives(alternatives: &'a Value) -> Option<Self> {
        let nullable = items(alternatives).any(|schema| schema["type"] == "null");
        let mut kinds = items(alternatives)
            .filter(|schema| schema["type"] != "null")
            .map(Self::of);
        let first = kinds.next()?;
        let all = kinds.fold(first, |all, kind| kind.preceded_by(&format!("{} or ", all.plain())));
        Some(all.nullable(nullable))
    }

    fn word(name: &str) -> Self {
        Self {
            before: name.to_owned(),
            ..Self::default()
        }
    }

    fn preceded_by(mut self, words: &str) -> Self {
        self.before.insert_str(0, words);
        self
    }

    fn nullable(mut self, nullable: bool) -> Self {
        if nullable {
            self.after.push_str(" or null");
        }
        self
    }

    fn plain(&self) -> String {
        format!("{}{}{}", self.before, self.schema.unwrap_or_default(), self.after)
    }
}

/// The fields of an object schema. References are resolved and the parts of an `allOf` are joined. Other schemas have
/// no fields.
pub(super) fn fields<'a>(document: &'a Value, schema: &'a Value) -> Vec<Field<'a>> {
    let schema = resolve(document, schema);
    let required: Vec<&str> = items(&schema["required"]).filter_map(Value::as_str).collect();
    let own = entries(&schema["properties"])
        .map(|(name, property)| Field::of_property(name, property, required.contains(&name)));
    let inherited = items(&schema["allOf"]).flat_map(|part| fields(document, part));
    inherited.chain(own).collect()
}

/// The permitted values of an enumeration.
pub(super) fn values(schema: &Value) -> Vec<&str> {
    let constants = items(&schema["oneOf"]).filter_map(|value| value["const"].as_str());
    items(&schema["enum"])
        .filter_map(Value::as_str)
        .chain(constants)
        .collect()
}

/// The schema that a `$ref` refers to, or the schema itself.
pub(super) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    reference(schema)
        .and_then(|name| document["components"]["schemas"].get(name))
        .unwrap_or(schema)
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(REFERENCE)
}

fn word<'a>(name: &'a str, format: &Value) -> &'a str {
    match (name, text(format)) {
        ("string", "date-time") => "time",
        ("string", "uuid") => "UUID",
        ("string", "uri") => "URL",
        ("string", "email") => "e-mail",
        ("boolean", _) => "true or false",
        (name, _) => name,
    }
}

fn limits(schema: &Value) -> String {
    let mut limits = Vec::new();
    let mut limit = |name: &str, before: &str, after: &str| {
        if let Some(value) = schema.get(name).filter(|value| !value.is_null()) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            limits.push(format!("{before}{value}{after}"));
        }
    };
    limit("minLength", "at least ", " characters");
    limit("maxLength", "at most ", " characters");
    limit("minimum", "at least ", "");
    limit("maximum", "at most ", "");
    limit("maxItems", "at most ", " entries");
    limit("pattern", "matches ", "");
    limit("default", "default ", "");
    let values = values(schema);
    if !values.is_empty() {
        limits.push(format!("one of {}", values.join(", ")));
    }
    limits.join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_described_in_words() {
        for (schema, words) in [
            (json!({"type": "string"}), "string"),
            (
                json!({"type": ["string", "null"], "format": "date-time"}),
                "time or null",
            ),
            (
                json!({"type": "array", "items": {"$ref": "#/components/schemas/MemberOut"}}),
                "list of MemberOut",
            ),
            (
                json!({"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Role"}]}),
                "Role or null",
            ),
            (
                json!({"oneOf": [{"type": "string"}, {"type": "integer"}]}),
                "string or integer",
            ),
            (json!({}), "any JSON"),
        ] {
            assert_eq!(Kind::of(&schema).plain(), words);
        }
    }

    #[test]
    fn limits_are_described_in_words() {
        let schema = json!({"type": "string", "minLength": 8, "maxLength": 128, "default": "x"});
        assert_eq!(
            limits(&schema),
            "at least 8 characters; at most 128 characters; default x"
        );
        assert_eq!(limits(&json!({"enum": ["a", "b"]})), "one of a, b");
    }

    #[test]
    fn the_fields_of_an_all_of_are_joined() {
        let document = json!({"components": {"schemas": {
            "Base": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
            "More": {"allOf": [{"$ref": "#/components/schemas/Base"},
                               {"type": "object", "properties": {"link": {"type": "string"}}}]}
        }}});
        let more = json!({"$ref": "#/components/schemas/More"});
        let fields = fields(&document, &more);
        let names: Vec<_> = fields.iter().map(|field| (field.name, field.required)).collect();
        assert_eq!(names, [("id", true), ("link", false)]);
    }
}
