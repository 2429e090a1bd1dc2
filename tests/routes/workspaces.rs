//! `/workspaces/`: read, update, create, delete.

use serde_json::{Value, json};

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, names};
use crate::support::invariants;

/// Somebody who was in a workspace and is in none now, logged in again.
async fn leaver<'w>(world: &'w World, owner: &Person<'w>, name: &str) -> Person<'w> {
    let mut person = world.joins(owner, name, "member").await;
    owner.remove(&person.id).await.expect(200);
    person.log_in().await;
    person
}

/// The answer without when it was last changed.
fn settings(answer: &ApiResponse) -> Value {
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap().remove("updated_at");
    body
}

#[tokio::test]
async fn a_new_workspace_has_exactly_the_documented_fields_and_defaults() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let workspace = owner.workspace().await.expect(200);
    let created_at = workspace.body["created_at"].as_str().unwrap().to_owned();
    assert_eq!(created_at.len(), "2026-01-02T03:04:05.678Z".len());
    let expected = json!({
        "id": workspace.id(),
        "name": "ann and company",
        "slug": "ann-and-company",
        "logo_url": null,
        "website": null,
        "billing_email": null,
        "description": null,
        "timezone": "UTC",
        "support_email": null,
        "slack_connect_url": null,
        "unit_system": "imperial",
        "lane": null,
        "map_home": null,
        "created_at": created_at,
        "updated_at": created_at,
    });
    assert_eq!(workspace.body, expected);
    assert_eq!(uuid::Uuid::parse_str(&workspace.id()).unwrap().get_version_num(), 7);
    assert_eq!(workspace.header("content-type"), Some("application/json"));
    assert_eq!(workspace.header("cache-control"), Some("no-store"));
    assert_eq!(workspace.header("x-content-type-options"), Some("nosniff"));
    assert!(workspace.header("x-request-id").is_some_and(|id| !id.is_empty()));
}

#[tokio::test]
async fn the_path_answers_with_and_without_its_slash_for_every_method() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let read = owner.get("/workspaces").await.expect(200);
    assert_eq!(read.body, owner.get("/workspaces/").await.expect(200).body);
    owner.put("/workspaces", json!({"name": "By put"})).await.expect(200);
    owner
        .patch("/workspaces", json!({"website": "https://ann.example"}))
        .await
        .expect(200);
    owner
        .post("/workspaces", json!({"name": "Second"}))
        .await
        .refused(400, "ALREADY_IN_WORKSPACE");
    owner.delete("/workspaces").await.expect(200);
    owner.get("/workspaces").await.refused(404, "WORKSPACE_NOT_FOUND");
    assert_eq!(
        owner
            .post("/workspaces", json!({"name": "Third"}))
            .await
            .expect(201)
            .body["name"],
        "Third"
    );
}

#[tokio::test]
async fn another_trailing_slash_is_redirected() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let redirect = owner.get("/workspaces/members/?limit=3").await.expect(308);
    assert_eq!(redirect.header("location"), Some("/api/v1/workspaces/members?limit=3"));
}

#[tokio::test]
async fn an_unsupported_method_is_405_with_allow() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    for path in [
        "/workspaces/members",
        "/workspaces/usage",
        "/workspaces/revoke-all-sessions",
    ] {
        let refused = owner.call("PUT", path, None).await.refused(405, "METHOD_NOT_ALLOWED");
        assert!(
            refused.header("allow").is_some_and(|allow| !allow.contains("PUT")),
            "{path}"
        );
    }
    owner.get("/workspaces/nothing/here").await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn somebody_without_a_workspace_hears_404_whatever_they_send() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = leaver(&world, &owner, "bob").await;
    let before = world.dump_without_limits().await;
    bob.workspace().await.refused(404, "WORKSPACE_NOT_FOUND");
    for body in [json!({"name": "Mine"}), json!({"name": 5})] {
        bob.put("/workspaces/", body.clone())
            .await
            .refused(404, "WORKSPACE_NOT_FOUND");
        bob.patch("/workspaces/", body)
            .await
            .refused(404, "WORKSPACE_NOT_FOUND");
    }
    bob.delete("/workspaces/").await.refused(404, "WORKSPACE_NOT_FOUND");
    assert_eq!(world.dump_without_limits().await, before);
}

#[tokio::test]
async fn a_put_merges_and_null_clears() {
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
    assert_eq!(settings(&cleared), expected, "null clears, back to the defaults");
}

#[tokio::test]
async fn a_patch_changes_only_what_it_names() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let before = owner.workspace().await;
    let every = [
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
    for (field, value) in every {
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
async fn all_faults_of_an_update_are_told_at_once() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let before = world.dump().await;
    let wrong = json!({
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
    let mut every: Vec<_> = wrong
        .as_object()
        .unwrap()
        .keys()
        .map(|field| format!("body.{field}"))
        .collect();
    every.sort();
    assert_eq!(owner.put("/workspaces/", wrong.clone()).await.invalid_fields(), every);
    assert_eq!(owner.patch("/workspaces/", wrong).await.invalid_fields(), every);
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
async fn each_setting_holds_its_limit_to_the_character() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let label = "b".repeat(61);
    let longest_email = format!("{}@{label}.{label}.{label}.info", "a".repeat(64));
    assert_eq!(longest_email.len(), 254 + 1);
    let object = |bytes: usize| json!({"k": "x".repeat(bytes - r#"{"k":""}"#.len())});
    let fits = [
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
    for (field, value) in fits {
        owner.patch("/workspaces/", json!({field: value})).await.expect(200);
    }
    let exceeds = [
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
    for (field, value) in exceeds {
        let refused = owner.patch("/workspaces/", json!({field: value.clone()})).await;
        assert_eq!(
            refused.invalid_fields(),
            [format!("body.{field}")],
            "{field} {value:.40}"
        );
    }
}

#[tokio::test]
async fn map_home_comes_back_as_it_was_given() {
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
    // To the last digit, however often it is read and sent back.
    for number in ["-9.895944558628227e+264", "13.377703825384376", "5e-324"] {
        let sent = format!(r#"{{"map_home":{{"n":{number}}}}}"#);
        owner.raw("PATCH", "/workspaces/", sent).await.expect(200);
        let read = owner.workspace().await;
        let given = format!(r#""map_home":{{"n":{number}}}"#);
        assert!(read.text.contains(&given), "{number}: {}", read.text);
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_ids_cannot_be_set() {
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
async fn owners_and_managers_update_others_do_not() {
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

#[tokio::test]
async fn a_slug_is_unique_and_outlives_a_new_name() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.workspace().await;
    let namesake = world.stranger("bob");
    let body = json!({"email": namesake.email, "password": PASSWORD, "name": "Bob", "company": "ANN and, Company!"});
    let slug = namesake.post("/auth/register", body).await.expect(201).body["workspace_slug"].clone();
    assert_ne!(slug, first.body["slug"]);
    assert!(slug.as_str().unwrap().starts_with("ann-and-company"), "{slug}");
    let renamed = ann
        .put("/workspaces/", json!({"name": "Something else"}))
        .await
        .expect(200);
    assert_eq!(renamed.body["slug"], "ann-and-company");
    assert_eq!(world.rows(&[r#""entity": S("slug")"#]).await.len(), 2);
}

#[tokio::test]
async fn somebody_without_a_workspace_founds_one_and_owns_it() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = leaver(&world, &owner, "bob").await;
    assert_eq!(
        bob.post("/workspaces/", json!({})).await.invalid_fields(),
        ["body.name"]
    );
    assert_eq!(
        bob.post("/workspaces/", json!({"name": "  "})).await.invalid_fields(),
        ["body.name"]
    );
    let founded = bob
        .post("/workspaces/", json!({"name": " Bob's own "}))
        .await
        .expect(201);
    assert_eq!(names(&founded.body), names(&owner.workspace().await.body));
    assert_eq!(
        (&founded.body["name"], &founded.body["slug"]),
        (&json!("Bob's own"), &json!("bob-s-own"))
    );
    assert_eq!(bob.workspace().await.expect(200).body, founded.body);
    let members = bob.members().await.expect(200);
    let joined_at = founded.body["created_at"].clone();
    let expected = json!([{"id": bob.id, "email": bob.email, "name": "bob", "role": "owner", "joined_at": joined_at}]);
    assert_eq!(
        (&members.body["members"], &members.body["total"]),
        (&expected, &json!(1))
    );
    bob.post("/workspaces/", json!({"name": "Another"}))
        .await
        .refused(400, "ALREADY_IN_WORKSPACE");
    bob.post("/workspaces/", json!({"name": ""}))
        .await
        .refused(422, "VALIDATION_ERROR");
    assert_eq!(bob.workspace().await.body, founded.body);
}

#[tokio::test]
async fn deleting_takes_the_workspace_and_all_of_its_rows() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let other = world.owner("bob").await;
    let id = ann.workspace().await.id();
    let deleted = ann.delete("/workspaces/").await.expect(200);
    assert_eq!(names(&deleted.body), ["message"]);
    assert!(deleted.body["message"].is_string());
    ann.workspace().await.refused(404, "WORKSPACE_NOT_FOUND");
    ann.members().await.refused(404, "WORKSPACE_NOT_FOUND");
    ann.delete("/workspaces/").await.refused(404, "WORKSPACE_NOT_FOUND");
    assert_eq!(world.rows(&[&format!("WS#{id}")]).await, Vec::<String>::new());
    let me = ann.get("/auth/me").await.expect(200);
    assert_eq!(
        (&me.body["workspace_id"], &me.body["role"]),
        (&Value::Null, &json!("member"))
    );
    other.workspace().await.expect(200);
    let again = ann
        .post("/workspaces/", json!({"name": "ann and company"}))
        .await
        .expect(201);
    assert_ne!(again.id(), id);
}

#[tokio::test]
async fn only_the_sole_member_who_owns_it_deletes_a_workspace() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let mut people = Vec::new();
    for role in ["owner", "manager", "field_worker", "member"] {
        people.push(world.joins(&owner, role, role).await);
    }
    let before = world.dump().await;
    for person in &people[1..] {
        person.delete("/workspaces/").await.refused(403, "FORBIDDEN");
    }
    people[0]
        .delete("/workspaces/")
        .await
        .refused(400, "WORKSPACE_NOT_EMPTY");
    owner.delete("/workspaces/").await.refused(400, "WORKSPACE_NOT_EMPTY");
    assert_eq!(world.dump().await, before);
    for person in &people {
        owner.remove(&person.id).await.expect(200);
    }
    owner.delete("/workspaces/").await.expect(200);
}

#[tokio::test]
async fn more_invitations_than_a_transaction_holds_end_with_their_workspace() {
    let world = World::new().await;
    let mut ann = world.owner("ann").await;
    let id = ann.workspace().await.id();
    for guest in 0..32 {
        if guest % 10 == 0 {
            world.pass(3600);
            ann.log_in().await;
        }
        ann.invite(&format!("guest{guest}@example.com"), "member")
            .await
            .expect(201);
    }
    ann.delete("/workspaces/").await.expect(200);
    assert_eq!(world.rows(&[&format!("WS#{id}")]).await, Vec::<String>::new());
    invariants::check(&world).await;
}

#[tokio::test]
async fn pending_invitations_lapse_with_their_workspace() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let invitation = owner.invite("bob@example.com", "member").await.expect(201);
    let expired = owner.invite("eve@example.com", "member").await.expect(201);
    let past = owner
        .extend(
            &expired.id(),
            &world.clock.now().plus(std::time::Duration::from_secs(60)).to_string(),
        )
        .await;
    past.expect(200);
    world.pass(61);
    owner.delete("/workspaces/").await.expect(200);
    let bob = world.stranger("bob");
    for issued in [&invitation, &expired] {
        bob.accept(issued, json!({"password": PASSWORD}))
            .await
            .refused(400, "INVITATION_REVOKED");
        bob.decline(issued).await.refused(400, "INVITATION_REVOKED");
        assert_eq!(bob.preview(issued).await.expect(200).body["status"], "revoked");
    }
    bob.post("/auth/login", json!({"email": "bob@example.com", "password": PASSWORD}))
        .await
        .refused(401, "INVALID_CREDENTIALS");
}
