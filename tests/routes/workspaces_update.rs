//! `PUT` and `PATCH /workspaces/`.

use serde_json::{Value, json};

use crate::support::harness::{ApiResponse, World};

/// The body of a response without `updated_at`.
fn settings(response: &ApiResponse) -> Value {
    let mut body = response.body.clone();
    body.as_object_mut().unwrap().remove("updated_at");
    body
}

#[tokio::test]
async fn a_put_keeps_absent_fields_and_null_resets_a_field() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let all = json!({
        "name": "  Acme Field  ",
        "logo_url": "https://acme.example/logo.png",
        "website": "http://acme.example",
        "billing_email": "Bill@Acme.example",
        "description": "Deliveries\nand more",
        "timezone": "Europe/Berlin",
        "support_email": "help@acme.example",
        "slack_connect_url": "https://acme.slack.com/x",
        "unit_system": "metric",
        "map_home": {"center": [13.4, 52.5], "zoom": 10},
    });
    let created = owner.workspace().await;
    world.pass(5);
    let set = owner.put("/workspaces/", all.clone()).await.expect(200);
    for (field, value) in all.as_object().unwrap() {
        match field.as_str() {
            "name" => assert_eq!(set.body["name"], "Acme Field"),
            "billing_email" => assert_eq!(set.body["billing_email"], "bill@acme.example"),
            _ => assert_eq!(set.body[field], *value, "{field}"),
        }
    }
    assert_eq!(
        (&set.body["slug"], &set.body["id"]),
        (&created.body["slug"], &created.body["id"])
    );
    assert_eq!(set.body["created_at"], created.body["created_at"]);
    assert!(set.body["updated_at"].as_str() > created.body["updated_at"].as_str());
    assert_eq!(owner.workspace().await.body, set.body);

    let renamed = owner.put("/workspaces/", json!({"name": "Acme"})).await.expect(200);
    let mut expected = settings(&set);
    expected["name"] = json!("Acme");
    assert_eq!(settings(&renamed), expected, "an absent field keeps its value");

    let mut nulls = all;
    for (field, value) in nulls.as_object_mut().unwrap() {
        *value = if field == "name" { json!("Acme") } else { Value::Null };
    }
    let cleared = owner.put("/workspaces/", nulls).await.expect(200);
    let mut expected = settings(&created);
    expected["name"] = json!("Acme");
    assert_eq!(settings(&cleared), expected, "null resets a field to its default");
}

#[tokio::test]
async fn a_patch_changes_only_the_fields_of_its_body() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let before = owner.workspace().await;
    let new_values = [
        ("name", json!("Acme")),
        ("logo_url", json!("https://acme.example/a.png")),
        ("website", json!("https://acme.example")),
        ("billing_email", json!("bill@acme.example")),
        ("description", json!("We deliver")),
        ("timezone", json!("America/New_York")),
        ("support_email", json!("help@acme.example")),
        ("slack_connect_url", json!("https://acme.slack.com")),
        ("unit_system", json!("metric")),
        ("map_home", json!({"zoom": 3})),
    ];
    let mut expected = settings(&before);
    for (field, value) in new_values {
        expected[field] = value.clone();
        let changed = owner.patch("/workspaces/", json!({field: value})).await.expect(200);
        assert_eq!(settings(&changed), expected);
    }
    assert_eq!(
        settings(&owner.patch("/workspaces/", json!({})).await.expect(200)),
        expected
    );
    assert_eq!(settings(&owner.workspace().await), expected);
    for field in [
        "logo_url",
        "website",
        "billing_email",
        "description",
        "support_email",
        "slack_connect_url",
        "map_home",
    ] {
        expected[field] = Value::Null;
        let cleared = owner.patch("/workspaces/", json!({field: null})).await.expect(200);
        assert_eq!(settings(&cleared), expected);
    }
}

#[tokio::test]
async fn a_refused_update_lists_every_field_error() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let before = world.dump().await;
    let invalid = json!({
        "name": " ",
        "logo_url": "javascript:alert(1)",
        "website": "acme.example",
        "billing_email": "nobody",
        "description": "x".repeat(2001),
        "timezone": "Mars/Olympus",
        "support_email": 5,
        "slack_connect_url": "ftp://acme.example",
        "unit_system": "cubits",
        "map_home": [1, 2],
    });
    let mut every_field: Vec<_> = invalid
        .as_object()
        .unwrap()
        .keys()
        .map(|field| format!("body.{field}"))
        .collect();
    every_field.sort();
    assert_eq!(
        owner.put("/workspaces/", invalid.clone()).await.invalid_fields(),
        every_field
    );
    assert_eq!(owner.patch("/workspaces/", invalid).await.invalid_fields(), every_field);
    assert_eq!(
        owner
            .put("/workspaces/", json!({"timezone": "x"}))
            .await
            .invalid_fields(),
        ["body.name", "body.timezone"]
    );
    assert_eq!(
        owner.put("/workspaces/", json!({"name": null})).await.invalid_fields(),
        ["body.name"]
    );
    assert_eq!(
        owner
            .patch("/workspaces/", json!({"name": null}))
            .await
            .invalid_fields(),
        ["body.name"]
    );
    for body in ["", "{", "[]", "null", "\"text\""] {
        assert_eq!(
            owner.raw("PUT", "/workspaces/", body).await.invalid_fields(),
            ["body"],
            "{body}"
        );
        assert_eq!(
            owner.raw("PATCH", "/workspaces/", body).await.invalid_fields(),
            ["body"],
            "{body}"
        );
        assert_eq!(
            owner.raw("POST", "/workspaces/", body).await.invalid_fields(),
            ["body"],
            "{body}"
        );
    }
    let missing = owner.put("/workspaces/", json!({})).await;
    assert_eq!(
        missing.body["detail"],
        json!([{"type": "missing", "loc": ["body", "name"], "msg": "Field required"}])
    );
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn each_setting_accepts_values_up_to_its_limit_and_no_others() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let label = "b".repeat(61);
    let longest_email = format!("{}@{label}.{label}.{label}.info", "a".repeat(64));
    assert_eq!(longest_email.len(), 254 + 1);
    let object = |bytes: usize| json!({"k": "x".repeat(bytes - r#"{"k":""}"#.len())});
    let valid = [
        ("name", json!("ü".repeat(255))),
        ("name", json!(format!("  {}  ", "x".repeat(255)))),
        ("description", json!("ü".repeat(2000))),
        ("billing_email", json!(longest_email[1..])),
        ("map_home", object(4096)),
        ("map_home", json!({})),
        ("timezone", json!("Asia/Kolkata")),
        ("unit_system", json!("imperial")),
        ("website", json!("HTTPS://acme.example:8443/a?b=c#d")),
    ];
    for (field, value) in valid {
        owner.patch("/workspaces/", json!({field: value})).await.expect(200);
    }
    let invalid = [
        ("name", json!("ü".repeat(256))),
        ("name", json!("")),
        ("name", json!(["a"])),
        ("description", json!("ü".repeat(2001))),
        ("billing_email", json!(longest_email)),
        ("map_home", object(4097)),
        ("map_home", json!("{}")),
        ("timezone", json!("")),
        ("timezone", json!("GMT+25")),
        ("unit_system", json!("Metric")),
        ("unit_system", json!(true)),
        ("website", json!("https://")),
        ("website", json!("//acme.example")),
        ("logo_url", json!("data:image/png;base64,AA")),
        ("support_email", json!("")),
    ];
    for (field, value) in invalid {
        let refused = owner.patch("/workspaces/", json!({field: value.clone()})).await;
        assert_eq!(
            refused.invalid_fields(),
            [format!("body.{field}")],
            "{field} {value:.40}"
        );
    }
}

#[tokio::test]
async fn map_home_is_returned_exactly_as_it_was_sent() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let home =
        json!({"zoom": 10, "lat": 52.5, "name": "Größe \"x\"", "nested": {"empty": {}, "list": [1, null, true]}});
    owner.patch("/workspaces/", json!({"map_home": home})).await.expect(200);
    let read = owner.workspace().await;
    assert_eq!(read.body["map_home"], home);
    assert!(
        read.text.contains(r#""zoom":10,"#) || read.text.contains(r#""zoom":10}"#),
        "{}",
        read.text
    );
    // Numbers keep every digit.
    for number in ["-9.895944558628227e+264", "13.377703825384376", "5e-324"] {
        let sent = format!(r#"{{"map_home":{{"n":{number}}}}}"#);
        owner.raw("PATCH", "/workspaces/", sent).await.expect(200);
        let read = owner.workspace().await;
        let expected = format!(r#""map_home":{{"n":{number}}}"#);
        assert!(read.text.contains(&expected), "{number}: {}", read.text);
    }
}

#[tokio::test]
async fn unknown_and_read_only_fields_are_ignored() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let before = owner.workspace().await;
    let sent =
        json!({"id": "x", "slug": "taken", "tier": "enterprise", "created_at": "x", "owner_count": 9, "more": [1]});
    assert_eq!(
        settings(&owner.patch("/workspaces/", sent).await.expect(200)),
        settings(&before)
    );
    assert_eq!(owner.get("/workspaces/usage").await.body["tier"], "developer");
}

#[tokio::test]
async fn only_owners_and_managers_may_update_a_workspace() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let manager = world.joins(&owner, "max", "manager").await;
    manager
        .patch("/workspaces/", json!({"name": "By the manager"}))
        .await
        .expect(200);
    for role in ["field_worker", "member"] {
        let person = world.joins(&owner, role, role).await;
        assert_eq!(person.workspace().await.expect(200).body["name"], "By the manager");
        let before = world.dump().await;
        for body in [json!({"name": "x"}), json!({"name": 5})] {
            person.put("/workspaces/", body.clone()).await.refused(403, "FORBIDDEN");
            person.patch("/workspaces/", body).await.refused(403, "FORBIDDEN");
        }
        assert_eq!(world.dump().await, before);
    }
}
