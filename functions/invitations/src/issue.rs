//! A new invitation on its way: made and committed, then mailed, then answered with what became of the mail.

use std::time::Duration;

use shared::auth::access::Access;
use shared::auth::invite::link;
use shared::clock::Time;
use shared::http::gateway::Gateway;
use shared::ids::InvitationId;
use shared::mailer::{InvitationMail, MailError};
use shared::models::email::EmailAddress;
use shared::models::invitation::{Delivery, DeliveryStatus, Invitation, Pending};
use shared::models::role::Role;
use shared::secret::SecretHash;
use shared::store::Key;
use shared::store::account::EmailRecord;
use shared::store::invitation::NewInvitation;
use shared::store::limit::Slot;
use shared::{App, Error};
use url::Url;

use crate::wire::{InvitationIssuedOut, InvitationOut};

/// When a mail whose fate is unknown counts as due: once the function that made it has ended for certain.
const MAIL_DUE_AFTER: Duration = Duration::from_secs(60);

/// A new invitation, and its link.
pub(crate) struct Issue {
    invitation: Invitation,
    pending: Pending,
    link: String,
}

impl Issue {
    /// An invitation of `email` by the caller.
    pub(crate) fn new(
        app: &App,
        gateway: &Gateway,
        access: &Access,
        email: EmailAddress,
        role: Role,
        invite_epoch: u64,
        now: Time,
    ) -> Result<Self, Error> {
        let id = InvitationId::new(now);
        let token = app.invitation_key()?.token(id);
        let inviter = access.user();
        Ok(Self {
            link: link(&page(app, gateway)?, id, &token),
            pending: Pending {
                id,
                email: email.clone(),
                role,
                invited_by: inviter.id,
                invited_by_email: inviter.email.clone(),
                created_at: now,
                expires_at: now.plus(app.config.invite_ttl),
                delivery: Delivery {
                    status: DeliveryStatus::Queued,
                    updated_at: now,
                    reason: None,
                },
            },
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
    pub(crate) fn new_invitation<'a>(&'a self, slot: &'a Slot, replaced: Option<InvitationId>) -> NewInvitation<'a> {
        NewInvitation {
            invitation: &self.invitation,
            pending: &self.pending,
            replaced,
            mail_due_at: self.pending.created_at.plus(MAIL_DUE_AFTER),
            slot,
        }
    }

    /// Whether its e-mail has joined a workspace by another invitation since.
    pub(crate) async fn is_dead(&self, app: &App) -> Result<bool, Error> {
        let key = Key::email(&self.invitation.email);
        let record: Option<EmailRecord> = app.store.get(vec![key.clone()]).await?.take(&key)?;
        Ok(record.is_some_and(|record| record.invite_epoch > self.invitation.invite_epoch))
    }

    /// Mails a committed invitation and records what became of that. Neither can fail the request: a mail whose fate is
    /// not recorded is still due, and the answer says so.
    pub(crate) async fn send(self, app: &App, access: &Access) -> InvitationIssuedOut {
        let mut pending = self.pending;
        let sent = app
            .mailer
            .invitation(&InvitationMail {
                to: &pending.email,
                invitation_id: pending.id,
                workspace_name: access.workspace().name.as_str(),
                invited_by: pending.invited_by_email.as_str(),
                role: pending.role,
                link: &self.link,
                expires_at: pending.expires_at,
            })
            .await;
        let delivery = delivery_after(sent, app.now());
        let still_due = delivery.status == DeliveryStatus::Queued;
        let recorded = app
            .store
            .invitation_delivery(self.invitation.workspace_id, pending.id, &delivery, still_due)
            .await;
        match recorded {
            Ok(()) => pending.delivery = delivery,
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

/// What became of a mail: a fault that may pass leaves it queued.
fn delivery_after(sent: Result<(), MailError>, now: Time) -> Delivery {
    let (status, reason) = match sent {
        Ok(()) => (DeliveryStatus::Sent, None),
        Err(MailError {
            retryable: true,
            reason,
        }) => (DeliveryStatus::Queued, Some(reason)),
        Err(MailError {
            retryable: false,
            reason,
        }) => (DeliveryStatus::Failed, Some(reason)),
    };
    Delivery {
        status,
        updated_at: now,
        reason: reason.map(str::to_owned),
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
