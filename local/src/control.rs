//! Routes that control the stack: they advance the clock, invoke functions as Lambda does, return the database's
//! endpoint, make the mail service fail, and simulate delivery events.

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

use crate::{
    functions,
    mailbox::{Fault, Mailbox, SimulatedEvent},
    schedule::Schedules,
};

/// Lambda's limit for the payload of an invocation.
const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// The state that the routes share.
#[derive(Clone)]
struct Control {
    app: App,
    mailbox: Mailbox,
    schedules: Schedules,
}

/// The routes `/_local/clock`, `/_local/invoke/{function}`, `/_local/dynamodb`, `/_local/mailbox/fault` and
/// `/_local/mailbox/{id}/{event}`.
pub(crate) fn router(app: App, mailbox: Mailbox, schedules: Schedules) -> Router {
    Router::new()
        .route("/_local/clock", post(clock))
        .route("/_local/invoke/{function}", post(invoke))
        .route("/_local/dynamodb", get(dynamodb))
        .route("/_local/mailbox/fault", post(mailbox_fault))
        .route("/_local/mailbox/{id}/{event}", post(mailbox_event))
        .layer(DefaultBodyLimit::max(EVENT_BYTES_MAX))
        .with_state(Control {
            app,
            mailbox,
            schedules,
        })
}

/// The body of `POST /_local/clock`. The clock never moves back, because stored times would then be in the future.
#[derive(Deserialize)]
struct Advance {
    advance_seconds: u32,
}

async fn clock(State(control): State<Control>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(Advance { advance_seconds }) => {
            let now = control.app.clock.advance(advance_seconds.into());
            control.schedules.run_due().await;
            ([(CACHE_CONTROL, "no-store")], Json(json!({ "now": now }))).into_response()
        }
        Err(_) => error_response(
            StatusCode::BAD_REQUEST,
            r#"The body must be JSON such as {"advance_seconds": 60}, with a whole number of seconds, 0 or more."#,
        ),
    }
}

async fn invoke(State(control): State<Control>, Path(name): Path<String>, event: Bytes) -> Response {
    match functions::call(control.app, &name, &event).await {
        None => error_response(
            StatusCode::NOT_FOUND,
            &format!(
                "The function {name:?} does not exist. The functions are: {}.",
                functions::names().join(", ")
            ),
        ),
        Some(result) => invocation_response(result),
    }
}

/// The payload that a function returned, or the error of a failed invocation.
fn invocation_response(result: Result<Vec<u8>, EventError>) -> Response {
    match result {
        Ok(payload) => (
            [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")],
            payload,
        )
            .into_response(),
        Err(EventError::Malformed(reason)) => error_response(StatusCode::BAD_REQUEST, &reason),
        Err(EventError::Failed(error)) => {
            error_response(StatusCode::BAD_GATEWAY, &format!("the function failed: {error}"))
        }
    }
}

async fn dynamodb(State(control): State<Control>) -> Response {
    Json(json!({ "endpoint": control.app.config.aws.dynamodb_endpoint })).into_response()
}

/// The body of `POST /_local/mailbox/fault`.
#[derive(Deserialize)]
struct FaultBody {
    mode: FaultMode,
}

/// How the mail service fails from now on.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FaultMode {
    /// It works.
    None,
    /// It responds with 500 and accepts no mail.
    Refuse,
    /// It rejects every mail as unacceptable.
    Reject,
    /// It accepts the mail and never responds.
    Silence,
}

async fn mailbox_fault(State(control): State<Control>, body: Bytes) -> Response {
    let Ok(FaultBody { mode }) = serde_json::from_slice(&body) else {
        return error_response(
            StatusCode::BAD_REQUEST,
            r#"The body must be JSON such as {"mode": "refuse"}. The modes are: refuse, reject, silence, none."#,
        );
    };
    control.mailbox.set_fault(match mode {
        FaultMode::None => None,
        FaultMode::Refuse => Some(Fault::internal_failure()),
        FaultMode::Reject => Some(Fault::message_rejected()),
        FaultMode::Silence => Some(Fault::Silence { accepted: true }),
    });
    StatusCode::NO_CONTENT.into_response()
}

/// Simulates a delivery event of a mail (`deliver`, `bounce` or `complain`): invokes the function `mail-events` with
/// the event that SES would publish, and responds with the function's result.
async fn mailbox_event(State(control): State<Control>, Path((id, event)): Path<(String, String)>) -> Response {
    let Some((mail, simulated)) = control.mailbox.mail(&id).zip(SimulatedEvent::named(&event)) else {
        return error_response(
            StatusCode::NOT_FOUND,
            "The mail does not exist, or the event is none of deliver, bounce and complain.",
        );
    };
    let event = simulated.event(&mail, &control.app.now().to_string()).to_string();
    match functions::call(control.app, "mail-events", event.as_bytes()).await {
        Some(result) => invocation_response(result),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn error_response(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
