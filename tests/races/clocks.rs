//! Two environments with different clocks: permissions do not depend on the difference.

use serde_json::json;

use crate::support::harness::{PASSWORD, Person, World};

/// Difference of the two clocks: less than the leeway of token times.
const AHEAD_S: i64 = 4;

/// The same person, who sends requests to `world`.
fn in_world<'w>(world: &'w World, person: &Person<'_>) -> Person<'w> {
    Person {
        world,
        name: person.name.clone(),
        email: person.email.clone(),
        id: person.id.clone(),
        access: person.access.clone(),
        refresh: person.refresh.clone(),
        address: person.address,
    }
}

#[tokio::test]
async fn an_invitation_is_valid_whose_inviter_registered_on_a_clock_that_is_ahead() {
    let world = World::new().await;
    let ahead = world.environment_ahead(AHEAD_S).await;
    let ann = in_world(&world, &ahead.owner("ann").await);
    let invitation = ann.invite("bob@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    bob.accept(&invitation, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test]
async fn an_invitation_ends_with_the_right_of_its_inviter_on_either_clock() {
    for ahead_s in [-AHEAD_S, AHEAD_S] {
        let world = World::new().await;
        let other = world.environment_ahead(ahead_s).await;
        let ann = world.owner("ann").await;
        let mut max = world.joins(&ann, "max", "manager").await;
        let invitation = in_world(&other, &max)
            .invite("bob@example.com", "member")
            .await
            .expect(201);
        for role in ["member", "manager"] {
            ann.change_role(&max.id, role).await.expect(200);
        }
        let bob = world.stranger("bob");
        bob.accept(&invitation, json!({"password": PASSWORD}))
            .await
            .refused(400, "INVITATION_REVOKED");
        // An invitation that is created after the promotion is valid.
        max.log_in().await;
        let invitation = in_world(&other, &max)
            .invite("bob@example.com", "member")
            .await
            .expect(201);
        bob.accept(&invitation, json!({"password": PASSWORD})).await.expect(200);
    }
}
