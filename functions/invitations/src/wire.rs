//! The bodies and parameters of the requests and responses.

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

/// The person to invite.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct InvitationCreateIn {
    /// The e-mail address.
    #[schema(format = Email)]
    pub(crate) email: String,
    /// The role that the invitee will have; `member` by default.
    #[deserr(default)]
    #[schema(value_type = Option<Role>)]
    pub(crate) role: Option<String>,
}

impl InvitationCreateIn {
    /// The parsed role. [`Error::InvalidRole`] when the text is not a role.
    pub(crate) fn role(&self) -> Result<Role, Error> {
        let role = self.role.as_deref().map_or(Ok(Role::Member), str::parse);
        role.map_err(|_| Error::InvalidRole)
    }

    /// The parsed address. [`Error::InvalidEmail`] when the text is not an address.
    pub(crate) fn email(&self) -> Result<EmailAddress, Error> {
        EmailAddress::parse(&self.email).map_err(|_| Error::InvalidEmail)
    }
}

/// The new expiry of an invitation.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct ExpiryIn {
    /// A time in the future, at most 90 days ahead.
    #[deserr(try_from(String) = parse_time -> Invalid)]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) expires_at: Time,
}

/// Parses a time. A time without an offset is in UTC: SDK 3.2.0 sends such a time for a `datetime` without a time zone.
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
    /// The id.
    #[schema(value_type = String, format = "uuid")]
    id: InvitationId,
    /// The e-mail address of the invitee.
    #[schema(value_type = String, format = Email)]
    email: EmailAddress,
    /// The role that the invitee will have.
    role: Role,
    /// The status.
    status: Status,
    /// The time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// The expiry.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
    /// The e-mail address of the inviter.
    #[schema(value_type = String, format = Email)]
    invited_by_email: EmailAddress,
    /// The delivery status of the mail.
    delivery: Delivery,
}

impl InvitationOut {
    /// The response for a pending row, with its status at `now`.
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

/// A new invitation with its link, which is shown only once.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvitationIssuedOut {
    #[serde(flatten)]
    pub(crate) invitation: InvitationOut,
    /// The link of the mail. It contains the token.
    pub(crate) invite_link: String,
    /// The number of hours for which a new invitation is valid.
    pub(crate) invite_ttl_hours: u64,
}

impl InvitationIssuedOut {
    /// The response for a new invitation, with its status at creation.
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

/// A page of pending invitations, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvitationsOut {
    /// The invitations of the page.
    pub(crate) invitations: Vec<InvitationOut>,
    /// The number of pending invitations.
    pub(crate) total: usize,
    /// The cursor of the next page; null on the last page.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
}

/// The confirmation of a cancellation.
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
