//! Usage: records are counted once, in the hour of their occurrence. Days and months are rolled up from the hours.
//!
//! The counter of an hour only grows, and a day is the sum of its hours, so a condition lets a day never shrink. The
//! write of a month has the revision that was read as its condition. Concurrent runs therefore cannot undo each other.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::keys::{self, SPLITS, USAGE_HOUR, USAGE_MONTH};
use super::write::UpdateError;
use super::{Item, Items, Key, Unproven, WithinDeadline, Write, Writes, notice, table};
use crate::auth::access::Tenant;
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{WorkspaceId, random_bytes};
use crate::models::notice::Notice;
use crate::models::usage::Usage;
use crate::models::usage_record::{REMEMBERED, UsageRecord};

/// The records of one transaction. With the hour's counter and the dirty marker, they are the 100 items that DynamoDB
/// permits.
pub const RECORDS_MAX: usize = 98;
/// The items of one batch read.
const READ_MAX: usize = 100;

/// The keys of the current day, the current month and the last run, for a read with other items.
#[must_use]
pub fn usage_keys(tenant: Tenant, now: Time) -> Vec<Key> {
    let workspace = tenant.workspace_id();
    vec![
        Key::usage_day(workspace, &now.date()),
        Key::usage_month(workspace, &now.month()),
        Key::usage_run(keys::shard_of(workspace)),
    ]
}

/// The usage of a workspace as of the last run.
#[derive(Clone, Copy, Debug)]
pub struct Aggregated {
    /// The usage of the current day.
    pub day: Usage,
    /// The usage of the current month.
    pub month: Usage,
    /// The usage includes every record that was counted before this time; none before the first run.
    pub as_of: Option<Time>,
}

/// Takes the usage of the current day and month from items that were read with [`usage_keys`]. It is zero where nothing
/// was rolled up.
pub fn usage_take(items: &mut Items, tenant: Tenant, now: Time) -> Result<Aggregated, Error> {
    let workspace = tenant.workspace_id();
    let run: Option<Run> = items.take(&Key::usage_run(keys::shard_of(workspace)))?;
    let mut usage = |key: Key| {
        items
            .0
            .remove(&key)
            .map_or(Ok(Usage::default()), |item| usage_of(&item))
    };
    Ok(Aggregated {
        day: usage(Key::usage_day(workspace, &now.date()))?,
        month: usage(Key::usage_month(workspace, &now.month()))?,
        as_of: run.map(|run| run.as_of),
    })
}

/// The last complete run of a shard.
#[derive(Serialize, Deserialize)]
struct Run {
    as_of: Time,
}

/// The usage in an item. A sum can have more digits than `serde_dynamo` reads.
fn usage_of(item: &Item) -> Result<Usage, Error> {
    let number = |name: &str| match item.get(name) {
        None => Ok(0),
        Some(value) => value
            .as_n()
            .ok()
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| Error::Internal(format!("a usage item's {name} is no count"))),
    };
    Ok(Usage {
        location_events: number("location_events")?,
        action_deliveries: number("action_deliveries")?,
    })
}

fn number(count: u128) -> AttributeValue {
    AttributeValue::N(count.to_string())
}

/// A value that no two writes share. A counter would repeat earlier values after its item was deleted.
fn revision() -> String {
    uuid::Uuid::from_bytes(random_bytes()).to_string()
}

/// A marker that a workspace has usage which is not rolled up yet.
#[derive(Clone, Debug)]
pub struct DirtyMarker {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The days that have such usage.
    pub days: BTreeSet<String>,
    /// The split and the version of each item that was read.
    versions: Vec<(u8, String)>,
}

/// A month as it was read.
#[derive(Clone, Debug, Default)]
pub struct MonthRead {
    revision: Option<String>,
    /// The usage of its days, as rolled up.
    pub days: BTreeMap<String, Usage>,
}

/// A month as it is to be written.
#[derive(Clone, Debug)]
pub struct Month {
    /// The UTC month, `2026-01`.
    pub month: String,
    /// The month as it was read.
    pub read: MonthRead,
    /// The days whose hours were summed again.
    pub days: BTreeMap<String, Usage>,
}

impl Month {
    /// The sum of the days. A day that was summed again replaces the day as read.
    #[must_use]
    pub fn sum(&self) -> Usage {
        let kept = self.read.days.iter().filter(|(day, _)| !self.days.contains_key(*day));
        let all = kept.chain(&self.days).map(|(_, usage)| *usage);
        all.fold(Usage::default(), Usage::plus)
    }

    /// The writes of the days that were summed again, and of the month.
    fn writes(&self, workspace: WorkspaceId) -> Vec<Write> {
        let item = |entity, key, usage: Usage| {
            Write::put(entity, key, &BTreeMap::<String, String>::new())
                .set("location_events", number(usage.location_events))
                .set("action_deliveries", number(usage.action_deliveries))
        };
        let days = self.days.iter().map(|(day, usage)| {
            item("usage-day", Key::usage_day(workspace, day), *usage)
                .when(
                    "attribute_not_exists(#pk) OR (#location_events <= :events AND #action_deliveries <= :deliveries)",
                )
                .bind_raw(":events", number(usage.location_events))
                .bind_raw(":deliveries", number(usage.action_deliveries))
        });
        let month = item("usage-month", Key::usage_month(workspace, &self.month), self.sum())
            .set("revision", AttributeValue::S(revision()));
        let month = match &self.read.revision {
            None => month.when("attribute_not_exists(#pk)"),
            Some(read) => month.when("#revision = :read").bind(":read", read),
        };
        days.chain([month]).collect()
    }
}

impl Unproven<'_> {
    /// Reads which of the workspaces exist.
    pub async fn workspaces_known(self, ids: &BTreeSet<WorkspaceId>) -> Result<HashSet<WorkspaceId>, Error> {
        let ids: Vec<WorkspaceId> = ids.iter().copied().collect();
        let mut known = HashSet::with_capacity(ids.len());
        for chunk in ids.chunks(READ_MAX) {
            let items = self
                .store
                .get(chunk.iter().copied().map(Key::workspace).collect())
                .await?;
            known.extend(chunk.iter().copied().filter(|id| items.contains(&Key::workspace(*id))));
        }
        Ok(known)
    }

    /// Counts at most [`RECORDS_MAX`] records of one workspace and one hour. Records that were counted before are left
    /// out. After an error the outcome is unknown; the records can be sent again, because each is counted once.
    pub async fn usage_add(self, mut records: Vec<&UsageRecord>, now: Time) -> Result<(), Error> {
        let [random] = random_bytes();
        let split = random % SPLITS;
        while let Some(first) = records.first() {
            let (workspace, at) = (first.workspace_id, first.occurred_at);
            let sum = records
                .iter()
                .map(|record| record.usage())
                .fold(Usage::default(), Usage::plus);
            let created = records.iter().map(|record| {
                Write::create(
                    "usage-record",
                    Key::usage_record(workspace, record.id),
                    &BTreeMap::<String, String>::new(),
                )
                .expiring(now.plus(REMEMBERED))
            });
            // Without a witness: the queue delivers the message again, and the record's item shows that it was counted.
            let writes = Writes::new()
                .all(created)
                .and(hour_write(workspace, at, split, sum))
                .and(dirty_marker_write(workspace, at, split));
            let failed: HashSet<usize> = self.store.commit_or_failed(writes).await?.into_iter().collect();
            if failed.is_empty() {
                return Ok(());
            }
            let mut index = 0..;
            records.retain(|_| index.next().is_none_or(|index| !failed.contains(&index)));
        }
        Ok(())
    }

    /// Reads a page of a shard's dirty markers, and the position of the next page. The items of a workspace form one
    /// marker.
    pub async fn usage_dirty_markers(
        self,
        shard: u8,
        start: Option<Item>,
    ) -> Result<(Vec<DirtyMarker>, Option<Item>), Error> {
        self.dirty_markers_of(keys::dirty_partition(shard), String::new(), start)
            .await
    }

    /// Reads the dirty marker of one workspace, if there is one.
    pub async fn usage_dirty_marker(self, workspace: WorkspaceId) -> Result<Option<DirtyMarker>, Error> {
        let partition = keys::dirty_partition(keys::shard_of(workspace));
        let (markers, _) = self.dirty_markers_of(partition, workspace.to_string(), None).await?;
        Ok(markers.into_iter().next())
    }

    async fn dirty_markers_of(
        self,
        partition: String,
        prefix: String,
        start: Option<Item>,
    ) -> Result<(Vec<DirtyMarker>, Option<Item>), Error> {
        let (items, next) = self.usage_page(partition, prefix, start).await?;
        let mut markers: Vec<DirtyMarker> = Vec::new();
        for item in &items {
            let (workspace, split, version, days) = dirty_marker_of(item)
                .ok_or_else(|| Error::Internal("a dirty marker has an unknown form".to_owned()))?;
            match markers.last_mut() {
                Some(last) if last.workspace == workspace => {
                    last.days.extend(days);
                    last.versions.push((split, version));
                }
                _ => markers.push(DirtyMarker {
                    workspace,
                    days,
                    versions: vec![(split, version)],
                }),
            }
        }
        Ok((markers, next))
    }

    /// Reads a month as it is rolled up.
    pub async fn usage_month(self, workspace: WorkspaceId, month: &str) -> Result<MonthRead, Error> {
        let mut read = MonthRead::default();
        for item in self.usage_all(workspace, format!("{USAGE_MONTH}{month}")).await? {
            let revision = item.get("revision").and_then(|value| value.as_s().ok());
            if let Some(revision) = revision {
                read.revision = Some(revision.clone());
            } else if let Some(day) = last_part(&item) {
                read.days.insert(day, usage_of(&item)?);
            }
        }
        Ok(read)
    }

    /// Reads the hours of a day and returns their sum.
    pub async fn usage_day_of_hours(self, workspace: WorkspaceId, day: &str) -> Result<Usage, Error> {
        let hours = self.usage_all(workspace, format!("{USAGE_HOUR}{day}")).await?;
        hours
            .iter()
            .try_fold(Usage::default(), |sum, hour| Ok(sum.plus(usage_of(hour)?)))
    }

    /// Writes days and months, with new notices, and deletes the dirty marker in the same transaction. The items of the
    /// marker that changed since they were read stay. [`Error::Stale`] when a concurrent run wrote the months first.
    pub async fn usage_roll_up(self, marker: &DirtyMarker, months: &[Month], notices: &[Notice]) -> Result<(), Error> {
        let summed: Vec<Write> = months.iter().flat_map(|month| month.writes(marker.workspace)).collect();
        let notices: Vec<Write> = notices.iter().map(notice::create).collect();
        let rolled_up = || {
            Writes::new()
                .all(summed.clone())
                .witnessed()
                .all(notices.iter().cloned())
        };
        let rolled_up_len = summed.len() + notices.len();
        let deletes: Vec<Write> = marker
            .versions
            .iter()
            .map(|(split, version)| {
                Write::delete(Key::usage_dirty_marker(marker.workspace, *split))
                    .when("#version = :version")
                    .bind(":version", version)
            })
            .collect();
        let writes = rolled_up().all(deletes.clone());
        let failed = self.store.commit_or_failed(writes).await?;
        if failed.is_empty() {
            return Ok(());
        }
        if failed.iter().any(|index| *index < rolled_up_len) {
            return Err(Error::Stale);
        }
        // Only items of the marker changed: the sums are still valid, and the next run handles the changed items.
        let unchanged: Vec<Write> = deletes
            .into_iter()
            .enumerate()
            .filter(|(index, _)| !failed.contains(&(rolled_up_len + index)))
            .map(|(_, write)| write)
            .collect();
        match self
            .store
            .commit_or_failed(rolled_up().all(unchanged))
            .await?
            .as_slice()
        {
            [] => Ok(()),
            failed if failed.iter().any(|index| *index < rolled_up_len) => Err(Error::Stale),
            _ => self.store.commit(rolled_up()).await,
        }
    }

    /// Records that every record which was counted before `as_of` is rolled up in this shard.
    pub async fn usage_run_complete(self, shard: u8, as_of: Time) -> Result<(), Error> {
        let write = Write::upsert(Key::usage_run(shard), "SET #entity = :entity, #as_of = :as_of")
            .when("attribute_not_exists(#pk) OR #as_of < :as_of")
            .bind(":entity", "usage-run")
            .bind(":as_of", as_of)
            .without_read_back();
        match self.store.update_one::<Run>(write).await {
            // A later run has recorded its time already.
            Ok(_) | Err(UpdateError::Condition(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the items of a workspace's usage whose sort key starts with `prefix`.
    async fn usage_all(self, workspace: WorkspaceId, prefix: String) -> Result<Vec<Item>, Error> {
        let (mut items, mut start) = (Vec::new(), None);
        loop {
            let page = self
                .usage_page(keys::usage_partition(workspace), prefix.clone(), start)
                .await?;
            items.extend(page.0);
            start = page.1;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    async fn usage_page(
        self,
        partition: String,
        prefix: String,
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), Error> {
        let all = prefix.is_empty();
        let condition = if all {
            "#pk = :pk"
        } else {
            "#pk = :pk AND begins_with(#sk, :prefix)"
        };
        let mut query = self
            .store
            .client
            .query()
            .table_name(&self.store.table)
            .consistent_read(true)
            .key_condition_expression(condition)
            .expression_attribute_names("#pk", table::PK)
            .expression_attribute_values(":pk", AttributeValue::S(partition))
            .set_exclusive_start_key(start);
        if !all {
            query = query
                .expression_attribute_names("#sk", table::SK)
                .expression_attribute_values(":prefix", AttributeValue::S(prefix));
        }
        let page = query.send().within_deadline("Query").await?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }
}

/// The write that adds `sum` to the counter of an hour.
fn hour_write(workspace: WorkspaceId, at: Time, split: u8, sum: Usage) -> Write {
    Write::upsert(
        Key::usage_hour(workspace, &at.hour(), split),
        "SET #entity = :entity, #ttl = :ttl ADD #location_events :events, #action_deliveries :deliveries",
    )
    .bind(":entity", "usage-hour")
    // Twice the time that a record may be late: the hours of a day are needed while records of the day may arrive.
    .bind(":ttl", at.plus(REMEMBERED * 2).as_seconds())
    .bind_raw(":events", number(sum.location_events))
    .bind_raw(":deliveries", number(sum.action_deliveries))
}

/// The write that marks the day of `at` as not rolled up.
fn dirty_marker_write(workspace: WorkspaceId, at: Time, split: u8) -> Write {
    Write::upsert(
        Key::usage_dirty_marker(workspace, split),
        "SET #entity = :entity, #version = :version ADD #days :days",
    )
    .bind(":entity", "usage-dirty-marker")
    .bind(":version", revision())
    .bind_raw(":days", AttributeValue::Ss(vec![at.date()]))
}

/// Reads an item of a dirty marker: the workspace and the split of its key, its version, and its days.
fn dirty_marker_of(item: &Item) -> Option<(WorkspaceId, u8, String, BTreeSet<String>)> {
    let text = |name: &str| item.get(name)?.as_s().ok();
    let (workspace, split) = text(table::SK)?.split_at_checked(36)?;
    let split = split.get(1..)?.parse().ok()?;
    let days = item.get("days")?.as_ss().ok()?.iter().cloned().collect();
    Some((workspace.parse().ok()?, split, text("version")?.clone(), days))
}

/// The last part of an item's sort key.
fn last_part(item: &Item) -> Option<String> {
    let sort_key = item.get(table::SK)?.as_s().ok()?;
    sort_key.rsplit(keys::SEPARATOR).next().map(str::to_owned)
}
