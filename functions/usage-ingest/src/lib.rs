//! Counts the usage records of the queue, each once.
//!
//! The response names the messages that were not counted. The queue delivers them again, and after several deliveries
//! moves them to the dead-letter queue. The other messages of the batch are done.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use futures::StreamExt;
use shared::clock::Time;
use shared::event::Deadline;
use shared::ids::{RecordId, WorkspaceId};
use shared::models::usage_record::{Refusal, Refused, UsageRecord};
use shared::store::usage::RECORDS_MAX;
use shared::{App, Error, telemetry};
use tracing::Instrument;

/// Concurrent transactions.
const CONCURRENCY: usize = 8;
/// With less remaining time, no transaction starts; the queue delivers the messages again.
const RESERVE: Duration = Duration::from_secs(5);

/// Handles a batch of messages with one record each.
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
    let adding = futures::stream::iter(groups)
        .map(|group| {
            let span = telemetry::item_span(group.first().map(|received| received.record.workspace_id), None, None);
            add(app.clone(), group, deadline).instrument(span)
        })
        .buffer_unordered(CONCURRENCY);
    let not_added: Vec<Vec<MessageId>> = adding.collect().await;
    for message in not_added.into_iter().flatten() {
        failed.add(message);
    }
    failed.into_response()
}

/// Adds a group's records. Returns the messages that the queue has to deliver again.
async fn add(app: App, group: Vec<Received>, deadline: Deadline) -> Vec<MessageId> {
    let messages = || group.iter().flat_map(|received| received.messages.clone()).collect();
    if deadline.remaining() < RESERVE {
        tracing::warn!(
            records = group.len(),
            "usage records were not counted: no time is left; they are delivered again"
        );
        return messages();
    }
    let records = group.iter().map(|received| &received.record).collect();
    match app.store.unproven().usage_add(records, app.now()).await {
        Ok(()) => Vec::new(),
        Err(error) => {
            tracing::error!(%error, records = group.len(), "usage records were not counted; they are delivered again");
            messages()
        }
    }
}

/// Names a message in a partial batch response; the queue gives every message one.
type MessageId = Option<String>;

/// A record and the messages that contain it.
struct Received {
    record: UsageRecord,
    messages: Vec<MessageId>,
}

/// The records of a batch without duplicates, in the order of workspaces and hours.
#[derive(Default)]
struct Sorted {
    hours: BTreeMap<(WorkspaceId, Time), Vec<Received>>,
    /// The hour and the index of each record.
    indexes: BTreeMap<(WorkspaceId, RecordId), (Time, usize)>,
}

impl Sorted {
    fn add(&mut self, message: MessageId, record: UsageRecord) {
        let id = (record.workspace_id, record.id);
        if let Some((hour, index)) = self.indexes.get(&id) {
            let hour = self.hours.entry((record.workspace_id, *hour)).or_default();
            if let Some(received) = hour.get_mut(*index) {
                received.messages.push(message);
            }
            return;
        }
        let hour = hour_of(record.occurred_at);
        let records = self.hours.entry((record.workspace_id, hour)).or_default();
        self.indexes.insert(id, (hour, records.len()));
        records.push(Received {
            record,
            messages: vec![message],
        });
    }

    fn workspaces(&self) -> BTreeSet<WorkspaceId> {
        self.hours.keys().map(|(workspace, _)| *workspace).collect()
    }

    /// Splits the records into groups of one transaction each. Refuses the records of unknown workspaces.
    fn groups(self, known: &HashSet<WorkspaceId>, failed: &mut Failed) -> Vec<Vec<Received>> {
        let mut groups = Vec::new();
        for ((workspace, _), mut records) in self.hours {
            if !known.contains(&workspace) {
                let _item = telemetry::item_span(Some(workspace), None, None).entered();
                for Received { record, messages } in records {
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

/// The messages that are not counted.
#[derive(Default)]
struct Failed {
    ids: Vec<String>,
    /// Whether a message without an id is among them.
    has_unnamed: bool,
}

impl Failed {
    /// Adds a message whose record is refused on every delivery. Its body may hold any text, so it is not logged.
    fn refuse(&mut self, message: MessageId, Refused { id, reason }: Refused) {
        let record_id = id.map(tracing::field::display);
        tracing::warn!(message_id = message.as_deref(), record_id, %reason, "a usage record was refused");
        self.add(message);
    }

    fn add(&mut self, message: MessageId) {
        match message {
            Some(id) => self.ids.push(id),
            None => self.has_unnamed = true,
        }
    }

    /// The partial batch response, which names the messages.
    fn into_response(self) -> Result<SqsBatchResponse, Error> {
        if self.has_unnamed {
            // The response cannot name the message, so the whole batch has to be delivered again.
            return Err(Error::Internal("a message without an id was not taken".to_owned()));
        }
        let failure = |id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        };
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = self.ids.into_iter().map(failure).collect();
        Ok(response)
    }
}
