//! Forged tokens and tokens of other environments: each is refused with exactly one status and code, on routes that
//! read and on routes that write, and nothing is written.

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde_json::{Value, json};
use shared::auth::token;
use shared::clock::Time;
use shared::config::SecretSource;
use shared::secret::Secret;

use crate::faults::requests::conforming;
use crate::faults::token_attacks::{BASE64URL, algorithms, claims, encodings, headers};
use crate::faults::token_forge::{Forge, signed, with};
use crate::support::harness::{Person, World};

/// Asserts that routes that read and routes that write refuse each token, and that nothing is written.
async fn assert_refused_everywhere(ann: &Person<'_>, rows: Vec<(String, String)>, code: &str) {
    let world = ann.world;
    let table = world.dump().await;
    for (name, token) in rows {
        let attacker = Person {
            access: Some(token.clone()),
            ..ann.clone()
        };
        for response in [
            attacker.workspace().await,
            attacker.patch("/workspaces/", json!({"name": "Taken over"})).await,
            attacker.invite("attacker@example.com", "owner").await,
        ] {
            assert_eq!(response.status, 401, "{name}: {}", response.text);
            assert_eq!(response.body["error_code"], code, "{name}");
            conforming(response).refused(401, code);
        }
    }
    assert_eq!(world.dump().await, table);
    ann.workspace().await.expect(200);
}

#[tokio::test]
async fn every_forged_access_token_is_refused() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let forge = Forge::new(&world, &ann);
    let jwks = ann.get("/.well-known/jwks.json").await.body;
    // The signature of the forge is valid: its tokens without a fault are accepted, with extreme times too.
    let (min, max) = (i64::MIN, i64::MAX);
    for token in [
        forge.with_claims(json!({})),
        forge.with_claims(json!({"exp": max})),
        forge.with_claims(json!({"nbf": 0, "iat": min})),
        forge.with_claims(json!({"jti": "x", "scope": "admin", "roles": ["owner"], "is_superuser": true})),
    ] {
        let ann = Person {
            access: Some(token),
            ..ann.clone()
        };
        let me = ann.get("/auth/me").await.expect(200);
        assert_eq!(
            (&me.body["is_superuser"], &me.body["id"]),
            (&json!(false), &json!(ann.id))
        );
    }
    let genuine = ann.access.clone().unwrap();
    let mut rows = algorithms(&forge, &jwks);
    rows.extend(headers(&forge));
    rows.extend(claims(&forge));
    rows.extend(encodings(&forge, &genuine));
    assert!(rows.len() > 250, "{}", rows.len());
    assert_refused_everywhere(&ann, rows, "TOKEN_INVALID").await;
}

#[tokio::test]
async fn a_token_of_another_environment_is_refused() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let here = &world.app.config;
    let (issuer, audience) = (here.token_issuer.clone(), here.token_audience.clone());
    let other_seed = World::with(|config| {
        config.signing_secret = Some(SecretSource::Value(Secret::new("the seed of another environment")));
    })
    .await;
    let other_issuer = World::with(|config| config.token_issuer = format!("{issuer}-dev")).await;
    let other_audience = World::with(|config| config.token_audience = format!("{audience}-dev")).await;
    let twin = World::new().await;
    let mut invalid = Vec::new();
    let table = world.dump().await;
    for (name, environment) in [
        ("seed", &other_seed),
        ("issuer", &other_issuer),
        ("audience", &other_audience),
    ] {
        let namesake = environment.owner("ann").await;
        let mut with_foreign_tokens = ann.clone();
        (with_foreign_tokens.access, with_foreign_tokens.refresh) = (namesake.access.clone(), namesake.refresh.clone());
        namesake.workspace().await.expect(200);
        invalid.push((format!("another {name}"), namesake.access.clone().unwrap()));
        with_foreign_tokens.refresh().await.refused(
            401,
            if name == "seed" {
                "TOKEN_INVALID"
            } else {
                "TOKEN_REVOKED"
            },
        );
    }
    assert_eq!(world.dump().await, table);
    assert_refused_everywhere(&ann, invalid, "TOKEN_INVALID").await;
    // An environment with the same seed, issuer and audience still has other accounts.
    let namesake = twin.owner("ann").await;
    let rows = vec![("the same configuration".to_owned(), namesake.access.clone().unwrap())];
    assert_refused_everywhere(&ann, rows, "TOKEN_REVOKED").await;
}

#[tokio::test]
async fn a_forged_refresh_token_is_refused_and_ends_no_session() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let bob = world.owner("bob").await;
    let genuine = ann.refresh.clone();
    let bytes = URL_SAFE_NO_PAD.decode(&genuine).unwrap();
    let others = URL_SAFE_NO_PAD.decode(&bob.refresh).unwrap();
    let last = BASE64URL
        .iter()
        .position(|c| Some(c) == genuine.as_bytes().last())
        .unwrap();
    let mut loose = genuine.clone();
    loose.pop();
    loose.push(char::from(BASE64URL[last | 1]));
    assert_ne!(loose, genuine);
    let flipped = |at: usize| {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        URL_SAFE_NO_PAD.encode(flipped)
    };
    let hs256 = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &json!({"sub": ann.id, "exp": get_current_timestamp() + 900}),
        &EncodingKey::from_secret(b""),
    );
    let table = world.dump().await;
    for (name, token) in [
        ("padded", URL_SAFE.encode(&bytes)),
        ("unused bits set", loose),
        ("a space at the beginning", format!(" {genuine}")),
        ("a line break at the end", format!("{genuine}\n")),
        ("NUL at the end", format!("{genuine}\u{0}")),
        ("the token twice", format!("{genuine}{genuine}")),
        ("with the word Bearer", format!("Bearer {genuine}")),
        ("another user", flipped(0)),
        ("another session", flipped(16)),
        ("another workspace", flipped(32)),
        ("another generation", flipped(55)),
        ("another tag", flipped(56)),
        ("another end of the tag", flipped(bytes.len() - 1)),
        ("no tag", URL_SAFE_NO_PAD.encode(&bytes[..56])),
        ("half a tag", URL_SAFE_NO_PAD.encode(&bytes[..72])),
        (
            "one more byte",
            URL_SAFE_NO_PAD.encode([bytes.as_slice(), &[0]].concat()),
        ),
        (
            "the tag of another token",
            URL_SAFE_NO_PAD.encode([&bytes[..56], &others[56..]].concat()),
        ),
        ("zeros", URL_SAFE_NO_PAD.encode(vec![0; bytes.len()])),
        ("a JWT", hs256.unwrap()),
        ("an access token", ann.access.clone().unwrap()),
        ("16 KB", "A".repeat(16 * 1024)),
        ("not ASCII", "ß".repeat(118)),
    ] {
        let response = ann
            .signed_out()
            .post("/auth/refresh", json!({"refresh_token": token}))
            .await;
        assert_eq!(response.status, 401, "{name}: {}", response.text);
        conforming(response).refused(401, "TOKEN_INVALID");
    }
    for token in [
        json!([genuine]),
        json!({"token": genuine}),
        json!(1),
        Value::Null,
        json!(true),
    ] {
        let response = ann
            .signed_out()
            .post("/auth/refresh", json!({"refresh_token": token}))
            .await;
        assert_eq!(conforming(response).invalid_fields(), ["body.refresh_token"]);
    }
    let as_access = vec![
        ("a refresh token".to_owned(), genuine.clone()),
        (
            "a refresh token in three parts".to_owned(),
            format!("{genuine}.{genuine}.{genuine}"),
        ),
    ];
    assert_refused_everywhere(&ann, as_access, "TOKEN_INVALID").await;
    assert_eq!(world.dump().await, table);
    ann.refresh().await.expect(200);
}

/// The leeway is exactly five seconds on both sides.
#[tokio::test]
async fn the_validity_of_a_token_is_exact_to_the_second() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let forge = Forge::new(&world, &ann);
    let key = world.app.keys.key(forge.key.kid()).unwrap();
    let at = 2_000_000_000;
    let is_valid_at = |claim: &str, seconds: i64| {
        let claims = with(&forge.claims, json!({"exp": at + 900, "nbf": at, "iat": at}));
        let claims = with(&claims, json!({claim: at}));
        let token = signed(&forge.header, &claims, forge.key.encoding_key(), Algorithm::EdDSA);
        let is_valid_with_millis = |millis: i64| {
            let now = Time::from_millis((at + seconds) * 1000 + millis);
            token::verify(&world.app.parties, &token, &key, now).is_ok()
        };
        assert_eq!(is_valid_with_millis(0), is_valid_with_millis(999), "{claim} {seconds}");
        is_valid_with_millis(0)
    };
    for (claim, first, last) in [("nbf", -5, 900 + 4), ("iat", -5, 900 + 4)] {
        for (seconds, valid) in [(first - 1, false), (first, true), (last, true), (last + 1, false)] {
            assert_eq!(is_valid_at(claim, seconds), valid, "{claim}, {seconds} s");
        }
    }
    for (seconds, valid) in [(-5, true), (4, true), (5, false), (6, false)] {
        assert_eq!(is_valid_at("exp", seconds), valid, "exp, {seconds} s");
    }
}
