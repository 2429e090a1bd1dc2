//! A person who calls the API, with or without tokens.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::api_response::ApiResponse;
use crate::support::harness::{PASSWORD, World};

/// A person with or without tokens.
#[derive(Clone)]
pub struct Person<'w> {
    pub world: &'w World,
    pub name: String,
    pub email: String,
    pub id: String,
    pub access: Option<String>,
    pub refresh: String,
    pub address: IpAddr,
}

impl Person<'_> {
    pub fn take_tokens(&mut self, response: &ApiResponse) {
        self.access = Some(response.body["access_token"].as_str().unwrap().to_owned());
        response.body["refresh_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.refresh);
        response.body["user"]["id"].as_str().unwrap().clone_into(&mut self.id);
    }

    pub async fn log_in(&mut self) {
        let response = self
            .post("/auth/login", json!({"email": self.email, "password": PASSWORD}))
            .await
            .expect(200);
        self.take_tokens(&response);
    }

    pub fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let path = if path.starts_with("/api") || path.starts_with("/.") || path.starts_with("/invite") {
            path.to_owned()
        } else {
            format!("/api/v1{path}")
        };
        let builder = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        match &self.access {
            Some(token) => builder.header("authorization", format!("Bearer {token}")),
            None => builder,
        }
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> ApiResponse {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.world
            .send(self.request(method, path).body(body).unwrap(), self.address)
            .await
    }

    pub async fn raw(&self, method: &str, path: &str, body: impl Into<Body>) -> ApiResponse {
        self.world
            .send(self.request(method, path).body(body.into()).unwrap(), self.address)
            .await
    }

    pub async fn get(&self, path: &str) -> ApiResponse {
        self.call("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> ApiResponse {
        self.call("POST", path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> ApiResponse {
        self.call("PUT", path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> ApiResponse {
        self.call("PATCH", path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> ApiResponse {
        self.call("DELETE", path, None).await
    }

    pub async fn workspace(&self) -> ApiResponse {
        self.get("/workspaces/").await
    }

    pub async fn members(&self) -> ApiResponse {
        self.get("/workspaces/members").await
    }

    pub async fn invitations(&self) -> ApiResponse {
        self.get("/workspaces/invitations").await
    }

    pub async fn invite(&self, email: &str, role: &str) -> ApiResponse {
        self.post("/workspaces/invitations", json!({"email": email, "role": role}))
            .await
    }

    pub async fn cancel(&self, invitation: &str) -> ApiResponse {
        self.delete(&format!("/workspaces/invitations/{invitation}")).await
    }

    pub async fn resend(&self, invitation: &str) -> ApiResponse {
        self.call("POST", &format!("/workspaces/invitations/{invitation}/resend"), None)
            .await
    }

    pub async fn extend(&self, invitation: &str, expires_at: &str) -> ApiResponse {
        self.patch(
            &format!("/workspaces/invitations/{invitation}"),
            json!({"expires_at": expires_at}),
        )
        .await
    }

    pub async fn change_role(&self, of: &str, role: &str) -> ApiResponse {
        self.patch(&format!("/workspaces/members/{of}"), json!({"role": role}))
            .await
    }

    pub async fn remove(&self, who: &str) -> ApiResponse {
        self.delete(&format!("/workspaces/members/{who}")).await
    }

    pub async fn revoke_all(&self) -> ApiResponse {
        self.call("POST", "/workspaces/revoke-all-sessions", None).await
    }

    /// Accepts the invitation whose link is in `issued`, a response of create or resend.
    pub async fn accept(&self, issued: &ApiResponse, more: Value) -> ApiResponse {
        self.post("/auth/accept-invite", proof(issued, more)).await
    }

    pub async fn preview(&self, issued: &ApiResponse) -> ApiResponse {
        self.post("/auth/invitation", proof(issued, json!({}))).await
    }

    pub async fn decline(&self, issued: &ApiResponse) -> ApiResponse {
        self.post("/auth/decline-invite", proof(issued, json!({}))).await
    }

    pub async fn refresh(&self) -> ApiResponse {
        self.post("/auth/refresh", json!({"refresh_token": self.refresh})).await
    }

    /// This person without tokens.
    pub fn signed_out(&self) -> Self {
        Self {
            access: None,
            ..self.clone()
        }
    }
}

/// `invite_id` and `token` of an issued invitation's link, with `more` fields.
pub fn proof(issued: &ApiResponse, more: Value) -> Value {
    let link = issued.body["invite_link"].as_str().unwrap();
    let (_, fragment) = link.split_once('#').unwrap();
    let mut body = more;
    for pair in fragment.split('&') {
        let (name, value) = pair.split_once('=').unwrap();
        body[name] = json!(value);
    }
    body
}
