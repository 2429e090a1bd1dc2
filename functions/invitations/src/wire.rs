//! What comes in and goes out.

use deserr::Deserr;
use serde::Serialize;
use shared::Error;
use shared::clock::{InvalidTime, Time};
use shared::error::FieldError;
use shared::http::body::FieldErrors;
use shared::http::query::Params;
use shared::ids::InvitationId;
use shared::models::delivery::Delivery;
use shared::models::email::EmailAddress;
use shared::models::invitation::{Pending, Status};
use shared::models::role::Role;
use shared::models::text::Invalid;
use shared::models::workspace::Workspace;
use shared::store::cursor::{ClaimedCursor, List, Position};
use utoipa::ToSchema;

/// Invitations that one answer holds at most.
const PAGE_MAX: usize = 100;

/// Invitations that can be skipped at most: more than a workspace ever has.
const OFFSET_MAX: usize = 1_000_000;

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

/// The page that is asked for.
#[derive(Debug)]
pub(crate) struct PageIn {
    /// Invitations in the answer, at most.
    pub(crate) limit: usize,
    /// Invitations to skip.
    pub(crate) offset: usize,
    cursor: Option<ClaimedCursor>,
}

impl PageIn {
    /// Parses `limit`, `offset` and `cursor` (or `before`, its other name), or tells every fault of them.
    pub(crate) fn parse(params: &Params) -> Result<Self, Error> {
        let limit = params.get("limit").map_or(Some(PAGE_MAX), |text| {
            Params::whole(text).filter(|limit| (1..=PAGE_MAX).contains(limit))
        });
        let offset = params.get("offset").map_or(Some(0), |text| {
            Params::whole(text).filter(|offset| *offset <= OFFSET_MAX)
        });
        let cursor = params
            .get("cursor")
            .or_else(|| params.get("before"))
            .map_or(Some(None), |text| ClaimedCursor::parse(text).map(Some));
        match (limit, offset, cursor) {
            (Some(limit), Some(offset), Some(cursor)) => Ok(Self { limit, offset, cursor }),
            (limit, offset, cursor) => {
                let limit = limit
                    .is_none()
                    .then(|| FieldError::query("limit", "must be a whole number from 1 to 100"));
                let offset = offset
                    .is_none()
                    .then(|| FieldError::query("offset", "must be a whole number from 0 to 1,000,000"));
                let cursor = cursor.is_none().then(bad_cursor);
                Err(Error::Validation(
                    limit.into_iter().chain(offset).chain(cursor).collect(),
                ))
            }
        }
    }

    /// Where to go on, once the cursor is shown to be this workspace's own, for this list.
    pub(crate) fn position(&self, workspace: &Workspace) -> Result<Option<Position>, Error> {
        match &self.cursor {
            None => Ok(None),
            Some(cursor) if cursor.is_of(workspace, List::Invitations) => Ok(Some(cursor.position())),
            Some(_) => Err(Error::Validation(vec![bad_cursor()])),
        }
    }
}

fn bad_cursor() -> FieldError {
    FieldError::query("cursor", "must be the next_cursor of an earlier answer")
}

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
