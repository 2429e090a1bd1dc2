//! Notices: mails to a workspace's owners that a share of their tier's limit is used up, one per month and share.
//!
//! A notice is created in the transaction that writes the month, so it is created once, however often the month is
//! rolled up. It is sent after the commit, and stays due until it was sent.

use tracing::Instrument;

use crate::app::App;
use crate::clock::Time;
use crate::error::Error;
use crate::event::Deadline;
use crate::ids::WorkspaceId;
use crate::mailer::NoticeMail;
use crate::models::delivery::DeliveryStatus;
use crate::models::notice::{LEASE, Notice, SEND_BATCH_MAX};
use crate::models::usage::{Tier, Usage, reached};
use crate::models::workspace::Workspace;
use crate::outbox::FIRST_SEND_MAX;
use crate::store::usage::Month;
use crate::store::{Key, notice};
use crate::telemetry;

/// The notices that months call for and that do not exist yet.
pub async fn due(app: &App, workspace: WorkspaceId, months: &[Month], now: Time) -> Result<Vec<Notice>, Error> {
    let sums: Vec<(&str, Usage)> = months.iter().map(|month| (month.month.as_str(), month.sum())).collect();
    let of_tier = |tier: Tier| {
        let notice = move |month: &str, percent| Notice::new(workspace, month.to_owned(), tier, percent, now);
        sums.iter()
            .flat_map(move |(month, sum)| reached(tier, *sum).map(move |percent| notice(month, percent)))
    };
    // Of every tier, because the read that checks the notices also reads the workspace's tier.
    let possible: Vec<Notice> = [Tier::Developer, Tier::Pro].into_iter().flat_map(of_tier).collect();
    if possible.is_empty() {
        return Ok(Vec::new());
    }
    let (tier, new) = app
        .store
        .unproven()
        .notices_not_yet_created(workspace, possible)
        .await?;
    Ok(new.into_iter().filter(|notice| Some(notice.tier) == tier).collect())
}

/// Sends new notices, for at most `SEND_BATCH_MAX` in all. A notice that fails or that no time is left for stays due.
pub async fn send_all(app: &App, notices: Vec<Notice>) {
    let batch = Deadline::after(SEND_BATCH_MAX);
    for notice in notices {
        if batch.remaining().is_zero() || Deadline::current().remaining() < FIRST_SEND_MAX {
            break;
        }
        if let Err(error) = send_within(app, notice::key(&notice), &notice::due_sort_key(&notice), batch).await {
            tracing::warn!(%error, "notice not sent; it stays due");
        }
    }
}

/// Sends the notice of a due entry with this sort key to every owner who was not notified yet. Returns the delivery
/// status; none when a concurrent worker claimed the notice, or when there was nothing to send.
pub async fn send(app: &App, key: Key, index_key: &str) -> Result<Option<DeliveryStatus>, Error> {
    send_within(app, key, index_key, Deadline::after(SEND_BATCH_MAX)).await
}

async fn send_within(app: &App, key: Key, index_key: &str, batch: Deadline) -> Result<Option<DeliveryStatus>, Error> {
    let now = app.now();
    let store = app.store.unproven();
    let Some(claimed) = store.notice_claim(key, index_key, now.plus(LEASE)).await? else {
        return Ok(None);
    };
    let span = telemetry::item_span(Some(claimed.workspace_id), None, None);
    let sending = async {
        let Some(workspace) = store.notice_workspace(&claimed).await? else {
            store.notice_complete(&claimed).await?;
            return Ok(None);
        };
        let all_notified = notify_owners(app, &claimed, &workspace, batch).await?;
        if !all_notified && !claimed.is_given_up(now) {
            return Ok(Some(DeliveryStatus::Queued));
        }
        store.notice_complete(&claimed).await?;
        Ok(Some(if all_notified {
            DeliveryStatus::Sent
        } else {
            DeliveryStatus::Failed
        }))
    };
    sending.instrument(span).await
}

/// Sends a claimed notice to the owners who were not notified yet. Returns whether all of them are notified now.
async fn notify_owners(app: &App, claimed: &Notice, workspace: &Workspace, batch: Deadline) -> Result<bool, Error> {
    let store = app.store.unproven();
    let mut all_notified = true;
    for owner in store.owners(workspace.id, workspace.owner_count).await? {
        if claimed.notified.contains(&owner.id) {
            continue;
        }
        if batch.remaining().is_zero() {
            tracing::warn!("no time is left for a notice; it stays due");
            return Ok(false);
        }
        let mail = NoticeMail {
            to: &owner.email,
            workspace_name: workspace.name.as_str(),
            month: &claimed.month,
            tier: claimed.tier,
            percent: claimed.percent,
        };
        match app.mailer.notice(&mail).await {
            Err(error) if error.retryable => all_notified = false,
            // A mail that was refused permanently is not sent again either.
            Ok(()) | Err(_) => store.notice_mark_notified(claimed, owner.id).await?,
        }
    }
    Ok(all_notified)
}
