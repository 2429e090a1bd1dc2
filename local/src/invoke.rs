//! Invokes an HTTP function as Lambda does: with a raw event, returning the raw response.

use lambda_http::{
    Adapter, Context, IntoResponse, LambdaEvent, Request, Service, request::LambdaRequest, tower::ServiceExt,
};
use tokio::{runtime::Handle, task::spawn_blocking};
use uuid::Uuid;

/// Error: the function does not accept the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event is not an HTTP API event of payload version 2.0")]
pub(crate) struct MalformedEvent;

/// Invokes an HTTP function with an API Gateway HTTP API event (payload version 2.0) and returns the JSON that Lambda
/// would pass to the gateway.
pub(crate) async fn http<S, R>(function: S, event: &[u8]) -> Result<Vec<u8>, MalformedEvent>
where
    S: Service<Request, Response = R> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: IntoResponse + Send + 'static,
{
    let payload: LambdaRequest = serde_json::from_slice(event).map_err(|_| MalformedEvent)?;
    let mut context = Context::default();
    context.request_id = Uuid::from_bytes(shared::ids::random_bytes()).to_string();
    let event = LambdaEvent::new(payload, context);
    // lambda_http's futures are not Send, and they panic if the event's path and host do not form a URL. A separate
    // thread runs such a future and contains the panic.
    let runtime = Handle::current();
    let response = spawn_blocking(move || runtime.block_on(Adapter::from(function).oneshot(event)).ok())
        .await
        .ok()
        .flatten()
        .ok_or(MalformedEvent)?;
    serde_json::to_vec(&response).map_err(|_| MalformedEvent)
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

    async fn call(event: &Value) -> Result<Value, MalformedEvent> {
        let echo = |uri: Uri, body: String| async move { format!("{} {body}", uri.path_and_query().unwrap()) };
        let router = Router::new().route("/echo", post(echo));
        let response = http(router, event.to_string().as_bytes()).await?;
        Ok(serde_json::from_slice(&response).unwrap())
    }

    #[tokio::test]
    async fn the_response_has_the_format_that_the_gateway_expects() {
        let response = call(&event("/echo")).await.unwrap();
        assert_eq!(response["statusCode"], 200);
        assert_eq!(response["body"], "/echo?a=b hello");
        assert_eq!(response["isBase64Encoded"], false);
        assert_eq!(call(&event("/other")).await.unwrap()["statusCode"], 404);
    }

    #[tokio::test]
    async fn a_body_that_is_not_an_http_event_is_rejected() {
        for event in [json!({}), json!([]), json!({"Records": []})] {
            assert_eq!(call(&event).await, Err(MalformedEvent), "{event}");
        }
    }

    #[tokio::test]
    async fn an_event_with_an_invalid_host_is_rejected() {
        let mut event = event("/echo");
        event["headers"]["host"] = json!("not a host");
        assert_eq!(call(&event).await, Err(MalformedEvent));
    }
}
