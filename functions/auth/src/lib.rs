//! Accounts and their sessions, invitations for the invitee, and the page that invitation links open.

mod account;
mod invite;
mod invite_page;
mod wire;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Json, Router};
use shared::auth::access::Caller;
use shared::auth::password::check_strength;
use shared::clock::Time;
use shared::error::refusal::{EmailTaken, InvalidCredentials, RateLimited, TokenInvalid, TokenRevoked, WeakPassword};
use shared::http::body::Payload;
use shared::http::gateway::Gateway;
use shared::http::openapi::Refusals;
use shared::http::wire::UserOut;
use shared::ids::UserId;
use shared::models::email::EmailAddress;
use shared::models::limit::Rule;
use shared::models::text::Name;
use shared::models::user::{PasswordHash, Refresh, Session, User};
use shared::models::workspace::{Workspace, slug_of};
use shared::store::limit::{Charge, Limit};
use shared::store::workspace::{owner_membership, workspace_draft};
use shared::store::{Unproven, retry_on_conflict};
use shared::{App, Error, telemetry};
use tokio::sync::OnceCell;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use account::{Account, LoginCharges};
use wire::{LoginIn, MessageOut, RefreshIn, RegisterIn, TokensOut};

/// The routes of the function.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(get_me))
        .routes(routes!(invite::preview_invitation))
        .routes(routes!(invite::accept_invitation))
        .routes(routes!(invite::decline_invitation))
        .routes(routes!(get_jwks))
        .routes(routes!(invite::get_invite_page))
}

/// The function as a router.
pub fn router(app: App) -> Router {
    shared::http::finish(routes(), app)
}

/// Creates an account and a workspace that it owns.
#[utoipa::path(
    post,
    path = "/api/v1/auth/register",
    tag = "auth",
    request_body = RegisterIn,
    responses(
        (status = 201, description = "The new account", body = UserOut),
        Refusals<(EmailTaken, RateLimited, WeakPassword)>
    )
)]
async fn register(
    State(app): State<App>,
    gateway: Gateway,
    payload: Payload,
) -> Result<(StatusCode, Json<UserOut>), Error> {
    let body: RegisterIn = payload.parse()?;
    let charge = Charge::new(Limit::new(Rule::REGISTER, &gateway.address()));
    let name = Name::of_workspace(body.company.as_ref(), &body.name);
    let (email, slug) = (Unproven::email_key(&body.email), Unproven::slug_key(&slug_of(&name)));
    let hash = OnceCell::new();
    retry_on_conflict(async || {
        let now = app.now();
        let items = app
            .store
            .get(vec![charge.limit.key(), email.clone(), slug.clone()])
            .await?;
        charge.apply(&app.store, &items, now).await?;
        check_strength(&body.password)?;
        if items.contains(&email) {
            return Err(Error::EmailTaken);
        }
        let hash = hash.get_or_try_init(|| app.passwords.hash(&body.password)).await?;
        let workspace = workspace_draft(name.clone(), items.contains(&slug), now);
        let user = new_user(&body, hash, &workspace, now);
        app.store.unproven().account_register(&user, &workspace).await?;
        telemetry::record_caller(user.id, Some(workspace.id));
        Ok((StatusCode::CREATED, Json(UserOut::new(&user, Some(&workspace)))))
    })
    .await
}

fn new_user(body: &RegisterIn, hash: &PasswordHash, workspace: &Workspace, now: Time) -> User {
    User {
        id: UserId::new(now),
        email: body.email.clone(),
        name: Some(body.name.clone()),
        password_hash: hash.clone(),
        company: body.company.clone(),
        email_verified: false,
        epoch: 0,
        sessions: std::collections::BTreeMap::new(),
        membership: Some(owner_membership(workspace, 0)),
        created_at: now,
        updated_at: now,
    }
}

/// Starts a session. Unknown and known e-mail addresses take the same time.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login",
    tag = "auth",
    request_body = LoginIn,
    responses(
        (status = 200, description = "The session's tokens", body = TokensOut),
        Refusals<(InvalidCredentials, RateLimited)>
    )
)]
async fn login(State(app): State<App>, gateway: Gateway, payload: Payload) -> Result<Json<TokensOut>, Error> {
    let body: LoginIn = payload.parse()?;
    let charges = LoginCharges::new(&body.email, &gateway);
    let email = EmailAddress::parse(&body.email).ok();
    let items = app
        .store
        .get(
            charges
                .keys()
                .into_iter()
                .chain(email.as_ref().map(Unproven::email_key))
                .collect(),
        )
        .await?;
    charges.check(&items, app.now())?;
    let record = email.map_or(Ok(None), |email| Unproven::email_record(&items, &email))?;
    retry_on_conflict(async || {
        let now = app.now();
        // Both calls finish before either result counts. A charge that is dropped midway would be made again.
        let (account, settled) = tokio::join!(
            Account::of(&app, record.as_ref()),
            charges.apply(&app.store, &items, now)
        );
        settled?;
        let account = account?;
        let proven = account::verify(&app, &body.password, account.as_ref().map(|account| &account.user)).await?;
        match account {
            Some(account) if proven => account.sign_in(&app, now).await.map(Json),
            _ => Err(Error::InvalidCredentials),
        }
    })
    .await
}

/// Issues the next pair of tokens. A refresh token is valid once: reuse of an older one ends the session.
#[utoipa::path(
    post,
    path = "/api/v1/auth/refresh",
    tag = "auth",
    request_body = RefreshIn,
    responses(
        (status = 200, description = "The session's next tokens", body = TokensOut),
        Refusals<(TokenInvalid, TokenRevoked)>
    )
)]
async fn refresh(State(app): State<App>, gateway: Gateway, payload: Payload) -> Result<Json<TokensOut>, Error> {
    let body: RefreshIn = payload.parse()?;
    let token = app
        .issuer()?
        .refresh
        .open(body.refresh_token.expose())
        .ok_or(Error::TokenInvalid)?;
    let id = token.session_id;
    // The token is sealed, so that its user is known.
    telemetry::record_caller(token.user_id, token.workspace_id);
    retry_on_conflict(async || {
        let now = app.now();
        let account = Account::read(&app, token.user_id, token.workspace_id).await?;
        let account = account.ok_or(Error::TokenRevoked)?;
        let session = account.live_session(id)?;
        match session.refresh(token.generation, now) {
            Refresh::Rotate => {
                let next = Session {
                    generation: session.generation + 1,
                    ..account.session(now)
                };
                app.store.unproven().session_rotate(&account.user, id, &next).await?;
                account.tokens(&app, id, &next, now).map(Json)
            }
            Refresh::Repeat => account.tokens(&app, id, session, now).map(Json),
            Refresh::Reuse => {
                let ended = app.store.unproven().session_end(account.user.id, id).await;
                // After a conflict, the decision runs again.
                if !matches!(ended, Err(Error::Stale)) {
                    let source_ip = gateway.source_ip.map(tracing::field::display);
                    tracing::warn!(session_id = %id, source_ip, "refresh token reused");
                }
                ended?;
                Err(Error::TokenRevoked)
            }
            Refresh::Invalid => Err(Error::TokenInvalid),
        }
    })
    .await
}

/// Ends all sessions of the caller.
#[utoipa::path(
    post,
    path = "/api/v1/auth/logout",
    tag = "auth",
    security(("bearer" = [])),
    responses((status = 200, description = "They have ended", body = MessageOut))
)]
async fn logout(State(app): State<App>, caller: Caller) -> Result<Json<MessageOut>, Error> {
    retry_on_conflict(async || {
        let (identity, _) = app.identify(&caller, &[]).await?;
        app.store.account_logout(&identity, app.now()).await
    })
    .await?;
    Ok(Json(MessageOut {
        message: "You are logged out everywhere.",
    }))
}

/// The caller's account.
#[utoipa::path(
    get,
    path = "/api/v1/auth/me",
    tag = "auth",
    security(("bearer" = [])),
    responses((status = 200, description = "The account", body = UserOut))
)]
async fn get_me(State(app): State<App>, caller: Caller) -> Result<Json<UserOut>, Error> {
    let (identity, _) = app.identify(&caller, &[]).await?;
    Ok(Json(UserOut::new(identity.user(), identity.workspace())))
}

/// The public keys that verify access tokens, as a JWK Set (RFC 7517).
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "auth",
    responses((status = 200, description = "The keys", body = serde_json::Value, content_type = "application/json"))
)]
async fn get_jwks(State(app): State<App>) -> Result<impl IntoResponse, Error> {
    let jwks = app.issuer()?.jwks()?;
    Ok(([(CONTENT_TYPE, "application/json")], jwks))
}
