//! The bodies and parameters of the requests and responses.

use deserr::Deserr;
use serde::Serialize;
use shared::clock::Time;
use shared::http::body::FieldErrors;
use shared::http::page::PageRules;
use shared::ids::UserId;
use shared::models::email::EmailAddress;
use shared::models::member::Member;
use shared::models::role::{Role, RoleChange};
use shared::models::text::Name;
use shared::store::cursor::List;
use shared::store::member::PAGE_MAX;
use utoipa::ToSchema;

/// A member of the workspace.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberOut {
    /// The user's id.
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    /// The e-mail address.
    #[schema(value_type = String, format = Email)]
    email: EmailAddress,
    /// The name.
    #[schema(value_type = Option<String>, required = true)]
    name: Option<Name>,
    /// The role in the workspace.
    role: Role,
    /// The time of joining.
    #[schema(value_type = String, format = DateTime)]
    joined_at: Time,
}

impl From<Member> for MemberOut {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            email: member.email,
            name: member.name,
            role: member.role,
            joined_at: member.joined_at,
        }
    }
}

/// A page of the members of the workspace.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MembersOut {
    /// The members, in the order in which they joined.
    pub(crate) members: Vec<MemberOut>,
    /// The number of members of the workspace.
    pub(crate) total: u64,
    /// Whether there are more members after this page.
    pub(crate) truncated: bool,
    /// The cursor of the next page; null on the last page.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
}

/// The pages of the list of members.
pub(crate) const PAGES: PageRules = PageRules {
    list: List::Members,
    limit_max: PAGE_MAX,
    offset_max: None,
    cursor_names: &["cursor"],
};

/// The new role of a member.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct RoleIn {
    /// `owner`, `manager`, `field_worker` or `member`.
    #[schema(value_type = Role)]
    pub(crate) role: String,
}

/// The result of a change of a member.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberChangedOut {
    /// A sentence for people.
    message: &'static str,
    /// The user's id.
    #[schema(value_type = String, format = "uuid")]
    user_id: UserId,
    /// The role of the member; null after removal.
    #[schema(required = true)]
    role: Option<Role>,
}

impl MemberChangedOut {
    /// The member has `role`.
    pub(crate) fn changed(user_id: UserId, role: Role, change: RoleChange) -> Self {
        let message = match change {
            RoleChange::None => "The member has this role already.",
            RoleChange::Upgrade | RoleChange::Downgrade => "The member's role has been changed.",
        };
        Self {
            message,
            user_id,
            role: Some(role),
        }
    }

    /// The user is not a member any more.
    pub(crate) fn removed(user_id: UserId) -> Self {
        Self {
            message: "The member has been removed.",
            user_id,
            role: None,
        }
    }
}
