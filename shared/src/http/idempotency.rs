//! The header `Idempotency-Key`. The extractor never rejects a request: [`crate::operation::perform`] refuses a malformed
//! key after authorization, in the documented order of checks.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::error::{Error, FieldError};
use crate::models::idempotency::{IdempotencyKey, InvalidKey};

/// The header's name.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The key of a request, if the request carries one, or the refusal of a malformed header.
#[derive(Clone, Debug)]
pub struct IdempotencyKeyHeader(pub Result<Option<IdempotencyKey>, Error>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKeyHeader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let values: Vec<_> = parts.headers.get_all(IDEMPOTENCY_KEY).into_iter().collect();
        Ok(Self(match values.as_slice() {
            [] => Ok(None),
            [value] => IdempotencyKey::parse(value.as_bytes())
                .map(Some)
                .map_err(|InvalidKey| invalid(&InvalidKey.to_string())),
            _ => Err(invalid("must be sent once")),
        }))
    }
}

impl IntoParams for IdempotencyKeyHeader {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[!#-~]([ -~]*[!-~])?$"));
        let parameter = ParameterBuilder::new()
            .name(IDEMPOTENCY_KEY)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(
                "Names this request: repeated within 24 hours with the same key, it is done once and answered alike.",
            ))
            .schema(Some(schema));
        vec![parameter.build()]
    }
}

fn invalid(msg: &str) -> Error {
    Error::Validation(vec![FieldError::header(IDEMPOTENCY_KEY, "value_error", msg)])
}
