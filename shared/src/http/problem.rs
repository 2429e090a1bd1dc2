//! Errors on the wire: `application/problem+json` (RFC 9457), with the members that the SDK reads.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::idempotency::IDEMPOTENCY_KEY;
use crate::error::{Code, Error, FieldError};

/// Seconds after which a client may try again when the service was unavailable.
const UNAVAILABLE_RETRY_S: u64 = 2;

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of error.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A sentence for people; in a 422 the list of faults.
    pub detail: Detail,
    /// The machine-readable code.
    pub error_code: Code,
    /// The request's id, as in `X-Request-Id`.
    pub request_id: String,
}

/// A sentence, or the list of faults.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Detail {
    /// A sentence for people.
    Text(String),
    /// The faults of the body, the query or a header, all of them.
    FieldErrors(Vec<FieldError>),
}

/// Writes `error` into the answer that carries its status and headers.
pub(super) fn write(error: &Error, carrier: Response, request_id: &str) -> Response {
    let answer = error.answer();
    let problem = Problem {
        kind: format!("/errors#{}", answer.code.as_str().to_ascii_lowercase()),
        title: answer.status.canonical_reason().unwrap_or("Error").to_owned(),
        status: answer.status.as_u16(),
        detail: match error {
            Error::Validation(faults) => Detail::FieldErrors(faults.clone()),
            // Every 422 has a list there: the SDK takes it apart before it looks at the code.
            Error::IdempotencyKeyReused => {
                let fault = FieldError::header(IDEMPOTENCY_KEY, "idempotency_key_reused", answer.detail);
                Detail::FieldErrors(vec![fault])
            }
            _ => Detail::Text(answer.detail.to_owned()),
        },
        error_code: answer.code,
        request_id: request_id.to_owned(),
    };
    let (mut parts, _) = carrier.into_parts();
    parts.status = answer.status;
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    parts
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if answer.status == StatusCode::UNAUTHORIZED {
        parts
            .headers
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
        parts
            .headers
            .insert(RETRY_AFTER, HeaderValue::from(UNAVAILABLE_RETRY_S));
    }
    if answer.status != StatusCode::METHOD_NOT_ALLOWED {
        parts.headers.remove(ALLOW);
    }
    // Serialising strings and numbers cannot fail; were it to, the status still says what happened.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    Response::from_parts(parts, Body::from(body))
}
