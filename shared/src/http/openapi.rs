//! The OpenAPI 3.1 document: the annotations of the routes, completed by what all operations share.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use ::http::StatusCode;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ContentBuilder, Header, InfoBuilder, Object, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::problem::Problem;
use crate::error::refusal::{self, Refusal};
use crate::error::{ErrorRow, ROWS};

/// The errors that a route names in its `utoipa` annotation, beside the responses that succeed. `T` is a tuple of types
/// of [`crate::error::refusal`], so that a misspelled error does not compile. [`complete`] adds the errors that every
/// operation has.
#[derive(Debug)]
pub struct Refusals<T>(PhantomData<T>);

/// A tuple of refusals.
pub trait RefusalList {
    /// The rows of the table of errors.
    const ROWS: &'static [ErrorRow];
}

macro_rules! refusal_lists {
    ($($first:ident $($rest:ident)*,)+) => {
        $(impl<$first: Refusal $(, $rest: Refusal)*> RefusalList for ($first, $($rest,)*) {
            const ROWS: &'static [ErrorRow] = &[$first::ROW, $($rest::ROW),*];
        })+
    };
}

refusal_lists! {
    A,
    A B,
    A B C,
    A B C D,
    A B C D E,
    A B C D E F,
    A B C D E F G,
    A B C D E F G H,
    A B C D E F G H I,
    A B C D E F G H I J,
    A B C D E F G H I J K,
    A B C D E F G H I J K L,
}

impl<T: RefusalList> IntoResponses for Refusals<T> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let by_status = codes_by_status(T::ROWS.iter().copied());
        by_status
            .into_iter()
            .map(|(status, codes)| (status.to_string(), error_response(status, &codes).into()))
            .collect()
    }
}

/// The codes of each status, in the order of the table of errors.
fn codes_by_status(rows: impl Iterator<Item = ErrorRow>) -> BTreeMap<u16, Vec<&'static str>> {
    let named: Vec<ErrorRow> = rows.collect();
    let mut by_status: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    for row in ROWS.iter().filter(|row| named.contains(row)) {
        let codes = by_status.entry(row.status.as_u16()).or_default();
        if !codes.contains(&row.code.as_str()) {
            codes.push(row.code.as_str());
        }
    }
    by_status
}

/// The groups of operations with their descriptions, in the order in which a reader needs them.
const TAGS: [(&str, &str); 6] = [
    (
        "workspaces",
        "The caller's workspace: its name and its settings. A person is in one workspace at most.",
    ),
    (
        "members",
        "The members of the workspace and their roles. A workspace always has an owner.",
    ),
    (
        "invitations",
        "Invitations by e-mail, for those who send them. An e-mail address has one pending invitation to a workspace at most.",
    ),
    (
        "usage",
        "The usage of the workspace, in event units: the current UTC day, and the month that its tier limits.",
    ),
    ("sessions", "Ends every session of the workspace."),
    (
        "auth",
        "Accounts, their tokens, and invitations, for those who are invited.",
    ),
];

/// Completes `api`: tags, security, the schema of errors, and the errors that every operation has.
#[must_use]
pub fn complete(mut api: OpenApi) -> OpenApi {
    api.info = InfoBuilder::new()
        .title("Workspaces")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Workspaces, members with roles, e-mail invitations, usage, and sessions that can be revoked immediately.",
        ))
        .build();
    let tags = TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    api.tags = Some(tags.into());
    let components = api.components.get_or_insert_with(Default::default);
    components.security_schemes.insert(
        "bearer".to_owned(),
        SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)).into(),
    );
    let mut schemas = Vec::new();
    Problem::schemas(&mut schemas);
    schemas.push((Problem::name().into_owned(), Problem::schema()));
    components.schemas.extend(schemas);
    for item in api.paths.paths.values_mut() {
        for operation in operations(item) {
            add_shared_errors(operation);
        }
    }
    api
}

/// The operations of a path.
fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

/// Adds the errors that follow from what an operation accepts to those that its route names.
fn add_shared_errors(operation: &mut Operation) {
    let mut rows: Vec<ErrorRow> = named_errors(operation);
    // A requirement without a scheme makes the other requirements optional.
    let is_optional = operation
        .security
        .as_ref()
        .is_some_and(|security| security.contains(&SecurityRequirement::default()));
    let is_authenticated = operation.security.as_ref().is_some_and(|security| !security.is_empty());
    if is_authenticated {
        rows.extend([refusal::TokenInvalid::ROW, refusal::TokenRevoked::ROW]);
    }
    if is_authenticated && !is_optional {
        rows.push(refusal::TokenMissing::ROW);
    }
    if operation.request_body.is_some() {
        rows.push(refusal::Validation::ROW);
    }
    rows.extend([
        refusal::PayloadTooLarge::ROW,
        refusal::Internal::ROW,
        refusal::Unavailable::ROW,
    ]);
    for (status, codes) in codes_by_status(rows.into_iter()) {
        operation
            .responses
            .responses
            .insert(status.to_string(), error_response(status, &codes).into());
    }
}

/// The errors that the route of an operation names.
fn named_errors(operation: &Operation) -> Vec<ErrorRow> {
    let is_named = |row: &&ErrorRow| {
        let response = operation.responses.responses.get(row.status.as_str());
        let Some(RefOr::T(response)) = response else {
            return false;
        };
        let codes = response
            .extensions
            .as_ref()
            .and_then(|extensions| extensions.get(ERROR_CODES));
        let codes = codes.and_then(|codes| codes.as_array());
        codes.is_some_and(|codes| codes.iter().any(|code| code == row.code.as_str()))
    };
    ROWS.iter().filter(is_named).copied().collect()
}

/// The extension that lists the error codes of a response.
const ERROR_CODES: &str = "x-error-codes";

fn error_response(status: u16, codes: &[&str]) -> Response {
    headers(status)
        .iter()
        .fold(ResponseBuilder::new(), |response, (name, kind, description)| {
            let mut header = Header::new(Object::with_type(kind.clone()));
            header.description = Some((*description).to_owned());
            response.header(*name, header)
        })
        .description(reason(status))
        .content(
            "application/problem+json",
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(Problem::name())))
                .build(),
        )
        .extensions(Some(ExtensionsBuilder::new().add(ERROR_CODES, codes).build()))
        .build()
}

/// The headers that only responses of this status have.
fn headers(status: u16) -> &'static [(&'static str, Type, &'static str)] {
    const RETRY_AFTER: (&str, Type, &str) = ("Retry-After", Type::Integer, "Whole seconds to wait.");
    match status {
        401 => &[("WWW-Authenticate", Type::String, "`Bearer`.")],
        429 => &[
            RETRY_AFTER,
            (
                "RateLimit",
                Type::String,
                "What is left of the limit, and when there is more.",
            ),
            ("RateLimit-Policy", Type::String, "The limit: calls and window."),
        ],
        503 => &[RETRY_AFTER],
        _ => &[],
    }
}

/// The reason phrase of a status.
fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}
