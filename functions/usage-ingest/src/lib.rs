//! Takes usage records from the queue, each once.
//!
//! A message that is not taken is a failure of its own: the queue delivers it again, and after some times puts it into
//! the dead-letter queue. The others of its batch are kept.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use futures::StreamExt;
use shared::clock::Time;
use shared::event::Deadline;
use shared::ids::{RecordId, WorkspaceId};
use shared::models::usage_record::{Refusal, Refused, UsageRecord};
use shared::store::usage::RECORDS_MAX;
use shared::{App, Error};

/// Transactions at once.
const CONCURRENCY: usize = 8;
/// Time left below which nothing more is begun; what is left is delivered again.
const RESERVE: Duration = Duration::from_secs(5);

/// Takes a batch of messages, a record each.
pub async fn handle(app: App, event: SqsEvent, deadline: Deadline) -> Result<SqsBatchResponse, Error> {
    let mut failed = Failed::default();
    let mut sorted = Sorted::default();
    for message in event.records {
        match UsageRecord::parse(message.body.as_deref().unwrap_or_default(), app.now()) {
            Ok(record) => sorted.add(message.message_id, record),
            Err(refused) => failed.refuse(message.message_id, refused),
        }
    }
    let known = app.store.unproven().workspaces_known(&sorted.workspaces()).await?;
    let groups = sorted.groups(&known, &mut failed);
    let added = futures::stream::iter(groups)
        .map(|group| add(app.clone(), group, deadline))
        .buffer_unordered(CONCURRENCY);
    let again: Vec<Vec<MessageId>> = added.collect().await;
    for message in again.into_iter().flatten() {
        failed.add(message);
    }
    failed.answer()
}

/// Adds a group's records; answers the messages to be delivered again.
async fn add(app: App, group: Vec<Taken>, deadline: Deadline) -> Vec<MessageId> {
    let messages = || group.iter().flat_map(|taken| taken.messages.clone()).collect();
    if deadline.remaining() < RESERVE {
        tracing::warn!(
            records = group.len(),
            "no time is left for usage records; they are delivered again"
        );
        return messages();
    }
    let records = group.iter().map(|taken| &taken.record).collect();
    match app.store.unproven().usage_add(records, app.now()).await {
        Ok(()) => Vec::new(),
        Err(error) => {
            tracing::error!(%error, records = group.len(), "usage records were not counted; they are delivered again");
            messages()
        }
    }
}

/// What a failure is told by; the queue gives every message one.
type MessageId = Option<String>;

/// A record, and the messages that it came in.
struct Taken {
    record: UsageRecord,
    messages: Vec<MessageId>,
}

/// The records of a batch, each once, in the order of workspaces and hours.
#[derive(Default)]
struct Sorted {
    hours: BTreeMap<(WorkspaceId, Time), Vec<Taken>>,
    places: BTreeMap<(WorkspaceId, RecordId), (Time, usize)>,
}

impl Sorted {
    fn add(&mut self, message: MessageId, record: UsageRecord) {
        let id = (record.workspace_id, record.id);
        if let Some((hour, place)) = self.places.get(&id) {
            let hour = self.hours.entry((record.workspace_id, *hour)).or_default();
            if let Some(taken) = hour.get_mut(*place) {
                taken.messages.push(message);
            }
            return;
        }
        let hour = hour_of(record.occurred_at);
        let records = self.hours.entry((record.workspace_id, hour)).or_default();
        self.places.insert(id, (hour, records.len()));
        records.push(Taken {
            record,
            messages: vec![message],
        });
    }

    fn workspaces(&self) -> BTreeSet<WorkspaceId> {
        self.hours.keys().map(|(workspace, _)| *workspace).collect()
    }

    /// Groups that are a transaction each.
    fn groups(self, known: &HashSet<WorkspaceId>, failed: &mut Failed) -> Vec<Vec<Taken>> {
        let mut groups = Vec::new();
        for ((workspace, _), mut records) in self.hours {
            if !known.contains(&workspace) {
                for Taken { record, messages } in records {
                    for message in messages {
                        let id = Some(record.id);
                        let reason = Refusal::UnknownWorkspace;
                        failed.refuse(message, Refused { id, reason });
                    }
                }
                continue;
            }
            while records.len() > RECORDS_MAX {
                groups.push(records.split_off(records.len() - RECORDS_MAX));
            }
            groups.push(records);
        }
        groups
    }
}

fn hour_of(at: Time) -> Time {
    const HOUR_MS: i64 = 3_600_000;
    Time::from_millis(at.as_millis().div_euclid(HOUR_MS) * HOUR_MS)
}

/// The messages that were not taken.
#[derive(Default)]
struct Failed {
    ids: Vec<String>,
    nameless: bool,
}

impl Failed {
    /// A record that no repetition makes right. Its body may hold anything, so it is not logged.
    fn refuse(&mut self, message: MessageId, Refused { id, reason }: Refused) {
        let record_id = id.map(tracing::field::display);
        tracing::warn!(message_id = message.as_deref(), record_id, %reason, "a usage record was refused");
        self.add(message);
    }

    fn add(&mut self, message: MessageId) {
        match message {
            Some(id) => self.ids.push(id),
            None => self.nameless = true,
        }
    }

    fn answer(self) -> Result<SqsBatchResponse, Error> {
        if self.nameless {
            // It cannot be named in the answer, and must not pass for taken.
            return Err(Error::Internal("a message without an id was not taken".to_owned()));
        }
        let failure = |id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        };
        let mut answer = SqsBatchResponse::default();
        answer.batch_item_failures = self.ids.into_iter().map(failure).collect();
        Ok(answer)
    }
}
