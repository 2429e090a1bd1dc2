//! The worked example of `CONTRIBUTING.md`, called through its router.

use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt;

use crate::support::harness::{ApiResponse, World};

#[tokio::test]
async fn the_worked_example_greets_a_member_and_requires_a_token() {
    const PATH: &str = "/api/v1/workspaces/greeting";
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let router = greetings::router(world.app.clone());

    let request = owner.request("GET", PATH).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let greeting = ApiResponse::read(response).await.expect(200);
    assert_eq!(greeting.body["greeting"], "Welcome to ann and company.");
    assert!(greeting.header("x-request-id").is_some_and(|id| !id.is_empty()));

    let request = Request::builder().uri(PATH).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    ApiResponse::read(response).await.refused(401, "TOKEN_MISSING");
}
