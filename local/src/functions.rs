//! The list of all functions, which the stack serves, describes and invokes.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use futures::future::BoxFuture;
use shared::{
    App,
    event::{self, Deadline, EventError},
    telemetry,
};
use utoipa_axum::router::OpenApiRouter;

use crate::invoke;

/// A function that serves HTTP requests.
pub struct Function {
    /// The name that the crate, the binary and the template's function share.
    pub name: &'static str,
    /// The routes with their OpenAPI descriptions.
    pub routes: fn() -> OpenApiRouter<App>,
    /// The router of the deployed function.
    pub router: fn(App) -> Router,
}

macro_rules! functions {
    ($($name:ident),*) => {
        [$(Function {
            name: stringify!($name),
            routes: $name::routes,
            router: $name::router,
        }),*]
    };
}

/// Every function that serves HTTP requests.
pub const FUNCTIONS: [Function; 6] = functions![auth, invitations, members, sessions, usage, workspaces];

/// The HTTP function with this name.
fn find(name: &str) -> Option<&'static Function> {
    const { &FUNCTIONS }.iter().find(|function| function.name == name)
}

/// The future of an invocation.
type Invocation<'a> = BoxFuture<'a, Result<Vec<u8>, EventError>>;

/// A function that a trigger invokes: a queue, a schedule or an event bus.
pub(crate) struct Triggered {
    /// The name that the crate, the binary and the template's function share.
    pub(crate) name: &'static str,
    /// Invokes the function with a raw event.
    pub(crate) call: for<'a> fn(App, &'a [u8], Deadline) -> Invocation<'a>,
}

macro_rules! triggered {
    ($($name:literal $library:ident),*) => {
        [$(Triggered {
            name: $name,
            call: |app, event, deadline| Box::pin(event::call($library::handle, app.in_function($name), event, deadline)),
        }),*]
    };
}

/// Every function that a trigger invokes.
pub(crate) const TRIGGERED: [Triggered; 4] = triggered![
    "mail-events" mail_events,
    "mail-retry" mail_retry,
    "usage-aggregator" usage_aggregator,
    "usage-ingest" usage_ingest
];

/// Invokes the function with this name as Lambda does; `None` when the function does not exist.
pub async fn call(app: App, name: &str, event: &[u8]) -> Option<Result<Vec<u8>, EventError>> {
    if let Some(function) = find(name) {
        let service = shared::lambda::service((function.router)(app.in_function(name)));
        let response = invoke::http(service, event).await;
        return Some(response.map_err(|malformed| EventError::Malformed(malformed.to_string())));
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

/// How long an invocation by a trigger may take: the longest timeout of such a function in the template.
const CALL_MAX: Duration = Duration::from_secs(900);

/// The routes of all HTTP functions in one router. The log names the function of each route.
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
