//! Invitations for the invitee: preview, accept, decline.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::IntoResponse;
use shared::auth::access::Caller;
use shared::auth::password::check_strength;
use shared::clock::Time;
use shared::error::refusal::{
    InvalidCredentials, InvitationExpired, InvitationNotFound, InvitationRevoked, InvitationUsed, InviteEmailMismatch,
    InviteeUnavailable, PasswordRequired, RateLimited, TokenInvalid, TokenRevoked, WeakPassword,
};
use shared::http::body::Payload;
use shared::http::gateway::Gateway;
use shared::http::openapi::Refusals;
use shared::http::wire::WorkspaceOut;
use shared::ids::{SessionId, UserId};
use shared::models::invitation::{ACCEPT_REPEAT, Invitation, Status};
use shared::models::limit::Rule;
use shared::models::user::{PasswordHash, Session, User};
use shared::secret::Secret;
use shared::store::account::EmailRecord;
use shared::store::invitation::{Accepting, InvitationContext, InvitationLink, SIBLINGS_MAX};
use shared::store::limit::{Charge, Limit};
use shared::store::{Items, Key, retry_on_conflict};
use shared::{App, Error, telemetry};
use tokio::sync::OnceCell;

use crate::account::{self, Account, LoginCharges};
use crate::invite_page;
use crate::wire::{AcceptIn, AcceptedOut, LinkIn, MessageOut, PreviewOut};

/// Shows an invitation to the holder of its link.
#[utoipa::path(
    post,
    path = "/api/v1/auth/invitation",
    tag = "auth",
    request_body = LinkIn,
    responses(
        (status = 200, description = "The invitation", body = PreviewOut),
        Refusals<(InvitationNotFound, RateLimited)>
    )
)]
pub(crate) async fn preview_invitation(
    State(app): State<App>,
    gateway: Gateway,
    payload: Payload,
) -> Result<Json<PreviewOut>, Error> {
    let body: LinkIn = payload.parse()?;
    let link = LinkRequest::new(&body.invite_id, body.token, Rule::PREVIEW, &gateway);
    retry_on_conflict(async || {
        let now = app.now();
        let items = app.store.get(link.keys()).await?;
        let context = link.context(&app, &items, now).await?;
        PreviewOut::new(&context, now).map(Json)
    })
    .await
}

/// Declines an invitation. Its link stops working.
#[utoipa::path(
    post,
    path = "/api/v1/auth/decline-invite",
    tag = "auth",
    request_body = LinkIn,
    responses(
        (status = 200, description = "It is declined", body = MessageOut),
        Refusals<(InvitationNotFound, InvitationRevoked, InvitationUsed, RateLimited)>
    )
)]
pub(crate) async fn decline_invitation(
    State(app): State<App>,
    gateway: Gateway,
    payload: Payload,
) -> Result<Json<MessageOut>, Error> {
    let body: LinkIn = payload.parse()?;
    let link = LinkRequest::new(&body.invite_id, body.token, Rule::DECLINE, &gateway);
    retry_on_conflict(async || {
        let now = app.now();
        let items = app.store.get(link.keys()).await?;
        let context = link.context(&app, &items, now).await?;
        context.open()?;
        app.store.invitation_decline(&context, now).await
    })
    .await?;
    Ok(Json(MessageOut {
        message: "The invitation is declined.",
    }))
}

/// Accepts an invitation. A new person proves nothing but the link, and chooses a password. The holder of an existing
/// account must also prove the account, by its bearer token or its password.
#[utoipa::path(
    post,
    path = "/api/v1/auth/accept-invite",
    tag = "auth",
    security((), ("bearer" = [])),
    request_body = AcceptIn,
    responses(
        (status = 200, description = "A session in the workspace", body = AcceptedOut),
        Refusals<(
            InvalidCredentials,
            InvitationExpired,
            InvitationNotFound,
            InvitationRevoked,
            InvitationUsed,
            InviteEmailMismatch,
            InviteeUnavailable,
            PasswordRequired,
            RateLimited,
            TokenInvalid,
            TokenRevoked,
            WeakPassword,
        )>
    )
)]
pub(crate) async fn accept_invitation(
    State(app): State<App>,
    caller: Option<Caller>,
    gateway: Gateway,
    payload: Payload,
) -> Result<Json<AcceptedOut>, Error> {
    let body: AcceptIn = match payload.parse() {
        Ok(body) => body,
        Err(invalid) => {
            // 401 comes before 422.
            identify(&app, caller.as_ref(), Vec::new()).await?;
            return Err(invalid);
        }
    };
    let acceptance = Acceptance {
        link: LinkRequest::new(&body.invite_id, body.token.clone(), Rule::ACCEPT, &gateway),
        app,
        body,
        gateway,
        login: OnceLock::new(),
        hash: OnceCell::new(),
    };
    retry_on_conflict(|| Box::pin(acceptance.decide(caller.as_ref())))
        .await
        .map(Json)
}

/// The page that invitation links open.
#[utoipa::path(
    get,
    path = "/invite",
    tag = "auth",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub(crate) async fn get_invite_page() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, invite_page::content_security_policy()),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, invite_page::html())
}

/// A request that presents an invitation link. Each request counts against a limit of the source address.
struct LinkRequest {
    link: InvitationLink,
    charge: Charge,
}

impl LinkRequest {
    fn new(id: &str, token: Secret, rule: Rule, gateway: &Gateway) -> Self {
        Self {
            link: InvitationLink::new(id, token),
            charge: Charge::new(Limit::new(rule, &gateway.address())),
        }
    }

    /// The keys of the items that [`LinkRequest::context`] needs.
    fn keys(&self) -> Vec<Key> {
        self.link.key().into_iter().chain([self.charge.limit.key()]).collect()
    }

    /// Reads the context of the invitation, and charges the limit concurrently.
    async fn context(&self, app: &App, items: &Items, now: Time) -> Result<InvitationContext, Error> {
        self.charge.check(items, now)?;
        let charged = self.charge.apply(&app.store, items, now);
        if let Some(invitation) = self.link.invitation(items)? {
            let (context, ()) = tokio::try_join!(app.store.invitation_context(invitation), charged)?;
            telemetry::record_workspace(context.state.invitation.workspace_id);
            Ok(context)
        } else {
            charged.await?;
            Err(Error::InvitationNotFound)
        }
    }
}

/// Reads the items of `keys`, and in the same round trip the account of the caller, if the request has a bearer token.
async fn identify(app: &App, caller: Option<&Caller>, keys: Vec<Key>) -> Result<(Option<Account>, Items), Error> {
    match caller {
        Some(caller) => {
            let (identity, items) = app.identify(caller, &keys).await?;
            let account = Account {
                user: identity.user().clone(),
                workspace: identity.workspace().cloned(),
            };
            Ok((Some(account), items))
        }
        None => Ok((None, app.store.get(keys).await?)),
    }
}

/// One request to accept an invitation. The decision may run several times; each limit is charged once, and the password is
/// hashed once.
struct Acceptance {
    app: App,
    body: AcceptIn,
    gateway: Gateway,
    link: LinkRequest,
    login: OnceLock<LoginCharges>,
    hash: OnceCell<PasswordHash>,
}

impl Acceptance {
    async fn decide(&self, caller: Option<&Caller>) -> Result<AcceptedOut, Error> {
        let now = self.app.now();
        let (caller, items) = identify(&self.app, caller, self.link.keys()).await?;
        let (context, limits) = tokio::try_join!(
            self.link.context(&self.app, &items, now),
            self.app.store.get(self.login_keys(&items)?)
        )?;
        let invitation = &context.state.invitation;
        if invitation
            .end
            .as_ref()
            .is_some_and(|end| end.status == Status::Accepted)
        {
            return self.repeat(context, caller, &limits, now).await;
        }
        let (pending, ..) = context.open()?;
        if pending.status(now) == Status::Expired {
            return Err(Error::InvitationExpired);
        }
        let caller = caller.map(|account| account.user);
        if caller.as_ref().is_some_and(|caller| caller.email != invitation.email) {
            return Err(Error::InviteEmailMismatch);
        }
        let user = match &context.email {
            None => self.new_account(invitation, now).await?,
            Some(record) => self.proved_account(record, caller, &limits, now).await?,
        };
        if user.membership.is_some() {
            return Err(Error::InviteeUnavailable);
        }
        self.join(context, user, now).await
    }

    /// The keys of the limits on the password check; empty without a password.
    fn login_keys(&self, items: &Items) -> Result<Vec<Key>, Error> {
        let invitation = self.body.password.as_ref().and(self.link.link.invitation(items)?);
        Ok(invitation.map_or_else(Vec::new, |invitation| {
            self.login
                .get_or_init(|| LoginCharges::new(invitation.email().as_str(), &self.gateway))
                .keys()
        }))
    }

    /// Charges the limits on the password check. Returns the password; none when the request has no password.
    async fn charged_password(&self, limits: &Items, now: Time) -> Result<Option<&Secret>, Error> {
        let (Some(password), Some(login)) = (&self.body.password, self.login.get()) else {
            return Ok(None);
        };
        login.check(limits, now)?;
        login.apply(&self.app.store, limits, now).await?;
        Ok(Some(password))
    }

    /// A new account for the invited e-mail address.
    async fn new_account(&self, invitation: &Invitation, now: Time) -> Result<User, Error> {
        let password = self.body.password.as_ref().ok_or(Error::PasswordRequired)?;
        check_strength(password)?;
        let hash = self.hash.get_or_try_init(|| self.app.passwords.hash(password)).await?;
        Ok(User {
            id: UserId::new(now),
            email: invitation.email.clone(),
            name: self.body.name.clone(),
            password_hash: hash.clone(),
            company: None,
            email_verified: false,
            epoch: 0,
            sessions: BTreeMap::new(),
            membership: None,
            created_at: now,
            updated_at: now,
        })
    }

    /// The account of the invited e-mail address, proved by the bearer token or the password.
    async fn proved_account(
        &self,
        record: &EmailRecord,
        caller: Option<User>,
        limits: &Items,
        now: Time,
    ) -> Result<User, Error> {
        if let Some(caller) = caller.filter(|caller| caller.id == record.user_id) {
            return Ok(caller);
        }
        let (password, user) = tokio::try_join!(
            self.charged_password(limits, now),
            self.app.store.unproven().account(record.user_id)
        )?;
        let password = password.ok_or(Error::InvalidCredentials)?;
        let is_proved = account::verify(&self.app, password, user.as_ref()).await?;
        user.filter(|_| is_proved).ok_or(Error::InvalidCredentials)
    }

    /// Makes the user a member in one transaction, and returns a session as login does.
    async fn join(&self, context: InvitationContext, mut user: User, now: Time) -> Result<AcceptedOut, Error> {
        let (_, workspace, _) = context.open()?;
        let session_id = SessionId::new(now);
        let session = Session::new(Some((workspace.id, workspace.epoch)), now);
        let accepting = Accepting {
            user: &user,
            session_id,
            session: &session,
            evicted: &user.sessions_to_evict(now),
        };
        let membership = self.app.store.invitation_accept(&context, accepting, now).await?;
        if context.siblings.len() >= SIBLINGS_MAX {
            self.end_siblings(&context, now).await;
        }
        user.membership = Some(membership);
        user.updated_at = now;
        let workspace_out = WorkspaceOut::from(workspace);
        let account = Account {
            user,
            workspace: context.workspace,
        };
        Ok(AcceptedOut {
            tokens: account.tokens(&self.app, session_id, &session, now)?,
            workspace: workspace_out,
        })
    }

    /// Ends the sibling invitations that the accepting transaction left over. They are invalid already, because the invite
    /// epoch has changed, so that a failure leaves only rows behind.
    async fn end_siblings(&self, accepted: &InvitationContext, now: Time) {
        if let Err(error) = retry_on_conflict(|| self.app.store.invitation_siblings_end(accepted, now)).await {
            tracing::warn!(%error, "ended sibling invitations not removed from their lists");
        }
    }

    /// Repeats an acceptance: the same person gets another session, within 10 minutes after the acceptance.
    async fn repeat(
        &self,
        context: InvitationContext,
        caller: Option<Account>,
        limits: &Items,
        now: Time,
    ) -> Result<AcceptedOut, Error> {
        let invitation = context.state.invitation;
        let in_time = invitation.end.is_some_and(|end| now.since(end.at) < ACCEPT_REPEAT);
        let (true, Some(user), Some(workspace)) = (in_time, context.accepted_by, context.workspace) else {
            return Err(Error::InvitationUsed);
        };
        // The account that authorization read, not a later read: a logout in between must make this request fail.
        let account = match caller.filter(|caller| caller.user.id == user.id) {
            Some(caller) => caller,
            None => match self.charged_password(limits, now).await? {
                Some(password) if account::verify(&self.app, password, Some(&user)).await? => Account {
                    user,
                    workspace: Some(workspace),
                },
                _ => return Err(Error::InvitationUsed),
            },
        };
        let membership = account.user.membership.as_ref();
        if membership.is_none_or(|membership| membership.workspace_id != invitation.workspace_id) {
            return Err(Error::InvitationUsed);
        }
        let workspace = account.workspace.as_ref().map(WorkspaceOut::from).ok_or(Error::Stale)?;
        Ok(AcceptedOut {
            tokens: account.sign_in(&self.app, now).await?,
            workspace,
        })
    }
}
