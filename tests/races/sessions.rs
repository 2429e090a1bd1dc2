//! Concurrent use and revocation of tokens and sessions. After every race the whole table is checked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::races::setup::{concurrently, count, request, summary, world};
use crate::support::harness::{ApiResponse, PASSWORD, Person};
use crate::support::invariants;

/// Clients that use the tokens of one person.
const CLIENTS: u32 = 6;

/// Reads and refreshes with the tokens of `person` without a pause while `request` ends these tokens. Asserts that
/// every request is refused that was sent after the response to `request`.
async fn assert_tokens_end(person: &Person<'static>, request: BoxFuture<'static, ApiResponse>) {
    let done: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let first_responses: &'static Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    let clients: Vec<JoinHandle<Vec<(Instant, ApiResponse)>>> = (0..CLIENTS)
        .map(|number| {
            let person = person.clone();
            tokio::spawn(async move {
                let mut responses = Vec::new();
                let mut after = 0;
                while after < 5 {
                    after += u32::from(done.load(Ordering::SeqCst));
                    let sent_at = Instant::now();
                    let response = match number % 3 {
                        0 => person.members().await,
                        1 => person.get("/auth/me").await,
                        _ => person.refresh().await,
                    };
                    if responses.is_empty() {
                        first_responses.add_permits(1);
                    }
                    responses.push((sent_at, response));
                }
                responses
            })
        })
        .collect();
    first_responses.acquire_many(CLIENTS).await.unwrap().forget();
    let response = request.await;
    let ended_at = Instant::now();
    done.store(true, Ordering::SeqCst);
    response.expect(200);
    let mut accepted_before = 0;
    for responses in join_all(clients).await {
        for (sent_at, response) in responses.unwrap() {
            assert!(response.status.as_u16() < 500, "{}", response.text);
            if sent_at > ended_at {
                response.refused(401, "TOKEN_REVOKED");
            } else {
                accepted_before += usize::from(response.status == 200);
            }
        }
    }
    assert!(accepted_before > 0, "no token was accepted before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_are_refused_once_the_request_that_ends_them_has_a_response() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let mut ben = world.joins(&ann, "ben", "manager").await;
    let id = ben.id.clone();
    assert_tokens_end(&ben, request!(ann, |caller| caller.change_role(&id, "member"))).await;
    ben.log_in().await;
    assert_tokens_end(&ben, request!(ben, |caller| caller.post("/auth/logout", json!({})))).await;
    ben.log_in().await;
    assert_tokens_end(&ben, request!(ann, |caller| caller.revoke_all())).await;
    ben.log_in().await;
    let mut ann = ann;
    ann.log_in().await;
    let id = ben.id.clone();
    assert_tokens_end(&ben, request!(ann, |caller| caller.remove(&id))).await;
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_eight_concurrent_requests_to_revoke_all_sessions_passes_the_limit() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let responses = concurrently((0..8).map(|_| request!(ann, |caller| caller.revoke_all()))).await;
    assert_eq!(count(&responses, 200), 1, "{:?}", summary(&responses));
    assert_eq!(
        count(&responses, 401) + count(&responses, 429),
        7,
        "{:?}",
        summary(&responses)
    );
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_refreshes_of_one_token_get_the_same_successor() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let responses = concurrently((0..8).map(|_| request!(ann, |caller| caller.refresh()))).await;
    assert_eq!(count(&responses, 200), 8, "{:?}", summary(&responses));
    let successor = &responses[0].body["refresh_token"];
    assert!(
        responses
            .iter()
            .all(|response| &response.body["refresh_token"] == successor)
    );
    let mut ann = ann;
    ann.take_tokens(&responses[0]);
    ann.refresh().await.expect(200);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_logins_leave_at_most_sixteen_sessions() {
    let world = world().await;
    let ann = world.owner("ann").await;
    for _ in 0..2 {
        world.pass(61);
        let responses = concurrently((0..12).map(|_| {
            let body = json!({"email": ann.email, "password": PASSWORD});
            request!(ann.signed_out(), |caller| caller.post("/auth/login", body))
        }))
        .await;
        assert_eq!(count(&responses, 200), 12, "{:?}", summary(&responses));
    }
    invariants::check(world).await;
}
