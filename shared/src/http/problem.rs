//! The body of an error response: `application/problem+json` (RFC 9457) with the members that the SDK reads.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::idempotency::IDEMPOTENCY_KEY;
use crate::error::{Code, Error, FieldError};

/// Seconds after which a client may repeat a request that got 503.
const UNAVAILABLE_RETRY_S: u64 = 2;

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of error.
    #[serde(rename = "type")]
    pub kind: String,
    /// The reason phrase of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A sentence for people; in a 422 the list of field errors.
    pub detail: Detail,
    /// The machine-readable code.
    pub error_code: Code,
    /// The id of the request, as in `X-Request-Id`.
    pub request_id: String,
}

/// A sentence, or the list of field errors.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Detail {
    /// A sentence for people.
    Text(String),
    /// Every error in the body, the query and the headers.
    FieldErrors(Vec<FieldError>),
}

/// Completes `response`, to which `error` is attached: the body and the headers that every error has.
pub(super) fn write(error: &Error, response: Response, request_id: &str) -> Response {
    let row = error.row();
    let problem = Problem {
        kind: format!("/errors#{}", row.code.as_str().to_ascii_lowercase()),
        title: row.status.canonical_reason().unwrap_or("Error").to_owned(),
        status: row.status.as_u16(),
        detail: match error {
            Error::Validation(errors) => Detail::FieldErrors(errors.clone()),
            // Every 422 has a list here: the SDK parses `detail` as a list before it reads the code.
            Error::IdempotencyKeyReused => {
                let error = FieldError::header(IDEMPOTENCY_KEY, "idempotency_key_reused", row.detail);
                Detail::FieldErrors(vec![error])
            }
            _ => Detail::Text(row.detail.to_owned()),
        },
        error_code: row.code,
        request_id: request_id.to_owned(),
    };
    let (mut parts, _) = response.into_parts();
    parts.status = row.status;
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    parts
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if row.status == StatusCode::UNAUTHORIZED {
        parts
            .headers
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if row.status == StatusCode::SERVICE_UNAVAILABLE {
        parts
            .headers
            .insert(RETRY_AFTER, HeaderValue::from(UNAVAILABLE_RETRY_S));
    }
    if row.status != StatusCode::METHOD_NOT_ALLOWED {
        parts.headers.remove(ALLOW);
    }
    // Serializing strings and numbers cannot fail. If it failed, the status would still be right.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    Response::from_parts(parts, Body::from(body))
}
