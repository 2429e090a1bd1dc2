//! Generated bodies, workspace fields and e-mail addresses.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};
use shared::models::email::EmailAddress;

use crate::faults::fuzz::generators::{body, edited, edits, json_value, text};
use crate::faults::fuzz::{Setup, fuzz};
use crate::faults::requests::conforming;
use crate::support::harness::{Operation, operations};

#[test]
fn every_body_gets_a_response_of_the_contract() {
    let setup = Setup::new();
    let owner = setup.owner();
    let (member, invitation) = setup.run(async {
        let person = owner.person();
        let member = setup.world.joins(&person, "member", "member").await;
        (
            member.id,
            person.invite("guest@example.com", "member").await.expect(201).id(),
        )
    });
    let with_body: Vec<Operation> = operations()
        .into_iter()
        .filter(|operation| operation.fields.is_some())
        .collect();
    assert!(with_body.len() > 8, "the document lists too few operations with a body");
    let case = select(with_body).prop_flat_map(|operation| {
        let fields = operation.fields.clone().unwrap_or_default();
        (Just(operation), body(fields))
    });
    fuzz("bodies", 1, &case, |(operation, body)| {
        let id = if operation.path.contains("{user_id}") {
            &member
        } else {
            &invitation
        };
        let person = owner.person();
        let person = if operation.open { person.signed_out() } else { person };
        let response = setup.run(person.raw(&operation.method, &operation.about(id), body));
        assert!(
            operation.open || response.status != 401,
            "{}: {}",
            operation.name(),
            response.text
        );
        conforming(response);
    });
    setup.check_invariants();
}

#[test]
fn a_workspace_update_is_applied_completely_or_not_at_all() {
    let setup = Setup::new();
    let owner = setup.owner();
    let fields = [
        "name",
        "logo_url",
        "website",
        "billing_email",
        "description",
        "timezone",
        "support_email",
        "slack_connect_url",
        "unit_system",
        "map_home",
    ];
    let value = prop_oneof![3 => text().prop_map(Value::from), 1 => json_value()];
    let changes = prop::collection::vec((select(fields.to_vec()), value), 1..4);
    fuzz("workspace fields", 8, &changes, |changes| {
        let changes: Map<String, Value> = changes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let person = owner.person();
        let before = setup.run(person.workspace()).expect(200).body;
        let response = conforming(setup.run(person.patch("/workspaces/", changes.clone().into())));
        let after = setup.run(person.workspace()).expect(200).body;
        if response.status == 422 {
            assert_eq!(after, before);
            return;
        }
        assert_eq!(response.expect(200).body, after);
        // The new values are accepted again and do not change, and no other field has changed.
        let new_values: Map<String, Value> = changes.keys().map(|name| (name.clone(), after[name].clone())).collect();
        let repeated = setup
            .run(person.patch("/workspaces/", new_values.into()))
            .expect(200)
            .body;
        for field in fields {
            assert_eq!(repeated[field], after[field], "{field}");
            assert!(changes.contains_key(field) || after[field] == before[field], "{field}");
        }
    });
    setup.check_invariants();
}

#[test]
fn a_valid_email_address_is_safe_in_a_mail_header() {
    let label = "[a-zA-Z0-9-]{0,12}";
    let almost_valid = (
        "[ \\t]{0,2}",
        "[ -~éß\\r\\n\\x00]{0,20}",
        "@{0,2}",
        prop::collection::vec(label, 0..4),
        "[ \\t\\r\\n]{0,2}",
    )
        .prop_map(|(before, local, at, labels, suffix)| format!("{before}{local}{at}{}{suffix}", labels.join(".")));
    let typed = prop_oneof![
        4 => almost_valid,
        2 => edits().prop_map(|edits| edited("Ann.O'Hara+Test@Example.co.uk", &edits)),
        1 => any::<String>(),
    ];
    let valid = Cell::new(0);
    fuzz("e-mail addresses", 1, &typed, |typed| {
        let Ok(address) = EmailAddress::parse(&typed) else {
            return;
        };
        valid.set(valid.get() + 1);
        let text = address.as_str();
        assert_eq!(EmailAddress::parse(text), Ok(address.clone()), "{text:?}");
        assert_eq!(
            EmailAddress::parse(&text.to_uppercase()),
            Ok(address.clone()),
            "{text:?}"
        );
        assert_eq!(
            EmailAddress::parse(&format!(" {text}\r\n")),
            Ok(address.clone()),
            "{text:?}"
        );
        assert!(text.len() <= 254 && text.matches('@').count() == 1, "{text:?}");
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\"(),:;<>[\\]".contains(&byte)),
            "{text:?}"
        );
    });
    assert!(valid.get() > 0, "no generated address was valid");
}
