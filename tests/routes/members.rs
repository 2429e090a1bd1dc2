//! `PATCH` and `DELETE /workspaces/members/{user_id}`: changing roles and removing members.

use serde_json::{Value, json};

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, names};

pub fn ids(response: &ApiResponse) -> Vec<String> {
    let members = response.body["members"].as_array().unwrap().iter();
    members
        .map(|member| member["id"].as_str().unwrap().to_owned())
        .collect()
}

fn role_of(list: &ApiResponse, id: &str) -> Option<String> {
    let member = list.body["members"]
        .as_array()
        .unwrap()
        .iter()
        .find(|member| member["id"] == id)?;
    Some(member["role"].as_str().unwrap().to_owned())
}

/// Asserts that the access token and the session of a person have ended.
async fn assert_signed_out(person: &Person<'_>) {
    person.get("/auth/me").await.refused(401, "TOKEN_REVOKED");
    person.workspace().await.refused(401, "TOKEN_REVOKED");
    person.refresh().await.refused(401, "TOKEN_REVOKED");
}

#[tokio::test]
async fn changing_a_role_updates_the_list_and_the_account_and_responds_with_exactly_these_fields() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    for role in ["field_worker", "manager", "owner", "member"] {
        let changed = owner.change_role(&bob.id, role).await.expect(200);
        assert_eq!(names(&changed.body), ["message", "role", "user_id"]);
        assert_eq!(
            (&changed.body["user_id"], &changed.body["role"]),
            (&json!(bob.id), &json!(role))
        );
        assert!(changed.body["message"].is_string());
        assert_eq!(role_of(&owner.members().await, &bob.id).as_deref(), Some(role));
        let user = format!("USER#{}", bob.id);
        assert_eq!(
            world
                .rows(&[&user, r#""entity": S("user")"#, &format!("\"role\": S({role:?})")])
                .await
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn setting_the_current_role_changes_nothing() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    for role in ["member", "field_worker", "manager", "owner"] {
        let person = world.joins(&owner, role, role).await;
        let before = world.dump().await;
        let unchanged = owner.change_role(&person.id, role).await.expect(200);
        assert_eq!(
            (&unchanged.body["user_id"], &unchanged.body["role"]),
            (&json!(person.id), &json!(role))
        );
        assert_eq!(world.dump().await, before);
        person.workspace().await.expect(200);
        person.refresh().await.expect(200);
    }
    owner.change_role(&owner.id, "owner").await.expect(200);
    owner.workspace().await.expect(200);
}

#[tokio::test]
async fn a_promotion_keeps_tokens_and_takes_effect_immediately() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    bob.patch("/workspaces/", json!({"name": "Bob's"}))
        .await
        .refused(403, "FORBIDDEN");
    for role in ["field_worker", "manager"] {
        owner.change_role(&bob.id, role).await.expect(200);
        bob.workspace().await.expect(200);
    }
    bob.patch("/workspaces/", json!({"name": "Bob's"})).await.expect(200);
    owner.change_role(&bob.id, "owner").await.expect(200);
    bob.change_role(&owner.id, "owner").await.expect(200);
    assert_eq!(bob.refresh().await.expect(200).body["user"]["role"], "owner");
}

#[tokio::test]
async fn a_demotion_ends_every_token_immediately() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let ranks = ["owner", "manager", "field_worker", "member"];
    let bob = world.joins(&owner, "bob", "member").await;
    for (at, from) in ranks.iter().enumerate() {
        for to in &ranks[at + 1..] {
            owner.change_role(&bob.id, from).await.expect(200);
            let (mut phone, mut laptop) = (bob.signed_out(), bob.signed_out());
            phone.log_in().await;
            laptop.log_in().await;
            owner.change_role(&bob.id, to).await.expect(200);
            assert_signed_out(&phone).await;
            assert_signed_out(&laptop).await;
            phone.log_in().await;
            assert_eq!(
                phone.get("/auth/me").await.expect(200).body["workspace_role"],
                *to,
                "{from} to {to}"
            );
            world.pass(20);
        }
    }
    owner.workspace().await.expect(200);
}

#[tokio::test]
async fn the_last_owner_cannot_be_demoted_or_removed() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    world.joins(&owner, "max", "manager").await;
    let before = world.dump().await;
    for role in ["manager", "field_worker", "member"] {
        owner.change_role(&owner.id, role).await.refused(400, "LAST_OWNER");
    }
    owner.remove(&owner.id).await.refused(403, "LAST_OWNER");
    assert_eq!(world.dump().await, before);

    let second = world.joins(&owner, "bob", "owner").await;
    owner.change_role(&owner.id, "member").await.expect(200);
    assert_signed_out(&owner).await;
    second
        .change_role(&second.id, "member")
        .await
        .refused(400, "LAST_OWNER");
    second.remove(&second.id).await.refused(403, "LAST_OWNER");
    second.change_role(&owner.id, "owner").await.expect(200);
    second.remove(&second.id).await.expect(200);
    assert_signed_out(&second).await;
}

#[tokio::test]
async fn an_invalid_role_is_refused() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let before = world.dump().await;
    for role in ["", "admin", "Owner", "owner ", "superuser"] {
        owner.change_role(&bob.id, role).await.refused(400, "INVALID_ROLE");
    }
    let path = format!("/workspaces/members/{}", bob.id);
    for body in [
        json!({}),
        json!({"role": 5}),
        json!({"role": ["owner"]}),
        json!({"role": null}),
    ] {
        assert_eq!(owner.patch(&path, body).await.invalid_fields(), ["body.role"]);
    }
    assert_eq!(owner.raw("PATCH", &path, "").await.invalid_fields(), ["body"]);
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn an_unknown_member_gets_404_after_the_callers_rights_and_the_body_were_checked() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let unknown = uuid::Uuid::from_u128(7).to_string();
    owner
        .change_role(&unknown, "member")
        .await
        .refused(404, "MEMBER_NOT_FOUND");
    owner.remove(&unknown).await.refused(404, "MEMBER_NOT_FOUND");
    assert_eq!(
        owner
            .patch(&format!("/workspaces/members/{unknown}"), json!({}))
            .await
            .invalid_fields(),
        ["body.role"]
    );
    for target in [&unknown, &owner.id, &bob.id] {
        bob.patch(&format!("/workspaces/members/{target}"), json!({}))
            .await
            .refused(403, "FORBIDDEN");
        bob.remove(target).await.refused(403, "FORBIDDEN");
    }
}

#[tokio::test]
async fn a_manager_may_change_and_remove_only_lower_roles() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let manager = world.joins(&owner, "max", "manager").await;
    let peer = world.joins(&owner, "mia", "manager").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let before = world.dump().await;
    for target in [&owner, &peer, &manager] {
        manager
            .change_role(&target.id, "member")
            .await
            .refused(403, "FORBIDDEN");
        manager.remove(&target.id).await.refused(403, "FORBIDDEN");
    }
    manager.change_role(&bob.id, "owner").await.refused(403, "FORBIDDEN");
    assert_eq!(world.dump().await, before);
    manager.change_role(&bob.id, "field_worker").await.expect(200);
    manager.remove(&bob.id).await.expect(200);
}

#[tokio::test]
async fn a_removed_member_loses_access_immediately_and_may_rejoin() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let mut bob = world.joins(&owner, "bob", "manager").await;
    let joined_at = owner.members().await.body["members"][1]["joined_at"].clone();
    let removed = owner.remove(&bob.id).await.expect(200);
    assert_eq!(names(&removed.body), ["message", "role", "user_id"]);
    assert_eq!(
        (&removed.body["user_id"], &removed.body["role"]),
        (&json!(bob.id), &Value::Null)
    );
    assert!(removed.body["message"].is_string());
    assert_signed_out(&bob).await;
    assert_eq!(ids(&owner.members().await), std::slice::from_ref(&owner.id));
    assert_eq!(owner.members().await.body["total"], 1);
    owner.remove(&bob.id).await.refused(404, "MEMBER_NOT_FOUND");

    bob.log_in().await;
    for path in [
        "/workspaces/",
        "/workspaces/members",
        "/workspaces/usage",
        "/workspaces/invitations",
    ] {
        bob.get(path).await.refused(404, "WORKSPACE_NOT_FOUND");
    }
    let me = bob.get("/auth/me").await.expect(200);
    for field in ["workspace_id", "workspace_slug", "workspace_role"] {
        assert_eq!(me.body[field], Value::Null);
    }
    assert_eq!(me.body["role"], "member");

    world.pass(1);
    let invitation = owner.invite(&bob.email, "field_worker").await.expect(201);
    let back = bob.accept(&invitation, json!({})).await.expect(200);
    assert_eq!(back.body["user"]["id"], bob.id);
    let list = owner.members().await;
    assert_eq!(ids(&list), [owner.id.clone(), bob.id.clone()]);
    assert_eq!(role_of(&list, &bob.id).as_deref(), Some("field_worker"));
    assert!(list.body["members"][1]["joined_at"].as_str() > joined_at.as_str());
}

#[tokio::test]
async fn an_invitation_ends_when_its_inviter_loses_the_right_to_send_it() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let manager = world.joins(&owner, "max", "manager").await;
    let second = world.joins(&owner, "zoe", "owner").await;
    let by_manager = manager.invite("bob@example.com", "member").await.expect(201);
    let as_owner = second.invite("cid@example.com", "owner").await.expect(201);
    let as_member = second.invite("dan@example.com", "member").await.expect(201);
    let stranger = world.stranger("guest");
    let body = || json!({"password": PASSWORD});

    owner.change_role(&manager.id, "field_worker").await.expect(200);
    stranger
        .accept(&by_manager, body())
        .await
        .refused(400, "INVITATION_REVOKED");
    assert_eq!(
        stranger.preview(&by_manager).await.expect(200).body["status"],
        "revoked"
    );

    owner.change_role(&second.id, "manager").await.expect(200);
    stranger
        .accept(&as_owner, body())
        .await
        .refused(400, "INVITATION_REVOKED");
    stranger.accept(&as_member, body()).await.expect(200);

    let third = world.joins(&owner, "kim", "owner").await;
    let by_third = third.invite("eve@example.com", "member").await.expect(201);
    owner.remove(&third.id).await.expect(200);
    stranger
        .accept(&by_third, body())
        .await
        .refused(400, "INVITATION_REVOKED");
    assert_eq!(owner.members().await.body["total"], 4);
}

#[tokio::test]
async fn an_ended_invitation_stays_ended_when_its_inviter_regains_the_right() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let demoted = world.joins(&owner, "max", "manager").await;
    let mut removed = world.joins(&owner, "zoe", "owner").await;
    let by_demoted = demoted.invite("bob@example.com", "member").await.expect(201);
    let by_removed = removed.invite("cid@example.com", "member").await.expect(201);
    owner.change_role(&demoted.id, "member").await.expect(200);
    owner.change_role(&demoted.id, "owner").await.expect(200);
    owner.remove(&removed.id).await.expect(200);
    world.pass(1);
    let back = owner.invite(&removed.email, "owner").await.expect(201);
    removed.log_in().await;
    removed.accept(&back, json!({})).await.expect(200);
    let stranger = world.stranger("guest");
    for issued in [&by_demoted, &by_removed] {
        let refused = stranger.accept(issued, json!({"password": PASSWORD})).await;
        refused.refused(400, "INVITATION_REVOKED");
    }
    let fresh = removed.invite("cid@example.com", "member").await.expect(201);
    stranger.accept(&fresh, json!({"password": PASSWORD})).await.expect(200);
}
