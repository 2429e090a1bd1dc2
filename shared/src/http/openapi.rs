//! The OpenAPI 3.1 document: the functions' own annotations, completed by what all operations share.

use std::collections::BTreeMap;

use ::http::StatusCode;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ContentBuilder, Header, InfoBuilder, Object, OpenApi, Ref, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::problem::Problem;
use crate::error::{Code, Error};

/// The codes particular to operations: method, path, codes.
pub type Errors = [(&'static str, &'static str, &'static [Code])];

/// The groups of operations, in the order in which a reader needs them, and what each is about.
const TAGS: [(&str, &str); 6] = [
    (
        "workspaces",
        "The caller's workspace: its name and its settings. A person is in one workspace at most.",
    ),
    (
        "members",
        "Who is in the workspace, and as what. A workspace always has an owner.",
    ),
    (
        "invitations",
        "Invitations by e-mail, as those see them who send them. There is one pending at most for an e-mail and a workspace.",
    ),
    (
        "usage",
        "What the workspace has used, in event units: the current UTC day, and the month that its tier limits.",
    ),
    ("sessions", "Ends every session of the workspace at once."),
    (
        "auth",
        "Accounts, their tokens, and invitations as those see them who are invited.",
    ),
];

/// Completes `api`: tags, security, the shape of errors, and on each operation its error codes by status.
#[must_use]
pub fn complete(mut api: OpenApi, errors: &[&Errors]) -> OpenApi {
    api.info = InfoBuilder::new()
        .title("Workspaces")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Workspaces, members with roles, e-mail invitations, usage, and sessions that can be revoked at once.",
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
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in operations(item) {
            let own = errors
                .iter()
                .flat_map(|table| table.iter())
                .filter(|(m, p, _)| *m == method && p == path)
                .flat_map(|(_, _, codes)| codes.iter().copied());
            describe(operation, method, own);
        }
    }
    api
}

/// The operations of a path, by the method's name in lower case.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", item.get.as_mut()),
        ("put", item.put.as_mut()),
        ("post", item.post.as_mut()),
        ("patch", item.patch.as_mut()),
        ("delete", item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

fn describe(operation: &mut Operation, method: &str, own: impl Iterator<Item = Code>) {
    let mut codes: Vec<Code> = own.collect();
    // A requirement that names no scheme means that the others are optional.
    let optional = operation
        .security
        .as_ref()
        .is_some_and(|security| security.contains(&SecurityRequirement::default()));
    let authenticated = operation.security.as_ref().is_some_and(|security| !security.is_empty());
    if authenticated {
        codes.extend([Code::TokenInvalid, Code::TokenRevoked]);
    }
    if authenticated && !optional {
        codes.push(Code::TokenMissing);
    }
    if operation.request_body.is_some() {
        codes.push(Code::ValidationError);
    }
    codes.extend([Code::PayloadTooLarge, Code::InternalError, Code::ServiceUnavailable]);
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for error in every_error() {
        let answer = error.answer();
        let of_status = by_status.entry(answer.status.as_u16()).or_default();
        // The last owner has two statuses: 400 when demoted, 403 when removed.
        let other_deed = match error {
            Error::LastOwnerDemotion => method == "delete",
            Error::LastOwnerRemoval => method != "delete",
            _ => false,
        };
        if codes.contains(&answer.code) && !of_status.contains(&answer.code) && !other_deed {
            of_status.push(answer.code);
        }
    }
    by_status.retain(|_, codes| !codes.is_empty());
    for (status, codes) in by_status {
        let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let response = headers(status)
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
            .extensions(Some(ExtensionsBuilder::new().add("x-error-codes", names).build()))
            .build();
        operation
            .responses
            .responses
            .insert(status.to_string(), response.into());
    }
}

/// The headers that only answers of this status have.
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

/// A status in words.
fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}

/// One error of every kind, for the documents and tests that list them.
#[must_use]
pub fn every_error() -> Vec<Error> {
    let limited = crate::error::RateLimited {
        retry_after_s: 1,
        limit: 1,
        window_s: 1,
    };
    vec![
        Error::AlreadyDone,
        Error::AlreadyInWorkspace,
        Error::AlreadyMember,
        Error::EmailTaken,
        Error::Forbidden,
        Error::IdempotencyKeyReused,
        Error::InvalidCredentials,
        Error::InvalidEmail,
        Error::InvalidExpiry,
        Error::InvalidRole,
        Error::InvitationExpired,
        Error::InvitationNotFound,
        Error::InvitationRevoked,
        Error::InvitationUsed,
        Error::InviteEmailMismatch,
        Error::InviteeUnavailable,
        Error::LastOwnerDemotion,
        Error::LastOwnerRemoval,
        Error::MemberNotFound,
        Error::MethodNotAllowed,
        Error::NotFound,
        Error::PasswordRequired,
        Error::PayloadTooLarge,
        Error::PreconditionFailed,
        Error::RateLimited(limited),
        Error::SelfInvite,
        Error::TokenInvalid,
        Error::TokenMissing,
        Error::TokenRevoked,
        Error::TooManyPending,
        Error::Validation(Vec::new()),
        Error::WeakPassword,
        Error::WorkspaceNotEmpty,
        Error::WorkspaceNotFound,
        Error::Unavailable(String::new()),
        Error::Internal(String::new()),
    ]
}
