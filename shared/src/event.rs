//! Calls by triggers: a queue, a schedule or an event bus. Lambda's runtime, the local stack and the tests call a
//! function in the same way.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::app::App;
pub use crate::deadline::Deadline;
use crate::deadline::RESPONSE_RESERVE;
use crate::error::Error;
use crate::{ids, telemetry};

/// Why a function did not do what an event asked for.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The event does not have the form that the function expects.
    #[error("the event is none that this function takes: {0}")]
    Malformed(String),
    /// The function failed. The trigger may call again.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Calls `handle` with a raw event, under a new request id.
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
    let request_id = ids::uuid_v7(app.now()).to_string();
    call_with_id(&request_id, handle, app, event, deadline).await
}

/// Calls `handle` with a raw event, in the span of the request id. Returns the response as JSON. Calls to the table end
/// in time for a response before `deadline`. The error of a panic leaves out the panic's message, because the error
/// goes to the trigger and with the event into a dead-letter queue.
pub(crate) async fn call_with_id<E, A, F>(
    request_id: &str,
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
    let span = telemetry::request_span(&app.config.function, request_id);
    let calling = async {
        let event = serde_json::from_slice(event).map_err(|error| malformed(&error))?;
        let handling = async { handle(app, event, deadline).await };
        let response = AssertUnwindSafe(deadline.minus(RESPONSE_RESERVE).scope_per_step(handling))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Error::Internal("the function panicked".to_owned())))
            .and_then(|response| {
                serde_json::to_vec(&response).map_err(|error| Error::Internal(format!("the response: {error}")))
            });
        response.map_err(|error| {
            tracing::error!(%error, "event failed");
            EventError::Failed(error)
        })
    };
    // On the heap, because the futures of callers would hold it otherwise.
    Box::pin(calling.instrument(span)).await
}

/// Logs where a malformed event is wrong. The log leaves out the parser's message, which may quote the event.
fn malformed(error: &serde_json::Error) -> EventError {
    tracing::error!(line = error.line(), column = error.column(), "event is malformed");
    EventError::Malformed(error.to_string())
}
