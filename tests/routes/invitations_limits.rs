//! Hourly limits on creating and resending invitations.

use shared::clock::Time;

use crate::routes::invitations_create::{HOUR, time};
use crate::routes::invitations_list::ids;
use crate::support::harness::{ApiResponse, World};

/// Asserts that a limit of `quota` calls per hour refused the request, and that the wait ends when the slot taken at
/// `oldest` becomes free. The request was sent between `before` and `after`. Returns the wait in seconds.
fn rate_limited(refused: ApiResponse, quota: u32, oldest: Time, before: Time, after: Time) -> i64 {
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
async fn ten_invitations_an_hour_may_be_created_and_the_wait_is_exact() {
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
            "a refused request takes a slot too: {number}"
        );
    }
    let before = world.clock.now();
    let refused = owner.invite("late@example.com", "member").await;
    let wait = rate_limited(refused, 10, time(&first.body["created_at"]), before, world.clock.now());
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
async fn ten_resends_an_hour_are_permitted_and_refused_ones_count() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let mut current = owner.invite("bob@example.com", "member").await.expect(201);
    let revoked = current.id();
    let first_at = {
        current = owner.resend(&current.id()).await.expect(200);
        time(&current.body["created_at"])
    };
    for _ in 0..4 {
        owner.resend(&revoked).await.refused(400, "INVITATION_REVOKED");
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
    rate_limited(refused, 10, first_at, before, world.clock.now());
    assert_eq!(ids(&owner.invitations().await), [current.id()]);
    owner.invite("cid@example.com", "member").await.expect(201);
}
