//! Request bodies: limited in size, and parsed with all their field errors in one response.

use std::convert::Infallible;
use std::ops::ControlFlow;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use deserr::{DeserializeError, Deserr, ErrorKind, IntoValue, MergeWithError, ValueKind, ValuePointerRef};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::BODY_BYTES_MAX;
use crate::error::{Error, FieldError};
use crate::models::text::Invalid;

/// Reads the body, of at most 64 KiB, before the handler runs.
pub(super) async fn limit(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => {
            next.run(Request::from_parts(parts, Body::from(collected.to_bytes())))
                .await
        }
        Err(error) if error.is::<LengthLimitError>() => Error::PayloadTooLarge.into_response(),
        Err(_) => Error::Validation(vec![body_error("json_invalid", "The body could not be read")]).into_response(),
    }
}

/// A request's body, not parsed yet: the handler checks access first.
#[derive(Clone, Debug)]
pub struct Payload(Bytes);

impl Payload {
    /// Parses the body as `T`. [`Error::Validation`] lists every field error.
    pub fn parse<T: Deserr<FieldErrors>>(&self) -> Result<T, Error> {
        if self.0.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::Validation(vec![body_error("missing", "Field required")]));
        }
        let value: serde_json::Value = serde_json::from_slice(&self.0).map_err(|error| {
            Error::Validation(vec![body_error("json_invalid", &format!("JSON decode error: {error}"))])
        })?;
        deserr::deserialize(value).map_err(|FieldErrors(errors)| Error::Validation(errors))
    }

    /// Returns a value that is equal for bodies with the same JSON value, whatever their formatting.
    #[must_use]
    pub fn fingerprint(&self) -> Vec<u8> {
        serde_json::from_slice::<serde_json::Value>(&self.0)
            .map_or_else(|_| self.0.to_vec(), |value| value.to_string().into_bytes())
    }
}

impl<S: Sync> FromRequest<S> for Payload {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        // `limit` has read the body already, so this read cannot fail.
        let collected = request.into_body().collect().await;
        Ok(Self(
            collected.map(http_body_util::Collected::to_bytes).unwrap_or_default(),
        ))
    }
}

/// A field error of the body as a whole.
fn body_error(kind: &'static str, msg: &str) -> FieldError {
    FieldError {
        kind: kind.into(),
        loc: vec!["body".into()],
        msg: msg.to_owned(),
    }
}

/// The field errors of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

fn loc(location: ValuePointerRef<'_>) -> Vec<std::borrow::Cow<'static, str>> {
    let mut path = match location {
        ValuePointerRef::Origin => return vec!["body".into()],
        ValuePointerRef::Key { key, prev } => (loc(*prev), key.to_owned()),
        ValuePointerRef::Index { index, prev } => (loc(*prev), index.to_string()),
    };
    path.0.push(path.1.into());
    path.0
}

impl DeserializeError for FieldErrors {
    fn error<V: IntoValue>(
        so_far: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let mut loc = loc(location);
        let (kind, msg) = match error {
            ErrorKind::MissingField { field } => {
                loc.push(field.to_owned().into());
                ("missing", "Field required".to_owned())
            }
            ErrorKind::IncorrectValueKind { accepted, .. } => expected(accepted),
            ErrorKind::UnknownValue { accepted, .. } => {
                ("enum", format!("Input should be one of {}", accepted.join(", ")))
            }
            ErrorKind::UnknownKey { .. } => ("extra_forbidden", "Extra inputs are not permitted".to_owned()),
            ErrorKind::BadSequenceLen { expected, .. } => {
                ("list_length", format!("Input should have {expected} items"))
            }
            ErrorKind::Unexpected { msg } => ("value_error", msg),
        };
        let Self(mut errors) = so_far.unwrap_or(Self(Vec::new()));
        errors.push(FieldError {
            kind: kind.into(),
            loc,
            msg,
        });
        ControlFlow::Continue(Self(errors))
    }
}

fn expected(accepted: &[ValueKind]) -> (&'static str, String) {
    let (kind, noun) = match accepted.first() {
        Some(ValueKind::String) => ("string_type", "string"),
        Some(ValueKind::Boolean) => ("bool_type", "boolean"),
        Some(ValueKind::Integer | ValueKind::NegativeInteger) => ("int_type", "integer"),
        Some(ValueKind::Float) => ("float_type", "number"),
        Some(ValueKind::Sequence) => ("list_type", "list"),
        Some(ValueKind::Map) => ("dict_type", "dictionary"),
        Some(ValueKind::Null) | None => ("value_error", "value"),
    };
    (kind, format!("Input should be a valid {noun}"))
}

impl MergeWithError<Self> for FieldErrors {
    fn merge(so_far: Option<Self>, other: Self, _: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let Self(mut errors) = so_far.unwrap_or(Self(Vec::new()));
        errors.extend(other.0);
        ControlFlow::Continue(Self(errors))
    }
}

impl MergeWithError<Invalid> for FieldErrors {
    fn merge(so_far: Option<Self>, other: Invalid, location: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let Self(mut errors) = so_far.unwrap_or(Self(Vec::new()));
        errors.push(FieldError {
            kind: "value_error".into(),
            loc: loc(location),
            msg: other.0.to_owned(),
        });
        ControlFlow::Continue(Self(errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::text::Name;

    #[derive(Debug, Deserr)]
    #[deserr(error = FieldErrors)]
    #[expect(dead_code, reason = "the test parses the fields and reads none")]
    struct Example {
        #[deserr(try_from(String) = parse_name -> Invalid)]
        name: Name,
        email: String,
        #[deserr(default)]
        note: Option<String>,
    }

    #[expect(clippy::needless_pass_by_value, reason = "deserr passes the value")]
    fn parse_name(text: String) -> Result<Name, Invalid> {
        Name::parse(&text)
    }

    fn parse(body: &str) -> Result<Example, Error> {
        Payload(Bytes::copy_from_slice(body.as_bytes())).parse()
    }

    #[test]
    fn one_response_lists_every_field_error() {
        let Err(Error::Validation(errors)) = parse(r#"{"name":"","note":5,"more":1}"#) else {
            panic!()
        };
        let mut at: Vec<_> = errors.iter().map(|error| error.loc.join(".")).collect();
        at.sort();
        assert_eq!(at, ["body.email", "body.name", "body.note"]);
    }

    #[test]
    fn malformed_json_is_refused() {
        for body in ["", "  ", "{", "[]", "\u{0}", &"[".repeat(60_000)] {
            assert!(matches!(parse(body), Err(Error::Validation(_))), "{body:.20}");
        }
    }
}
