//! The caller's workspace: read, update, create, delete.

mod create;
mod wire;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use shared::auth::access::Caller;
use shared::error::refusal::{
    AlreadyDone, AlreadyInWorkspace, Forbidden, IdempotencyKeyReused, PreconditionFailed, Validation,
    WorkspaceNotEmpty, WorkspaceNotFound,
};
use shared::http::body::Payload;
use shared::http::idempotency::IdempotencyKeyHeader;
use shared::http::openapi::Refusals;
use shared::http::precondition::IfMatch;
use shared::http::wire::WorkspaceOut;
use shared::ids::random_bytes;
use shared::models::role::Action;
use shared::models::workspace::{ChangeId, Workspace, WorkspaceUpdate, slug_of};
use shared::operation::{IdempotencyHeader, perform};
use shared::store::invitation::CLEARED_MAX;
use shared::store::{Unproven, retry_on_conflict};
use shared::{App, Error};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use create::CreateWorkspace;
use wire::{WorkspaceCreateIn, WorkspaceDeletedOut, WorkspacePatchIn, WorkspacePutIn};

/// The routes of the function. The documented path ends in a slash; the path without the slash responds the same.
pub fn routes() -> OpenApiRouter<App> {
    let documented = routes!(
        get_workspace,
        put_workspace,
        patch_workspace,
        create_workspace,
        delete_workspace
    );
    let without_slash = documented.2.clone();
    OpenApiRouter::new()
        .routes(documented)
        .route("/api/v1/workspaces", without_slash)
}

/// The function as a router.
pub fn router(app: App) -> Router {
    shared::http::finish(routes(), app)
}

/// A workspace and its entity tag.
struct Tagged {
    tag: String,
    body: WorkspaceOut,
}

impl Tagged {
    fn new(workspace: &Workspace) -> Self {
        Self {
            tag: workspace.entity_tag(),
            body: workspace.into(),
        }
    }
}

impl IntoResponse for Tagged {
    fn into_response(self) -> Response {
        ([(ETAG, self.tag)], Json(self.body)).into_response()
    }
}

/// Returns the caller's workspace.
#[utoipa::path(
    get,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The workspace", body = WorkspaceOut, headers(("ETag" = String, description = "The version of this representation, for `If-Match`."))),
        Refusals<(WorkspaceNotFound,)>
    )
)]
async fn get_workspace(State(app): State<App>, caller: Caller) -> Result<Tagged, Error> {
    let access = app.authorize(&caller, Action::Read).await?;
    Ok(Tagged::new(access.workspace()))
}

/// Updates the workspace. `name` is required. An absent field keeps its value; null clears it.
#[utoipa::path(
    put,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    params(IfMatch),
    request_body = WorkspacePutIn,
    responses(
        (status = 200, description = "The workspace as it is now", body = WorkspaceOut, headers(("ETag" = String, description = "The version of this representation, for `If-Match`."))),
        Refusals<(Forbidden, PreconditionFailed, Validation, WorkspaceNotFound)>
    )
)]
async fn put_workspace(
    State(app): State<App>,
    caller: Caller,
    if_match: IfMatch,
    payload: Payload,
) -> Result<Tagged, Error> {
    update(&app, &caller, &if_match, || wire::parse_put(&payload)).await
}

/// Updates the workspace. An absent field keeps its value; null clears it.
#[utoipa::path(
    patch,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    params(IfMatch),
    request_body = WorkspacePatchIn,
    responses(
        (status = 200, description = "The workspace as it is now", body = WorkspaceOut, headers(("ETag" = String, description = "The version of this representation, for `If-Match`."))),
        Refusals<(Forbidden, PreconditionFailed, Validation, WorkspaceNotFound)>
    )
)]
async fn patch_workspace(
    State(app): State<App>,
    caller: Caller,
    if_match: IfMatch,
    payload: Payload,
) -> Result<Tagged, Error> {
    update(&app, &caller, &if_match, || wire::parse_patch(&payload)).await
}

async fn update(
    app: &App,
    caller: &Caller,
    if_match: &IfMatch,
    parse: impl Fn() -> Result<WorkspaceUpdate, Error>,
) -> Result<Tagged, Error> {
    let now = app.now();
    let change = ChangeId::new(random_bytes());
    retry_on_conflict(async || {
        let access = app.authorize(caller, Action::UpdateWorkspace).await?;
        let update = parse()?;
        let workspace = access.workspace();
        // An earlier attempt of this request was applied and its response was lost. The version changed because of it.
        if workspace.changes.contains(&change) {
            return Ok(Tagged::new(workspace));
        }
        if_match.check(&workspace.entity_tag())?;
        if update == WorkspaceUpdate::default() {
            return Ok(Tagged::new(workspace));
        }
        let updated = app.store.workspace_update(&access, &update, &change, now).await?;
        Ok(Tagged::new(&updated))
    })
    .await
}

/// Creates a workspace for a caller who has none. The caller becomes its owner.
#[utoipa::path(
    post,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    params(IdempotencyKeyHeader),
    request_body = WorkspaceCreateIn,
    responses(
        (status = 201, description = "The new workspace", body = WorkspaceOut, headers(("ETag" = String, description = "The version of this representation, for `If-Match`."))),
        Refusals<(AlreadyDone, AlreadyInWorkspace, IdempotencyKeyReused, Validation)>
    )
)]
async fn create_workspace(
    State(app): State<App>,
    caller: Caller,
    header: IdempotencyKeyHeader,
    payload: Payload,
) -> Result<(StatusCode, Tagged), Error> {
    let body = payload.parse::<WorkspaceCreateIn>();
    let operation = CreateWorkspace {
        app: &app,
        caller: &caller,
        slug_key: body.as_ref().ok().map(|body| Unproven::slug_key(&slug_of(&body.name))),
        body,
        idempotency: IdempotencyHeader::new(&caller, "create-workspace", &header, &payload.fingerprint()),
    };
    let workspace = perform(&app, &operation).await?;
    Ok((StatusCode::CREATED, Tagged::new(&workspace)))
}

/// Deletes the workspace of an owner who is its only member. Its pending invitations are revoked.
#[utoipa::path(
    delete,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    params(IfMatch),
    responses(
        (status = 200, description = "It is gone", body = WorkspaceDeletedOut),
        Refusals<(Forbidden, PreconditionFailed, WorkspaceNotEmpty, WorkspaceNotFound)>
    )
)]
async fn delete_workspace(
    State(app): State<App>,
    caller: Caller,
    if_match: IfMatch,
) -> Result<Json<WorkspaceDeletedOut>, Error> {
    let now = app.now();
    retry_on_conflict(async || {
        let access = app.authorize(&caller, Action::DeleteWorkspace).await?;
        let workspace = access.workspace();
        if workspace.member_count > 1 {
            return Err(Error::WorkspaceNotEmpty);
        }
        if_match.check(&workspace.entity_tag())?;
        let mut pending = Vec::new();
        if workspace.pending_count > 0 {
            pending = app.store.invitation_list(access.tenant()).await?;
        }
        if let Some(too_many) = pending.get(CLEARED_MAX..).filter(|rest| !rest.is_empty()) {
            // More than one transaction can hold. Clearing them changes the counter, so the rest is decided from a fresh read.
            app.store.invitation_clear(&access, too_many, now).await?;
            return Err(Error::Stale);
        }
        app.store.workspace_delete(&access, &pending, now).await?;
        Ok(Json(WorkspaceDeletedOut::NEW))
    })
    .await
}
