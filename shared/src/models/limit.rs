//! Rate limits: exact sliding windows.
//!
//! A limit of `n` calls in a window is a ring of `n` slots. A call takes a slot that is free or was taken at least one
//! window ago, and stores the current time in it. The store takes a slot under a condition on that slot's own time. So
//! no window ever holds more than `n` calls, and two concurrent calls conflict only when they chose the same slot.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::error::RateLimited;

/// A limit rule. The limit's key is the rule's name and a subject, such as a user or a source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's name in the key.
    pub name: &'static str,
    /// Calls permitted in a window.
    pub limit: usize,
    /// The window's length.
    pub window: Duration,
}

impl Default for BudgetState {
    fn default() -> Self {
        Self::Slot { index: 0 }
    }
}

impl Rule {
    const fn per_minute(name: &'static str, limit: usize) -> Self {
        Self {
            name,
            limit,
            window: Duration::from_secs(60),
        }
    }

    const fn per_hour(name: &'static str, limit: usize) -> Self {
        Self {
            name,
            limit,
            window: Duration::from_secs(3600),
        }
    }

    /// Creating invitations, per user.
    pub const INVITATION_CREATE: Self = Self::per_hour("invitation-create", 10);
    /// Resending invitations, per user.
    pub const INVITATION_RESEND: Self = Self::per_hour("invitation-resend", 10);
    /// Invitation mails per recipient, from all workspaces together, so that no mailbox is flooded. This is a budget:
    /// it withholds mails and refuses no request. See [`BudgetState`].
    pub const INVITATION_RECIPIENT: Self = Self {
        name: "invitation-recipient",
        limit: 5,
        window: Duration::from_secs(24 * 3600),
    };
    /// Revoking all sessions, per workspace.
    pub const REVOKE_ALL: Self = Self::per_minute("revoke-all", 1);
    /// Logging in, per e-mail address.
    pub const LOGIN_EMAIL: Self = Self::per_minute("login-email", 15);
    /// Logging in, per source address.
    pub const LOGIN_ADDRESS: Self = Self::per_minute("login-address", 60);
    /// Registering, per source address.
    pub const REGISTER: Self = Self::per_minute("register", 60);
    /// Previewing an invitation, per source address.
    pub const PREVIEW: Self = Self::per_minute("preview", 60);
    /// Declining an invitation, per source address.
    pub const DECLINE: Self = Self::per_minute("decline", 60);
    /// Accepting an invitation, per source address.
    pub const ACCEPT: Self = Self::per_minute("accept", 60);
}

/// A slot that may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeSlot {
    /// The slot's index in the ring.
    pub index: usize,
    /// The slot is still free if it was last taken at or before this time.
    pub free_until: Time,
}

/// Whether a budget has a slot for one more call. The state is stored with the item that the call wrote, so that the
/// next call on that item can predict its own slot without reading the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetState {
    /// A slot is available.
    Slot {
        /// The slot's index in the ring.
        index: usize,
    },
    /// The budget is spent.
    Spent {
        /// The slot that becomes free first.
        next: usize,
        /// When that slot becomes free. No slot is free earlier, because the times in the slots only grow.
        free_at: Time,
    },
}

/// The time at which each slot was last taken, by the slot's index.
pub type SlotTimes = BTreeMap<usize, Time>;

impl Rule {
    /// Chooses a free slot, or returns when the next slot becomes free. `salt` selects among the free slots, so that
    /// concurrent calls rarely choose the same one.
    pub(crate) fn free_slot(&self, taken: &SlotTimes, now: Time, salt: usize) -> Result<FreeSlot, RateLimited> {
        let free_until = now.minus(self.window);
        let free: Vec<usize> = (0..self.limit)
            .filter(|index| taken.get(index).is_none_or(|taken_at| *taken_at <= free_until))
            .collect();
        match free.get(salt.checked_rem(free.len()).unwrap_or(0)) {
            Some(index) => Ok(FreeSlot {
                index: *index,
                free_until,
            }),
            None => Err(self.refusal(taken, now)),
        }
    }

    /// Like [`Rule::free_slot`], but prefers the slot that follows the last one taken. The choice is then predictable
    /// from the last slot alone.
    fn next_slot(&self, taken: &SlotTimes, now: Time) -> Result<FreeSlot, RateLimited> {
        let last = taken
            .iter()
            .max_by_key(|(_, taken_at)| **taken_at)
            .map(|(index, _)| *index);
        let next = last.map_or(0, |index| self.following(index));
        let free = self.free_slot(taken, now, 0)?;
        let is_free = taken.get(&next).is_none_or(|taken_at| *taken_at <= free.free_until);
        Ok(FreeSlot {
            index: if is_free { next } else { free.index },
            ..free
        })
    }

    /// The budget's state for one more call.
    #[must_use]
    pub fn budget_state(&self, taken: &SlotTimes, now: Time) -> BudgetState {
        if let Ok(free) = self.next_slot(taken, now) {
            return BudgetState::Slot { index: free.index };
        }
        let oldest = taken.iter().min_by_key(|(_, taken_at)| **taken_at);
        let (next, taken_at) = oldest.map_or((0, now), |(index, taken_at)| (*index, *taken_at));
        BudgetState::Spent {
            next,
            free_at: taken_at.plus(self.window),
        }
    }

    /// Predicts the state that follows `previous` without reading the budget. A predicted slot is probably free, and
    /// the condition of the write that takes it decides. A predicted `Spent` is certain.
    #[must_use]
    pub fn budget_state_after(&self, previous: BudgetState, now: Time) -> BudgetState {
        match previous {
            BudgetState::Slot { index } => BudgetState::Slot {
                index: self.following(index),
            },
            BudgetState::Spent { free_at, .. } if now < free_at => previous,
            BudgetState::Spent { next, .. } => BudgetState::Slot { index: next },
        }
    }

    fn following(&self, index: usize) -> usize {
        (index + 1).checked_rem(self.limit).unwrap_or(0)
    }

    /// The error when no slot is free. The slot that was taken longest ago becomes free first.
    #[must_use]
    pub fn refusal(&self, taken: &SlotTimes, now: Time) -> RateLimited {
        let oldest = taken.values().min().copied().unwrap_or(now);
        let wait = oldest.plus(self.window).since(now);
        RateLimited {
            retry_after_s: u64::try_from(wait.as_millis().div_ceil(1000))
                .unwrap_or(u64::MAX)
                .max(1),
            limit: self.limit,
            window_s: self.window.as_secs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: Rule = Rule::per_hour("test", 10);

    #[test]
    fn retry_after_ends_when_the_oldest_slot_becomes_free() {
        let start = Time::from_millis(1_000_000_000_000);
        let taken: SlotTimes = (0..10)
            .map(|index| (index, start.plus(Duration::from_millis(1500 * index as u64))))
            .collect();
        let now = start.plus(Duration::from_secs(100));
        let refused = RULE.free_slot(&taken, now, 0).unwrap_err();
        assert_eq!(refused.retry_after_s, 3500);
        assert!(RULE.free_slot(&taken, now.plus(Duration::from_secs(3499)), 0).is_err());
        assert_eq!(
            RULE.free_slot(&taken, now.plus(Duration::from_secs(3500)), 7)
                .unwrap()
                .index,
            0
        );
    }

    #[test]
    fn next_slot_goes_around_the_ring_in_order() {
        let (mut taken, mut now, mut chosen) = (SlotTimes::new(), Time::from_millis(0), Vec::new());
        for _ in 0..25 {
            now = now.plus(Duration::from_secs(360));
            let slot = RULE.next_slot(&taken, now).unwrap();
            taken.insert(slot.index, now);
            chosen.push(slot.index);
        }
        assert!(chosen.iter().copied().eq((0..10).cycle().take(25)));
        assert!(RULE.next_slot(&taken, now.plus(Duration::from_secs(359))).is_err());
    }

    #[test]
    fn a_spent_budget_stays_spent_until_its_oldest_slot_is_one_window_old() {
        let start = Time::from_millis(1_000_000_000_000);
        let taken: SlotTimes = (0..10)
            .map(|index| (index, start.plus(Duration::from_secs((index as u64 + 7) % 10))))
            .collect();
        let at = |after_s| start.plus(Duration::from_secs(after_s));
        let spent = RULE.budget_state(&taken, at(60));
        let free_at = at(3600);
        assert_eq!(spent, BudgetState::Spent { next: 3, free_at });
        assert_eq!(RULE.budget_state_after(spent, at(3599)), spent);
        assert_eq!(RULE.budget_state_after(spent, at(3600)), BudgetState::Slot { index: 3 });
        assert_eq!(RULE.budget_state(&taken, at(3600)), BudgetState::Slot { index: 3 });
        assert_eq!(
            RULE.budget_state_after(BudgetState::Slot { index: 9 }, at(0)),
            BudgetState::Slot { index: 0 }
        );
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit(gaps in prop::collection::vec(0u64..900_000, 1..120), salt in any::<usize>()) {
            let (mut taken, mut now, mut admitted) = (SlotTimes::new(), Time::from_millis(0), Vec::new());
            for gap in gaps {
                now = now.plus(Duration::from_millis(gap));
                if let Ok(slot) = RULE.free_slot(&taken, now, salt) {
                    taken.insert(slot.index, now);
                    admitted.push(now);
                }
                let in_window = admitted.iter().filter(|at| **at > now.minus(RULE.window)).count();
                prop_assert!(in_window <= RULE.limit);
            }
        }
    }
}
