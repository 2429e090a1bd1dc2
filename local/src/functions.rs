//! The functions, one line each: what the stack serves, describes and invokes.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use futures::future::BoxFuture;
use shared::{
    App,
    event::{self, Deadline, EventError},
    http::openapi::Errors,
    telemetry,
};
use utoipa_axum::router::OpenApiRouter;

use crate::invoke;

/// A function that answers HTTP requests.
pub struct Function {
    /// Its name, which its crate, its binary and the template's function share.
    pub name: &'static str,
    /// Its routes with their descriptions.
    pub routes: fn() -> OpenApiRouter<App>,
    /// The router it is deployed with.
    pub router: fn(App) -> Router,
    /// The error codes particular to its operations.
    pub errors: &'static Errors,
}

macro_rules! functions {
    ($($name:ident),*) => {
        [$(Function {
            name: stringify!($name),
            routes: $name::routes,
            router: $name::router,
            errors: $name::ERRORS,
        }),*]
    };
}

/// Every function that answers HTTP requests.
pub const FUNCTIONS: [Function; 6] = functions![auth, invitations, members, sessions, usage, workspaces];

/// The HTTP function of this name.
fn named(name: &str) -> Option<&'static Function> {
    const { &FUNCTIONS }.iter().find(|function| function.name == name)
}

/// A call that is under way.
type Calling<'a> = BoxFuture<'a, Result<Vec<u8>, EventError>>;

/// A function that a trigger calls: a queue, a schedule, an event bus.
pub(crate) struct Triggered {
    /// Its name, which its crate, its binary and the template's function share.
    pub(crate) name: &'static str,
    /// Calls it with a raw event.
    pub(crate) call: for<'a> fn(App, &'a [u8], Deadline) -> Calling<'a>,
}

macro_rules! triggered {
    ($($name:literal $library:ident),*) => {
        [$(Triggered {
            name: $name,
            call: |app, event, deadline| Box::pin(event::call($library::handle, app.in_function($name), event, deadline)),
        }),*]
    };
}

/// Every function that a trigger calls.
pub(crate) const TRIGGERED: [Triggered; 4] = triggered![
    "mail-events" mail_events,
    "mail-retry" mail_retry,
    "usage-aggregator" usage_aggregator,
    "usage-ingest" usage_ingest
];

/// Calls the function of this name as Lambda does; none when there is no such function.
pub async fn call(app: App, name: &str, event: &[u8]) -> Option<Result<Vec<u8>, EventError>> {
    if let Some(function) = named(name) {
        let service = shared::lambda::service((function.router)(app.in_function(name)));
        let answer = invoke::http(service, event).await;
        return Some(answer.map_err(|malformed| EventError::Malformed(malformed.to_string())));
    }
    let function = const { &TRIGGERED }.iter().find(|function| function.name == name)?;
    Some((function.call)(app, event, Deadline::after(CALL_MAX)).await)
}

/// The names of all functions.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let triggered = TRIGGERED.map(|function| function.name);
    FUNCTIONS
        .map(|function| function.name)
        .into_iter()
        .chain(triggered)
        .collect()
}

/// How long a call by a trigger may take: what the template gives the longest of them.
const CALL_MAX: Duration = Duration::from_secs(900);

/// The routes of all functions as one router. The log names the function of each route.
pub(crate) fn routes() -> OpenApiRouter<App> {
    FUNCTIONS.iter().fold(OpenApiRouter::new(), |all, function| {
        let name = function.name;
        let named = middleware::from_fn(async move |request: Request, next: Next| {
            telemetry::record_function(name);
            next.run(request).await
        });
        all.merge((function.routes)().route_layer(named))
    })
}
