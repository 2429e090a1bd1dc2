//! `POST /auth/invitation`, `POST /auth/decline-invite` and the page `/invite`.

use serde_json::json;

use crate::routes::auth_accounts::without_workspace;
use crate::support::harness::{PASSWORD, World, names, proof};

#[tokio::test]
async fn a_preview_shows_exactly_these_fields_to_the_holder_of_the_link() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    without_workspace(&world, "eve").await;
    let stranger = world.stranger("bob");
    for (email, account_exists) in [("bob@example.com", false), ("eve@example.com", true)] {
        let issued = owner.invite(email, "field_worker").await.expect(201);
        let preview = stranger.preview(&issued).await.expect(200);
        let expected = json!({
            "workspace_name": "ann and company",
            "invited_by_email": "ann@example.com",
            "email": email,
            "role": "field_worker",
            "expires_at": issued.body["expires_at"],
            "status": "pending",
            "account_exists": account_exists,
        });
        assert_eq!(preview.body, expected);
        stranger
            .accept(&issued, json!({"password": PASSWORD}))
            .await
            .expect(200);
        assert_eq!(stranger.preview(&issued).await.expect(200).body["status"], "accepted");
    }
}

#[tokio::test]
async fn an_invalid_link_gets_404_on_every_route() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let other = owner.invite("cid@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    let valid = proof(&issued, json!({"password": PASSWORD}));
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
            let mut body = valid.clone();
            body[field] = value.clone();
            bob.post(&format!("/auth/{route}"), body)
                .await
                .refused(404, "INVITATION_NOT_FOUND");
        }
        let field_errors = bob
            .post(&format!("/auth/{route}"), json!({"token": 5}))
            .await
            .invalid_fields();
        assert_eq!(field_errors, ["body.invite_id", "body.token"], "{route}");
    }
    assert_eq!(world.dump_without_limits().await, before);
    bob.post("/auth/accept-invite", valid).await.expect(200);
}

#[tokio::test]
async fn a_declined_invitation_cannot_be_accepted() {
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
