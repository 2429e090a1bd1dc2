//! Responses with HTML pages. The pages load nothing from other hosts.

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

/// The content security policy: only the stack's own style sheet. No scripts, no requests, no forms, no framing.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("../assets/style.css");

/// Responds with the rendered template.
pub(crate) fn render(template: &impl Template) -> Response {
    match template.render() {
        Ok(page) => (headers("text/html; charset=utf-8", POLICY), page).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The headers of a page: its content type, its content security policy, and no caching, referrer or type sniffing.
pub(crate) fn headers(content_type: &'static str, policy: &'static str) -> [(HeaderName, HeaderValue); 5] {
    [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ]
}

/// The route `GET /_local/style.css`, the style sheet of every page.
pub(crate) fn assets() -> Router {
    Router::new().route(
        "/_local/style.css",
        get(async || (headers("text/css; charset=utf-8", POLICY), STYLE)),
    )
}
