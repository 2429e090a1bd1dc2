//! Proof of access: the only key to the store's tenant methods.
//!
//! [`Caller`] is a verified token; [`Identity`] is a caller whose account, session and workspace were read and not
//! revoked; [`Access`] is an identity that is in a workspace and whose role permits an action. Nothing else makes one.

use std::future::Future;

use super::token::Claims;
use crate::app::App;
use crate::error::Error;
use crate::ids::{SessionId, UserId, WorkspaceId};
use crate::models::role::Action;
use crate::models::user::{Membership, User};
use crate::models::workspace::Workspace;
use crate::store::{Items, Key};

/// A verified access token. What it says is to be held against the table still.
#[derive(Clone, Debug)]
pub struct Caller(Claims);

/// The workspace that a read is confined to. The workspace that a token names serves to read side by side with the
/// proof; what was read is let go of unless the proof is for the same workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant(WorkspaceId);

impl Tenant {
    /// The workspace's id.
    #[must_use]
    pub fn workspace_id(self) -> WorkspaceId {
        self.0
    }
}

/// A caller whose account stands, whose session has not ended, and their workspace if they are in one.
#[derive(Clone, Debug)]
pub struct Identity {
    user: User,
    seat: Option<(Membership, Workspace)>,
}

/// A member whose role permits what was asked.
#[derive(Clone, Debug)]
pub struct Access {
    user: User,
    membership: Membership,
    workspace: Workspace,
}

impl Access {
    /// The caller's account.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The caller's place in the workspace.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The confinement to the workspace.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        Tenant(self.workspace.id)
    }
}

impl Identity {
    /// The caller's account.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The caller's workspace, if they are in one.
    #[must_use]
    pub fn workspace(&self) -> Option<&Workspace> {
        self.seat.as_ref().map(|(_, workspace)| workspace)
    }

    /// Proves that the caller may do `action` in their workspace.
    pub fn access(self, action: Action) -> Result<Access, Error> {
        let (membership, workspace) = self.seat.ok_or(Error::WorkspaceNotFound)?;
        if !membership.role.may(action) {
            return Err(Error::Forbidden);
        }
        Ok(Access {
            user: self.user,
            membership,
            workspace,
        })
    }
}

impl Caller {
    /// A caller whose token was verified.
    pub(crate) fn new(claims: Claims) -> Self {
        Self(claims)
    }

    /// The user that the token names.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.0.sub
    }

    /// The session that the token belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.0.sid
    }

    fn hint(&self) -> Option<Tenant> {
        self.0.wid.map(Tenant)
    }

    /// Whether the account and workspace as they are now still honour the token.
    fn check(&self, user: &User, seat: Option<&(Membership, Workspace)>) -> Result<(), Error> {
        let Some(session) = user.sessions.get(&self.0.sid) else {
            return Err(Error::TokenRevoked);
        };
        if self.0.uep != user.epoch {
            return Err(Error::TokenRevoked);
        }
        let Some((membership, workspace)) = seat else {
            return Ok(());
        };
        let minted_at = if self.0.wid == Some(workspace.id) {
            self.0.wep
        } else {
            membership.joined_epoch
        };
        if minted_at != workspace.epoch || session.is_revoked(membership, workspace.epoch) {
            return Err(Error::TokenRevoked);
        }
        Ok(())
    }
}

impl App {
    /// Reads who the caller is, with the items of `keys` in the same call.
    pub async fn identify(&self, caller: &Caller, keys: &[Key]) -> Result<(Identity, Items), Error> {
        let (identity, items, ()) = self
            .identify_beside(caller, |_| keys.to_vec(), |_| async { Ok(()) })
            .await?;
        Ok((identity, items))
    }

    /// Proves that the caller may do `action`: one round trip.
    pub async fn authorize(&self, caller: &Caller, action: Action) -> Result<Access, Error> {
        let (access, _) = self.authorize_with(caller, action, |_| Vec::new()).await?;
        Ok(access)
    }

    /// Proves that the caller may do `action`, and reads the items of `keys` in the same call.
    pub async fn authorize_with(
        &self,
        caller: &Caller,
        action: Action,
        keys: impl Fn(Tenant) -> Vec<Key>,
    ) -> Result<(Access, Items), Error> {
        let (access, items, ()) = self
            .authorize_beside(caller, action, keys, |_| async { Ok(()) })
            .await?;
        Ok((access, items))
    }

    /// As [`App::authorize_with`], with `beside` running at the same time. What it reads is only answered with the
    /// proof.
    pub async fn authorize_beside<T, F: Future<Output = Result<T, Error>>>(
        &self,
        caller: &Caller,
        action: Action,
        keys: impl Fn(Tenant) -> Vec<Key>,
        beside: impl Fn(Tenant) -> F,
    ) -> Result<(Access, Items, T), Error> {
        let keys = |tenant: Option<Tenant>| tenant.map(&keys).unwrap_or_default();
        let optional = |tenant: Option<Tenant>| {
            let read = tenant.map(&beside);
            async move {
                match read {
                    Some(read) => read.await.map(Some),
                    None => Ok(None),
                }
            }
        };
        let (identity, items, read) = self.identify_beside(caller, keys, optional).await?;
        let access = identity.access(action)?;
        let read = read.ok_or_else(|| Error::Internal("a member without a workspace".to_owned()))?;
        Ok((access, items, read))
    }

    async fn identify_beside<T, F: Future<Output = Result<T, Error>>>(
        &self,
        caller: &Caller,
        keys: impl Fn(Option<Tenant>) -> Vec<Key>,
        beside: impl Fn(Option<Tenant>) -> F,
    ) -> Result<(Identity, Items, T), Error> {
        // A batch read is no snapshot: when the user's item names a workspace that is gone, the two were read on both
        // sides of its deletion, and are read once more.
        crate::store::retry_on_conflict(async || {
            let user_key = Key::user(caller.0.sub);
            let all = |tenant: Option<Tenant>| {
                let mut wanted = keys(tenant);
                wanted.push(user_key.clone());
                wanted.extend(tenant.map(|tenant| Key::workspace(tenant.0)));
                wanted
            };
            let hint = caller.hint();
            let (items, read) = futures::join!(self.store.get(all(hint)), beside(hint));
            let mut items = items?;
            let user: User = items.peek(&user_key)?.ok_or(Error::TokenRevoked)?;
            let actual = user
                .membership
                .as_ref()
                .map(|membership| Tenant(membership.workspace_id));
            let read = if actual == hint {
                read
            } else {
                // The user's item decides which workspace the caller is in; the token only picked keys.
                let wanted = all(actual).into_iter().filter(|key| *key != user_key).collect();
                let (again, read) = futures::join!(self.store.get(wanted), beside(actual));
                items = items.merge(again?);
                read
            };
            let seat = match &user.membership {
                None => None,
                Some(membership) => {
                    let workspace = items
                        .peek(&Key::workspace(membership.workspace_id))?
                        .ok_or(Error::Stale)?;
                    Some((membership.clone(), workspace))
                }
            };
            caller.check(&user, seat.as_ref())?;
            Ok((Identity { user, seat }, items, read?))
        })
        .await
    }
}
