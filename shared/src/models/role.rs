//! Roles, and the rules about which role may do what. `tests/routes/role_matrix.txt` states the same rules as text.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A member's role, in ascending rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May read the workspace.
    Member,
    /// May read the workspace; the default role of SDK 3.2.0.
    FieldWorker,
    /// May also update the workspace, invite people, and manage members of lower roles.
    Manager,
    /// May do everything.
    Owner,
}

/// Error: the text is not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be owner, manager, field_worker or member")]
pub struct InvalidRole;

/// An action that a member's role alone permits or forbids.
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
    /// Every role, in ascending rank.
    pub const ALL: [Self; 4] = [Self::Member, Self::FieldWorker, Self::Manager, Self::Owner];

    /// The role's name in JSON and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::FieldWorker => "field_worker",
            Self::Manager => "manager",
            Self::Owner => "owner",
        }
    }

    /// Whether this role may do `action`.
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

    /// Whether this role may change or remove a member of role `target`.
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

/// Why a change to a membership is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipRefusal {
    /// The actor's role is too low.
    Rank,
    /// A workspace must keep at least one owner.
    LastOwner,
}

/// The effect of a role change on the member's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// The member has this role already.
    None,
    /// The member gains rights. Their tokens stay valid.
    Upgrade,
    /// The member loses rights. Their tokens end.
    Downgrade,
}

/// Decides whether `actor` may change a member from `from` to `to` in a workspace with `owners` owners, and returns the
/// effect.
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

/// Decides whether `actor` may remove a member of role `target` from a workspace with `owners` owners.
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
    fn the_last_owner_cannot_be_demoted_or_removed_but_a_second_owner_can() {
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
    fn below_owner_no_role_edits_its_own_rank_or_grants_a_higher_rank() {
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
