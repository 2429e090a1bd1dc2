//! Invitations: their states, and the rules for moving between them.

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

/// The most pending invitations that a workspace may have.
pub(crate) const PENDING_MAX: u64 = 2000;
/// How far in the future an invitation may expire.
pub(crate) const EXPIRY_MAX: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long the person who accepted an invitation may repeat the request and get the first response again.
pub const ACCEPT_REPEAT: Duration = Duration::from_secs(600);
/// How long an ended invitation is kept. Its link reports until then how the invitation ended.
pub(crate) const ENDED_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// The status of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can be accepted.
    Pending,
    /// It was accepted.
    Accepted,
    /// It was cancelled, declined or replaced, or became invalid for another reason.
    Revoked,
    /// Its expiry has passed. An extension makes it pending again.
    Expired,
}

/// The invitation item, found by the invitation's id: the attributes that never change, and how the invitation ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// The workspace that the invitation is for.
    pub workspace_id: WorkspaceId,
    /// The invitee's e-mail address.
    pub email: EmailAddress,
    /// The role that the invitee gets.
    pub role: Role,
    /// The inviter.
    pub invited_by: UserId,
    /// The inviter's e-mail address.
    pub invited_by_email: EmailAddress,
    /// The hash of the link's token.
    pub token_hash: SecretHash,
    /// The `invite_epoch` of the invitee's e-mail item when the invitation was created. A higher epoch on that item
    /// means that the invitee has joined a workspace since.
    pub invite_epoch: u64,
    /// The inviter's epoch when the invitation was created. The inviter's epoch grows when they lose the right to
    /// invite.
    #[serde(default)]
    pub inviter_epoch: u64,
    /// When it was created.
    pub created_at: Time,
    /// How it ended; `None` while it is pending or expired.
    pub end: Option<End>,
}

/// How an invitation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// `Accepted` or `Revoked`.
    pub status: Status,
    /// When it ended.
    pub at: Time,
    /// The user who accepted it.
    pub accepted_by: Option<UserId>,
}

/// The pending row in the workspace's list of invitations: the attributes that may change while the invitation is
/// pending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The invitation's id.
    pub id: InvitationId,
    /// The invitee's e-mail address.
    pub email: EmailAddress,
    /// The role that the invitee gets.
    pub role: Role,
    /// The inviter.
    pub invited_by: UserId,
    /// The inviter's e-mail address.
    pub invited_by_email: EmailAddress,
    /// When the invitation was created.
    pub created_at: Time,
    /// When the invitation expires.
    pub expires_at: Time,
    /// The delivery status of the invitation's mail.
    pub delivery: Delivery,
    /// The page that the link opens, stored so that every mail of the invitation carries the same link.
    pub link_page: Url,
    /// The state of the recipient's budget after the invitation's mail. This is a hint; any default is safe.
    #[serde(default)]
    pub recipient_budget: BudgetState,
}

impl Pending {
    /// The status by the expiry alone. TTL deletion is not relied on: it may happen days later.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        if now < self.expires_at {
            Status::Pending
        } else {
            Status::Expired
        }
    }
}

/// The state of an invitation: its item and its pending row, read together.
#[derive(Clone, Debug)]
pub struct InvitationState {
    /// The invitation item.
    pub invitation: Invitation,
    /// The pending row; `None` once the invitation has ended.
    pub pending: Option<Pending>,
}

impl InvitationState {
    /// Returns the pending row unless the invitation has ended. An expired invitation has not ended.
    pub fn open(&self) -> Result<&Pending, Error> {
        match (&self.invitation.end, &self.pending) {
            (Some(end), _) if end.status == Status::Accepted => Err(Error::InvitationUsed),
            (Some(_), _) => Err(Error::InvitationRevoked),
            // One transaction ends both items, so this read is torn: it saw one item before and the other after.
            (None, None) => Err(Error::Stale),
            (None, Some(pending)) => Ok(pending),
        }
    }

    /// Returns the pending row unless the invitation has ended or expired.
    pub fn unexpired(&self, now: Time) -> Result<&Pending, Error> {
        let pending = self.open()?;
        match pending.status(now) {
            Status::Expired => Err(Error::InvitationExpired),
            Status::Pending | Status::Accepted | Status::Revoked => Ok(pending),
        }
    }
}

/// The facts about the inviter, the invitee and the workspace that decide whether an invitation is permitted.
#[derive(Clone, Copy, Debug)]
pub struct InviteFacts<'a> {
    /// The inviter's e-mail address.
    pub inviter: &'a EmailAddress,
    /// The inviter's role.
    pub inviter_role: Role,
    /// The role of the pending invitation that this one replaces.
    pub replaced_role: Option<Role>,
    /// The workspace that the invitation is for.
    pub workspace: WorkspaceId,
    /// The workspace that the invitee is a member of.
    pub invitee_workspace: Option<WorkspaceId>,
    /// The workspace's pending invitations after this one replaced its predecessor and expired ones were deleted.
    pub pending_after: u64,
}

/// Decides whether the inviter may invite `email`.
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

/// Decides whether an invitation may be extended to `expires_at`.
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

    fn state(end: Option<Status>, pending: bool) -> InvitationState {
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
    fn an_ended_invitation_is_not_open_and_a_missing_pending_row_is_a_torn_read() {
        assert_eq!(
            state(Some(Status::Accepted), false).open().unwrap_err(),
            Error::InvitationUsed
        );
        assert_eq!(
            state(Some(Status::Revoked), false).open().unwrap_err(),
            Error::InvitationRevoked
        );
        assert_eq!(state(None, false).open().unwrap_err(), Error::Stale);
        assert!(state(None, true).unexpired(at(999)).is_ok());
        assert_eq!(
            state(None, true).unexpired(at(1000)).unwrap_err(),
            Error::InvitationExpired
        );
        assert!(state(None, true).open().is_ok());
    }

    #[test]
    fn an_expiry_must_be_in_the_future_and_within_ninety_days() {
        let now = at(0);
        assert!(extend(now, now).is_err());
        assert!(extend(at(1), now).is_ok());
        assert!(extend(now.plus(EXPIRY_MAX), now).is_ok());
        assert!(extend(now.plus(EXPIRY_MAX).plus(Duration::from_millis(1)), now).is_err());
    }
}
