//! Usage: what is counted, in which period, against which limit.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Time;

/// A plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// 500,000 units a month.
    Developer,
    /// 5,000,000 units a month.
    Pro,
    /// Unlimited.
    Enterprise,
}

impl Tier {
    /// Units a month; none is unlimited.
    #[must_use]
    pub fn limit(self) -> Option<u64> {
        match self {
            Self::Developer => Some(500_000),
            Self::Pro => Some(5_000_000),
            Self::Enterprise => None,
        }
    }

    /// The tier's name on the wire and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Developer => "developer",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }
}

/// Counted usage of a period, as last aggregated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Location events, one unit each.
    pub location_events: u64,
    /// Action deliveries, half a unit each.
    pub action_deliveries: u64,
    /// When it was last aggregated.
    pub as_of: Option<Time>,
}

impl Usage {
    /// Units in halves, so that sums stay exact.
    #[must_use]
    pub fn half_units(self) -> u64 {
        self.location_events
            .saturating_mul(2)
            .saturating_add(self.action_deliveries)
    }
}

/// A period, from its first to its last whole second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub start: Time,
    /// The start of its last second.
    pub end: Time,
}

/// The UTC day and the UTC month that `now` is in.
///
/// None outside the years that a calendar covers, which no clock shows.
#[must_use]
pub fn periods(now: Time) -> Option<(Period, Period)> {
    let date: jiff::civil::Date = now.date().parse().ok()?;
    let midnight = |date: jiff::civil::Date| -> Option<Time> { format!("{date}T00:00:00Z").parse::<Time>().ok() };
    let period = |first: jiff::civil::Date, next: jiff::civil::Date| {
        Some(Period {
            start: midnight(first)?,
            end: Time::from_millis(midnight(next)?.as_millis() - 1000),
        })
    };
    let month = date.first_of_month();
    Some((
        period(date, date.tomorrow().ok()?)?,
        period(month, month.last_of_month().tomorrow().ok()?)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_end_with_their_last_second() {
        let (day, month) = periods("2024-02-29T12:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(day.start.to_string(), "2024-02-29T00:00:00.000Z");
        assert_eq!(day.end.to_string(), "2024-02-29T23:59:59.000Z");
        assert_eq!(month.start.to_string(), "2024-02-01T00:00:00.000Z");
        assert_eq!(month.end.to_string(), "2024-02-29T23:59:59.000Z");
    }

    #[test]
    fn a_delivery_is_half_a_unit() {
        let usage = Usage {
            location_events: 10_000,
            action_deliveries: 5_001,
            as_of: None,
        };
        assert_eq!(usage.half_units(), 25_001);
    }
}
