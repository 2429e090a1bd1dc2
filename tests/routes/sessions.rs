//! `POST /workspaces/revoke-all-sessions`.

use serde_json::json;

use crate::routes::auth_accounts::{DAY, rate_limited, without_workspace};
use crate::support::harness::{World, names};

#[tokio::test]
async fn revoking_all_sessions_ends_and_counts_every_session_of_the_workspace() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let other_owner = world.owner("zoe").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let max = world.joins(&owner, "max", "manager").await;
    let mut laptop = owner.signed_out();
    laptop.log_in().await;
    let mut tablet = max.signed_out();
    tablet.log_in().await;
    tablet.call("POST", "/auth/logout", None).await.expect(200);

    let revoked = laptop.revoke_all().await.expect(200);
    assert_eq!(
        names(&revoked.body),
        ["members_affected", "message", "sessions_revoked", "workspace_id"]
    );
    assert_eq!(
        (&revoked.body["members_affected"], &revoked.body["sessions_revoked"]),
        (&json!(3), &json!(3))
    );
    assert!(revoked.body["message"].is_string());
    for person in [&owner, &laptop, &bob, &max] {
        person.get("/auth/me").await.refused(401, "TOKEN_REVOKED");
        person.workspace().await.refused(401, "TOKEN_REVOKED");
        person.refresh().await.refused(401, "TOKEN_REVOKED");
    }
    other_owner.workspace().await.expect(200);
    other_owner.refresh().await.expect(200);

    laptop.log_in().await;
    assert_eq!(revoked.body["workspace_id"], laptop.workspace().await.expect(200).id());
    let wait = rate_limited(laptop.revoke_all().await, 1);
    laptop.workspace().await.expect(200);
    world.pass(wait);
    let repeated = laptop.revoke_all().await.expect(200);
    assert_eq!(
        (&repeated.body["members_affected"], &repeated.body["sessions_revoked"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test]
async fn expired_sessions_are_not_counted_as_revoked() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    world.joins(&owner, "bob", "member").await;
    world.pass(31 * DAY);
    owner.log_in().await;
    let revoked = owner.revoke_all().await.expect(200);
    assert_eq!(
        (&revoked.body["members_affected"], &revoked.body["sessions_revoked"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn only_owners_may_revoke_all_sessions_once_a_minute_per_workspace() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let second = world.joins(&owner, "zoe", "owner").await;
    for role in ["manager", "field_worker", "member"] {
        let person = world.joins(&owner, role, role).await;
        person.revoke_all().await.refused(403, "FORBIDDEN");
        person.workspace().await.expect(200);
    }
    owner.revoke_all().await.expect(200);
    let mut zoe = second;
    zoe.log_in().await;
    rate_limited(zoe.revoke_all().await, 1);
    world.owner("max").await.revoke_all().await.expect(200);
    without_workspace(&world, "eve")
        .await
        .revoke_all()
        .await
        .refused(404, "WORKSPACE_NOT_FOUND");
}

#[tokio::test]
async fn a_token_from_before_joining_works_in_the_workspace_and_is_revoked_with_the_others() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let creator = {
        let mut eve = without_workspace(&world, "eve").await;
        eve.log_in().await;
        eve.post("/workspaces/", json!({"name": "Eve's"})).await.expect(201);
        eve
    };
    let invited = {
        let mut bob = without_workspace(&world, "bob").await;
        bob.log_in().await;
        let issued = owner.invite(&bob.email, "owner").await.expect(201);
        bob.accept(&issued, json!({})).await.expect(200);
        bob
    };
    for person in [creator, invited] {
        person.workspace().await.expect(200);
        person.members().await.expect(200);
        person.revoke_all().await.expect(200);
        person.workspace().await.refused(401, "TOKEN_REVOKED");
        person.refresh().await.refused(401, "TOKEN_REVOKED");
    }
}

#[tokio::test]
async fn a_revoked_session_stays_revoked_after_its_workspace_was_deleted() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let old = owner.clone();
    owner.revoke_all().await.expect(200);
    owner.log_in().await;
    owner.delete("/workspaces/").await.expect(200);
    old.get("/auth/me").await.refused(401, "TOKEN_REVOKED");
    old.refresh().await.refused(401, "TOKEN_REVOKED");
    owner.get("/auth/me").await.expect(200);
}
