//! Calling a function as Lambda does: a raw event in, what the function answers out.

use lambda_http::{
    Adapter, Context, IntoResponse, LambdaEvent, Request, Service, request::LambdaRequest, tower::ServiceExt,
};
use tokio::{runtime::Handle, task::spawn_blocking};
use uuid::Uuid;

/// The event is none that the function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event is no HTTP API event of payload version 2.0")]
pub(crate) struct Malformed;

/// Calls an HTTP function with an API Gateway HTTP API event (payload version 2.0) and answers the JSON that Lambda
/// would hand to the gateway.
pub(crate) async fn http<S, R>(function: S, event: &[u8]) -> Result<Vec<u8>, Malformed>
where
    S: Service<Request, Response = R> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: IntoResponse + Send + 'static,
{
    let payload: LambdaRequest = serde_json::from_slice(event).map_err(|_| Malformed)?;
    let mut context = Context::default();
    context.request_id = Uuid::from_bytes(shared::ids::random_bytes()).to_string();
    let event = LambdaEvent::new(payload, context);
    // lambda_http's futures stay on one thread, as Lambda's runtime does, and panic on an event whose path or host make
    // no URL: a thread of its own holds the one and contains the other.
    let runtime = Handle::current();
    let answer = spawn_blocking(move || runtime.block_on(Adapter::from(function).oneshot(event)).ok())
        .await
        .ok()
        .flatten()
        .ok_or(Malformed)?;
    serde_json::to_vec(&answer).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::Uri, routing::post};
    use serde_json::{Value, json};

    use super::*;

    fn event(path: &str) -> Value {
        json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": "a=b",
            "headers": {"content-type": "text/plain", "host": "api.example.com"},
            "requestContext": {
                "accountId": "000000000000", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
                "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"},
                "requestId": "r", "routeKey": "$default", "stage": "$default",
                "time": "01/Oct/2025:08:00:00 +0000", "timeEpoch": 1_759_305_600_000_u64
            },
            "body": "aGVsbG8=",
            "isBase64Encoded": true
        })
    }

    async fn call(event: &Value) -> Result<Value, Malformed> {
        let echo = |uri: Uri, body: String| async move { format!("{} {body}", uri.path_and_query().unwrap()) };
        let router = Router::new().route("/echo", post(echo));
        let answer = http(router, event.to_string().as_bytes()).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    #[tokio::test]
    async fn the_answer_is_what_lambda_hands_to_the_gateway() {
        let answer = call(&event("/echo")).await.unwrap();
        assert_eq!(answer["statusCode"], 200);
        assert_eq!(answer["body"], "/echo?a=b hello");
        assert_eq!(answer["isBase64Encoded"], false);
        assert_eq!(call(&event("/other")).await.unwrap()["statusCode"], 404);
    }

    #[tokio::test]
    async fn what_is_no_event_is_refused() {
        for event in [json!({}), json!([]), json!({"Records": []})] {
            assert_eq!(call(&event).await, Err(Malformed), "{event}");
        }
    }

    #[tokio::test]
    async fn an_event_whose_path_makes_no_url_is_refused() {
        let mut event = event("/echo");
        event["headers"]["host"] = json!("not a host");
        assert_eq!(call(&event).await, Err(Malformed));
    }
}
