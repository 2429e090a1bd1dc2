//! Telling a workspace's owners that a share of their tier's limit is used up, once a month for each share.
//!
//! A notice is made in the transaction that writes the month, so it is made once however often the month is rolled up.
//! It is sent at once, and stays due until it was.

use crate::app::App;
use crate::clock::Time;
use crate::error::Error;
use crate::event::Deadline;
use crate::ids::WorkspaceId;
use crate::mailer::NoticeMail;
use crate::models::delivery::DeliveryStatus;
use crate::models::notice::{LEASE, Notice, SEND_BATCH_MAX};
use crate::models::usage::{Tier, Usage, reached};
use crate::outbox::FIRST_SEND_MAX;
use crate::store::usage::Month;
use crate::store::{Key, notice};

/// The notices that months call for and that were not made before.
pub async fn due(app: &App, workspace: WorkspaceId, months: &[Month], now: Time) -> Result<Vec<Notice>, Error> {
    let sums: Vec<(&str, Usage)> = months.iter().map(|month| (month.month.as_str(), month.sum())).collect();
    let of = |tier: Tier| {
        let notice = move |month: &str, percent| Notice::new(workspace, month.to_owned(), tier, percent, now);
        sums.iter()
            .flat_map(move |(month, sum)| reached(tier, *sum).map(move |percent| notice(month, percent)))
    };
    // Of every tier, for the workspace's own comes with the same read.
    let possible: Vec<Notice> = [Tier::Developer, Tier::Pro].into_iter().flat_map(of).collect();
    if possible.is_empty() {
        return Ok(Vec::new());
    }
    let (tier, fresh) = app
        .store
        .unproven()
        .notices_not_yet_created(workspace, possible)
        .await?;
    Ok(fresh.into_iter().filter(|notice| Some(notice.tier) == tier).collect())
}

/// Sends notices that were just made, all in one turn. One that fails, or whose turn has not come, stays due.
pub async fn send_all(app: &App, notices: Vec<Notice>) {
    let turn = Deadline::after(SEND_BATCH_MAX);
    for notice in notices {
        if turn.remaining().is_zero() || Deadline::current().remaining() < FIRST_SEND_MAX {
            break;
        }
        if let Err(error) = send_until(app, notice::key(&notice), &notice::due_sort_key(&notice), turn).await {
            tracing::warn!(%error, workspace = %notice.workspace_id, "a notice was not sent; it stays due");
        }
    }
}

/// Tells every owner who was not told yet of the notice that the list of due mails shows at `place`, unless somebody else
/// is about to. Answers what became of it; none when there was nothing to do.
pub async fn send(app: &App, key: Key, index_key: &str) -> Result<Option<DeliveryStatus>, Error> {
    send_until(app, key, index_key, Deadline::after(SEND_BATCH_MAX)).await
}

async fn send_until(app: &App, key: Key, index_key: &str, turn: Deadline) -> Result<Option<DeliveryStatus>, Error> {
    let now = app.now();
    let Some(claimed) = app
        .store
        .unproven()
        .notice_claim(key, index_key, now.plus(LEASE))
        .await?
    else {
        return Ok(None);
    };
    let Some(workspace) = app.store.unproven().notice_workspace(&claimed).await? else {
        app.store.unproven().notice_complete(&claimed).await?;
        return Ok(None);
    };
    let mut all_told = true;
    for owner in app.store.unproven().owners(workspace.id, workspace.owner_count).await? {
        if claimed.notified.contains(&owner.id) {
            continue;
        }
        if turn.remaining().is_zero() {
            tracing::warn!(workspace = %workspace.id, "telling owners takes longer than a turn; it stays due");
            all_told = false;
            break;
        }
        let mail = NoticeMail {
            to: &owner.email,
            workspace_name: workspace.name.as_str(),
            month: &claimed.month,
            tier: claimed.tier,
            percent: claimed.percent,
        };
        match app.mailer.notice(&mail).await {
            Err(error) if error.retryable => all_told = false,
            // What is refused for good is not tried again either.
            Ok(()) | Err(_) => app.store.unproven().notice_mark_notified(&claimed, owner.id).await?,
        }
    }
    if !all_told && !claimed.is_given_up(now) {
        return Ok(Some(DeliveryStatus::Queued));
    }
    app.store.unproven().notice_complete(&claimed).await?;
    Ok(Some(if all_told {
        DeliveryStatus::Sent
    } else {
        DeliveryStatus::Failed
    }))
}
