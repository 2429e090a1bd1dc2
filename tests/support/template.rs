//! `template.yaml` as data, with the semantics of AWS: the function of a request, the environment of a function, and
//! the permissions of its role.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};

/// The template: `!Ref X` is `{"Ref": "X"}`, `!GetAtt A.B` `{"Fn::GetAtt": "A.B"}` and so on.
pub fn template() -> &'static Value {
    static TEMPLATE: OnceLock<Value> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
        let text = fs::read_to_string(path).unwrap();
        plain(&Yaml::load_from_str(&text).unwrap()[0])
    })
}

fn plain(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.0),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(items) => items.iter().map(plain).collect(),
        Yaml::Mapping(pairs) => pairs
            .iter()
            .map(|(name, value)| (name.as_str().unwrap().to_owned(), plain(value)))
            .collect(),
        Yaml::Tagged(tag, tagged) => match tag.suffix.as_str() {
            name @ ("Ref" | "Condition") => json!({name: plain(tagged)}),
            name => json!({format!("Fn::{name}"): plain(tagged)}),
        },
        other => panic!("template.yaml has {other:?}"),
    }
}

/// The resources of a type, by their logical names.
pub fn resources(kind: &str) -> BTreeMap<&'static str, &'static Value> {
    let all = template()["Resources"].as_object().unwrap().iter();
    let found: BTreeMap<_, _> = all
        .filter(|(_, resource)| resource["Type"] == kind)
        .map(|(name, resource)| (name.as_str(), resource))
        .collect();
    assert!(!found.is_empty(), "the template has no {kind}");
    found
}

/// A list, or a single value as a list.
fn list(value: &'static Value) -> Vec<&'static str> {
    match value {
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

/// A function as the template declares it.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// The name of the binary, which is used everywhere else.
    pub name: &'static str,
    /// Its name in the template.
    pub logical: &'static str,
    pub resource: &'static Value,
}

/// Every function of the template.
pub fn functions() -> Vec<Declared> {
    let found = resources("AWS::Serverless::Function").into_iter();
    found
        .map(|(logical, resource)| Declared {
            name: resource["Metadata"]["BuildProperties"]["Binary"].as_str().unwrap(),
            logical,
            resource,
        })
        .collect()
}

impl Declared {
    /// The function's own property, or the global one.
    pub fn property(&self, name: &str) -> &'static Value {
        match &self.resource["Properties"][name] {
            Value::Null => &template()["Globals"]["Function"][name],
            own => own,
        }
    }

    /// The function's environment variables.
    pub fn environment(&self) -> BTreeMap<&'static str, &'static Value> {
        let global = &template()["Globals"]["Function"]["Environment"]["Variables"];
        let own = &self.resource["Properties"]["Environment"]["Variables"];
        let both = [global, own].into_iter().filter_map(Value::as_object).flatten();
        both.map(|(name, value)| (name.as_str(), value)).collect()
    }

    /// The statements of the function's role.
    pub fn statements(&self) -> Vec<Statement> {
        let role = self.resource["Properties"]["Role"]["Fn::GetAtt"].as_str().unwrap();
        let role = &template()["Resources"][role.strip_suffix(".Arn").unwrap()];
        assert_eq!(role["Type"], "AWS::IAM::Role", "{}", self.name);
        let policies = role["Properties"]["Policies"].as_array().unwrap().iter();
        let statements = policies.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
        statements
            .map(|statement| Statement {
                sid: statement["Sid"].as_str().unwrap(),
                actions: list(&statement["Action"]),
                leading_keys: match &statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] {
                    Value::Null => None,
                    keys => Some(list(keys)),
                },
                text: statement,
            })
            .collect()
    }
}

/// A statement of a role.
#[derive(Clone, Debug)]
pub struct Statement {
    pub sid: &'static str,
    pub actions: Vec<&'static str>,
    /// Patterns of the permitted partition keys.
    pub leading_keys: Option<Vec<&'static str>>,
    pub text: &'static Value,
}

impl Statement {
    /// Whether the statement covers the index instead of the table.
    pub fn of_index(&self) -> bool {
        self.text["Resource"].to_string().contains("/index/")
    }

    /// Whether the statement covers the table, and not logs, secrets or mail.
    pub fn is_of_table(&self) -> bool {
        self.actions.iter().any(|action| action.starts_with("dynamodb:"))
    }

    /// Whether the statement allows the access: the action, on the table or on its index, with every partition key.
    pub fn allows(&self, access: &Access) -> bool {
        let patterns = self.leading_keys.as_deref().unwrap_or_default();
        let is_covered = |key: &String| patterns.iter().any(|pattern| is_like(pattern, key));
        self.actions.contains(&access.action.as_str())
            && self.of_index() == access.of_index
            && access.keys.iter().all(is_covered)
    }
}

/// An access to the table that a role must allow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// Such as `dynamodb:Query`.
    pub action: String,
    /// The partition keys, each up to its `#`.
    pub keys: Vec<String>,
    pub of_index: bool,
}

/// Whether `text` matches `pattern` in the sense of IAM's `StringLike`.
pub fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => text == pattern,
    }
}

/// A route of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Such as `ANY /api/v1/auth/{proxy+}`, or `$default`.
    pub key: String,
    /// The function of the route.
    pub function: &'static str,
}

/// Every route of the gateway.
pub fn routes() -> &'static [Route] {
    static ROUTES: OnceLock<Vec<Route>> = OnceLock::new();
    ROUTES.get_or_init(|| {
        let mut routes = Vec::new();
        for function in functions() {
            let events = function.resource["Properties"]["Events"].as_object();
            for event in events.into_iter().flat_map(serde_json::Map::values) {
                if event["Type"] == "HttpApi" {
                    routes.push(Route {
                        key: key(&event["Properties"]),
                        function: function.name,
                    });
                }
            }
        }
        routes
    })
}

fn key(event: &Value) -> String {
    match (event["Method"].as_str(), event["Path"].as_str()) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        (None, None) => "$default".to_owned(),
        _ => panic!("half a route: {event}"),
    }
}

/// The route that an HTTP API selects: a literal path before a variable before a greedy variable, then the
/// method before `ANY`, then `$default`.
pub fn route(method: &str, path: &str) -> &'static Route {
    let fitting = routes().iter().filter_map(|route| {
        let (of, route_path) = route.key.split_once(' ')?;
        let fits = of == method || of == "ANY";
        fits.then_some((fit(route_path, path)?, of != "ANY", route))
    });
    let closest = fitting.max_by_key(|(fit, exact, _)| (fit.clone(), *exact));
    let default = || routes().iter().find(|route| route.key == "$default");
    closest.map(|(_, _, route)| route).or_else(default).unwrap()
}

/// How closely a route's path fits, segment by segment: 2 as written, 1 by a variable, 0 by a greedy one for all the
/// rest; none when it does not.
fn fit(route: &str, path: &str) -> Option<Vec<u8>> {
    let mut rest = path.strip_prefix('/')?.split('/');
    let mut fit = Vec::new();
    for segment in route.strip_prefix('/')?.split('/') {
        let there = rest.next()?;
        if segment.starts_with('{') && there.is_empty() {
            return None;
        }
        if segment.ends_with("+}") {
            fit.push(0);
            return Some(fit);
        }
        match segment {
            _ if segment == there => fit.push(2),
            _ if segment.starts_with('{') => fit.push(1),
            _ => return None,
        }
    }
    rest.next().is_none().then_some(fit)
}

#[test]
fn a_gateway_takes_the_closest_route() {
    for (route, path, expected) in [
        ("/a", "/a", Some(vec![2])),
        ("/a", "/a/", None),
        ("/a", "/b", None),
        ("/a/{id}", "/a/7", Some(vec![2, 1])),
        ("/a/{id}", "/a/7/b", None),
        ("/a/{proxy+}", "/a/7/b", Some(vec![2, 0])),
        ("/a/{proxy+}", "/a", None),
        ("/a/{proxy+}", "/a/", None),
    ] {
        assert_eq!(fit(route, path), expected, "{route} for {path}");
    }
}
