//! A new invitation on its way: made and committed, then mailed, then answered with what became of the mail.

use shared::auth::access::Access;
use shared::auth::invite::link;
use shared::clock::Time;
use shared::deadline::Deadline;
use shared::http::gateway::Gateway;
use shared::ids::InvitationId;
use shared::models::delivery::Delivery;
use shared::models::email::EmailAddress;
use shared::models::invitation::{Invitation, Pending};
use shared::models::role::Role;
use shared::outbox::{self, InvitationLetter};
use shared::secret::SecretHash;
use shared::store::Key;
use shared::store::account::EmailRecord;
use shared::store::invitation::NewInvitation;
use shared::store::limit::Slot;
use shared::{App, Error};
use url::Url;

use crate::wire::{InvitationIssuedOut, InvitationOut};

/// A new invitation, and its link.
pub(crate) struct Issue {
    invitation: Invitation,
    pending: Pending,
    link: String,
    slots: Slots,
}

/// The slots that an invitation takes: of its maker's limit, and of its recipient's budget.
pub(crate) struct Slots {
    pub(crate) maker: Slot,
    pub(crate) recipient: Slot,
}

/// Whom an invitation is for, and as what.
pub(crate) struct Addressee {
    pub(crate) email: EmailAddress,
    pub(crate) role: Role,
    /// How often the e-mail has accepted.
    pub(crate) invite_epoch: u64,
}

impl Issue {
    /// An invitation of `to` by the caller.
    pub(crate) fn new(
        app: &App,
        gateway: &Gateway,
        access: &Access,
        to: Addressee,
        slots: Slots,
        now: Time,
    ) -> Result<Self, Error> {
        let Addressee {
            email,
            role,
            invite_epoch,
        } = to;
        let id = InvitationId::new(now);
        let token = app.invitation_key()?.token(id);
        let inviter = access.user();
        let page = page(app, gateway)?;
        Ok(Self {
            link: link(&page, id, &token),
            pending: Pending {
                id,
                email: email.clone(),
                role,
                invited_by: inviter.id,
                invited_by_email: inviter.email.clone(),
                created_at: now,
                expires_at: now.plus(app.config.invite_ttl),
                delivery: Delivery::queued(now),
                link_page: page,
                recipient_slot: slots.recipient.index(),
            },
            slots,
            invitation: Invitation {
                id,
                workspace_id: access.workspace().id,
                email,
                role,
                invited_by: inviter.id,
                invited_by_email: inviter.email.clone(),
                token_hash: SecretHash::of(&token),
                invite_epoch,
                created_at: now,
                end: None,
            },
        })
    }

    /// The invitation as the store makes it.
    pub(crate) fn new_invitation(&self, replaced: Option<InvitationId>) -> NewInvitation<'_> {
        NewInvitation {
            invitation: &self.invitation,
            pending: &self.pending,
            replaced,
            mail_due_at: self.mail_due_at(),
            slot: &self.slots.maker,
            recipient_slot: &self.slots.recipient,
        }
    }

    /// Whether its e-mail has joined a workspace by another invitation since.
    pub(crate) async fn is_dead(&self, app: &App) -> Result<bool, Error> {
        let key = Key::email(&self.invitation.email);
        let record: Option<EmailRecord> = app.store.get(vec![key.clone()]).await?.take(&key)?;
        Ok(record.is_some_and(|record| record.invite_epoch > self.invitation.invite_epoch))
    }

    /// When a mail whose fate is not recorded counts as due.
    fn mail_due_at(&self) -> Time {
        self.pending.created_at.plus(outbox::MAKER_HOLDS)
    }

    /// Mails a committed invitation and records what became of that. Neither can fail the request: a mail whose fate is
    /// not recorded is still due, and the answer says so.
    pub(crate) async fn send(self, app: &App, access: &Access) -> InvitationIssuedOut {
        let letter = InvitationLetter {
            workspace: access.workspace(),
            pending: &self.pending,
            link: &self.link,
            held_until: self.mail_due_at(),
        };
        let recorded = if Deadline::current().left() < outbox::FIRST_SEND_MAX {
            // There is no time left to see it through: it stays due.
            Ok(None)
        } else {
            outbox::invitation_send(app, letter).await
        };
        let mut pending = self.pending;
        match recorded {
            Ok(Some(delivery)) => pending.delivery = delivery,
            // Somebody ended it while its mail was on the way.
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, invitation = %pending.id, "the fate of a mail was not recorded"),
        }
        let now = app.now();
        InvitationIssuedOut {
            invitation: InvitationOut::new(pending, now),
            invite_link: self.link,
            invite_ttl_hours: app.config.invite_ttl.as_secs() / 3600,
        }
    }
}

/// The page that links lead to.
fn page(app: &App, gateway: &Gateway) -> Result<Url, Error> {
    if let Some(page) = &app.config.invite_url {
        return Ok(page.clone());
    }
    let origin = gateway.origin(&app.config)?;
    origin
        .join("/invite")
        .map_err(|error| Error::Internal(format!("the link's page: {error}")))
}
