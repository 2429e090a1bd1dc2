//! What moves the stack and looks into it: its clock, its functions as Lambda calls them, its database, what becomes of
//! its mails.

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
    mailbox::{Fault, Mailbox, News},
    schedule::Schedules,
};

/// Lambda's own limit of an event.
const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// What the routes have at hand.
#[derive(Clone)]
struct Control {
    app: App,
    mailbox: Mailbox,
    schedules: Schedules,
}

/// `/_local/clock`, `/_local/invoke/{function}`, `/_local/dynamodb`, and what goes wrong with mails under
/// `/_local/mailbox`.
pub(crate) fn router(app: App, mailbox: Mailbox, schedules: Schedules) -> Router {
    Router::new()
        .route("/_local/clock", post(clock))
        .route("/_local/invoke/{function}", post(invoke))
        .route("/_local/dynamodb", get(dynamodb))
        .route("/_local/mailbox/fault", post(mailbox_fault))
        .route("/_local/mailbox/{id}/{news}", post(mailbox_news))
        .layer(DefaultBodyLimit::max(EVENT_BYTES_MAX))
        .with_state(Control {
            app,
            mailbox,
            schedules,
        })
}

/// How far the clock moves on. It never moves back: what was revoked at a time would then lie in the future.
#[derive(Deserialize)]
struct Advance {
    advance_seconds: u32,
}

async fn clock(State(control): State<Control>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(Advance { advance_seconds }) => {
            let now = control.app.clock.advance(advance_seconds.into());
            control.schedules.catch_up().await;
            ([(CACHE_CONTROL, "no-store")], Json(json!({ "now": now }))).into_response()
        }
        Err(_) => refusal(
            StatusCode::BAD_REQUEST,
            r#"The body has to be like {"advance_seconds": 60}: a whole number of seconds, 0 or more."#,
        ),
    }
}

async fn invoke(State(control): State<Control>, Path(name): Path<String>, event: Bytes) -> Response {
    match functions::call(control.app, &name, &event).await {
        None => refusal(
            StatusCode::NOT_FOUND,
            &format!(
                "There is no such function. There are: {}.",
                functions::names().join(", ")
            ),
        ),
        Some(answer) => answered(answer),
    }
}

/// What a function answered, or as Lambda tells of one that failed.
fn answered(answer: Result<Vec<u8>, EventError>) -> Response {
    match answer {
        Ok(answer) => (
            [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")],
            answer,
        )
            .into_response(),
        Err(EventError::Malformed(fault)) => refusal(StatusCode::BAD_REQUEST, &fault),
        Err(EventError::Failed(error)) => refusal(StatusCode::BAD_GATEWAY, &format!("the function failed: {error}")),
    }
}

async fn dynamodb(State(control): State<Control>) -> Response {
    Json(json!({ "endpoint": control.app.config.aws.dynamodb_endpoint })).into_response()
}

/// How the mail service fails from now on.
#[derive(Deserialize)]
struct Failing {
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Not at all.
    None,
    /// It is out of order, and takes no mail.
    Refuse,
    /// It finds every mail unfit.
    Reject,
    /// It takes the mail, and the answer is lost.
    Silence,
}

async fn mailbox_fault(State(control): State<Control>, body: Bytes) -> Response {
    let Ok(Failing { mode }) = serde_json::from_slice(&body) else {
        return refusal(
            StatusCode::BAD_REQUEST,
            r#"The body has to be {"mode": "refuse"}, or "reject", "silence" or "none" in its place."#,
        );
    };
    control.mailbox.set_fault(match mode {
        Mode::None => None,
        Mode::Refuse => Some(Fault::internal_failure()),
        Mode::Reject => Some(Fault::message_rejected()),
        Mode::Silence => Some(Fault::Silence { accepted: true }),
    });
    StatusCode::NO_CONTENT.into_response()
}

/// Lets something become of a mail: `deliver`, `bounce` or `complain`. The function that SES's event would reach answers.
async fn mailbox_news(State(control): State<Control>, Path((id, news)): Path<(String, String)>) -> Response {
    let Some((mail, news)) = control.mailbox.mail(&id).zip(News::named(&news)) else {
        return refusal(
            StatusCode::NOT_FOUND,
            "There is no such mail, or nothing of that name becomes of one: deliver, bounce, complain.",
        );
    };
    let event = news.event(&mail, &control.app.now().to_string()).to_string();
    match functions::call(control.app, "mail-events", event.as_bytes()).await {
        Some(answer) => answered(answer),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
