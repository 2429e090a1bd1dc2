//! Roles and the one table of who may do what. `tests/routes/role_matrix.txt` is its copy in text.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A member's role. Later ones rank higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Member,
    /// Reads; the default of SDK 3.2.0.
    FieldWorker,
    /// Updates the workspace, invites and manages those below.
    Manager,
    /// Does everything.
    Owner,
}

/// The text is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be owner, manager, field_worker or member")]
pub struct InvalidRole;

/// What a member may do, or not, by role alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the workspace, its members and its usage.
    Read,
    /// Update the workspace.
    UpdateWorkspace,
    /// Delete the workspace.
    DeleteWorkspace,
    /// List, create, resend, cancel and extend invitations.
    ManageInvitations,
    /// Change roles and remove members.
    ManageMembers,
    /// End all sessions of the workspace.
    RevokeSessions,
}

impl Role {
    /// Every role, the lowest first.
    pub const ALL: [Self; 4] = [Self::Member, Self::FieldWorker, Self::Manager, Self::Owner];

    /// The role's name on the wire and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::FieldWorker => "field_worker",
            Self::Manager => "manager",
            Self::Owner => "owner",
        }
    }

    /// Whether this role may do `action` at all.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        match action {
            Action::Read => true,
            Action::UpdateWorkspace | Action::ManageInvitations | Action::ManageMembers => self >= Self::Manager,
            Action::DeleteWorkspace | Action::RevokeSessions => self == Self::Owner,
        }
    }

    /// Whether this role may create, resend, cancel or extend an invitation for `role`.
    #[must_use]
    pub fn may_invite(self, role: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::Manager => role < Self::Owner,
            Self::FieldWorker | Self::Member => false,
        }
    }

    /// Whether this role may change a member from `from` to `to`.
    #[must_use]
    pub fn may_change(self, from: Self, to: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::Manager => from < Self::Manager && to < Self::Owner,
            Self::FieldWorker | Self::Member => false,
        }
    }

    /// Whether this role may touch a member of role `target` at all.
    #[must_use]
    pub fn may_manage(self, target: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::Manager => target < Self::Manager,
            Self::FieldWorker | Self::Member => false,
        }
    }
}

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(InvalidRole)
    }
}

/// Why a change of the membership is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipRefusal {
    /// The actor does not rank high enough.
    Rank,
    /// The last owner must stay.
    LastOwner,
}

/// What changing a role means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// The member has this role already.
    None,
    /// The member gains rights: its tokens stay valid.
    Upgrade,
    /// The member loses rights: its tokens end.
    Downgrade,
}

/// Whether `actor` may change a member from `from` to `to` in a workspace of `owners` owners, and what that means.
pub fn change_role(actor: Role, from: Role, to: Role, owners: u64) -> Result<RoleChange, MembershipRefusal> {
    if !actor.may_change(from, to) {
        return Err(MembershipRefusal::Rank);
    }
    match to.cmp(&from) {
        std::cmp::Ordering::Equal => Ok(RoleChange::None),
        std::cmp::Ordering::Greater => Ok(RoleChange::Upgrade),
        std::cmp::Ordering::Less if from == Role::Owner && owners <= 1 => Err(MembershipRefusal::LastOwner),
        std::cmp::Ordering::Less => Ok(RoleChange::Downgrade),
    }
}

/// Whether `actor` may remove a member of role `target` from a workspace of `owners` owners.
pub fn remove_member(actor: Role, target: Role, owners: u64) -> Result<(), MembershipRefusal> {
    if !actor.may_manage(target) {
        return Err(MembershipRefusal::Rank);
    }
    if target == Role::Owner && owners <= 1 {
        return Err(MembershipRefusal::LastOwner);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_owner_stays_and_a_second_one_may_go() {
        assert_eq!(
            change_role(Role::Owner, Role::Owner, Role::Member, 1),
            Err(MembershipRefusal::LastOwner)
        );
        assert_eq!(
            change_role(Role::Owner, Role::Owner, Role::Member, 2),
            Ok(RoleChange::Downgrade)
        );
        assert_eq!(
            change_role(Role::Owner, Role::Owner, Role::Owner, 1),
            Ok(RoleChange::None)
        );
        assert_eq!(
            remove_member(Role::Owner, Role::Owner, 1),
            Err(MembershipRefusal::LastOwner)
        );
        assert_eq!(remove_member(Role::Owner, Role::Owner, 2), Ok(()));
    }

    #[test]
    fn nobody_grants_or_edits_a_rank_above_the_table() {
        for actor in Role::ALL {
            for from in Role::ALL {
                for to in Role::ALL {
                    let permitted = change_role(actor, from, to, 9).is_ok();
                    if actor < Role::Owner {
                        assert!(!permitted || (from < actor && to <= actor), "{actor:?} {from:?} {to:?}");
                    }
                }
            }
        }
    }
}
