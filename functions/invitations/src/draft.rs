//! A new invitation before its commit, and the sending of its mail after the commit.

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
use shared::store::admitted::Admitted;
use shared::store::idempotency::IdempotentRequest;
use shared::store::invitation::{NewInvitation, NewMail};
use shared::store::limit::{Limit, Slot};
use shared::{App, Error, telemetry};
use tracing::Instrument;
use url::Url;

use crate::wire::InvitationIssuedOut;

/// A new invitation and its link.
pub(crate) struct InvitationDraft {
    invitation: Invitation,
    pending: Pending,
    link: String,
    /// The slot of the recipient's budget that the mail takes; none when the mail is withheld.
    mail_slot: Option<Slot>,
}

/// The budget of invitation mails that one e-mail address receives from all workspaces. A mail over the budget is
/// withheld.
pub(crate) fn recipient_budget(email: &EmailAddress) -> Limit {
    Limit::new(Rule::INVITATION_RECIPIENT, email)
}

/// The recipient of a new invitation.
pub(crate) struct Recipient {
    pub(crate) email: EmailAddress,
    pub(crate) role: Role,
    /// The invite epoch of the e-mail address.
    pub(crate) invite_epoch: u64,
    /// The state of the recipient's mail budget.
    pub(crate) budget: BudgetState,
}

impl InvitationDraft {
    /// Drafts an invitation of `to` by the caller, valid for the configured time.
    pub(crate) fn new(app: &App, gateway: &Gateway, access: &Access, to: Recipient, now: Time) -> Result<Self, Error> {
        let Recipient {
            email,
            role,
            invite_epoch,
            budget,
        } = to;
        let id = InvitationId::new(now);
        let token = app.invitation_key()?.token(id);
        let inviter = access.user();
        let page = page(app, gateway)?;
        let mail_slot = recipient_budget(&email).slot_of(budget, now);
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
                recipient_budget: budget,
            },
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

    /// The draft in the form that the store commits.
    pub(crate) fn new_invitation<'a>(
        &'a self,
        replaced: Option<InvitationId>,
        admitted: &'a Admitted,
    ) -> NewInvitation<'a> {
        NewInvitation {
            invitation: &self.invitation,
            pending: &self.pending,
            replaced,
            mail: self.mail_slot.as_ref().map(|slot| NewMail {
                due_at: self.mail_due_at(),
                slot,
            }),
            admitted,
        }
    }

    /// Whether the invitee has meanwhile joined a workspace by another invitation.
    pub(crate) async fn is_superseded(&self, app: &App, access: &Access) -> Result<bool, Error> {
        app.store.invitation_is_superseded(access, &self.invitation).await
    }

    /// When a mail whose delivery status is not recorded is due again.
    fn mail_due_at(&self) -> Time {
        self.pending.created_at.plus(outbox::CREATOR_LEASE)
    }

    /// Sends the mail of a committed invitation and records its delivery status. A withheld mail is not sent. Neither
    /// step can fail the request: a mail whose status is not recorded stays due, and the response shows `queued`. The
    /// delivery status is stored in the idempotency record so that a replay returns the same response.
    pub(crate) async fn send(mut self, app: &App, access: &Access, request: &IdempotentRequest) -> InvitationIssuedOut {
        let span = telemetry::item_span(Some(access.workspace().id), Some(self.pending.id), None);
        if self.mail_slot.is_none() {
            span.in_scope(|| tracing::warn!("mail withheld: the recipient's budget is spent"));
        } else if Deadline::current().remaining() >= outbox::FIRST_SEND_MAX {
            self.mail(app, access, request).instrument(span).await;
        }
        // With less time remaining, the mail stays due.
        InvitationIssuedOut::new(self.pending, self.link)
    }

    async fn mail(&mut self, app: &App, access: &Access, request: &IdempotentRequest) {
        let mail = ClaimedInvitationMail {
            workspace: access.workspace(),
            pending: &self.pending,
            link: &self.link,
            held_until: self.mail_due_at(),
        };
        let sent = outbox::invitation_mail_send(app, mail).await;
        let (recorded, stored) = futures::join!(
            outbox::invitation_mail_record(app, mail, &sent),
            app.store.idempotency_set_delivery(request, &sent.delivery)
        );
        if let Err(error) = &stored {
            tracing::warn!(%error, "delivery status not stored in the idempotency record");
        }
        if let Err(error) = &recorded {
            tracing::warn!(%error, "delivery status of a mail not recorded");
        }
        // A replay shows the stored status, whatever the pending row says. The first response shows the same.
        let shown = if request.key().is_some() {
            stored.map(|()| Some(sent.delivery))
        } else {
            recorded
        };
        // There is no status when the invitation ended while its mail was being sent.
        if let Ok(Some(delivery)) = shown {
            self.pending.delivery = delivery;
        }
    }
}

/// The page that invitation links open: the configured `INVITE_URL`, or `/invite` on the API's own origin.
fn page(app: &App, gateway: &Gateway) -> Result<Url, Error> {
    if let Some(page) = &app.config.invite_url {
        return Ok(page.clone());
    }
    let origin = gateway.origin(&app.config)?;
    origin
        .join("/invite")
        .map_err(|error| Error::Internal(format!("the page of invitation links: {error}")))
}
