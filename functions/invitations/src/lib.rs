//! Invitations to the caller's workspace: create, list, cancel, resend, extend.

mod create;
mod draft;
mod invitee;
mod replay;
mod resend;
mod wire;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use shared::auth::access::{Access, Caller};
use shared::error::refusal::{
    AlreadyDone, AlreadyMember, Forbidden, IdempotencyKeyReused, InvalidEmail, InvalidExpiry, InvalidRole,
    InvitationNotFound, InvitationRevoked, InvitationUsed, InviteeUnavailable, RateLimited, SelfInvite, TooManyPending,
    Validation, WorkspaceNotFound,
};
use shared::http::body::Payload;
use shared::http::gateway::Gateway;
use shared::http::idempotency::IdempotencyKeyHeader;
use shared::http::openapi::Refusals;
use shared::http::page::PageIn;
use shared::http::path::Id;
use shared::http::query::Params;
use shared::ids::InvitationId;
use shared::models::invitation::{InvitationState, Pending, Status, extend};
use shared::models::role::Action;
use shared::operation::{IdempotencyHeader, Operation, perform};
use shared::store::cursor::{self, List, Position};
use shared::store::invitation::{invitation_keys, invitation_take};
use shared::store::{Items, Key, retry_on_conflict};
use shared::{App, Error};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use create::CreateInvitation;
use wire::{
    ExpiryIn, InvitationCancelledOut, InvitationCreateIn, InvitationIssuedOut, InvitationOut, InvitationsOut, PAGES,
};

/// The routes of the function.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_invitation, list_invitations))
        .routes(routes!(cancel_invitation, extend_invitation))
        .routes(routes!(resend::resend_invitation))
}

/// The function as a router.
pub fn router(app: App) -> Router {
    shared::http::finish(routes(), app)
}

/// Invites a person by e-mail. An earlier pending invitation to the same e-mail address is revoked.
#[utoipa::path(
    post,
    path = "/api/v1/workspaces/invitations",
    tag = "invitations",
    security(("bearer" = [])),
    params(IdempotencyKeyHeader),
    request_body = InvitationCreateIn,
    responses(
        (status = 201, description = "The invitation", body = InvitationIssuedOut),
        Refusals<(
            AlreadyDone,
            AlreadyMember,
            Forbidden,
            IdempotencyKeyReused,
            InvalidEmail,
            InvalidRole,
            InviteeUnavailable,
            RateLimited,
            SelfInvite,
            TooManyPending,
            WorkspaceNotFound,
        )>
    )
)]
async fn create_invitation(
    State(app): State<App>,
    caller: Caller,
    gateway: Gateway,
    header: IdempotencyKeyHeader,
    payload: Payload,
) -> Result<(StatusCode, Json<InvitationIssuedOut>), Error> {
    let content = payload.fingerprint();
    let operation = CreateInvitation::new(
        &app,
        &caller,
        &gateway,
        payload.parse(),
        IdempotencyHeader::new(&caller, "create-invitation", &header, &content),
    );
    let outcome = perform(&app, &operation).await?;
    let response = outcome.respond(&app, &operation.idempotency().request).await?;
    Ok((StatusCode::CREATED, Json(response)))
}

/// Lists the pending invitations of the workspace, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/workspaces/invitations",
    tag = "invitations",
    security(("bearer" = [])),
    params(
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 100, description = "The largest number of invitations in the response; 100 by default"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the previous response"),
        ("before" = Option<String>, Query, description = "Another name for `cursor`"),
        ("offset" = Option<usize>, Query, minimum = 0, maximum = 1_000_000, description = "Invitations to skip"),
    ),
    responses(
        (status = 200, description = "The invitations", body = InvitationsOut),
        Refusals<(Forbidden, Validation, WorkspaceNotFound)>
    )
)]
async fn list_invitations(
    State(app): State<App>,
    caller: Caller,
    params: Params,
) -> Result<Json<InvitationsOut>, Error> {
    let (access, _, mut rows) = app
        .authorize_and_read(
            &caller,
            Action::ManageInvitations,
            |_| Vec::new(),
            |tenant| Box::pin(app.store.invitation_list(tenant)),
        )
        .await?;
    let page = PageIn::parse(&params, &PAGES)?;
    let workspace = access.workspace();
    let position = page.position(workspace)?;
    let now = app.now();
    rows.retain(|row| row.status(now) == Status::Pending);
    let total = rows.len();
    // The list is in descending order, so the rows after a position have smaller ids.
    rows.retain(|row| position.is_none_or(|position| *row.id.as_bytes() < position.id));
    let behind = rows.len().saturating_sub(page.offset);
    let shown: Vec<Pending> = rows.into_iter().skip(page.offset).take(page.limit).collect();
    let next_cursor = match shown.last() {
        Some(last) if behind > shown.len() => {
            let position = Position {
                at: last.created_at,
                id: *last.id.as_bytes(),
            };
            Some(cursor::seal(workspace, List::Invitations, position)?)
        }
        _ => None,
    };
    let invitations = shown.into_iter().map(|row| InvitationOut::new(row, now)).collect();
    Ok(Json(InvitationsOut {
        invitations,
        total,
        next_cursor,
    }))
}

/// Cancels a pending or expired invitation. Its link stops working.
#[utoipa::path(
    delete,
    path = "/api/v1/workspaces/invitations/{id}",
    tag = "invitations",
    security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid", description = "The invitation")),
    responses(
        (status = 200, description = "It is cancelled", body = InvitationCancelledOut),
        Refusals<(Forbidden, InvitationNotFound, InvitationRevoked, InvitationUsed, WorkspaceNotFound)>
    )
)]
async fn cancel_invitation(
    State(app): State<App>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<InvitationCancelledOut>, Error> {
    let id = id.parse().ok();
    retry_on_conflict(async || {
        let (access, mut items) = authorize(&app, &caller, id, &[]).await?;
        let invited = target(&access, &mut items, id)?;
        invited.open()?;
        app.store
            .invitation_cancel(&access, &invited.invitation, app.now())
            .await?;
        Ok(Json(InvitationCancelledOut {
            message: "The invitation is cancelled.",
            id: invited.invitation.id,
            status: Status::Revoked,
        }))
    })
    .await
}

/// Changes the expiry of a pending or expired invitation. The link stays the same, and no mail is sent.
#[utoipa::path(
    patch,
    path = "/api/v1/workspaces/invitations/{id}",
    tag = "invitations",
    security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid", description = "The invitation")),
    request_body = ExpiryIn,
    responses(
        (status = 200, description = "The invitation as it is now", body = InvitationOut),
        Refusals<(Forbidden, InvalidExpiry, InvitationNotFound, InvitationRevoked, InvitationUsed, WorkspaceNotFound)>
    )
)]
async fn extend_invitation(
    State(app): State<App>,
    caller: Caller,
    Id(id): Id,
    payload: Payload,
) -> Result<Json<InvitationOut>, Error> {
    let id = id.parse().ok();
    retry_on_conflict(async || {
        let now = app.now();
        let (access, mut items) = authorize(&app, &caller, id, &[]).await?;
        let ExpiryIn { expires_at } = payload.parse()?;
        let invited = target(&access, &mut items, id)?;
        extend(expires_at, now)?;
        let pending = invited.open()?;
        let pending = app.store.invitation_extend(&access, pending, expires_at).await?;
        Ok(Json(InvitationOut::new(pending, now)))
    })
    .await
}

/// Proves that the caller may manage invitations, and reads the invitation `id` and the items of `keys` in the same call.
async fn authorize(
    app: &App,
    caller: &Caller,
    id: Option<InvitationId>,
    keys: &[Key],
) -> Result<(Access, Items), Error> {
    app.authorize_with(caller, Action::ManageInvitations, |tenant| {
        let invitation = id.map(|id| invitation_keys(tenant, id)).unwrap_or_default();
        [invitation, keys.to_vec()].concat()
    })
    .await
}

/// The invitation `id` of the caller's workspace, if the caller's role may manage it.
fn target(access: &Access, items: &mut Items, id: Option<InvitationId>) -> Result<InvitationState, Error> {
    let id = id.ok_or(Error::InvitationNotFound)?;
    let invited = invitation_take(items, access.tenant(), id)?.ok_or(Error::InvitationNotFound)?;
    if access.membership().role.may_invite(invited.invitation.role) {
        Ok(invited)
    } else {
        Err(Error::Forbidden)
    }
}
