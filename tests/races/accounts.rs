//! Concurrent registrations, logins and creations of workspaces. After every race the whole table is checked.

use serde_json::json;

use crate::races::setup::{concurrently, count, request, summary, world};
use crate::support::harness::PASSWORD;
use crate::support::invariants;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_six_concurrent_registrations_of_an_email_address_wins() {
    let world = world().await;
    let responses = concurrently((0..6).map(|number| {
        let ann = world.stranger("ann");
        let body = json!({"email": "Ann@example.com", "password": PASSWORD, "name": "Ann", "company": format!("Company {number}")});
        request!(ann, |caller| caller.post("/auth/register", body))
    }))
    .await;
    assert_eq!(
        (count(&responses, 201), count(&responses, 400)),
        (1, 5),
        "{:?}",
        summary(&responses)
    );
    for response in responses.into_iter().filter(|response| response.status == 400) {
        response.refused(400, "EMAIL_TAKEN");
    }
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrently_created_workspaces_of_the_same_name_get_different_slugs() {
    let world = world().await;
    let responses = concurrently((0..6).map(|number| {
        let person = world.stranger(&format!("person{number}"));
        let body = json!({"email": person.email, "password": PASSWORD, "name": "Ann", "company": "One name"});
        request!(person, |caller| caller.post("/auth/register", body))
    }))
    .await;
    assert_eq!(count(&responses, 201), 6, "{:?}", summary(&responses));
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_six_concurrent_requests_to_create_a_workspace_wins() {
    let world = world().await;
    let ann = world.owner("ann").await;
    ann.delete("/workspaces/").await.expect(200);
    let responses = concurrently((0..6).map(|number| {
        request!(ann, |caller| caller
            .post("/workspaces/", json!({"name": format!("Number {number}")})))
    }))
    .await;
    assert_eq!(
        (count(&responses, 201), count(&responses, 400)),
        (1, 5),
        "{:?}",
        summary(&responses)
    );
    for response in responses.into_iter().filter(|response| response.status == 400) {
        response.refused(400, "ALREADY_IN_WORKSPACE");
    }
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifteen_of_forty_concurrent_logins_to_one_account_pass_the_limit() {
    let world = world().await;
    let ann = world.owner("ann").await;
    world.pass(61);
    let responses = concurrently((0..40).map(|number| {
        let guesser = world.stranger("guesser");
        let body = json!({"email": ann.email, "password": format!("guess number {number}")});
        request!(guesser, |caller| caller.post("/auth/login", body))
    }))
    .await;
    assert_eq!(
        (count(&responses, 401), count(&responses, 429)),
        (15, 25),
        "{:?}",
        summary(&responses)
    );
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_of_eighty_concurrent_logins_from_one_ip_address_pass_the_limit() {
    let world = world().await;
    let guesser = world.stranger("guesser");
    let responses = concurrently((0..80).map(|number| {
        let body = json!({"email": format!("person{number}@example.com"), "password": PASSWORD});
        request!(guesser, |caller| caller.post("/auth/login", body))
    }))
    .await;
    assert_eq!(
        (count(&responses, 401), count(&responses, 429)),
        (60, 20),
        "{:?}",
        summary(&responses)
    );
    invariants::check(world).await;
}
