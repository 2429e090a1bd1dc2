//! The Lambda runtime: the only place that knows it.

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

/// How long warming up may take: Lambda gives a cold start 10 s.
const WARM_MAX: Duration = Duration::from_secs(4);

/// What a function's `main` ends with. Why it ended is in the log, as one line.
pub type Ended = ExitCode;

/// Runs an HTTP function: reads the environment, builds the app, warms up, serves. A fault of the environment ends the
/// cold start with one line that names it.
pub async fn serve(needs: RequiredSecrets, router: fn(App) -> Router) -> Ended {
    let Some(app) = cold_start(needs).await else {
        return Ended::FAILURE;
    };
    ended(lambda_http::run(service(router(app))).await)
}

/// Runs a function that a trigger calls. A call that fails is told to whoever called, who calls again: the trigger's
/// own retries and its dead-letter queue are the way on.
pub async fn serve_events<E, A, F>(needs: RequiredSecrets, handle: fn(App, E, Deadline) -> F) -> Ended
where
    E: DeserializeOwned,
    A: Serialize,
    F: Future<Output = Result<A, Error>>,
{
    let Some(app) = cold_start(needs).await else {
        return Ended::FAILURE;
    };
    let function = lambda_runtime::service_fn(async |call: LambdaEvent<Box<RawValue>>| {
        let deadline = deadline(&call.context, app.now());
        let answer = event::call(handle, app.clone(), call.payload.get().as_bytes(), deadline).await;
        let answer = answer.inspect_err(|error| tracing::error!(%error, "the call failed"))?;
        Ok::<_, lambda_http::Error>(RawValue::from_string(String::from_utf8(answer)?)?)
    });
    ended(lambda_runtime::run(function).await)
}

fn ended(result: Result<(), lambda_http::Error>) -> Ended {
    match result {
        Ok(()) => Ended::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime ended");
            Ended::FAILURE
        }
    }
}

/// When Lambda ends a call.
fn deadline(context: &Context, now: Time) -> Deadline {
    let end = Time::from_millis(i64::try_from(context.deadline).unwrap_or(i64::MAX));
    Deadline::after(end.since(now))
}

/// When a request has to be answered; none when nobody says when its call ends, as the local stack does not.
fn request_deadline(event: &lambda_http::Request) -> Option<Deadline> {
    let context = event.lambda_context_ref().filter(|context| context.deadline > 0)?;
    Some(deadline(context, Clock::system().now()).minus(RESPONSE_RESERVE))
}

/// The app, unless the log says why there is none.
async fn cold_start(needs: RequiredSecrets) -> Option<App> {
    init_logs();
    let config = Config::from_env()
        .inspect_err(|error| tracing::error!(%error, "cold start ended"))
        .ok()?;
    let app = App::start(config, Clock::system(), needs, None)
        .await
        .inspect_err(|error| tracing::error!(%error, "cold start ended"))
        .ok()?;
    if let Err(error) = Deadline::after(WARM_MAX).scope(app.warm()).await {
        tracing::warn!(%error, "warm-up failed; the first request tries again");
    }
    Some(app)
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

/// Logs as JSON lines to standard output, as CloudWatch reads them, panics too.
pub fn init_logs() {
    std::panic::set_hook(Box::new(log_panic));
    // Not `EnvFilter`: its regular expressions are a tenth of a binary, and nothing sets it at run time.
    let filter = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_targets(["aws_smithy_runtime", "hyper"].map(|target| (target, LevelFilter::WARN)));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false);
    let ended = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    if ended.is_err() {
        tracing::debug!("logs were set up before");
    }
}

/// A panic as one line that says where it was. Not what it said: that may hold whatever was being worked on.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let (file, line) = panic
        .location()
        .map_or(("unknown", 0), |location| (location.file(), location.line()));
    tracing::error!(file, line, "panicked");
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_request_has_what_lambda_gives_it_but_a_second() {
        let left = |request: Request| async move {
            let left = request
                .extensions()
                .get::<Deadline>()
                .map(|deadline| deadline.remaining());
            left.map_or_else(|| "nobody says".to_owned(), |left| left.as_millis().to_string())
        };
        let answer = async |deadline: u64| {
            let mut context = Context::default();
            context.deadline = deadline;
            let event = lambda_http::Request::default().with_lambda_context(context);
            let router = Router::new().fallback(left);
            let response = tower::ServiceExt::oneshot(service(router), event).await.unwrap();
            let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
            String::from_utf8(body.to_vec()).unwrap()
        };
        assert_eq!(answer(0).await, "nobody says");
        let now = u64::try_from(Clock::system().now().as_millis()).unwrap();
        assert_eq!(answer(now - 1).await, "0");
        let left: u64 = answer(now + 10_000).await.parse().unwrap();
        assert!((5_000..=9_000).contains(&left), "{left}");
    }

    #[test]
    fn a_panic_is_one_line_that_says_where_and_not_what() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        // The hook is the whole process's: panics of other tests still say what failed.
        let (others, here) = (take_hook(), std::thread::current().id());
        set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here {
                log_panic(panic);
            } else {
                others(panic);
            }
        }));
        let caught =
            tracing::subscriber::with_default(subscriber, || catch_unwind(|| panic!("the password is hunter2")));
        let _ = take_hook();
        assert!(caught.is_err());
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["level"], &line["message"]),
            (&"ERROR".into(), &"panicked".into())
        );
        assert_eq!(line["file"], file!());
        assert!(line["line"].as_u64().is_some_and(|line| line > 0));
    }
}
