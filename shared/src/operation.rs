//! The order of checks of an operation that is counted against a limit, that a client may repeat under an
//! `Idempotency-Key`, or both. `docs/api.md` describes this order to clients; [`perform`] is the only code that has it.

use std::future::Future;

use serde::de::DeserializeOwned;

use crate::app::App;
use crate::auth::access::{Caller, Tenant};
use crate::clock::Time;
use crate::error::Error;
use crate::http::idempotency::IdempotencyKeyHeader;
use crate::store::admitted::Admitted;
use crate::store::idempotency::{IdempotentRequest, StoredResult};
use crate::store::limit::Limit;
use crate::store::{Items, Key, Store, retry_on_conflict};

/// An operation's own rules. Each method is one step of [`perform`], in the order in which the steps run.
pub trait Operation: Sync {
    /// What authorization proves.
    type Proof: Send + Sync;
    /// What the operation changes, if that had to be found first.
    type Target: Send + Sync;
    /// What the rules yield for the commit.
    type Permit: Send + Sync;
    /// The stored result of a request that was made under an `Idempotency-Key`.
    type Stored: DeserializeOwned + Send;
    /// What the handler turns into a response.
    type Outcome: Send;

    /// The request's `Idempotency-Key`.
    fn idempotency(&self) -> &IdempotencyHeader;

    /// The limit that the operation is counted against.
    fn limit(&self) -> Option<Limit> {
        None
    }

    /// 401, 404 without a workspace, 403 by role. Reads the items of `keys` in the same round trip.
    fn authorize(&self, keys: Vec<Key>) -> impl Future<Output = Result<(Self::Proof, Items), Error>> + Send;

    /// The workspace that `proof` is for; none for a caller who has no workspace.
    fn tenant(&self, proof: &Self::Proof) -> Option<Tenant>;

    /// 422: the form of the request, and 403 where the form alone shows that the caller's role does not permit it.
    fn check_form(&self, _proof: &Self::Proof) -> Result<(), Error> {
        Ok(())
    }

    /// The outcome of an earlier request under the same key.
    fn replay(&self, proof: Self::Proof, stored: StoredResult<Self::Stored>) -> Result<Self::Outcome, Error>;

    /// 404 and 403: finds what the operation changes. A refusal counts against the limit, so that nobody searches for
    /// ids for free, and comes before the limit's own refusal.
    fn target(&self, proof: &Self::Proof, items: &mut Items) -> Result<Self::Target, Error>;

    /// 400: the rules. A refusal counts against the limit.
    fn check_rules(
        &self,
        proof: &Self::Proof,
        target: Self::Target,
        items: &Items,
        now: Time,
    ) -> Result<Self::Permit, Error>;

    /// Tries to remove the cause of `refusal`. After `true`, the operation is decided again from a fresh read.
    fn remove_cause(&self, _proof: &Self::Proof, _refusal: &Error) -> impl Future<Output = Result<bool, Error>> + Send {
        async { Ok(false) }
    }

    /// Makes the change in one transaction, which takes [`Admitted`].
    fn commit(&self, approved: Approved<Self>) -> impl Future<Output = Result<Self::Outcome, Error>> + Send
    where
        Self: Sized;
}

/// An operation that passed every check.
#[derive(Debug)]
pub struct Approved<O: Operation> {
    /// What authorization proved.
    pub proof: O::Proof,
    /// What the rules yielded.
    pub permit: O::Permit,
    /// The items that were read.
    pub items: Items,
    /// The writes that count and record the operation.
    pub admitted: Admitted,
}

/// The `Idempotency-Key` of a request, or the refusal of a malformed one, and what the key stands for.
#[derive(Clone, Debug)]
pub struct IdempotencyHeader {
    refusal: Option<Error>,
    /// The request as its idempotency record knows it.
    pub request: IdempotentRequest,
}

impl IdempotencyHeader {
    /// The header of a request by `caller` on `route`. `content` is what tells this request from others on the route.
    #[must_use]
    pub fn new(caller: &Caller, route: &str, header: &IdempotencyKeyHeader, content: &[u8]) -> Self {
        let key = header.0.as_ref().ok().and_then(Option::as_ref);
        Self {
            refusal: header.0.as_ref().err().cloned(),
            request: IdempotentRequest::new(caller.user_id(), route, key, content),
        }
    }
}

/// Performs an operation: each check in its order, then the commit. A concurrent change makes it start again from a
/// fresh read, until the request's deadline.
pub async fn perform<O: Operation>(app: &App, operation: &O) -> Result<O::Outcome, Error> {
    retry_on_conflict(|| Box::pin(perform_once(app, operation))).await
}

async fn perform_once<O: Operation>(app: &App, operation: &O) -> Result<O::Outcome, Error> {
    let now = app.now();
    let header = operation.idempotency();
    let limit = operation.limit();
    let keys = limit.as_ref().map(Limit::key).into_iter().chain(header.request.key());
    let (proof, mut items) = operation.authorize(keys.collect()).await?;
    header.refusal.clone().map_or(Ok(()), Err)?;
    operation.check_form(&proof)?;
    let tenant = operation.tenant(&proof);
    if let Some(stored) = header.request.stored(&items, tenant, now)? {
        return operation.replay(proof, stored);
    }
    let target = match operation.target(&proof, &mut items) {
        Ok(target) => target,
        Err(refusal) => return Err(count_refused_target(&app.store, limit.as_ref(), &items, refusal, now).await),
    };
    let slot = limit.as_ref().map(|limit| limit.slot(&items, now)).transpose();
    let checked = slot.and_then(|slot| Ok((slot, operation.check_rules(&proof, target, &items, now)?)));
    let (slot, permit) = match checked {
        Ok(checked) => checked,
        // The items are from before and after a concurrent change.
        Err(Error::Stale) => return Err(Error::Stale),
        // The refusal may be the effect of an earlier attempt of this very request: the next read finds its result.
        Err(_) if app.store.idempotency_completed(&header.request, now).await? => return Err(Error::Stale),
        Err(refusal) if operation.remove_cause(&proof, &refusal).await? => return Err(Error::Stale),
        Err(refusal) => {
            if let Some(limit) = limit {
                app.store.limit_charge(&limit, &items, now).await?;
            }
            return Err(refusal);
        }
    };
    let admitted = Admitted::new(slot, header.request.clone(), tenant, now);
    let approved = Approved {
        proof,
        permit,
        items,
        admitted,
    };
    operation.commit(approved).await
}

/// Counts a refused target. Of two refusals, the target's own is the response.
async fn count_refused_target(store: &Store, limit: Option<&Limit>, items: &Items, refusal: Error, now: Time) -> Error {
    let Some(limit) = limit else { return refusal };
    match store.limit_charge(limit, items, now).await {
        Ok(()) | Err(Error::RateLimited(_)) => refusal,
        Err(error) => error,
    }
}
