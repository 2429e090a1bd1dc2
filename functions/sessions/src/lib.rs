//! The route that ends all sessions of the caller's workspace.

use axum::extract::State;
use axum::{Json, Router};
use serde::Serialize;
use shared::auth::access::{Caller, Tenant};
use shared::clock::Time;
use shared::error::refusal::{Forbidden, RateLimited, WorkspaceNotFound};
use shared::http::openapi::Refusals;
use shared::ids::WorkspaceId;
use shared::models::limit::Rule;
use shared::models::role::Action;
use shared::models::user::{Membership, Session};
use shared::models::workspace::Workspace;
use shared::store::limit::Limit;
use shared::store::retry_on_conflict;
use shared::store::workspace::SESSIONS_COUNTED_MAX;
use shared::{App, Error};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The function's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(revoke_all_sessions))
}

/// The function as a router.
pub fn router(app: App) -> Router {
    shared::http::finish(routes(), app)
}

/// Ends all sessions of all members, the caller's included. At most once a minute.
#[utoipa::path(
    post,
    path = "/api/v1/workspaces/revoke-all-sessions",
    tag = "sessions",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "Every member has to log in again", body = RevokeAllOut),
        Refusals<(Forbidden, RateLimited, WorkspaceNotFound)>
    )
)]
async fn revoke_all_sessions(State(app): State<App>, caller: Caller) -> Result<Json<RevokeAllOut>, Error> {
    let now = app.now();
    retry_on_conflict(async || {
        let (access, items, sessions) = app
            .authorize_and_read(
                &caller,
                Action::RevokeSessions,
                |tenant| vec![limit(tenant).key()],
                |tenant| Box::pin(app.store.sessions_of(tenant)),
            )
            .await?;
        let slot = limit(access.tenant()).slot(&items, now)?;
        app.store.sessions_revoke(&access, &slot).await?;
        Ok(Json(RevokeAllOut {
            message: "All sessions of the workspace have been ended.",
            members_affected: access.workspace().member_count,
            sessions_revoked: count_active(&sessions, access.workspace(), now),
            workspace_id: access.workspace().id,
        }))
    })
    .await
}

fn limit(tenant: Tenant) -> Limit {
    Limit::new(Rule::REVOKE_ALL, &tenant.workspace_id())
}

/// The number of `sessions` that have neither expired nor been revoked, up to [`SESSIONS_COUNTED_MAX`].
fn count_active(sessions: &[(Membership, Session)], workspace: &Workspace, now: Time) -> usize {
    let active = sessions
        .iter()
        .filter(|(membership, session)| session.expires_at > now && !session.is_revoked(membership, workspace.epoch));
    active.take(SESSIONS_COUNTED_MAX).count()
}

/// The result of ending all sessions.
#[derive(Debug, Serialize, ToSchema)]
struct RevokeAllOut {
    /// A message for people.
    message: &'static str,
    /// The number of members. All of them have to log in again.
    members_affected: u64,
    /// The number of sessions that were ended, counted up to 10,000.
    sessions_revoked: usize,
    /// The workspace's id.
    #[schema(value_type = String, format = "uuid")]
    workspace_id: WorkspaceId,
}
