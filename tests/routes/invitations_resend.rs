//! `POST /workspaces/invitations/{id}/resend`.

use std::time::Duration;

use serde_json::json;

use crate::routes::invitations_create::{HOUR, WEEK, listed, time};
use crate::support::harness::{PASSWORD, World, names, proof};

#[tokio::test]
async fn resending_creates_a_new_invitation_and_revokes_the_old_one() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let old = owner.invite("bob@example.com", "manager").await.expect(201);
    world.pass(HOUR / 5);
    let new = owner.resend(&old.id()).await.expect(200);
    assert_eq!(names(&new.body), names(&old.body));
    for field in ["id", "invite_link", "created_at", "expires_at"] {
        assert_ne!(new.body[field], old.body[field], "{field}");
    }
    for field in ["email", "role", "status", "invited_by_email", "invite_ttl_hours"] {
        assert_eq!(new.body[field], old.body[field], "{field}");
    }
    assert_eq!(
        time(&new.body["expires_at"]),
        time(&new.body["created_at"]).plus(Duration::from_secs(168 * 3600))
    );
    assert_ne!(proof(&new, json!({}))["token"], proof(&old, json!({}))["token"]);
    let mail = world.mailbox.latest_to("bob@example.com").unwrap();
    assert!(mail.text.contains(new.body["invite_link"].as_str().unwrap()));
    assert_eq!(world.mailbox.mails().len(), 2);
    let list = owner.invitations().await.expect(200);
    assert_eq!(
        list.body,
        json!({"invitations": [listed(&new)], "total": 1, "next_cursor": null})
    );
    let bob = world.stranger("bob");
    bob.accept(&old, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
    let accepted = bob.accept(&new, json!({"password": PASSWORD})).await.expect(200);
    assert_eq!(accepted.body["user"]["workspace_role"], "manager");
}

#[tokio::test]
async fn only_a_pending_invitation_can_be_resent() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let used = owner.invite("bob@example.com", "member").await.expect(201);
    world
        .stranger("bob")
        .accept(&used, json!({"password": PASSWORD}))
        .await
        .expect(200);
    let cancelled = owner.invite("cid@example.com", "member").await.expect(201);
    owner.cancel(&cancelled.id()).await.expect(200);
    let replaced = owner.invite("dan@example.com", "member").await.expect(201);
    owner.resend(&replaced.id()).await.expect(200);
    let expired = owner.invite("eve@example.com", "member").await.expect(201);
    owner.resend(&used.id()).await.refused(400, "INVITATION_USED");
    owner.resend(&cancelled.id()).await.refused(400, "INVITATION_REVOKED");
    owner.resend(&replaced.id()).await.refused(400, "INVITATION_REVOKED");
    owner
        .resend(&uuid::Uuid::from_u128(7).to_string())
        .await
        .refused(404, "INVITATION_NOT_FOUND");
    world.pass(WEEK);
    owner.log_in().await;
    let mails = world.mailbox.mails().len();
    owner.resend(&expired.id()).await.refused(400, "INVITATION_EXPIRED");
    assert_eq!(world.mailbox.mails().len(), mails);
}
