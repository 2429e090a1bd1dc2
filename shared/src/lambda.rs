//! The Lambda runtime. No other module uses it.

use std::convert::Infallible;
use std::future::Future;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;
use lambda_runtime::{Context, LambdaEvent};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tower::util::BoxCloneService;
use tracing::Instrument;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::app::{App, RequiredSecrets};
use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::deadline::{Deadline, RESPONSE_RESERVE};
use crate::error::Error;
use crate::event;
use crate::http::gateway::Gateway;
use crate::telemetry::{self, JsonLines};

/// The time that the warm-up may take. Lambda gives a cold start 10 s.
const WARM_MAX: Duration = Duration::from_secs(4);

/// Runs an HTTP function: reads the environment, builds the app, warms up, and serves requests. An error ends the cold
/// start with one log line that names the cause.
pub async fn serve(secrets: RequiredSecrets, router: fn(App) -> Router) -> ExitCode {
    let Some(app) = cold_start(secrets).await else {
        return ExitCode::FAILURE;
    };
    exit_code(lambda_http::run(service(router(app))).await)
}

/// Runs a function that a trigger calls. The error of a failed call is returned to the trigger, whose retries and
/// dead-letter queue handle it.
pub async fn serve_events<E, A, F>(secrets: RequiredSecrets, handle: fn(App, E, Deadline) -> F) -> ExitCode
where
    E: DeserializeOwned,
    A: Serialize,
    F: Future<Output = Result<A, Error>>,
{
    let Some(app) = cold_start(secrets).await else {
        return ExitCode::FAILURE;
    };
    let function = lambda_runtime::service_fn(async |call: LambdaEvent<Box<RawValue>>| {
        let deadline = deadline(&call.context, app.now());
        let (id, payload) = (&call.context.request_id, call.payload.get().as_bytes());
        let response = event::call_with_id(id, handle, app.clone(), payload, deadline).await?;
        Ok::<_, lambda_http::Error>(RawValue::from_string(String::from_utf8(response)?)?)
    });
    exit_code(lambda_runtime::run(function).await)
}

fn exit_code(result: Result<(), lambda_http::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the Lambda runtime ended");
            ExitCode::FAILURE
        }
    }
}

/// The time at which Lambda ends a call.
fn deadline(context: &Context, now: Time) -> Deadline {
    let end = Time::from_millis(i64::try_from(context.deadline).unwrap_or(i64::MAX));
    Deadline::after(end.since(now))
}

/// The time by which a request needs a response; none without a deadline in the context, as on the local stack.
fn request_deadline(event: &lambda_http::Request) -> Option<Deadline> {
    let context = event.lambda_context_ref().filter(|context| context.deadline > 0)?;
    Some(deadline(context, Clock::system().now()).minus(RESPONSE_RESERVE))
}

/// Builds the app and warms it up. After an error there is no app, and the log has the cause.
async fn cold_start(secrets: RequiredSecrets) -> Option<App> {
    init_logs();
    let config = Config::from_env()
        .inspect_err(|error| tracing::error!(%error, "cold start ended"))
        .ok()?;
    let span = telemetry::cold_start_span(&config.function);
    let starting = async {
        let app = App::start(config, Clock::system(), secrets, None)
            .await
            .inspect_err(|error| tracing::error!(%error, "cold start ended"))
            .ok()?;
        if let Err(error) = Deadline::after(WARM_MAX).scope(app.warm()).await {
            tracing::warn!(%error, "warm-up failed; the first request loads the keys");
        }
        Some(app)
    };
    starting.instrument(span).await
}

/// The router as a service over Lambda's HTTP events.
#[must_use]
pub fn service(router: Router) -> BoxCloneService<lambda_http::Request, Response, Infallible> {
    BoxCloneService::new(tower::service_fn(move |event: lambda_http::Request| {
        let (gateway, deadline) = (gateway(&event), request_deadline(&event));
        let mut request: Request = event.map(|body| axum::body::Body::from(body.to_vec()));
        request.extensions_mut().insert(gateway);
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        tower::ServiceExt::oneshot(router.clone(), request)
    }))
}

/// What API Gateway reports about a request. No field comes from a header.
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

/// Logs events and panics as JSON lines to standard output, which Lambda sends to CloudWatch Logs.
pub fn init_logs() {
    std::panic::set_hook(Box::new(log_panic));
    // Not `EnvFilter`: its regular expressions are a tenth of a binary, and no deployment changes the filter.
    let filter = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_targets(["aws_smithy_runtime", "hyper"].map(|target| (target, LevelFilter::WARN)))
        // The runtime logs a returned error again, outside of the request's span. The text of a parse error may quote an
        // e-mail address of the event.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF);
    let lines = JsonLines::new(std::io::stdout);
    let initialized = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    if initialized.is_err() {
        tracing::debug!("logging is initialized already");
    }
}

/// Logs a panic as one line with its location. The line leaves out the panic's message, which may hold personal data.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let (file, line) = panic
        .location()
        .map_or(("unknown", 0), |location| (location.file(), location.line()));
    tracing::error!(file, line, "panicked");
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, set_hook, take_hook};

    use super::*;
    use crate::telemetry::tests::lines_of;

    #[tokio::test]
    async fn a_request_has_the_time_of_its_call_minus_the_reserve() {
        let left = |request: Request| async move {
            let left = request
                .extensions()
                .get::<Deadline>()
                .map(|deadline| deadline.remaining());
            left.map_or_else(|| "no deadline".to_owned(), |left| left.as_millis().to_string())
        };
        let remaining = async |deadline: u64| {
            let mut context = Context::default();
            context.deadline = deadline;
            let event = lambda_http::Request::default().with_lambda_context(context);
            let router = Router::new().fallback(left);
            let response = tower::ServiceExt::oneshot(service(router), event).await.unwrap();
            let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
            String::from_utf8(body.to_vec()).unwrap()
        };
        assert_eq!(remaining(0).await, "no deadline");
        let now = u64::try_from(Clock::system().now().as_millis()).unwrap();
        assert_eq!(remaining(now - 1).await, "0");
        let left: u64 = remaining(now + 10_000).await.parse().unwrap();
        assert!((5_000..=9_000).contains(&left), "{left}");
    }

    #[test]
    fn a_panic_is_one_line_with_its_location_and_without_its_message() {
        // The hook belongs to the process: panics of other tests still print what failed.
        let (others, here) = (take_hook(), std::thread::current().id());
        set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here {
                log_panic(panic);
            } else {
                others(panic);
            }
        }));
        let (lines, caught) = lines_of(|| catch_unwind(|| panic!("the password is hunter2")));
        let _ = take_hook();
        assert!(caught.is_err());
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(!line.to_string().contains("hunter2"), "{line}");
        assert_eq!(
            (&line["level"], &line["message"]),
            (&"ERROR".into(), &"panicked".into())
        );
        assert_eq!(line["file"], file!());
        assert!(line["line"].as_u64().is_some_and(|line| line > 0));
    }
}
