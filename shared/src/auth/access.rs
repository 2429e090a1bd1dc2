//! Proofs of access: values that the store's tenant operations require and that only authorization can make.
//!
//! | proof | statement |
//! | --- | --- |
//! | [`Caller`] | The request carries an access token with a valid signature. |
//! | [`Identity`] | The account of the caller exists, and neither the account nor its workspace has revoked the token. |
//! | [`Access`] | The caller is a member of the workspace, and the member's role permits the action. |
//! | [`Tenant`] | The workspace that an operation is confined to. |
//!
//! This module has the types and the rules. [`crate::authorize`] reads the items that the rules decide on and is the only
//! module that makes proofs: every constructor takes a seal that no other module can build.
//!
//! # Code without a proof does not compile
//!
//! A handler proves access, then reads and writes with the proof:
//!
//! ```no_run
//! use shared::auth::access::Caller;
//! use shared::clock::Time;
//! use shared::ids::UserId;
//! use shared::models::role::Action;
//! use shared::store::member::Target;
//! use shared::{App, Error};
//!
//! async fn remove(app: App, caller: Caller, member: UserId, now: Time) -> Result<(), Error> {
//!     let (access, items) = app
//!         .authorize_with(&caller, Action::ManageMembers, |tenant| vec![Target::key(tenant, member)])
//!         .await?;
//!     app.store.member_page(access.tenant(), None, 100).await?;
//!     let target = Target::of(&access, &items, member)?.ok_or(Error::MemberNotFound)?;
//!     app.store.member_remove(&access, &target, now).await
//! }
//! ```
//!
//! A read needs a [`Tenant`], not the id of a workspace:
//!
//! ```compile_fail,E0308
//! # use shared::ids::WorkspaceId;
//! # use shared::{App, Error};
//! async fn members(app: App, workspace: WorkspaceId) -> Result<(), Error> {
//!     app.store.member_page(workspace, None, 100).await.map(|_| ())
//! }
//! ```
//!
//! A write needs an [`Access`], not the [`Caller`] alone:
//!
//! ```compile_fail,E0308
//! # use shared::auth::access::Caller;
//! # use shared::clock::Time;
//! # use shared::store::member::Target;
//! # use shared::{App, Error};
//! async fn remove(app: App, caller: Caller, target: Target, now: Time) -> Result<(), Error> {
//!     app.store.member_remove(&caller, &target, now).await
//! }
//! ```
//!
//! The keys of tenant items need a [`Tenant`] too; the constructors that take an id are private to this crate:
//!
//! ```compile_fail,E0624
//! # use shared::ids::WorkspaceId;
//! # use shared::store::Key;
//! # use shared::{App, Error};
//! async fn read(app: App, workspace: WorkspaceId) -> Result<(), Error> {
//!     app.store.get(vec![Key::workspace(workspace)]).await.map(|_| ())
//! }
//! ```
//!
//! No other code can make a proof:
//!
//! ```compile_fail,E0423
//! # use shared::auth::access::Tenant;
//! # use shared::ids::WorkspaceId;
//! fn forge(workspace: WorkspaceId) -> Tenant {
//!     Tenant(workspace)
//! }
//! ```

use super::token::Claims;
use crate::error::Error;
use crate::ids::{UserId, WorkspaceId};
use crate::models::role::Action;
use crate::models::user::{Membership, User};
use crate::models::workspace::Workspace;

/// Names the seal that the constructors of proofs require.
///
/// The module that makes the proofs is above the store, and this module is below it, so this module cannot import the
/// seal. The authorizing module implements this trait for [`Proofs`] instead, with a seal that it alone can build. The
/// compiler rejects a second implementation.
pub(crate) trait Authority {
    /// A value that only the authorizing module can build.
    type Seal;
}

/// The proofs of this module: the type that [`Authority`] is implemented for.
#[derive(Debug)]
pub(crate) enum Proofs {}

type Seal = <Proofs as Authority>::Seal;

/// The sender of a request whose access token has a valid signature. The token's claims have not been compared with the
/// table yet.
#[derive(Clone, Debug)]
pub struct Caller(Claims);

/// The workspace that an operation is confined to.
///
/// Authorization reads with the workspace that the token names, in the same round trip in which it reads the proof. It
/// discards what it read unless the proof is for the same workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant(WorkspaceId);

/// A caller whose account exists and whose session has not ended, with the caller's workspace, if there is one.
#[derive(Clone, Debug)]
pub struct Identity {
    user: User,
    membership: Option<(Membership, Workspace)>,
}

/// A member whose role permits the action that was authorized.
#[derive(Clone, Debug)]
pub struct Access {
    user: User,
    membership: Membership,
    workspace: Workspace,
}

impl Tenant {
    /// Confines an operation to `workspace`.
    pub(crate) fn new(_: Seal, workspace: WorkspaceId) -> Self {
        Self(workspace)
    }

    /// The workspace's id.
    #[must_use]
    pub fn workspace_id(self) -> WorkspaceId {
        self.0
    }
}

impl Caller {
    /// The sender of a token with these claims, whose signature was verified.
    pub(crate) fn new(_: Seal, claims: Claims) -> Self {
        Self(claims)
    }

    /// The user that the token names.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.0.sub
    }

    /// The workspace that the token names. It selects the keys of the first read and proves nothing.
    pub(crate) fn claimed_tenant(&self, seal: Seal) -> Option<Tenant> {
        self.0.wid.map(|workspace| Tenant::new(seal, workspace))
    }

    /// Compares the token with the account and the workspace as they are now.
    fn check(&self, user: &User, membership: Option<&(Membership, Workspace)>) -> Result<(), Error> {
        let Some(session) = user.sessions.get(&self.0.sid) else {
            return Err(Error::TokenRevoked);
        };
        if self.0.uep != user.epoch {
            return Err(Error::TokenRevoked);
        }
        let Some((membership, workspace)) = membership else {
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

impl Identity {
    /// Proves that `user`, as read, still honours the caller's token. `workspace` is the workspace that the user's
    /// membership names; [`Error::Stale`] when it was not found.
    pub(crate) fn new(_: Seal, caller: &Caller, user: User, workspace: Option<Workspace>) -> Result<Self, Error> {
        let membership = match user.membership.clone() {
            None => None,
            Some(membership) => {
                let workspace = workspace.filter(|workspace| workspace.id == membership.workspace_id);
                Some((membership, workspace.ok_or(Error::Stale)?))
            }
        };
        caller.check(&user, membership.as_ref())?;
        Ok(Self { user, membership })
    }

    /// The caller's account.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The caller's workspace, if there is one.
    #[must_use]
    pub fn workspace(&self) -> Option<&Workspace> {
        self.membership.as_ref().map(|(_, workspace)| workspace)
    }

    /// Proves that the caller may do `action` in the caller's workspace.
    pub(crate) fn access(self, action: Action) -> Result<Access, Error> {
        let (membership, workspace) = self.membership.ok_or(Error::WorkspaceNotFound)?;
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

impl Access {
    /// The caller's account.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The caller's membership of the workspace.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Confines an operation to the workspace.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        Tenant(self.workspace.id)
    }
}
