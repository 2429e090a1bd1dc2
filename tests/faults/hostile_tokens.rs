//! Tokens and headers that open nothing. `tokens.rs` goes on where this ends, by the list of RFC 8725.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use shared::auth::keys::SigningKey;
use shared::config::SecretSource;
use shared::secret::Secret;

use crate::faults::hostile::{UNKNOWN, get, proper, send};
use crate::support::harness::{Person, World};

/// The parts of a token: header and claims.
pub fn opened(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let (header, claims) = (parts.next().unwrap(), parts.next().unwrap());
    (
        serde_json::from_slice(&header).unwrap(),
        serde_json::from_slice(&claims).unwrap(),
    )
}

pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

pub fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = unsigned(header, claims);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// `value` with some members replaced.
pub fn with(value: &Value, changes: Value) -> Value {
    let mut value = value.clone();
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    for (name, change) in changes {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(&name);
        } else {
            value[name] = change;
        }
    }
    value
}

pub fn signing_key(world: &World) -> SigningKey {
    let Some(SecretSource::Value(seed)) = &world.app.config.signing_secret else {
        panic!("a world has a seed")
    };
    SigningKey::from_seed(seed).unwrap()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table: one row an attack")]
async fn no_token_but_ours_opens_anything() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let token = ann.access.clone().unwrap();
    let (header, claims) = opened(&token);
    let key = signing_key(&world);
    let sign = |header: &Value, claims: &Value| signed(header, claims, key.encoding_key(), Algorithm::EdDSA);
    let now = world.clock.now().as_seconds();
    let jwks = ann.get("/.well-known/jwks.json").await;
    let public = jwks.body["keys"][0]["x"].as_str().unwrap().to_owned();
    let other_key = SigningKey::from_seed(&Secret::new("another seed")).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[0] ^= 1;
    let hs256 = |secret: &[u8]| {
        let header = with(&header, json!({"alg": "HS256"}));
        signed(&header, &claims, &EncodingKey::from_secret(secret), Algorithm::HS256)
    };
    let header_change = |change| sign(&with(&header, change), &claims);
    let claims_change = |change| sign(&header, &with(&claims, change));
    let none = with(&header, json!({"alg": "none"}));

    let valid = [
        sign(&header, &claims),
        claims_change(json!({"exp": now - 3})),
        claims_change(json!({"nbf": now + 3, "iat": now + 3})),
        claims_change(json!({"unknown": 1})),
    ];
    for token in valid {
        let ann = Person {
            access: Some(token.clone()),
            ..ann.clone()
        };
        ann.get("/auth/me").await.expect(200);
    }

    let invalid = [
        ("nothing", String::new()),
        ("one part", "a".to_owned()),
        ("three parts", "a.b.c".to_owned()),
        ("empty parts", "..".to_owned()),
        ("four parts", format!("{token}.a")),
        ("8 KB", "a".repeat(8192)),
        ("8 KB of a token", format!("{token}{}", "A".repeat(8192))),
        ("8 KB of claims", claims_change(json!({"padding": "a".repeat(8192)}))),
        ("no signature", message.to_owned()),
        ("an empty signature", format!("{message}.")),
        (
            "a flipped signature",
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(flipped)),
        ),
        (
            "another claim",
            format!(
                "{head}.{}.{signature}",
                URL_SAFE_NO_PAD.encode(with(&claims, json!({"uep": 1})).to_string())
            ),
        ),
        ("padding", format!("{message}.{signature}==")),
        ("alg none", unsigned(&none, &claims) + "."),
        ("alg none, signed", format!("{}.{signature}", unsigned(&none, &claims))),
        (
            "alg NONE",
            unsigned(&with(&header, json!({"alg": "NONE"})), &claims) + ".",
        ),
        (
            "no alg",
            format!(
                "{}.{signature}",
                unsigned(&with(&header, json!({"alg": null})), &claims)
            ),
        ),
        (
            "HS256 with the public key",
            hs256(&URL_SAFE_NO_PAD.decode(&public).unwrap()),
        ),
        ("HS256 with the public key's text", hs256(public.as_bytes())),
        ("HS256 with the JWK set", hs256(jwks.text.as_bytes())),
        ("HS256 with nothing", hs256(b"")),
        ("alg RS256", header_change(json!({"alg": "RS256"}))),
        (
            "another key",
            signed(&header, &claims, other_key.encoding_key(), Algorithm::EdDSA),
        ),
        (
            "another key and its kid",
            signed(
                &with(&header, json!({"kid": other_key.kid()})),
                &claims,
                other_key.encoding_key(),
                Algorithm::EdDSA,
            ),
        ),
        (
            "another key, sent along",
            signed(
                &with(&header, json!({"jwk": {"kty": "OKP"}})),
                &claims,
                other_key.encoding_key(),
                Algorithm::EdDSA,
            ),
        ),
        ("unknown kid", header_change(json!({"kid": "unknown"}))),
        ("no kid", header_change(json!({"kid": null}))),
        ("a kid that is a path", header_change(json!({"kid": "../../dev/null"}))),
        ("a kid that is a number", header_change(json!({"kid": 1}))),
        ("typ JWT", header_change(json!({"typ": "JWT"}))),
        ("no typ", header_change(json!({"typ": null}))),
        ("crit", header_change(json!({"crit": ["exp"]}))),
        ("another issuer", claims_change(json!({"iss": "https://evil.example"}))),
        ("no issuer", claims_change(json!({"iss": null}))),
        ("another audience", claims_change(json!({"aud": "another"}))),
        ("no audience", claims_change(json!({"aud": null}))),
        ("expired", claims_change(json!({"exp": now - 6}))),
        ("expired long ago", claims_change(json!({"exp": 0}))),
        ("no expiry", claims_change(json!({"exp": null}))),
        ("an expiry that is a text", claims_change(json!({"exp": "9999999999"}))),
        ("an expiry beyond numbers", claims_change(json!({"exp": 1e300}))),
        ("not yet valid", claims_change(json!({"nbf": now + 10}))),
        ("a beginning that is a text", claims_change(json!({"nbf": "0"}))),
        ("issued in the future", claims_change(json!({"iat": now + 10}))),
        ("no subject", claims_change(json!({"sub": null}))),
        ("a subject that is none", claims_change(json!({"sub": "USER#1"}))),
        ("a refresh token", ann.refresh.clone()),
    ];
    for (name, token) in invalid {
        let ann = Person {
            access: Some(token),
            ..ann.clone()
        };
        for path in ["/auth/me", "/workspaces/"] {
            let answer = ann.get(path).await;
            assert_eq!(answer.status, 401, "{name}: {}", answer.text);
            proper(answer).refused(401, "TOKEN_INVALID");
        }
    }
    for (name, token) in [
        ("nobody", claims_change(json!({"sub": UNKNOWN}))),
        ("no session of theirs", claims_change(json!({"sid": UNKNOWN}))),
        ("another epoch", claims_change(json!({"uep": 1}))),
        ("another epoch of the workspace", claims_change(json!({"wep": 1}))),
    ] {
        let ann = Person {
            access: Some(token),
            ..ann.clone()
        };
        let answer = ann.get("/auth/me").await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        proper(answer).refused(401, "TOKEN_REVOKED");
    }
    for (token, code) in [
        (token.as_str(), "TOKEN_INVALID"),
        ("", "TOKEN_INVALID"),
        (&"A".repeat(9000), "TOKEN_INVALID"),
    ] {
        let answer = ann
            .signed_out()
            .post("/auth/refresh", json!({"refresh_token": token}))
            .await;
        proper(answer).refused(401, code);
    }
    ann.workspace().await.expect(200);
}

#[tokio::test]
async fn only_one_bearer_header_authenticates() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let token = ann.access.clone().unwrap();
    let bearer = format!("Bearer {token}");
    let me = "/api/v1/auth/me";
    for scheme in ["Bearer", "bearer", "BEARER"] {
        send(&world, get(me).header("authorization", format!("{scheme} {token}")))
            .await
            .expect(200);
    }
    let twice = get(me)
        .header("authorization", &bearer)
        .header("authorization", &bearer);
    proper(send(&world, twice).await).refused(401, "TOKEN_INVALID");
    let beside = get(me)
        .header("authorization", &bearer)
        .header("authorization", "Basic YTpi");
    proper(send(&world, beside).await).refused(401, "TOKEN_INVALID");
    for header in [
        "Basic YTpi",
        "Bearer",
        "Bearer ",
        &token,
        "Token x",
        "",
        &format!("Bearer {token}, Bearer {token}"),
        &format!("Bearer {token} x"),
    ] {
        let answer = proper(send(&world, get(me).header("authorization", header)).await);
        answer.refused(401, "TOKEN_INVALID");
    }
    let binary = axum::http::HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
    proper(send(&world, get(me).header("authorization", binary)).await).refused(401, "TOKEN_INVALID");
    let elsewhere = [
        get(&format!("{me}?access_token={token}")),
        get(&format!("{me}?token={token}")),
        get(me).header("x-api-key", &token),
        get(me).header("cookie", format!("access_token={token}")),
        get(me).header("proxy-authorization", &bearer),
    ];
    for request in elsewhere {
        proper(send(&world, request).await).refused(401, "TOKEN_MISSING");
    }
}
