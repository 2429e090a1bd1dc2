//! Rate limits in the table. An item holds a ring of slots. Attribute `s<i>` is the time at which slot `i` was taken, in
//! milliseconds, and `n<i>` identifies the call that took it.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;

use super::write::UpdateError;
use super::{Item, Items, Key, Store, Write};
use crate::clock::Time;
use crate::error::Error;
use crate::models::limit::{BudgetState, Rule, SlotTimes};

/// Seconds that an item outlives its last slot. A clock that runs behind must not remove the item early.
const CLOCKS_APART_S: i64 = 900;

/// A limit rule applied to a subject, such as a user or a source address.
#[derive(Clone, Debug)]
pub struct Limit {
    rule: Rule,
    subject: String,
}

/// A slot that a call is going to take.
#[derive(Debug)]
pub struct Slot {
    key: Key,
    index: usize,
    free_until: Time,
    now: Time,
    expires_at: Time,
    nonce: String,
}

impl Limit {
    /// The limit of `rule` for `subject`.
    #[must_use]
    pub fn new(rule: Rule, subject: &(impl ToString + ?Sized)) -> Self {
        Self {
            rule,
            subject: subject.to_string(),
        }
    }

    /// The key of the item that holds the slots.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::limit(self.rule.name, &self.subject)
    }

    /// Selects a free slot from items that were read with [`Limit::key`]. [`Error::RateLimited`] when no slot is free.
    pub fn slot(&self, items: &Items, now: Time) -> Result<Slot, Error> {
        let taken = items.0.get(&self.key()).map(slot_times).unwrap_or_default();
        let salt = usize::from(u16::from_be_bytes(crate::ids::random_bytes()));
        let free = self.rule.free_slot(&taken, now, salt).map_err(Error::RateLimited)?;
        Ok(self.slot_at(free.index, now))
    }

    /// The state of a budget, from items that were read with [`Limit::key`].
    #[must_use]
    pub fn budget_state(&self, items: &Items, now: Time) -> BudgetState {
        let taken = items.0.get(&self.key()).map(slot_times).unwrap_or_default();
        self.rule.budget_state(&taken, now)
    }

    /// Predicts the state of a budget after `state`, without a read.
    #[must_use]
    pub fn budget_state_after(&self, state: BudgetState, now: Time) -> BudgetState {
        self.rule.budget_state_after(state, now)
    }

    /// The slot that `state` names; none when the budget is spent.
    #[must_use]
    pub fn slot_of(&self, state: BudgetState, now: Time) -> Option<Slot> {
        match state {
            BudgetState::Slot { index } => Some(self.slot_at(index, now)),
            BudgetState::Spent { .. } => None,
        }
    }

    fn slot_at(&self, index: usize, now: Time) -> Slot {
        Slot {
            key: self.key(),
            index,
            free_until: now.minus(self.rule.window),
            now,
            expires_at: now.plus(self.rule.window),
            nonce: u64::from_be_bytes(crate::ids::random_bytes()).to_string(),
        }
    }
}

/// The times in a limit's item. Attributes that do not hold a slot's time are ignored.
fn slot_times(item: &Item) -> SlotTimes {
    item.iter()
        .filter_map(|(name, value)| {
            let index = name.strip_prefix('s')?.parse().ok()?;
            let millis = value.as_n().ok()?.parse().ok()?;
            Some((index, Time::from_millis(millis)))
        })
        .collect()
}

impl Slot {
    /// The write that takes the slot if it is still free, for a transaction or for [`Store::slot_take`].
    #[must_use]
    pub(crate) fn write(&self) -> Write {
        Write::upsert(
            self.key.clone(),
            "SET #taken_at = :now, #nonce = :nonce, #ttl = :ttl, #entity = :entity",
        )
        .when("attribute_not_exists(#taken_at) OR #taken_at <= :free_until")
        .name("#taken_at", format!("s{}", self.index))
        .name("#nonce", format!("n{}", self.index))
        .bind(":now", self.now.as_millis())
        .bind(":nonce", &self.nonce)
        .bind(":free_until", self.free_until.as_millis())
        .bind(":ttl", self.expires_at.as_seconds() + CLOCKS_APART_S)
        .bind(":entity", "limit")
    }

    fn was_taken_by_this_call(&self, item: &Item) -> bool {
        item.get(&format!("n{}", self.index)) == Some(&AttributeValue::S(self.nonce.clone()))
    }
}

impl Store {
    /// Takes a slot. [`Error::Stale`] when a concurrent call took it first. A retry succeeds when an earlier attempt of the
    /// same call, whose response was lost, took the slot.
    pub(crate) async fn slot_take(&self, slot: &Slot) -> Result<(), Error> {
        match self.update_one::<serde::de::IgnoredAny>(slot.write()).await {
            Err(UpdateError::Condition(Some(item))) if slot.was_taken_by_this_call(&item) => Ok(()),
            other => other.map(|_| ()).map_err(Error::from),
        }
    }

    /// Takes a slot of `limit`, first from `items`, then from fresh reads while concurrent calls take the selected slots.
    pub async fn limit_charge(&self, limit: &Limit, items: &Items, now: Time) -> Result<(), Error> {
        match self.slot_take(&limit.slot(items, now)?).await {
            Err(Error::Stale) => {}
            result => return result,
        }
        super::retry_on_conflict(async || {
            let items = self.get(vec![limit.key()]).await?;
            self.slot_take(&limit.slot(&items, now)?).await
        })
        .await
    }
}

/// A limit that a request is charged for once, even when its decision runs several times.
#[derive(Debug)]
pub struct Charge {
    /// The limit.
    pub limit: Limit,
    charged: AtomicBool,
}

impl Charge {
    /// A charge that was not applied yet.
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            charged: AtomicBool::new(false),
        }
    }

    /// Refuses the request when the items show that the limit is used up and the charge was not applied yet.
    pub fn check(&self, items: &Items, now: Time) -> Result<(), Error> {
        if self.charged.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.limit.slot(items, now).map(|_| ())
    }

    /// Charges the limit, unless an earlier decision of the request did.
    pub async fn apply(&self, store: &Store, items: &Items, now: Time) -> Result<(), Error> {
        if self.charged.load(Ordering::SeqCst) {
            return Ok(());
        }
        // On the heap, because callers await this future together with others, and their own futures would grow large.
        Box::pin(store.limit_charge(&self.limit, items, now)).await?;
        self.charged.store(true, Ordering::SeqCst);
        Ok(())
    }
}
