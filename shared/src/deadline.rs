//! When a request or a call has to be answered: one deadline, which everything that waits on its behalf reads.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// How long a request may take where nobody says, and how long one decision may take at most.
pub const REQUEST_MAX: Duration = Duration::from_secs(10);
/// What is kept of the time that Lambda gives: enough to answer in.
pub const SPARE: Duration = Duration::from_secs(1);
/// How long past the deadline whoever noticed it may take to say so.
pub const GRACE: Duration = Duration::from_millis(500);

const DAY: Duration = Duration::from_secs(24 * 3600);

tokio::task_local! {
    static CURRENT: Deadline;
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

    /// The deadline of the request or call under way, at most [`REQUEST_MAX`] from now.
    #[must_use]
    pub fn current() -> Self {
        let most = Self::after(REQUEST_MAX);
        CURRENT.try_with(|deadline| most.min(*deadline)).unwrap_or(most)
    }

    /// How much time is left.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// So much earlier; now, when that is past.
    #[must_use]
    pub fn sparing(self, spare: Duration) -> Self {
        Self::after(self.left().saturating_sub(spare))
    }

    /// So much later.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self(self.0 + grace)
    }

    /// Does `work`, whose [`Deadline::current`] this is.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// What `work` comes to; none when it does not in time.
    pub async fn bound<T>(self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.0, work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_under_way_has_its_callers_deadline_and_never_more_than_a_requests() {
        let soon = Deadline::after(Duration::from_secs(3));
        assert_eq!(soon.scope(async { Deadline::current() }).await, soon);
        let late = Deadline::after(Duration::from_secs(900));
        let nobodys = Deadline::current();
        let capped = late.scope(async { Deadline::current() }).await;
        for most in [nobodys, capped] {
            assert!(most < late && most.left() <= REQUEST_MAX && most > soon);
        }
    }

    #[tokio::test]
    async fn time_runs_out() {
        let deadline = Deadline::after(Duration::from_millis(1020)).sparing(SPARE);
        assert_eq!(deadline.bound(async { 1 }).await, Some(1));
        assert_eq!(deadline.bound(std::future::pending::<u8>()).await, None);
        assert_eq!(deadline.left(), Duration::ZERO);
        assert!(deadline.with_grace(GRACE).left() > Duration::ZERO);
        assert_eq!(deadline.sparing(SPARE).left(), Duration::ZERO);
        assert!(Deadline::after(Duration::MAX).left() <= DAY);
    }
}
