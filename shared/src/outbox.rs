//! The outbox: mails that the table lists as due are sent, and their delivery status is recorded.
//!
//! The transaction that creates an invitation marks its mail as due a minute later, so that the creator holds the mail
//! until then. Afterwards a worker claims the mail by a conditional write before it sends the mail: two workers never
//! send one mail. A mail whose delivery status is not recorded is due again, because the process ended or the response
//! of the mail service was lost. Only then may a person get the mail twice.

use std::time::Duration;

use tracing::Instrument;

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
use crate::store::invitation::InvitationContext;
use crate::telemetry;

/// How long the creator of an invitation holds its mail: longer than the creating function may run.
pub const CREATOR_LEASE: Duration = Duration::from_secs(60);
/// How long a claim holds a mail: longer than the claiming function may run.
const CLAIM_LEASE: Duration = Duration::from_secs(120);
/// The time that the creator needs to send a mail and record its delivery status: the time-out of the mail service, and
/// some of the table's.
pub const FIRST_SEND_MAX: Duration = Duration::from_secs(4);
/// The time that a worker needs to claim, read, send and record one mail when most calls take as long as the time-outs
/// of the clients. With less than [`FIRST_SEND_MAX`] left before the sending, the mail is not sent and stays due.
pub const SEND_MAX: Duration = Duration::from_secs(22);

/// An invitation's mail that the caller holds.
#[derive(Clone, Copy, Debug)]
pub struct ClaimedInvitationMail<'a> {
    /// The invitation's workspace.
    pub workspace: &'a Workspace,
    /// The invitation.
    pub pending: &'a Pending,
    /// The invitation's link; it holds the token.
    pub link: &'a str,
    /// The end of the caller's lease.
    pub held_until: Time,
}

/// The result of one sending.
#[derive(Clone, Debug)]
pub struct SendResult {
    /// The delivery status.
    pub delivery: Delivery,
    due_again: Option<Time>,
}

/// Sends an invitation's mail once and records the delivery status. Returns the delivery status in the table; none when
/// the invitation ended in the meantime.
pub(crate) async fn invitation_mail_send_and_record(
    app: &App,
    mail: ClaimedInvitationMail<'_>,
) -> Result<Option<Delivery>, Error> {
    let result = invitation_mail_send(app, mail).await;
    invitation_mail_record(app, mail, &result).await
}

/// Sends an invitation's mail once.
pub async fn invitation_mail_send(app: &App, mail: ClaimedInvitationMail<'_>) -> SendResult {
    let ClaimedInvitationMail { workspace, pending, .. } = mail;
    let span = telemetry::item_span(Some(workspace.id), Some(pending.id), None);
    let mail = InvitationMail {
        to: &pending.email,
        invitation_id: pending.id,
        workspace_name: workspace.name.as_str(),
        invited_by: pending.invited_by_email.as_str(),
        role: pending.role,
        link: mail.link,
        expires_at: pending.expires_at,
    };
    let sent = app.mailer.invitation(&mail).instrument(span).await;
    let now = app.now();
    let [jitter] = crate::ids::random_bytes();
    let (delivery, due_again) = delivery_after(sent, pending.created_at, now, jitter);
    SendResult { delivery, due_again }
}

/// Records the delivery status of an invitation's mail. Returns the delivery status in the table; none when the
/// invitation ended in the meantime.
pub async fn invitation_mail_record(
    app: &App,
    mail: ClaimedInvitationMail<'_>,
    result: &SendResult,
) -> Result<Option<Delivery>, Error> {
    let ClaimedInvitationMail { workspace, pending, .. } = mail;
    let SendResult { delivery, due_again } = result;
    app.store
        .unproven()
        .invitation_delivery_record(workspace.id, pending.id, mail.held_until, delivery, *due_again)
        .await
}

/// The delivery status after a sending, and when the mail is due again. A mail with a temporary error stays queued for
/// a day.
fn delivery_after(sent: Result<(), MailError>, created_at: Time, now: Time, jitter: u8) -> (Delivery, Option<Time>) {
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

/// Sends the invitation mail of a due entry with this sort key. Returns the delivery status; none when a concurrent
/// worker holds the mail, or when there was nothing to send.
pub async fn invitation_mail_retry(
    app: &App,
    workspace: WorkspaceId,
    id: InvitationId,
    index_key: &str,
) -> Result<Option<DeliveryStatus>, Error> {
    let store = app.store.unproven();
    let held_until = app.now().plus(CLAIM_LEASE);
    let claimed = store
        .invitation_mail_claim(workspace, id, index_key, held_until)
        .await?;
    if claimed.is_none() {
        return Ok(None);
    }
    // Read after the claim: the shorter the time between the read and the sending, the fewer cancelled invitations are
    // mailed.
    let Some(invitation) = store.invitation(id).await? else {
        return Ok(None);
    };
    let context = match store.invitation_mail_context(invitation).await {
        Ok(context) => context,
        // The invitation ended in the meantime, and its pending row with it.
        Err(Error::Stale) => return Ok(None),
        Err(error) => return Err(error),
    };
    let delivery = match send_claimed(app, &context, id, held_until).await? {
        ClaimedMail::Sent(delivery) => delivery,
        ClaimedMail::NotSent => None,
        ClaimedMail::GivenUp(reason) => {
            let delivery = Delivery {
                status: DeliveryStatus::Failed,
                updated_at: app.now(),
                reason: Some(reason.to_owned()),
            };
            store
                .invitation_delivery_record(workspace, id, held_until, &delivery, None)
                .await?
        }
    };
    Ok(delivery.map(|delivery| delivery.status))
}

/// What a worker did with a mail that it claimed.
enum ClaimedMail {
    /// Sent it. The delivery status is none when the invitation ended in the meantime.
    Sent(Option<Delivery>),
    /// Left it, because the invitation ended or because no time is left. In the latter case it is due when the lease
    /// ends.
    NotSent,
    /// Gave it up for this reason.
    GivenUp(&'static str),
}

async fn send_claimed(
    app: &App,
    context: &InvitationContext,
    id: InvitationId,
    held_until: Time,
) -> Result<ClaimedMail, Error> {
    let token = app.invitation_key()?.token(id);
    let (pending, workspace) = match context.open() {
        Ok((pending, workspace, _)) => (pending, workspace),
        Err(Error::InvitationRevoked) => {
            let reason = "The invitation was no longer valid when its mail could be sent.";
            return Ok(ClaimedMail::GivenUp(reason));
        }
        Err(_) => return Ok(ClaimedMail::NotSent),
    };
    if pending.status(app.now()) != Status::Pending {
        let reason = "The invitation expired before its mail could be sent.";
        return Ok(ClaimedMail::GivenUp(reason));
    }
    if !context.state.invitation.token_hash.matches(&token) {
        let reason = "The key of invitation links changed before the mail could be sent. Send it again.";
        return Ok(ClaimedMail::GivenUp(reason));
    }
    if Deadline::current().remaining() < FIRST_SEND_MAX {
        // The delivery status could not be recorded in time, and the mail would be sent twice.
        return Ok(ClaimedMail::NotSent);
    }
    let link = link(&pending.link_page, id, &token);
    let mail = ClaimedInvitationMail {
        workspace,
        pending,
        link: &link,
        held_until,
    };
    invitation_mail_send_and_record(app, mail).await.map(ClaimedMail::Sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPORARY: MailError = MailError {
        retryable: true,
        reason: "Later.",
    };

    #[test]
    fn a_mail_is_queued_for_a_day_and_then_given_up() {
        let created = Time::from_millis(0);
        let at = |hours: u64| created.plus(Duration::from_secs(hours * 3600));
        let (delivery, due_again) = delivery_after(Err(TEMPORARY), created, at(23), 0);
        assert_eq!((delivery.status, due_again), (DeliveryStatus::Queued, Some(at(24))));
        let (delivery, due_again) = delivery_after(Err(TEMPORARY), created, at(24), 0);
        assert_eq!((delivery.status, due_again), (DeliveryStatus::Failed, None));
        let (delivery, _) = delivery_after(Ok(()), created, at(25), 0);
        assert_eq!(delivery.status, DeliveryStatus::Sent);
    }
}
