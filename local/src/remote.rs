//! A client of a stack that runs in another process.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::{Agent, http::StatusCode};

use crate::demo::{OWNER, PASSWORD};

/// Why a request to the stack failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The stack did not respond.
    #[error("no stack responds at {0}; start one with `cargo run`, or give its port with --port")]
    NotRunning(String),
    /// The stack returned an unexpected response.
    #[error("{path} returned {status}: {body}")]
    UnexpectedResponse {
        /// The path of the request.
        path: String,
        /// The response's status.
        status: u16,
        /// The response's body.
        body: String,
    },
}

/// A client of the stack at `url`.
#[derive(Debug)]
pub(crate) struct Remote {
    url: String,
    agent: Agent,
}

impl Remote {
    /// A client of the stack at `url`.
    pub(crate) fn new(url: String) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)));
        Self {
            url,
            agent: config.build().new_agent(),
        }
    }

    /// Whether the stack responds.
    pub(crate) fn is_running(&self) -> bool {
        self.get("/_local/dynamodb", None).is_ok()
    }

    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> Result<Value, RemoteError> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.read(path, request.call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, RemoteError> {
        self.read(path, self.agent.post(format!("{}{path}", self.url)).send_json(body))
    }

    /// Logs in as the demo workspace's owner and returns an access token.
    pub(crate) fn log_in(&self) -> Result<String, RemoteError> {
        let session = self.post("/api/v1/auth/login", &json!({"email": OWNER, "password": PASSWORD}))?;
        Ok(session["access_token"].as_str().unwrap_or_default().to_owned())
    }

    fn read(
        &self,
        path: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, RemoteError> {
        let mut response = response.map_err(|_| RemoteError::NotRunning(self.url.clone()))?;
        let body = response.body_mut().read_to_string().unwrap_or_default();
        match serde_json::from_str(&body) {
            Ok(value) if response.status() == StatusCode::OK => Ok(value),
            _ => Err(RemoteError::UnexpectedResponse {
                path: path.to_owned(),
                status: response.status().as_u16(),
                body,
            }),
        }
    }
}
