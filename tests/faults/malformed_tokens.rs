//! Access tokens and `Authorization` headers that are refused. `forged_tokens.rs` has more forged tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use shared::auth::keys::SigningKey;
use shared::secret::Secret;

use crate::faults::requests::{UNKNOWN, conforming, get, send};
use crate::faults::token_forge::{decoded, signed, signing_key, unsigned, with};
use crate::routes::set_clock_back;
use crate::support::harness::{Person, World};

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table with one row per token")]
async fn only_a_genuine_access_token_is_accepted() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let token = ann.access.clone().unwrap();
    let (header, claims) = decoded(&token);
    let key = signing_key(&world);
    let sign = |header: &Value, claims: &Value| signed(header, claims, key.encoding_key(), Algorithm::EdDSA);
    let began = world.clock.now();
    let now = began.as_seconds();
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
        set_clock_back(&world, began);
        ann.get("/auth/me").await.expect(200);
    }

    let invalid = [
        ("an empty token", String::new()),
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
        ("HS256 with an empty key", hs256(b"")),
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
            "another key, with a `jwk` header",
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
        ("an expiry out of range", claims_change(json!({"exp": 1e300}))),
        ("not yet valid", claims_change(json!({"nbf": now + 10}))),
        ("a not-before time that is a text", claims_change(json!({"nbf": "0"}))),
        ("issued in the future", claims_change(json!({"iat": now + 10}))),
        ("no subject", claims_change(json!({"sub": null}))),
        ("a subject that is no id", claims_change(json!({"sub": "USER#1"}))),
        ("a refresh token", ann.refresh.clone()),
    ];
    for (name, token) in invalid {
        let ann = Person {
            access: Some(token),
            ..ann.clone()
        };
        for path in ["/auth/me", "/workspaces/"] {
            set_clock_back(&world, began);
            let response = ann.get(path).await;
            assert_eq!(response.status, 401, "{name}: {}", response.text);
            conforming(response).refused(401, "TOKEN_INVALID");
        }
    }
    for (name, token) in [
        ("an unknown user", claims_change(json!({"sub": UNKNOWN}))),
        ("an unknown session", claims_change(json!({"sid": UNKNOWN}))),
        ("another epoch of the user", claims_change(json!({"uep": 1}))),
        ("another epoch of the workspace", claims_change(json!({"wep": 1}))),
    ] {
        let ann = Person {
            access: Some(token),
            ..ann.clone()
        };
        let response = ann.get("/auth/me").await;
        assert_eq!(response.status, 401, "{name}: {}", response.text);
        conforming(response).refused(401, "TOKEN_REVOKED");
    }
    for (token, code) in [
        (token.as_str(), "TOKEN_INVALID"),
        ("", "TOKEN_INVALID"),
        (&"A".repeat(9000), "TOKEN_INVALID"),
    ] {
        let response = ann
            .signed_out()
            .post("/auth/refresh", json!({"refresh_token": token}))
            .await;
        conforming(response).refused(401, code);
    }
    ann.workspace().await.expect(200);
}

#[tokio::test]
async fn only_a_single_bearer_header_authenticates() {
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
    conforming(send(&world, twice).await).refused(401, "TOKEN_INVALID");
    let with_basic = get(me)
        .header("authorization", &bearer)
        .header("authorization", "Basic YTpi");
    conforming(send(&world, with_basic).await).refused(401, "TOKEN_INVALID");
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
        let response = conforming(send(&world, get(me).header("authorization", header)).await);
        response.refused(401, "TOKEN_INVALID");
    }
    let binary = axum::http::HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
    conforming(send(&world, get(me).header("authorization", binary)).await).refused(401, "TOKEN_INVALID");
    let elsewhere = [
        get(&format!("{me}?access_token={token}")),
        get(&format!("{me}?token={token}")),
        get(me).header("x-api-key", &token),
        get(me).header("cookie", format!("access_token={token}")),
        get(me).header("proxy-authorization", &bearer),
    ];
    for request in elsewhere {
        conforming(send(&world, request).await).refused(401, "TOKEN_MISSING");
    }
}
