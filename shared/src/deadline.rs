//! When a request or a call has to be answered: one deadline, which everything that waits on its behalf reads.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// How long a request may take where nobody says, and a step of a longer call.
pub const REQUEST_MAX: Duration = Duration::from_secs(10);
/// What is kept of the time that Lambda gives: enough to answer in.
pub const RESPONSE_RESERVE: Duration = Duration::from_secs(1);
/// How long past the deadline whoever noticed it may take to say so.
pub const GRACE: Duration = Duration::from_millis(500);

const DAY: Duration = Duration::from_secs(24 * 3600);

tokio::task_local! {
    /// The deadline of what is under way, and how long a step of it may take.
    static CURRENT: (Deadline, Duration);
}

/// When a call has to have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `left` from now, at most a day: no call lasts longer.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        Self(Instant::now() + left.min(DAY))
    }

    /// The deadline of the request under way, or of a step that begins now of the call under way.
    #[must_use]
    pub fn current() -> Self {
        let step = |(deadline, step_max): &(Self, Duration)| Self::after(*step_max).min(*deadline);
        CURRENT.try_with(step).unwrap_or_else(|_| Self::after(REQUEST_MAX))
    }

    /// How much time is left.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// So much earlier; now, when that is past.
    #[must_use]
    pub fn minus(self, spare: Duration) -> Self {
        Self::after(self.remaining().saturating_sub(spare))
    }

    /// So much later.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self(self.0 + grace)
    }

    /// Does `work`, whose [`Deadline::current`] this is.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope((self, DAY), work).await
    }

    /// As [`Deadline::scope`], for work of many steps, of which one that hangs must not keep all others from their turn:
    /// a step has [`REQUEST_MAX`].
    pub async fn scope_per_step<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope((self, REQUEST_MAX), work).await
    }

    /// What `work` comes to; none when it does not in time.
    pub async fn timeout<T>(self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.0, work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_under_way_has_its_callers_deadline() {
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
    async fn time_runs_out() {
        let deadline = Deadline::after(Duration::from_millis(1020)).minus(RESPONSE_RESERVE);
        assert_eq!(deadline.timeout(async { 1 }).await, Some(1));
        assert_eq!(deadline.timeout(std::future::pending::<u8>()).await, None);
        assert_eq!(deadline.remaining(), Duration::ZERO);
        assert!(deadline.with_grace(GRACE).remaining() > Duration::ZERO);
        assert_eq!(deadline.minus(RESPONSE_RESERVE).remaining(), Duration::ZERO);
        assert!(Deadline::after(Duration::MAX).remaining() <= DAY);
    }
}
