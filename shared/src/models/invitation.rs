//! Invitations: their states and the rules between them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::delivery::Delivery;
use super::email::EmailAddress;
use super::limit::BudgetState;
use super::role::Role;
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{InvitationId, UserId, WorkspaceId};
use crate::secret::SecretHash;

/// Pending invitations a workspace has at most.
pub const PENDING_MAX: u64 = 2000;
/// How far ahead an expiry may lie.
pub const EXPIRY_MAX: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long accepting again by the same person still answers as the first time.
pub const ACCEPT_REPEAT: Duration = Duration::from_secs(600);
/// How long an ended invitation is kept, so that its link still says how it ended.
pub const ENDED_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// Where an invitation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can be accepted.
    Pending,
    /// It was accepted.
    Accepted,
    /// It was cancelled, declined, replaced, or died otherwise.
    Revoked,
    /// Its time is over; an extension revives it.
    Expired,
}

/// An invitation as it is found by its id: what never changes, and how it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Who is invited.
    pub email: EmailAddress,
    /// As what.
    pub role: Role,
    /// Who invites.
    pub invited_by: UserId,
    /// Their e-mail.
    pub invited_by_email: EmailAddress,
    /// The hash of the link's token.
    pub token_hash: SecretHash,
    /// The e-mail's `invite_epoch` when it was made: a later one means that the e-mail joined a workspace since.
    pub invite_epoch: u64,
    /// The inviter's epoch when it was made: if they lose the right to send it, theirs is later.
    #[serde(default)]
    pub inviter_epoch: u64,
    /// When it was made.
    pub created_at: Time,
    /// How it ended, if it did.
    pub end: Option<End>,
}

/// How an invitation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Accepted or revoked.
    pub status: Status,
    /// When.
    pub at: Time,
    /// Who accepted it.
    pub accepted_by: Option<UserId>,
}

/// A pending invitation as its workspace lists it: what may change while it is pending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The invitation's id.
    pub id: InvitationId,
    /// Who is invited.
    pub email: EmailAddress,
    /// As what.
    pub role: Role,
    /// Who invites.
    pub invited_by: UserId,
    /// Their e-mail.
    pub invited_by_email: EmailAddress,
    /// When it was made.
    pub created_at: Time,
    /// When it ends by itself.
    pub expires_at: Time,
    /// The fate of its mail.
    pub delivery: Delivery,
    /// The page that its link leads to: a mail that is sent again carries the very same link.
    pub link_page: Url,
    /// What its recipient's budget had for its mail. Only a guess begins here, so that any will do where there is none.
    #[serde(default)]
    pub recipient_budget: BudgetState,
}

impl Pending {
    /// Whether it can still be accepted, as far as its own time goes. TTL deletion plays no part in it.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        if now < self.expires_at {
            Status::Pending
        } else {
            Status::Expired
        }
    }
}

/// An invitation with its pending part, as read together.
#[derive(Clone, Debug)]
pub struct InvitationState {
    /// What never changes.
    pub invitation: Invitation,
    /// The pending part; none once it ended.
    pub pending: Option<Pending>,
}

impl InvitationState {
    /// Whether it stands open: the pending part, or why there is none. An expired one counts as open.
    pub fn open(&self) -> Result<&Pending, Error> {
        match (&self.invitation.end, &self.pending) {
            (Some(end), _) if end.status == Status::Accepted => Err(Error::InvitationUsed),
            (Some(_), _) => Err(Error::InvitationRevoked),
            // The two end in one transaction: they were read on both sides of it.
            (None, None) => Err(Error::Stale),
            (None, Some(pending)) => Ok(pending),
        }
    }

    /// Whether it can be accepted by its time, besides standing open.
    pub fn live(&self, now: Time) -> Result<&Pending, Error> {
        let pending = self.open()?;
        match pending.status(now) {
            Status::Expired => Err(Error::InvitationExpired),
            Status::Pending | Status::Accepted | Status::Revoked => Ok(pending),
        }
    }
}

/// What is known of the e-mail's owner and of the workspace when somebody invites.
#[derive(Clone, Copy, Debug)]
pub struct InviteFacts<'a> {
    /// Who invites.
    pub inviter: &'a EmailAddress,
    /// Their role.
    pub inviter_role: Role,
    /// The role of the pending invitation that this one replaces.
    pub replaced_role: Option<Role>,
    /// Where to.
    pub workspace: WorkspaceId,
    /// The workspace that the invited e-mail's account is in.
    pub invitee_workspace: Option<WorkspaceId>,
    /// Pending invitations of the workspace once this one replaced its predecessor and the expired were cleaned up.
    pub pending_after: u64,
}

/// Whether `email` may be invited as `role`.
pub fn may_invite(facts: InviteFacts<'_>, email: &EmailAddress) -> Result<(), Error> {
    if facts
        .replaced_role
        .is_some_and(|role| !facts.inviter_role.may_invite(role))
    {
        return Err(Error::Forbidden);
    }
    if email == facts.inviter {
        return Err(Error::SelfInvite);
    }
    match facts.invitee_workspace {
        Some(workspace) if workspace == facts.workspace => return Err(Error::AlreadyMember),
        Some(_) => return Err(Error::InviteeUnavailable),
        None => {}
    }
    if facts.pending_after > PENDING_MAX {
        return Err(Error::TooManyPending);
    }
    Ok(())
}

/// Whether an invitation may be extended to `expires_at`.
pub fn extend(expires_at: Time, now: Time) -> Result<(), Error> {
    if expires_at > now && expires_at <= now.plus(EXPIRY_MAX) {
        Ok(())
    } else {
        Err(Error::InvalidExpiry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    fn invited(end: Option<Status>, pending: bool) -> InvitationState {
        let email = EmailAddress::parse("ann@example.com").unwrap();
        let id = InvitationId::from_bytes([1; 16]);
        let user = UserId::from_bytes([2; 16]);
        InvitationState {
            invitation: Invitation {
                id,
                workspace_id: WorkspaceId::from_bytes([3; 16]),
                email: email.clone(),
                role: Role::Member,
                invited_by: user,
                invited_by_email: email.clone(),
                token_hash: SecretHash::of(&crate::secret::Secret::new("x")),
                invite_epoch: 0,
                inviter_epoch: 0,
                created_at: at(0),
                end: end.map(|status| End {
                    status,
                    at: at(0),
                    accepted_by: None,
                }),
            },
            pending: pending.then(|| Pending {
                id,
                email: email.clone(),
                role: Role::Member,
                invited_by: user,
                invited_by_email: email,
                created_at: at(0),
                expires_at: at(1000),
                delivery: Delivery::queued(at(0)),
                link_page: Url::parse("https://example.com/invite").unwrap(),
                recipient_budget: BudgetState::Slot { index: 0 },
            }),
        }
    }

    #[test]
    fn an_end_decides_and_a_missing_pending_part_is_a_torn_read() {
        assert_eq!(
            invited(Some(Status::Accepted), false).open().unwrap_err(),
            Error::InvitationUsed
        );
        assert_eq!(
            invited(Some(Status::Revoked), false).open().unwrap_err(),
            Error::InvitationRevoked
        );
        assert_eq!(invited(None, false).open().unwrap_err(), Error::Stale);
        assert!(invited(None, true).live(at(999)).is_ok());
        assert_eq!(
            invited(None, true).live(at(1000)).unwrap_err(),
            Error::InvitationExpired
        );
        assert!(invited(None, true).open().is_ok());
    }

    #[test]
    fn an_expiry_lies_within_ninety_days() {
        let now = at(0);
        assert!(extend(now, now).is_err());
        assert!(extend(at(1), now).is_ok());
        assert!(extend(now.plus(EXPIRY_MAX), now).is_ok());
        assert!(extend(now.plus(EXPIRY_MAX).plus(Duration::from_millis(1)), now).is_err());
    }
}
