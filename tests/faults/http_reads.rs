//! Requests while reads fail, and a handler that does not end.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use futures::{StreamExt, stream};
use serde_json::json;
use shared::deadline::Deadline;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::faults::CONCURRENT_CASES;
use crate::faults::http_operations::Scenario;
use crate::support::fault_injection::{FOREVER, Fault, Keys, Loss, READS, Throttle};
use crate::support::harness::{ApiResponse, World, operations};

/// Deadline of a request where reads get no response.
const SHORT: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn requests_are_refused_with_503_if_the_caller_cannot_be_read() {
    let world = World::new().await;
    let scenario = &Scenario::new(&world).await;
    let closed: Vec<_> = operations().into_iter().filter(|operation| !operation.open).collect();
    let cases = closed.iter().flat_map(|operation| {
        let on_reads = [Keys::Of("USER#"), Keys::Of("WS#"), Keys::All].map(Fault::Unprocessed);
        on_reads.map(|fault| (operation, fault))
    });
    stream::iter(cases)
        .map(|(operation, fault)| async move {
            let case = format!("{} {fault:?}", operation.name());
            let world = scenario.world().await;
            let before = world.dump().await;
            world.faults.next(&["BatchGetItem"], FOREVER, fault);
            let setup = scenario.setup.in_world(&world);
            let path = operation.about(&setup.guest_invitation);
            let response = setup
                .person("ann")
                .call(&operation.method, &path, Some(json!({"name": "x"})));
            let response = response.await;
            assert_eq!(response.status.as_u16(), 503, "{case}: {}", response.text);
            assert!(response.header("retry-after").is_some(), "{case}");
            assert_eq!(world.dump().await, before, "{case}");
        })
        .buffer_unordered(CONCURRENT_CASES)
        .collect::<()>()
        .await;
}

#[tokio::test]
async fn failed_reads_are_retried_and_batch_reads_are_completed() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for fault in [
        Fault::Refused,
        Fault::Failed,
        Fault::Lost(Loss::Cut),
        Fault::Throttled(Throttle::Service),
    ] {
        for (operation, path) in [("BatchGetItem", "/workspaces/"), ("Query", "/workspaces/members")] {
            let on: &[&str] = if operation == "Query" {
                &["Query"]
            } else {
                &["BatchGetItem"]
            };
            world.faults.next(on, 1, fault);
            ann.get(path).await.expect(200);
        }
    }
    for keys in [Keys::All, Keys::Some] {
        world.faults.next(READS, 3, Fault::Unprocessed(keys));
        ann.get("/workspaces/").await.expect(200);
    }
}

#[tokio::test]
async fn a_request_gets_503_before_its_deadline_if_reads_get_no_response() {
    let mut world = World::new().await;
    world.request_time_limit = SHORT;
    let ann = world.owner("ann").await;
    world.faults.next(READS, FOREVER, Fault::TimedOut);
    let began = Instant::now();
    ann.get("/workspaces/members").await.refused(503, "SERVICE_UNAVAILABLE");
    assert!(
        began.elapsed() < SHORT + Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_handler_that_does_not_end_gets_503() {
    let world = World::with(|config| config.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let never = || std::future::pending::<String>();
    let routes = OpenApiRouter::from(axum::Router::new().route("/never", axum::routing::get(never)));
    let request = Request::get("/never").header("origin", "https://app.example");
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Deadline::after(Duration::ZERO));
    let response = shared::http::finish(routes, world.app.clone()).oneshot(request).await;
    let response = ApiResponse::read(response.unwrap()).await;
    assert!(response.header("access-control-allow-origin").is_some());
    assert!(response.header("retry-after").is_some());
    response.refused(503, "SERVICE_UNAVAILABLE");
}
