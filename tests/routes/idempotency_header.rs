//! The `Idempotency-Key` header: its syntax, and the routes that ignore it.

use serde_json::json;

use crate::routes::idempotency::{INVITATIONS, KEY, assert_replayed, without_workspace};
use crate::support::harness::{PASSWORD, World};

#[tokio::test]
async fn a_quoted_key_equals_the_bare_key() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for (number, (bare, quoted)) in [(KEY, format!("\"{KEY}\"")), ("a b,c\"\\", r#""a b,c\"\\""#.to_owned())]
        .into_iter()
        .enumerate()
    {
        let email = format!("guest{number}@example.com");
        let first = ann.invite_with_key(bare, &email).await.expect(201);
        assert_replayed(&first, &ann.invite_with_key(&quoted, &email).await);
    }
    let long = "k".repeat(255);
    let first = ann.invite_with_key(&long, "long@example.com").await.expect(201);
    assert_replayed(&first, &ann.invite_with_key(&long, "long@example.com").await);
}

#[tokio::test]
async fn a_malformed_key_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let bob = without_workspace(&world, "bob").await;
    let old = ann.invite("ben@example.com", "member").await.expect(201);
    let table = world.dump().await;
    let long = "k".repeat(256);
    let not_ascii: &[&[u8]] = &[b"a\tb", b"\xff", "schl\u{fc}ssel".as_bytes()];
    let texts = ["", " ", "\"\"", "\"", "\"open", "\"a\"b", "\"a\\b\"", &long];
    for value in texts
        .iter()
        .map(|text| text.as_bytes())
        .chain(not_ascii.iter().copied())
    {
        let key = axum::http::HeaderValue::from_bytes(value).unwrap();
        for (person, path, body) in [
            (&ann, INVITATIONS.to_owned(), json!({"email": "cleo@example.com"})),
            (&ann, format!("{INVITATIONS}/{}/resend", old.id()), json!({})),
            (&bob, "/workspaces/".to_owned(), json!({"name": "Acme"})),
        ] {
            let request = person.request("POST", &path).header("idempotency-key", &key);
            let request = request.body(body.to_string().into()).unwrap();
            let response = world.send(request, person.address).await;
            assert_eq!(
                response.invalid_fields(),
                ["header.Idempotency-Key"],
                "{path}: {value:?}"
            );
        }
    }
    let request = ann.request("POST", INVITATIONS).header("idempotency-key", "a");
    let request = request.header("idempotency-key", "a");
    let request = request.body(json!({"email": "cleo@example.com"}).to_string().into());
    assert_eq!(
        world.send(request.unwrap(), ann.address).await.invalid_fields(),
        ["header.Idempotency-Key"]
    );
    assert_eq!(world.dump().await, table);
    // The key is checked together with the body, after access to the workspace.
    let member = world.joins(&ann, "member", "member").await;
    member
        .invite_with_key("", "cleo@example.com")
        .await
        .refused(403, "FORBIDDEN");
    bob.invite_with_key("", "cleo@example.com")
        .await
        .refused(404, "WORKSPACE_NOT_FOUND");
    ann.signed_out()
        .invite_with_key("", "cleo@example.com")
        .await
        .refused(401, "TOKEN_MISSING");
}

#[tokio::test]
async fn requests_without_a_key_and_account_requests_are_not_replayed() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.invite("ben@example.com", "member").await.expect(201);
    let second = ann.invite("ben@example.com", "member").await.expect(201);
    assert_ne!(first.id(), second.id());
    let register = json!({"email": "cleo@example.com", "password": PASSWORD, "name": "Cleo"});
    let cleo = world.stranger("cleo");
    for key in [KEY, ""] {
        let log_in = json!({"email": ann.email, "password": PASSWORD});
        let [one, two] = [
            ann.post_with_key(key, "/auth/login", log_in.clone()).await.expect(200),
            ann.post_with_key(key, "/auth/login", log_in).await.expect(200),
        ];
        assert_ne!(one.body["access_token"], two.body["access_token"]);
    }
    cleo.post_with_key(KEY, "/auth/register", register.clone())
        .await
        .expect(201);
    cleo.post_with_key(KEY, "/auth/register", register)
        .await
        .refused(400, "EMAIL_TAKEN");
    assert_eq!(world.rows(&["S(\"idempotency\")"]).await.len(), 0);
}
