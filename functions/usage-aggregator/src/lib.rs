//! Rolls up the hours of usage into days and months, for workspaces that have dirty markers.
//!
//! The markers are split into shards. A call handles all shards, or those that its event names, so that a schedule can
//! split a run into several calls. A marker that a call has no time for stays, and the next call handles it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use shared::clock::Time;
use shared::event::Deadline;
use shared::ids::WorkspaceId;
use shared::models::usage::Usage;
use shared::store::keys::SHARDS;
use shared::store::usage::{DirtyMarker, Month};
use shared::{App, Error, notices, telemetry};
use tracing::Instrument;

/// Shards that are handled concurrently.
const SHARDS_CONCURRENCY: usize = 4;
/// Workspaces of a shard that are handled concurrently.
const WORKSPACES_CONCURRENCY: usize = 16;
/// The attempts to roll up a workspace while concurrent runs keep winning.
const ATTEMPTS_MAX: usize = 5;
/// With less remaining time, no workspace is started: more than the slowest one takes.
const RESERVE: Duration = Duration::from_secs(40);

/// The schedule's event. Without shards, the call handles all of them.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Scheduled {
    /// The shards to roll up.
    #[serde(default)]
    shards: Shards,
    /// Other fields. This field makes serde require an object: it would otherwise read a list as the fields in order.
    #[serde(flatten)]
    _more: IgnoredAny,
}

/// A range of shards.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Bounds")]
struct Shards {
    from: u8,
    to: u8,
}

#[derive(Deserialize)]
struct Bounds {
    from: u8,
    to: u8,
}

impl Default for Shards {
    fn default() -> Self {
        Self {
            from: 0,
            to: SHARDS - 1,
        }
    }
}

impl TryFrom<Bounds> for Shards {
    type Error = String;

    fn try_from(Bounds { from, to }: Bounds) -> Result<Self, String> {
        if from <= to && to < SHARDS {
            Ok(Self { from, to })
        } else {
            Err(format!("shards go from 0 to {}, the first before the last", SHARDS - 1))
        }
    }
}

/// The result of a call.
#[derive(Debug, Serialize)]
pub struct RollUpReport {
    /// The number of workspaces whose usage was rolled up.
    workspaces: usize,
    /// Shards with markers that are left for the next call.
    shards_left: Vec<u8>,
}

/// Rolls up the shards of a call.
pub async fn handle(app: App, event: Scheduled, deadline: Deadline) -> Result<RollUpReport, Error> {
    let run = Run {
        started_at: app.now(),
        app,
        deadline,
        workspaces: AtomicUsize::new(0),
    };
    let Shards { from, to } = event.shards;
    let ended: Vec<(u8, Result<bool, Error>)> = futures::stream::iter(from..=to)
        .map(async |shard| (shard, run.shard(shard).await))
        .buffer_unordered(SHARDS_CONCURRENCY)
        .collect()
        .await;
    let mut report = RollUpReport {
        workspaces: run.workspaces.into_inner(),
        shards_left: Vec::new(),
    };
    let mut last_error = None;
    for (shard, result) in ended {
        match result {
            Ok(true) => {}
            Ok(false) => report.shards_left.push(shard),
            Err(error) => last_error = Some(error),
        }
    }
    report.shards_left.sort_unstable();
    tracing::info!(workspaces = report.workspaces, shards_left = ?report.shards_left, "usage rolled up");
    // After an error the trigger calls again; the workspaces that were rolled up have no markers then.
    last_error.map_or(Ok(report), Err)
}

struct Run {
    app: App,
    started_at: Time,
    deadline: Deadline,
    workspaces: AtomicUsize,
}

impl Run {
    /// Rolls up a shard, page by page. Returns whether the time was enough. A workspace that fails stops no other one.
    async fn shard(&self, shard: u8) -> Result<bool, Error> {
        let (mut start, mut is_complete, mut last_error) = (None, true, None);
        loop {
            let (markers, next) = self.app.store.unproven().usage_dirty_markers(shard, start).await?;
            let ended: Vec<Result<bool, Error>> = futures::stream::iter(markers)
                .map(|marker| {
                    let span = telemetry::item_span(Some(marker.workspace), None, None);
                    self.workspace_within_deadline(marker).instrument(span)
                })
                .buffer_unordered(WORKSPACES_CONCURRENCY)
                .collect()
                .await;
            for result in ended {
                match result {
                    Ok(is_done) => is_complete &= is_done,
                    Err(error) => last_error = Some(error),
                }
            }
            start = next;
            if start.is_none() || !is_complete {
                break;
            }
        }
        if let Some(error) = last_error {
            return Err(error);
        }
        if is_complete {
            self.app
                .store
                .unproven()
                .usage_run_complete(shard, self.started_at)
                .await?;
        }
        Ok(is_complete)
    }

    /// Rolls up a workspace, if enough time is left. Returns whether it did.
    async fn workspace_within_deadline(&self, marker: DirtyMarker) -> Result<bool, Error> {
        if self.deadline.remaining() < RESERVE {
            return Ok(false);
        }
        let result = Box::pin(self.workspace(marker)).await;
        result.inspect_err(|error| tracing::error!(%error, "usage not rolled up; the dirty marker stays"))?;
        self.workspaces.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Rolls up a workspace, again from a freshly read marker while concurrent runs win.
    async fn workspace(&self, mut marker: DirtyMarker) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let months = self.months(&marker).await?;
            let due = notices::due(&self.app, marker.workspace, &months, self.app.now()).await?;
            match self.app.store.unproven().usage_roll_up(&marker, &months, &due).await {
                Ok(()) => {
                    notices::send_all(&self.app, due).await;
                    return Ok(());
                }
                Err(Error::Stale) => {}
                Err(error) => return Err(error),
            }
            match self.app.store.unproven().usage_dirty_marker(marker.workspace).await? {
                Some(newer) => marker = newer,
                // The concurrent run has rolled up the workspace.
                None => return Ok(()),
            }
        }
        Err(Error::Stale)
    }

    /// The months that the marker names: each as read, with the marker's days summed from their hours.
    async fn months(&self, marker: &DirtyMarker) -> Result<Vec<Month>, Error> {
        let mut dirty: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for day in &marker.days {
            dirty
                .entry(day.chars().take(7).collect())
                .or_default()
                .insert(day.clone());
        }
        let mut months = Vec::with_capacity(dirty.len());
        for (month, days) in dirty {
            let (read, days) = futures::try_join!(
                self.app.store.unproven().usage_month(marker.workspace, &month),
                self.days(marker.workspace, days)
            )?;
            months.push(Month { month, read, days });
        }
        Ok(months)
    }

    /// The days, each summed from its hours.
    async fn days(&self, workspace: WorkspaceId, days: BTreeSet<String>) -> Result<BTreeMap<String, Usage>, Error> {
        futures::stream::iter(days)
            .map(async |day| {
                let usage = self.app.store.unproven().usage_day_of_hours(workspace, &day).await?;
                Ok((day, usage))
            })
            .buffer_unordered(WORKSPACES_CONCURRENCY)
            .try_collect()
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &str) -> Result<Scheduled, serde_json::Error> {
        serde_json::from_str(event)
    }

    #[test]
    fn an_event_without_shards_means_all_shards() {
        let shards = |event| {
            read(event)
                .map(|scheduled| (scheduled.shards.from, scheduled.shards.to))
                .unwrap()
        };
        assert_eq!(
            shards(r#"{"source":"aws.scheduler","time":"2026-01-02T03:00:00Z"}"#),
            (0, 63)
        );
        assert_eq!(shards(r#"{"shards":{"from":8,"to":15}}"#), (8, 15));
    }

    #[test]
    fn an_event_with_unknown_shards_is_refused() {
        for event in [
            "[]",
            "null",
            "\"x\"",
            r#"{"shards":{"from":8,"to":64}}"#,
            r#"{"shards":{"from":9,"to":8}}"#,
            r#"{"shards":[1]}"#,
            r#"{"shards":{"from":-1,"to":8}}"#,
        ] {
            assert!(read(event).is_err(), "{event}");
        }
    }
}
