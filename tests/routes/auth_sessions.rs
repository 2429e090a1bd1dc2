//! `/auth/refresh`, `/auth/logout` and `/.well-known/jwks.json`: sessions of one person, and the keys of their tokens.

use serde_json::{Value, json};

use crate::routes::auth_accounts::{DAY, assert_signed_in};
use crate::support::harness::{World, names};

#[tokio::test]
async fn refreshing_rotates_the_token_and_extends_the_session() {
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
async fn a_refresh_token_expires_after_thirty_days() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.pass(30 * DAY);
    ann.refresh().await.refused(401, "TOKEN_INVALID");
}

#[tokio::test]
async fn an_access_token_expires_after_fifteen_minutes() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.pass(880);
    ann.workspace().await.expect(200);
    world.pass(26);
    ann.workspace().await.refused(401, "TOKEN_INVALID");
}

#[tokio::test]
async fn a_retried_refresh_returns_the_same_successor() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.refresh().await.expect(200);
    let mut current = ann.clone();
    current.take_tokens(&first);
    current.workspace().await.expect(200);
    for _ in 0..3 {
        world.pass(7);
        let retried = ann.refresh().await.expect(200);
        assert_eq!(retried.body["refresh_token"], first.body["refresh_token"]);
        assert_signed_in(&ann, retried).await;
    }
    current.refresh().await.expect(200);
}

#[tokio::test]
async fn reusing_a_token_whose_successor_was_used_ends_the_session() {
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
async fn reusing_a_token_after_the_grace_period_ends_that_session_and_no_other() {
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
async fn a_malformed_refresh_token_is_refused_and_ends_no_session() {
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
async fn logging_out_ends_all_sessions_of_the_caller_and_no_others() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let phone = world.joins(&owner, "bob", "member").await;
    let mut laptop = phone.signed_out();
    laptop.log_in().await;
    let logged_out = phone.call("POST", "/auth/logout", None).await.expect(200);
    assert_eq!(names(&logged_out.body), ["message"]);
    assert!(logged_out.body["message"].is_string());
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
async fn the_key_set_verifies_tokens_and_contains_no_private_key() {
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
