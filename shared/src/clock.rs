//! The clock, and points in time. Rules do not read the clock: they take `now` as an argument.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A point in time, to the millisecond, UTC.
///
/// The text form is RFC 3339 with a fixed width (`2026-01-02T03:04:05.678Z`), so that texts sort as times do, in sort
/// keys and in condition expressions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Time(i64);

/// The text is not an RFC 3339 time between the years 0001 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 time")]
pub struct InvalidTime;

const MIN_MS: i64 = -62_135_596_800_000;
const MAX_MS: i64 = 253_402_207_199_999;

impl Time {
    /// Converts milliseconds since the Unix epoch, limited to the years with four digits.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(MIN_MS, MAX_MS))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, rounded down: the unit of JWT claims and of the table's TTL.
    #[must_use]
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_millis(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The time `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_millis(
            self.0
                .saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The duration since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The UTC date, `2026-01-02`.
    #[must_use]
    pub fn date(self) -> String {
        self.to_string().chars().take(10).collect()
    }

    /// The UTC hour, `2026-01-02T03`.
    #[must_use]
    pub fn hour(self) -> String {
        self.to_string().chars().take(13).collect()
    }

    /// The UTC month, `2026-01`.
    #[must_use]
    pub fn month(self) -> String {
        self.to_string().chars().take(7).collect()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{}", timestamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let timestamp: Timestamp = text.trim().parse().map_err(|_| InvalidTime)?;
        let millis = timestamp.as_millisecond();
        if (MIN_MS..=MAX_MS).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(InvalidTime)
        }
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Time {
    type Error = InvalidTime;

    fn try_from(text: String) -> Result<Self, InvalidTime> {
        text.parse()
    }
}

/// The system's clock plus an offset. Clones share the offset, so that the local stack and the tests can advance all
/// parts of a process together.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock, without an offset.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Time {
        #[expect(clippy::disallowed_methods, reason = "the other code reads this clock")]
        let system = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Time::from_millis(system.saturating_add(self.offset_ms.load(Ordering::SeqCst)))
    }

    /// Advances this clock and its clones, or sets them back when `seconds` is negative. Returns the new time.
    #[must_use]
    pub fn advance(&self, seconds: i64) -> Time {
        let moved = self
            .offset_ms
            .load(Ordering::SeqCst)
            .saturating_add(seconds.saturating_mul(1000));
        self.offset_ms.store(moved, Ordering::SeqCst);
        self.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_has_a_fixed_width_and_milliseconds() {
        assert_eq!(Time::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            "2026-01-02T03:04:05+02:00".parse::<Time>().unwrap().to_string(),
            "2026-01-02T01:04:05.000Z"
        );
    }

    #[test]
    fn a_text_that_is_not_a_time_is_refused() {
        for text in ["", "now", "2026-13-01T00:00:00Z", "2026-01-01", "99999-01-01T00:00:00Z"] {
            assert_eq!(text.parse::<Time>(), Err(InvalidTime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn texts_sort_as_times_do(a in MIN_MS..MAX_MS, b in MIN_MS..MAX_MS) {
            let (a, b) = (Time::from_millis(a), Time::from_millis(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a.to_string().parse::<Time>().unwrap(), a);
        }
    }
}
