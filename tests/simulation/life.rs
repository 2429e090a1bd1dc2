//! One seed: a world, its people, and what happens to them. After every batch of deeds the whole table is read and judged.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures::future::join_all;
use local::mailbox::Mail;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::deeds::{Deed, KILLED, Op, Outcome, Someone};
use super::disclosure::{lists_tell_the_truth, note_marks, refusals_change_nothing};
use super::judge::judge;
use super::ledger::Ledger;
use super::once::is_done_once;
use super::oracle::expected;
use super::perform::{Task, perform};
use super::plan::Planner;
use super::reconcile::{learn, read_mails, reconcile};
use super::scene::Scene;
use super::scripts::{Script, Step};
use super::tally::Tally;
use super::usage::{good_records_are_taken, usage_is_counted_once};
use super::weather::{SKEW_MAX_S, Weather};
use crate::support::fault_injection::{Faults, spared};
use crate::support::harness::World;
use crate::support::invariants::{self, Table};
use crate::support::logs::Logs;

/// Batches of deeds in one seed.
const BATCHES: usize = 70;

pub struct Simulation<'w> {
    pub world: &'w World,
    /// Another environment, on another clock.
    pub elsewhere: Option<World>,
    /// How many seconds that clock is ahead.
    pub skew_s: i64,
    pub random: StdRng,
    pub people: Vec<Someone>,
    pub emails: Vec<String>,
    pub ledger: Ledger,
    pub table: Table,
    /// The deeds whose end nobody knows: of the last batch, and while late writes are on their way, of those before.
    pub carried: Vec<Deed>,
    /// Whether a late write was on its way when the table was last read.
    pub is_haunted: bool,
    /// What is to be triggered again.
    pub again: Vec<Op>,
    /// Mails that were read.
    pub read: BTreeSet<String>,
    /// Invitations that were mailed.
    pub mailed: Vec<String>,
    pub logs: Logs,
    pub weather: Weather,
    pub tally: Tally,
    /// The last deeds, to be told when something is found.
    pub story: Vec<String>,
}

/// Lives one seed.
pub async fn live(seed: u64, weather: Weather, logs: Logs) -> Tally {
    let world = World::faulty(Faults::seeded(seed, weather.percent)).await;
    let mut simulation = Simulation::new(&world, seed, weather, logs).await;
    simulation.run().await;
    let mut tally = simulation.tally;
    for (name, count) in world.faults.injected() {
        *tally.faults.entry(name.to_owned()).or_default() += u64::try_from(count).unwrap();
    }
    if !tally.findings.faults.is_empty() {
        tally.story = simulation.story;
    }
    world.faults.landed().await;
    let client = world.app.store.client();
    client
        .delete_table()
        .table_name(world.app.store.table())
        .send()
        .await
        .unwrap();
    tally
}

impl<'w> Simulation<'w> {
    /// The people of a seed, before anything happened.
    pub async fn new(world: &'w World, seed: u64, weather: Weather, logs: Logs) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let people: Vec<Someone> = (0..random.random_range(8..=12_u8))
            .map(|number| Someone {
                email: format!("p{number}.{seed}@example.com"),
                password: format!("passphrase of {number} in {seed}"),
                address: IpAddr::from([10, 7, 0, number]),
            })
            .collect();
        let mut ledger = Ledger {
            copies_excused: weather.percent > 0,
            ..Ledger::default()
        };
        ledger
            .secrets
            .extend(people.iter().map(|someone| someone.password.clone()));
        let skew_s = if weather.are_clocks_apart {
            random.random_range(-SKEW_MAX_S..=SKEW_MAX_S)
        } else {
            0
        };
        let elsewhere = if weather.are_clocks_apart {
            Some(world.environment_ahead(skew_s).await)
        } else {
            None
        };
        Self {
            table: invariants::read(world).await,
            world,
            elsewhere,
            skew_s,
            random,
            emails: people.iter().map(|someone| someone.email.clone()).collect(),
            people,
            ledger,
            carried: Vec::new(),
            is_haunted: false,
            again: Vec::new(),
            read: BTreeSet::new(),
            mailed: Vec::new(),
            logs,
            weather,
            tally: Tally {
                seeds: 1,
                ..Tally::default()
            },
            story: Vec::new(),
        }
    }

    /// Some found workspaces and ask others in, who come.
    pub async fn begin(&mut self) {
        let founders = self.random.random_range(2..=4);
        let ops: Vec<Op> = (0..founders).map(|who| self.planner().register(who)).collect();
        self.batch(ops).await;
        let ops = self.planner().morning();
        self.batch(ops).await;
        let ops = self.planner().opening(founders);
        self.batch(ops).await;
        let ops = self.planner().arrivals(founders);
        self.batch(ops).await;
    }

    async fn run(&mut self) {
        self.begin().await;
        let mut script = Script::new();
        for _ in 0..BATCHES {
            if !self.tally.findings.faults.is_empty() {
                return;
            }
            self.time_passes().await;
            self.mails_go_wrong();
            let ops = self.planner().morning();
            if ops.len() > 2 {
                self.batch(ops).await;
            }
            if script.is_empty() {
                script = self.planner().script();
            }
            if self.random.random_bool(0.3) && !self.again.is_empty() {
                let again = std::mem::take(&mut self.again);
                self.batch(again).await;
            }
            let ops = match script.pop_front() {
                Some(Step::Do(ops)) => ops,
                Some(Step::Ask(key, ops)) => {
                    self.ask(&key, ops).await;
                    continue;
                }
                Some(Step::AcceptNewest(who)) => self.planner().accept_newest(who),
                Some(Step::Pass(seconds)) => {
                    self.world.faults.landed().await;
                    self.pass(seconds);
                    continue;
                }
                None => continue,
            };
            self.batch(ops).await;
        }
        self.end().await;
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

    /// Does `ops` at once, and judges what came of it.
    pub async fn batch(&mut self, ops: Vec<Op>) {
        let task = |op| Task {
            op,
            key: None,
            kill: self.end_of_a_process(),
        };
        let tasks = ops.into_iter().map(task).collect();
        self.done(tasks).await;
    }

    /// As [`Simulation::batch`], under an idempotency key.
    async fn ask(&mut self, key: &str, ops: Vec<Op>) {
        let task = |op| Task {
            op,
            key: Some(key.to_owned()),
            kill: self.end_of_a_process(),
        };
        let tasks = ops.into_iter().map(task).collect();
        self.done(tasks).await;
    }

    /// As [`Simulation::batch`], by processes that end where it says.
    pub async fn done(&mut self, tasks: Vec<Task>) {
        let mut placed = Vec::new();
        for task in tasks {
            let is_elsewhere = self.elsewhere.is_some() && self.random.random();
            placed.push((task, is_elsewhere));
        }
        let doing = placed
            .into_iter()
            .map(|(task, is_elsewhere)| perform(self.environment(is_elsewhere), &self.people, &self.ledger, task));
        let deeds: Vec<Deed> = join_all(doing).await;
        let is_haunted = self.world.faults.are_writes_under_way();
        self.is_haunted |= is_haunted;
        let after = invariants::read(self.world).await;
        for deed in &deeds {
            if deed.code == KILLED {
                *self.tally.faults.entry("killed".to_owned()).or_default() += 1;
                self.ledger.copies_excused = true;
                // What triggers a function does so until it was heard.
                self.again.extend(deed.op.is_trigger().then(|| deed.op.clone()));
            }
            *self.tally.operations.entry(deed.op.kind()).or_default() += 1;
            *self.tally.answers.entry(deed.status).or_default() += 1;
            self.story.push(deed.told(&self.ledger));
        }
        self.story.push("--".to_owned());
        let surplus = self.story.len().saturating_sub(60);
        self.story.drain(..surplus);
        self.judge(&deeds, &after);
        self.table = after;
        if !is_haunted {
            self.carried.clear();
        }
        self.is_haunted = is_haunted;
        self.carried
            .extend(deeds.into_iter().filter(|deed| deed.outcome() == Outcome::Unknown));
        spared(self.probe()).await;
    }

    /// One of the environments.
    pub fn environment(&self, is_elsewhere: bool) -> &World {
        match &self.elsewhere {
            Some(elsewhere) if is_elsewhere => elsewhere,
            _ => self.world,
        }
    }

    pub fn judge(&mut self, deeds: &[Deed], after: &Table) {
        let findings = &mut self.tally.findings;
        let table = invariants::examine(after);
        for (rule, count) in table.checks {
            *findings.checks.entry(rule).or_default() += count;
        }
        findings.faults.extend(table.faults);
        // The marks of new workspaces are known from what they were called.
        note_marks(&mut self.ledger, after);
        let scene = Scene {
            before: &self.table,
            after,
            deeds,
            carried: &self.carried,
            is_haunted: self.is_haunted,
            ledger: &self.ledger,
            people: &self.people,
        };
        if self.weather.percent == 0 {
            for deed in deeds {
                findings.expect("I12", deed.outcome() != Outcome::Unknown, || {
                    format!("without a fault: {} {}", deed.told(&self.ledger), deed.text)
                });
                good_records_are_taken(&scene, deed, findings);
            }
        }
        for deed in deeds.iter().filter(|deed| deed.op.who(&self.ledger).is_some()) {
            let is_fit = deed.status < 500 || deed.code == "SERVICE_UNAVAILABLE" || deed.code == KILLED;
            findings.expect("contract", is_fit, || deed.told(&self.ledger));
        }
        if let Some(deed) = scene.lone()
            && deed.outcome() != Outcome::Unknown
            && let Some(right) = expected(&scene, deed)
        {
            let told = (deed.status, deed.code.as_str());
            findings.expect("contract", right.contains(&told), || {
                format!("{} instead of {right:?}", deed.told(&self.ledger))
            });
        }
        judge(&scene, findings);
        is_done_once(&scene, findings);
        refusals_change_nothing(&scene, findings);
        lists_tell_the_truth(&scene, findings);
        let lessons = learn(&scene);
        reconcile(&mut self.ledger, lessons, deeds, (&self.table, after), &self.emails);
        let new = self.new_mails();
        let findings = &mut self.tally.findings;
        read_mails(&mut self.ledger, &new, (&self.table, after), findings);
        let excess = self.ledger.excess();
        findings.expect("I10", excess.is_empty(), || excess.join("\n"));
        let scene = Scene {
            before: &self.table,
            after,
            deeds,
            carried: &self.carried,
            is_haunted: self.is_haunted,
            ledger: &self.ledger,
            people: &self.people,
        };
        usage_is_counted_once(&scene, findings);
        let logged = self.logs.take();
        let shown = self
            .ledger
            .secrets
            .iter()
            .find(|secret| logged.contains(secret.as_str()));
        findings.expect("I15", shown.is_none(), || "the log shows a secret".to_owned());
    }

    fn new_mails(&mut self) -> Vec<Mail> {
        let mails = self.world.mailbox.mails();
        let new: Vec<Mail> = mails
            .into_iter()
            .take_while(|mail| !self.read.contains(&mail.id))
            .collect();
        for mail in &new {
            self.read.insert(mail.id.clone());
            self.mailed.extend(mail.tags.get("invitation").cloned());
        }
        new
    }
}
