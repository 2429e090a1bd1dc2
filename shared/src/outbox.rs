//! Mails that the table says are due: sent by whoever holds them, and their fate recorded.
//!
//! The transaction that makes an invitation marks its mail as due a minute later, so that its maker holds it until then.
//! Afterwards a mail is claimed by a conditional write before it is sent: two callers never send one. A mail whose fate
//! nobody recorded (the process ended, or the mail service took it and the answer was lost) is due again; only then may
//! a person get it twice.

use std::time::Duration;

use crate::app::App;
use crate::auth::invite::link;
use crate::clock::Time;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ids::{InvitationId, WorkspaceId};
use crate::mailer::{InvitationMail, MailError};
use crate::models::delivery::{Delivery, DeliveryStatus, retry_at};
use crate::models::invitation::{Pending, Status};
use crate::models::workspace::Workspace;

/// How long the maker of an invitation holds its mail: longer than its function may run.
pub const CREATOR_LEASE: Duration = Duration::from_secs(60);
/// How long a claim holds a mail: longer than the function that claims may run.
const CLAIM_LEASE: Duration = Duration::from_secs(120);
/// How long its maker may take to send a mail and record its fate: the mail service's time-out, and some of the table's.
pub const FIRST_SEND_MAX: Duration = Duration::from_secs(4);
/// How long claiming, reading, sending and recording one mail takes, when most of it takes as long as the clients'
/// time-outs let it. When less than [`FIRST_SEND_MAX`] is left by then, the mail
/// is not sent and stays due.
pub const SEND_MAX: Duration = Duration::from_secs(22);

/// An invitation's mail that the caller holds.
#[derive(Clone, Copy, Debug)]
pub struct ClaimedInvitationMail<'a> {
    /// The invitation's workspace.
    pub workspace: &'a Workspace,
    /// The invitation.
    pub pending: &'a Pending,
    /// Its link; it holds the token.
    pub link: &'a str,
    /// Until when the caller holds the mail.
    pub held_until: Time,
}

/// What became of a mail that was tried.
#[derive(Clone, Debug)]
pub struct SendResult {
    /// Its fate.
    pub delivery: Delivery,
    due_again: Option<Time>,
}

/// Sends an invitation's mail, once, and records what became of it: the fate that stands then, or none when the
/// invitation ended meanwhile.
pub async fn invitation_mail_send_and_record(
    app: &App,
    letter: ClaimedInvitationMail<'_>,
) -> Result<Option<Delivery>, Error> {
    let tried = invitation_mail_send(app, letter).await;
    invitation_mail_record(app, letter, &tried).await
}

/// Sends an invitation's mail, once.
pub async fn invitation_mail_send(app: &App, letter: ClaimedInvitationMail<'_>) -> SendResult {
    let ClaimedInvitationMail { workspace, pending, .. } = letter;
    let sent = app
        .mailer
        .invitation(&InvitationMail {
            to: &pending.email,
            invitation_id: pending.id,
            workspace_name: workspace.name.as_str(),
            invited_by: pending.invited_by_email.as_str(),
            role: pending.role,
            link: letter.link,
            expires_at: pending.expires_at,
        })
        .await;
    let now = app.now();
    let [jitter] = crate::ids::random_bytes();
    let (delivery, due_again) = fate(sent, pending.created_at, now, jitter);
    SendResult { delivery, due_again }
}

/// Records what became of an invitation's mail: the fate that stands then, or none when the invitation ended meanwhile.
pub async fn invitation_mail_record(
    app: &App,
    letter: ClaimedInvitationMail<'_>,
    tried: &SendResult,
) -> Result<Option<Delivery>, Error> {
    let ClaimedInvitationMail { workspace, pending, .. } = letter;
    let SendResult { delivery, due_again } = tried;
    app.store
        .unproven()
        .invitation_delivery_record(workspace.id, pending.id, letter.held_until, delivery, *due_again)
        .await
}

/// What became of a mail that was tried, and when it is due again: a fault that may pass leaves it queued for a day.
fn fate(sent: Result<(), MailError>, created_at: Time, now: Time, jitter: u8) -> (Delivery, Option<Time>) {
    let (status, reason, due_again) = match sent {
        Ok(()) => (DeliveryStatus::Sent, None, None),
        Err(error) if !error.retryable => (DeliveryStatus::Failed, Some(error.reason), None),
        Err(error) => match retry_at(created_at, now, jitter) {
            Some(at) => (DeliveryStatus::Queued, Some(error.reason), Some(at)),
            None => (
                DeliveryStatus::Failed,
                Some("The mail service did not take the mail for 24 hours."),
                None,
            ),
        },
    };
    let delivery = Delivery {
        status,
        updated_at: now,
        reason: reason.map(str::to_owned),
    };
    (delivery, due_again)
}

/// Sends an invitation's mail that the list of due mails shows at `place`, unless somebody else holds it. Answers what
/// became of it; none when there was nothing to do.
pub async fn invitation_mail_retry(
    app: &App,
    workspace: WorkspaceId,
    id: InvitationId,
    index_key: &str,
) -> Result<Option<DeliveryStatus>, Error> {
    let held_until = app.now().plus(CLAIM_LEASE);
    let claimed = app
        .store
        .unproven()
        .invitation_mail_claim(workspace, id, index_key, held_until)
        .await?;
    if claimed.is_none() {
        return Ok(None);
    }
    // Read after the claim: the shorter the time between reading and sending, the fewer cancelled ones are mailed.
    let Some(invitation) = app.store.unproven().invitation(id).await? else {
        return Ok(None);
    };
    let context = match app.store.unproven().invitation_mail_context(invitation).await {
        Ok(context) => context,
        // It ended meanwhile, and its row with it.
        Err(Error::Stale) => return Ok(None),
        Err(error) => return Err(error),
    };
    let token = app.invitation_key()?.token(id);
    let now = app.now();
    let given_up = match context.open() {
        Ok((pending, ..)) if pending.status(now) != Status::Pending => {
            "The invitation expired before its mail could be sent."
        }
        Ok(_) if !context.state.invitation.token_hash.matches(&token) => {
            "The key of invitation links changed before the mail could be sent. Send it again."
        }
        Ok((pending, workspace, _)) => {
            let link = link(&pending.link_page, id, &token);
            let letter = ClaimedInvitationMail {
                workspace,
                pending,
                link: &link,
                held_until,
            };
            if Deadline::current().remaining() < FIRST_SEND_MAX {
                // Sent now, it might be sent again, its fate unrecorded. It is due again when the claim ends.
                return Ok(None);
            }
            let stands = invitation_mail_send_and_record(app, letter).await?;
            return Ok(stands.map(|delivery| delivery.status));
        }
        Err(Error::InvitationRevoked) => "The invitation was no longer valid when its mail could be sent.",
        // It ended meanwhile.
        Err(_) => return Ok(None),
    };
    let delivery = Delivery {
        status: DeliveryStatus::Failed,
        updated_at: now,
        reason: Some(given_up.to_owned()),
    };
    let stands = app
        .store
        .unproven()
        .invitation_delivery_record(workspace, id, held_until, &delivery, None)
        .await?;
    Ok(stands.map(|delivery| delivery.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSING: MailError = MailError {
        retryable: true,
        reason: "Later.",
    };

    #[test]
    fn a_mail_is_queued_for_a_day_and_then_given_up() {
        let created = Time::from_millis(0);
        let at = |hours: u64| created.plus(Duration::from_secs(hours * 3600));
        let (delivery, due_again) = fate(Err(PASSING), created, at(23), 0);
        assert_eq!((delivery.status, due_again), (DeliveryStatus::Queued, Some(at(24))));
        let (delivery, due_again) = fate(Err(PASSING), created, at(24), 0);
        assert_eq!((delivery.status, due_again), (DeliveryStatus::Failed, None));
        let (delivery, _) = fate(Ok(()), created, at(25), 0);
        assert_eq!(delivery.status, DeliveryStatus::Sent);
    }
}
