//! Refusals: the order of checks, the headers of every response, and panics.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::faults::requests::{BODY_BYTES_MAX, SampleWorkspace, UNKNOWN, conforming};
use crate::support::harness::{ApiResponse, PASSWORD, Person, World, operations};

#[tokio::test]
async fn checks_are_made_in_the_order_of_the_contract() {
    let world = World::new().await;
    let owner = world.owner("owner").await;
    let manager = world.joins(&owner, "manager", "manager").await;
    let member = world.joins(&owner, "member", "member").await;
    let mut none = world.joins(&owner, "none", "member").await;
    owner.remove(&none.id).await.expect(200);
    none.log_in().await;
    let anonymous = world.stranger("anonymous");
    let (unknown, garbage) = (format!("/workspaces/members/{UNKNOWN}"), "{");
    let large = vec![b'{'; BODY_BYTES_MAX + 1];

    let forged = Person {
        access: Some("a.b.c".to_owned()),
        ..owner.clone()
    };
    conforming(anonymous.raw("PATCH", &unknown, large.clone()).await).refused(413, "PAYLOAD_TOO_LARGE");
    conforming(forged.raw("PATCH", &unknown, large).await).refused(413, "PAYLOAD_TOO_LARGE");
    conforming(anonymous.raw("PATCH", &unknown, garbage).await).refused(401, "TOKEN_MISSING");
    conforming(forged.raw("PATCH", &unknown, garbage).await).refused(401, "TOKEN_INVALID");
    let mut member = member;
    member.log_in().await;
    member.post("/auth/logout", json!({})).await.expect(200);
    conforming(member.raw("PATCH", &unknown, garbage).await).refused(401, "TOKEN_REVOKED");
    member.log_in().await;
    conforming(none.raw("PATCH", &unknown, garbage).await).refused(404, "WORKSPACE_NOT_FOUND");
    conforming(member.raw("PATCH", &unknown, garbage).await).refused(403, "FORBIDDEN");
    conforming(member.get("/workspaces/invitations?limit=0").await).refused(403, "FORBIDDEN");
    conforming(none.get("/workspaces/members?limit=0").await).refused(404, "WORKSPACE_NOT_FOUND");
    conforming(manager.raw("PATCH", &unknown, garbage).await).refused(422, "VALIDATION_ERROR");
    conforming(manager.raw("PATCH", &unknown, r#"{"role":"owner"}"#).await).refused(404, "MEMBER_NOT_FOUND");
    conforming(manager.raw("PATCH", &unknown, r#"{"role":"king"}"#).await).refused(404, "MEMBER_NOT_FOUND");
    let on_owner = format!("/workspaces/members/{}", owner.id);
    conforming(manager.raw("PATCH", &on_owner, r#"{"role":"king"}"#).await).refused(403, "FORBIDDEN");
    conforming(owner.raw("PATCH", &on_owner, r#"{"role":"king"}"#).await).refused(400, "INVALID_ROLE");

    let invitations = "/workspaces/invitations";
    conforming(none.raw("POST", invitations, garbage).await).refused(404, "WORKSPACE_NOT_FOUND");
    conforming(member.raw("POST", invitations, garbage).await).refused(403, "FORBIDDEN");
    conforming(manager.raw("POST", invitations, garbage).await).refused(422, "VALIDATION_ERROR");
    // A refusal by a rule takes a slot of the limit. A refusal of the body or of the caller's role takes none.
    for _ in 0..10 {
        conforming(manager.invite(&manager.email, "member").await).refused(400, "SELF_INVITE");
    }
    conforming(manager.raw("POST", invitations, garbage).await).refused(422, "VALIDATION_ERROR");
    conforming(manager.invite("guest@example.com", "owner").await).refused(403, "FORBIDDEN");
    conforming(manager.invite(&manager.email, "member").await).refused(429, "RATE_LIMITED");
    conforming(manager.invite("no address", "member").await).refused(429, "RATE_LIMITED");
    conforming(manager.invite("guest@example.com", "king").await).refused(429, "RATE_LIMITED");
    conforming(manager.resend(UNKNOWN).await).refused(404, "INVITATION_NOT_FOUND");
    let for_owner = owner.invite("guest@example.com", "owner").await.expect(201).id();
    conforming(manager.resend(&for_owner).await).refused(403, "FORBIDDEN");
    conforming(
        manager
            .raw("PATCH", &format!("{invitations}/{for_owner}"), garbage)
            .await,
    )
    .refused(422, "VALIDATION_ERROR");
    conforming(manager.extend(UNKNOWN, "2000-01-01T00:00:00Z").await).refused(404, "INVITATION_NOT_FOUND");
    conforming(manager.extend(&for_owner, "2000-01-01T00:00:00Z").await).refused(403, "FORBIDDEN");
    conforming(owner.extend(&for_owner, "2000-01-01T00:00:00Z").await).refused(400, "INVALID_EXPIRY");
}

#[tokio::test]
async fn every_response_has_the_required_headers() {
    let world = World::new().await;
    let sample = SampleWorkspace::new(&world).await;
    for operation in operations() {
        let path = operation.about(&sample.id(&operation.path));
        for person in [sample.owner.clone(), sample.owner.signed_out()] {
            if operation.method != "GET" && !operation.open && person.access.is_some() {
                continue;
            }
            conforming(person.call(&operation.method, &path, None).await);
        }
    }
    let responses = [
        sample.owner.put("/workspaces/", json!({"name": "Name"})).await,
        sample.owner.invite("another@example.com", "member").await,
        sample.owner.change_role(&sample.member.id, "manager").await,
        sample
            .owner
            .signed_out()
            .post(
                "/auth/login",
                json!({"email": sample.owner.email, "password": PASSWORD}),
            )
            .await,
        sample.owner.revoke_all().await,
    ];
    for response in responses {
        assert!(conforming(response).status.is_success());
    }
}

#[tokio::test]
async fn a_panic_gets_500_and_reveals_nothing() {
    let world = World::with(|config| config.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let broken = || async { "hunter2".parse::<u8>().expect("the password is hunter2").to_string() };
    let routes = OpenApiRouter::from(axum::Router::new().route("/broken", axum::routing::get(broken)));
    let request = Request::get("/broken").header("origin", "https://app.example");
    let response = shared::http::finish(routes, world.app.clone())
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let response = ApiResponse::read(response).await;
    assert!(!response.text.contains("hunter2"), "{}", response.text);
    assert!(uuid::Uuid::try_parse(response.header("x-request-id").unwrap()).is_ok());
    assert_eq!(
        response.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    response.refused(500, "INTERNAL_ERROR");
}
