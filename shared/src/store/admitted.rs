//! The admission of an operation: what its transaction writes besides the operation's own change.

use serde::Serialize;

use super::Write;
use super::idempotency::{IdempotentRequest, StoredResult};
use super::limit::Slot;
use crate::auth::access::Tenant;
use crate::clock::Time;

/// The limit's slot and the idempotency record of one admitted operation. Only [`crate::operation::perform`] makes it, and the store's
/// limited changes require it, so that no change escapes its limit or its key.
#[derive(Debug)]
pub struct Admitted {
    slot: Option<Slot>,
    idempotency: IdempotentRequest,
    tenant: Option<Tenant>,
    now: Time,
}

impl Admitted {
    /// The admission of an operation that passed every check at `now`.
    pub(crate) fn new(slot: Option<Slot>, idempotency: IdempotentRequest, tenant: Option<Tenant>, now: Time) -> Self {
        Self {
            slot,
            idempotency,
            tenant,
            now,
        }
    }

    /// The time at which the operation was admitted.
    #[must_use]
    pub fn at(&self) -> Time {
        self.now
    }

    /// The writes for the operation's transaction: the idempotency record with `result`, then the limit's slot. The record's
    /// condition fails when a concurrent request under the same key was committed first.
    pub(super) fn writes<T: Serialize>(&self, result: StoredResult<T>) -> Vec<Write> {
        let record = self.idempotency.record_write(self.tenant, result, self.now);
        record.into_iter().chain(self.slot.as_ref().map(Slot::write)).collect()
    }
}
