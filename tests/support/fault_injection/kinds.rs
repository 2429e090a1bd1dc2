//! The kinds of faults and their effect on an attempt.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::Injected;
use super::pages::Lag;
use super::proxies::ProxyMode;

/// The fault of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The connection is refused: nothing is sent.
    Refused,
    /// The attempt times out: nothing is applied and no response comes.
    TimedOut,
    /// The attempt is applied, and its response is delayed.
    Slow,
    /// The attempt is applied after it has timed out.
    Late,
    /// The attempt is applied immediately, and its response is lost.
    Lost(Loss),
    /// The service responds with 500; nothing is applied.
    Failed,
    /// The service throttles the attempt; nothing is applied.
    Throttled(Throttle),
    /// The write conflicts with another transaction; nothing is applied.
    Conflict,
    /// The service reports that a transaction of the same token is in progress; nothing is applied.
    InProgress,
    /// The service reports that the token was used for another transaction; nothing is applied.
    Mismatch,
    /// A batch's keys are left unprocessed.
    Unprocessed(Keys),
    /// The page of a query ends after this number of items.
    Short(i32),
    /// The page of a query ends before its first item.
    Empty,
    /// The index lags behind the table.
    Stale(Lag),
    /// A torn batch read: the partitions with this prefix are read as they were before their items existed.
    Overlooked(&'static str),
}

/// How a response is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// 500 replaces the response.
    Failed,
    /// 200 without JSON replaces the response.
    Garbage,
    /// The connection is cut.
    Cut,
    /// No response comes.
    TimedOut,
}

/// The error code of a throttle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Throttle {
    Table,
    Service,
    Account,
}

/// The affected keys of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keys {
    All,
    /// Every second key.
    Some,
    /// Keys whose partition has this prefix.
    Of(&'static str),
}

impl Fault {
    /// The name of the fault in counts.
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

    /// The proxy through which the request is sent instead of directly.
    pub(super) fn proxy_mode(self) -> Option<ProxyMode> {
        match self {
            Self::Refused => Some(ProxyMode::Closed),
            Self::TimedOut => Some(ProxyMode::Discard),
            Self::Slow => Some(ProxyMode::Slow),
            Self::Late => Some(ProxyMode::Late),
            Self::Lost(Loss::Cut) => Some(ProxyMode::Cut),
            Self::Lost(Loss::TimedOut) => Some(ProxyMode::WithholdResponse),
            _ => None,
        }
    }

    /// Whether the service must not apply the attempt.
    pub(super) fn refuses(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Throttled(_) | Self::Conflict | Self::InProgress | Self::Mismatch | Self::Empty
        )
    }

    /// The response that replaces the service's response.
    pub(super) fn replacement(self, injected_fault: &Injected) -> Option<HttpResponse> {
        let (operation, items) = (injected_fault.operation.as_str(), injected_fault.items);
        let response = match self {
            Self::Empty => response(200, injected_fault.page.clone()),
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
        Some(response)
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
