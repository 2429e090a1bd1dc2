//! Invitations as those who are invited see them: look, accept, decline.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::IntoResponse;
use shared::auth::access::Caller;
use shared::auth::password::check_strength;
use shared::clock::Time;
use shared::http::body::Payload;
use shared::http::gateway::Gateway;
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

/// Shows an invitation to whoever holds its link.
#[utoipa::path(
    post,
    path = "/api/v1/auth/invitation",
    tag = "auth",
    request_body = LinkIn,
    responses((status = 200, description = "The invitation", body = PreviewOut))
)]
pub(crate) async fn preview_invitation(
    State(app): State<App>,
    gateway: Gateway,
    payload: Payload,
) -> Result<Json<PreviewOut>, Error> {
    let body: LinkIn = payload.parse()?;
    let door = Door::new(&body.invite_id, body.token, Rule::PREVIEW, &gateway);
    retry_on_conflict(async || {
        let now = app.now();
        let items = app.store.get(door.keys()).await?;
        let context = door.enter(&app, &items, now).await?;
        PreviewOut::new(&context, now).map(Json)
    })
    .await
}

/// Declines an invitation: its link ends.
#[utoipa::path(
    post,
    path = "/api/v1/auth/decline-invite",
    tag = "auth",
    request_body = LinkIn,
    responses((status = 200, description = "It is declined", body = MessageOut))
)]
pub(crate) async fn decline_invitation(
    State(app): State<App>,
    gateway: Gateway,
    payload: Payload,
) -> Result<Json<MessageOut>, Error> {
    let body: LinkIn = payload.parse()?;
    let door = Door::new(&body.invite_id, body.token, Rule::DECLINE, &gateway);
    retry_on_conflict(async || {
        let now = app.now();
        let items = app.store.get(door.keys()).await?;
        let context = door.enter(&app, &items, now).await?;
        context.open()?;
        app.store.invitation_decline(&context, now).await
    })
    .await?;
    Ok(Json(MessageOut {
        message: "The invitation is declined.",
    }))
}

/// Accepts an invitation. For a new person the token is the proof, and the password becomes theirs. An existing account
/// proves itself too, by its bearer token or its password.
#[utoipa::path(
    post,
    path = "/api/v1/auth/accept-invite",
    tag = "auth",
    security((), ("bearer" = [])),
    request_body = AcceptIn,
    responses((status = 200, description = "A session in the workspace", body = AcceptedOut))
)]
pub(crate) async fn accept_invitation(
    State(app): State<App>,
    caller: Option<Caller>,
    gateway: Gateway,
    payload: Payload,
) -> Result<Json<AcceptedOut>, Error> {
    let body: AcceptIn = match payload.parse() {
        Ok(body) => body,
        Err(fault) => {
            identify(&app, caller.as_ref(), Vec::new()).await?;
            return Err(fault);
        }
    };
    let acceptance = Acceptance {
        door: Door::new(&body.invite_id, body.token.clone(), Rule::ACCEPT, &gateway),
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

/// The page that an invitation's link opens.
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

/// Where a link is shown: it leads to an invitation, and every look costs the source address one call.
struct Door {
    link: InvitationLink,
    charge: Charge,
}

impl Door {
    fn new(id: &str, token: Secret, rule: Rule, gateway: &Gateway) -> Self {
        Self {
            link: InvitationLink::new(id, token),
            charge: Charge::new(Limit::new(rule, &gateway.address())),
        }
    }

    /// The items that [`Door::enter`] needs to have been read.
    fn keys(&self) -> Vec<Key> {
        self.link.key().into_iter().chain([self.charge.limit.key()]).collect()
    }

    /// Reads what there is to know of the invitation, charging the limit beside it.
    async fn enter(&self, app: &App, items: &Items, now: Time) -> Result<InvitationContext, Error> {
        self.charge.check(items, now)?;
        let charged = self.charge.apply(&app.store, items, now);
        if let Some(invitation) = self.link.invitation(items)? {
            let (context, ()) = tokio::try_join!(app.store.invitation_context(invitation), charged)?;
            telemetry::record_workspace(context.invited.invitation.workspace_id);
            Ok(context)
        } else {
            charged.await?;
            Err(Error::InvitationNotFound)
        }
    }
}

/// The caller's account, if there is a caller, and the items of `keys`: one round trip.
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

/// One call to accept. However often it decides again, each limit is charged and the password hashed once.
struct Acceptance {
    app: App,
    body: AcceptIn,
    gateway: Gateway,
    door: Door,
    login: OnceLock<LoginCharges>,
    hash: OnceCell<PasswordHash>,
}

impl Acceptance {
    async fn decide(&self, caller: Option<&Caller>) -> Result<AcceptedOut, Error> {
        let now = self.app.now();
        let (caller, items) = identify(&self.app, caller, self.door.keys()).await?;
        let (context, limits) = tokio::try_join!(
            self.door.enter(&self.app, &items, now),
            self.app.store.get(self.login_keys(&items)?)
        )?;
        let invitation = &context.invited.invitation;
        if invitation
            .end
            .as_ref()
            .is_some_and(|end| end.status == Status::Accepted)
        {
            return self.again(context, caller, &limits, now).await;
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
            None => self.newcomer(invitation, now).await?,
            Some(record) => self.proven(record, caller, &limits, now).await?,
        };
        if user.membership.is_some() {
            return Err(Error::InviteeUnavailable);
        }
        self.join(context, user, now).await
    }

    /// The limits on checking the password, if there is one to check.
    fn login_keys(&self, items: &Items) -> Result<Vec<Key>, Error> {
        let invitation = self.body.password.as_ref().and(self.door.link.invitation(items)?);
        Ok(invitation.map_or_else(Vec::new, |invitation| {
            self.login
                .get_or_init(|| LoginCharges::new(invitation.email().as_str(), &self.gateway))
                .keys()
        }))
    }

    /// Charges a check of the password; the password, unless none was given.
    async fn charged_password(&self, limits: &Items, now: Time) -> Result<Option<&Secret>, Error> {
        let (Some(password), Some(login)) = (&self.body.password, self.login.get()) else {
            return Ok(None);
        };
        login.check(limits, now)?;
        login.apply(&self.app.store, limits, now).await?;
        Ok(Some(password))
    }

    /// A new account for the invited e-mail.
    async fn newcomer(&self, invitation: &Invitation, now: Time) -> Result<User, Error> {
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

    /// The account of the invited e-mail, once the caller is it or the password is its own.
    async fn proven(
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
        let proven = account::verify(&self.app, password, user.as_ref()).await?;
        user.filter(|_| proven).ok_or(Error::InvalidCredentials)
    }

    /// Makes the member, all in one transaction, and answers as a login.
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

    /// Clears away invitations to the e-mail beyond those that ended with the accepted one. They are dead already, so
    /// that a failure only leaves rows behind.
    async fn end_siblings(&self, accepted: &InvitationContext, now: Time) {
        if let Err(error) = retry_on_conflict(|| self.app.store.invitation_siblings_end(accepted, now)).await {
            tracing::warn!(%error, "ended sibling invitations not removed from their lists");
        }
    }

    /// Accepting again: the same person gets another session for a while.
    async fn again(
        &self,
        context: InvitationContext,
        caller: Option<Account>,
        limits: &Items,
        now: Time,
    ) -> Result<AcceptedOut, Error> {
        let invitation = context.invited.invitation;
        let in_time = invitation.end.is_some_and(|end| now.since(end.at) < ACCEPT_REPEAT);
        let (true, Some(user), Some(workspace)) = (in_time, context.accepted_by, context.workspace) else {
            return Err(Error::InvitationUsed);
        };
        // What the bearer token was checked against signs in, not what was read since: a logout in between ends it.
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
        let still_there = account.user.membership.as_ref();
        if still_there.is_none_or(|membership| membership.workspace_id != invitation.workspace_id) {
            return Err(Error::InvitationUsed);
        }
        let workspace = account.workspace.as_ref().map(WorkspaceOut::from).ok_or(Error::Stale)?;
        Ok(AcceptedOut {
            tokens: account.sign_in(&self.app, now).await?,
            workspace,
        })
    }
}
