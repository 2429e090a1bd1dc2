//! Invariants of usage counters, their sums, dirty markers, runs and notices.

use serde_json::Value;

use super::{Checker, text};

impl Checker<'_> {
    /// A day is the sum of its hours, or a dirty marker names it.
    pub(super) fn usage_hour(&mut self, at: &str, hour: &Value, pk: &str, sk: &str) {
        self.expires(at, hour);
        let day = sk.get(5..15).unwrap_or_default();
        let hours = counts(&self.rows(pk, &format!("HOUR#{day}")));
        let month = day.get(..7).unwrap_or_default();
        let rolled_up = counts(&self.rows(pk, &format!("MONTH#{month}#DAY#{day}")));
        let workspace = pk.strip_prefix("USAGE#").unwrap_or_default();
        let is_dirty = self.table.iter().any(|((pk, sk), marker)| {
            let mut days = marker["days"].as_array().into_iter().flatten();
            pk.starts_with("DIRTY#") && sk.starts_with(workspace) && days.any(|dirty| dirty == day)
        });
        self.expect(is_dirty || hours == rolled_up, || {
            format!("{at}: the hours are {hours:?}, the day is {rolled_up:?}, and no dirty marker names it")
        });
        self.expect(rolled_up[0] <= hours[0] && rolled_up[1] <= hours[1], || {
            format!("{at}: the day exceeds its hours")
        });
    }

    pub(super) fn usage_day(&mut self, at: &str, pk: &str, sk: &str) {
        let (month, day) = sk.split_once("#DAY#").unwrap_or_default();
        self.expect(day.starts_with(month.trim_start_matches("MONTH#")), || {
            format!("{at}: the sort key names another month")
        });
        self.expect(self.get(pk, month).is_some(), || {
            format!("{at}: its month does not exist")
        });
    }

    pub(super) fn usage_month(&mut self, at: &str, month: &Value, pk: &str, sk: &str) {
        let (sum, days) = (counts(&[month]), counts(&self.rows(pk, &format!("{sk}#DAY#"))));
        self.expect(sum == days, || format!("{at}: is {sum:?}, its days are {days:?}"));
        self.expect(month["revision"].is_string(), || format!("{at}: has no revision"));
    }

    pub(super) fn usage_dirty_markers(&mut self, at: &str, marker: &Value, sk: &str) {
        let workspace = sk.split('#').next().unwrap_or_default();
        self.expect(marker["version"].is_string(), || format!("{at}: has no version"));
        let days = marker["days"].as_array().cloned().unwrap_or_default();
        self.expect(!days.is_empty(), || format!("{at}: names no day"));
        for day in days {
            let hours = format!("HOUR#{}", day.as_str().unwrap_or_default());
            self.expect(!self.rows(&format!("USAGE#{workspace}"), &hours).is_empty(), || {
                format!("{at}: names {day}, which has no hours")
            });
        }
    }

    pub(super) fn usage_run(&mut self, at: &str, run: &Value, pk: &str) {
        let shard = pk.strip_prefix("RUN#").and_then(|shard| shard.parse::<u8>().ok());
        self.expect(shard.is_some_and(|shard| shard < 64), || {
            format!("{at}: has no valid shard")
        });
        self.expect(run["as_of"].is_string(), || format!("{at}: has no as_of"));
    }

    pub(super) fn notice(&mut self, at: &str, notice: &Value, pk: &str, sk: &str) {
        let [month, tier] = ["month", "tier"].map(|name| text(notice, name));
        let percent = notice["percent"].as_u64().unwrap_or_default();
        self.expect(sk == format!("NOTICE#{month}#{tier}#{percent}"), || {
            format!("{at}: the key does not match {notice}")
        });
        self.expect(pk == format!("NOTICE#{}", text(notice, "workspace_id")), || {
            format!("{at}: the key does not match {notice}")
        });
        if !notice["gsi1pk"].is_null() {
            let due_sort_key = text(notice, "gsi1sk");
            let is_own = due_sort_key.ends_with(&format!("Z#{pk}#{sk}"));
            self.expect(notice["gsi1pk"] == "DUE" && is_own, || {
                format!("{at}: due at {} {}", notice["gsi1pk"], notice["gsi1sk"])
            });
        }
        let units = match tier.as_str() {
            "developer" => 500_000,
            "pro" => 5_000_000,
            _ => u64::MAX,
        };
        let usage = format!("USAGE#{}", text(notice, "workspace_id"));
        let month = self.get(&usage, &format!("MONTH#{month}")).cloned().unwrap_or_default();
        let [events, deliveries] = counts(&[&month]);
        self.expect((2 * events + deliveries) * 50 >= units.saturating_mul(percent), || {
            format!("{at}: {events} events and {deliveries} deliveries are below the threshold")
        });
    }
}

/// Events and deliveries of items together.
fn counts(items: &[&Value]) -> [u64; 2] {
    ["location_events", "action_deliveries"].map(|name| items.iter().filter_map(|item| item[name].as_u64()).sum())
}
