//! Compares the usage counters with the sums of the records.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{RecordState, seconds};
use super::operations::{Operation, PerformedOperation};
use super::snapshot::{Snapshot, item, workspace};
use crate::support::invariants::Findings;

/// Largest age of a record in seconds.
const LATE_S: u64 = 35 * 24 * 3600;

/// I8: without faults, only records of unknown workspaces and late records are rejected.
pub fn check_records_accepted(snapshot: &Snapshot<'_>, performed: &PerformedOperation, findings: &mut Findings) {
    let (Operation::IngestUsage { records }, true) = (&performed.operation, performed.is_done()) else {
        return;
    };
    for index in crate::support::usage_support::failures(&performed.body) {
        let record = &snapshot.ledger.records[records[index]];
        let tables = [snapshot.before, snapshot.after];
        let is_known = tables.iter().all(|table| workspace(table, &record.workspace).is_some());
        let is_late = performed.ended.since(record.occurred_at) > seconds(LATE_S);
        findings.expect("I8", is_late || !is_known, || {
            format!("valid record was rejected: {record:?}")
        });
    }
}

/// I8: the counters of a day lie between the certainly counted and the possibly counted records.
pub fn check_usage_counts(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    let mut bounds: BTreeMap<(String, String), [u64; 4]> = BTreeMap::new();
    for record in &snapshot.ledger.records {
        let day = (record.workspace.clone(), record.occurred_at.date());
        let bound = bounds.entry(day).or_default();
        let at = usize::from(record.kind != "location_event");
        if record.state == RecordState::Counted {
            bound[at] += record.count;
        }
        if record.state != RecordState::NotCounted {
            bound[2 + at] += record.count;
        }
    }
    let mut counted: BTreeMap<(String, String), [u64; 2]> = BTreeMap::new();
    for ((pk, sk), hour) in snapshot.after {
        if hour["entity"] == "usage-hour" {
            let workspace = pk.trim_start_matches("USAGE#").to_owned();
            let day = sk.get(5..15).unwrap_or_default().to_owned();
            let counts = counted.entry((workspace, day)).or_default();
            counts[0] += hour["location_events"].as_u64().unwrap_or(0);
            counts[1] += hour["action_deliveries"].as_u64().unwrap_or(0);
        }
    }
    let days: BTreeSet<_> = bounds.keys().chain(counted.keys()).cloned().collect();
    for day in days {
        // TTL may have deleted the hours of past days; the sums of the days remain.
        let (workspace, date) = &day;
        let month = date.get(..7).unwrap_or_default();
        let rolled_up = item(
            snapshot.after,
            &format!("USAGE#{workspace}"),
            &format!("MONTH#{month}#DAY#{date}"),
        );
        let [least_events, least_deliveries, most_events, most_deliveries] =
            bounds.get(&day).copied().unwrap_or_default();
        let [events, deliveries] = match counted.get(&day) {
            Some(counts) => *counts,
            None => ["location_events", "action_deliveries"]
                .map(|name| rolled_up.and_then(|row| row[name].as_u64()).unwrap_or(0)),
        };
        let between = (least_events..=most_events).contains(&events)
            && (least_deliveries..=most_deliveries).contains(&deliveries);
        findings.expect("I8", between, || {
            format!(
                "{day:?}: {events} events, expected {least_events} to {most_events}; {deliveries} deliveries, expected {least_deliveries} to {most_deliveries}"
            )
        });
    }
}
