//! The response of a request that created an invitation, and its replay under the same Idempotency-Key.

use std::time::Duration;

use shared::auth::access::Access;
use shared::auth::invite::link;
use shared::deadline::Deadline;
use shared::models::invitation::Pending;
use shared::outbox::CREATOR_LEASE;
use shared::store::idempotency::{IdempotentRequest, StoredResult};
use shared::{App, Error};
use tokio::time::Instant;

use crate::draft::InvitationDraft;
use crate::wire::InvitationIssuedOut;

/// How long a replay waits for the delivery status of the first request: the mail service's time-out and the write
/// after it. After that time the mail is due, and the response shows `queued`.
const DELIVERY_WAIT_MAX: Duration = Duration::from_millis(4000);
/// The longest that one read of the idempotency record may take, including an attempt that times out. With less time
/// remaining there is no further read.
const READ_MAX: Duration = Duration::from_millis(2000);
/// The pause between two reads.
const READ_INTERVAL: Duration = Duration::from_millis(80);

/// The outcome of a request to create or resend an invitation.
pub(crate) enum CreateOutcome {
    /// This request committed the invitation; its mail is still to be sent.
    Created(Box<(Access, InvitationDraft)>),
    /// An earlier request under the same key created the invitation.
    Replayed(Box<(Access, StoredResult<Pending>)>),
}

impl CreateOutcome {
    /// The outcome of a commit.
    pub(crate) fn created(access: Access, draft: InvitationDraft) -> Self {
        Self::Created(Box::new((access, draft)))
    }

    /// The outcome of an earlier request. The response holds the link, so the caller must still have the right to send
    /// the invitation.
    pub(crate) fn replayed(access: Access, stored: StoredResult<Pending>) -> Result<Self, Error> {
        if !access.membership().role.may_invite(stored.result.role) {
            return Err(Error::Forbidden);
        }
        Ok(Self::Replayed(Box::new((access, stored))))
    }

    /// The response. Each replay returns the same one.
    pub(crate) async fn respond(self, app: &App, request: &IdempotentRequest) -> Result<InvitationIssuedOut, Error> {
        match self {
            Self::Created(created) => {
                let (access, draft) = *created;
                Ok(draft.send(app, &access, request).await)
            }
            Self::Replayed(replayed) => {
                let (access, stored) = *replayed;
                replay(app, request, &access, stored).await
            }
        }
    }
}

/// The response of an earlier request, once that request has stored the delivery status of its mail. The link is derived
/// again, since no secret is stored.
async fn replay(
    app: &App,
    request: &IdempotentRequest,
    access: &Access,
    mut stored: StoredResult<Pending>,
) -> Result<InvitationIssuedOut, Error> {
    // Once the creator's lease has ended, the first request stores no status any more.
    let until = stored.result.created_at.plus(CREATOR_LEASE);
    // Measured by this process's monotonic clock: the first request may have run on a machine with another wall clock.
    let started = Instant::now();
    let deadline = Deadline::current();
    while !stored.is_final
        && app.now() < until
        && started.elapsed() < DELIVERY_WAIT_MAX
        && deadline.remaining() > READ_MAX
    {
        tokio::time::sleep(READ_INTERVAL).await;
        let Ok(items) = app.store.get(request.key().into_iter().collect()).await else {
            break;
        };
        match request.stored(&items, Some(access.tenant()), app.now())? {
            Some(newer) => stored = newer,
            None => break,
        }
    }
    let pending = stored.result;
    let token = app.invitation_key()?.token(pending.id);
    let link = link(&pending.link_page, pending.id, &token);
    Ok(InvitationIssuedOut::new(pending, link))
}
