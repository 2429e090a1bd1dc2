//! Helpers of the races: concurrent requests and summaries of their responses.

use futures::future::{BoxFuture, join_all};
use tokio::task::JoinHandle;

use crate::support::harness::{ApiResponse, World};

/// A world that is never dropped, so that requests can run on their own tasks.
pub async fn world() -> &'static World {
    Box::leak(Box::new(World::new().await))
}

/// Sends concurrent requests, each on its own task. Asserts that none of them fails with a 5xx status.
pub async fn concurrently(requests: impl IntoIterator<Item = BoxFuture<'static, ApiResponse>>) -> Vec<ApiResponse> {
    let tasks: Vec<JoinHandle<ApiResponse>> = requests.into_iter().map(tokio::spawn).collect();
    let responses: Vec<ApiResponse> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    for response in &responses {
        assert!(response.status.as_u16() < 500, "{}", response.text);
    }
    responses
}

/// A request of a person, as a future that owns everything it needs.
macro_rules! request {
    ($person:expr, |$caller:ident| $request:expr) => {{
        let $caller = $person.clone();
        let request: futures::future::BoxFuture<'static, $crate::support::harness::ApiResponse> =
            Box::pin(async move { $request.await });
        request
    }};
}

pub(super) use request;

pub fn count(responses: &[ApiResponse], status: u16) -> usize {
    responses
        .iter()
        .filter(|response| response.status.as_u16() == status)
        .count()
}

/// Status and error code of each response.
pub fn summary(responses: &[ApiResponse]) -> Vec<String> {
    responses
        .iter()
        .map(|response| format!("{} {}", response.status.as_u16(), response.body["error_code"]))
        .collect()
}
