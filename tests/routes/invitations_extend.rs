//! `PATCH /workspaces/invitations/{id}`: a new expiry.

use std::time::Duration;

use serde_json::json;
use shared::clock::Time;

use crate::routes::invitations_create::{HOUR, WEEK, ahead, listed, time};
use crate::support::harness::{PASSWORD, World};

#[tokio::test]
async fn extending_an_invitation_keeps_its_link_and_sends_no_mail() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let until = ahead(&world, 20 * 24 * HOUR);
    let extended = owner.extend(&issued.id(), &until).await.expect(200);
    let mut expected = listed(&issued);
    expected["expires_at"] = json!(until);
    assert_eq!(extended.body, expected);
    assert_eq!(owner.invitations().await.body["invitations"], json!([expected]));
    assert_eq!(world.mailbox.mails().len(), 1);
    world.pass(WEEK + HOUR);
    owner.log_in().await;
    assert_eq!(owner.invitations().await.body["total"], 1);

    let sooner = owner.extend(&issued.id(), "2099-01-01T02:00:00+02:00").await;
    sooner.refused(400, "INVALID_EXPIRY");
    let soon = owner.extend(&issued.id(), &ahead(&world, 60)).await.expect(200);
    assert!(time(&soon.body["expires_at"]) < time(&extended.body["expires_at"]));
    world
        .stranger("bob")
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .expect(200);
}

#[tokio::test]
async fn extending_makes_an_expired_invitation_pending_again() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    world.pass(WEEK);
    owner.log_in().await;
    let bob = world.stranger("bob");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_EXPIRED");
    let revived = owner.extend(&issued.id(), &ahead(&world, HOUR)).await.expect(200);
    assert_eq!(
        (&revived.body["status"], &revived.body["id"]),
        (&json!("pending"), &json!(issued.id()))
    );
    assert_eq!(owner.invitations().await.body["total"], 1);
    bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test]
async fn an_expiry_must_be_in_the_next_ninety_days() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let path = format!("/workspaces/invitations/{}", issued.id());
    let before = world.dump_without_limits().await;
    for seconds in [-1, -WEEK, 90 * 24 * HOUR + 60] {
        owner
            .extend(&issued.id(), &ahead(&world, seconds))
            .await
            .refused(400, "INVALID_EXPIRY");
    }
    for body in [
        json!({}),
        json!({"expires_at": null}),
        json!({"expires_at": 5}),
        json!({"expires_at": "tomorrow"}),
    ] {
        assert_eq!(owner.patch(&path, body).await.invalid_fields(), ["body.expires_at"]);
    }
    assert_eq!(owner.raw("PATCH", &path, "").await.invalid_fields(), ["body"]);
    assert_eq!(world.dump_without_limits().await, before);
    owner
        .extend(&issued.id(), &ahead(&world, 90 * 24 * HOUR))
        .await
        .expect(200);
}

#[tokio::test]
async fn an_accepted_or_cancelled_invitation_cannot_be_extended() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let used = owner.invite("bob@example.com", "member").await.expect(201);
    world
        .stranger("bob")
        .accept(&used, json!({"password": PASSWORD}))
        .await
        .expect(200);
    let cancelled = owner.invite("cid@example.com", "member").await.expect(201);
    owner.cancel(&cancelled.id()).await.expect(200);
    let until = ahead(&world, HOUR);
    owner.extend(&used.id(), &until).await.refused(400, "INVITATION_USED");
    owner
        .extend(&cancelled.id(), &until)
        .await
        .refused(400, "INVITATION_REVOKED");
    owner
        .extend(&uuid::Uuid::from_u128(7).to_string(), &until)
        .await
        .refused(404, "INVITATION_NOT_FOUND");
}

#[tokio::test]
async fn an_expiry_is_stored_in_utc_whatever_its_offset_is() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let until = ahead(&world, 20 * 24 * HOUR);
    let date = &until[..10];
    let bare = until.trim_end_matches('Z');
    for (written, expected) in [
        (bare.to_owned(), until.clone()),
        (format!("{date}T23:30:00-00:30"), {
            let midnight: Time = format!("{date}T23:30:00Z").parse().unwrap();
            midnight.plus(Duration::from_secs(1800)).to_string()
        }),
        (format!("{date}T02:00:00.5+02:00"), format!("{date}T00:00:00.500Z")),
    ] {
        let extended = owner.extend(&issued.id(), &written).await.expect(200);
        assert_eq!(extended.body["expires_at"], expected, "{written}");
    }
}
