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
use shared::models::limit::{BudgetState, Rule};
use shared::models::role::Role;
use shared::outbox::{self, ClaimedInvitationMail};
use shared::secret::SecretHash;
use shared::store::idempotency::IdempotentRequest;
use shared::store::invitation::{NewInvitation, NewMail};
use shared::store::limit::{Limit, Slot};
use shared::{App, Error};
use url::Url;

use crate::wire::InvitationIssuedOut;

/// A new invitation, and its link.
pub(crate) struct InvitationDraft {
    invitation: Invitation,
    pending: Pending,
    link: String,
    /// The slot of its maker's limit that it takes.
    slot: Slot,
    /// The slot of its recipient's budget that its mail takes; none when the mail is withheld.
    mail_slot: Option<Slot>,
}

/// What an e-mail may get of invitations' mails, from all workspaces. A mail above it is withheld.
pub(crate) fn recipient_budget(email: &EmailAddress) -> Limit {
    Limit::new(Rule::INVITATION_RECIPIENT, email)
}

/// Whom an invitation is for, and as what.
pub(crate) struct Recipient {
    pub(crate) email: EmailAddress,
    pub(crate) role: Role,
    /// How often the e-mail has accepted.
    pub(crate) invite_epoch: u64,
    /// What the e-mail's budget has for the mail.
    pub(crate) turn: BudgetState,
}

impl InvitationDraft {
    /// An invitation of `to` by the caller.
    pub(crate) fn new(
        app: &App,
        gateway: &Gateway,
        access: &Access,
        to: Recipient,
        slot: Slot,
        now: Time,
    ) -> Result<Self, Error> {
        let Recipient {
            email,
            role,
            invite_epoch,
            turn,
        } = to;
        let id = InvitationId::new(now);
        let token = app.invitation_key()?.token(id);
        let inviter = access.user();
        let page = page(app, gateway)?;
        let mail_slot = recipient_budget(&email).slot_of(turn, now);
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
                delivery: match mail_slot {
                    Some(_) => Delivery::queued(now),
                    None => Delivery::withheld(now),
                },
                link_page: page,
                recipient_budget: turn,
            },
            slot,
            mail_slot,
            invitation: Invitation {
                id,
                workspace_id: access.workspace().id,
                email,
                role,
                invited_by: inviter.id,
                invited_by_email: inviter.email.clone(),
                token_hash: SecretHash::of(&token),
                invite_epoch,
                inviter_epoch: inviter.epoch,
                created_at: now,
                end: None,
            },
        })
    }

    /// The invitation as the store makes it.
    pub(crate) fn new_invitation<'a>(
        &'a self,
        replaced: Option<InvitationId>,
        once: &'a IdempotentRequest,
    ) -> NewInvitation<'a> {
        NewInvitation {
            invitation: &self.invitation,
            pending: &self.pending,
            replaced,
            slot: &self.slot,
            mail: self.mail_slot.as_ref().map(|slot| NewMail {
                due_at: self.mail_due_at(),
                slot,
            }),
            once,
        }
    }

    /// Whether its e-mail has joined a workspace by another invitation since.
    pub(crate) async fn is_dead(&self, app: &App, access: &Access) -> Result<bool, Error> {
        app.store.invitation_is_superseded(access, &self.invitation).await
    }

    /// When a mail whose fate is not recorded counts as due.
    fn mail_due_at(&self) -> Time {
        self.pending.created_at.plus(outbox::CREATOR_LEASE)
    }

    /// Mails a committed invitation and records what became of that, unless its mail is withheld. Neither can fail the
    /// request: a mail whose fate is not recorded is still due, and the answer says so. What a repetition of the request is
    /// to be told of the mail is remembered beside it.
    pub(crate) async fn send(mut self, app: &App, access: &Access, once: &IdempotentRequest) -> InvitationIssuedOut {
        if self.mail_slot.is_none() {
            tracing::warn!(invitation = %self.pending.id, "a mail was withheld: its recipient's budget is spent");
        } else if Deadline::current().remaining() >= outbox::FIRST_SEND_MAX {
            self.mail(app, access, once).await;
        }
        // Without the time to see it through, it stays due.
        InvitationIssuedOut::new(self.pending, self.link)
    }

    async fn mail(&mut self, app: &App, access: &Access, once: &IdempotentRequest) {
        let letter = ClaimedInvitationMail {
            workspace: access.workspace(),
            pending: &self.pending,
            link: &self.link,
            held_until: self.mail_due_at(),
        };
        let tried = outbox::invitation_mail_send(app, letter).await;
        let (recorded, remembered) = futures::join!(
            outbox::invitation_mail_record(app, letter, &tried),
            app.store.idempotency_set_delivery(once, &tried.delivery)
        );
        if let Err(error) = &remembered {
            tracing::warn!(%error, invitation = %self.pending.id, "the answer was not remembered");
        }
        if let Err(error) = &recorded {
            tracing::warn!(%error, invitation = %self.pending.id, "the fate of a mail was not recorded");
        }
        let told = if once.key().is_some() {
            // A repetition is told what is remembered, whatever was recorded beside it: so is this one.
            remembered.map(|()| Some(tried.delivery))
        } else {
            recorded
        };
        // Somebody may have ended it while its mail was on the way.
        if let Ok(Some(delivery)) = told {
            self.pending.delivery = delivery;
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
