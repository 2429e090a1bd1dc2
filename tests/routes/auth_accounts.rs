//! `/auth/register`, `/auth/login`, `/auth/me`: accounts, and logging in to them.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::clock::Time;

use crate::routes::set_clock_back;
use crate::support::harness::{ApiResponse, PASSWORD, Person, World, names};

pub const DAY: i64 = 24 * 3600;

pub const USER: [&str; 19] = [
    "company",
    "createdAt",
    "created_at",
    "email",
    "emailVerified",
    "email_verified",
    "id",
    "is_staff",
    "is_superuser",
    "languagePreference",
    "language_preference",
    "name",
    "role",
    "selected_plan",
    "updatedAt",
    "updated_at",
    "workspace_id",
    "workspace_role",
    "workspace_slug",
];

async fn register(person: &Person<'_>, more: Value) -> ApiResponse {
    let mut body = json!({"email": person.email, "password": PASSWORD, "name": person.name});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    person.post("/auth/register", body).await
}

pub async fn log_in(person: &Person<'_>, email: &str, password: &str) -> ApiResponse {
    person
        .post("/auth/login", json!({"email": email, "password": password}))
        .await
}

/// A person who has an account and no workspace, with a token from before the workspace was deleted.
pub async fn without_workspace<'w>(world: &'w World, name: &str) -> Person<'w> {
    let person = world.owner(name).await;
    person.delete("/workspaces/").await.expect(200);
    person
}

/// Asserts that a limit of `quota` per minute refused the request. Returns the seconds until the next slot is free.
pub fn rate_limited(refused: ApiResponse, quota: u32) -> i64 {
    let refused = refused.refused(429, "RATE_LIMITED");
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(
        refused
            .header("ratelimit-policy")
            .unwrap()
            .ends_with(&format!("q={quota};w=60"))
    );
    assert!(refused.header("ratelimit").unwrap().ends_with(&format!("r=0;t={wait}")));
    wait
}

/// The claims of a token, not verified.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Asserts that the tokens of a response authenticate the user that the response shows.
pub async fn assert_signed_in(person: &Person<'_>, response: ApiResponse) {
    let response = response.expect(200);
    let mut person = person.signed_out();
    person.take_tokens(&response);
    let me = person.get("/auth/me").await.expect(200);
    assert_eq!(me.body, response.body["user"]);
}

#[tokio::test]
async fn registering_creates_an_account_with_exactly_these_fields_and_a_workspace() {
    let world = World::new().await;
    let mut ann = world.stranger("ann");
    ann.email = " Ann@Example.COM ".to_owned();
    let user = register(&ann, json!({"company": " Acme Field "})).await.expect(201);
    assert_eq!(names(&user.body), USER);
    let workspace_id = user.body["workspace_id"].as_str().unwrap().to_owned();
    for (field, value) in [
        ("email", json!("ann@example.com")),
        ("name", json!("ann")),
        ("company", json!("Acme Field")),
        ("role", json!("owner")),
        ("workspace_role", json!("owner")),
        ("workspace_slug", json!("acme-field")),
        ("selected_plan", json!("developer")),
        ("is_superuser", json!(false)),
        ("is_staff", json!(false)),
        ("email_verified", json!(false)),
        ("emailVerified", json!(false)),
    ] {
        assert_eq!(user.body[field], value, "{field}");
    }
    for (field, duplicate) in [
        ("created_at", "createdAt"),
        ("updated_at", "updatedAt"),
        ("language_preference", "languagePreference"),
    ] {
        assert!(user.body[field].is_string(), "{field}");
        assert_eq!(user.body[field], user.body[duplicate], "{field}");
    }
    for id in [user.body["id"].as_str().unwrap(), &workspace_id] {
        assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    }
    ann.log_in().await;
    assert_eq!(ann.get("/auth/me").await.expect(200).body["id"], user.body["id"]);
    let workspace = ann.workspace().await.expect(200);
    assert_eq!(
        (workspace.id(), &workspace.body["name"]),
        (workspace_id, &json!("Acme Field"))
    );
}

#[tokio::test]
async fn without_a_company_the_workspace_is_named_after_the_person() {
    let world = World::new().await;
    for (name, more) in [("ann", json!({})), ("bob", json!({"company": null}))] {
        let mut person = world.stranger(name);
        let user = register(&person, more).await.expect(201);
        assert_eq!(user.body["company"], Value::Null);
        person.log_in().await;
        assert_eq!(person.workspace().await.body["name"], format!("{name}'s workspace"));
    }
}

#[tokio::test]
async fn an_email_address_can_be_registered_once() {
    let world = World::new().await;
    world.owner("ann").await;
    let before = world.dump_without_limits().await;
    let mut namesake = world.stranger("ann");
    for email in ["ann@example.com", " ANN@example.com"] {
        namesake.email = email.to_owned();
        register(&namesake, json!({})).await.refused(400, "EMAIL_TAKEN");
    }
    assert_eq!(world.dump_without_limits().await, before);
}

#[tokio::test]
async fn a_password_has_8_to_128_characters() {
    let world = World::new().await;
    let weak = world.stranger("weak");
    for password in ["", "1234567", &"x".repeat(129)] {
        register(&weak, json!({"password": password}))
            .await
            .refused(400, "WEAK_PASSWORD");
    }
    for (name, password) in [
        ("ann", "12345678".to_owned()),
        ("bob", "ü".repeat(128)),
        ("cid", " spaces around ".to_owned()),
    ] {
        let person = world.stranger(name);
        register(&person, json!({"password": password})).await.expect(201);
        assert_signed_in(&person, log_in(&person, &person.email, &password).await).await;
        log_in(&person, &person.email, password.trim_end_matches([' ', '8', 'ü']))
            .await
            .refused(401, "INVALID_CREDENTIALS");
    }
}

#[tokio::test]
async fn a_refused_registration_lists_every_field_error() {
    let world = World::new().await;
    let ann = world.stranger("ann");
    let before = world.dump_without_limits().await;
    let path = "/auth/register";
    assert_eq!(
        ann.post(path, json!({})).await.invalid_fields(),
        ["body.email", "body.name", "body.password"]
    );
    let wrong = json!({"email": "nobody", "name": " ", "password": 5, "company": ["x"]});
    assert_eq!(
        ann.post(path, wrong).await.invalid_fields(),
        ["body.company", "body.email", "body.name", "body.password"]
    );
    assert_eq!(ann.raw("POST", path, "").await.invalid_fields(), ["body"]);
    assert_eq!(ann.raw("POST", path, "{").await.invalid_fields(), ["body"]);
    assert_eq!(world.dump_without_limits().await, before);
}

#[tokio::test]
async fn a_login_response_has_exactly_these_fields() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let response = log_in(&ann.signed_out(), " ANN@example.com ", PASSWORD)
        .await
        .expect(200);
    assert_eq!(
        names(&response.body),
        ["access_token", "expires_in", "refresh_token", "token_type", "user"]
    );
    assert_eq!(
        (&response.body["token_type"], &response.body["expires_in"]),
        (&json!("bearer"), &json!(900))
    );
    assert_eq!(names(&response.body["user"]), USER);
    let claims = claims(response.body["access_token"].as_str().unwrap());
    for claim in ["iss", "aud", "sub", "exp", "iat", "jti", "sid"] {
        assert!(!claims[claim].is_null(), "{claim}");
    }
    assert_eq!(claims["sub"], ann.id);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    assert_signed_in(&ann, response).await;
    ann.workspace().await.expect(200);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_email_address_get_the_same_response() {
    let world = World::new().await;
    let ann = world.owner("ann").await.signed_out();
    let mut responses = Vec::new();
    for (email, password) in [
        ("ann@example.com", "wrong horse"),
        ("nobody@example.com", PASSWORD),
        ("no e-mail", PASSWORD),
    ] {
        let mut refused = log_in(&ann, email, password).await.refused(401, "INVALID_CREDENTIALS");
        refused.body["request_id"] = Value::Null;
        responses.push(refused.body);
    }
    assert_eq!((&responses[0], &responses[0]), (&responses[1], &responses[2]));
    assert_eq!(
        ann.post("/auth/login", json!({})).await.invalid_fields(),
        ["body.email", "body.password"]
    );
    assert_eq!(
        ann.post("/auth/login", json!({"email": 1, "password": 2}))
            .await
            .invalid_fields(),
        ["body.email", "body.password"]
    );
}

#[tokio::test]
async fn an_email_address_may_log_in_fifteen_times_a_minute() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.owner("bob").await;
    world.pass(61);
    let began = world.clock.now();
    let mut guesser = ann.signed_out();
    for number in 0..15_u8 {
        set_clock_back(&world, began);
        guesser.address = IpAddr::from([192, 0, 2, number]);
        let email = if number % 2 == 0 {
            "ann@example.com"
        } else {
            " ANN@example.com"
        };
        log_in(&guesser, email, "wrong horse")
            .await
            .refused(401, "INVALID_CREDENTIALS");
    }
    set_clock_back(&world, began);
    let wait = rate_limited(log_in(&guesser, "ann@example.com", PASSWORD).await, 15);
    log_in(&guesser, "bob@example.com", PASSWORD).await.expect(200);
    world.pass(wait);
    log_in(&guesser, "ann@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn an_ip_address_may_log_in_sixty_times_a_minute() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.pass(61);
    let began = world.clock.now();
    let guesser = world.stranger("guesser");
    for number in 0..60 {
        set_clock_back(&world, began);
        log_in(&guesser, &format!("{number}@example.com"), PASSWORD)
            .await
            .refused(401, "INVALID_CREDENTIALS");
    }
    set_clock_back(&world, began);
    rate_limited(log_in(&guesser, "ann@example.com", PASSWORD).await, 60);
    log_in(&ann.signed_out(), "ann@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn registering_previewing_and_accepting_are_each_limited_to_sixty_a_minute_per_ip_address() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    world.pass(61);
    let began = world.clock.now();
    let mut guesser = world.stranger("ann");
    for number in 0..60_u16 {
        set_clock_back(&world, began);
        guesser.address = IpAddr::from([0x2001, 0xdb8, 1, 2, number, 0, 0, 1]);
        register(&guesser, json!({})).await.refused(400, "EMAIL_TAKEN");
        guesser.preview(&issued).await.expect(200);
        guesser
            .accept(&issued, json!({}))
            .await
            .refused(400, "PASSWORD_REQUIRED");
    }
    set_clock_back(&world, began);
    rate_limited(register(&guesser, json!({})).await, 60);
    rate_limited(guesser.preview(&issued).await, 60);
    rate_limited(guesser.accept(&issued, json!({"password": PASSWORD})).await, 60);
    guesser.address = IpAddr::from([0x2001, 0xdb8, 1, 3, 0, 0, 0, 1]);
    register(&guesser, json!({})).await.refused(400, "EMAIL_TAKEN");
    guesser.preview(&issued).await.expect(200);
    guesser.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test]
async fn every_route_but_the_open_ones_requires_a_token() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let anonymous = owner.signed_out();
    let mut forger = owner.clone();
    forger.access = Some("x.y.z".to_owned());
    for (method, path) in [
        ("GET", "/auth/me"),
        ("POST", "/auth/logout"),
        ("GET", "/workspaces/"),
        ("PUT", "/workspaces/"),
        ("PATCH", "/workspaces/"),
        ("POST", "/workspaces/"),
        ("DELETE", "/workspaces/"),
        ("GET", "/workspaces/members"),
        ("PATCH", "/workspaces/members/x"),
        ("DELETE", "/workspaces/members/x"),
        ("GET", "/workspaces/invitations"),
        ("POST", "/workspaces/invitations"),
        ("PATCH", "/workspaces/invitations/x"),
        ("DELETE", "/workspaces/invitations/x"),
        ("POST", "/workspaces/invitations/x/resend"),
        ("GET", "/workspaces/usage"),
        ("POST", "/workspaces/revoke-all-sessions"),
    ] {
        anonymous.call(method, path, None).await.refused(401, "TOKEN_MISSING");
        forger
            .call(method, path, Some(json!({})))
            .await
            .refused(401, "TOKEN_INVALID");
    }
    let path = format!("/auth/me?access_token={}", owner.access.as_ref().unwrap());
    anonymous.get(&path).await.refused(401, "TOKEN_MISSING");
}

#[tokio::test]
async fn times_are_utc_with_a_fixed_width() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let me = ann.get("/auth/me").await.expect(200);
    for field in ["created_at", "updated_at", "createdAt", "updatedAt"] {
        let text = me.body[field].as_str().unwrap();
        let time: Time = text.parse().unwrap();
        assert_eq!(time.to_string(), text, "{field}");
    }
}
