//! `DELETE /workspaces/invitations/{id}`, and expiry.

use serde_json::json;

use crate::routes::invitations_create::WEEK;
use crate::support::harness::{PASSWORD, World, names};

#[tokio::test]
async fn a_cancelled_invitation_cannot_be_accepted() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let cancelled = owner.cancel(&issued.id()).await.expect(200);
    assert_eq!(names(&cancelled.body), ["id", "message", "status"]);
    assert_eq!(
        (&cancelled.body["id"], &cancelled.body["status"]),
        (&json!(issued.id()), &json!("revoked"))
    );
    assert!(cancelled.body["message"].is_string());
    assert_eq!(
        owner.invitations().await.body,
        json!({"invitations": [], "total": 0, "next_cursor": null})
    );
    owner.cancel(&issued.id()).await.refused(400, "INVITATION_REVOKED");
    let bob = world.stranger("bob");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
    assert_eq!(bob.preview(&issued).await.expect(200).body["status"], "revoked");
    assert_eq!(
        world
            .rows(&["bob@example.com", r#""entity": S("pending")"#])
            .await
            .len(),
        0
    );

    let used = owner.invite("cid@example.com", "member").await.expect(201);
    world
        .stranger("cid")
        .accept(&used, json!({"password": PASSWORD}))
        .await
        .expect(200);
    owner.cancel(&used.id()).await.refused(400, "INVITATION_USED");
    owner
        .cancel(&uuid::Uuid::from_u128(7).to_string())
        .await
        .refused(404, "INVITATION_NOT_FOUND");
    assert_eq!(owner.members().await.body["total"], 2);
}

#[tokio::test]
async fn an_invitation_expires_without_a_deletion_and_can_still_be_cancelled() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    world.pass(WEEK - 60);
    owner.log_in().await;
    assert_eq!(owner.invitations().await.body["total"], 1);
    assert_eq!(bob.preview(&issued).await.expect(200).body["status"], "pending");
    world.pass(60);
    assert_eq!(
        owner.invitations().await.body,
        json!({"invitations": [], "total": 0, "next_cursor": null})
    );
    assert_eq!(bob.preview(&issued).await.expect(200).body["status"], "expired");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_EXPIRED");
    assert_eq!(
        world.rows(&[&issued.id(), r#""entity": S("pending")"#]).await.len(),
        1,
        "the pending row is still there"
    );
    let cancelled = owner.cancel(&issued.id()).await.expect(200);
    assert_eq!(cancelled.body["status"], "revoked");
    owner.cancel(&issued.id()).await.refused(400, "INVITATION_REVOKED");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
}
