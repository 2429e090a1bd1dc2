//! The member row of a workspace's list.

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
    /// The user's id.
    pub id: UserId,
    /// The user's e-mail address.
    pub email: EmailAddress,
    /// The user's name, if they gave one.
    pub name: Option<Name>,
    /// The user's role in the workspace.
    pub role: Role,
    /// When the user joined the workspace.
    pub joined_at: Time,
}

impl Member {
    /// The member row of `user` under `membership`.
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
