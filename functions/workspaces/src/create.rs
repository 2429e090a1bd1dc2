//! The operation that creates a workspace for a caller who has none.

use shared::auth::access::{Caller, Identity, Tenant};
use shared::clock::Time;
use shared::models::workspace::{CreatedWorkspace, Workspace};
use shared::operation::{Approved, IdempotencyHeader, Operation};
use shared::store::idempotency::StoredResult;
use shared::store::workspace::workspace_draft;
use shared::store::{Items, Key};
use shared::{App, Error};

use crate::wire::WorkspaceCreateIn;

/// One request to create a workspace.
pub(crate) struct CreateWorkspace<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: &'a Caller,
    pub(crate) body: Result<WorkspaceCreateIn, Error>,
    /// The item that makes the slug unique; none while the body is malformed.
    pub(crate) slug_key: Option<Key>,
    pub(crate) idempotency: IdempotencyHeader,
}

impl Operation for CreateWorkspace<'_> {
    type Proof = Identity;
    type Target = ();
    type Permit = Workspace;
    type Stored = CreatedWorkspace;
    type Outcome = Workspace;

    fn idempotency(&self) -> &IdempotencyHeader {
        &self.idempotency
    }

    async fn authorize(&self, keys: Vec<Key>) -> Result<(Identity, Items), Error> {
        let keys: Vec<Key> = keys.into_iter().chain(self.slug_key.clone()).collect();
        self.app.identify(self.caller, &keys).await
    }

    fn tenant(&self, _: &Identity) -> Option<Tenant> {
        None
    }

    fn check_form(&self, _: &Identity) -> Result<(), Error> {
        self.body.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn replay(&self, _: Identity, stored: StoredResult<CreatedWorkspace>) -> Result<Workspace, Error> {
        Ok(stored.result.workspace())
    }

    fn target(&self, _: &Identity, _: &mut Items) -> Result<(), Error> {
        Ok(())
    }

    fn check_rules(&self, identity: &Identity, (): (), items: &Items, now: Time) -> Result<Workspace, Error> {
        if identity.workspace().is_some() {
            return Err(Error::AlreadyInWorkspace);
        }
        let name = self.body.as_ref().map_err(Clone::clone)?.name.clone();
        let slug_taken = self.slug_key.iter().any(|key| items.contains(key));
        Ok(workspace_draft(name, slug_taken, now))
    }

    async fn commit(&self, approved: Approved<Self>) -> Result<Workspace, Error> {
        let Approved {
            proof,
            permit,
            admitted,
            ..
        } = approved;
        self.app.store.workspace_create(&proof, &permit, &admitted).await?;
        Ok(permit)
    }
}
