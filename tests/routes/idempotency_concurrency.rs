//! Idempotency keys under concurrent requests, lost responses and stale reads.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::routes::idempotency::{KEY, assert_replayed, without_workspace};
use crate::routes::mail_retry::mails_to;
use crate::support::fault_injection::{self, FOREVER, Loss};
use crate::support::harness::{ApiResponse, PASSWORD, World};
use crate::support::invariants;

/// A batch read that misses the idempotency record.
const RECORD_MISSED: fault_injection::Fault = fault_injection::Fault::Overlooked("IDEMPOTENCY#");

/// Sends 16 concurrent requests, each on its own task. Returns their response, which must be the same for all.
async fn send_sixteen<F: Future<Output = ApiResponse> + Send + 'static>(request: impl Fn() -> F) -> ApiResponse {
    let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(request())).collect();
    let responses: Vec<ApiResponse> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    for response in &responses {
        assert_replayed(&responses[0], response);
    }
    responses[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_concurrent_requests_under_one_key_have_one_effect() {
    let world: &'static World = Box::leak(Box::new(World::new().await));
    let ann = world.owner("ann").await;
    // One slot of the limit is left, so that only one of the requests may take a slot.
    for number in 0..9 {
        ann.invite(&format!("guest{number}@example.com"), "member")
            .await
            .expect(201);
    }
    let caller = ann.clone();
    let invite = move || {
        let caller = caller.clone();
        async move { caller.invite_with_key(KEY, "ben@example.com").await }
    };
    let issued = send_sixteen(invite).await.expect(201);
    assert_eq!(issued.body["delivery"]["status"], "sent");
    assert_eq!(mails_to(world, "ben@example.com"), 1);
    assert_eq!(ann.invitations().await.body["total"], 10);

    let (caller, id) = (ann.clone(), issued.id());
    let resend_request = move || {
        let (caller, id) = (caller.clone(), id.clone());
        async move { caller.resend_with_key(KEY, &id).await }
    };
    let resent = send_sixteen(resend_request).await.expect(200);
    assert_eq!(mails_to(world, "ben@example.com"), 2);
    assert_eq!(ann.invitations().await.body["total"], 10);
    world
        .stranger("ben")
        .accept(&resent, json!({"password": PASSWORD}))
        .await
        .expect(200);

    let bob = without_workspace(world, "bob").await;
    let caller = bob.clone();
    let create = move || {
        let caller = caller.clone();
        async move { caller.create_workspace_with_key(KEY, "Acme").await }
    };
    let created = send_sixteen(create).await.expect(201);
    assert_eq!(bob.workspace().await.expect(200).body, created.body);
    assert_eq!(world.rows(&["S(\"slug\")", "S(\"SLUG#acme"]).await.len(), 1);
    invariants::check(world).await;
}

#[tokio::test]
async fn a_retry_completes_a_request_whose_responses_from_dynamodb_were_lost() {
    for lost in [1, 2, FOREVER] {
        let mut world = World::new().await;
        world.request_time_limit = Duration::from_secs(3);
        let ann = world.owner("ann").await;
        let fault = fault_injection::Fault::Lost(Loss::Failed);
        world.faults.next(&["TransactWriteItems"], lost, fault);
        ann.invite_with_key(KEY, "ben@example.com").await;
        world.faults.stop();
        let issued = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
        assert_eq!(ann.invitations().await.body["total"], 1, "{lost}");
        assert_eq!(world.rows(&["S(\"invitation\")"]).await.len(), 1, "{lost}");
        assert!(mails_to(&world, "ben@example.com") <= 1, "{lost}");
        world
            .stranger("ben")
            .accept(&issued, json!({"password": PASSWORD}))
            .await
            .expect(200);
        invariants::check(&world).await;
    }
}

#[tokio::test]
async fn a_retry_is_replayed_even_if_the_first_read_missed_the_record() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for number in 0..9 {
        ann.invite(&format!("guest{number}@example.com"), "member")
            .await
            .expect(201);
    }
    let issued = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
    let table = world.dump().await;
    // The first request took the last slot of the limit.
    world.faults.next(&["BatchGetItem"], 1, RECORD_MISSED);
    assert_replayed(&issued, &ann.invite_with_key(KEY, "ben@example.com").await);
    assert_eq!(world.dump().await, table);
    let resent = ann.resend_with_key(KEY, &issued.id()).await.expect(200);
    let table = world.dump().await;
    world.faults.next(&["BatchGetItem"], 1, RECORD_MISSED);
    assert_replayed(&resent, &ann.resend_with_key(KEY, &issued.id()).await);
    assert_eq!(world.dump().await, table);
    let bob = without_workspace(&world, "bob").await;
    let created = bob.create_workspace_with_key(KEY, "Acme").await.expect(201);
    let table = world.dump().await;
    world.faults.next(&["BatchGetItem"], 2, RECORD_MISSED);
    assert_replayed(&created, &bob.create_workspace_with_key(KEY, "Acme").await);
    assert_eq!(world.dump().await, table);
    // Slots are left here, so that the condition of the transaction detects the record.
    let cleo = world.owner("cleo").await;
    let issued = cleo.invite_with_key(KEY, "dan@example.com").await.expect(201);
    let table = world.dump().await;
    world.faults.next(&["BatchGetItem"], 1, RECORD_MISSED);
    assert_replayed(&issued, &cleo.invite_with_key(KEY, "dan@example.com").await);
    assert_eq!(world.dump().await, table);
}

#[tokio::test]
async fn a_replay_shows_queued_if_the_delivery_status_could_not_be_stored() {
    let mut world = World::new().await;
    world.request_time_limit = Duration::from_secs(5);
    let ann = world.owner("ann").await;
    // The mail is sent, and neither its delivery status nor the result of the request can be stored.
    world
        .faults
        .next(&["UpdateItem"], FOREVER, fault_injection::Fault::Refused);
    let first = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
    world.faults.stop();
    assert_eq!(first.body["delivery"]["status"], "queued");
    assert_replayed(&first, &ann.invite_with_key(KEY, "ben@example.com").await);
    assert_eq!(mails_to(&world, "ben@example.com"), 1);
    // Both are stored, the responses of DynamoDB are lost, and a read back shows that they are stored.
    let mut world = World::new().await;
    world.request_time_limit = Duration::from_secs(7);
    let ann = world.owner("ann").await;
    world
        .faults
        .next(&["UpdateItem"], FOREVER, fault_injection::Fault::Lost(Loss::Failed));
    let first = ann.invite_with_key("read-back", "cleo@example.com").await.expect(201);
    world.faults.stop();
    assert_eq!(first.body["delivery"]["status"], "sent");
    assert_replayed(&first, &ann.invite_with_key("read-back", "cleo@example.com").await);
    assert_eq!(mails_to(&world, "cleo@example.com"), 1);
    invariants::check(&world).await;
}
