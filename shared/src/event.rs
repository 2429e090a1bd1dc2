//! Calls by triggers (a queue, a schedule, an event bus): what they share with Lambda's runtime, the local stack and
//! the tests.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
pub use crate::deadline::Deadline;
use crate::deadline::RESPONSE_RESERVE;
use crate::error::Error;

/// Why a function did not do what an event asked for.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The event is none that the function takes.
    #[error("the event is none that this function takes: {0}")]
    Malformed(String),
    /// The function failed; whoever called may call again.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Calls `handle` with a raw event; the answer is JSON, too. Calls to the table end in time for it to answer before
/// `deadline`. A panic is a failure that says no more: what it said would
/// else go to the caller, and with the event into a dead-letter queue.
pub async fn call<E, A, F>(
    handle: impl FnOnce(App, E, Deadline) -> F,
    app: App,
    event: &[u8],
    deadline: Deadline,
) -> Result<Vec<u8>, EventError>
where
    E: DeserializeOwned,
    A: Serialize,
    F: Future<Output = Result<A, Error>>,
{
    let event = serde_json::from_slice(event).map_err(|error| EventError::Malformed(error.to_string()))?;
    let handling = async { handle(app, event, deadline).await };
    let answer = AssertUnwindSafe(deadline.minus(RESPONSE_RESERVE).scope_per_step(handling))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Error::Internal("the function panicked".to_owned())))?;
    serde_json::to_vec(&answer).map_err(|error| EventError::Failed(Error::Internal(format!("the answer: {error}"))))
}
