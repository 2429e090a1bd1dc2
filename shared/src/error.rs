//! Every error of the API: its code, its HTTP status and its text, in one table.
//!
//! The table below is the only list of errors. It yields [`Error`], [`Code`], the types in [`refusal`] by which a route
//! names its errors, the OpenAPI document, and the table in `docs/api.md` (`cargo run -- errors`).

use std::borrow::Cow;
use std::fmt;

use ::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

mod table;

use table::error_table;

/// One error in a request's body, query or header, in Pydantic's form, which the SDK expects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The kind of error, such as `missing` or `string_type`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The location: `body`, `query` or `header`, then the field.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub loc: Vec<Cow<'static, str>>,
    /// A sentence that says what is expected.
    pub msg: String,
}

impl FieldError {
    /// An error in the query parameter `name`.
    #[must_use]
    pub fn query(name: &'static str, msg: &str) -> Self {
        Self {
            kind: "value_error".into(),
            loc: vec!["query".into(), name.into()],
            msg: msg.to_owned(),
        }
    }

    /// An error in the header `name`.
    #[must_use]
    pub fn header(name: &'static str, kind: &'static str, msg: &str) -> Self {
        Self {
            kind: kind.into(),
            loc: vec!["header".into(), name.into()],
            msg: msg.to_owned(),
        }
    }
}

/// The refusal of a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimited {
    /// Whole seconds until a call is permitted again, at least 1.
    pub retry_after_s: u64,
    /// Calls permitted in a window.
    pub limit: usize,
    /// The window, in seconds.
    pub window_s: u64,
}

error_table! {
    AlreadyDone "ALREADY_DONE" {
        AlreadyDone: CONFLICT, "This request was done before, and its answer cannot be given again. Read what there is.";
    }
    AlreadyInWorkspace "ALREADY_IN_WORKSPACE" {
        AlreadyInWorkspace: BAD_REQUEST, "You are in a workspace already. Leave or delete it first.";
    }
    AlreadyMember "ALREADY_MEMBER" {
        AlreadyMember: BAD_REQUEST, "This person is a member of the workspace already.";
    }
    EmailTaken "EMAIL_TAKEN" {
        EmailTaken: BAD_REQUEST, "An account with this e-mail address exists already.";
    }
    Forbidden "FORBIDDEN" {
        Forbidden: FORBIDDEN, "Your role does not permit this.";
    }
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" {
        IdempotencyKeyReused: UNPROCESSABLE_ENTITY, "This Idempotency-Key was used for another request.";
    }
    InternalError "INTERNAL_ERROR" {
        Internal(String): INTERNAL_SERVER_ERROR, "Something went wrong on our side.";
    }
    InvalidCredentials "INVALID_CREDENTIALS" {
        InvalidCredentials: UNAUTHORIZED, "The e-mail address or the password is wrong.";
    }
    InvalidEmail "INVALID_EMAIL" {
        InvalidEmail: BAD_REQUEST, "This is no e-mail address that mail can be sent to.";
    }
    InvalidExpiry "INVALID_EXPIRY" {
        InvalidExpiry: BAD_REQUEST, "An expiry must lie in the future, at most 90 days ahead.";
    }
    InvalidRole "INVALID_ROLE" {
        InvalidRole: BAD_REQUEST, "The role must be owner, manager, field_worker or member.";
    }
    InvitationExpired "INVITATION_EXPIRED" {
        InvitationExpired: BAD_REQUEST, "This invitation has expired.";
    }
    InvitationNotFound "INVITATION_NOT_FOUND" {
        InvitationNotFound: NOT_FOUND, "There is no such invitation.";
    }
    InvitationRevoked "INVITATION_REVOKED" {
        InvitationRevoked: BAD_REQUEST, "This invitation is no longer valid.";
    }
    InvitationUsed "INVITATION_USED" {
        InvitationUsed: BAD_REQUEST, "This invitation has been accepted already.";
    }
    InviteeUnavailable "INVITEE_UNAVAILABLE" {
        InviteeUnavailable: BAD_REQUEST, "This person cannot join the workspace at present.";
    }
    InviteEmailMismatch "INVITE_EMAIL_MISMATCH" {
        InviteEmailMismatch: CONFLICT, "This invitation is for another e-mail address than the one you are signed in with.";
    }
    LastOwner "LAST_OWNER" {
        LastOwnerDemotion: BAD_REQUEST, "A workspace must keep at least one owner.";
        LastOwnerRemoval: FORBIDDEN, "A workspace must keep at least one owner.";
    }
    MemberNotFound "MEMBER_NOT_FOUND" {
        MemberNotFound: NOT_FOUND, "There is no such member in the workspace.";
    }
    MethodNotAllowed "METHOD_NOT_ALLOWED" {
        MethodNotAllowed: METHOD_NOT_ALLOWED, "This path does not support the method.";
    }
    NotFound "NOT_FOUND" {
        NotFound: NOT_FOUND, "There is nothing at this path.";
    }
    PasswordRequired "PASSWORD_REQUIRED" {
        PasswordRequired: BAD_REQUEST, "A password is required to accept this invitation.";
    }
    PayloadTooLarge "PAYLOAD_TOO_LARGE" {
        PayloadTooLarge: PAYLOAD_TOO_LARGE, "The body exceeds 64 KiB.";
    }
    PreconditionFailed "PRECONDITION_FAILED" {
        PreconditionFailed: PRECONDITION_FAILED, "It is no longer what If-Match names. Read it again.";
    }
    RateLimited "RATE_LIMITED" {
        RateLimited(RateLimited): TOO_MANY_REQUESTS, "Too many requests. Try again later.";
    }
    SelfInvite "SELF_INVITE" {
        SelfInvite: BAD_REQUEST, "You cannot invite yourself.";
    }
    ServiceUnavailable "SERVICE_UNAVAILABLE" {
        Stale: SERVICE_UNAVAILABLE, "The service is unavailable for a moment. Try again.";
        Unavailable(String): SERVICE_UNAVAILABLE, "The service is unavailable for a moment. Try again.";
    }
    TokenInvalid "TOKEN_INVALID" {
        TokenInvalid: UNAUTHORIZED, "The token is invalid or has expired.";
    }
    TokenMissing "TOKEN_MISSING" {
        TokenMissing: UNAUTHORIZED, "This request needs an Authorization header with a bearer token.";
    }
    TokenRevoked "TOKEN_REVOKED" {
        TokenRevoked: UNAUTHORIZED, "The session has ended. Log in again.";
    }
    TooManyPending "TOO_MANY_PENDING" {
        TooManyPending: BAD_REQUEST, "The workspace has 2,000 pending invitations, the most it may have.";
    }
    ValidationError "VALIDATION_ERROR" {
        Validation(Vec<FieldError>): UNPROCESSABLE_ENTITY, "The request is not of the expected form.";
    }
    WeakPassword "WEAK_PASSWORD" {
        WeakPassword: BAD_REQUEST, "A password must have 8 to 128 characters.";
    }
    WorkspaceNotEmpty "WORKSPACE_NOT_EMPTY" {
        WorkspaceNotEmpty: BAD_REQUEST, "The workspace still has other members.";
    }
    WorkspaceNotFound "WORKSPACE_NOT_FOUND" {
        WorkspaceNotFound: NOT_FOUND, "You are in no workspace.";
    }
}

/// One row of the table of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRow {
    /// The HTTP status of the response.
    pub status: StatusCode,
    /// The machine-readable code.
    pub code: Code,
    /// The sentence for people. [`Error::Validation`] lists its field errors instead.
    pub detail: &'static str,
}

/// The text for the log. It holds the cause of an internal error or of an outage, which no response shows.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.row().code.as_str();
        match self {
            Self::Internal(cause) | Self::Unavailable(cause) => write!(f, "{code}: {cause}"),
            Self::Stale => write!(f, "{code}: the state that was read has changed since"),
            _ => f.write_str(code),
        }
    }
}

impl std::error::Error for Error {}

/// The table of errors as Markdown, for `docs/api.md`: one row a code.
#[must_use]
pub fn markdown() -> String {
    let mut lines = vec!["| code | status | text |".to_owned(), "|---|---|---|".to_owned()];
    for code in Code::ALL {
        let rows: Vec<&ErrorRow> = ROWS.iter().filter(|row| row.code == code).collect();
        let mut statuses: Vec<&str> = rows.iter().map(|row| row.status.as_str()).collect();
        statuses.dedup();
        let detail = rows.first().map_or("", |row| row.detail);
        lines.push(format!(
            "| `{}` | {} | {detail} |",
            code.as_str(),
            statuses.join(" or ")
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_serialized_as_its_name_and_the_codes_are_sorted() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        let names = Code::ALL.map(Code::as_str);
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn the_log_shows_the_cause_that_a_response_hides() {
        let error = Error::Unavailable("Query: out of time".to_owned());
        assert_eq!(error.to_string(), "SERVICE_UNAVAILABLE: Query: out of time");
        assert!(!error.row().detail.contains("Query"));
    }
}
