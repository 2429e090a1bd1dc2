//! Invitations as those who are invited see them: looked at, accepted, declined.

use serde_json::{Value, json};

use crate::routes::accounts::{USER, limited, log_in, loner, signs_in};
use crate::support::harness::{PASSWORD, World, names, proof};

#[tokio::test]
async fn whoever_holds_the_link_sees_exactly_this() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    loner(&world, "eve").await;
    let stranger = world.stranger("bob");
    for (email, account_exists) in [("bob@example.com", false), ("eve@example.com", true)] {
        let issued = owner.invite(email, "field_worker").await.expect(201);
        let seen = stranger.preview(&issued).await.expect(200);
        let expected = json!({
            "workspace_name": "ann and company",
            "invited_by_email": "ann@example.com",
            "email": email,
            "role": "field_worker",
            "expires_at": issued.body["expires_at"],
            "status": "pending",
            "account_exists": account_exists,
        });
        assert_eq!(seen.body, expected);
        stranger
            .accept(&issued, json!({"password": PASSWORD}))
            .await
            .expect(200);
        assert_eq!(stranger.preview(&issued).await.expect(200).body["status"], "accepted");
    }
}

#[tokio::test]
async fn a_link_that_is_none_is_404_on_every_route() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let other = owner.invite("cid@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    let good = proof(&issued, json!({"password": PASSWORD}));
    let links = [
        ("token", json!("x")),
        ("token", json!("")),
        ("token", proof(&other, json!({}))["token"].clone()),
        ("invite_id", json!(other.id())),
        ("invite_id", json!(uuid::Uuid::from_u128(7))),
        ("invite_id", json!("not-a-uuid")),
        ("invite_id", json!("")),
    ];
    let before = world.dump_without_limits().await;
    for route in ["invitation", "accept-invite", "decline-invite"] {
        for (field, value) in &links {
            let mut body = good.clone();
            body[field] = value.clone();
            bob.post(&format!("/auth/{route}"), body)
                .await
                .refused(404, "INVITATION_NOT_FOUND");
        }
        let faults = bob
            .post(&format!("/auth/{route}"), json!({"token": 5}))
            .await
            .invalid_fields();
        assert_eq!(faults, ["body.invite_id", "body.token"], "{route}");
    }
    assert_eq!(world.dump_without_limits().await, before);
    bob.post("/auth/accept-invite", good).await.expect(200);
}

#[tokio::test]
async fn a_new_person_accepts_and_is_a_member_with_a_password() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "manager").await.expect(201);
    let mut bob = world.stranger("bob");
    let accepted = bob
        .accept(&issued, json!({"password": PASSWORD, "name": " Bob B. "}))
        .await
        .expect(200);
    let tokens = [
        "access_token",
        "expires_in",
        "refresh_token",
        "token_type",
        "user",
        "workspace",
    ];
    assert_eq!(names(&accepted.body), tokens);
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
async fn a_new_person_needs_a_password_of_some_strength() {
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
async fn an_existing_account_proves_itself_by_its_password() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = loner(&world, "eve").await;
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
    signs_in(&visitor, accepted).await;
    assert_eq!(
        eve.workspace().await.expect(200).body,
        owner.workspace().await.body,
        "her earlier login goes on"
    );
}

#[tokio::test]
async fn an_existing_account_proves_itself_by_its_token() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = loner(&world, "eve").await;
    let issued = owner.invite("eve@example.com", "field_worker").await.expect(201);
    let mut liar = eve.clone();
    liar.access = Some(format!("{}x", eve.access.as_ref().unwrap()));
    liar.accept(&issued, json!({"password": PASSWORD}))
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
async fn passwords_guessed_by_accepting_count_as_logins() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = loner(&world, "eve").await;
    let issued = owner.invite("eve@example.com", "member").await.expect(201);
    world.pass(61);
    let thief = eve.signed_out();
    for _ in 0..8 {
        thief
            .accept(&issued, json!({"password": "wrong horse"}))
            .await
            .refused(401, "INVALID_CREDENTIALS");
        log_in(&thief, "eve@example.com", "wrong horse").await;
    }
    limited(thief.accept(&issued, json!({"password": PASSWORD})).await, 15);
    limited(log_in(&thief, "eve@example.com", PASSWORD).await, 15);
    assert_eq!(owner.members().await.body["total"], 1);
    eve.accept(&issued, json!({})).await.expect(200);
}

#[tokio::test]
async fn signed_in_as_somebody_else_one_cannot_accept() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = loner(&world, "eve").await;
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
async fn somebody_who_is_in_a_workspace_by_now_is_unavailable() {
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
async fn accepting_again_within_ten_minutes_is_the_same_person_once() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let mut bob = world.stranger("bob");
    let first = bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
    bob.take_tokens(&first);
    world.pass(570);
    let nobody = bob.signed_out();
    for again in [
        nobody.accept(&issued, json!({"password": PASSWORD})).await,
        bob.accept(&issued, json!({})).await,
    ] {
        let again = again.expect(200);
        assert_eq!(names(&again.body), names(&first.body));
        assert_eq!(again.body["user"]["id"], bob.id);
        assert_eq!(again.body["workspace"], first.body["workspace"]);
        signs_in(&bob, again).await;
    }
    assert_eq!(owner.members().await.body["total"], 2);
    let before = world.dump_without_limits().await;
    nobody
        .accept(&issued, json!({"password": "wrong horse"}))
        .await
        .refused(400, "INVITATION_USED");
    nobody.accept(&issued, json!({})).await.refused(400, "INVITATION_USED");
    owner.accept(&issued, json!({})).await.refused(400, "INVITATION_USED");
    world.pass(30);
    nobody
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_USED");
    bob.accept(&issued, json!({})).await.refused(400, "INVITATION_USED");
    assert_eq!(world.dump_without_limits().await, before);
}

#[tokio::test]
async fn accepting_again_does_not_undo_a_removal() {
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
async fn other_invitations_of_who_joined_are_dead_at_once() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let zoe = world.owner("zoe").await;
    let stranger = world.stranger("bob");
    for (name, exists) in [("bob", false), ("eve", true)] {
        if exists {
            loner(&world, name).await;
        }
        let email = format!("{name}@example.com");
        let taken = ann.invite(&email, "member").await.expect(201);
        let sibling = zoe.invite(&email, "owner").await.expect(201);
        assert_eq!(zoe.invitations().await.body["total"], 1);
        stranger.accept(&taken, json!({"password": PASSWORD})).await.expect(200);
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
async fn an_invitation_from_before_a_removal_stays_dead() {
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

#[tokio::test]
async fn declining_revokes() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    let declined = bob.decline(&issued).await.expect(200);
    assert_eq!(names(&declined.body), ["message"]);
    assert!(declined.body["message"].is_string());
    assert_eq!(owner.invitations().await.body["total"], 0);
    assert_eq!(bob.preview(&issued).await.expect(200).body["status"], "revoked");
    bob.decline(&issued).await.refused(400, "INVITATION_REVOKED");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
    owner.cancel(&issued.id()).await.refused(400, "INVITATION_REVOKED");
    let second = owner.invite("bob@example.com", "member").await.expect(201);
    bob.accept(&second, json!({"password": PASSWORD})).await.expect(200);
    bob.decline(&second).await.refused(400, "INVITATION_USED");
    assert_eq!(owner.members().await.body["total"], 2);
}

#[tokio::test]
async fn the_invite_page_is_self_contained() {
    let world = World::new().await;
    let page = world.stranger("bob").get("/invite").await.expect(200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe-inline") && !policy.contains('*'), "{policy}");
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    for outside in [
        "src=\"http",
        "href=\"http",
        "@import",
        "localStorage",
        "sessionStorage",
        "document.cookie",
    ] {
        assert!(!page.text.contains(outside), "{outside}");
    }
    assert!(page.text.contains("name=\"viewport\""));
}
