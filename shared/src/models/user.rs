//! Accounts, memberships and sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::email::EmailAddress;
use super::role::Role;
use super::text::Name;
use crate::clock::Time;
use crate::ids::{SessionId, UserId, WorkspaceId};

/// How long an access token is valid.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_secs(15 * 60);
/// How long a refresh token is valid, and so how long an unused session lasts.
pub(crate) const REFRESH_TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long the previous refresh token still returns the current one.
pub(crate) const REFRESH_GRACE: Duration = Duration::from_secs(30);
/// The most sessions that a user may have. Another login ends the oldest session. The limit keeps the user item within
/// one read unit.
pub(crate) const SESSIONS_MAX: usize = 16;

/// An account, as stored in the user item. It is the source of truth for the user's membership and sessions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// The user's e-mail address, unique among accounts.
    pub email: EmailAddress,
    /// The user's name.
    pub name: Option<Name>,
    /// The Argon2id hash of the password, a PHC string.
    pub password_hash: PasswordHash,
    /// The company given at registration.
    pub company: Option<Name>,
    /// True once the user has presented a token that was mailed to the address.
    pub email_verified: bool,
    /// The user's epoch. Logout, removal and downgrade raise it, which ends every token of the account.
    pub epoch: u64,
    /// The user's sessions.
    #[serde(default)]
    pub sessions: BTreeMap<SessionId, Session>,
    /// The user's membership, if they are in a workspace.
    pub membership: Option<Membership>,
    /// When the account was created.
    pub created_at: Time,
    /// When the account last changed.
    pub updated_at: Time,
}

/// The hash of a password, a PHC string. `Debug` does not print it, and it cannot be compared with `==`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[password hash]")
    }
}

/// A user's membership in a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The user's role in the workspace.
    pub role: Role,
    /// When the user joined.
    pub joined_at: Time,
    /// The workspace's epoch when the user joined. Older tokens of the user count as made at this epoch.
    pub joined_epoch: u64,
    /// The user's epoch when they joined.
    #[serde(default)]
    pub user_epoch: u64,
    /// The user's epoch after they were last demoted from owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_owner: Option<u64>,
    /// The user's epoch after they were last demoted below manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_manager: Option<u64>,
}

impl Membership {
    /// The membership of a user of epoch `user_epoch` who joins at `joined_at`.
    #[must_use]
    pub fn new(workspace_id: WorkspaceId, role: Role, joined_at: Time, joined_epoch: u64, user_epoch: u64) -> Self {
        Self {
            workspace_id,
            role,
            joined_at,
            joined_epoch,
            user_epoch,
            lost_owner: None,
            lost_manager: None,
        }
    }

    /// Whether the member has had the right to invite for `role` without interruption since their epoch was `epoch`.
    ///
    /// An invitation stays revoked when its inviter lost that right, even if they have it again. Epochs decide instead
    /// of times, because clocks may differ.
    #[must_use]
    pub(crate) fn could_invite_since(&self, role: Role, epoch: u64) -> bool {
        let right_lost_at = if role == Role::Owner {
            self.lost_owner
        } else {
            self.lost_manager
        };
        self.role.may_invite(role) && self.user_epoch <= epoch && right_lost_at.is_none_or(|lost| lost <= epoch)
    }
}

/// A login session, which each refresh prolongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The number of refreshes. The refresh token that carries this number is the current one.
    pub generation: u64,
    /// When the session was last refreshed, or created.
    pub rotated_at: Time,
    /// When the current refresh token expires.
    pub expires_at: Time,
    /// The workspace that the user was in when the session was created.
    pub workspace_id: Option<WorkspaceId>,
    /// The epoch of that workspace when the session was created.
    pub workspace_epoch: u64,
}

/// How the presentation of a refresh token is to be treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The token is the current one. A new token replaces it.
    Rotate,
    /// The token is the previous one, within `REFRESH_GRACE`: the response was lost, or a second browser tab
    /// refreshed too. The current token is returned again.
    Repeat,
    /// The token was replaced earlier. It may have been stolen, so the session ends.
    Reuse,
    /// The token has expired or was never issued.
    Invalid,
}

impl Session {
    /// A session that starts now.
    #[must_use]
    pub fn new(workspace: Option<(WorkspaceId, u64)>, now: Time) -> Self {
        Self {
            generation: 0,
            rotated_at: now,
            expires_at: now.plus(REFRESH_TOKEN_TTL),
            workspace_id: workspace.map(|(id, _)| id),
            workspace_epoch: workspace.map_or(0, |(_, epoch)| epoch),
        }
    }

    /// Decides how the refresh token of `generation` is to be treated.
    #[must_use]
    pub fn refresh(&self, generation: u64, now: Time) -> Refresh {
        if now >= self.expires_at || generation > self.generation {
            return Refresh::Invalid;
        }
        if generation == self.generation {
            return Refresh::Rotate;
        }
        if generation + 1 == self.generation && now < self.rotated_at.plus(REFRESH_GRACE) {
            return Refresh::Repeat;
        }
        Refresh::Reuse
    }

    /// Whether the workspace has revoked all sessions since this session was created. `workspace_epoch` is the current
    /// epoch of the workspace that the user is in. A session from before the user joined counts as created when they
    /// joined.
    #[must_use]
    pub fn is_revoked(&self, membership: &Membership, workspace_epoch: u64) -> bool {
        let created_epoch = if self.workspace_id == Some(membership.workspace_id) {
            self.workspace_epoch
        } else {
            membership.joined_epoch
        };
        created_epoch != workspace_epoch
    }
}

impl User {
    /// The user's name, or the local part of the e-mail address if they gave no name.
    #[must_use]
    pub(crate) fn display_name(&self) -> &str {
        let local_part = || self.email.as_str().split('@').next().unwrap_or_default();
        self.name.as_ref().map_or_else(local_part, Name::as_str)
    }

    /// The sessions that another login must end: the expired ones, and the oldest ones above the limit.
    #[must_use]
    pub fn sessions_to_evict(&self, now: Time) -> Vec<SessionId> {
        let mut unexpired: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.expires_at > now)
            .collect();
        unexpired.sort_by_key(|(id, session)| (session.rotated_at, **id));
        let surplus = (unexpired.len() + 1).saturating_sub(SESSIONS_MAX);
        let expired = self.sessions.iter().filter(|(_, session)| session.expires_at <= now);
        expired
            .chain(unexpired.into_iter().take(surplus))
            .map(|(id, _)| *id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(generation: u64, rotated_at: i64) -> Session {
        Session {
            generation,
            ..Session::new(None, Time::from_millis(rotated_at))
        }
    }

    #[test]
    fn the_current_token_rotates_and_the_previous_one_repeats_within_the_grace_period() {
        let now = Time::from_millis(100_000);
        assert_eq!(session(5, 100_000).refresh(5, now), Refresh::Rotate);
        assert_eq!(session(5, 70_001).refresh(4, now), Refresh::Repeat);
        assert_eq!(session(5, 70_000).refresh(4, now), Refresh::Reuse);
        assert_eq!(session(5, 100_000).refresh(3, now), Refresh::Reuse);
        assert_eq!(session(5, 100_000).refresh(6, now), Refresh::Invalid);
        assert_eq!(
            session(5, 100_000).refresh(5, now.plus(REFRESH_TOKEN_TTL)),
            Refresh::Invalid
        );
    }

    #[test]
    fn losing_the_right_to_invite_ends_only_the_invitations_created_before() {
        let joined_at = Time::from_millis(0);
        let mut inviter = Membership::new(WorkspaceId::from_bytes([1; 16]), Role::Owner, joined_at, 0, 10);
        assert!(inviter.could_invite_since(Role::Owner, 10));
        assert!(
            !inviter.could_invite_since(Role::Member, 9),
            "created before the inviter joined again"
        );
        inviter.lost_owner = Some(20);
        assert!(!inviter.could_invite_since(Role::Owner, 19));
        assert!(inviter.could_invite_since(Role::Owner, 20));
        assert!(inviter.could_invite_since(Role::Member, 15));
    }

    #[test]
    fn a_session_from_before_joining_counts_as_created_when_the_user_joined() {
        let workspace_id = WorkspaceId::from_bytes([1; 16]);
        let membership = Membership::new(workspace_id, Role::Member, Time::from_millis(0), 3, 0);
        assert!(!session(0, 0).is_revoked(&membership, 3));
        assert!(session(0, 0).is_revoked(&membership, 4));
        let created_in_workspace = Session::new(Some((workspace_id, 4)), Time::from_millis(0));
        assert!(!created_in_workspace.is_revoked(&membership, 4));
        assert!(created_in_workspace.is_revoked(&membership, 5));
    }
}
