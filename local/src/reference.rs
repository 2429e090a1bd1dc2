//! The API reference: a page that is rendered from the OpenAPI document.

use askama::Template;
use axum::response::Response;
use serde_json::Value;

use self::{
    example::curl,
    schema::{Field, Kind},
};
use crate::{
    page,
    prose::{self, Piece},
};

mod example;
mod schema;

/// The HTTP methods in the order in which the routes of a path are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Responds with the page of an OpenAPI 3.1 document. `base` is the URL that the page's examples call.
pub(crate) fn respond(document: &Value, base: &str) -> Response {
    page::render(&Reference::of(document, base))
}

#[derive(Template)]
#[template(path = "reference.html")]
struct Reference<'a> {
    title: &'a str,
    version: &'a str,
    description: &'a str,
    groups: Vec<Group<'a>>,
    schemas: Vec<Schema<'a>>,
}

/// The routes of one tag.
struct Group<'a> {
    name: &'a str,
    description: &'a str,
    routes: Vec<Route<'a>>,
}

struct Route<'a> {
    /// The id of the route's element, which the page's links refer to.
    anchor: String,
    method: &'a str,
    path: &'a str,
    summary: &'a str,
    description: &'a str,
    needs_token: bool,
    parameters: Vec<Field<'a>>,
    body: Option<Body<'a>>,
    responses: Vec<DocumentedResponse<'a>>,
    curl: String,
}

struct Body<'a> {
    kind: Kind<'a>,
    fields: Vec<Field<'a>>,
}

struct DocumentedResponse<'a> {
    status: &'a str,
    description: &'a str,
    kind: Option<Kind<'a>>,
    /// The values of `error_code` that a response with this status can have.
    codes: Vec<&'a str>,
}

impl DocumentedResponse<'_> {
    fn is_success(&self) -> bool {
        self.status.starts_with(['2', '3'])
    }
}

struct Schema<'a> {
    name: &'a str,
    description: &'a str,
    fields: Vec<Field<'a>>,
    /// The permitted values, if the schema is an enumeration.
    values: Vec<&'a str>,
}

impl<'a> Reference<'a> {
    fn of(document: &'a Value, base: &str) -> Self {
        let info = &document["info"];
        Self {
            title: text(&info["title"]),
            version: text(&info["version"]),
            description: text(&info["description"]),
            groups: groups(document, base),
            schemas: schemas(document),
        }
    }

    #[expect(clippy::unused_self, reason = "the template calls methods")]
    fn prose<'t>(&self, text: &'t str) -> Vec<Piece<'t>> {
        prose::code(text)
    }
}

/// The routes grouped by their first tag. Tags that the document declares come first, in its order.
fn groups<'a>(document: &'a Value, base: &str) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = items(&document["tags"])
        .map(|tag| Group {
            name: text(&tag["name"]),
            description: text(&tag["description"]),
            routes: Vec::new(),
        })
        .collect();
    for (path, methods) in entries(&document["paths"]) {
        for method in METHODS {
            let Some(operation) = methods.get(method) else {
                continue;
            };
            let tag = operation["tags"][0].as_str().unwrap_or("Other");
            let route = route(document, base, path, method, operation);
            match groups.iter_mut().find(|group| group.name == tag) {
                Some(group) => group.routes.push(route),
                None => groups.push(Group {
                    name: tag,
                    description: "",
                    routes: vec![route],
                }),
            }
        }
    }
    groups.retain(|group| !group.routes.is_empty());
    groups
}

fn route<'a>(document: &'a Value, base: &str, path: &'a str, method: &'a str, operation: &'a Value) -> Route<'a> {
    let schema = operation["requestBody"]["content"].as_object().and_then(|content| {
        let (_, media) = content.iter().next()?;
        media.get("schema")
    });
    let security = operation.get("security").or_else(|| document.get("security"));
    let needs_token = security
        .is_some_and(|rules| items(rules).next().is_some() && items(rules).all(|rule| entries(rule).next().is_some()));
    Route {
        anchor: format!(
            "{method}{}",
            path.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
        ),
        method,
        path,
        summary: text(&operation["summary"]),
        description: text(&operation["description"]),
        needs_token,
        parameters: items(&operation["parameters"])
            .filter(|parameter| parameter["in"] != "header")
            .map(Field::of_parameter)
            .collect(),
        body: schema.map(|schema| Body {
            kind: Kind::of(schema),
            fields: schema::fields(document, schema),
        }),
        responses: entries(&operation["responses"])
            .map(|(status, response)| DocumentedResponse {
                status,
                description: text(&response["description"]),
                kind: entries(&response["content"])
                    .next()
                    .and_then(|(_, media)| media.get("schema"))
                    .map(Kind::of),
                codes: items(&response["x-error-codes"]).filter_map(Value::as_str).collect(),
            })
            .collect(),
        curl: curl(document, base, path, method, needs_token, schema),
    }
}

fn schemas(document: &Value) -> Vec<Schema<'_>> {
    entries(&document["components"]["schemas"])
        .map(|(name, schema)| Schema {
            name,
            description: text(&schema["description"]),
            fields: schema::fields(document, schema),
            values: schema::values(schema),
        })
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "openapi": "3.1.0",
            "info": {"title": "Workspaces", "version": "1", "description": "All of <it>."},
            "tags": [{"name": "Members", "description": "Who is in."}],
            "paths": {
                "/api/v1/workspaces/members/{user_id}": {
                    "delete": {
                        "tags": ["Members"],
                        "summary": "Remove a member",
                        "security": [{"bearer": []}],
                        "parameters": [{"name": "user_id", "in": "path", "required": true,
                                        "schema": {"type": "string", "format": "uuid"}}],
                        "responses": {
                            "200": {"description": "Removed.", "content": {"application/json":
                                {"schema": {"$ref": "#/components/schemas/Changed"}}}},
                            "403": {"description": "Not permitted.", "x-error-codes": ["FORBIDDEN", "LAST_OWNER"]}
                        }
                    },
                    "patch": {
                        "tags": ["Members"],
                        "security": [{"bearer": []}],
                        "requestBody": {"content": {"application/json":
                            {"schema": {"$ref": "#/components/schemas/Change"}}}},
                        "responses": {"200": {"description": ""}}
                    }
                },
                "/health": {"get": {"responses": {}}}
            },
            "components": {"schemas": {
                "Change": {"type": "object", "required": ["role"], "properties": {
                    "role": {"$ref": "#/components/schemas/Role", "description": "The `new` role."}}},
                "Changed": {"type": "object", "required": ["id"], "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "role": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Role"}]}}},
                "Role": {"type": "string", "enum": ["owner", "member"]}
            }}
        })
    }

    #[test]
    fn routes_are_grouped_by_their_tag() {
        let document = document();
        let reference = Reference::of(&document, "http://127.0.0.1:3000");
        let names: Vec<_> = reference.groups.iter().map(|group| group.name).collect();
        assert_eq!(names, ["Members", "Other"]);
        let routes: Vec<_> = reference.groups[0].routes.iter().map(|route| route.method).collect();
        assert_eq!(routes, ["patch", "delete"]);
        let remove = &reference.groups[0].routes[1];
        assert!(remove.needs_token);
        assert_eq!(remove.parameters[0].name, "user_id");
        assert_eq!(remove.responses[1].codes, ["FORBIDDEN", "LAST_OWNER"]);
        assert!(!reference.groups[1].routes[0].needs_token);
    }

    #[test]
    fn the_page_shows_all_parts_of_the_document_escaped() {
        let document = document();
        let page = Reference::of(&document, "http://127.0.0.1:3000").render().unwrap();
        for part in [
            "All of &#60;it&#62;.",
            "/api/v1/workspaces/members/{user_id}",
            "LAST_OWNER",
            "href=\"#schema-Role\"",
            "id=\"schema-Changed\"",
            "The <code>new</code> role.",
            "curl",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }
}
