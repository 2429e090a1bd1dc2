//! The kinds of faults, and what each is to an attempt.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::Suffered;
use super::gates::Way;
use super::pages::Lag;

/// What an attempt suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The connection is refused: nothing is sent.
    Refused,
    /// Nothing is applied, and no answer comes.
    TimedOut,
    /// It is applied and answered, but not at once.
    Slow,
    /// It is applied when the attempt has timed out long since.
    Late,
    /// It is applied at once, and the answer is lost.
    Lost(Loss),
    /// 500; nothing is applied.
    Failed,
    /// The service refuses for now; nothing is applied.
    Throttled(Throttle),
    /// The write meets another transaction; nothing is applied.
    Conflict,
    /// A transaction of the same token is under way, as the service says; nothing is applied.
    InProgress,
    /// The token was used for another transaction, as the service says; nothing is applied.
    Mismatch,
    /// A batch's keys are left unprocessed.
    Unprocessed(Keys),
    /// A query's page ends after so many items.
    Short(i32),
    /// A query's page ends before its first item.
    Empty,
    /// The index lags behind the table.
    Stale(Lag),
    /// A batch is no snapshot: it reads what partitions that begin so hold from before it was there.
    Overlooked(&'static str),
}

/// How an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// 500 comes in its place.
    Failed,
    /// 200 and no JSON come in its place.
    Garbage,
    /// The connection is cut.
    Cut,
    /// Nothing comes.
    TimedOut,
}

/// How a throttle is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Throttle {
    Table,
    Service,
    Account,
}

/// Which keys of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keys {
    All,
    /// Every second one.
    Some,
    /// Those whose partition begins so.
    Of(&'static str),
}

impl Fault {
    /// What it is called in counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::Slow => "slow",
            Self::Late => "late",
            Self::Lost(Loss::Failed) => "lost to 500",
            Self::Lost(Loss::Garbage) => "lost to garbage",
            Self::Lost(Loss::Cut) => "lost to a cut",
            Self::Lost(Loss::TimedOut) => "lost to a time-out",
            Self::Failed => "failed",
            Self::Throttled(_) => "throttled",
            Self::Conflict => "conflict",
            Self::InProgress => "in progress",
            Self::Mismatch => "mismatch",
            Self::Unprocessed(_) => "unprocessed",
            Self::Short(_) => "short page",
            Self::Empty => "empty page",
            Self::Stale(_) => "stale index",
            Self::Overlooked(_) => "overlooked",
        }
    }

    /// The way that a request takes in place of the direct one.
    pub(super) fn way(self) -> Option<Way> {
        match self {
            Self::Refused => Some(Way::Closed),
            Self::TimedOut => Some(Way::Never),
            Self::Slow => Some(Way::Slow),
            Self::Late => Some(Way::Late),
            Self::Lost(Loss::Cut) => Some(Way::Cut),
            Self::Lost(Loss::TimedOut) => Some(Way::Mute),
            _ => None,
        }
    }

    /// Whether the service must not do what it is asked for.
    pub(super) fn refuses(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Throttled(_) | Self::Conflict | Self::InProgress | Self::Mismatch | Self::Empty
        )
    }

    /// The answer that comes in place of the service's.
    pub(super) fn answer(self, suffered: &Suffered) -> Option<HttpResponse> {
        let (operation, items) = (suffered.operation.as_str(), suffered.items);
        let answer = match self {
            Self::Empty => response(200, suffered.page.clone()),
            Self::Failed | Self::Lost(Loss::Failed) => service_error(500, "InternalServerError", &json!({})),
            Self::Lost(Loss::Garbage) => response(200, "<html>It works!</html>".to_owned()),
            Self::Throttled(throttle) => {
                let code = match throttle {
                    Throttle::Table => "ProvisionedThroughputExceededException",
                    Throttle::Service => "ThrottlingException",
                    Throttle::Account => "RequestLimitExceeded",
                };
                service_error(400, code, &json!({}))
            }
            Self::Conflict if operation == "TransactWriteItems" => {
                let mut reasons = vec![json!({"Code": "None"}); items];
                reasons[0] = json!({"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"});
                let reasons = json!({"CancellationReasons": reasons});
                service_error(400, "TransactionCanceledException", &reasons)
            }
            Self::Conflict => service_error(400, "TransactionConflictException", &json!({})),
            Self::InProgress => service_error(400, "TransactionInProgressException", &json!({})),
            Self::Mismatch => service_error(400, "IdempotentParameterMismatchException", &json!({})),
            _ => return None,
        };
        Some(answer)
    }
}

fn service_error(status: u16, code: &str, more: &Value) -> HttpResponse {
    let mut body = more.clone();
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{code}"));
    body["message"] = json!("injected");
    body["Message"] = json!("injected");
    response(status, body.to_string())
}

fn response(status: u16, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    response
        .headers_mut()
        .insert("content-type", "application/x-amz-json-1.0");
    response
}
