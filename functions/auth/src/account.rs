//! An account with its sessions, and the limits on checking its password.

use shared::auth::refresh::RefreshToken;
use shared::clock::Time;
use shared::http::gateway::Gateway;
use shared::http::wire::UserOut;
use shared::ids::{SessionId, UserId, WorkspaceId};
use shared::models::limit::Rule;
use shared::models::user::{ACCESS_TOKEN_TTL, Session, User};
use shared::models::workspace::Workspace;
use shared::secret::Secret;
use shared::store::account::EmailRecord;
use shared::store::limit::{Charge, Limit};
use shared::store::{Items, Key, Store};
use shared::{App, Error, telemetry};

use crate::wire::TokensOut;

/// An account and its workspace.
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) workspace: Option<Workspace>,
}

impl Account {
    /// Reads an account. `hint` only selects keys. When the user item names another workspace, that workspace is read in a
    /// second round trip.
    pub(crate) async fn read(app: &App, id: UserId, hint: Option<WorkspaceId>) -> Result<Option<Self>, Error> {
        let account = app.store.unproven().account_with_workspace(id, hint).await?;
        Ok(account.map(|(user, workspace)| Self { user, workspace }))
    }

    /// Reads the account of an e-mail address. An address without an account costs the same reads, so that the response
    /// time does not show whether there is an account.
    pub(crate) async fn of(app: &App, email: Option<&EmailRecord>) -> Result<Option<Self>, Error> {
        let now = app.now();
        match email {
            Some(record) => Self::read(app, record.user_id, record.workspace_id).await,
            None => Self::read(app, UserId::new(now), Some(WorkspaceId::new(now))).await,
        }
    }

    /// The session `id`. [`Error::TokenRevoked`] when the session has ended.
    pub(crate) fn live_session(&self, id: SessionId) -> Result<&Session, Error> {
        let session = self.user.sessions.get(&id).ok_or(Error::TokenRevoked)?;
        match (&self.user.membership, &self.workspace) {
            (Some(membership), Some(workspace)) if session.is_revoked(membership, workspace.epoch) => {
                Err(Error::TokenRevoked)
            }
            _ => Ok(session),
        }
    }

    /// A new session in the account's workspace.
    pub(crate) fn session(&self, now: Time) -> Session {
        let workspace = self.workspace.as_ref().map(|workspace| (workspace.id, workspace.epoch));
        Session::new(workspace, now)
    }

    /// Starts a session. [`Error::Stale`] when the account's tokens were revoked after the read.
    pub(crate) async fn sign_in(&self, app: &App, now: Time) -> Result<TokensOut, Error> {
        let (id, session) = (SessionId::new(now), self.session(now));
        let evicted = self.user.sessions_to_evict(now);
        app.store
            .unproven()
            .session_add(&self.user, id, &session, &evicted)
            .await?;
        self.tokens(app, id, &session, now)
    }

    /// Issues the tokens of a session.
    pub(crate) fn tokens(&self, app: &App, id: SessionId, session: &Session, now: Time) -> Result<TokensOut, Error> {
        let issuer = app.issuer()?;
        telemetry::record_caller(self.user.id, self.workspace.as_ref().map(|workspace| workspace.id));
        // The workspace of the session, not of the account: the same generation must always give the same token.
        let refresh = RefreshToken {
            user_id: self.user.id,
            session_id: id,
            workspace_id: session.workspace_id,
            generation: session.generation,
        };
        Ok(TokensOut {
            access_token: issuer.access_token(&self.user, self.workspace.as_ref(), id, now)?,
            refresh_token: issuer.refresh.seal(&refresh).expose().to_owned(),
            token_type: "bearer",
            expires_in: ACCESS_TOKEN_TTL.as_secs(),
            user: UserOut::new(&self.user, self.workspace.as_ref()),
        })
    }
}

/// The limits on password checks: one for the e-mail address, one for the source address. Both are charged before the
/// password is hashed.
pub(crate) struct LoginCharges {
    email: Charge,
    address: Charge,
}

impl LoginCharges {
    /// The charges of one check. `email` is trimmed and in lower case, as addresses are compared, even when it is malformed.
    pub(crate) fn new(email: &str, gateway: &Gateway) -> Self {
        Self {
            email: Charge::new(Limit::new(Rule::LOGIN_EMAIL, &email.trim().to_lowercase())),
            address: Charge::new(Limit::new(Rule::LOGIN_ADDRESS, &gateway.address())),
        }
    }

    /// The keys of both limits.
    pub(crate) fn keys(&self) -> Vec<Key> {
        vec![self.email.limit.key(), self.address.limit.key()]
    }

    /// Refuses the check when the items show that one of the limits is used up.
    pub(crate) fn check(&self, items: &Items, now: Time) -> Result<(), Error> {
        self.email.check(items, now)?;
        self.address.check(items, now)
    }

    /// Charges both limits, each at most once.
    pub(crate) async fn apply(&self, store: &Store, items: &Items, now: Time) -> Result<(), Error> {
        tokio::try_join!(
            self.email.apply(store, items, now),
            self.address.apply(store, items, now)
        )?;
        Ok(())
    }
}

/// Whether `password` is the password of the account. The check takes the same time without an account.
pub(crate) async fn verify(app: &App, password: &Secret, user: Option<&User>) -> Result<bool, Error> {
    app.passwords
        .verify(password, user.map(|user| &user.password_hash))
        .await
}
