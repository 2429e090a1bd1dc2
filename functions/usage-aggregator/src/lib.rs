//! Rolls the hours of usage up into days and months, where there are news.
//!
//! DirtyMarker lie in shards; a call takes all of them, or those that its event names, so that a schedule can spread a run over
//! several calls. What a call has no time for stays news, and the next one goes on there.

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
use shared::{App, Error, notices};

/// Shards at once.
const SHARDS_AT_ONCE: usize = 4;
/// Workspaces of a shard at once.
const WORKSPACES_AT_ONCE: usize = 16;
/// Times a workspace is rolled up again because another run was faster.
const ATTEMPTS_MAX: usize = 5;
/// Time left below which no workspace is begun: more than the slowest one takes.
const RESERVE: Duration = Duration::from_secs(40);

/// The schedule's event. A schedule that names no shards is of all.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Scheduled {
    /// The shards to roll up.
    #[serde(default)]
    shards: Shards,
    /// What else it says. It makes an object of the event: serde reads a list as fields in their order otherwise.
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

/// What a call did.
#[derive(Debug, Serialize)]
pub struct RollUpReport {
    /// Workspaces whose usage was rolled up.
    workspaces: usize,
    /// Shards that have news left for the next call.
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
        .buffer_unordered(SHARDS_AT_ONCE)
        .collect()
        .await;
    let mut rolled = RollUpReport {
        workspaces: run.workspaces.into_inner(),
        shards_left: Vec::new(),
    };
    let mut fault = None;
    for (shard, result) in ended {
        match result {
            Ok(true) => {}
            Ok(false) => rolled.shards_left.push(shard),
            Err(error) => fault = Some(error),
        }
    }
    rolled.shards_left.sort_unstable();
    tracing::info!(workspaces = rolled.workspaces, left = ?rolled.shards_left, "usage was rolled up");
    // What failed is tried again by whoever called; what was done is done.
    fault.map_or(Ok(rolled), Err)
}

struct Run {
    app: App,
    started_at: Time,
    deadline: Deadline,
    workspaces: AtomicUsize,
}

impl Run {
    /// Rolls up a shard, page by page; false when time ran out. A workspace that fails costs the others nothing.
    async fn shard(&self, shard: u8) -> Result<bool, Error> {
        let (mut start, mut whole, mut fault) = (None, true, None);
        loop {
            let (news, next) = self.app.store.unproven().usage_dirty_markers(shard, start).await?;
            let ended: Vec<Result<bool, Error>> = futures::stream::iter(news)
                .map(|news| self.workspace_in_time(news))
                .buffer_unordered(WORKSPACES_AT_ONCE)
                .collect()
                .await;
            for result in ended {
                match result {
                    Ok(done) => whole &= done,
                    Err(error) => fault = Some(error),
                }
            }
            start = next;
            if start.is_none() || !whole {
                break;
            }
        }
        if let Some(error) = fault {
            return Err(error);
        }
        if whole {
            self.app
                .store
                .unproven()
                .usage_run_complete(shard, self.started_at)
                .await?;
        }
        Ok(whole)
    }

    async fn workspace_in_time(&self, news: DirtyMarker) -> Result<bool, Error> {
        if self.deadline.remaining() < RESERVE {
            return Ok(false);
        }
        let workspace = news.workspace;
        let rolled = Box::pin(self.workspace(news)).await;
        rolled.inspect_err(|error| tracing::error!(%error, %workspace, "usage was not rolled up"))?;
        self.workspaces.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Rolls up a workspace, again from fresh news for as long as another run is faster.
    async fn workspace(&self, mut news: DirtyMarker) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let months = self.months(&news).await?;
            let due = notices::due(&self.app, news.workspace, &months, self.app.now()).await?;
            match self.app.store.unproven().usage_roll_up(&news, &months, &due).await {
                Ok(()) => {
                    notices::send_all(&self.app, due).await;
                    return Ok(());
                }
                Err(Error::Stale) => {}
                Err(error) => return Err(error),
            }
            match self.app.store.unproven().usage_dirty_marker(news.workspace).await? {
                Some(newer) => news = newer,
                // The other run has done it.
                None => return Ok(()),
            }
        }
        Err(Error::Stale)
    }

    /// The months that the news touch: each read first, then its days of the news summed from their hours.
    async fn months(&self, news: &DirtyMarker) -> Result<Vec<Month>, Error> {
        let mut touched: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for day in &news.days {
            touched
                .entry(day.chars().take(7).collect())
                .or_default()
                .insert(day.clone());
        }
        let mut months = Vec::with_capacity(touched.len());
        for (month, days) in touched {
            let (read, days) = futures::try_join!(
                self.app.store.unproven().usage_month(news.workspace, &month),
                self.days(news.workspace, days)
            )?;
            months.push(Month { month, read, days });
        }
        Ok(months)
    }

    async fn days(&self, workspace: WorkspaceId, days: BTreeSet<String>) -> Result<BTreeMap<String, Usage>, Error> {
        futures::stream::iter(days)
            .map(async |day| {
                let usage = self.app.store.unproven().usage_day_of_hours(workspace, &day).await?;
                Ok((day, usage))
            })
            .buffer_unordered(WORKSPACES_AT_ONCE)
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
    fn an_event_names_shards_or_means_all() {
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
    fn what_names_no_shards_there_are_is_refused() {
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
