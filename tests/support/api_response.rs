//! The response to a request, and the checks that every test makes of one.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::Value;

/// A response of the API.
#[derive(Clone, Debug)]
pub struct ApiResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl ApiResponse {
    /// Reads a response to its end.
    pub async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    /// Returns the response after asserting its status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// Returns the response after asserting that it is this error in the common shape of errors.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!(
            (self.status.as_u16(), self.body["error_code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("/errors#{}", code.to_lowercase()));
        assert_eq!(self.body["request_id"].as_str(), self.header("x-request-id"));
        assert_eq!(self.body["detail"].is_array(), status == 422, "{}", self.text);
        assert_eq!(self.headers.contains_key("www-authenticate"), status == 401);
        self
    }

    /// The invalid fields that a 422 lists.
    #[track_caller]
    pub fn invalid_fields(self) -> Vec<String> {
        let response = self.refused(422, "VALIDATION_ERROR");
        let path = |fault: &Value| {
            let loc = fault["loc"].as_array().unwrap().iter();
            loc.map(|part| part.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join(".")
        };
        let mut faults: Vec<String> = response.body["detail"].as_array().unwrap().iter().map(path).collect();
        faults.sort();
        faults
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[track_caller]
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap().to_owned()
    }
}
