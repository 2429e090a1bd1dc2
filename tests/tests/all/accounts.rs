//! `/auth/…` and revoke-all: accounts, their sessions, and invitations as those who are invited see them.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::clock::Time;

use crate::harness::{Answer, PASSWORD, Person, World, names, proof};

const DAY: i64 = 24 * 3600;

const USER: [&str; 19] = [
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

async fn register(person: &Person<'_>, more: Value) -> Answer {
    let mut body = json!({"email": person.email, "password": PASSWORD, "name": person.name});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    person.post("/auth/register", body).await
}

async fn log_in(person: &Person<'_>, email: &str, password: &str) -> Answer {
    person
        .post("/auth/login", json!({"email": email, "password": password}))
        .await
}

/// Somebody who has an account and is in no workspace.
async fn loner<'w>(world: &'w World, name: &str) -> Person<'w> {
    let person = world.owner(name).await;
    person.delete("/workspaces/").await.expect(200);
    person
}

/// Refused by a limit of `quota` a minute.
fn limited(refused: Answer, quota: u32) -> i64 {
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

/// What a token says.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn signs_in(person: &Person<'_>, answer: Answer) {
    let answer = answer.expect(200);
    let mut person = person.signed_out();
    person.take_tokens(&answer);
    let me = person.get("/auth/me").await.expect(200);
    assert_eq!(me.body, answer.body["user"]);
}

#[tokio::test]
async fn registering_makes_an_account_with_exactly_these_fields_and_its_workspace() {
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
    for (field, twin) in [
        ("created_at", "createdAt"),
        ("updated_at", "updatedAt"),
        ("language_preference", "languagePreference"),
    ] {
        assert!(user.body[field].is_string(), "{field}");
        assert_eq!(user.body[field], user.body[twin], "{field}");
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
async fn an_email_is_registered_once() {
    let world = World::new().await;
    world.owner("ann").await;
    let before = world.deeds().await;
    let mut again = world.stranger("ann");
    for email in ["ann@example.com", " ANN@example.com"] {
        again.email = email.to_owned();
        register(&again, json!({})).await.refused(400, "EMAIL_TAKEN");
    }
    assert_eq!(world.deeds().await, before);
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
        signs_in(&person, log_in(&person, &person.email, &password).await).await;
        log_in(&person, &person.email, password.trim_end_matches([' ', '8', 'ü']))
            .await
            .refused(401, "INVALID_CREDENTIALS");
    }
}

#[tokio::test]
async fn all_faults_of_a_registration_are_told_at_once() {
    let world = World::new().await;
    let ann = world.stranger("ann");
    let before = world.deeds().await;
    let path = "/auth/register";
    assert_eq!(
        ann.post(path, json!({})).await.faults(),
        ["body.email", "body.name", "body.password"]
    );
    let wrong = json!({"email": "nobody", "name": " ", "password": 5, "company": ["x"]});
    assert_eq!(
        ann.post(path, wrong).await.faults(),
        ["body.company", "body.email", "body.name", "body.password"]
    );
    assert_eq!(ann.raw("POST", path, "").await.faults(), ["body"]);
    assert_eq!(ann.raw("POST", path, "{").await.faults(), ["body"]);
    assert_eq!(world.deeds().await, before);
}

#[tokio::test]
async fn a_login_is_answered_with_exactly_these_fields() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let answer = log_in(&ann.signed_out(), " ANN@example.com ", PASSWORD)
        .await
        .expect(200);
    assert_eq!(
        names(&answer.body),
        ["access_token", "expires_in", "refresh_token", "token_type", "user"]
    );
    assert_eq!(
        (&answer.body["token_type"], &answer.body["expires_in"]),
        (&json!("bearer"), &json!(900))
    );
    assert_eq!(names(&answer.body["user"]), USER);
    let claims = claims(answer.body["access_token"].as_str().unwrap());
    for claim in ["iss", "aud", "sub", "exp", "iat", "jti", "sid"] {
        assert!(!claims[claim].is_null(), "{claim}");
    }
    assert_eq!(claims["sub"], ann.id);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    signs_in(&ann, answer).await;
    ann.workspace().await.expect(200);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_email_are_told_apart_by_nobody() {
    let world = World::new().await;
    let ann = world.owner("ann").await.signed_out();
    let mut answers = Vec::new();
    for (email, password) in [
        ("ann@example.com", "wrong horse"),
        ("nobody@example.com", PASSWORD),
        ("no e-mail", PASSWORD),
    ] {
        let mut refused = log_in(&ann, email, password).await.refused(401, "INVALID_CREDENTIALS");
        refused.body["request_id"] = Value::Null;
        answers.push(refused.body);
    }
    assert_eq!((&answers[0], &answers[0]), (&answers[1], &answers[2]));
    assert_eq!(
        ann.post("/auth/login", json!({})).await.faults(),
        ["body.email", "body.password"]
    );
    assert_eq!(
        ann.post("/auth/login", json!({"email": 1, "password": 2}))
            .await
            .faults(),
        ["body.email", "body.password"]
    );
}

#[tokio::test]
async fn an_email_has_fifteen_logins_a_minute() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.owner("bob").await;
    world.pass(61);
    let mut thief = ann.signed_out();
    for number in 0..15_u8 {
        thief.address = IpAddr::from([192, 0, 2, number]);
        let email = if number % 2 == 0 {
            "ann@example.com"
        } else {
            " ANN@example.com"
        };
        log_in(&thief, email, "wrong horse")
            .await
            .refused(401, "INVALID_CREDENTIALS");
    }
    let wait = limited(log_in(&thief, "ann@example.com", PASSWORD).await, 15);
    log_in(&thief, "bob@example.com", PASSWORD).await.expect(200);
    world.pass(wait);
    log_in(&thief, "ann@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn an_address_has_sixty_logins_a_minute() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.pass(61);
    let thief = world.stranger("thief");
    for number in 0..60 {
        log_in(&thief, &format!("{number}@example.com"), PASSWORD)
            .await
            .refused(401, "INVALID_CREDENTIALS");
    }
    limited(log_in(&thief, "ann@example.com", PASSWORD).await, 60);
    log_in(&ann.signed_out(), "ann@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn register_preview_and_accept_each_count_sixty_a_minute_an_address() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    world.pass(61);
    let mut thief = world.stranger("ann");
    for number in 0..60_u16 {
        thief.address = IpAddr::from([0x2001, 0xdb8, 1, 2, number, 0, 0, 1]);
        register(&thief, json!({})).await.refused(400, "EMAIL_TAKEN");
        thief.preview(&issued).await.expect(200);
        thief.accept(&issued, json!({})).await.refused(400, "PASSWORD_REQUIRED");
    }
    limited(register(&thief, json!({})).await, 60);
    limited(thief.preview(&issued).await, 60);
    limited(thief.accept(&issued, json!({"password": PASSWORD})).await, 60);
    thief.address = IpAddr::from([0x2001, 0xdb8, 1, 3, 0, 0, 0, 1]);
    register(&thief, json!({})).await.refused(400, "EMAIL_TAKEN");
    thief.preview(&issued).await.expect(200);
    thief.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
}

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
        ann.post("/auth/refresh", json!({})).await.faults(),
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
async fn everything_but_the_open_routes_needs_a_token() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let nobody = owner.signed_out();
    let mut liar = owner.clone();
    liar.access = Some("x.y.z".to_owned());
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
        nobody.call(method, path, None).await.refused(401, "TOKEN_MISSING");
        liar.call(method, path, Some(json!({})))
            .await
            .refused(401, "TOKEN_INVALID");
    }
    let mut query = owner.signed_out();
    let path = format!("/auth/me?access_token={}", owner.access.as_ref().unwrap());
    query.access = None;
    query.get(&path).await.refused(401, "TOKEN_MISSING");
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
async fn whoever_holds_the_link_sees_exactly_this() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    loner(&world, "eve").await;
    let stranger = world.stranger("bob");
    for (email, account_exists) in [("bob@example.com", false), ("eve@example.com", true)] {
        let issued = owner.invite(email, "field_worker").await.expect(201);
        let seen = stranger.preview(&issued).await.expect(200);
        let expected = json!({
            "workspace_name": "ann and company",
            "invited_by_email": "ann@example.com",
            "email": email,
            "role": "field_worker",
            "expires_at": issued.body["expires_at"],
            "status": "pending",
            "account_exists": account_exists,
        });
        assert_eq!(seen.body, expected);
        stranger
            .accept(&issued, json!({"password": PASSWORD}))
            .await
            .expect(200);
        assert_eq!(stranger.preview(&issued).await.expect(200).body["status"], "accepted");
    }
}

#[tokio::test]
async fn a_link_that_is_none_is_404_on_every_route() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let other = owner.invite("cid@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    let good = proof(&issued, json!({"password": PASSWORD}));
    let links = [
        ("token", json!("x")),
        ("token", json!("")),
        ("token", proof(&other, json!({}))["token"].clone()),
        ("invite_id", json!(other.id())),
        ("invite_id", json!(uuid::Uuid::from_u128(7))),
        ("invite_id", json!("not-a-uuid")),
        ("invite_id", json!("")),
    ];
    let before = world.deeds().await;
    for route in ["invitation", "accept-invite", "decline-invite"] {
        for (field, value) in &links {
            let mut body = good.clone();
            body[field] = value.clone();
            bob.post(&format!("/auth/{route}"), body)
                .await
                .refused(404, "INVITATION_NOT_FOUND");
        }
        let faults = bob.post(&format!("/auth/{route}"), json!({"token": 5})).await.faults();
        assert_eq!(faults, ["body.invite_id", "body.token"], "{route}");
    }
    assert_eq!(world.deeds().await, before);
    bob.post("/auth/accept-invite", good).await.expect(200);
}

#[tokio::test]
async fn a_new_person_accepts_and_is_a_member_with_a_password() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "manager").await.expect(201);
    let mut bob = world.stranger("bob");
    let accepted = bob
        .accept(&issued, json!({"password": PASSWORD, "name": " Bob B. "}))
        .await
        .expect(200);
    let tokens = [
        "access_token",
        "expires_in",
        "refresh_token",
        "token_type",
        "user",
        "workspace",
    ];
    assert_eq!(names(&accepted.body), tokens);
    assert_eq!(accepted.body["workspace"], owner.workspace().await.body);
    assert_eq!(names(&accepted.body["user"]), USER);
    for (field, value) in [
        ("email", json!("bob@example.com")),
        ("name", json!("Bob B.")),
        ("role", json!("manager")),
        ("workspace_role", json!("manager")),
        ("workspace_id", accepted.body["workspace"]["id"].clone()),
        ("workspace_slug", accepted.body["workspace"]["slug"].clone()),
        ("company", Value::Null),
        ("email_verified", accepted.body["user"]["emailVerified"].clone()),
    ] {
        assert_eq!(accepted.body["user"][field], value, "{field}");
    }
    bob.take_tokens(&accepted);
    bob.refresh().await.expect(200);
    let list = bob.members().await.expect(200);
    assert_eq!(list.body["total"], 2);
    let row = &list.body["members"][1];
    assert_eq!(
        (&row["id"], &row["role"], &row["name"]),
        (&json!(bob.id), &json!("manager"), &json!("Bob B."))
    );
    assert_eq!(owner.invitations().await.body["total"], 0);
    bob.log_in().await;
    bob.workspace().await.expect(200);
}

#[tokio::test]
async fn a_new_person_needs_a_password_of_some_strength() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    let before = world.deeds().await;
    bob.accept(&issued, json!({})).await.refused(400, "PASSWORD_REQUIRED");
    bob.accept(&issued, json!({"password": null}))
        .await
        .refused(400, "PASSWORD_REQUIRED");
    for password in ["1234567", &"x".repeat(129)] {
        bob.accept(&issued, json!({"password": password}))
            .await
            .refused(400, "WEAK_PASSWORD");
    }
    assert_eq!(
        bob.accept(&issued, json!({"password": 5, "name": 5})).await.faults(),
        ["body.name", "body.password"]
    );
    assert_eq!(world.deeds().await, before);
    bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test]
async fn an_existing_account_proves_itself_by_its_password() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = loner(&world, "eve").await;
    let issued = owner.invite("eve@example.com", "member").await.expect(201);
    let visitor = eve.signed_out();
    let before = world.deeds().await;
    visitor
        .accept(&issued, json!({}))
        .await
        .refused(401, "INVALID_CREDENTIALS");
    visitor
        .accept(&issued, json!({"password": "wrong horse"}))
        .await
        .refused(401, "INVALID_CREDENTIALS");
    visitor
        .accept(&issued, json!({"password": ""}))
        .await
        .refused(401, "INVALID_CREDENTIALS");
    assert_eq!(world.deeds().await, before);
    let accepted = visitor
        .accept(&issued, json!({"password": PASSWORD, "name": "Mallory"}))
        .await
        .expect(200);
    assert_eq!(
        (&accepted.body["user"]["id"], &accepted.body["user"]["name"]),
        (&json!(eve.id), &json!("eve"))
    );
    assert_eq!(accepted.body["workspace"], owner.workspace().await.body);
    signs_in(&visitor, accepted).await;
    assert_eq!(
        eve.workspace().await.expect(200).body,
        owner.workspace().await.body,
        "her earlier login goes on"
    );
}

#[tokio::test]
async fn an_existing_account_proves_itself_by_its_token() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = loner(&world, "eve").await;
    let issued = owner.invite("eve@example.com", "field_worker").await.expect(201);
    let mut liar = eve.clone();
    liar.access = Some(format!("{}x", eve.access.as_ref().unwrap()));
    liar.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(401, "TOKEN_INVALID");
    let accepted = eve.accept(&issued, json!({})).await.expect(200);
    assert_eq!(accepted.body["user"]["id"], eve.id);
    assert_eq!(
        eve.get("/auth/me").await.expect(200).body["workspace_role"],
        "field_worker"
    );
}

#[tokio::test]
async fn passwords_guessed_by_accepting_count_as_logins() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = loner(&world, "eve").await;
    let issued = owner.invite("eve@example.com", "member").await.expect(201);
    world.pass(61);
    let thief = eve.signed_out();
    for _ in 0..8 {
        thief
            .accept(&issued, json!({"password": "wrong horse"}))
            .await
            .refused(401, "INVALID_CREDENTIALS");
        log_in(&thief, "eve@example.com", "wrong horse").await;
    }
    limited(thief.accept(&issued, json!({"password": PASSWORD})).await, 15);
    limited(log_in(&thief, "eve@example.com", PASSWORD).await, 15);
    assert_eq!(owner.members().await.body["total"], 1);
    eve.accept(&issued, json!({})).await.expect(200);
}

#[tokio::test]
async fn signed_in_as_somebody_else_one_cannot_accept() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = loner(&world, "eve").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let before = world.deeds().await;
    for person in [&eve, &owner] {
        person
            .accept(&issued, json!({"password": PASSWORD}))
            .await
            .refused(409, "INVITE_EMAIL_MISMATCH");
    }
    assert_eq!(world.deeds().await, before);
    eve.signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .expect(200);
}

#[tokio::test]
async fn somebody_who_is_in_a_workspace_by_now_is_unavailable() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let bob = world.owner("bob").await;
    let before = world.deeds().await;
    bob.accept(&issued, json!({})).await.refused(400, "INVITEE_UNAVAILABLE");
    bob.signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITEE_UNAVAILABLE");
    assert_eq!(world.deeds().await, before);
    bob.delete("/workspaces/").await.expect(200);
    bob.accept(&issued, json!({})).await.expect(200);
}

#[tokio::test]
async fn accepting_again_within_ten_minutes_is_the_same_person_once() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let mut bob = world.stranger("bob");
    let first = bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
    bob.take_tokens(&first);
    world.pass(570);
    let nobody = bob.signed_out();
    for again in [
        nobody.accept(&issued, json!({"password": PASSWORD})).await,
        bob.accept(&issued, json!({})).await,
    ] {
        let again = again.expect(200);
        assert_eq!(names(&again.body), names(&first.body));
        assert_eq!(again.body["user"]["id"], bob.id);
        assert_eq!(again.body["workspace"], first.body["workspace"]);
        signs_in(&bob, again).await;
    }
    assert_eq!(owner.members().await.body["total"], 2);
    let before = world.deeds().await;
    nobody
        .accept(&issued, json!({"password": "wrong horse"}))
        .await
        .refused(400, "INVITATION_USED");
    nobody.accept(&issued, json!({})).await.refused(400, "INVITATION_USED");
    owner.accept(&issued, json!({})).await.refused(400, "INVITATION_USED");
    world.pass(30);
    nobody
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_USED");
    bob.accept(&issued, json!({})).await.refused(400, "INVITATION_USED");
    assert_eq!(world.deeds().await, before);
}

#[tokio::test]
async fn accepting_again_does_not_undo_a_removal() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let mut bob = world.stranger("bob");
    let first = bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
    bob.take_tokens(&first);
    owner.remove(&bob.id).await.expect(200);
    bob.signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_USED");
    assert_eq!(owner.members().await.body["total"], 1);
}

#[tokio::test]
async fn other_invitations_of_who_joined_are_dead_at_once() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let zoe = world.owner("zoe").await;
    let stranger = world.stranger("bob");
    for (name, exists) in [("bob", false), ("eve", true)] {
        if exists {
            loner(&world, name).await;
        }
        let email = format!("{name}@example.com");
        let taken = ann.invite(&email, "member").await.expect(201);
        let sibling = zoe.invite(&email, "owner").await.expect(201);
        assert_eq!(zoe.invitations().await.body["total"], 1);
        stranger.accept(&taken, json!({"password": PASSWORD})).await.expect(200);
        assert_eq!(
            zoe.invitations().await.body,
            json!({"invitations": [], "total": 0, "next_cursor": null})
        );
        stranger
            .accept(&sibling, json!({"password": PASSWORD}))
            .await
            .refused(400, "INVITATION_REVOKED");
        stranger.decline(&sibling).await.refused(400, "INVITATION_REVOKED");
        assert_eq!(stranger.preview(&sibling).await.expect(200).body["status"], "revoked");
        zoe.resend(&sibling.id()).await.refused(400, "INVITATION_REVOKED");
        zoe.cancel(&sibling.id()).await.refused(400, "INVITATION_REVOKED");
        zoe.invite(&email, "member").await.refused(400, "INVITEE_UNAVAILABLE");
    }
    assert_eq!(
        (&ann.members().await.body["total"], &zoe.members().await.body["total"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test]
async fn an_invitation_from_before_a_removal_stays_dead() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let zoe = world.owner("zoe").await;
    let sibling = zoe.invite("bob@example.com", "member").await.expect(201);
    let mut bob = world.joins(&ann, "bob", "member").await;
    ann.remove(&bob.id).await.expect(200);
    bob.log_in().await;
    bob.accept(&sibling, json!({})).await.refused(400, "INVITATION_REVOKED");
    let fresh = zoe.invite("bob@example.com", "member").await.expect(201);
    bob.accept(&fresh, json!({})).await.expect(200);
}

#[tokio::test]
async fn declining_revokes() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    let declined = bob.decline(&issued).await.expect(200);
    assert_eq!(names(&declined.body), ["message"]);
    assert!(declined.body["message"].is_string());
    assert_eq!(owner.invitations().await.body["total"], 0);
    assert_eq!(bob.preview(&issued).await.expect(200).body["status"], "revoked");
    bob.decline(&issued).await.refused(400, "INVITATION_REVOKED");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
    owner.cancel(&issued.id()).await.refused(400, "INVITATION_REVOKED");
    let second = owner.invite("bob@example.com", "member").await.expect(201);
    bob.accept(&second, json!({"password": PASSWORD})).await.expect(200);
    bob.decline(&second).await.refused(400, "INVITATION_USED");
    assert_eq!(owner.members().await.body["total"], 2);
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
    let founder = {
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
    for person in [founder, invited] {
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

#[tokio::test]
async fn the_invite_page_is_self_contained() {
    let world = World::new().await;
    let page = world.stranger("bob").get("/invite").await.expect(200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe-inline") && !policy.contains('*'), "{policy}");
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    for outside in [
        "src=\"http",
        "href=\"http",
        "@import",
        "localStorage",
        "sessionStorage",
        "document.cookie",
    ] {
        assert!(!page.text.contains(outside), "{outside}");
    }
    assert!(page.text.contains("name=\"viewport\""));
}

#[tokio::test]
async fn times_are_utc_of_one_width() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let me = ann.get("/auth/me").await.expect(200);
    for field in ["created_at", "updated_at", "createdAt", "updatedAt"] {
        let text = me.body[field].as_str().unwrap();
        let time: Time = text.parse().unwrap();
        assert_eq!(time.to_string(), text, "{field}");
    }
}
