//! An account as logging in and refreshing see it, and the limits on guessing its password.

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

/// An account, with the workspace it is in.
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) workspace: Option<Workspace>,
}

impl Account {
    /// Reads an account. `hint` only picks keys: where the user's item names another workspace, that is read then.
    pub(crate) async fn read(app: &App, id: UserId, hint: Option<WorkspaceId>) -> Result<Option<Self>, Error> {
        let account = app.store.unproven().account_with_workspace(id, hint).await?;
        Ok(account.map(|(user, workspace)| Self { user, workspace }))
    }

    /// Reads the account of an e-mail. Nobody's takes a read as well, so that the time does not tell who has one.
    pub(crate) async fn of(app: &App, email: Option<&EmailRecord>) -> Result<Option<Self>, Error> {
        let now = app.now();
        match email {
            Some(record) => Self::read(app, record.user_id, record.workspace_id).await,
            None => Self::read(app, UserId::new(now), Some(WorkspaceId::new(now))).await,
        }
    }

    /// The session `id`, unless it has ended.
    pub(crate) fn live_session(&self, id: SessionId) -> Result<&Session, Error> {
        let session = self.user.sessions.get(&id).ok_or(Error::TokenRevoked)?;
        match (&self.user.membership, &self.workspace) {
            (Some(membership), Some(workspace)) if session.is_revoked(membership, workspace.epoch) => {
                Err(Error::TokenRevoked)
            }
            _ => Ok(session),
        }
    }

    /// A session that starts now.
    pub(crate) fn session(&self, now: Time) -> Session {
        let workspace = self.workspace.as_ref().map(|workspace| (workspace.id, workspace.epoch));
        Session::new(workspace, now)
    }

    /// Starts a session. [`Error::Stale`] when the account's tokens were ended since it was read.
    pub(crate) async fn sign_in(&self, app: &App, now: Time) -> Result<TokensOut, Error> {
        let (id, session) = (SessionId::new(now), self.session(now));
        let evicted = self.user.sessions_to_evict(now);
        app.store
            .unproven()
            .session_add(&self.user, id, &session, &evicted)
            .await?;
        self.tokens(app, id, &session, now)
    }

    /// The tokens of a session as it stands.
    pub(crate) fn tokens(&self, app: &App, id: SessionId, session: &Session, now: Time) -> Result<TokensOut, Error> {
        let issuer = app.issuer()?;
        telemetry::record_caller(self.user.id, self.workspace.as_ref().map(|workspace| workspace.id));
        // The session's own workspace, so that the same generation always has the same token.
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

/// The limits on checking passwords: an e-mail's, and a source address's. Both are charged before any hashing.
pub(crate) struct LoginCharges {
    email: Charge,
    address: Charge,
}

impl LoginCharges {
    /// The charges of one check. The e-mail counts as it is compared, whether it is one or not.
    pub(crate) fn new(email: &str, gateway: &Gateway) -> Self {
        Self {
            email: Charge::new(Limit::new(Rule::LOGIN_EMAIL, &email.trim().to_lowercase())),
            address: Charge::new(Limit::new(Rule::LOGIN_ADDRESS, &gateway.address())),
        }
    }

    /// The items that hold the limits.
    pub(crate) fn keys(&self) -> Vec<Key> {
        vec![self.email.limit.key(), self.address.limit.key()]
    }

    /// Refuses early, from what was read, when either limit has no room.
    pub(crate) fn check(&self, items: &Items, now: Time) -> Result<(), Error> {
        self.email.check(items, now)?;
        self.address.check(items, now)
    }

    /// Charges both, once.
    pub(crate) async fn apply(&self, store: &Store, items: &Items, now: Time) -> Result<(), Error> {
        tokio::try_join!(
            self.email.apply(store, items, now),
            self.address.apply(store, items, now)
        )?;
        Ok(())
    }
}

/// Whether `password` is the account's. Without an account it takes as long.
pub(crate) async fn verify(app: &App, password: &Secret, user: Option<&User>) -> Result<bool, Error> {
    app.passwords
        .verify(password, user.map(|user| &user.password_hash))
        .await
}
