//! An invitation that this request made, or that the same request made before.

use std::time::Duration;

use shared::auth::access::Access;
use shared::auth::invite::link;
use shared::clock::Time;
use shared::deadline::Deadline;
use shared::models::invitation::Pending;
use shared::outbox::CREATOR_LEASE;
use shared::store::Items;
use shared::store::idempotency::{IdempotentRequest, StoredResult};
use shared::{App, Error};
use tokio::time::Instant;

use crate::draft::InvitationDraft;
use crate::wire::InvitationIssuedOut;

/// How long a repetition waits for what the first try says of the mail: as long as the mail service's time-out and the
/// write behind it. When the first try ended before, the mail is due, and the answer says so.
const MAIL_MAX: Duration = Duration::from_millis(4000);
/// What a look may take, an attempt that times out among it: with less time left there is no other look.
const LOOK_MAX: Duration = Duration::from_millis(2000);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(80);

/// What is to be answered.
pub(crate) enum CreateOutcome {
    /// It was committed, and its mail is to be sent.
    Now(Box<(Access, InvitationDraft)>),
    /// It was made by an earlier try.
    Before(Box<(Access, StoredResult<Pending>)>),
}

impl CreateOutcome {
    /// What this request has made.
    pub(crate) fn now(access: Access, issue: InvitationDraft) -> Self {
        Self::Now(Box::new((access, issue)))
    }

    /// What the same request made before, if it did. Its link is shown to nobody who could not send it now.
    pub(crate) fn before(
        once: &IdempotentRequest,
        items: &Items,
        access: &Access,
        now: Time,
    ) -> Result<Option<Self>, Error> {
        let done: Option<StoredResult<Pending>> = once.done(items, Some(access.tenant()), now)?;
        let Some(done) = done else { return Ok(None) };
        if !access.membership().role.may_invite(done.result.role) {
            return Err(Error::Forbidden);
        }
        Ok(Some(Self::Before(Box::new((access.clone(), done)))))
    }

    /// The answer: the same each time.
    pub(crate) async fn answer(self, app: &App, once: &IdempotentRequest) -> Result<InvitationIssuedOut, Error> {
        match self {
            Self::Now(now) => {
                let (access, issue) = *now;
                Ok(issue.send(app, &access, once).await)
            }
            Self::Before(before) => {
                let (access, done) = *before;
                again(app, once, &access, done).await
            }
        }
    }
}

/// The answer of an earlier try, once that try knows what became of its mail. The link is derived anew.
async fn again(
    app: &App,
    once: &IdempotentRequest,
    access: &Access,
    done: StoredResult<Pending>,
) -> Result<InvitationIssuedOut, Error> {
    // Later than this nobody holds the mail any more who would say what became of it.
    let until = done.result.created_at.plus(CREATOR_LEASE);
    // By this function's own watch, for the clock that made it may be another; and with time left to answer in.
    let started = Instant::now();
    let deadline = Deadline::current();
    let mut done = done;
    while !done.is_final && app.now() < until && started.elapsed() < MAIL_MAX && deadline.remaining() > LOOK_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok(items) = app.store.get(once.key().into_iter().collect()).await else {
            break;
        };
        match once.done(&items, Some(access.tenant()), app.now())? {
            Some(newer) => done = newer,
            None => break,
        }
    }
    let pending = done.result;
    let token = app.invitation_key()?.token(pending.id);
    let link = link(&pending.link_page, pending.id, &token);
    Ok(InvitationIssuedOut::new(pending, link))
}
