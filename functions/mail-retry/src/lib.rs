//! Sends the mails that are due: those that the mail service did not take at first, and those whose maker ended before
//! their fate was known.

use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::event::Deadline;
use shared::models::delivery::DeliveryStatus;
use shared::store::due::Due;
use shared::{App, Error, notices, outbox};

/// Mails that are sent side by side: a new account's rate is a few a second.
const AT_ONCE: usize = 4;
/// Pages of the list that one call works through; what is left is the next call's, a minute later.
const PAGES_MAX: usize = 10;

/// What became of the mails that were due.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The mail service took them.
    sent: usize,
    /// They are tried again later.
    queued: usize,
    /// They were given up.
    failed: usize,
}

/// Takes a call. The schedule's event says nothing that matters.
pub async fn handle(app: App, _event: Map<String, Value>, deadline: Deadline) -> Result<Report, Error> {
    let now = app.now();
    let mut report = Report::default();
    let mut from = None;
    for _ in 0..PAGES_MAX {
        let page = app.store.unproven().due_page(now, from).await?;
        let mut fates = stream::iter(page.entries)
            .map(|due| attempt(&app, due, deadline))
            .buffer_unordered(AT_ONCE);
        while let Some(fate) = fates.next().await {
            match fate {
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

/// Sends one mail, when there is time left to see it through. One that fails stays due and keeps no other waiting.
async fn attempt(app: &App, due: Due, deadline: Deadline) -> Option<DeliveryStatus> {
    if deadline.remaining() < outbox::SEND_MAX {
        return None;
    }
    let fate = if let Some((workspace, id)) = due.key.as_pending() {
        outbox::invitation_mail_retry(app, workspace, id, &due.index_key).await
    } else if due.key.is_notice() {
        notices::send(app, due.key.clone(), &due.index_key).await
    } else {
        tracing::warn!(key = ?due.key, "a mail is due of an item that has none");
        return None;
    };
    fate.unwrap_or_else(|error| {
        tracing::warn!(%error, key = ?due.key, "a mail that is due was not seen to");
        None
    })
}
