//! The attempts of calls to the table, which end with the deadline of their request.
//!
//! The SDK retries reads. It does not retry writes, because its retries would hide that an earlier attempt may have been
//! applied although the last one was refused. Instead, this module classifies each failed attempt of a write. A write with
//! an unknown outcome is repeated, under the same token or id, until the outcome is known. At intervals, and after the last
//! attempt, the item with the write's id is read back: it has the id if the write was applied.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::aws::describe;
use crate::deadline::Deadline;
use crate::error::Error;

/// The attempts of a batch read with unprocessed keys, and of a write that is refused temporarily.
pub(super) const ATTEMPTS_MAX: u32 = 8;

/// With less remaining time, no write is started: the caller would time out before the outcome is known. A write with an
/// unknown outcome is still repeated.
const WRITE_MIN: Duration = Duration::from_millis(300);

/// The time that is reserved for the read back after the last attempt.
const READ_BACK_RESERVE: Duration = Duration::from_millis(150);

/// What a failed attempt shows about a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The attempt was not applied, because of a concurrent write.
    Conflict,
    /// The attempt was not applied, because the table is throttled or busy.
    Throttled,
    /// The attempt may have been applied: there was no response, or the response does not say.
    UnknownOutcome,
    /// The attempt was not applied, and another attempt would not be either.
    Permanent,
}

impl FailureKind {
    /// Classifies an error of the SDK.
    pub(super) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        match error {
            SdkError::ConstructionFailure(_) => Self::Permanent,
            SdkError::ServiceError(service) => Self::of_response(service.raw().status().as_u16(), service.err().code()),
            _ => Self::UnknownOutcome,
        }
    }

    fn of_response(status: u16, code: Option<&str>) -> Self {
        match code {
            Some("TransactionConflictException" | "TransactionCanceledException") => Self::Conflict,
            Some(
                "TransactionInProgressException"
                | "ProvisionedThroughputExceededException"
                | "ThrottlingException"
                | "Throttling"
                | "RequestLimitExceeded"
                | "LimitExceededException",
            ) => Self::Throttled,
            _ if (400..500).contains(&status) => Self::Permanent,
            _ => Self::UnknownOutcome,
        }
    }
}

/// The attempts of one write.
#[derive(Debug)]
pub(super) struct WriteAttempts {
    call: &'static str,
    deadline: Deadline,
    /// When a write with an unknown outcome is read back next.
    read_back_at: Deadline,
    failed: u32,
    may_be_applied: bool,
}

impl WriteAttempts {
    /// A write before its first attempt.
    pub(super) fn of(call: &'static str) -> Self {
        let deadline = Deadline::current();
        Self {
            call,
            deadline,
            read_back_at: next_read_back(deadline),
            failed: 0,
            may_be_applied: false,
        }
    }

    /// Makes an attempt. It fails when the deadline comes before the response.
    pub(super) fn attempt<T>(&mut self, sending: impl Future<Output = T>) -> impl Future<Output = Result<T, Error>> {
        let call = self.call;
        let is_too_late = !self.may_be_applied && self.deadline.remaining() < WRITE_MIN;
        let end = self.deadline.minus(READ_BACK_RESERVE);
        // On the heap, because the SDK's futures are large and would enlarge the futures of all callers.
        let sending = Box::pin(sending);
        async move {
            if is_too_late {
                return Err(out_of_time(call));
            }
            let result = end.timeout(sending).await;
            self.may_be_applied |= result.is_none();
            result.ok_or_else(|| out_of_time(call))
        }
    }

    /// Waits before the next attempt, or fails when there will be none. A write that was refused [`ATTEMPTS_MAX`] times is
    /// given up. A write with an unknown outcome is repeated until the deadline.
    pub(super) async fn back_off<E: ProvideErrorMetadata>(
        &mut self,
        error: &SdkError<E, HttpResponse>,
    ) -> Result<(), Error> {
        let failure = FailureKind::of(error);
        self.failed += 1;
        self.may_be_applied |= failure == FailureKind::UnknownOutcome;
        let given_up = self.failed >= ATTEMPTS_MAX && !self.may_be_applied;
        match failure {
            FailureKind::Permanent => Err(unavailable(self.call, error)),
            // Concurrent writes keep winning: the caller decides again from a fresh read.
            FailureKind::Conflict if given_up => Err(Error::Stale),
            FailureKind::Throttled if given_up => Err(unavailable(self.call, error)),
            FailureKind::Conflict | FailureKind::Throttled | FailureKind::UnknownOutcome => {
                let wait = backoff(self.failed);
                let wait = if self.may_be_applied {
                    wait.min(self.read_back_at.remaining())
                } else {
                    wait
                };
                wait_within(wait, self.deadline.minus(READ_BACK_RESERVE))
                    .await
                    .map_err(|_| unavailable(self.call, error))
            }
        }
    }

    /// Reads back a write with an unknown outcome, after the last attempt and at intervals. Returns what `reading` found;
    /// none when it failed.
    pub(super) async fn read_back<T>(
        &mut self,
        have_ended: bool,
        reading: impl Future<Output = Result<Option<T>, Error>>,
    ) -> Option<T> {
        if !self.may_be_applied || !(have_ended || self.read_back_at.remaining().is_zero()) {
            return None;
        }
        let found = self.deadline.timeout(Box::pin(reading)).await;
        self.read_back_at = next_read_back(self.deadline);
        found.and_then(|read| {
            read.inspect_err(
                |error| tracing::debug!(%error, call = self.call, "write not read back; its outcome is unknown"),
            )
            .ok()
            .flatten()
        })
    }
}

/// After a third of the remaining time. A request with several writes has time for each of them, even when the table
/// responds to none.
fn next_read_back(deadline: Deadline) -> Deadline {
    deadline.minus(deadline.remaining() * 2 / 3)
}

/// Waits for the time of [`backoff`]. Fails when the deadline comes first.
pub(super) async fn pause(failed: u32, deadline: Deadline) -> Result<(), Error> {
    wait_within(backoff(failed), deadline).await
}

/// A random time to wait after `failed` attempts: up to 40 ms after the first, doubling up to 320 ms. Randomness
/// separates concurrent writers.
fn backoff(failed: u32) -> Duration {
    let most_ms = 20_u64 << failed.min(4);
    let [a, b] = crate::ids::random_bytes::<2>();
    Duration::from_millis(u64::from(u16::from_be_bytes([a, b])) % most_ms + 1)
}

async fn wait_within(wait: Duration, deadline: Deadline) -> Result<(), Error> {
    if deadline.remaining() <= wait {
        return Err(out_of_time("waiting for another attempt"));
    }
    tokio::time::sleep(wait).await;
    Ok(())
}

/// Ends a read with the deadline of its request.
pub(super) trait WithinDeadline<T> {
    /// The response of `call`; [`Error::Unavailable`] when the deadline comes first.
    fn within_deadline(self, call: &'static str) -> impl Future<Output = Result<T, Error>>;
}

impl<T, E, R, F> WithinDeadline<T> for F
where
    E: ProvideErrorMetadata,
    R: Debug,
    F: Future<Output = Result<T, SdkError<E, R>>>,
{
    fn within_deadline(self, call: &'static str) -> impl Future<Output = Result<T, Error>> {
        // On the heap, as the attempts of writes are.
        let sending = Box::pin(self);
        async move {
            let result = Deadline::current().timeout(sending).await;
            result
                .ok_or_else(|| out_of_time(call))?
                .map_err(|error| unavailable(call, &error))
        }
    }
}

fn out_of_time(call: &str) -> Error {
    Error::Unavailable(format!("{call}: out of time"))
}

/// The error of a failed call: [`Error::Internal`] for a fault of this program, [`Error::Unavailable`] otherwise.
pub(super) fn unavailable<E: ProvideErrorMetadata, R>(call: &str, error: &SdkError<E, R>) -> Error {
    let described = format!("{call}: {}", describe(error));
    match error {
        SdkError::ConstructionFailure(_) => Error::Internal(described),
        SdkError::ServiceError(service) => match service.err().code() {
            // Each transaction has its own token, so that reuse of a token is a fault of this program.
            Some("IdempotentParameterMismatchException") => Error::Internal(described),
            Some("ValidationException") => Error::Internal(format!(
                "{described}: {}",
                service.err().message().unwrap_or("no message")
            )),
            _ => Error::Unavailable(described),
        },
        _ => Error::Unavailable(described),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_shows_whether_a_write_may_have_been_applied() {
        for (status, code, kind) in [
            (400, Some("TransactionConflictException"), FailureKind::Conflict),
            (400, Some("TransactionCanceledException"), FailureKind::Conflict),
            (400, Some("TransactionInProgressException"), FailureKind::Throttled),
            (
                400,
                Some("ProvisionedThroughputExceededException"),
                FailureKind::Throttled,
            ),
            (400, Some("ThrottlingException"), FailureKind::Throttled),
            (400, Some("RequestLimitExceeded"), FailureKind::Throttled),
            (400, Some("ValidationException"), FailureKind::Permanent),
            (
                400,
                Some("IdempotentParameterMismatchException"),
                FailureKind::Permanent,
            ),
            (400, Some("ResourceNotFoundException"), FailureKind::Permanent),
            (500, Some("InternalServerError"), FailureKind::UnknownOutcome),
            (503, None, FailureKind::UnknownOutcome),
            (200, None, FailureKind::UnknownOutcome),
        ] {
            assert_eq!(FailureKind::of_response(status, code), kind, "{status} {code:?}");
        }
    }

    /// The attempts of a write with this remaining time.
    async fn attempts(remaining: Duration) -> WriteAttempts {
        Deadline::after(remaining)
            .scope(async { WriteAttempts::of("UpdateItem") })
            .await
    }

    #[tokio::test]
    async fn a_write_with_an_unknown_outcome_is_read_back_when_that_is_due() {
        for (may_be_applied, is_due, have_ended, is_read_back) in [
            (true, false, false, false),
            (true, true, false, true),
            (true, false, true, true),
            (false, true, false, false),
            (false, true, true, false),
        ] {
            let mut attempts = attempts(Duration::from_secs(9)).await;
            let third = attempts.read_back_at.remaining();
            assert!(
                third <= Duration::from_secs(3) && third > Duration::from_secs(2),
                "{third:?}"
            );
            attempts.may_be_applied = may_be_applied;
            if is_due {
                attempts.read_back_at = Deadline::after(Duration::ZERO);
            }
            let found = attempts.read_back(have_ended, async { Ok(Some(())) }).await;
            assert_eq!(found.is_some(), is_read_back, "{may_be_applied} {is_due} {have_ended}");
            if is_read_back {
                assert!(
                    attempts.read_back_at.remaining() > Duration::from_secs(2),
                    "the next read back is due after another third"
                );
            }
        }
    }

    #[tokio::test]
    async fn an_attempt_leaves_time_for_the_read_back() {
        let mut hung = attempts(WRITE_MIN + Duration::from_millis(100)).await;
        assert!(hung.attempt(std::future::pending::<()>()).await.is_err());
        assert!(hung.deadline.remaining() > Duration::ZERO);
        assert_eq!(hung.read_back(true, async { Ok(Some(1)) }).await, Some(1));
        // A read back that fails or comes too late finds nothing.
        let unread = async { Err::<Option<()>, _>(out_of_time("BatchGetItem")) };
        assert_eq!(hung.read_back(true, unread).await, None);
        assert_eq!(
            hung.read_back(true, std::future::pending::<Result<Option<()>, Error>>())
                .await,
            None
        );
        // A write that was not started is not read back.
        let mut late = attempts(WRITE_MIN / 2).await;
        assert!(late.attempt(async {}).await.is_err());
        assert_eq!(late.read_back(true, async { Ok(Some(1)) }).await, None);
    }
}
