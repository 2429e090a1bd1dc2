//! Greets the caller in the name of their workspace.

use axum::extract::State;
use axum::{Json, Router};
use serde::Serialize;
use shared::auth::access::Caller;
use shared::error::refusal::WorkspaceNotFound;
use shared::http::openapi::Refusals;
use shared::models::role::Action;
use shared::{App, Error};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes of the function.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_greeting))
}

/// The function as a router.
pub fn router(app: App) -> Router {
    shared::http::finish(routes(), app)
}

/// Greets the caller.
#[utoipa::path(
    get,
    path = "/api/v1/workspaces/greeting",
    tag = "workspaces",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The greeting", body = GreetingOut),
        Refusals<(WorkspaceNotFound,)>
    )
)]
async fn get_greeting(State(app): State<App>, caller: Caller) -> Result<Json<GreetingOut>, Error> {
    let access = app.authorize(&caller, Action::Read).await?;
    Ok(Json(GreetingOut {
        greeting: format!("Welcome to {}.", access.workspace().name.as_str()),
    }))
}

/// A greeting.
#[derive(Debug, Serialize, ToSchema)]
struct GreetingOut {
    /// A sentence for people.
    greeting: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_names_its_error() {
        let document = shared::http::openapi::complete(routes().into_openapi());
        let document = serde_json::to_value(document).unwrap();
        let responses = &document["paths"]["/api/v1/workspaces/greeting"]["get"]["responses"];
        assert_eq!(responses["404"]["x-error-codes"][0], "WORKSPACE_NOT_FOUND");
    }

    #[test]
    fn contributing_quotes_this_example() {
        let page = include_str!("../../../../CONTRIBUTING.md");
        let source = include_str!("lib.rs");
        let (example, _) = source.split_once("\n#[cfg(test)]").unwrap();
        assert!(
            page.contains(example.trim_end()),
            "copy src/lib.rs into CONTRIBUTING.md"
        );
    }
}
