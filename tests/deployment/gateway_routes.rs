//! The routes of the gateway in `template.yaml`, and the functions that they reach.

use std::collections::BTreeSet;

use local::functions::FUNCTIONS;

use crate::support::harness::operations;
use crate::support::template::{route, routes};

#[test]
fn every_operation_reaches_its_function() {
    for function in &FUNCTIONS {
        let document = serde_json::to_value((function.routes)().into_openapi()).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            // An id replaces the variable of a path.
            let sent = path.replace("{user_id}", "7").replace("{id}", "7");
            assert!(!sent.contains('{'), "{path} has an unknown variable");
            for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
                assert_eq!(route(&method, &sent).function, function.name, "{method} {path}");
                // The function also responds to other methods: with 405, or to a preflight request.
                assert_eq!(route("OPTIONS", &sent).function, function.name, "OPTIONS {path}");
            }
        }
    }
    let reached: BTreeSet<&str> = operations()
        .iter()
        .map(|operation| route(&operation.method, &operation.about("7")).function)
        .collect();
    let http: BTreeSet<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(reached, http);
}

#[test]
fn a_path_without_a_route_reaches_workspaces() {
    for path in [
        "/",
        "/nowhere",
        "/api/v1/",
        "/api/v1/workspaces/",
        "/api/v1/workspaces/members/",
        "/invite/",
    ] {
        let route = route("GET", path);
        assert_eq!(
            (route.key.as_str(), route.function),
            ("$default", "workspaces"),
            "{path}"
        );
    }
}

#[test]
fn a_route_has_one_function_accepts_every_method_and_does_not_end_with_a_slash() {
    let mut keys = BTreeSet::new();
    for route in routes() {
        assert!(keys.insert(&route.key), "{} has two functions", route.key);
        assert!(
            !route.key.ends_with('/'),
            "{} ends with a slash, which SAM removes",
            route.key
        );
        let any = route.key == "$default" || route.key.starts_with("ANY /");
        assert!(any, "{} makes the gateway respond with 404 to other methods", route.key);
    }
}

#[test]
fn a_path_below_a_group_reaches_the_function_of_the_group() {
    let groups: Vec<_> = routes()
        .iter()
        .filter(|route| route.key.starts_with("ANY /api/") && !route.key.contains('{'))
        // Below this path are the other groups. `$default` gets all other paths.
        .filter(|route| route.key != "ANY /api/v1/workspaces")
        .collect();
    assert!(groups.len() >= 5, "{groups:?}");
    for group in groups {
        let (_, path) = group.key.split_once(' ').unwrap();
        for below in ["/nowhere", "/no/where"] {
            let reached = route("GET", &format!("{path}{below}"));
            assert_eq!(reached.function, group.function, "{path}{below}");
            assert_eq!(reached.key, format!("ANY {path}/{{proxy+}}"));
        }
    }
}
