//! Generated events for every function.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use crate::faults::fuzz::generators::{Edit, edited, edits, json_value};
use crate::faults::fuzz::{Setup, fuzz};

/// A change of an event.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, Value),
    Remove(Index),
    EditText(Vec<Edit>),
}

/// The JSON pointers to a value and to all values inside it.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                pointers(
                    value,
                    &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
                    all,
                );
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}

fn changed(event: &Value, changes: &[Change]) -> String {
    let mut event = event.clone();
    for change in changes {
        let mut all = Vec::new();
        pointers(&event, "", &mut all);
        match change {
            Change::Replace(at, new) => {
                if let Some(value) = event.pointer_mut(at.get::<String>(&all)) {
                    *value = new.clone();
                }
            }
            Change::Remove(at) => {
                let pointer: &String = at.get(&all);
                let parent = pointer
                    .rsplit_once('/')
                    .and_then(|(parent, name)| Some((event.pointer_mut(parent)?, name)));
                if let Some((Value::Object(fields), name)) = parent {
                    fields.remove(&name.replace("~1", "/").replace("~0", "~"));
                }
            }
            Change::EditText(edits) => return edited(&event.to_string(), edits),
        }
    }
    event.to_string()
}

#[test]
fn no_event_makes_a_function_panic() {
    let setup = Setup::new();
    let owner = setup.owner();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let mut events = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let event: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        events.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), event));
    }
    events.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(events.len() > 20, "events/ has too few events");
    let names = local::functions::names();
    let change = prop_oneof![
        4 => (any::<Index>(), json_value()).prop_map(|(at, new)| Change::Replace(at, new)),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => edits().prop_map(Change::EditText),
    ];
    let case = (
        select(events),
        select(names.clone()),
        prop::bool::weighted(0.8),
        prop::collection::vec(change, 1..4),
    );
    fuzz("events", 1, &case, |((file, event), any_name, own, changes)| {
        // The name of an event begins with the name of its function.
        let own_name = names
            .iter()
            .copied()
            .filter(|name| file.starts_with(name))
            .max_by_key(|name| name.len());
        let name = own_name.filter(|_| own).unwrap_or(any_name);
        let person = owner.person();
        let event = changed(&event, &changes).replace("{{token}}", person.access.as_deref().unwrap_or_default());
        let app = setup.world.app.clone();
        let called = setup.run(local::functions::call(app, name, event.as_bytes())).unwrap();
        let text = match called {
            Ok(response) => String::from_utf8(response).unwrap(),
            Err(refused) => {
                let text = refused.to_string();
                assert!(!text.contains("panicked"), "{name}: {text}");
                return;
            }
        };
        let response: Value = serde_json::from_str(&text).unwrap();
        let own_status = response["statusCode"].as_u64();
        assert!(own_status.is_none_or(|status| status < 500), "{name}: {text}");
    });
    setup.check_invariants();
}
