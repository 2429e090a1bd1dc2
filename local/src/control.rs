//! What moves the stack and looks into it: its clock, its functions as Lambda calls them, its database.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{StatusCode, header::CACHE_CONTROL, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use shared::{App, event::EventError};

use crate::functions;

/// Lambda's own limit of an event.
const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// `/_local/clock`, `/_local/invoke/{function}` and `/_local/dynamodb`.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/_local/clock", post(clock))
        .route("/_local/invoke/{function}", post(invoke))
        .route("/_local/dynamodb", get(dynamodb))
        .layer(DefaultBodyLimit::max(EVENT_BYTES_MAX))
        .with_state(app)
}

/// How far the clock moves on. It never moves back: what was revoked at a time would then lie in the future.
#[derive(Deserialize)]
struct Advance {
    advance_seconds: u32,
}

async fn clock(State(app): State<App>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(Advance { advance_seconds }) => {
            let now = app.clock.advance(advance_seconds.into());
            ([(CACHE_CONTROL, "no-store")], Json(json!({ "now": now }))).into_response()
        }
        Err(_) => refusal(
            StatusCode::BAD_REQUEST,
            r#"The body has to be like {"advance_seconds": 60}: a whole number of seconds, 0 or more."#,
        ),
    }
}

async fn invoke(State(app): State<App>, Path(name): Path<String>, event: Bytes) -> Response {
    match functions::call(app, &name, &event).await {
        None => refusal(
            StatusCode::NOT_FOUND,
            &format!(
                "There is no such function. There are: {}.",
                functions::names().join(", ")
            ),
        ),
        Some(Ok(answer)) => (
            [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")],
            answer,
        )
            .into_response(),
        Some(Err(EventError::Malformed(fault))) => refusal(StatusCode::BAD_REQUEST, &fault),
        // As Lambda tells of a function that failed.
        Some(Err(EventError::Failed(error))) => {
            refusal(StatusCode::BAD_GATEWAY, &format!("the function failed: {error}"))
        }
    }
}

async fn dynamodb(State(app): State<App>) -> Response {
    Json(json!({ "endpoint": app.config.aws.dynamodb_endpoint })).into_response()
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
