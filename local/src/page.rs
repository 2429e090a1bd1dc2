//! How a page of the stack is answered: HTML that asks nobody outside for anything.

use askama::Template;
use axum::{
    Router,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
    routing::get,
};

/// Only the stack's own style sheet is loaded; nothing runs, nothing is sent, nothing frames the page.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("../assets/style.css");

/// Answers a template as a page.
pub(crate) fn render(template: &impl Template) -> Response {
    match template.render() {
        Ok(page) => (headers("text/html; charset=utf-8", POLICY), page).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The headers of something that is shown: its type, what it may do, and that nobody keeps or passes it on.
pub(crate) fn headers(content_type: &'static str, policy: &'static str) -> [(HeaderName, HeaderValue); 5] {
    [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ]
}

/// `GET /_local/style.css`, which every page uses.
pub(crate) fn assets() -> Router {
    Router::new().route(
        "/_local/style.css",
        get(async || (headers("text/css; charset=utf-8", POLICY), STYLE)),
    )
}
