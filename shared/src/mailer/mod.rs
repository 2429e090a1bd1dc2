//! Writes mails and sends them through SES. Text that a person chose is escaped by the template engine, cannot form a
//! link (`name.rs`), and reaches a header only on one line.

mod name;

use std::sync::{Arc, OnceLock};

use askama::Template;
use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message, MessageTag};

use crate::aws::Connection;
use crate::clock::Time;
use crate::config::Config;
use crate::ids::InvitationId;
use crate::models::email::EmailAddress;
use crate::models::role::Role;
use crate::models::usage::Tier;

/// Sends mails.
#[derive(Clone, Debug)]
pub struct Mailer {
    aws: Arc<Connection>,
    client: Arc<OnceLock<Client>>,
    from: EmailAddress,
    configuration_set: Option<String>,
}

/// An invitation's mail.
#[derive(Clone, Copy, Debug)]
pub struct InvitationMail<'a> {
    /// The invitee's e-mail address.
    pub to: &'a EmailAddress,
    /// The invitation's id, which delivery events carry as a tag.
    pub invitation_id: InvitationId,
    /// The name of the workspace.
    pub workspace_name: &'a str,
    /// The e-mail address of the inviting member.
    pub invited_by: &'a str,
    /// The role that the invitation grants.
    pub role: Role,
    /// The link; it holds the token.
    pub link: &'a str,
    /// The end of the invitation's validity.
    pub expires_at: Time,
}

/// Why a mail was not sent, as far as the error shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailError {
    /// Whether sending it later may succeed.
    pub retryable: bool,
    /// A text for clients of the API, without internals.
    pub reason: &'static str,
}

#[derive(Template)]
#[template(path = "invitation.html")]
struct Html<'a> {
    mail: InvitationMail<'a>,
    invited_by: &'a str,
    workspace: String,
    role: &'static str,
    until: String,
}

#[derive(Template)]
#[template(path = "invitation.txt")]
struct Text<'a> {
    mail: InvitationMail<'a>,
    invited_by: &'a str,
    workspace: String,
    role: &'static str,
    until: String,
}

/// A notice: a share of a tier's limit is used up.
#[derive(Clone, Copy, Debug)]
pub struct NoticeMail<'a> {
    /// An owner's e-mail address.
    pub to: &'a EmailAddress,
    /// The name of the workspace whose usage it is.
    pub workspace_name: &'a str,
    /// The UTC month, `2026-01`.
    pub month: &'a str,
    /// The tier with the limit.
    pub tier: Tier,
    /// The used share, in percent.
    pub percent: u8,
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticeHtml<'a> {
    mail: NoticeMail<'a>,
    workspace: String,
    tier: &'static str,
    limit: u64,
}

#[derive(Template)]
#[template(path = "notice.txt")]
struct NoticeText<'a> {
    mail: NoticeMail<'a>,
    workspace: String,
    tier: &'static str,
    limit: u64,
}

fn role_in_words(role: Role) -> &'static str {
    match role {
        Role::Owner => "an owner",
        Role::Manager => "a manager",
        Role::FieldWorker => "a field worker",
        Role::Member => "a member",
    }
}

impl Mailer {
    /// A mailer with the sender and the configuration set of `config`.
    #[must_use]
    pub fn new(aws: Arc<Connection>, config: &Config) -> Self {
        Self {
            aws,
            client: Arc::default(),
            from: config.mail_from.clone(),
            configuration_set: config.mail_configuration_set.clone(),
        }
    }

    /// Sends an invitation's mail, with one attempt.
    pub async fn invitation(&self, mail: &InvitationMail<'_>) -> Result<(), MailError> {
        let until = format!(
            "{} UTC",
            mail.expires_at
                .to_string()
                .get(..16)
                .unwrap_or_default()
                .replace('T', " ")
        );
        let role = role_in_words(mail.role);
        let invited_by = name::address(mail.invited_by);
        let html = Html {
            mail: *mail,
            invited_by: &invited_by,
            workspace: name::unlinked(mail.workspace_name),
            role,
            until: until.clone(),
        }
        .render()
        .map_err(|_| UNWRITTEN)?;
        let text = Text {
            mail: *mail,
            invited_by: &invited_by,
            workspace: name::quoted(mail.workspace_name),
            role,
            until,
        }
        .render()
        .map_err(|_| UNWRITTEN)?;
        let subject = format!("Invitation to {}", name::in_subject(mail.workspace_name));
        let tag = ("invitation", mail.invitation_id.to_string());
        self.send(mail.to, subject, text, html, Some(tag)).await
    }

    /// Sends a notice to one owner, with one attempt.
    pub async fn notice(&self, mail: &NoticeMail<'_>) -> Result<(), MailError> {
        let (tier, limit) = (mail.tier.as_str(), mail.tier.limit().unwrap_or_default());
        let html = NoticeHtml {
            mail: *mail,
            workspace: name::unlinked(mail.workspace_name),
            tier,
            limit,
        }
        .render()
        .map_err(|_| UNWRITTEN)?;
        let text = NoticeText {
            mail: *mail,
            workspace: name::quoted(mail.workspace_name),
            tier,
            limit,
        }
        .render()
        .map_err(|_| UNWRITTEN)?;
        let subject = format!(
            "{} has used {} % of its month",
            name::in_subject(mail.workspace_name),
            mail.percent
        );
        self.send(mail.to, subject, text, html, None).await
    }

    async fn send(
        &self,
        to: &EmailAddress,
        subject: String,
        text: String,
        html: String,
        tag: Option<(&str, String)>,
    ) -> Result<(), MailError> {
        let content = |data: String| {
            Content::builder()
                .data(data)
                .charset("UTF-8")
                .build()
                .map_err(|_| UNWRITTEN)
        };
        let message = Message::builder()
            .subject(content(subject)?)
            .body(Body::builder().text(content(text)?).html(content(html)?).build())
            .build();
        let tag = tag.map(|(name, value)| MessageTag::builder().name(name).value(value).build());
        self.client
            .get_or_init(|| self.aws.ses())
            .send_email()
            .from_email_address(self.from.as_str())
            .destination(Destination::builder().to_addresses(to.as_str()).build())
            .content(EmailContent::builder().simple(message).build())
            .set_email_tags(tag.transpose().map_err(|_| UNWRITTEN)?.map(|tag| vec![tag]))
            .set_configuration_set_name(self.configuration_set.clone())
            .send()
            .await
            .map(|_| ())
            .map_err(|error| classify(&error))
    }
}

const UNWRITTEN: MailError = MailError {
    retryable: false,
    reason: "The mail could not be written.",
};

fn classify<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> MailError {
    tracing::warn!(error = crate::aws::describe(error), "a mail was not sent");
    let permanent = [
        "MessageRejected",
        "BadRequestException",
        "MailFromDomainNotVerifiedException",
        "NotFoundException",
    ];
    match error {
        SdkError::ServiceError(service) if service.err().code().is_some_and(|code| permanent.contains(&code)) => {
            MailError {
                retryable: false,
                reason: "The mail service refused the mail.",
            }
        }
        SdkError::ConstructionFailure(_) => UNWRITTEN,
        _ => MailError {
            retryable: true,
            reason: "The mail service did not take the mail.",
        },
    }
}
