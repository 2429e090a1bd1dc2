//! Members of the caller's workspace: list, change roles, remove.

mod wire;

use axum::extract::State;
use axum::{Json, Router};
use shared::auth::access::{Access, Caller};
use shared::error::refusal::{
    Forbidden, InvalidRole, LastOwnerDemotion, LastOwnerRemoval, MemberNotFound, Validation, WorkspaceNotFound,
};
use shared::http::body::Payload;
use shared::http::openapi::Refusals;
use shared::http::page::PageIn;
use shared::http::path::Id;
use shared::http::query::Params;
use shared::ids::UserId;
use shared::models::role::{Action, MembershipRefusal, Role, RoleChange, change_role, remove_member};
use shared::store::cursor::{self, List};
use shared::store::member::{Target, position};
use shared::store::retry_on_conflict;
use shared::{App, Error};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use wire::{MemberChangedOut, MembersOut, PAGES, RoleIn};

/// The routes of the function.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_members))
        .routes(routes!(change_member_role, remove_workspace_member))
}

/// The function as a router.
pub fn router(app: App) -> Router {
    shared::http::finish(routes(), app)
}

/// Lists the members of the workspace in the order in which they joined, at most 500 in a response.
#[utoipa::path(
    get,
    path = "/api/v1/workspaces/members",
    tag = "members",
    security(("bearer" = [])),
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "The largest number of members in the response; 500 by default"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the previous response")
    ),
    responses(
        (status = 200, description = "Members", body = MembersOut),
        Refusals<(Validation, WorkspaceNotFound)>
    )
)]
async fn list_members(State(app): State<App>, caller: Caller, params: Params) -> Result<Json<MembersOut>, Error> {
    let asked = match PageIn::parse(&params, &PAGES) {
        Ok(asked) => asked,
        Err(refused) => {
            app.authorize(&caller, Action::Read).await?;
            return Err(refused);
        }
    };
    let (access, _, page) = app
        .authorize_and_read(
            &caller,
            Action::Read,
            |_| Vec::new(),
            |tenant| Box::pin(app.store.member_page(tenant, asked.claimed_position(), asked.limit)),
        )
        .await?;
    let workspace = access.workspace();
    asked.position(workspace)?;
    let next_cursor = match page.members.last() {
        Some(last) if page.more => Some(cursor::seal(workspace, List::Members, position(last))?),
        _ => None,
    };
    Ok(Json(MembersOut {
        members: page.members.into_iter().map(Into::into).collect(),
        total: workspace.member_count,
        truncated: page.more,
        next_cursor,
    }))
}

/// Changes the role of a member. A downgrade ends all sessions of the member. Setting the current role changes nothing.
#[utoipa::path(
    patch,
    path = "/api/v1/workspaces/members/{user_id}",
    tag = "members",
    security(("bearer" = [])),
    params(("user_id" = String, Path, format = "uuid", description = "The member")),
    request_body = RoleIn,
    responses(
        (status = 200, description = "The member has the role", body = MemberChangedOut),
        Refusals<(Forbidden, InvalidRole, LastOwnerDemotion, MemberNotFound, Validation, WorkspaceNotFound)>
    )
)]
async fn change_member_role(
    State(app): State<App>,
    caller: Caller,
    Id(user_id): Id,
    payload: Payload,
) -> Result<Json<MemberChangedOut>, Error> {
    let now = app.now();
    retry_on_conflict(async || {
        let (access, target) = authorize_on(&app, &caller, &user_id).await?;
        let RoleIn { role } = payload.parse()?;
        let target = target.ok_or(Error::MemberNotFound)?;
        let (actor, from) = (access.membership().role, target.membership.role);
        if !actor.may_manage(from) {
            return Err(Error::Forbidden);
        }
        let to: Role = role.parse().map_err(|_| Error::InvalidRole)?;
        let change = change_role(actor, from, to, access.workspace().owner_count)
            .map_err(|refusal| refused(refusal, Error::LastOwnerDemotion))?;
        if change != RoleChange::None {
            app.store.member_change_role(&access, &target, to, change, now).await?;
        }
        Ok(Json(MemberChangedOut::changed(target.user.id, to, change)))
    })
    .await
}

/// Removes a member and ends all sessions of the member.
#[utoipa::path(
    delete,
    path = "/api/v1/workspaces/members/{user_id}",
    tag = "members",
    security(("bearer" = [])),
    params(("user_id" = String, Path, format = "uuid", description = "The member")),
    responses(
        (status = 200, description = "They are no member any more", body = MemberChangedOut),
        Refusals<(Forbidden, LastOwnerRemoval, MemberNotFound, WorkspaceNotFound)>
    )
)]
async fn remove_workspace_member(
    State(app): State<App>,
    caller: Caller,
    Id(user_id): Id,
) -> Result<Json<MemberChangedOut>, Error> {
    let now = app.now();
    retry_on_conflict(async || {
        let (access, target) = authorize_on(&app, &caller, &user_id).await?;
        let target = target.ok_or(Error::MemberNotFound)?;
        let (actor, role) = (access.membership().role, target.membership.role);
        remove_member(actor, role, access.workspace().owner_count)
            .map_err(|refusal| refused(refusal, Error::LastOwnerRemoval))?;
        app.store.member_remove(&access, &target, now).await?;
        Ok(Json(MemberChangedOut::removed(target.user.id)))
    })
    .await
}

/// Proves that the caller may manage members, and reads the member `user_id` in the same round trip; none when the
/// workspace has no such member.
async fn authorize_on(app: &App, caller: &Caller, user_id: &str) -> Result<(Access, Option<Target>), Error> {
    let user_id = user_id.parse::<UserId>().ok();
    let (access, items) = app
        .authorize_with(caller, Action::ManageMembers, |tenant| {
            user_id.map(|id| Target::key(tenant, id)).into_iter().collect()
        })
        .await?;
    let target = match user_id {
        Some(id) => Target::of(&access, &items, id)?,
        None => None,
    };
    Ok((access, target))
}

fn refused(refusal: MembershipRefusal, last_owner: Error) -> Error {
    match refusal {
        MembershipRefusal::Rank => Error::Forbidden,
        MembershipRefusal::LastOwner => last_owner,
    }
}
