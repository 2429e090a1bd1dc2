//! Requests that mean no good, or make no sense. Whatever comes, the answer is one of the contract's, and nothing
//! changes.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use serde_json::{Value, json};
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, operations};
use crate::support::invariants::read_without_limits;

const BODY_BYTES_MAX: usize = 64 * 1024;
pub const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";

/// What holds of every answer, and of every refusal besides.
#[track_caller]
pub fn proper(answer: ApiResponse) -> ApiResponse {
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
pub struct Scene<'w> {
    pub owner: Person<'w>,
    pub member: Person<'w>,
    pub invitation: ApiResponse,
}

impl<'w> Scene<'w> {
    pub async fn new(world: &'w World) -> Self {
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
    let before = read_without_limits(&world).await;
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
            let faults = proper(answer).invalid_fields();
            assert!(
                faults.iter().all(|fault| fault.starts_with("body")),
                "{} {name}: {faults:?}",
                operation.name()
            );
        }
    }
    assert_eq!(read_without_limits(&world).await, before);
}

#[tokio::test]
async fn a_strange_text_is_taken_for_what_it_is() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    let before = read_without_limits(&world).await;
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
    assert_eq!(read_without_limits(&world).await, before);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_all_else() {
    let world = World::new().await;
    let scene = Scene::new(&world).await;
    let before = read_without_limits(&world).await;
    for operation in operations() {
        for caller in [scene.owner.clone(), scene.owner.signed_out()] {
            let path = operation.about(&scene.id(&operation.path));
            let answer = caller
                .raw(&operation.method, &path, vec![b' '; BODY_BYTES_MAX + 1])
                .await;
            proper(answer).refused(413, "PAYLOAD_TOO_LARGE");
        }
    }
    assert_eq!(read_without_limits(&world).await, before);
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

pub async fn send(world: &World, request: Builder) -> ApiResponse {
    world
        .send(request.body(Body::empty()).unwrap(), [10, 9, 9, 9].into())
        .await
}

pub fn get(path: &str) -> Builder {
    Request::builder().method("GET").uri(path)
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
                assert_eq!(proper(answer).invalid_fields(), [format!("query.{name}")]);
            }
        }
        for limit in ["0", too_many] {
            let answer = scene.owner.get(&format!("{path}?limit={limit}")).await;
            assert_eq!(proper(answer).invalid_fields(), ["query.limit"], "{limit}");
        }
        for cursor in cursors {
            let answer = scene.owner.get(&format!("{path}?cursor={cursor}")).await;
            assert_eq!(answer.status, 422, "{path} cursor={cursor:.30}: {}", answer.text);
            assert_eq!(proper(answer).invalid_fields(), ["query.cursor"]);
        }
        let both = scene.owner.get(&format!("{path}?limit=0&cursor=x")).await;
        assert_eq!(proper(both).invalid_fields(), ["query.cursor", "query.limit"]);
        for harmless in ["?", "?&&&=", "?unknown=1", "?limit=1&unknown", "?limit=1&limit=1"] {
            proper(scene.owner.get(&format!("{path}{harmless}")).await.expect(200));
        }
    }
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
    let answer = ApiResponse::read(response).await;
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    assert!(uuid::Uuid::try_parse(answer.header("x-request-id").unwrap()).is_ok());
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    answer.refused(500, "INTERNAL_ERROR");
}
