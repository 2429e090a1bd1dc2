//! One seed: a world, its people and their operations. After every batch, the whole table is read and checked.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures::future::join_all;
use local::mailbox::Mail;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::checker::check_batch;
use super::conditions::{Conditions, SKEW_MAX_S};
use super::counters::Counters;
use super::disclosure::{check_lists, check_refusals, note_marks};
use super::idempotency::check_idempotency;
use super::ledger::Ledger;
use super::operations::{KILLED, Operation, Outcome, Participant, PerformedOperation};
use super::oracle::expected;
use super::perform::{Task, perform};
use super::plan::Planner;
use super::reconcile::{check_mails, observe, reconcile};
use super::scripts::{Script, Step};
use super::snapshot::Snapshot;
use super::usage::{check_records_accepted, check_usage_counts};
use crate::support::fault_injection::{Faults, without_faults};
use crate::support::harness::World;
use crate::support::invariants::{self, Table};
use crate::support::logs::Logs;

/// Batches of operations in one seed.
const BATCHES: usize = 70;

pub struct Simulation<'w> {
    pub world: &'w World,
    /// A second environment with a clock of its own.
    pub second_environment: Option<World>,
    /// Seconds by which the second clock is ahead.
    pub skew_s: i64,
    pub random: StdRng,
    pub people: Vec<Participant>,
    pub emails: Vec<String>,
    pub ledger: Ledger,
    pub table: Table,
    /// Operations of earlier batches whose outcome is unknown and whose writes may still be applied.
    pub unresolved: Vec<PerformedOperation>,
    /// Whether a late write was still possible when the table was last read.
    pub is_late_write_possible: bool,
    /// Triggers whose process ended, and which are therefore called again.
    pub triggers_to_retry: Vec<Operation>,
    /// Ids of the mails that were checked.
    pub mails_read: BTreeSet<String>,
    /// Invitations that were mailed.
    pub mailed: Vec<String>,
    pub logs: Logs,
    pub conditions: Conditions,
    pub counters: Counters,
    /// Summaries of the last operations, printed when a check fails.
    pub recent_operations: Vec<String>,
}

/// Runs one seed.
pub async fn run_seed(seed: u64, conditions: Conditions, logs: Logs) -> Counters {
    let world = World::faulty(Faults::seeded(seed, conditions.percent)).await;
    let mut simulation = Simulation::new(&world, seed, conditions, logs).await;
    simulation.run_batches().await;
    let mut counters = simulation.counters;
    for (name, count) in world.faults.injected() {
        *counters.faults.entry(name.to_owned()).or_default() += u64::try_from(count).unwrap();
    }
    if !counters.findings.faults.is_empty() {
        counters.recent_operations = simulation.recent_operations;
    }
    world.faults.wait_for_late_writes().await;
    let client = world.app.store.client();
    client
        .delete_table()
        .table_name(world.app.store.table())
        .send()
        .await
        .unwrap();
    counters
}

impl<'w> Simulation<'w> {
    /// Creates the people of a seed before the first operation.
    pub async fn new(world: &'w World, seed: u64, conditions: Conditions, logs: Logs) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let people: Vec<Participant> = (0..random.random_range(8..=12_u8))
            .map(|number| Participant {
                email: format!("p{number}.{seed}@example.com"),
                password: format!("passphrase of {number} in {seed}"),
                address: IpAddr::from([10, 7, 0, number]),
            })
            .collect();
        let mut ledger = Ledger {
            may_send_twice: conditions.percent > 0,
            ..Ledger::default()
        };
        ledger
            .secrets
            .extend(people.iter().map(|participant| participant.password.clone()));
        let skew_s = if conditions.has_clock_skew {
            random.random_range(-SKEW_MAX_S..=SKEW_MAX_S)
        } else {
            0
        };
        let second_environment = if conditions.has_clock_skew {
            Some(world.environment_ahead(skew_s).await)
        } else {
            None
        };
        Self {
            table: invariants::read(world).await,
            world,
            second_environment,
            skew_s,
            random,
            emails: people.iter().map(|participant| participant.email.clone()).collect(),
            people,
            ledger,
            unresolved: Vec::new(),
            is_late_write_possible: false,
            triggers_to_retry: Vec::new(),
            mails_read: BTreeSet::new(),
            mailed: Vec::new(),
            logs,
            conditions,
            counters: Counters {
                seeds: 1,
                ..Counters::default()
            },
            recent_operations: Vec::new(),
        }
    }

    /// Registers owners, who create workspaces and invite other people, who accept.
    pub async fn create_initial_state(&mut self) {
        let founders = self.random.random_range(2..=4);
        let operations: Vec<Operation> = (0..founders).map(|who| self.planner().register(who)).collect();
        self.perform_batch(operations).await;
        let operations = self.planner().renew_sessions();
        self.perform_batch(operations).await;
        let operations = self.planner().initial_invitations(founders);
        self.perform_batch(operations).await;
        let operations = self.planner().initial_acceptances(founders);
        self.perform_batch(operations).await;
    }

    async fn run_batches(&mut self) {
        self.create_initial_state().await;
        let mut script = Script::new();
        for _ in 0..BATCHES {
            if !self.counters.findings.faults.is_empty() {
                return;
            }
            self.advance_time().await;
            self.set_mail_fault();
            let operations = self.planner().renew_sessions();
            if operations.len() > 2 {
                self.perform_batch(operations).await;
            }
            if script.is_empty() {
                script = self.planner().script();
            }
            if self.random.random_bool(0.3) && !self.triggers_to_retry.is_empty() {
                let again = std::mem::take(&mut self.triggers_to_retry);
                self.perform_batch(again).await;
            }
            let operations = match script.pop_front() {
                Some(Step::Perform(operations)) => operations,
                Some(Step::PerformWithKey(key, operations)) => {
                    self.perform_with_key(&key, operations).await;
                    continue;
                }
                Some(Step::AcceptNewest(who)) => self.planner().accept_newest(who),
                Some(Step::Wait(seconds)) => {
                    self.world.faults.wait_for_late_writes().await;
                    self.advance_clocks(seconds);
                    continue;
                }
                None => continue,
            };
            self.perform_batch(operations).await;
        }
        self.finish().await;
    }

    pub fn planner(&mut self) -> Planner<'_> {
        Planner {
            random: &mut self.random,
            ledger: &mut self.ledger,
            table: &self.table,
            people: &self.people,
            mailed: &self.mailed,
            now: self.world.clock.now(),
        }
    }

    /// Performs `operations` concurrently and checks the result.
    pub async fn perform_batch(&mut self, operations: Vec<Operation>) {
        let task = |operation| Task {
            operation,
            key: None,
            kill: self.draw_kill(),
        };
        let tasks = operations.into_iter().map(task).collect();
        self.perform_tasks(tasks).await;
    }

    /// Does the same as [`Simulation::perform_batch`] under an idempotency key.
    async fn perform_with_key(&mut self, key: &str, operations: Vec<Operation>) {
        let task = |operation| Task {
            operation,
            key: Some(key.to_owned()),
            kill: self.draw_kill(),
        };
        let tasks = operations.into_iter().map(task).collect();
        self.perform_tasks(tasks).await;
    }

    /// Does the same as [`Simulation::perform_batch`] in processes that may end early.
    pub async fn perform_tasks(&mut self, tasks: Vec<Task>) {
        let mut placed = Vec::new();
        for task in tasks {
            let in_second_environment = self.second_environment.is_some() && self.random.random();
            placed.push((task, in_second_environment));
        }
        let doing = placed.into_iter().map(|(task, in_second_environment)| {
            perform(
                self.environment(in_second_environment),
                &self.people,
                &self.ledger,
                task,
            )
        });
        let batch: Vec<PerformedOperation> = join_all(doing).await;
        let is_late_write_possible = self.world.faults.are_writes_under_way();
        self.is_late_write_possible |= is_late_write_possible;
        let after = invariants::read(self.world).await;
        for performed in &batch {
            if performed.code == KILLED {
                *self.counters.faults.entry("killed".to_owned()).or_default() += 1;
                self.ledger.may_send_twice = true;
                // A trigger is repeated until it is acknowledged.
                self.triggers_to_retry
                    .extend(performed.operation.is_trigger().then(|| performed.operation.clone()));
            }
            *self.counters.operations.entry(performed.operation.kind()).or_default() += 1;
            *self.counters.responses.entry(performed.status).or_default() += 1;
            self.recent_operations.push(performed.summary(&self.ledger));
        }
        self.recent_operations.push("--".to_owned());
        let surplus = self.recent_operations.len().saturating_sub(60);
        self.recent_operations.drain(..surplus);
        self.check(&batch, &after);
        self.table = after;
        if !is_late_write_possible {
            self.unresolved.clear();
        }
        self.is_late_write_possible = is_late_write_possible;
        self.unresolved.extend(
            batch
                .into_iter()
                .filter(|performed| performed.outcome() == Outcome::Unknown),
        );
        without_faults(self.probe()).await;
    }

    /// Returns one of the two environments.
    pub fn environment(&self, in_second_environment: bool) -> &World {
        match &self.second_environment {
            Some(second_environment) if in_second_environment => second_environment,
            _ => self.world,
        }
    }

    fn check(&mut self, batch: &[PerformedOperation], after: &Table) {
        let findings = &mut self.counters.findings;
        let table = invariants::examine(after);
        for (rule, count) in table.checks {
            *findings.checks.entry(rule).or_default() += count;
        }
        findings.faults.extend(table.faults);
        // The name of a new workspace contains its mark.
        note_marks(&mut self.ledger, after);
        let snapshot = Snapshot {
            before: &self.table,
            after,
            batch,
            unresolved: &self.unresolved,
            is_late_write_possible: self.is_late_write_possible,
            ledger: &self.ledger,
            people: &self.people,
        };
        if self.conditions.percent == 0 {
            for performed in batch {
                findings.expect("I12", performed.outcome() != Outcome::Unknown, || {
                    format!(
                        "unknown outcome without a fault: {} {}",
                        performed.summary(&self.ledger),
                        performed.text
                    )
                });
                check_records_accepted(&snapshot, performed, findings);
            }
        }
        for performed in batch
            .iter()
            .filter(|performed| performed.operation.who(&self.ledger).is_some())
        {
            let is_fit = performed.status < 500 || performed.code == "SERVICE_UNAVAILABLE" || performed.code == KILLED;
            findings.expect("contract", is_fit, || performed.summary(&self.ledger));
        }
        if let Some(performed) = snapshot.only_operation()
            && performed.outcome() != Outcome::Unknown
            && let Some(right) = expected(&snapshot, performed)
        {
            let response = (performed.status, performed.code.as_str());
            findings.expect("contract", right.contains(&response), || {
                format!("{}; expected one of {right:?}", performed.summary(&self.ledger))
            });
        }
        check_batch(&snapshot, findings);
        check_idempotency(&snapshot, findings);
        check_refusals(&snapshot, findings);
        check_lists(&snapshot, findings);
        let observations = observe(&snapshot);
        reconcile(
            &mut self.ledger,
            observations,
            batch,
            (&self.table, after),
            &self.emails,
        );
        let new = self.new_mails();
        let findings = &mut self.counters.findings;
        check_mails(&mut self.ledger, &new, (&self.table, after), findings);
        let excess = self.ledger.excess();
        findings.expect("I10", excess.is_empty(), || excess.join("\n"));
        let snapshot = Snapshot {
            before: &self.table,
            after,
            batch,
            unresolved: &self.unresolved,
            is_late_write_possible: self.is_late_write_possible,
            ledger: &self.ledger,
            people: &self.people,
        };
        check_usage_counts(&snapshot, findings);
        let logged = self.logs.take();
        let shown = self
            .ledger
            .secrets
            .iter()
            .find(|secret| logged.contains(secret.as_str()));
        findings.expect("I15", shown.is_none(), || "the log contains a secret".to_owned());
    }

    fn new_mails(&mut self) -> Vec<Mail> {
        let mails = self.world.mailbox.mails();
        let new: Vec<Mail> = mails
            .into_iter()
            .take_while(|mail| !self.mails_read.contains(&mail.id))
            .collect();
        for mail in &new {
            self.mails_read.insert(mail.id.clone());
            self.mailed.extend(mail.tags.get("invitation").cloned());
        }
        new
    }
}
