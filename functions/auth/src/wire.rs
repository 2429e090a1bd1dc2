//! The bodies of the requests and responses.

use deserr::Deserr;
use serde::Serialize;
use shared::Error;
use shared::clock::Time;
use shared::http::body::FieldErrors;
use shared::http::wire::{UserOut, WorkspaceOut};
use shared::models::email::{EmailAddress, InvalidEmail};
use shared::models::invitation::Status;
use shared::models::role::Role;
use shared::models::text::{Invalid, Name};
use shared::secret::Secret;
use shared::store::invitation::InvitationContext;
use utoipa::ToSchema;

/// A new account.
#[derive(Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct RegisterIn {
    /// Its e-mail address.
    #[deserr(try_from(String) = parse_email -> Invalid)]
    #[schema(value_type = String, format = Email)]
    pub(crate) email: EmailAddress,
    /// Its password, of 8 to 128 characters.
    #[deserr(from(String) = Secret::new)]
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    pub(crate) password: Secret,
    /// The person's name.
    #[deserr(try_from(String) = parse_name -> Invalid)]
    pub(crate) name: Name,
    /// The person's company, which names the new workspace. A blank company counts as absent.
    #[deserr(default, try_from(Option<String>) = optional_name -> Invalid)]
    #[schema(
        value_type = Option<String>,
        max_length = 255,
        pattern = r"^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*(?:[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]*[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff \u00a0\u00ad\u1680\u2000-\u200f\u202f\u205f-\u2064\u3000][^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]*)?[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$"
    )]
    pub(crate) company: Option<Name>,
}

/// A login.
#[derive(Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct LoginIn {
    /// The account's e-mail address.
    #[schema(format = Email)]
    pub(crate) email: String,
    /// Its password.
    #[deserr(from(String) = Secret::new)]
    #[schema(value_type = String, format = Password)]
    pub(crate) password: Secret,
}

/// A refresh token.
#[derive(Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct RefreshIn {
    /// The refresh token of the latest response.
    #[deserr(from(String) = Secret::new)]
    #[schema(value_type = String)]
    pub(crate) refresh_token: Secret,
}

/// The link of an invitation.
#[derive(Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct LinkIn {
    /// `invite_id` of the link.
    pub(crate) invite_id: String,
    /// `token` of the link.
    #[deserr(from(String) = Secret::new)]
    #[schema(value_type = String)]
    pub(crate) token: Secret,
}

/// The link of an invitation, and the person who accepts.
#[derive(Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct AcceptIn {
    /// `invite_id` of the link.
    pub(crate) invite_id: String,
    /// `token` of the link.
    #[deserr(from(String) = Secret::new)]
    #[schema(value_type = String)]
    pub(crate) token: Secret,
    /// The password that a new person chooses, or the password of the existing account.
    #[deserr(default, from(Option<String>) = optional_secret)]
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 128)]
    pub(crate) password: Option<Secret>,
    /// The name of a new person. A blank name counts as absent.
    #[deserr(default, try_from(Option<String>) = optional_name -> Invalid)]
    #[schema(
        value_type = Option<String>,
        max_length = 255,
        pattern = r"^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*(?:[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]*[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff \u00a0\u00ad\u1680\u2000-\u200f\u202f\u205f-\u2064\u3000][^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]*)?[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$"
    )]
    pub(crate) name: Option<Name>,
}

fn parse_email(text: String) -> Result<EmailAddress, Invalid> {
    EmailAddress::try_from(text).map_err(|InvalidEmail| Invalid("must be an e-mail address"))
}

#[expect(clippy::needless_pass_by_value, reason = "deserr hands over what it parsed")]
fn parse_name(text: String) -> Result<Name, Invalid> {
    Name::parse(&text)
}

/// An optional name. The empty field of a form counts as absent.
fn optional_name(text: Option<String>) -> Result<Option<Name>, Invalid> {
    text.filter(|text| !text.trim().is_empty()).map(parse_name).transpose()
}

fn optional_secret(text: Option<String>) -> Option<Secret> {
    text.map(Secret::new)
}

/// The tokens of a session, and its account.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokensOut {
    /// The token for `Authorization: Bearer`.
    pub(crate) access_token: String,
    /// The token that gets the next pair of tokens, once.
    pub(crate) refresh_token: String,
    /// Always `bearer`.
    pub(crate) token_type: &'static str,
    /// Seconds for which the access token is valid.
    pub(crate) expires_in: u64,
    /// The account.
    pub(crate) user: UserOut,
}

/// The tokens of a session, and the workspace that was joined.
#[derive(Serialize, ToSchema)]
pub(crate) struct AcceptedOut {
    #[serde(flatten)]
    pub(crate) tokens: TokensOut,
    /// The workspace.
    pub(crate) workspace: WorkspaceOut,
}

/// A confirmation.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessageOut {
    /// A sentence for people.
    pub(crate) message: &'static str,
}

/// An invitation, as the holder of its link sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct PreviewOut {
    /// The name of the workspace; empty when the workspace was deleted.
    workspace_name: String,
    /// The e-mail address of the inviter.
    #[schema(value_type = String, format = Email)]
    invited_by_email: EmailAddress,
    /// The e-mail address of the invitee.
    #[schema(value_type = String, format = Email)]
    email: EmailAddress,
    /// The role that the invitee will have.
    role: Role,
    /// The time until which the invitation can be accepted. For an invitation that has ended, the time of its end.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
    /// The status of the invitation.
    status: Status,
    /// Whether the invited e-mail address has an account. Accepting then needs its bearer token or password.
    account_exists: bool,
}

impl PreviewOut {
    pub(crate) fn new(context: &InvitationContext, now: Time) -> Result<Self, Error> {
        let invitation = &context.state.invitation;
        let expires_at = context.state.pending.as_ref().map(|pending| pending.expires_at);
        let ended_at = invitation.end.as_ref().map(|end| end.at);
        Ok(Self {
            workspace_name: context
                .workspace
                .as_ref()
                .map(|workspace| workspace.name.to_string())
                .unwrap_or_default(),
            invited_by_email: invitation.invited_by_email.clone(),
            email: invitation.email.clone(),
            role: invitation.role,
            expires_at: expires_at.or(ended_at).unwrap_or(invitation.created_at),
            status: context.status(now)?,
            account_exists: context.email.is_some(),
        })
    }
}
