//! The operation `SendEmail` of the SES v2 API, in the format that the AWS SDKs expect.

use std::{collections::BTreeMap, future};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderName, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{Fault, Mail, Mailbox};

/// The longest request body. SES accepts 40 MB, but the functions' mails are far smaller.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// SES's limit of recipients per mail.
const RECIPIENTS_MAX: usize = 50;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The router of the endpoint. Other paths and methods get SES's response to an unknown operation.
pub(super) fn router(mailbox: Mailbox) -> Router {
    Router::new()
        .route("/v2/email/outbound-emails", post(send))
        .fallback(unknown_operation)
        .method_not_allowed_fallback(unknown_operation)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(mailbox)
}

async fn send(State(mailbox): State<Mailbox>, headers: HeaderMap, body: Bytes) -> Response {
    // SES rejects unsigned requests. The check also blocks web pages, which may not send this header without a
    // preflight.
    if !headers.contains_key(AUTHORIZATION) {
        return SesError::new(
            403,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        )
        .into_response();
    }
    let fault = mailbox.count_attempt();
    if let Some(Fault::Refuse { status, code, message }) = &fault {
        return SesError::new(*status, code, message).into_response();
    }
    if fault == Some(Fault::Silence { accepted: false }) {
        return future::pending().await;
    }
    let mail = match SendEmailRequest::parse(&body).and_then(|request| request.into_mail(&mailbox)) {
        Ok(mail) => mail,
        Err(error) => return error.into_response(),
    };
    let id = mail.id.clone();
    mailbox.keep(mail);
    if fault == Some(Fault::Silence { accepted: true }) {
        return future::pending().await;
    }
    tracing::debug!(message_id = id, "a mail was accepted");
    ([(REQUEST_ID, random_id())], Json(json!({ "MessageId": id }))).into_response()
}

async fn unknown_operation() -> Response {
    SesError::new(404, "UnknownOperationException", "Only SendEmail is served here.").into_response()
}

fn random_id() -> String {
    Uuid::from_bytes(shared::ids::random_bytes()).to_string()
}

/// The part of a `SendEmail` request that the mailbox uses. The names are SES's.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendEmailRequest {
    from_email_address: Option<String>,
    #[serde(default)]
    destination: Destination,
    #[serde(default)]
    content: Content,
    #[serde(default)]
    email_tags: Vec<Tag>,
    configuration_set_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(clippy::struct_field_names, reason = "the names are SES's")]
struct Destination {
    to_addresses: Vec<String>,
    cc_addresses: Vec<String>,
    bcc_addresses: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    simple: Option<Simple>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Simple {
    subject: Data,
    #[serde(default)]
    body: Body,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    text: Option<Data>,
    html: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    name: String,
    value: String,
}

impl SendEmailRequest {
    fn parse(body: &[u8]) -> Result<Self, SesError> {
        serde_json::from_slice(body).map_err(|error| SesError::new(400, "SerializationException", &error.to_string()))
    }

    fn into_mail(self, mailbox: &Mailbox) -> Result<Mail, SesError> {
        let from = self
            .from_email_address
            .ok_or_else(|| SesError::bad_request("FromEmailAddress is missing."))?;
        let Destination {
            to_addresses,
            cc_addresses,
            bcc_addresses,
        } = self.destination;
        let recipients = [to_addresses, cc_addresses, bcc_addresses].concat();
        if recipients.is_empty() {
            return Err(SesError::bad_request("Destination has no address."));
        }
        if recipients.len() > RECIPIENTS_MAX {
            return Err(SesError::bad_request("Recipient count exceeds 50."));
        }
        if let Some(bad) = recipients.iter().chain([&from]).find(|address| !has_domain(address)) {
            return Err(SesError::bad_request(&format!("Missing final '@domain' in {bad}")));
        }
        let simple = self
            .content
            .simple
            .ok_or_else(|| SesError::bad_request("Only Content.Simple is served here."))?;
        if simple.body.text.is_none() && simple.body.html.is_none() {
            return Err(SesError::bad_request("The body has neither Text nor Html."));
        }
        let text_of = |part: Option<Data>| part.map(|part| part.data).unwrap_or_default();
        Ok(Mail {
            id: random_id(),
            to: recipients.join(", "),
            from,
            subject: simple.subject.data,
            text: text_of(simple.body.text),
            html: text_of(simple.body.html),
            sent_at: mailbox.now(),
            tags: self
                .email_tags
                .into_iter()
                .map(|tag| (tag.name, tag.value))
                .collect::<BTreeMap<_, _>>(),
            configuration_set: self.configuration_set_name,
        })
    }
}

/// Whether the address has a local part and a domain. The closing `>` after a display name is ignored.
fn has_domain(address: &str) -> bool {
    address
        .trim_end_matches('>')
        .rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

/// An error response in SES's format.
struct SesError {
    status: u16,
    code: String,
    message: String,
}

impl SesError {
    fn new(status: u16, code: &str, message: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    fn bad_request(message: &str) -> Self {
        Self::new(400, "BadRequestException", message)
    }
}

impl IntoResponse for SesError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = [(ERROR_TYPE, self.code), (REQUEST_ID, random_id())];
        (status, headers, Json(json!({ "message": self.message }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_sesv2::{
        Client,
        error::{ProvideErrorMetadata, SdkError},
        operation::send_email::{SendEmailError, SendEmailOutput},
        types::{Body, Content, Destination, EmailContent, Message, MessageTag},
    };
    use shared::clock::{Clock, Time};

    use super::*;
    use crate::{mailbox::MailboxServer, testing};

    async fn start() -> (Mailbox, MailboxServer, Client) {
        let mailbox = Mailbox::new(Clock::system());
        let server = mailbox.start().await.unwrap();
        let client = testing::ses(&server.endpoint);
        (mailbox, server, client)
    }

    fn part(data: &str) -> Content {
        Content::builder().data(data).charset("UTF-8").build().unwrap()
    }

    async fn send(client: &Client, to: &str) -> Result<SendEmailOutput, SdkError<SendEmailError>> {
        let body = Body::builder().text(part("Hello")).html(part("<p>Hello</p>")).build();
        let message = Message::builder().subject(part("Grüße")).body(body).build();
        client
            .send_email()
            .from_email_address("Workspaces <no-reply@example.com>")
            .destination(Destination::builder().to_addresses(to).build())
            .content(EmailContent::builder().simple(message).build())
            .email_tags(MessageTag::builder().name("invitation").value("42").build().unwrap())
            .configuration_set_name("workspaces")
            .send()
            .await
    }

    #[tokio::test]
    async fn a_mail_sent_with_the_sdk_is_kept() {
        let (mailbox, server, client) = start().await;
        let first = send(&client, "first@example.com").await.unwrap();
        let second = send(&client, "second@example.com").await.unwrap();

        let mails = mailbox.mails();
        assert_eq!(mails.len(), 2);
        assert_eq!(
            mailbox.latest_to("First@example.com").unwrap().id,
            first.message_id().unwrap()
        );
        let newest = &mails[0];
        assert_eq!(newest.id, second.message_id().unwrap());
        assert_eq!(newest.to, "second@example.com");
        assert_eq!(newest.from, "Workspaces <no-reply@example.com>");
        assert_eq!(newest.subject, "Grüße");
        assert_eq!(newest.text, "Hello");
        assert_eq!(newest.html, "<p>Hello</p>");
        assert!(newest.sent_at.parse::<Time>().unwrap() <= mailbox.clock.now());
        assert_eq!(newest.tags["invitation"], "42");
        assert_eq!(newest.configuration_set.as_deref(), Some("workspaces"));
        server.stop().await;
    }

    #[tokio::test]
    async fn the_sdk_recognizes_the_simulated_errors() {
        let (mailbox, server, client) = start().await;

        mailbox.set_fault(Fault::message_rejected());
        let error = send(&client, "a@example.com").await.unwrap_err().into_service_error();
        assert!(error.is_message_rejected(), "{error:?}");
        assert_eq!(error.message(), Some("Email address is not verified."));

        mailbox.set_fault(Fault::too_many_requests());
        let error = send(&client, "a@example.com").await.unwrap_err().into_service_error();
        assert!(error.is_too_many_requests_exception(), "{error:?}");

        mailbox.set_fault(Fault::internal_failure());
        let error = send(&client, "a@example.com").await.unwrap_err();
        assert_eq!(error.raw_response().unwrap().status().as_u16(), 500);
        assert_eq!(error.into_service_error().code(), Some("InternalFailure"));

        mailbox.set_fault(None);
        assert!(mailbox.mails().is_empty());
        send(&client, "a@example.com").await.unwrap();
        assert_eq!(mailbox.attempts(), 4);
        server.stop().await;
    }

    #[tokio::test]
    async fn a_silent_mailbox_never_responds_and_accepts_the_mail_only_if_configured() {
        let (mailbox, server, client) = start().await;
        for (accepted, mails) in [(false, 0), (true, 1)] {
            mailbox.fault_next(1, Fault::Silence { accepted });
            let response = tokio::time::timeout(Duration::from_millis(200), send(&client, "a@example.com")).await;
            assert!(response.is_err());
            assert_eq!(mailbox.mails().len(), mails);
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn an_invalid_address_and_an_empty_mail_are_rejected() {
        let (mailbox, server, client) = start().await;
        let error = send(&client, "nobody").await.unwrap_err().into_service_error();
        assert!(error.is_bad_request_exception(), "{error:?}");
        let error = client
            .send_email()
            .from_email_address("no-reply@example.com")
            .destination(Destination::builder().to_addresses("a@example.com").build())
            .content(EmailContent::builder().build())
            .send()
            .await
            .unwrap_err()
            .into_service_error();
        assert!(error.is_bad_request_exception(), "{error:?}");
        assert!(mailbox.mails().is_empty());
        server.stop().await;
    }
}
