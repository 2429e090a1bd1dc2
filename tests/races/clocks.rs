//! Two environments whose clocks differ: who may do what does not depend on them.

use serde_json::json;

use crate::support::harness::{PASSWORD, Person, World};

/// How far ahead the second clock is: within the leeway on tokens.
const AHEAD_S: i64 = 4;

fn at<'w>(world: &'w World, person: &Person<'_>) -> Person<'w> {
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
async fn an_invitation_of_somebody_who_joined_on_a_clock_ahead_is_good() {
    let world = World::new().await;
    let ahead = world.environment_ahead(AHEAD_S).await;
    let ann = at(&world, &ahead.owner("ann").await);
    let invitation = ann.invite("bob@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    bob.accept(&invitation, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test]
async fn an_invitation_ends_with_its_inviters_right_on_whichever_clock() {
    for ahead_s in [-AHEAD_S, AHEAD_S] {
        let world = World::new().await;
        let other = world.environment_ahead(ahead_s).await;
        let ann = world.owner("ann").await;
        let mut max = world.joins(&ann, "max", "manager").await;
        let invitation = at(&other, &max).invite("bob@example.com", "member").await.expect(201);
        for role in ["member", "manager"] {
            ann.change_role(&max.id, role).await.expect(200);
        }
        let bob = world.stranger("bob");
        bob.accept(&invitation, json!({"password": PASSWORD}))
            .await
            .refused(400, "INVITATION_REVOKED");
        // What is sent since is good again.
        max.log_in().await;
        let invitation = at(&other, &max).invite("bob@example.com", "member").await.expect(201);
        bob.accept(&invitation, json!({"password": PASSWORD})).await.expect(200);
    }
}
