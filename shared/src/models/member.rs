//! A member, as the workspace's list shows it.

use serde::{Deserialize, Serialize};

use super::email::EmailAddress;
use super::role::Role;
use super::text::Name;
use super::user::{Membership, User};
use crate::clock::Time;
use crate::ids::UserId;

/// A member of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user.
    pub id: UserId,
    /// Their e-mail.
    pub email: EmailAddress,
    /// Their name.
    pub name: Option<Name>,
    /// Their role.
    pub role: Role,
    /// When they joined.
    pub joined_at: Time,
}

impl Member {
    /// `user` as the member that `membership` makes of them.
    #[must_use]
    pub fn of(user: &User, membership: &Membership) -> Self {
        Self {
            id: user.id,
            email: user.email.clone(),
            name: user.name.clone(),
            role: membership.role,
            joined_at: membership.joined_at,
        }
    }
}
