//! Request bodies: limited, parsed once, with all their faults at once.

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

/// Reads the body, which may have at most 64 KiB, before anything else looks at the request.
pub(super) async fn limit(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => {
            next.run(Request::from_parts(parts, Body::from(collected.to_bytes())))
                .await
        }
        Err(error) if error.is::<LengthLimitError>() => Error::PayloadTooLarge.into_response(),
        Err(_) => Error::Validation(vec![whole("json_invalid", "The body could not be read")]).into_response(),
    }
}

/// A request's body, not parsed yet: access is checked first.
#[derive(Clone, Debug)]
pub struct Payload(Bytes);

impl Payload {
    /// The body as `T`, or [`Error::Validation`] with every fault of it.
    pub fn parse<T: Deserr<FieldErrors>>(&self) -> Result<T, Error> {
        if self.0.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::Validation(vec![whole("missing", "Field required")]));
        }
        let value: serde_json::Value = serde_json::from_slice(&self.0)
            .map_err(|error| Error::Validation(vec![whole("json_invalid", &format!("JSON decode error: {error}"))]))?;
        deserr::deserialize(value).map_err(|FieldErrors(faults)| Error::Validation(faults))
    }

    /// What tells this body from others: bodies that are the same JSON, however they are written, have one.
    #[must_use]
    pub fn fingerprint(&self) -> Vec<u8> {
        serde_json::from_slice::<serde_json::Value>(&self.0)
            .map_or_else(|_| self.0.to_vec(), |value| value.to_string().into_bytes())
    }
}

impl<S: Sync> FromRequest<S> for Payload {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        // The limit's layer has read the body; nothing can fail here.
        let collected = request.into_body().collect().await;
        Ok(Self(
            collected.map(http_body_util::Collected::to_bytes).unwrap_or_default(),
        ))
    }
}

fn whole(kind: &'static str, msg: &str) -> FieldError {
    FieldError {
        kind: kind.into(),
        loc: vec!["body".into()],
        msg: msg.to_owned(),
    }
}

/// The faults of a body.
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
        let Self(mut faults) = so_far.unwrap_or(Self(Vec::new()));
        faults.push(FieldError {
            kind: kind.into(),
            loc,
            msg,
        });
        ControlFlow::Continue(Self(faults))
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
        let Self(mut faults) = so_far.unwrap_or(Self(Vec::new()));
        faults.extend(other.0);
        ControlFlow::Continue(Self(faults))
    }
}

impl MergeWithError<Invalid> for FieldErrors {
    fn merge(so_far: Option<Self>, other: Invalid, location: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let Self(mut faults) = so_far.unwrap_or(Self(Vec::new()));
        faults.push(FieldError {
            kind: "value_error".into(),
            loc: loc(location),
            msg: other.0.to_owned(),
        });
        ControlFlow::Continue(Self(faults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::text::Name;

    #[derive(Debug, Deserr)]
    #[deserr(error = FieldErrors)]
    #[expect(dead_code, reason = "parsing them is what is tested")]
    struct Example {
        #[deserr(try_from(String) = parse_name -> Invalid)]
        name: Name,
        email: String,
        #[deserr(default)]
        note: Option<String>,
    }

    #[expect(clippy::needless_pass_by_value, reason = "deserr hands over the value")]
    fn parse_name(text: String) -> Result<Name, Invalid> {
        Name::parse(&text)
    }

    fn parse(body: &str) -> Result<Example, Error> {
        Payload(Bytes::copy_from_slice(body.as_bytes())).parse()
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let Err(Error::Validation(faults)) = parse(r#"{"name":"","note":5,"more":1}"#) else {
            panic!()
        };
        let mut at: Vec<_> = faults.iter().map(|fault| fault.loc.join(".")).collect();
        at.sort();
        assert_eq!(at, ["body.email", "body.name", "body.note"]);
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        for body in ["", "  ", "{", "[]", "\u{0}", &"[".repeat(60_000)] {
            assert!(matches!(parse(body), Err(Error::Validation(_))), "{body:.20}");
        }
    }
}
