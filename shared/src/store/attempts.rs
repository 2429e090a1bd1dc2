//! How calls to the table are tried, and for how long: until the deadline of the request they are made for.
//!
//! Reads are tried again by the SDK. Writes are not: behind its retries nobody would see that a try may have been applied
//! although the last one was refused. So each try of a write is weighed here, and one whose outcome is unknown is
//! repeated, under the same token or id, until the outcome is known. Now and then, and when the tries end, the item that bears
//! the write's id is read instead: the id is there once the write was applied.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::deadline::Deadline;
use crate::error::Error;

/// WriteAttempts of a batch whose keys were not all processed, and of a write that the table refuses for the moment.
pub(super) const ATTEMPTS_MAX: u32 = 8;

/// With less time left no write is begun: nobody would hear what became of it. One that may have been applied is still asked
/// about.
const WRITE_MIN: Duration = Duration::from_millis(300);

/// What is kept of a write's time for reading, at the end, whether it was applied.
const READ_BACK_RESERVE: Duration = Duration::from_millis(150);

/// What a failed try of a write says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// It was not applied: it met another write.
    Conflict,
    /// It was not applied: the table is busy.
    Throttled,
    /// It may have been applied: no answer came, or one that says nothing.
    UnknownOutcome,
    /// It was not applied, and no other try will be.
    Permanent,
}

impl FailureKind {
    /// Weighs what the SDK says.
    pub(super) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        match error {
            SdkError::ConstructionFailure(_) => Self::Permanent,
            SdkError::ServiceError(service) => Self::of_answer(service.raw().status().as_u16(), service.err().code()),
            _ => Self::UnknownOutcome,
        }
    }

    fn of_answer(status: u16, code: Option<&str>) -> Self {
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

/// The tries of one write.
#[derive(Debug)]
pub(super) struct WriteAttempts {
    call: &'static str,
    deadline: Deadline,
    /// When a write that may have been applied is looked for next, instead of being tried.
    read_back_at: Deadline,
    failed: u32,
    may_be_applied: bool,
}

impl WriteAttempts {
    /// No try yet.
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

    /// Makes a try; what it came to, unless time runs out meanwhile.
    pub(super) fn attempt<T>(&mut self, sending: impl Future<Output = T>) -> impl Future<Output = Result<T, Error>> {
        let call = self.call;
        let is_too_late = !self.may_be_applied && self.deadline.remaining() < WRITE_MIN;
        let end = self.deadline.minus(READ_BACK_RESERVE);
        // On the heap: the SDK's futures are large, and callers' would grow with them.
        let sending = Box::pin(sending);
        async move {
            if is_too_late {
                return Err(out_of_time(call));
            }
            let answered = end.timeout(sending).await;
            self.may_be_applied |= answered.is_none();
            answered.ok_or_else(|| out_of_time(call))
        }
    }

    /// Waits before the next try, if there is to be one. A write that was refused each time is given up after
    /// [`ATTEMPTS_MAX`]; one that may have been applied is tried for as long as there is time, as only that tells.
    pub(super) async fn again<E: ProvideErrorMetadata>(
        &mut self,
        error: &SdkError<E, HttpResponse>,
    ) -> Result<(), Error> {
        let weighed = FailureKind::of(error);
        self.failed += 1;
        self.may_be_applied |= weighed == FailureKind::UnknownOutcome;
        let given_up = self.failed >= ATTEMPTS_MAX && !self.may_be_applied;
        match weighed {
            FailureKind::Permanent => Err(unavailable(self.call, error)),
            // Somebody else is faster again and again: decide anew on what they made of it.
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

    /// Looks for the write by `reading`, when it may have been applied and its tries have ended, or when it has not been
    /// looked for in a while: what the reading found. One that fails finds nothing.
    pub(super) async fn look<T>(
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
            read.inspect_err(|error| tracing::debug!(%error, call = self.call, "nobody knows whether it was written"))
                .ok()
                .flatten()
        })
    }
}

/// When a third of what is left has passed: a request that writes several times has time for each of them, even when the
/// table answers none.
fn next_read_back(deadline: Deadline) -> Deadline {
    deadline.minus(deadline.remaining() * 2 / 3)
}

/// Waits before another try, as [`backoff`] says. Fails when the deadline comes first.
pub(super) async fn pause(tries: u32, deadline: Deadline) -> Result<(), Error> {
    wait_within(backoff(tries), deadline).await
}

/// How long to wait before another try: up to 20 ms, doubling to at most 320 ms, at random so that rivals part.
fn backoff(tries: u32) -> Duration {
    let most_ms = 20_u64 << tries.min(4);
    let [a, b] = crate::ids::random_bytes::<2>();
    Duration::from_millis(u64::from(u16::from_be_bytes([a, b])) % most_ms + 1)
}

async fn wait_within(wait: Duration, deadline: Deadline) -> Result<(), Error> {
    if deadline.remaining() <= wait {
        return Err(out_of_time("another try"));
    }
    tokio::time::sleep(wait).await;
    Ok(())
}

/// A read, sent: its answer, within the deadline of the request it is made for.
pub(super) trait WithinDeadline<T> {
    /// What `call` answers; [`Error::Unavailable`] when it does not in time.
    fn within_deadline(self, call: &'static str) -> impl Future<Output = Result<T, Error>>;
}

impl<T, E, R, F> WithinDeadline<T> for F
where
    E: ProvideErrorMetadata,
    R: Debug,
    F: Future<Output = Result<T, SdkError<E, R>>>,
{
    fn within_deadline(self, call: &'static str) -> impl Future<Output = Result<T, Error>> {
        // On the heap, as the tries of writes are.
        let sending = Box::pin(self);
        async move {
            let answered = Deadline::current().timeout(sending).await;
            answered
                .ok_or_else(|| out_of_time(call))?
                .map_err(|error| unavailable(call, &error))
        }
    }
}

fn out_of_time(call: &str) -> Error {
    Error::Unavailable(format!("{call}: out of time"))
}

/// An SDK error for the log: its kind and code. The request, which may hold what must not be logged, is left out.
pub(crate) fn describe<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    match error {
        SdkError::ServiceError(service) => {
            format!("service error {}", service.err().code().unwrap_or("without a code"))
        }
        SdkError::TimeoutError(_) => "time-out".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "connection time-out".to_owned(),
        SdkError::DispatchFailure(_) => "connection failed".to_owned(),
        SdkError::ConstructionFailure(_) => "request could not be built".to_owned(),
        SdkError::ResponseError(_) => "answer could not be read".to_owned(),
        _ => "unknown error".to_owned(),
    }
}

/// What a call that did not succeed is to a request: the service's fault, or this program's.
pub(super) fn unavailable<E: ProvideErrorMetadata, R>(call: &str, error: &SdkError<E, R>) -> Error {
    let described = format!("{call}: {}", describe(error));
    match error {
        SdkError::ConstructionFailure(_) => Error::Internal(described),
        SdkError::ServiceError(service) => match service.err().code() {
            // The token was made for this transaction alone, so that this program broke its promise.
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
    fn an_answer_says_whether_a_write_may_have_been_applied() {
        for (status, code, weighed) in [
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
            assert_eq!(FailureKind::of_answer(status, code), weighed, "{status} {code:?}");
        }
    }

    /// The tries of a write, of which `left` is left.
    async fn tries(left: Duration) -> WriteAttempts {
        Deadline::after(left)
            .scope(async { WriteAttempts::of("UpdateItem") })
            .await
    }

    #[tokio::test]
    async fn a_write_is_looked_for_when_it_may_have_been_applied_and_that_is_due() {
        for (may_be_applied, is_due, have_ended, is_looked_for) in [
            (true, false, false, false),
            (true, true, false, true),
            (true, false, true, true),
            (false, true, false, false),
            (false, true, true, false),
        ] {
            let mut tries = tries(Duration::from_secs(9)).await;
            let third = tries.read_back_at.remaining();
            assert!(
                third <= Duration::from_secs(3) && third > Duration::from_secs(2),
                "{third:?}"
            );
            tries.may_be_applied = may_be_applied;
            if is_due {
                tries.read_back_at = Deadline::after(Duration::ZERO);
            }
            let found = tries.look(have_ended, async { Ok(Some(())) }).await;
            assert_eq!(found.is_some(), is_looked_for, "{may_be_applied} {is_due} {have_ended}");
            if is_looked_for {
                assert!(
                    tries.read_back_at.remaining() > Duration::from_secs(2),
                    "the next look is a third later"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_try_leaves_time_to_look_for_it() {
        let mut hung = tries(WRITE_MIN + Duration::from_millis(100)).await;
        assert!(hung.attempt(std::future::pending::<()>()).await.is_err());
        assert!(hung.deadline.remaining() > Duration::ZERO);
        assert_eq!(hung.look(true, async { Ok(Some(1)) }).await, Some(1));
        // What cannot be read, or not in time, is not said to be there.
        let unread = async { Err::<Option<()>, _>(out_of_time("BatchGetItem")) };
        assert_eq!(hung.look(true, unread).await, None);
        assert_eq!(
            hung.look(true, std::future::pending::<Result<Option<()>, Error>>())
                .await,
            None
        );
        // What was not begun is not looked for.
        let mut late = tries(WRITE_MIN / 2).await;
        assert!(late.attempt(async {}).await.is_err());
        assert_eq!(late.look(true, async { Ok(Some(1)) }).await, None);
    }
}
