//! The names by which programs know errors.

use serde::Serialize;
use utoipa::ToSchema;

/// The machine-readable error codes of the API. `docs/api.md` lists every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "docs/api.md describes each, and a test holds the two equal")]
pub enum Code {
    AlreadyDone,
    AlreadyInWorkspace,
    AlreadyMember,
    EmailTaken,
    Forbidden,
    IdempotencyKeyReused,
    InternalError,
    InvalidCredentials,
    InvalidEmail,
    InvalidExpiry,
    InvalidRole,
    InvitationExpired,
    InvitationNotFound,
    InvitationRevoked,
    InvitationUsed,
    InviteEmailMismatch,
    InviteeUnavailable,
    LastOwner,
    MemberNotFound,
    MethodNotAllowed,
    NotFound,
    PasswordRequired,
    PayloadTooLarge,
    PreconditionFailed,
    RateLimited,
    SelfInvite,
    ServiceUnavailable,
    TokenInvalid,
    TokenMissing,
    TokenRevoked,
    TooManyPending,
    ValidationError,
    WeakPassword,
    WorkspaceNotEmpty,
    WorkspaceNotFound,
}

impl Code {
    /// Every code, in the order of their names.
    pub const ALL: [Self; 35] = [
        Self::AlreadyDone,
        Self::AlreadyInWorkspace,
        Self::AlreadyMember,
        Self::EmailTaken,
        Self::Forbidden,
        Self::IdempotencyKeyReused,
        Self::InternalError,
        Self::InvalidCredentials,
        Self::InvalidEmail,
        Self::InvalidExpiry,
        Self::InvalidRole,
        Self::InvitationExpired,
        Self::InvitationNotFound,
        Self::InvitationRevoked,
        Self::InvitationUsed,
        Self::InviteeUnavailable,
        Self::InviteEmailMismatch,
        Self::LastOwner,
        Self::MemberNotFound,
        Self::MethodNotAllowed,
        Self::NotFound,
        Self::PasswordRequired,
        Self::PayloadTooLarge,
        Self::PreconditionFailed,
        Self::RateLimited,
        Self::SelfInvite,
        Self::ServiceUnavailable,
        Self::TokenInvalid,
        Self::TokenMissing,
        Self::TokenRevoked,
        Self::TooManyPending,
        Self::ValidationError,
        Self::WeakPassword,
        Self::WorkspaceNotEmpty,
        Self::WorkspaceNotFound,
    ];

    /// The code as it stands in `error_code`, such as `LAST_OWNER`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyDone => "ALREADY_DONE",
            Self::AlreadyInWorkspace => "ALREADY_IN_WORKSPACE",
            Self::AlreadyMember => "ALREADY_MEMBER",
            Self::EmailTaken => "EMAIL_TAKEN",
            Self::Forbidden => "FORBIDDEN",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::InternalError => "INTERNAL_ERROR",
            Self::InvalidCredentials => "INVALID_CREDENTIALS",
            Self::InvalidEmail => "INVALID_EMAIL",
            Self::InvalidExpiry => "INVALID_EXPIRY",
            Self::InvalidRole => "INVALID_ROLE",
            Self::InvitationExpired => "INVITATION_EXPIRED",
            Self::InvitationNotFound => "INVITATION_NOT_FOUND",
            Self::InvitationRevoked => "INVITATION_REVOKED",
            Self::InvitationUsed => "INVITATION_USED",
            Self::InviteEmailMismatch => "INVITE_EMAIL_MISMATCH",
            Self::InviteeUnavailable => "INVITEE_UNAVAILABLE",
            Self::LastOwner => "LAST_OWNER",
            Self::MemberNotFound => "MEMBER_NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::NotFound => "NOT_FOUND",
            Self::PasswordRequired => "PASSWORD_REQUIRED",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::RateLimited => "RATE_LIMITED",
            Self::SelfInvite => "SELF_INVITE",
            Self::ServiceUnavailable => "SERVICE_UNAVAILABLE",
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::TokenMissing => "TOKEN_MISSING",
            Self::TokenRevoked => "TOKEN_REVOKED",
            Self::TooManyPending => "TOO_MANY_PENDING",
            Self::ValidationError => "VALIDATION_ERROR",
            Self::WeakPassword => "WEAK_PASSWORD",
            Self::WorkspaceNotEmpty => "WORKSPACE_NOT_EMPTY",
            Self::WorkspaceNotFound => "WORKSPACE_NOT_FOUND",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_written_as_it_serialises() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        let mut sorted = Code::ALL.map(Code::as_str);
        sorted.sort_unstable();
        assert_eq!(sorted, Code::ALL.map(Code::as_str));
    }
}
