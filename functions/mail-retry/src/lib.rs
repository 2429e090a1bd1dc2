//! Sends the mails that are due: those that the mail service did not accept at first, and those whose delivery status
//! was not recorded because the process ended.

use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::event::Deadline;
use shared::models::delivery::DeliveryStatus;
use shared::store::due::Due;
use shared::{App, Error, notices, outbox, telemetry};
use tracing::Instrument;

/// Mails that are sent concurrently: the sending rate of a new account is a few mails a second.
const CONCURRENCY: usize = 4;
/// Pages of due entries that one call works through. The next call, a minute later, continues.
const PAGES_MAX: usize = 10;

/// The number of due mails by delivery status.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Mails that the mail service accepted.
    sent: usize,
    /// Mails that are sent again later.
    queued: usize,
    /// Mails that are given up.
    failed: usize,
}

/// Handles a call. The schedule's event has no relevant data.
pub async fn handle(app: App, _event: Map<String, Value>, deadline: Deadline) -> Result<Report, Error> {
    let now = app.now();
    let mut report = Report::default();
    let mut from = None;
    for _ in 0..PAGES_MAX {
        let page = app.store.unproven().due_page(now, from).await?;
        let mut statuses = stream::iter(page.entries)
            .map(|due| {
                let (workspace, invitation) = due.key.as_pending().unzip();
                let span = telemetry::item_span(workspace, invitation, None);
                send_due(&app, due, deadline).instrument(span)
            })
            .buffer_unordered(CONCURRENCY);
        while let Some(status) = statuses.next().await {
            match status {
                None => {}
                Some(DeliveryStatus::Queued) => report.queued += 1,
                Some(DeliveryStatus::Failed) => report.failed += 1,
                Some(
                    DeliveryStatus::Sent
                    | DeliveryStatus::Delivered
                    | DeliveryStatus::Bounced
                    | DeliveryStatus::Complained,
                ) => report.sent += 1,
            }
        }
        from = page.next;
        if from.is_none() || deadline.remaining() < outbox::SEND_MAX {
            break;
        }
    }
    Ok(report)
}

/// Sends one mail, if enough time is left to record its delivery status. A mail that fails stays due and delays no
/// other mail.
async fn send_due(app: &App, due: Due, deadline: Deadline) -> Option<DeliveryStatus> {
    if deadline.remaining() < outbox::SEND_MAX {
        return None;
    }
    let sent = if let Some((workspace, id)) = due.key.as_pending() {
        outbox::invitation_mail_retry(app, workspace, id, &due.index_key).await
    } else if due.key.is_notice() {
        notices::send(app, due.key.clone(), &due.index_key).await
    } else {
        tracing::warn!(key = ?due.key, "due entry refers to an unknown item type");
        return None;
    };
    sent.unwrap_or_else(|error| {
        tracing::warn!(%error, key = ?due.key, "due mail not handled; it stays due");
        None
    })
}
