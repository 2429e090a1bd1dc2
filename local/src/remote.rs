//! A stack that runs already, called as a client of it would.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::{Agent, http::StatusCode};

use crate::demo::{OWNER, PASSWORD};

/// What came instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nothing answers there.
    #[error("no stack answers at {0}; start one with `cargo run`, or name its port with --port")]
    Absent(String),
    /// It answered, but not as it should.
    #[error("{path} answered {status}: {body}")]
    Refused {
        /// What was called.
        path: String,
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
}

/// A running stack.
#[derive(Debug)]
pub(crate) struct Remote {
    url: String,
    agent: Agent,
}

impl Remote {
    /// The stack at `url`.
    pub(crate) fn new(url: String) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)));
        Self {
            url,
            agent: config.build().new_agent(),
        }
    }

    /// Whether it answers.
    pub(crate) fn is_there(&self) -> bool {
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

    /// An access token of the demo workspace's owner.
    pub(crate) fn log_in(&self) -> Result<String, RemoteError> {
        let session = self.post("/api/v1/auth/login", &json!({"email": OWNER, "password": PASSWORD}))?;
        Ok(session["access_token"].as_str().unwrap_or_default().to_owned())
    }

    fn read(
        &self,
        path: &str,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, RemoteError> {
        let mut answer = answer.map_err(|_| RemoteError::Absent(self.url.clone()))?;
        let body = answer.body_mut().read_to_string().unwrap_or_default();
        match serde_json::from_str(&body) {
            Ok(value) if answer.status() == StatusCode::OK => Ok(value),
            _ => Err(RemoteError::Refused {
                path: path.to_owned(),
                status: answer.status().as_u16(),
                body,
            }),
        }
    }
}
