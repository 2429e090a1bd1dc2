//! What becomes of an invitation: sent again, cancelled, expired, extended; and how often an hour.

use std::time::Duration;

use serde_json::json;
use shared::clock::Time;

use crate::routes::invitation_list::ids;
use crate::routes::invitations::{HOUR, WEEK, ahead, listed, time};
use crate::support::harness::{ApiResponse, PASSWORD, World, names, proof};

/// The refusal of a rate limit of `quota` an hour, of which the oldest call was made at `oldest`. `before` is from just
/// before the refused call.
fn limited(refused: ApiResponse, quota: u32, oldest: Time, before: Time, after: Time) -> i64 {
    let refused = refused.refused(429, "RATE_LIMITED");
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    let exact = |now: Time| (oldest.as_millis() + HOUR * 1000 - now.as_millis() + 999).div_euclid(1000);
    assert!((exact(after)..=exact(before)).contains(&wait), "{wait} is not the wait");
    assert!(
        refused
            .header("ratelimit-policy")
            .unwrap()
            .ends_with(&format!("q={quota};w=3600"))
    );
    assert!(refused.header("ratelimit").unwrap().ends_with(&format!("r=0;t={wait}")));
    wait
}

#[tokio::test]
async fn resending_makes_a_new_invitation_and_revokes_the_old_one() {
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
async fn only_a_pending_invitation_is_resent() {
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

#[tokio::test]
async fn ten_creates_an_hour_and_the_wait_is_exact() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let other = world.joins(&owner, "zoe", "owner").await;
    world.pass(HOUR);
    owner.log_in().await;
    let first = owner.invite("first@example.com", "member").await.expect(201);
    world.pass(600);
    for (number, (email, role)) in [
        ("ann@example.com", "member"),
        ("nobody", "member"),
        ("bob@example.com", "king"),
    ]
    .into_iter()
    .cycle()
    .take(9)
    .enumerate()
    {
        assert_eq!(
            owner.invite(email, role).await.status,
            400,
            "refused ones cost too: {number}"
        );
    }
    let before = world.clock.now();
    let refused = owner.invite("late@example.com", "member").await;
    let wait = limited(refused, 10, time(&first.body["created_at"]), before, world.clock.now());
    owner
        .invite("ann@example.com", "member")
        .await
        .refused(429, "RATE_LIMITED");
    assert!(world.mailbox.latest_to("late@example.com").is_none());
    owner.resend(&first.id()).await.expect(200);

    let mut zoe = other;
    zoe.log_in().await;
    zoe.invite("by.zoe@example.com", "member").await.expect(201);

    world.pass(wait);
    owner.log_in().await;
    owner.invite("late@example.com", "member").await.expect(201);
    owner
        .invite("later@example.com", "member")
        .await
        .refused(429, "RATE_LIMITED");
}

#[tokio::test]
async fn ten_resends_an_hour_and_refused_ones_cost_too() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let mut current = owner.invite("bob@example.com", "member").await.expect(201);
    let dead = current.id();
    let first_at = {
        current = owner.resend(&current.id()).await.expect(200);
        time(&current.body["created_at"])
    };
    for _ in 0..4 {
        owner.resend(&dead).await.refused(400, "INVITATION_REVOKED");
    }
    for number in 0..4_u128 {
        owner
            .resend(&uuid::Uuid::from_u128(number).to_string())
            .await
            .refused(404, "INVITATION_NOT_FOUND");
    }
    current = owner.resend(&current.id()).await.expect(200);
    let before = world.clock.now();
    let refused = owner.resend(&current.id()).await;
    limited(refused, 10, first_at, before, world.clock.now());
    assert_eq!(ids(&owner.invitations().await), [current.id()]);
    owner.invite("cid@example.com", "member").await.expect(201);
}

#[tokio::test]
async fn cancelling_ends_the_link() {
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
async fn an_invitation_expires_by_the_clock_and_can_still_be_cancelled() {
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
        "no deletion was needed"
    );
    let cancelled = owner.cancel(&issued.id()).await.expect(200);
    assert_eq!(cancelled.body["status"], "revoked");
    owner.cancel(&issued.id()).await.refused(400, "INVITATION_REVOKED");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
}

#[tokio::test]
async fn extending_keeps_the_link_and_sends_no_mail() {
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
async fn extending_revives_an_expired_invitation() {
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
async fn an_expiry_lies_ahead_within_ninety_days() {
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
async fn an_ended_invitation_is_not_extended() {
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
async fn an_expiry_is_an_instant_however_it_is_written() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let until = ahead(&world, 20 * 24 * HOUR);
    let date = &until[..10];
    let bare = until.trim_end_matches('Z');
    for (written, meant) in [
        (bare.to_owned(), until.clone()),
        (format!("{date}T23:30:00-00:30"), {
            let midnight: Time = format!("{date}T23:30:00Z").parse().unwrap();
            midnight.plus(Duration::from_secs(1800)).to_string()
        }),
        (format!("{date}T02:00:00.5+02:00"), format!("{date}T00:00:00.500Z")),
    ] {
        let extended = owner.extend(&issued.id(), &written).await.expect(200);
        assert_eq!(extended.body["expires_at"], meant, "{written}");
    }
}
