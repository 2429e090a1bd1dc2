//! The demo workspace, made through the API's own routes as two people would.

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

/// The demo workspace's owner.
pub const OWNER: &str = "owner@example.com";
/// Its one other member.
pub const MEMBER: &str = "member@example.com";
/// The password of both.
pub const PASSWORD: &str = "password123";

/// More than any answer here has, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A step answered something else than it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the demo workspace is not complete: {step} answered {status} {body}")]
pub struct SeedError {
    step: &'static str,
    status: u16,
    body: String,
}

/// Makes the demo workspace, as far as it is not there: both people once registered are left as they are.
pub(crate) async fn seed(api: &Router) -> Result<(), SeedError> {
    let person = json!({"email": OWNER, "password": PASSWORD, "name": "Olivia Owner", "company": "Demo"});
    let registered = post(api, "/api/v1/auth/register", None, &person).await;
    if registered.code() == Some("EMAIL_TAKEN") {
        // The data of an earlier run. It is complete unless that run was stopped at this very place.
        if log_in(api, MEMBER).await.is_ok() {
            return Ok(());
        }
    } else {
        registered.expect(StatusCode::CREATED, "registering the owner")?;
    }
    let Ok(owner) = log_in(api, OWNER).await else {
        // The owner has another password by now, so this is somebody's own data.
        return Ok(());
    };
    invite_member(api, &owner).await
}

async fn invite_member(api: &Router, owner: &str) -> Result<(), SeedError> {
    let invitation = json!({"email": MEMBER, "role": "member"});
    let issued = post(api, "/api/v1/workspaces/invitations", Some(owner), &invitation)
        .await
        .expect(StatusCode::CREATED, "inviting the member")?;
    let link = issued["invite_link"].as_str().unwrap_or_default();
    let acceptance = json!({
        "invite_id": in_fragment(link, "invite_id"),
        "token": in_fragment(link, "token"),
        "password": PASSWORD,
        "name": "Mia Member",
    });
    post(api, "/api/v1/auth/accept-invite", None, &acceptance)
        .await
        .expect(StatusCode::OK, "accepting the invitation")?;
    Ok(())
}

/// An access token of the person.
async fn log_in(api: &Router, email: &str) -> Result<String, SeedError> {
    let login = json!({"email": email, "password": PASSWORD});
    let session = post(api, "/api/v1/auth/login", None, &login)
        .await
        .expect(StatusCode::OK, "logging in")?;
    Ok(session["access_token"].as_str().unwrap_or_default().to_owned())
}

/// The value of `name` in the fragment of a link, `#invite_id=…&token=…`.
fn in_fragment<'a>(link: &'a str, name: &str) -> Option<&'a str> {
    let (_, fragment) = link.split_once('#')?;
    fragment
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    fn code(&self) -> Option<&str> {
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

/// A request as it would come from this machine, without the way through its network.
async fn post(api: &Router, path: &str, token: Option<&str>, body: &Value) -> Answer {
    let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let caller = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let Ok(request) = request
        .extension(ConnectInfo(caller))
        .body(Body::from(body.to_string()))
    else {
        return Answer {
            status: StatusCode::BAD_REQUEST,
            body: Value::Null,
        };
    };
    let Ok(response) = api.clone().oneshot(request).await;
    let status = response.status();
    let bytes = to_bytes(response.into_body(), ANSWER_BYTES_MAX)
        .await
        .unwrap_or_default();
    Answer {
        status,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragment_carries_id_and_token() {
        let link = "http://127.0.0.1:3000/invite#invite_id=1&token=a-_b";
        assert_eq!(in_fragment(link, "invite_id"), Some("1"));
        assert_eq!(in_fragment(link, "token"), Some("a-_b"));
        assert_eq!(in_fragment(link, "id"), None);
        assert_eq!(in_fragment("http://127.0.0.1:3000/invite", "token"), None);
    }
}
