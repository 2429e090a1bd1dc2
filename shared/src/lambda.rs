//! The Lambda runtime: the only place that knows it.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;
use tower::util::BoxCloneService;

use crate::app::{App, Needs};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::gateway::Gateway;

/// What a function's `main` ends with.
pub type Ended = Result<(), lambda_http::Error>;

/// Runs an HTTP function: reads the environment, builds the app, warms up, serves. A fault of the environment ends the
/// cold start with one line that names it.
pub async fn serve(needs: Needs, router: fn(App) -> Router) -> Ended {
    init_logs();
    let config = Config::from_env().inspect_err(|error| tracing::error!(%error, "cold start ended"))?;
    let app = App::start(config, Clock::system(), needs, None)
        .await
        .inspect_err(|error| tracing::error!(%error, "cold start ended"))?;
    if let Err(error) = app.warm().await {
        tracing::warn!(%error, "warm-up failed; the first request tries again");
    }
    lambda_http::run(service(router(app))).await
}

/// The router as a service over Lambda's HTTP events.
#[must_use]
pub fn service(router: Router) -> BoxCloneService<lambda_http::Request, Response, Infallible> {
    BoxCloneService::new(tower::service_fn(move |event: lambda_http::Request| {
        let gateway = gateway(&event);
        let mut request: Request = event.map(|body| axum::body::Body::from(body.to_vec()));
        request.extensions_mut().insert(gateway);
        tower::ServiceExt::oneshot(router.clone(), request)
    }))
}

/// What API Gateway says of a request. Nothing of it comes from a header.
fn gateway(event: &lambda_http::Request) -> Gateway {
    let request_id = event.lambda_context_ref().map(|context| context.request_id.clone());
    let (source_ip, domain_name) = match event.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => (context.http.source_ip.clone(), context.domain_name.clone()),
        _ => (None, None),
    };
    Gateway {
        request_id: request_id.unwrap_or_default(),
        source_ip: source_ip.and_then(|ip| ip.parse().ok()),
        domain_name,
    }
}

/// Logs as JSON lines to standard output, as CloudWatch reads them.
pub fn init_logs() {
    let filter = tracing_subscriber::EnvFilter::new("info,aws_config=warn,aws_smithy_runtime=warn,hyper=warn");
    let ended = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .try_init();
    if ended.is_err() {
        tracing::debug!("logs were set up before");
    }
}
