//! The deadline of a request or a call. Everything that waits for the request reads the same deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// The time that a request without a deadline may take, and a step of a longer call.
pub(crate) const REQUEST_MAX: Duration = Duration::from_secs(10);
/// The part of the time of a Lambda call that is reserved for the response.
pub(crate) const RESPONSE_RESERVE: Duration = Duration::from_secs(1);
/// The time after the deadline in which a handler that noticed the deadline may still return its error.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

const DAY: Duration = Duration::from_secs(24 * 3600);

tokio::task_local! {
    /// The deadline of the current request or call, and the time that one step of it may take.
    static CURRENT: (Deadline, Duration);
}

/// The time by which a request or a call must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The time `left` from now, at most a day: no call lasts longer.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        Self(Instant::now() + left.min(DAY))
    }

    /// The deadline of the current request, or of a step of the current call that starts now.
    #[must_use]
    pub fn current() -> Self {
        let step = |(deadline, step_max): &(Self, Duration)| Self::after(*step_max).min(*deadline);
        CURRENT.try_with(step).unwrap_or_else(|_| Self::after(REQUEST_MAX))
    }

    /// The remaining time; zero after the deadline.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The deadline moved `spare` earlier, but not before now.
    #[must_use]
    pub fn minus(self, spare: Duration) -> Self {
        Self::after(self.remaining().saturating_sub(spare))
    }

    /// The deadline moved `grace` later.
    #[must_use]
    pub(crate) fn with_grace(self, grace: Duration) -> Self {
        Self(self.0 + grace)
    }

    /// Runs `work` with this deadline as [`Deadline::current`].
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope((self, DAY), work).await
    }

    /// Runs `work` like [`Deadline::scope`], with at most [`REQUEST_MAX`] for each step. A step that hangs then leaves
    /// time for the others.
    pub(crate) async fn scope_per_step<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope((self, REQUEST_MAX), work).await
    }

    /// The result of `work`; none when the deadline comes first.
    pub async fn timeout<T>(self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.0, work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_has_the_deadline_of_its_scope() {
        let [soon, late] = [3, 900].map(|left_s| Deadline::after(Duration::from_secs(left_s)));
        let current = async || Deadline::current();
        assert_eq!(soon.scope(current()).await, soon);
        assert_eq!(soon.scope_per_step(current()).await, soon);
        assert_eq!(late.scope(current()).await, late);
        for step in [late.scope_per_step(current()).await, current().await] {
            assert!(step > soon && step.remaining() <= REQUEST_MAX);
        }
    }

    #[tokio::test]
    async fn a_deadline_ends_work() {
        let deadline = Deadline::after(Duration::from_millis(1020)).minus(RESPONSE_RESERVE);
        assert_eq!(deadline.timeout(async { 1 }).await, Some(1));
        assert_eq!(deadline.timeout(std::future::pending::<u8>()).await, None);
        assert_eq!(deadline.remaining(), Duration::ZERO);
        assert!(deadline.with_grace(GRACE).remaining() > Duration::ZERO);
        assert_eq!(deadline.minus(RESPONSE_RESERVE).remaining(), Duration::ZERO);
        assert!(Deadline::after(Duration::MAX).remaining() <= DAY);
    }
}
