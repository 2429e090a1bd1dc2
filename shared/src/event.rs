//! Calls by triggers (a queue, a schedule, an event bus): what they share with Lambda's runtime, the local stack and
//! the tests.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::app::App;
use crate::error::Error;

/// When a call has to have ended.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `left` from now.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        Self(Instant::now() + left)
    }

    /// How much time is left.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

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

/// Calls `handle` with a raw event; the answer is JSON, too. A panic is a failure that says no more: what it said would
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
    let answer = AssertUnwindSafe(async { handle(app, event, deadline).await })
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Error::Internal("the function panicked".to_owned())))?;
    serde_json::to_vec(&answer).map_err(|error| EventError::Failed(Error::Internal(format!("the answer: {error}"))))
}
