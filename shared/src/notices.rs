//! Telling a workspace's owners that a share of their tier's limit is used up, once a month for each share.
//!
//! A notice is made in the transaction that writes the month, so it is made once however often the month is rolled up.
//! It is sent at once, and stays due until it was.

use crate::app::App;
use crate::clock::Time;
use crate::error::Error;
use crate::ids::WorkspaceId;
use crate::mailer::NoticeMail;
use crate::models::notice::{LEASE, Notice};
use crate::models::usage::{Tier, Usage, reached};
use crate::store::usage::Month;
use crate::store::{Key, Write, notice};

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
    let (tier, fresh) = app.store.notices_fresh(workspace, possible).await?;
    Ok(fresh.into_iter().filter(|notice| Some(notice.tier) == tier).collect())
}

/// The writes that make notices.
#[must_use]
pub fn writes(notices: &[Notice]) -> Vec<Write> {
    notices.iter().map(notice::create).collect()
}

/// Sends notices that were just made. One that fails stays due.
pub async fn send_all(app: &App, notices: Vec<Notice>) {
    for notice in notices {
        if let Err(error) = send(app, &notice).await {
            tracing::warn!(%error, workspace = %notice.workspace_id, "a notice was not sent; it stays due");
        }
    }
}

/// Sends the notice at `key`, which the list of due mails named, if it is due still. True when this call ended it.
pub async fn send_due(app: &App, key: Key) -> Result<bool, Error> {
    match app.store.notice(key).await? {
        Some(notice) if notice.due_at <= app.now() => send(app, &notice).await,
        // It is gone, or whoever claimed it last still has the time to send it.
        _ => Ok(false),
    }
}

/// Tells every owner who was not told yet, unless somebody else is about to. True when it is done with.
pub async fn send(app: &App, notice: &Notice) -> Result<bool, Error> {
    let now = app.now();
    let Some(claimed) = app.store.notice_claim(notice, now.plus(LEASE)).await? else {
        return Ok(false);
    };
    let Some(workspace) = app.store.notice_workspace(&claimed).await? else {
        app.store.notice_done(&claimed).await?;
        return Ok(true);
    };
    let mut all_told = true;
    for owner in app.store.owners(workspace.id, workspace.owner_count).await? {
        if claimed.told.contains(&owner.id) {
            continue;
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
            Ok(()) | Err(_) => app.store.notice_told(&claimed, owner.id).await?,
        }
    }
    let done = all_told || claimed.is_given_up(now);
    if done {
        app.store.notice_done(&claimed).await?;
    }
    Ok(done)
}
