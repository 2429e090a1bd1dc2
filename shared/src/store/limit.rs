//! Rate limits in the table: an item holds a ring of slots, `s<i>` (when it was taken, in milliseconds) and `n<i>`
//! (by which call).

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;

use super::write::UpdateError;
use super::{Item, Items, Key, Store, Write};
use crate::clock::Time;
use crate::error::Error;
use crate::models::limit::{BudgetState, Rule, SlotTimes};

/// Seconds that an item outlives its last slot: a clock that is behind must not let it go early.
const CLOCKS_APART_S: i64 = 900;

/// A rule applied to somebody.
#[derive(Clone, Debug)]
pub struct Limit {
    rule: Rule,
    subject: String,
}

/// A slot that a call is about to take.
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
    /// `rule` for `subject`.
    #[must_use]
    pub fn new(rule: Rule, subject: &(impl ToString + ?Sized)) -> Self {
        Self {
            rule,
            subject: subject.to_string(),
        }
    }

    /// The item that holds its slots.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::limit(self.rule.name, &self.subject)
    }

    /// A free slot, from items that were read with [`Limit::key`]; [`Error::RateLimited`] when there is none.
    pub fn slot(&self, items: &Items, now: Time) -> Result<Slot, Error> {
        let stamps = items.0.get(&self.key()).map(stamps).unwrap_or_default();
        let salt = usize::from(u16::from_be_bytes(crate::ids::random_bytes()));
        let free = self.rule.free_slot(&stamps, now, salt).map_err(Error::RateLimited)?;
        Ok(self.taking(free.index, now))
    }

    /// What it has for one call more, as a budget that refuses nobody: from items that were read with [`Limit::key`].
    #[must_use]
    pub fn budget_state(&self, items: &Items, now: Time) -> BudgetState {
        let stamps = items.0.get(&self.key()).map(stamps).unwrap_or_default();
        self.rule.budget_state(&stamps, now)
    }

    /// The turn after `turn`, unread.
    #[must_use]
    pub fn budget_state_after(&self, turn: BudgetState, now: Time) -> BudgetState {
        self.rule.budget_state_after(turn, now)
    }

    /// The slot of a turn; none when the budget is spent.
    #[must_use]
    pub fn slot_of(&self, turn: BudgetState, now: Time) -> Option<Slot> {
        match turn {
            BudgetState::Slot { index } => Some(self.taking(index, now)),
            BudgetState::Spent { .. } => None,
        }
    }

    fn taking(&self, index: usize, now: Time) -> Slot {
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

/// Slot stamps as the item holds them; an attribute that is none is no slot.
fn stamps(item: &Item) -> SlotTimes {
    item.iter()
        .filter_map(|(name, value)| {
            let index = name.strip_prefix('s')?.parse().ok()?;
            let millis = value.as_n().ok()?.parse().ok()?;
            Some((index, Time::from_millis(millis)))
        })
        .collect()
}

impl Slot {
    /// The write that takes the slot, if it is still free: as part of a transaction, or by [`Store::slot_take`].
    #[must_use]
    pub(crate) fn write(&self) -> Write {
        Write::upsert(
            self.key.clone(),
            "SET #stamp = :now, #nonce = :nonce, #ttl = :ttl, #entity = :entity",
        )
        .when("attribute_not_exists(#stamp) OR #stamp <= :free_until")
        .name("#stamp", format!("s{}", self.index))
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
    /// Takes a slot. [`Error::Stale`] when another call took it first; a retry that finds the slot taken by its own
    /// first try, whose answer was lost, has it.
    pub async fn slot_take(&self, slot: &Slot) -> Result<(), Error> {
        match self.update_one::<serde::de::IgnoredAny>(slot.write()).await {
            Err(UpdateError::Condition(Some(item))) if slot.was_taken_by_this_call(&item) => Ok(()),
            other => other.map(|_| ()).map_err(Error::from),
        }
    }

    /// Takes a slot of `limit`, of which `items` were just read, choosing again while others are faster.
    pub async fn limit_charge(&self, limit: &Limit, items: &Items, now: Time) -> Result<(), Error> {
        match self.slot_take(&limit.slot(items, now)?).await {
            Err(Error::Stale) => {}
            settled => return settled,
        }
        super::retry_on_conflict(async || {
            let items = self.get(vec![limit.key()]).await?;
            self.slot_take(&limit.slot(&items, now)?).await
        })
        .await
    }
}

/// A limit that a request is charged for once, however often it decides again.
#[derive(Debug)]
pub struct Charge {
    /// The limit.
    pub limit: Limit,
    charged: AtomicBool,
}

impl Charge {
    /// A charge that is still due.
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            charged: AtomicBool::new(false),
        }
    }

    /// Refuses early, from what was read, when the limit has no room and the charge is still due.
    pub fn check(&self, items: &Items, now: Time) -> Result<(), Error> {
        if self.charged.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.limit.slot(items, now).map(|_| ())
    }

    /// Charges, unless that was done.
    pub async fn apply(&self, store: &Store, items: &Items, now: Time) -> Result<(), Error> {
        if self.charged.load(Ordering::SeqCst) {
            return Ok(());
        }
        // On the heap: callers wait for it beside other reads, and their futures would grow large.
        Box::pin(store.limit_charge(&self.limit, items, now)).await?;
        self.charged.store(true, Ordering::SeqCst);
        Ok(())
    }
}
