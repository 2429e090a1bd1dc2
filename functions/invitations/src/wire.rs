//! What comes in and goes out.

use deserr::Deserr;
use serde::Serialize;
use shared::Error;
use shared::clock::{InvalidTime, Time};
use shared::http::body::FieldErrors;
use shared::http::page::PageRules;
use shared::ids::InvitationId;
use shared::models::delivery::Delivery;
use shared::models::email::EmailAddress;
use shared::models::invitation::{Pending, Status};
use shared::models::role::Role;
use shared::models::text::Invalid;
use shared::store::cursor::List;
use utoipa::ToSchema;

/// Who is to be invited.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct InvitationCreateIn {
    /// Their e-mail address.
    #[schema(format = Email)]
    pub(crate) email: String,
    /// The role they will have; `member` when it is not given.
    #[deserr(default)]
    #[schema(value_type = Option<Role>)]
    pub(crate) role: Option<String>,
}

impl InvitationCreateIn {
    /// The role, if it is one.
    pub(crate) fn role(&self) -> Result<Role, Error> {
        let role = self.role.as_deref().map_or(Ok(Role::Member), str::parse);
        role.map_err(|_| Error::InvalidRole)
    }

    /// The address, if it is one.
    pub(crate) fn email(&self) -> Result<EmailAddress, Error> {
        EmailAddress::parse(&self.email).map_err(|_| Error::InvalidEmail)
    }
}

/// Until when an invitation is to be valid.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct ExpiryIn {
    /// A time in the future, at most 90 days ahead.
    #[deserr(try_from(String) = parse_time -> Invalid)]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) expires_at: Time,
}

/// A time without an offset is UTC: SDK 3.2.0 sends one for a `datetime` without a time zone.
fn parse_time(text: String) -> Result<Time, Invalid> {
    let in_utc = format!("{text}Z");
    Time::try_from(text)
        .or_else(|_| Time::try_from(in_utc))
        .map_err(|InvalidTime| Invalid("must be an RFC 3339 time"))
}

/// The pages of the list of pending invitations.
pub(crate) const PAGES: PageRules = PageRules {
    list: List::Invitations,
    limit_max: 100,
    // More than a workspace ever has.
    offset_max: Some(1_000_000),
    cursor_names: &["cursor", "before"],
};

/// An invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvitationOut {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    id: InvitationId,
    /// Who is invited.
    #[schema(value_type = String, format = Email)]
    email: EmailAddress,
    /// As what.
    role: Role,
    /// Where it stands.
    status: Status,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// When it ends by itself.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
    /// Who invites.
    #[schema(value_type = String, format = Email)]
    invited_by_email: EmailAddress,
    /// The fate of its mail.
    delivery: Delivery,
}

impl InvitationOut {
    /// `pending` as it stands `now`.
    pub(crate) fn new(pending: Pending, now: Time) -> Self {
        Self {
            status: pending.status(now),
            id: pending.id,
            email: pending.email,
            role: pending.role,
            created_at: pending.created_at,
            expires_at: pending.expires_at,
            invited_by_email: pending.invited_by_email,
            delivery: pending.delivery,
        }
    }
}

/// A new invitation, with its link, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvitationIssuedOut {
    #[serde(flatten)]
    pub(crate) invitation: InvitationOut,
    /// What the mail leads to. It holds the token.
    pub(crate) invite_link: String,
    /// Hours for which a new invitation is valid.
    pub(crate) invite_ttl_hours: u64,
}

impl InvitationIssuedOut {
    /// A new invitation, as it stood when it was made.
    pub(crate) fn new(pending: Pending, invite_link: String) -> Self {
        let now = pending.created_at;
        let ttl = pending.expires_at.since(now);
        Self {
            invitation: InvitationOut::new(pending, now),
            invite_link,
            invite_ttl_hours: ttl.as_secs() / 3600,
        }
    }
}

/// Pending invitations, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvitationsOut {
    /// Some of them.
    pub(crate) invitations: Vec<InvitationOut>,
    /// How many there are.
    pub(crate) total: usize,
    /// Where the next answer goes on, when there are more.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
}

/// An invitation that was cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvitationCancelledOut {
    /// A sentence for people.
    pub(crate) message: &'static str,
    /// The invitation's id.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: InvitationId,
    /// `revoked`.
    pub(crate) status: Status,
}
