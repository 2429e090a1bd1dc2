//! Everything that can go wrong, and the one place that says how a client hears of it.

use std::borrow::Cow;

use ::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

mod code;

pub use code::Code;

/// One fault of a request's body or query, in the form that Pydantic made customary and the SDK types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The kind of fault, such as `missing` or `string_type`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// Where it is: `body`, `query` or `header`, then the field.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub loc: Vec<Cow<'static, str>>,
    /// What is expected.
    pub msg: String,
}

impl FieldError {
    /// A fault of the query parameter `name`.
    #[must_use]
    pub fn query(name: &'static str, msg: &str) -> Self {
        Self {
            kind: "value_error".into(),
            loc: vec!["query".into(), name.into()],
            msg: msg.to_owned(),
        }
    }

    /// A fault of the header `name`.
    #[must_use]
    pub fn header(name: &'static str, kind: &'static str, msg: &str) -> Self {
        Self {
            kind: kind.into(),
            loc: vec!["header".into(), name.into()],
            msg: msg.to_owned(),
        }
    }
}

/// A call refused by a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimited {
    /// Whole seconds until a call is permitted again, at least 1.
    pub retry_after_s: u64,
    /// Calls permitted in a window.
    pub limit: usize,
    /// The window, in seconds.
    pub window_s: u64,
}

/// Why a request did not succeed. What a client sees of each is in [`Error::answer`]; what is inside a variant that
/// carries a cause goes to the log only.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "Error::answer says in words what each is")]
pub enum Error {
    #[error("already done, and what was answered cannot be read any more")]
    AlreadyDone,
    #[error("already in a workspace")]
    AlreadyInWorkspace,
    #[error("already a member")]
    AlreadyMember,
    #[error("e-mail taken")]
    EmailTaken,
    #[error("forbidden")]
    Forbidden,
    #[error("idempotency key reused")]
    IdempotencyKeyReused,
    #[error("invalid credentials")]
    InvalidCredentials,
    #[error("invalid e-mail")]
    InvalidEmail,
    #[error("invalid expiry")]
    InvalidExpiry,
    #[error("invalid role")]
    InvalidRole,
    #[error("invitation expired")]
    InvitationExpired,
    #[error("invitation not found")]
    InvitationNotFound,
    #[error("invitation revoked")]
    InvitationRevoked,
    #[error("invitation used")]
    InvitationUsed,
    #[error("signed in with another e-mail than the invitation's")]
    InviteEmailMismatch,
    #[error("invitee unavailable")]
    InviteeUnavailable,
    #[error("last owner cannot be demoted")]
    LastOwnerDemotion,
    #[error("last owner cannot be removed")]
    LastOwnerRemoval,
    #[error("member not found")]
    MemberNotFound,
    #[error("method not allowed")]
    MethodNotAllowed,
    #[error("no such path")]
    NotFound,
    #[error("password required")]
    PasswordRequired,
    #[error("payload too large")]
    PayloadTooLarge,
    #[error("precondition failed")]
    PreconditionFailed,
    #[error("rate limited")]
    RateLimited(RateLimited),
    #[error("self invite")]
    SelfInvite,
    #[error("token invalid")]
    TokenInvalid,
    #[error("token missing")]
    TokenMissing,
    #[error("token revoked")]
    TokenRevoked,
    #[error("too many pending invitations")]
    TooManyPending,
    #[error("validation failed")]
    Validation(Vec<FieldError>),
    #[error("weak password")]
    WeakPassword,
    #[error("workspace not empty")]
    WorkspaceNotEmpty,
    #[error("workspace not found")]
    WorkspaceNotFound,
    /// Somebody changed what this request had read. [`crate::store::retry_on_conflict`] decides again from a fresh read, until the
    /// request's deadline.
    #[error("stale read")]
    Stale,
    /// A service that is needed did not answer in time.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A fault of this program.
    #[error("internal: {0}")]
    Internal(String),
}

/// What a client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The machine-readable code.
    pub code: Code,
    /// The sentence for people.
    pub detail: &'static str,
}

impl Error {
    /// The one mapping from what went wrong to what a client hears.
    #[must_use]
    #[expect(
        clippy::too_many_lines,
        reason = "one row an error; splitting the table would hide a row"
    )]
    pub fn answer(&self) -> Answer {
        let (status, code, detail) = match self {
            Self::AlreadyDone => (
                StatusCode::CONFLICT,
                Code::AlreadyDone,
                "This request was done before, and its answer cannot be given again. Read what there is.",
            ),
            Self::AlreadyInWorkspace => (
                StatusCode::BAD_REQUEST,
                Code::AlreadyInWorkspace,
                "You are in a workspace already. Leave or delete it first.",
            ),
            Self::AlreadyMember => (
                StatusCode::BAD_REQUEST,
                Code::AlreadyMember,
                "This person is a member of the workspace already.",
            ),
            Self::EmailTaken => (
                StatusCode::BAD_REQUEST,
                Code::EmailTaken,
                "An account with this e-mail address exists already.",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                Code::Forbidden,
                "Your role does not permit this.",
            ),
            Self::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                Code::IdempotencyKeyReused,
                "This Idempotency-Key was used for another request.",
            ),
            Self::InvalidCredentials => (
                StatusCode::UNAUTHORIZED,
                Code::InvalidCredentials,
                "The e-mail address or the password is wrong.",
            ),
            Self::InvalidEmail => (
                StatusCode::BAD_REQUEST,
                Code::InvalidEmail,
                "This is no e-mail address that mail can be sent to.",
            ),
            Self::InvalidExpiry => (
                StatusCode::BAD_REQUEST,
                Code::InvalidExpiry,
                "An expiry must lie in the future, at most 90 days ahead.",
            ),
            Self::InvalidRole => (
                StatusCode::BAD_REQUEST,
                Code::InvalidRole,
                "The role must be owner, manager, field_worker or member.",
            ),
            Self::InvitationExpired => (
                StatusCode::BAD_REQUEST,
                Code::InvitationExpired,
                "This invitation has expired.",
            ),
            Self::InvitationNotFound => (
                StatusCode::NOT_FOUND,
                Code::InvitationNotFound,
                "There is no such invitation.",
            ),
            Self::InvitationRevoked => (
                StatusCode::BAD_REQUEST,
                Code::InvitationRevoked,
                "This invitation is no longer valid.",
            ),
            Self::InvitationUsed => (
                StatusCode::BAD_REQUEST,
                Code::InvitationUsed,
                "This invitation has been accepted already.",
            ),
            Self::InviteEmailMismatch => (
                StatusCode::CONFLICT,
                Code::InviteEmailMismatch,
                "This invitation is for another e-mail address than the one you are signed in with.",
            ),
            Self::InviteeUnavailable => (
                StatusCode::BAD_REQUEST,
                Code::InviteeUnavailable,
                "This person cannot join the workspace at present.",
            ),
            Self::LastOwnerDemotion => (
                StatusCode::BAD_REQUEST,
                Code::LastOwner,
                "A workspace must keep at least one owner.",
            ),
            Self::LastOwnerRemoval => (
                StatusCode::FORBIDDEN,
                Code::LastOwner,
                "A workspace must keep at least one owner.",
            ),
            Self::MemberNotFound => (
                StatusCode::NOT_FOUND,
                Code::MemberNotFound,
                "There is no such member in the workspace.",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                Code::MethodNotAllowed,
                "This path does not support the method.",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, Code::NotFound, "There is nothing at this path."),
            Self::PasswordRequired => (
                StatusCode::BAD_REQUEST,
                Code::PasswordRequired,
                "A password is required to accept this invitation.",
            ),
            Self::PayloadTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::PayloadTooLarge,
                "The body exceeds 64 KiB.",
            ),
            Self::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                Code::PreconditionFailed,
                "It is no longer what If-Match names. Read it again.",
            ),
            Self::RateLimited(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                Code::RateLimited,
                "Too many requests. Try again later.",
            ),
            Self::SelfInvite => (StatusCode::BAD_REQUEST, Code::SelfInvite, "You cannot invite yourself."),
            Self::TokenInvalid => (
                StatusCode::UNAUTHORIZED,
                Code::TokenInvalid,
                "The token is invalid or has expired.",
            ),
            Self::TokenMissing => (
                StatusCode::UNAUTHORIZED,
                Code::TokenMissing,
                "This request needs an Authorization header with a bearer token.",
            ),
            Self::TokenRevoked => (
                StatusCode::UNAUTHORIZED,
                Code::TokenRevoked,
                "The session has ended. Log in again.",
            ),
            Self::TooManyPending => (
                StatusCode::BAD_REQUEST,
                Code::TooManyPending,
                "The workspace has 2,000 pending invitations, the most it may have.",
            ),
            Self::Validation(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                Code::ValidationError,
                "The request is not of the expected form.",
            ),
            Self::WeakPassword => (
                StatusCode::BAD_REQUEST,
                Code::WeakPassword,
                "A password must have 8 to 128 characters.",
            ),
            Self::WorkspaceNotEmpty => (
                StatusCode::BAD_REQUEST,
                Code::WorkspaceNotEmpty,
                "The workspace still has other members.",
            ),
            Self::WorkspaceNotFound => (
                StatusCode::NOT_FOUND,
                Code::WorkspaceNotFound,
                "You are in no workspace.",
            ),
            Self::Stale | Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                Code::ServiceUnavailable,
                "The service is unavailable for a moment. Try again.",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::InternalError,
                "Something went wrong on our side.",
            ),
        };
        Answer { status, code, detail }
    }
}
