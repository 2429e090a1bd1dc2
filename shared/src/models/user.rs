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
/// How long a refresh token, and with it an idle session, is valid.
pub const REFRESH_TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long the predecessor of a refresh token still gets the same successor.
pub const REFRESH_GRACE: Duration = Duration::from_secs(30);
/// Sessions a user has at most; a further login ends the oldest. It keeps the user's item within one read unit.
pub const SESSIONS_MAX: usize = 16;

/// An account, as its item holds it: the truth about who is in which workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its e-mail address, unique among accounts.
    pub email: EmailAddress,
    /// Its name.
    pub name: Option<Name>,
    /// The Argon2id hash of its password, a PHC string.
    pub password_hash: PasswordHash,
    /// The company given at registration.
    pub company: Option<Name>,
    /// True once a mailed proof came back.
    pub email_verified: bool,
    /// Raised by logout, removal and downgrade: every token of the account ends.
    pub epoch: u64,
    /// Its sessions.
    #[serde(default)]
    pub sessions: BTreeMap<SessionId, Session>,
    /// Its place in a workspace, if it is in one.
    pub membership: Option<Membership>,
    /// When it was made.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
}

/// The hash of a password, a PHC string. It does not show itself, and has no `==`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[password hash]")
    }
}

/// A user's place in a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The role in it.
    pub role: Role,
    /// When the user joined.
    pub joined_at: Time,
    /// The workspace's epoch then: tokens from before count as minted at it.
    pub joined_epoch: u64,
    /// The user's own epoch then.
    #[serde(default)]
    pub user_epoch: u64,
    /// The user's epoch since they were last demoted from owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_owner: Option<u64>,
    /// The user's epoch since they were last demoted below manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_manager: Option<u64>,
}

impl Membership {
    /// A place that is taken now, by a user of `user_epoch`.
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

    /// Whether the member has had the right to invite for `role` all the time since their epoch was `sent`: an invitation
    /// whose inviter lost it stays dead, though they may have it again. Epochs, as clocks may differ.
    #[must_use]
    pub fn could_invite_since(&self, role: Role, sent: u64) -> bool {
        let lost = if role == Role::Owner {
            self.lost_owner
        } else {
            self.lost_manager
        };
        self.role.may_invite(role) && self.user_epoch <= sent && lost.is_none_or(|lost| lost <= sent)
    }
}

/// A login that goes on by refreshing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// How often it was refreshed: the refresh token of this number is the current one.
    pub generation: u64,
    /// When it was last refreshed, or made.
    pub rotated_at: Time,
    /// When its current refresh token expires.
    pub expires_at: Time,
    /// The workspace it was made in.
    pub workspace_id: Option<WorkspaceId>,
    /// That workspace's epoch then.
    pub workspace_epoch: u64,
}

/// What presenting a refresh token means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// It is the current one: a successor takes its place.
    Rotate,
    /// It is the immediate predecessor, in time, and the current one is unused: the answer was lost, or a second tab
    /// asked. The current one is given again.
    Repeat,
    /// It was replaced before: somebody has a copy, and the session ends.
    Reuse,
    /// It has expired, or never was.
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

    /// What presenting the refresh token of `generation` means.
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

    /// Whether the session was ended by its workspace's revocation of all sessions: `current` is the workspace that
    /// the user is in and its epoch. A session from before joining counts as made at the epoch of joining.
    #[must_use]
    pub fn is_revoked(&self, membership: &Membership, workspace_epoch: u64) -> bool {
        let made_at = if self.workspace_id == Some(membership.workspace_id) {
            self.workspace_epoch
        } else {
            membership.joined_epoch
        };
        made_at != workspace_epoch
    }
}

impl User {
    /// The name, or the local part of the e-mail where none was given.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let local_part = || self.email.as_str().split('@').next().unwrap_or_default();
        self.name.as_ref().map_or_else(local_part, Name::as_str)
    }

    /// The sessions that a further login must end: the expired, and the oldest beyond the limit.
    #[must_use]
    pub fn sessions_to_evict(&self, now: Time) -> Vec<SessionId> {
        let mut live: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.expires_at > now)
            .collect();
        live.sort_by_key(|(id, session)| (session.rotated_at, **id));
        let surplus = (live.len() + 1).saturating_sub(SESSIONS_MAX);
        let expired = self.sessions.iter().filter(|(_, session)| session.expires_at <= now);
        expired
            .chain(live.into_iter().take(surplus))
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
    fn the_current_token_rotates_and_its_predecessor_repeats_for_a_while() {
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
    fn a_right_that_was_lost_is_lost_for_what_was_sent_before() {
        let joined_at = Time::from_millis(0);
        let mut inviter = Membership::new(WorkspaceId::from_bytes([1; 16]), Role::Owner, joined_at, 0, 10);
        assert!(inviter.could_invite_since(Role::Owner, 10));
        assert!(
            !inviter.could_invite_since(Role::Member, 9),
            "sent before they joined again"
        );
        inviter.lost_owner = Some(20);
        assert!(!inviter.could_invite_since(Role::Owner, 19));
        assert!(inviter.could_invite_since(Role::Owner, 20));
        assert!(inviter.could_invite_since(Role::Member, 15));
    }

    #[test]
    fn a_session_from_before_joining_counts_from_joining() {
        let workspace_id = WorkspaceId::from_bytes([1; 16]);
        let membership = Membership::new(workspace_id, Role::Member, Time::from_millis(0), 3, 0);
        assert!(!session(0, 0).is_revoked(&membership, 3));
        assert!(session(0, 0).is_revoked(&membership, 4));
        let made_there = Session::new(Some((workspace_id, 4)), Time::from_millis(0));
        assert!(!made_there.is_revoked(&membership, 4));
        assert!(made_there.is_revoked(&membership, 5));
    }
}
