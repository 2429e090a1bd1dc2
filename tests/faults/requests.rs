//! Helpers for malformed requests, and the rules that every response follows.

use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;

use crate::support::harness::{ApiResponse, Person, World};

/// The largest permitted body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// An id that does not exist.
pub const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";

/// Asserts the rules for every response, and for every refusal. Returns the response.
#[track_caller]
pub fn conforming(response: ApiResponse) -> ApiResponse {
    assert!(response.status.as_u16() < 500, "{}: {}", response.status, response.text);
    let id = response.header("x-request-id").unwrap();
    assert!(uuid::Uuid::try_parse(id).is_ok(), "{id}");
    assert_eq!(response.header("cache-control"), Some("no-store"));
    if !response.body.is_null() {
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    }
    if response.status.is_client_error() {
        let code = response.body["error_code"].as_str().unwrap_or_default().to_owned();
        return response.clone().refused(response.status.as_u16(), &code);
    }
    response
}

/// A workspace with an owner, a member and a pending invitation.
pub struct SampleWorkspace<'w> {
    pub owner: Person<'w>,
    pub member: Person<'w>,
    pub invitation: ApiResponse,
}

impl<'w> SampleWorkspace<'w> {
    pub async fn new(world: &'w World) -> Self {
        let owner = world.owner("owner").await;
        let member = world.joins(&owner, "member", "member").await;
        let invitation = owner.invite("guest@example.com", "member").await.expect(201);
        Self {
            owner,
            member,
            invitation,
        }
    }

    /// An existing id for the parameter of a path.
    pub fn id(&self, path: &str) -> String {
        if path.contains("{user_id}") {
            self.member.id.clone()
        } else {
            self.invitation.id()
        }
    }
}

/// Sends a request without a body.
pub async fn send(world: &World, request: Builder) -> ApiResponse {
    world
        .send(request.body(Body::empty()).unwrap(), [10, 9, 9, 9].into())
        .await
}

pub fn get(path: &str) -> Builder {
    Request::builder().method("GET").uri(path)
}
