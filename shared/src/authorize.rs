//! Authorization: reads what the proofs of access are decided on, and makes the proofs.
//!
//! Every constructor of a proof in [`crate::auth::access`] takes a seal. The seal has a private field, so this module is the
//! only one that can build it. A function, the store or any other module can pass a proof on, but cannot make one.
//!
//! One round trip authorizes a request. It reads the caller's account, the workspace that the token names, and the items
//! that the handler asks for. The account decides which workspace the caller is in. When that is another workspace than
//! the token names, the workspace's items are read again.

use std::future::Future;

use jsonwebtoken::DecodingKey;

use crate::app::App;
use crate::auth::access::{Access, Authority, Caller, Identity, Proofs, Tenant};
use crate::auth::token;
use crate::error::Error;
use crate::models::role::Action;
use crate::models::user::User;
use crate::store::{Items, Key, retry_on_conflict};
use crate::telemetry;

/// What the constructors of proofs require.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal(());

const SEAL: Seal = Seal(());

impl Authority for Proofs {
    type Seal = Seal;
}

impl App {
    /// Verifies an access token's signature and times. Only an unknown key id costs a read of the table.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Caller, Error> {
        let kid = token::key_id(token).ok_or(Error::TokenInvalid)?;
        let key = self.verification_key(&kid).await?;
        let claims = token::verify(&self.parties, token, &key, self.now())?;
        let caller = Caller::new(SEAL, claims);
        telemetry::record_caller(caller.user_id(), None);
        Ok(caller)
    }

    /// The public key `kid`. An unknown id makes the function read the published keys again, at most once a minute.
    /// [`Error::TokenInvalid`] when there is no such key, [`Error::Unavailable`] when the keys could not be read.
    async fn verification_key(&self, kid: &str) -> Result<DecodingKey, Error> {
        if let Some(key) = self.keys.key(kid) {
            return Ok(key);
        }
        if self.keys.may_reload(self.now()) {
            let published = self.store.unproven().jwks().await?;
            self.keys.load(published.as_deref(), self.now())?;
        }
        self.keys.key(kid).ok_or(Error::TokenInvalid)
    }

    /// Proves that the caller's account and workspace still honour the token. Reads the items of `keys` in the same
    /// round trip.
    pub async fn identify(&self, caller: &Caller, keys: &[Key]) -> Result<(Identity, Items), Error> {
        let (identity, items, ()) = self
            .identify_and_read(caller, |_| keys.to_vec(), |_| async { Ok(()) })
            .await?;
        Ok((identity, items))
    }

    /// Proves that the caller may do `action`, in one round trip.
    pub async fn authorize(&self, caller: &Caller, action: Action) -> Result<Access, Error> {
        let (access, _) = self.authorize_with(caller, action, |_| Vec::new()).await?;
        Ok(access)
    }

    /// Proves that the caller may do `action`. Reads the items of `keys` in the same round trip.
    pub async fn authorize_with(
        &self,
        caller: &Caller,
        action: Action,
        keys: impl Fn(Tenant) -> Vec<Key>,
    ) -> Result<(Access, Items), Error> {
        let (access, items, ()) = self
            .authorize_and_read(caller, action, keys, |_| async { Ok(()) })
            .await?;
        Ok((access, items))
    }

    /// As [`App::authorize_with`], with `read` running concurrently. The result of `read` is returned only with the
    /// proof.
    pub async fn authorize_and_read<T, F: Future<Output = Result<T, Error>>>(
        &self,
        caller: &Caller,
        action: Action,
        keys: impl Fn(Tenant) -> Vec<Key>,
        read: impl Fn(Tenant) -> F,
    ) -> Result<(Access, Items, T), Error> {
        let keys = |tenant: Option<Tenant>| tenant.map(&keys).unwrap_or_default();
        let read_if_tenant = |tenant: Option<Tenant>| {
            let reading = tenant.map(&read);
            async move {
                match reading {
                    Some(reading) => reading.await.map(Some),
                    None => Ok(None),
                }
            }
        };
        let (identity, items, result) = self.identify_and_read(caller, keys, read_if_tenant).await?;
        let access = identity.access(action)?;
        let result = result.ok_or_else(|| Error::Internal("a member without a workspace".to_owned()))?;
        Ok((access, items, result))
    }

    async fn identify_and_read<T, F: Future<Output = Result<T, Error>>>(
        &self,
        caller: &Caller,
        keys: impl Fn(Option<Tenant>) -> Vec<Key>,
        read: impl Fn(Option<Tenant>) -> F,
    ) -> Result<(Identity, Items, T), Error> {
        // A batch read is not atomic. When the user item names a workspace that was not found, the batch was read partly
        // before and partly after the workspace's deletion, and is read again.
        retry_on_conflict(async || {
            let user_key = Key::user(caller.user_id());
            let all_keys = |tenant: Option<Tenant>| {
                let mut wanted = keys(tenant);
                wanted.push(user_key.clone());
                wanted.extend(tenant.map(|tenant| Key::workspace(tenant.workspace_id())));
                wanted
            };
            let claimed = caller.claimed_tenant(SEAL);
            let (items, result) = futures::join!(self.store.get(all_keys(claimed)), read(claimed));
            let mut items = items?;
            let user: User = items.peek(&user_key)?.ok_or(Error::TokenRevoked)?;
            let actual = user
                .membership
                .as_ref()
                .map(|membership| Tenant::new(SEAL, membership.workspace_id));
            let result = if actual == claimed {
                result
            } else {
                // The user item decides which workspace the caller is in; the token only selected the first keys.
                let wanted = all_keys(actual).into_iter().filter(|key| *key != user_key).collect();
                let (more, result) = futures::join!(self.store.get(wanted), read(actual));
                items = items.merge(more?);
                result
            };
            let workspace = match actual {
                Some(tenant) => items.peek(&Key::workspace(tenant.workspace_id()))?,
                None => None,
            };
            let identity = Identity::new(SEAL, caller, user, workspace)?;
            if let Some(workspace) = identity.workspace() {
                telemetry::record_workspace(workspace.id);
            }
            Ok((identity, items, result?))
        })
        .await
    }
}
