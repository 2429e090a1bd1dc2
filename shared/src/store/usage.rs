//! Usage: records taken once, hours counted, days and months rolled up from them.
//!
//! An hour's counter only grows, and a day is always the sum of its hours. So a day that is written never shrinks, and
//! whoever writes a month names the revision that was read: two runs at once cannot undo each other.

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

/// Records of one transaction: with the hour's counter and the news, the 100 items that one may have.
pub const RECORDS_MAX: usize = 98;
/// Items of one read.
const READ_MAX: usize = 100;

/// The items of the current day and month, to be read beside others.
#[must_use]
pub fn usage_keys(tenant: Tenant, now: Time) -> Vec<Key> {
    let workspace = tenant.workspace_id();
    vec![
        Key::usage_day(workspace, &now.date()),
        Key::usage_month(workspace, &now.month()),
        Key::usage_run(keys::shard_of(workspace)),
    ]
}

/// A workspace's usage, as last aggregated.
#[derive(Clone, Copy, Debug)]
pub struct Aggregated {
    /// Of the current day.
    pub day: Usage,
    /// Of the current month.
    pub month: Usage,
    /// Every record taken before is in it; none before the first run.
    pub as_of: Option<Time>,
}

/// The current day's and month's usage from items read with [`usage_keys`]; zero where nothing was aggregated.
pub fn usage_take(items: &mut Items, tenant: Tenant, now: Time) -> Result<Aggregated, Error> {
    let workspace = tenant.workspace_id();
    let run: Option<Run> = items.take(&Key::usage_run(keys::shard_of(workspace)))?;
    let mut usage = |key: Key| items.0.remove(&key).map_or(Ok(Usage::default()), |item| counted(&item));
    Ok(Aggregated {
        day: usage(Key::usage_day(workspace, &now.date()))?,
        month: usage(Key::usage_month(workspace, &now.month()))?,
        as_of: run.map(|run| run.as_of),
    })
}

/// A shard's last whole run.
#[derive(Serialize, Deserialize)]
struct Run {
    as_of: Time,
}

/// What an item counts. Sums may be wider than what `serde_dynamo` reads.
fn counted(item: &Item) -> Result<Usage, Error> {
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

/// A value that no two writes share: a counter would come back to an earlier value once its item was deleted.
fn revision() -> String {
    uuid::Uuid::from_bytes(random_bytes()).to_string()
}

/// That a workspace has usage which is not rolled up yet.
#[derive(Clone, Debug)]
pub struct DirtyMarker {
    /// Whose.
    pub workspace: WorkspaceId,
    /// The days that it is of.
    pub days: BTreeSet<String>,
    seen: Vec<(u8, String)>,
}

/// A month as it was read.
#[derive(Clone, Debug, Default)]
pub struct MonthRead {
    revision: Option<String>,
    /// Its days, as rolled up.
    pub days: BTreeMap<String, Usage>,
}

/// A month as it is to be written.
#[derive(Clone, Debug)]
pub struct Month {
    /// The UTC month, `2026-01`.
    pub month: String,
    /// As it was read.
    pub read: MonthRead,
    /// Its days that were summed anew.
    pub days: BTreeMap<String, Usage>,
}

impl Month {
    /// The sum of its days: those summed anew in place of what was read of them.
    #[must_use]
    pub fn sum(&self) -> Usage {
        let kept = self.read.days.iter().filter(|(day, _)| !self.days.contains_key(*day));
        let all = kept.chain(&self.days).map(|(_, usage)| *usage);
        all.fold(Usage::default(), Usage::plus)
    }

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
    /// Which of the workspaces exist.
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

    /// Counts records of one workspace and one hour, at most [`RECORDS_MAX`]. Those that were counted before are left
    /// out. An error leaves open whether they were counted: sending them again settles it.
    pub async fn usage_add(self, mut records: Vec<&UsageRecord>, now: Time) -> Result<(), Error> {
        let [random] = random_bytes();
        let split = random % SPLITS;
        while let Some(first) = records.first() {
            let (workspace, at) = (first.workspace_id, first.occurred_at);
            let sum = records
                .iter()
                .map(|record| record.usage())
                .fold(Usage::default(), Usage::plus);
            let taken = records.iter().map(|record| {
                Write::create(
                    "usage-record",
                    Key::usage_record(workspace, record.id),
                    &BTreeMap::<String, String>::new(),
                )
                .expiring(now.plus(REMEMBERED))
            });
            // Without a witness: the message comes back, and is known by its record.
            let writes = Writes::new()
                .all(taken)
                .and(hour_added(workspace, at, split, sum))
                .and(news_told(workspace, at, split));
            let failed: HashSet<usize> = self.store.commit_or_failed(writes).await?.into_iter().collect();
            if failed.is_empty() {
                return Ok(());
            }
            let mut place = 0..;
            records.retain(|_| place.next().is_none_or(|place| !failed.contains(&place)));
        }
        Ok(())
    }

    /// A page of a shard's news, a workspace's together, and where the next page begins.
    pub async fn usage_dirty_markers(
        self,
        shard: u8,
        start: Option<Item>,
    ) -> Result<(Vec<DirtyMarker>, Option<Item>), Error> {
        self.news(keys::dirty_partition(shard), String::new(), start).await
    }

    /// The news of one workspace, if there are any.
    pub async fn usage_dirty_marker(self, workspace: WorkspaceId) -> Result<Option<DirtyMarker>, Error> {
        let partition = keys::dirty_partition(keys::shard_of(workspace));
        let (news, _) = self.news(partition, workspace.to_string(), None).await?;
        Ok(news.into_iter().next())
    }

    async fn news(
        self,
        partition: String,
        prefix: String,
        start: Option<Item>,
    ) -> Result<(Vec<DirtyMarker>, Option<Item>), Error> {
        let (items, next) = self.usage_page(partition, prefix, start).await?;
        let mut news: Vec<DirtyMarker> = Vec::new();
        for item in &items {
            let (workspace, split, version, days) =
                told(item).ok_or_else(|| Error::Internal("an item of news is not what it should be".to_owned()))?;
            match news.last_mut() {
                Some(last) if last.workspace == workspace => {
                    last.days.extend(days);
                    last.seen.push((split, version));
                }
                _ => news.push(DirtyMarker {
                    workspace,
                    days,
                    seen: vec![(split, version)],
                }),
            }
        }
        Ok((news, next))
    }

    /// A month as it is rolled up.
    pub async fn usage_month(self, workspace: WorkspaceId, month: &str) -> Result<MonthRead, Error> {
        let mut read = MonthRead::default();
        for item in self.usage_all(workspace, format!("{USAGE_MONTH}{month}")).await? {
            let revision = item.get("revision").and_then(|value| value.as_s().ok());
            if let Some(revision) = revision {
                read.revision = Some(revision.clone());
            } else if let Some(day) = last_part(&item) {
                read.days.insert(day, counted(&item)?);
            }
        }
        Ok(read)
    }

    /// The sum of a day's hours.
    pub async fn usage_day_of_hours(self, workspace: WorkspaceId, day: &str) -> Result<Usage, Error> {
        let hours = self.usage_all(workspace, format!("{USAGE_HOUR}{day}")).await?;
        hours
            .iter()
            .try_fold(Usage::default(), |sum, hour| Ok(sum.plus(counted(hour)?)))
    }

    /// Writes days and months, with new notices in the same transaction, and forgets the news they came from: all but what
    /// became newer since it was read. [`Error::Stale`] when another run was faster.
    pub async fn usage_roll_up(self, news: &DirtyMarker, months: &[Month], notices: &[Notice]) -> Result<(), Error> {
        let summed: Vec<Write> = months.iter().flat_map(|month| month.writes(news.workspace)).collect();
        let more: Vec<Write> = notices.iter().map(notice::create).collect();
        let rolled = || Writes::new().all(summed.clone()).witnessed().all(more.iter().cloned());
        let rolled_len = summed.len() + more.len();
        let forgotten: Vec<Write> = news
            .seen
            .iter()
            .map(|(split, version)| {
                Write::delete(Key::usage_dirty_marker(news.workspace, *split))
                    .when("#version = :version")
                    .bind(":version", version)
            })
            .collect();
        let writes = rolled().all(forgotten.clone());
        let failed = self.store.commit_or_failed(writes).await?;
        if failed.is_empty() {
            return Ok(());
        }
        if failed.iter().any(|place| *place < rolled_len) {
            return Err(Error::Stale);
        }
        // Only news changed: what was rolled up is true all the same, and the newer news stay for the next run.
        let still: Vec<Write> = forgotten
            .into_iter()
            .enumerate()
            .filter(|(place, _)| !failed.contains(&(rolled_len + place)))
            .map(|(_, write)| write)
            .collect();
        match self.store.commit_or_failed(rolled().all(still)).await?.as_slice() {
            [] => Ok(()),
            failed if failed.iter().any(|place| *place < rolled_len) => Err(Error::Stale),
            _ => self.store.commit(rolled()).await,
        }
    }

    /// Records that everything taken before `as_of` is rolled up in this shard.
    pub async fn usage_run_complete(self, shard: u8, as_of: Time) -> Result<(), Error> {
        let write = Write::upsert(Key::usage_run(shard), "SET #entity = :entity, #as_of = :as_of")
            .when("attribute_not_exists(#pk) OR #as_of < :as_of")
            .bind(":entity", "usage-run")
            .bind(":as_of", as_of)
            .without_read_back();
        match self.store.update_one::<Run>(write).await {
            // A later run was faster.
            Ok(_) | Err(UpdateError::Condition(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

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

fn hour_added(workspace: WorkspaceId, at: Time, split: u8, sum: Usage) -> Write {
    Write::upsert(
        Key::usage_hour(workspace, &at.hour(), split),
        "SET #entity = :entity, #ttl = :ttl ADD #location_events :events, #action_deliveries :deliveries",
    )
    .bind(":entity", "usage-hour")
    // Twice what a record may be late: a day is summed from its hours for as long as one may come.
    .bind(":ttl", at.plus(REMEMBERED * 2).as_seconds())
    .bind_raw(":events", number(sum.location_events))
    .bind_raw(":deliveries", number(sum.action_deliveries))
}

fn news_told(workspace: WorkspaceId, at: Time, split: u8) -> Write {
    Write::upsert(
        Key::usage_dirty_marker(workspace, split),
        "SET #entity = :entity, #version = :version ADD #days :days",
    )
    .bind(":entity", "usage-dirty-marker")
    .bind(":version", revision())
    .bind_raw(":days", AttributeValue::Ss(vec![at.date()]))
}

/// What an item of news tells: the workspace and the split from its key, its version, its days.
fn told(item: &Item) -> Option<(WorkspaceId, u8, String, BTreeSet<String>)> {
    let text = |name: &str| item.get(name)?.as_s().ok();
    let (workspace, split) = text(table::SK)?.split_at_checked(36)?;
    let split = split.get(1..)?.parse().ok()?;
    let days = item.get("days")?.as_ss().ok()?.iter().cloned().collect();
    Some((workspace.parse().ok()?, split, text("version")?.clone(), days))
}

/// What stands last in an item's sort key.
fn last_part(item: &Item) -> Option<String> {
    let sort_key = item.get(table::SK)?.as_s().ok()?;
    sort_key.rsplit(keys::SEPARATOR).next().map(str::to_owned)
}
