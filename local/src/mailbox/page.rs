//! The mailbox's pages: the list of mails as HTML and as JSON, and the HTML of one mail.

use askama::Template;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{Mail, Mailbox};
use crate::{
    page,
    prose::{self, Piece},
};

/// The content security policy of a mail's HTML, which is not trusted: a sandbox that runs no scripts and loads
/// nothing.
const MAIL_POLICY: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'";

/// The router of the pages.
pub(super) fn router(mailbox: Mailbox) -> Router {
    Router::new()
        .route("/_local/mailbox", get(list))
        .route("/_local/mailbox.json", get(list_json))
        .route("/_local/mailbox/{id}", get(html))
        .with_state(mailbox)
}

#[derive(Template)]
#[template(path = "mailbox.html")]
struct List {
    mails: Vec<Mail>,
}

impl List {
    #[expect(clippy::unused_self, reason = "the template calls methods")]
    fn pieces<'a>(&self, text: &'a str) -> Vec<Piece<'a>> {
        prose::links(text)
    }
}

async fn list(State(mailbox): State<Mailbox>) -> Response {
    page::render(&List { mails: mailbox.mails() })
}

async fn list_json(State(mailbox): State<Mailbox>) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(mailbox.mails())).into_response()
}

async fn html(State(mailbox): State<Mailbox>, Path(id): Path<String>) -> Response {
    match mailbox.mails().into_iter().find(|mail| mail.id == id) {
        Some(mail) => (page::headers("text/html; charset=utf-8", MAIL_POLICY), mail.html).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use shared::clock::Clock;
    use tower::ServiceExt;

    use super::*;

    fn mailbox() -> Mailbox {
        let mailbox = Mailbox::new(Clock::system());
        mailbox.keep(Mail {
            id: "7".to_owned(),
            to: "ann@example.com".to_owned(),
            from: "no-reply@example.com".to_owned(),
            subject: "<script>alert(1)</script>".to_owned(),
            text: "Join & see: http://127.0.0.1:3000/invite#invite_id=1&token=x".to_owned(),
            html: "<p>Join</p>".to_owned(),
            sent_at: "2025-10-01T08:00:00.000Z".to_owned(),
            tags: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            configuration_set: None,
        });
        mailbox
    }

    async fn get(path: &str) -> (StatusCode, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = mailbox().pages().oneshot(request).await.unwrap();
        let policy = response.headers().get("content-security-policy");
        let policy = policy
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, policy, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_list_escapes_texts_and_links_urls() {
        let (status, policy, page) = get("/_local/mailbox").await;
        assert_eq!(status, StatusCode::OK);
        assert!(policy.starts_with("default-src 'none'"));
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&#60;script&#62;"), "{page}");
        assert!(
            page.contains(r#"href="http://127.0.0.1:3000/invite#invite_id=1&#38;token=x""#),
            "{page}"
        );
    }

    #[tokio::test]
    async fn the_json_has_only_the_documented_fields() {
        let (_, _, json) = get("/_local/mailbox.json").await;
        let mails: serde_json::Value = serde_json::from_str(&json).unwrap();
        let fields: Vec<_> = mails[0].as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = ["id", "to", "from", "subject", "text", "html", "sent_at"];
        expected.sort_unstable();
        assert_eq!(fields, expected);
    }

    #[tokio::test]
    async fn the_html_of_a_mail_is_served_in_a_sandbox() {
        let (status, policy, html) = get("/_local/mailbox/7").await;
        assert_eq!(status, StatusCode::OK);
        assert!(policy.starts_with("sandbox;"));
        assert_eq!(html, "<p>Join</p>");
        assert_eq!(get("/_local/mailbox/8").await.0, StatusCode::NOT_FOUND);
    }
}
