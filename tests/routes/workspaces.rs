//! `GET`, `POST` and `DELETE /workspaces/`, and the paths around them.

use serde_json::{Value, json};

use crate::support::harness::{PASSWORD, Person, World, names};
use crate::support::invariants;

/// A person who was removed from a workspace, with a token from after the removal.
async fn former_member<'w>(world: &'w World, owner: &Person<'w>, name: &str) -> Person<'w> {
    let mut person = world.joins(owner, name, "member").await;
    owner.remove(&person.id).await.expect(200);
    person.log_in().await;
    person
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
async fn the_path_works_with_and_without_its_slash_for_every_method() {
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
async fn other_paths_with_a_trailing_slash_are_redirected() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let redirect = owner.get("/workspaces/members/?limit=3").await.expect(308);
    assert_eq!(redirect.header("location"), Some("/api/v1/workspaces/members?limit=3"));
}

#[tokio::test]
async fn an_unsupported_method_gets_405_with_the_allowed_methods() {
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
async fn a_person_without_a_workspace_gets_404_for_any_body() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = former_member(&world, &owner, "bob").await;
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
async fn a_slug_is_unique_and_stays_when_the_workspace_is_renamed() {
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
async fn a_person_without_a_workspace_creates_one_and_becomes_its_owner() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = former_member(&world, &owner, "bob").await;
    assert_eq!(
        bob.post("/workspaces/", json!({})).await.invalid_fields(),
        ["body.name"]
    );
    assert_eq!(
        bob.post("/workspaces/", json!({"name": "  "})).await.invalid_fields(),
        ["body.name"]
    );
    let created = bob
        .post("/workspaces/", json!({"name": " Bob's own "}))
        .await
        .expect(201);
    assert_eq!(names(&created.body), names(&owner.workspace().await.body));
    assert_eq!(
        (&created.body["name"], &created.body["slug"]),
        (&json!("Bob's own"), &json!("bob-s-own"))
    );
    assert_eq!(bob.workspace().await.expect(200).body, created.body);
    let members = bob.members().await.expect(200);
    let joined_at = created.body["created_at"].clone();
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
    assert_eq!(bob.workspace().await.body, created.body);
}

#[tokio::test]
async fn deleting_a_workspace_removes_all_of_its_items() {
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
    let recreated = ann
        .post("/workspaces/", json!({"name": "ann and company"}))
        .await
        .expect(201);
    assert_ne!(recreated.id(), id);
}

#[tokio::test]
async fn only_an_owner_without_other_members_may_delete_a_workspace() {
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
async fn a_workspace_with_more_invitations_than_fit_into_a_transaction_can_be_deleted() {
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
async fn deleting_a_workspace_revokes_its_pending_invitations() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let invitation = owner.invite("bob@example.com", "member").await.expect(201);
    let expired = owner.invite("eve@example.com", "member").await.expect(201);
    let extended = owner
        .extend(
            &expired.id(),
            &world.clock.now().plus(std::time::Duration::from_secs(60)).to_string(),
        )
        .await;
    extended.expect(200);
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
