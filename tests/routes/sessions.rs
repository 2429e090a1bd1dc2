//! Sessions: refreshed, ended by logging out, by revoking all of a workspace's, or by time; and the keys that tell
//! their tokens.

use serde_json::{Value, json};

use crate::routes::accounts::{DAY, limited, loner, signs_in};
use crate::support::harness::{World, names};

#[tokio::test]
async fn refreshing_rotates_and_the_session_goes_on() {
    let world = World::new().await;
    let mut ann = world.owner("ann").await;
    let mut seen = vec![ann.refresh.clone()];
    for _ in 0..4 {
        world.pass(7 * DAY);
        ann.workspace().await.refused(401, "TOKEN_INVALID");
        let next = ann.signed_out().refresh().await.expect(200);
        assert_eq!(
            names(&next.body),
            ["access_token", "expires_in", "refresh_token", "token_type", "user"]
        );
        assert_eq!(
            (&next.body["token_type"], &next.body["expires_in"]),
            (&json!("bearer"), &json!(900))
        );
        ann.take_tokens(&next);
        assert!(!seen.contains(&ann.refresh));
        seen.push(ann.refresh.clone());
        ann.workspace().await.expect(200);
    }
}

#[tokio::test]
async fn a_refresh_token_ends_after_thirty_days() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.pass(30 * DAY);
    ann.refresh().await.refused(401, "TOKEN_INVALID");
}

#[tokio::test]
async fn an_access_token_ends_after_fifteen_minutes() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.pass(880);
    ann.workspace().await.expect(200);
    world.pass(26);
    ann.workspace().await.refused(401, "TOKEN_INVALID");
}

#[tokio::test]
async fn a_lost_answer_gets_the_same_successor_again() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.refresh().await.expect(200);
    let mut current = ann.clone();
    current.take_tokens(&first);
    current.workspace().await.expect(200);
    for _ in 0..3 {
        world.pass(7);
        let again = ann.refresh().await.expect(200);
        assert_eq!(again.body["refresh_token"], first.body["refresh_token"]);
        signs_in(&ann, again).await;
    }
    current.refresh().await.expect(200);
}

#[tokio::test]
async fn a_predecessor_of_a_used_successor_ends_the_session() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let mut current = ann.clone();
    for _ in 0..2 {
        let next = current.refresh().await.expect(200);
        current.take_tokens(&next);
    }
    current.workspace().await.expect(200);
    ann.refresh().await.refused(401, "TOKEN_REVOKED");
    current.workspace().await.refused(401, "TOKEN_REVOKED");
    current.refresh().await.refused(401, "TOKEN_REVOKED");
}

#[tokio::test]
async fn a_replay_after_the_grace_ends_that_session_and_no_other() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let mut laptop = ann.signed_out();
    laptop.log_in().await;
    let mut current = ann.clone();
    current.take_tokens(&ann.refresh().await.expect(200));
    world.pass(30);
    ann.refresh().await.refused(401, "TOKEN_REVOKED");
    current.workspace().await.refused(401, "TOKEN_REVOKED");
    current.refresh().await.refused(401, "TOKEN_REVOKED");
    ann.workspace().await.refused(401, "TOKEN_REVOKED");
    laptop.workspace().await.expect(200);
    laptop.refresh().await.expect(200);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let access = ann.access.clone().unwrap();
    for token in ["", "x", &access, &ann.refresh[1..], &format!("{}A", ann.refresh)] {
        ann.post("/auth/refresh", json!({"refresh_token": token}))
            .await
            .refused(401, "TOKEN_INVALID");
    }
    assert_eq!(
        ann.post("/auth/refresh", json!({})).await.invalid_fields(),
        ["body.refresh_token"]
    );
    ann.refresh().await.expect(200);
}

#[tokio::test]
async fn logging_out_ends_all_of_the_callers_sessions_and_nobody_elses() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let phone = world.joins(&owner, "bob", "member").await;
    let mut laptop = phone.signed_out();
    laptop.log_in().await;
    let gone = phone.call("POST", "/auth/logout", None).await.expect(200);
    assert_eq!(names(&gone.body), ["message"]);
    assert!(gone.body["message"].is_string());
    for device in [&phone, &laptop] {
        device.get("/auth/me").await.refused(401, "TOKEN_REVOKED");
        device.refresh().await.refused(401, "TOKEN_REVOKED");
        device
            .call("POST", "/auth/logout", None)
            .await
            .refused(401, "TOKEN_REVOKED");
    }
    owner.workspace().await.expect(200);
    laptop.log_in().await;
    assert_eq!(laptop.workspace().await.expect(200).body["name"], "ann and company");
    laptop
        .signed_out()
        .call("POST", "/auth/logout", None)
        .await
        .refused(401, "TOKEN_MISSING");
}

#[tokio::test]
async fn the_key_set_verifies_tokens_and_holds_nothing_private() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let set = ann.signed_out().get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(set.header("content-type"), Some("application/json"));
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(set.body.clone()).unwrap();
    let token = ann.access.unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let key = keys.find(header.kid.as_ref().unwrap()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(header.alg);
    rules.set_audience(&["workspaces"]);
    rules.set_issuer(&["https://workspaces.local"]);
    let verified =
        jsonwebtoken::decode::<Value>(&token, &jsonwebtoken::DecodingKey::from_jwk(key).unwrap(), &rules).unwrap();
    assert_eq!(verified.claims["sub"], ann.id);
    for key in set.body["keys"].as_array().unwrap() {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert_eq!(key[private], Value::Null, "{private}");
        }
        assert_eq!((&key["use"], key["alg"].is_string()), (&json!("sig"), true));
    }
}

#[tokio::test]
async fn revoking_all_sessions_ends_them_all_and_counts_exactly() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let elsewhere = world.owner("zoe").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let max = world.joins(&owner, "max", "manager").await;
    let mut laptop = owner.signed_out();
    laptop.log_in().await;
    let mut other = max.signed_out();
    other.log_in().await;
    other.call("POST", "/auth/logout", None).await.expect(200);

    let ended = laptop.revoke_all().await.expect(200);
    assert_eq!(
        names(&ended.body),
        ["members_affected", "message", "sessions_revoked", "workspace_id"]
    );
    assert_eq!(
        (&ended.body["members_affected"], &ended.body["sessions_revoked"]),
        (&json!(3), &json!(3))
    );
    assert!(ended.body["message"].is_string());
    for person in [&owner, &laptop, &bob, &max] {
        person.get("/auth/me").await.refused(401, "TOKEN_REVOKED");
        person.workspace().await.refused(401, "TOKEN_REVOKED");
        person.refresh().await.refused(401, "TOKEN_REVOKED");
    }
    elsewhere.workspace().await.expect(200);
    elsewhere.refresh().await.expect(200);

    laptop.log_in().await;
    assert_eq!(ended.body["workspace_id"], laptop.workspace().await.expect(200).id());
    let wait = limited(laptop.revoke_all().await, 1);
    laptop.workspace().await.expect(200);
    world.pass(wait);
    let again = laptop.revoke_all().await.expect(200);
    assert_eq!(
        (&again.body["members_affected"], &again.body["sessions_revoked"]),
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
    let ended = owner.revoke_all().await.expect(200);
    assert_eq!(
        (&ended.body["members_affected"], &ended.body["sessions_revoked"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn only_owners_revoke_all_sessions_one_call_a_minute_a_workspace() {
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
    limited(zoe.revoke_all().await, 1);
    world.owner("elsewhere").await.revoke_all().await.expect(200);
    loner(&world, "eve")
        .await
        .revoke_all()
        .await
        .refused(404, "WORKSPACE_NOT_FOUND");
}

#[tokio::test]
async fn a_token_from_before_its_holder_had_a_workspace_works_in_it_and_dies_with_the_rest() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let owner_membership = {
        let mut eve = loner(&world, "eve").await;
        eve.log_in().await;
        eve.post("/workspaces/", json!({"name": "Eve's"})).await.expect(201);
        eve
    };
    let invited = {
        let mut bob = loner(&world, "bob").await;
        bob.log_in().await;
        let issued = owner.invite(&bob.email, "owner").await.expect(201);
        bob.accept(&issued, json!({})).await.expect(200);
        bob
    };
    for person in [owner_membership, invited] {
        person.workspace().await.expect(200);
        person.members().await.expect(200);
        person.revoke_all().await.expect(200);
        person.workspace().await.refused(401, "TOKEN_REVOKED");
        person.refresh().await.refused(401, "TOKEN_REVOKED");
    }
}

#[tokio::test]
async fn a_revoked_session_does_not_wake_up_when_its_workspace_is_gone() {
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
