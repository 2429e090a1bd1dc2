//! Rate limits: exact sliding windows.
//!
//! A limit of `n` calls in a window is a ring of `n` slots. A call takes a slot that is free or was taken a whole
//! window ago, and stamps it. No window can hold more than `n` stamps, whatever the interleaving: the store takes a
//! slot with a condition on that slot's own stamp, and two calls collide only when they chose the same one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::error::RateLimited;

/// What is limited. The subject (a user, an address) is the other half of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in the key.
    pub name: &'static str,
    /// Calls permitted in a window.
    pub limit: usize,
    /// The window.
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

    /// Creating invitations, a user.
    pub const INVITATION_CREATE: Self = Self::per_hour("invitation-create", 10);
    /// Resending invitations, a user.
    pub const INVITATION_RESEND: Self = Self::per_hour("invitation-resend", 10);
    /// Mails of invitations to an e-mail, from all workspaces: nobody's mailbox is flooded. A budget, which refuses
    /// nobody: one person may create and resend more within an hour. See [`BudgetState`].
    pub const INVITATION_RECIPIENT: Self = Self {
        name: "invitation-recipient",
        limit: 5,
        window: Duration::from_secs(24 * 3600),
    };
    /// Revoking all sessions, a workspace.
    pub const REVOKE_ALL: Self = Self::per_minute("revoke-all", 1);
    /// Logging in, an e-mail.
    pub const LOGIN_EMAIL: Self = Self::per_minute("login-email", 15);
    /// Logging in, a source address.
    pub const LOGIN_ADDRESS: Self = Self::per_minute("login-address", 60);
    /// Registering, a source address.
    pub const REGISTER: Self = Self::per_minute("register", 60);
    /// Previewing an invitation, a source address.
    pub const PREVIEW: Self = Self::per_minute("preview", 60);
    /// Declining an invitation, a source address.
    pub const DECLINE: Self = Self::per_minute("decline", 60);
    /// Accepting an invitation, a source address.
    pub const ACCEPT: Self = Self::per_minute("accept", 60);
}

/// A slot that may be taken: its index, and the newest stamp under which it counts as free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeSlot {
    /// Which slot of the ring.
    pub index: usize,
    /// A stamp at or before this time is a window ago.
    pub free_until: Time,
}

/// What a budget had for one call more. It is kept with what the call made, so that the next one on that guesses its own
/// turn without reading the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetState {
    /// A slot.
    Slot {
        /// Which slot of the ring.
        index: usize,
    },
    /// None: the budget was spent.
    Spent {
        /// The slot that comes free first.
        next: usize,
        /// When it does. No slot is free before, as stamps only get newer.
        free_at: Time,
    },
}

/// The slots of a limit that are taken, by index.
pub type Stamps = BTreeMap<usize, Time>;

impl Rule {
    /// Chooses a free slot, the `salt`-th of them so that calls at once spread out, or says when the next comes free.
    pub fn free_slot(&self, stamps: &Stamps, now: Time, salt: usize) -> Result<FreeSlot, RateLimited> {
        let free_until = now.minus(self.window);
        let free: Vec<usize> = (0..self.limit)
            .filter(|index| stamps.get(index).is_none_or(|stamp| *stamp <= free_until))
            .collect();
        match free.get(salt.checked_rem(free.len()).unwrap_or(0)) {
            Some(index) => Ok(FreeSlot {
                index: *index,
                free_until,
            }),
            None => Err(self.refusal(stamps, now)),
        }
    }

    /// As [`Rule::free_slot`], but in turn: the slot behind the one that was taken last, so that who knows that one can
    /// guess the next.
    fn next_slot(&self, stamps: &Stamps, now: Time) -> Result<FreeSlot, RateLimited> {
        let last = stamps.iter().max_by_key(|(_, stamp)| **stamp).map(|(index, _)| *index);
        let next = last.map_or(0, |index| self.behind(index));
        let free = self.free_slot(stamps, now, 0)?;
        let is_free = stamps.get(&next).is_none_or(|stamp| *stamp <= free.free_until);
        Ok(FreeSlot {
            index: if is_free { next } else { free.index },
            ..free
        })
    }

    /// What the budget has for one call more.
    #[must_use]
    pub fn budget_state(&self, stamps: &Stamps, now: Time) -> BudgetState {
        if let Ok(free) = self.next_slot(stamps, now) {
            return BudgetState::Slot { index: free.index };
        }
        let oldest = stamps.iter().min_by_key(|(_, stamp)| **stamp);
        let (next, stamp) = oldest.map_or((0, now), |(index, stamp)| (*index, *stamp));
        BudgetState::Spent {
            next,
            free_at: stamp.plus(self.window),
        }
    }

    /// The turn after `turn`, the budget unread. A slot is likely free, and the write that takes it knows; a budget that is
    /// spent is so for sure.
    #[must_use]
    pub fn budget_state_after(&self, turn: BudgetState, now: Time) -> BudgetState {
        match turn {
            BudgetState::Slot { index } => BudgetState::Slot {
                index: self.behind(index),
            },
            BudgetState::Spent { free_at, .. } if now < free_at => turn,
            BudgetState::Spent { next, .. } => BudgetState::Slot { index: next },
        }
    }

    fn behind(&self, index: usize) -> usize {
        (index + 1).checked_rem(self.limit).unwrap_or(0)
    }

    /// The refusal when no slot is free: the oldest one comes free first.
    #[must_use]
    pub fn refusal(&self, stamps: &Stamps, now: Time) -> RateLimited {
        let oldest = stamps.values().min().copied().unwrap_or(now);
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
    fn retry_after_is_the_moment_the_oldest_slot_comes_free() {
        let start = Time::from_millis(1_000_000_000_000);
        let stamps: Stamps = (0..10)
            .map(|index| (index, start.plus(Duration::from_millis(1500 * index as u64))))
            .collect();
        let now = start.plus(Duration::from_secs(100));
        let refused = RULE.free_slot(&stamps, now, 0).unwrap_err();
        assert_eq!(refused.retry_after_s, 3500);
        assert!(RULE.free_slot(&stamps, now.plus(Duration::from_secs(3499)), 0).is_err());
        assert_eq!(
            RULE.free_slot(&stamps, now.plus(Duration::from_secs(3500)), 7)
                .unwrap()
                .index,
            0
        );
    }

    #[test]
    fn slots_in_turn_follow_each_other() {
        let (mut stamps, mut now, mut taken) = (Stamps::new(), Time::from_millis(0), Vec::new());
        for _ in 0..25 {
            now = now.plus(Duration::from_secs(360));
            let slot = RULE.next_slot(&stamps, now).unwrap();
            stamps.insert(slot.index, now);
            taken.push(slot.index);
        }
        assert!(taken.iter().copied().eq((0..10).cycle().take(25)));
        assert!(RULE.next_slot(&stamps, now.plus(Duration::from_secs(359))).is_err());
    }

    #[test]
    fn a_spent_budget_stays_so_until_its_oldest_slot_is_a_window_old() {
        let start = Time::from_millis(1_000_000_000_000);
        let stamps: Stamps = (0..10)
            .map(|index| (index, start.plus(Duration::from_secs((index as u64 + 7) % 10))))
            .collect();
        let at = |after_s| start.plus(Duration::from_secs(after_s));
        let spent = RULE.budget_state(&stamps, at(60));
        let free_at = at(3600);
        assert_eq!(spent, BudgetState::Spent { next: 3, free_at });
        assert_eq!(RULE.budget_state_after(spent, at(3599)), spent);
        assert_eq!(RULE.budget_state_after(spent, at(3600)), BudgetState::Slot { index: 3 });
        assert_eq!(RULE.budget_state(&stamps, at(3600)), BudgetState::Slot { index: 3 });
        assert_eq!(
            RULE.budget_state_after(BudgetState::Slot { index: 9 }, at(0)),
            BudgetState::Slot { index: 0 }
        );
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit(gaps in prop::collection::vec(0u64..900_000, 1..120), salt in any::<usize>()) {
            let (mut stamps, mut now, mut admitted) = (Stamps::new(), Time::from_millis(0), Vec::new());
            for gap in gaps {
                now = now.plus(Duration::from_millis(gap));
                if let Ok(slot) = RULE.free_slot(&stamps, now, salt) {
                    stamps.insert(slot.index, now);
                    admitted.push(now);
                }
                let in_window = admitted.iter().filter(|at| **at > now.minus(RULE.window)).count();
                prop_assert!(in_window <= RULE.limit);
            }
        }
    }
}
