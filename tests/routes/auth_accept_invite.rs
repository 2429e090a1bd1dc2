//! `POST /auth/accept-invite`.

use serde_json::{Value, json};

use crate::routes::auth_accounts::{USER, assert_signed_in, log_in, rate_limited, without_workspace};
use crate::routes::set_clock_back;
use crate::support::harness::{PASSWORD, World, names};

#[tokio::test]
async fn a_person_without_an_account_accepts_and_gets_an_account_and_a_membership() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "manager").await.expect(201);
    let mut bob = world.stranger("bob");
    let accepted = bob
        .accept(&issued, json!({"password": PASSWORD, "name": " Bob B. "}))
        .await
        .expect(200);
    let fields = [
        "access_token",
        "expires_in",
        "refresh_token",
        "token_type",
        "user",
        "workspace",
    ];
    assert_eq!(names(&accepted.body), fields);
    assert_eq!(accepted.body["workspace"], owner.workspace().await.body);
    assert_eq!(names(&accepted.body["user"]), USER);
    for (field, value) in [
        ("email", json!("bob@example.com")),
        ("name", json!("Bob B.")),
        ("role", json!("manager")),
        ("workspace_role", json!("manager")),
        ("workspace_id", accepted.body["workspace"]["id"].clone()),
        ("workspace_slug", accepted.body["workspace"]["slug"].clone()),
        ("company", Value::Null),
        ("email_verified", accepted.body["user"]["emailVerified"].clone()),
    ] {
        assert_eq!(accepted.body["user"][field], value, "{field}");
    }
    bob.take_tokens(&accepted);
    bob.refresh().await.expect(200);
    let list = bob.members().await.expect(200);
    assert_eq!(list.body["total"], 2);
    let row = &list.body["members"][1];
    assert_eq!(
        (&row["id"], &row["role"], &row["name"]),
        (&json!(bob.id), &json!("manager"), &json!("Bob B."))
    );
    assert_eq!(owner.invitations().await.body["total"], 0);
    bob.log_in().await;
    bob.workspace().await.expect(200);
}

#[tokio::test]
async fn a_person_without_an_account_needs_a_password_that_is_not_weak() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    let before = world.dump_without_limits().await;
    bob.accept(&issued, json!({})).await.refused(400, "PASSWORD_REQUIRED");
    bob.accept(&issued, json!({"password": null}))
        .await
        .refused(400, "PASSWORD_REQUIRED");
    for password in ["1234567", &"x".repeat(129)] {
        bob.accept(&issued, json!({"password": password}))
            .await
            .refused(400, "WEAK_PASSWORD");
    }
    assert_eq!(
        bob.accept(&issued, json!({"password": 5, "name": 5}))
            .await
            .invalid_fields(),
        ["body.name", "body.password"]
    );
    assert_eq!(world.dump_without_limits().await, before);
    bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test]
async fn an_existing_account_accepts_with_its_password() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = without_workspace(&world, "eve").await;
    let issued = owner.invite("eve@example.com", "member").await.expect(201);
    let visitor = eve.signed_out();
    let before = world.dump_without_limits().await;
    visitor
        .accept(&issued, json!({}))
        .await
        .refused(401, "INVALID_CREDENTIALS");
    visitor
        .accept(&issued, json!({"password": "wrong horse"}))
        .await
        .refused(401, "INVALID_CREDENTIALS");
    visitor
        .accept(&issued, json!({"password": ""}))
        .await
        .refused(401, "INVALID_CREDENTIALS");
    assert_eq!(world.dump_without_limits().await, before);
    let accepted = visitor
        .accept(&issued, json!({"password": PASSWORD, "name": "Mallory"}))
        .await
        .expect(200);
    assert_eq!(
        (&accepted.body["user"]["id"], &accepted.body["user"]["name"]),
        (&json!(eve.id), &json!("eve"))
    );
    assert_eq!(accepted.body["workspace"], owner.workspace().await.body);
    assert_signed_in(&visitor, accepted).await;
    assert_eq!(
        eve.workspace().await.expect(200).body,
        owner.workspace().await.body,
        "the earlier session still works"
    );
}

#[tokio::test]
async fn an_existing_account_accepts_with_its_token() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = without_workspace(&world, "eve").await;
    let issued = owner.invite("eve@example.com", "field_worker").await.expect(201);
    let mut forger = eve.clone();
    forger.access = Some(format!("{}x", eve.access.as_ref().unwrap()));
    forger
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(401, "TOKEN_INVALID");
    let accepted = eve.accept(&issued, json!({})).await.expect(200);
    assert_eq!(accepted.body["user"]["id"], eve.id);
    assert_eq!(
        eve.get("/auth/me").await.expect(200).body["workspace_role"],
        "field_worker"
    );
}

#[tokio::test]
async fn passwords_tried_by_accepting_count_as_logins() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = without_workspace(&world, "eve").await;
    let issued = owner.invite("eve@example.com", "member").await.expect(201);
    world.pass(61);
    let began = world.clock.now();
    let guesser = eve.signed_out();
    for _ in 0..8 {
        set_clock_back(&world, began);
        guesser
            .accept(&issued, json!({"password": "wrong horse"}))
            .await
            .refused(401, "INVALID_CREDENTIALS");
        log_in(&guesser, "eve@example.com", "wrong horse").await;
    }
    set_clock_back(&world, began);
    rate_limited(guesser.accept(&issued, json!({"password": PASSWORD})).await, 15);
    rate_limited(log_in(&guesser, "eve@example.com", PASSWORD).await, 15);
    assert_eq!(owner.members().await.body["total"], 1);
    eve.accept(&issued, json!({})).await.expect(200);
}

#[tokio::test]
async fn an_invitation_cannot_be_accepted_with_the_token_of_another_account() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = without_workspace(&world, "eve").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let before = world.dump_without_limits().await;
    for person in [&eve, &owner] {
        person
            .accept(&issued, json!({"password": PASSWORD}))
            .await
            .refused(409, "INVITE_EMAIL_MISMATCH");
    }
    assert_eq!(world.dump_without_limits().await, before);
    eve.signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_person_who_has_joined_another_workspace_cannot_accept() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let bob = world.owner("bob").await;
    let before = world.dump_without_limits().await;
    bob.accept(&issued, json!({})).await.refused(400, "INVITEE_UNAVAILABLE");
    bob.signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITEE_UNAVAILABLE");
    assert_eq!(world.dump_without_limits().await, before);
    bob.delete("/workspaces/").await.expect(200);
    bob.accept(&issued, json!({})).await.expect(200);
}

#[tokio::test]
async fn accepting_repeatedly_within_ten_minutes_gives_one_membership() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let mut bob = world.stranger("bob");
    let first = bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
    bob.take_tokens(&first);
    world.pass(570);
    let anonymous = bob.signed_out();
    for repeated in [
        anonymous.accept(&issued, json!({"password": PASSWORD})).await,
        bob.accept(&issued, json!({})).await,
    ] {
        let repeated = repeated.expect(200);
        assert_eq!(names(&repeated.body), names(&first.body));
        assert_eq!(repeated.body["user"]["id"], bob.id);
        assert_eq!(repeated.body["workspace"], first.body["workspace"]);
        assert_signed_in(&bob, repeated).await;
    }
    assert_eq!(owner.members().await.body["total"], 2);
    let before = world.dump_without_limits().await;
    anonymous
        .accept(&issued, json!({"password": "wrong horse"}))
        .await
        .refused(400, "INVITATION_USED");
    anonymous
        .accept(&issued, json!({}))
        .await
        .refused(400, "INVITATION_USED");
    owner.accept(&issued, json!({})).await.refused(400, "INVITATION_USED");
    world.pass(30);
    anonymous
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_USED");
    bob.accept(&issued, json!({})).await.refused(400, "INVITATION_USED");
    assert_eq!(world.dump_without_limits().await, before);
}

#[tokio::test]
async fn a_removed_member_cannot_rejoin_by_accepting_again() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let mut bob = world.stranger("bob");
    let first = bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
    bob.take_tokens(&first);
    owner.remove(&bob.id).await.expect(200);
    bob.signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_USED");
    assert_eq!(owner.members().await.body["total"], 1);
}

#[tokio::test]
async fn accepting_an_invitation_revokes_its_sibling_invitations() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let zoe = world.owner("zoe").await;
    let stranger = world.stranger("bob");
    for (name, has_account) in [("bob", false), ("eve", true)] {
        if has_account {
            without_workspace(&world, name).await;
        }
        let email = format!("{name}@example.com");
        let accepted = ann.invite(&email, "member").await.expect(201);
        let sibling = zoe.invite(&email, "owner").await.expect(201);
        assert_eq!(zoe.invitations().await.body["total"], 1);
        stranger
            .accept(&accepted, json!({"password": PASSWORD}))
            .await
            .expect(200);
        assert_eq!(
            zoe.invitations().await.body,
            json!({"invitations": [], "total": 0, "next_cursor": null})
        );
        stranger
            .accept(&sibling, json!({"password": PASSWORD}))
            .await
            .refused(400, "INVITATION_REVOKED");
        stranger.decline(&sibling).await.refused(400, "INVITATION_REVOKED");
        assert_eq!(stranger.preview(&sibling).await.expect(200).body["status"], "revoked");
        zoe.resend(&sibling.id()).await.refused(400, "INVITATION_REVOKED");
        zoe.cancel(&sibling.id()).await.refused(400, "INVITATION_REVOKED");
        zoe.invite(&email, "member").await.refused(400, "INVITEE_UNAVAILABLE");
    }
    assert_eq!(
        (&ann.members().await.body["total"], &zoe.members().await.body["total"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test]
async fn a_revoked_sibling_invitation_stays_revoked_after_a_removal() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let zoe = world.owner("zoe").await;
    let sibling = zoe.invite("bob@example.com", "member").await.expect(201);
    let mut bob = world.joins(&ann, "bob", "member").await;
    ann.remove(&bob.id).await.expect(200);
    bob.log_in().await;
    bob.accept(&sibling, json!({})).await.refused(400, "INVITATION_REVOKED");
    let fresh = zoe.invite("bob@example.com", "member").await.expect(201);
    bob.accept(&fresh, json!({})).await.expect(200);
}
