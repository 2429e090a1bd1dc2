//! Usage: the counts, the periods they are summed over, and the tiers' limits.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Time;

/// A workspace's plan, which sets its monthly limit.
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
    /// The limit in units per month; `None` when the tier is unlimited.
    #[must_use]
    pub fn limit(self) -> Option<u64> {
        match self {
            Self::Developer => Some(500_000),
            Self::Pro => Some(5_000_000),
            Self::Enterprise => None,
        }
    }

    /// The tier's name in JSON and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Developer => "developer",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }
}

/// Counted usage. The sums are wider than the count of a record, so that they do not overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Location events, one unit each.
    pub location_events: u128,
    /// Action deliveries, half a unit each.
    pub action_deliveries: u128,
}

impl Usage {
    /// The number of half units. Half units are whole numbers, so sums stay exact.
    #[must_use]
    pub fn half_units(self) -> u128 {
        self.location_events
            .saturating_mul(2)
            .saturating_add(self.action_deliveries)
    }

    /// The sum of both usages.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            location_events: self.location_events.saturating_add(other.location_events),
            action_deliveries: self.action_deliveries.saturating_add(other.action_deliveries),
        }
    }
}

/// The thresholds, in percent of a tier's limit, that owners are notified of. Each is notified once per month.
pub(crate) const THRESHOLDS: [u8; 2] = [80, 100];

/// The thresholds of `tier` that a month's usage has reached. An unlimited tier has no thresholds.
pub fn reached(tier: Tier, month: Usage) -> impl Iterator<Item = u8> {
    THRESHOLDS.into_iter().filter(move |percent| {
        tier.limit()
            .is_some_and(|units| month.half_units().saturating_mul(100) >= u128::from(units) * 2 * u128::from(*percent))
    })
}

/// A period, given by the start of its first and of its last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The start of the period.
    pub start: Time,
    /// The start of the period's last second.
    pub end: Time,
}

/// The UTC day and the UTC month that contain `now`.
///
/// Returns `None` for a time outside the calendar's years, which a real clock never shows.
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
    fn a_period_ends_at_the_start_of_its_last_second() {
        let (day, month) = periods("2024-02-29T12:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(day.start.to_string(), "2024-02-29T00:00:00.000Z");
        assert_eq!(day.end.to_string(), "2024-02-29T23:59:59.000Z");
        assert_eq!(month.start.to_string(), "2024-02-01T00:00:00.000Z");
        assert_eq!(month.end.to_string(), "2024-02-29T23:59:59.000Z");
    }

    #[test]
    fn a_threshold_is_reached_exactly_at_its_last_half_unit() {
        let month = |halves| Usage {
            location_events: 0,
            action_deliveries: halves,
        };
        let of = |tier, halves| reached(tier, month(halves)).map(u32::from).collect::<Vec<u32>>();
        assert!(of(Tier::Developer, 799_999).is_empty());
        assert_eq!(of(Tier::Developer, 800_000), [80]);
        assert_eq!(of(Tier::Developer, 1_000_000), [80, 100]);
        assert!(of(Tier::Pro, 1_000_000).is_empty());
        assert!(of(Tier::Enterprise, u128::MAX).is_empty());
    }

    #[test]
    fn an_action_delivery_counts_half_a_unit() {
        let usage = Usage {
            location_events: 10_000,
            action_deliveries: 5_001,
        };
        assert_eq!(usage.half_units(), 25_001);
    }
}
