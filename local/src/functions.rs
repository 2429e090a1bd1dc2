//! The functions, one line each: what the stack serves, describes and invokes.

use axum::Router;
use shared::{App, http::openapi::Errors};
use utoipa_axum::router::OpenApiRouter;

/// A function that answers HTTP requests.
pub(crate) struct Function {
    /// Its name, which its crate, its binary and the template's function share.
    pub(crate) name: &'static str,
    /// Its routes with their descriptions.
    pub(crate) routes: fn() -> OpenApiRouter<App>,
    /// The router it is deployed with.
    pub(crate) router: fn(App) -> Router,
    /// The error codes particular to its operations.
    pub(crate) errors: &'static Errors,
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
pub(crate) const FUNCTIONS: [Function; 6] = functions![auth, invitations, members, sessions, usage, workspaces];

/// The function of this name.
pub(crate) fn named(name: &str) -> Option<&'static Function> {
    const { &FUNCTIONS }.iter().find(|function| function.name == name)
}

/// The routes of all functions as one.
pub(crate) fn routes() -> OpenApiRouter<App> {
    FUNCTIONS
        .iter()
        .fold(OpenApiRouter::new(), |all, function| all.merge((function.routes)()))
}
