//! The caller's workspace: read, update, create, delete.

mod wire;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use shared::auth::access::Caller;
use shared::http::body::Payload;
use shared::http::wire::WorkspaceOut;
use shared::models::role::Action;
use shared::models::workspace::{WorkspaceUpdate, slug_of};
use shared::store::workspace::draft;
use shared::store::{Key, settle};
use shared::{App, Code, Error};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use wire::{WorkspaceDeleted, WorkspaceNew, WorkspacePatch, WorkspacePut};

/// The codes particular to each operation.
pub const ERRORS: &[(&str, &str, &[Code])] = &[
    ("get", "/api/v1/workspaces/", &[Code::WorkspaceNotFound]),
    (
        "put",
        "/api/v1/workspaces/",
        &[Code::Forbidden, Code::WorkspaceNotFound, Code::ValidationError],
    ),
    (
        "patch",
        "/api/v1/workspaces/",
        &[Code::Forbidden, Code::WorkspaceNotFound, Code::ValidationError],
    ),
    (
        "post",
        "/api/v1/workspaces/",
        &[Code::AlreadyInWorkspace, Code::ValidationError],
    ),
    (
        "delete",
        "/api/v1/workspaces/",
        &[Code::Forbidden, Code::WorkspaceNotEmpty, Code::WorkspaceNotFound],
    ),
];

/// The function's routes. The documented path ends in a slash; the one without answers the same.
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

/// The caller's workspace.
#[utoipa::path(
    get,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    responses((status = 200, description = "The workspace", body = WorkspaceOut))
)]
async fn get_workspace(State(app): State<App>, caller: Caller) -> Result<Json<WorkspaceOut>, Error> {
    let access = app.authorize(&caller, Action::Read).await?;
    Ok(Json(access.workspace().into()))
}

/// Updates the workspace. `name` is required; an absent field keeps its value, null clears it.
#[utoipa::path(
    put,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    request_body = WorkspacePut,
    responses((status = 200, description = "The workspace as it is now", body = WorkspaceOut))
)]
async fn put_workspace(State(app): State<App>, caller: Caller, payload: Payload) -> Result<Json<WorkspaceOut>, Error> {
    update(&app, &caller, || wire::parse_put(&payload)).await
}

/// Updates the workspace. An absent field keeps its value, null clears it.
#[utoipa::path(
    patch,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    request_body = WorkspacePatch,
    responses((status = 200, description = "The workspace as it is now", body = WorkspaceOut))
)]
async fn patch_workspace(
    State(app): State<App>,
    caller: Caller,
    payload: Payload,
) -> Result<Json<WorkspaceOut>, Error> {
    update(&app, &caller, || wire::parse_patch(&payload)).await
}

async fn update(
    app: &App,
    caller: &Caller,
    parse: impl Fn() -> Result<WorkspaceUpdate, Error>,
) -> Result<Json<WorkspaceOut>, Error> {
    let now = app.now();
    settle(async || {
        let access = app.authorize(caller, Action::UpdateWorkspace).await?;
        let update = parse()?;
        if update == WorkspaceUpdate::default() {
            return Ok(Json(access.workspace().into()));
        }
        let workspace = app.store.workspace_update(&access, &update, now).await?;
        Ok(Json((&workspace).into()))
    })
    .await
}

/// Makes a workspace; the caller, who is in none, becomes its owner.
#[utoipa::path(
    post,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    request_body = WorkspaceNew,
    responses((status = 201, description = "The new workspace", body = WorkspaceOut))
)]
async fn create_workspace(
    State(app): State<App>,
    caller: Caller,
    payload: Payload,
) -> Result<(StatusCode, Json<WorkspaceOut>), Error> {
    let now = app.now();
    let new = payload.parse::<WorkspaceNew>();
    let slug = new.as_ref().ok().map(|new| slug_of(&new.name));
    let slug_key: Vec<Key> = slug.iter().map(|slug| Key::slug(slug)).collect();
    settle(async || {
        let (identity, items) = app.identify(&caller, &slug_key).await?;
        let new = new.as_ref().map_err(Clone::clone)?;
        if identity.workspace().is_some() {
            return Err(Error::AlreadyInWorkspace);
        }
        let slug_taken = slug_key.iter().any(|key| items.contains(key));
        let workspace = draft(new.name.clone(), slug_taken, now);
        app.store.workspace_found(identity.user(), &workspace, now).await?;
        Ok((StatusCode::CREATED, Json((&workspace).into())))
    })
    .await
}

/// Deletes the workspace of an owner who is its only member. Its pending invitations lapse.
#[utoipa::path(
    delete,
    path = "/api/v1/workspaces/",
    tag = "workspaces",
    security(("bearer" = [])),
    responses((status = 200, description = "It is gone", body = WorkspaceDeleted))
)]
async fn delete_workspace(State(app): State<App>, caller: Caller) -> Result<Json<WorkspaceDeleted>, Error> {
    let now = app.now();
    settle(async || {
        let access = app.authorize(&caller, Action::DeleteWorkspace).await?;
        let workspace = access.workspace();
        if workspace.member_count > 1 {
            return Err(Error::WorkspaceNotEmpty);
        }
        if workspace.pending_count > 0 {
            let pending = app.store.invitation_list(access.tenant()).await?;
            app.store.invitation_clear(&access, &pending, now).await?;
            // The counter moved with them: whether the workspace is empty now takes another look.
            return Err(Error::Stale);
        }
        app.store.workspace_delete(&access, now).await?;
        Ok(Json(WorkspaceDeleted::NEW))
    })
    .await
}
