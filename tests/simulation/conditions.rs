//! Faults outside of the table, and the passing of time.

use aws_sdk_dynamodb::types::AttributeValue;
use local::mailbox::Fault;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::run::Simulation;
use crate::support::fault_injection::{Kill, Moment, without_faults};

/// Percentage of operations under faults whose process may end at one of its first five calls.
const KILL_PERCENT: u32 = 5;

/// Largest difference in seconds between the clocks of two environments; it is below the leeway of tokens.
pub const SKEW_MAX_S: i64 = 3;

/// The faults of a seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    /// Percentage of calls to the table that meet a fault.
    pub percent: u32,
    /// Whether half of the operations run in an environment with a different clock.
    pub has_clock_skew: bool,
}

impl Conditions {
    /// Percentage of operations whose process may end before its response.
    fn kill_percent(self) -> u32 {
        if self.percent > 0 { KILL_PERCENT } else { 0 }
    }
}

impl Simulation<'_> {
    /// Advances both clocks.
    pub fn advance_clocks(&self, seconds: i64) {
        self.world.pass(seconds);
        if let Some(second_environment) = &self.second_environment {
            second_environment.pass(seconds);
        }
    }

    /// Sets the second clock forward or back by a second.
    fn change_clock_skew(&mut self) {
        let Some(second_environment) = &self.second_environment else {
            return;
        };
        if self.random.random_bool(0.05) {
            let step = if self.random.random() { 1 } else { -1 };
            if (self.skew_s + step).abs() <= SKEW_MAX_S {
                self.skew_s += step;
                second_environment.pass(step);
                *self.counters.faults.entry("clock set".to_owned()).or_default() += 1;
            }
        }
    }

    /// Advances the clock, mostly by little, sometimes past the end of tokens, invitations and sessions.
    pub async fn advance_time(&mut self) {
        let seconds = match self.random.random_range(0..200) {
            0..110 => 0,
            110..160 => self.random.random_range(1..40),
            160..182 => self.random.random_range(40..300),
            182..191 => self.random.random_range(300..3600),
            191..195 => self.random.random_range(3600..30 * 3600),
            195..198 => 7 * 24 * 3600 + self.random.random_range(0..3600),
            _ => self.random.random_range(1..31) * 24 * 3600,
        };
        if seconds > 0 {
            // A write is late by seconds, not by hours.
            self.world.faults.wait_for_late_writes().await;
        }
        self.advance_clocks(seconds);
        self.change_clock_skew();
        // TTL deletes expired items late and in no fixed order.
        if self.random.random_bool(0.1) {
            for (pk, sk) in self.planner().expired_items() {
                let client = self.world.app.store.client();
                let delete = client.delete_item().table_name(self.world.app.store.table());
                let delete = delete
                    .key("pk", AttributeValue::S(pk.clone()))
                    .key("sk", AttributeValue::S(sk.clone()));
                without_faults(delete.send()).await.unwrap();
                self.table.remove(&(pk, sk));
            }
        }
    }

    /// Draws the call at which the process of the next operation ends, if it ends.
    pub fn draw_kill(&mut self) -> Option<Kill> {
        if self.conditions.kill_percent() == 0 || self.random.random_range(0..100) >= self.conditions.kill_percent() {
            return None;
        }
        let moments = [Moment::Before, Moment::During, Moment::After, Moment::After];
        Some(Kill {
            call: self.random.random_range(0..5),
            moment: *moments.choose(&mut self.random)?,
        })
    }

    pub fn set_mail_fault(&mut self) {
        self.world.mailbox.set_fault(None);
        if self.random.random_bool(0.2) {
            let (fault, name) = match self.random.random_range(0..60) {
                0..20 => (Fault::message_rejected(), "mail rejected"),
                20..40 => (Fault::too_many_requests(), "mail throttled"),
                40..59 => (Fault::internal_failure(), "mail service broken"),
                _ => {
                    self.ledger.may_send_twice = true;
                    (Fault::Silence { accepted: true }, "mail accepted, response lost")
                }
            };
            let many = self.random.random_range(1..4);
            self.world.mailbox.fault_next(many, fault);
            *self.counters.faults.entry(name.to_owned()).or_default() += 1;
        }
    }
}
