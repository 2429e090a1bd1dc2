//! The demo workspace. It is created through the API's routes, by the requests that two people would send.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{
        Request, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
};
use serde_json::{Value, json};
use tower::ServiceExt;

/// The e-mail address of the demo workspace's owner.
pub const OWNER: &str = "owner@example.com";
/// The e-mail address of the demo workspace's other member.
pub const MEMBER: &str = "member@example.com";
/// The password of the owner and of the member.
pub const PASSWORD: &str = "password123";

/// The longest response body that is read. All responses to the requests below are shorter.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// Error: a request returned an unexpected status, so the demo workspace is incomplete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the demo workspace is incomplete: {step} returned {status} {body}")]
pub struct SeedError {
    step: &'static str,
    status: u16,
    body: String,
}

/// Creates the demo workspace, or the missing part of it. Existing accounts are not changed.
pub(crate) async fn seed(api: &Router) -> Result<(), SeedError> {
    let registration = json!({"email": OWNER, "password": PASSWORD, "name": "Olivia Owner", "company": "Demo"});
    let response = post(api, "/api/v1/auth/register", None, &registration).await;
    if response.error_code() == Some("EMAIL_TAKEN") {
        // An earlier run created the owner. The member is missing only if that run was stopped in between.
        if log_in(api, MEMBER).await.is_ok() {
            return Ok(());
        }
    } else {
        response.expect(StatusCode::CREATED, "registering the owner")?;
    }
    let Ok(owner_token) = log_in(api, OWNER).await else {
        // The owner's password was changed, so the data file is not the demo's any more. Leave it alone.
        return Ok(());
    };
    add_member(api, &owner_token).await
}

async fn add_member(api: &Router, owner_token: &str) -> Result<(), SeedError> {
    let invitation = json!({"email": MEMBER, "role": "member"});
    let created = post(api, "/api/v1/workspaces/invitations", Some(owner_token), &invitation)
        .await
        .expect(StatusCode::CREATED, "inviting the member")?;
    let link = created["invite_link"].as_str().unwrap_or_default();
    let acceptance = json!({
        "invite_id": fragment_value(link, "invite_id"),
        "token": fragment_value(link, "token"),
        "password": PASSWORD,
        "name": "Mia Member",
    });
    post(api, "/api/v1/auth/accept-invite", None, &acceptance)
        .await
        .expect(StatusCode::OK, "accepting the invitation")?;
    Ok(())
}

/// Logs in and returns an access token.
async fn log_in(api: &Router, email: &str) -> Result<String, SeedError> {
    let login = json!({"email": email, "password": PASSWORD});
    let session = post(api, "/api/v1/auth/login", None, &login)
        .await
        .expect(StatusCode::OK, "logging in")?;
    Ok(session["access_token"].as_str().unwrap_or_default().to_owned())
}

/// The value of `name` in the fragment of a link such as `…#invite_id=…&token=…`.
fn fragment_value<'a>(link: &'a str, name: &str) -> Option<&'a str> {
    let (_, fragment) = link.split_once('#')?;
    fragment
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

struct ApiResponse {
    status: StatusCode,
    body: Value,
}

impl ApiResponse {
    fn error_code(&self) -> Option<&str> {
        self.body["error_code"].as_str()
    }

    fn expect(self, status: StatusCode, step: &'static str) -> Result<Value, SeedError> {
        if self.status == status {
            return Ok(self.body);
        }
        Err(SeedError {
            step,
            status: self.status.as_u16(),
            body: self.body.to_string(),
        })
    }
}

/// Sends a POST request to the router in process, with this machine as the source address.
async fn post(api: &Router, path: &str, token: Option<&str>, body: &Value) -> ApiResponse {
    let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let Ok(request) = request
        .extension(ConnectInfo(source))
        .body(Body::from(body.to_string()))
    else {
        return ApiResponse {
            status: StatusCode::BAD_REQUEST,
            body: Value::Null,
        };
    };
    let Ok(response) = api.clone().oneshot(request).await;
    let status = response.status();
    let bytes = to_bytes(response.into_body(), RESPONSE_BYTES_MAX)
        .await
        .unwrap_or_default();
    ApiResponse {
        status,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragment_value_finds_the_id_and_the_token_of_a_link() {
        let link = "http://127.0.0.1:3000/invite#invite_id=1&token=a-_b";
        assert_eq!(fragment_value(link, "invite_id"), Some("1"));
        assert_eq!(fragment_value(link, "token"), Some("a-_b"));
        assert_eq!(fragment_value(link, "id"), None);
        assert_eq!(fragment_value("http://127.0.0.1:3000/invite", "token"), None);
    }
}
