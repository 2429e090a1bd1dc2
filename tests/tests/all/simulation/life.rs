//! One seed: a world, its people, and what happens to them. After every batch of deeds the whole table is read and judged.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use local::mailbox::{Fault, Mail};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::deeds::{Deed, KILLED, Op, Outcome, Someone, perform, person};
use super::judge::judge;
use super::ledger::{Ledger, Life, Taken};
use super::oracle::expected;
use super::plan::Planner;
use super::scene::{Scene, all, pending, text};
use super::scripts::{Script, Step};
use super::settle::{learn, read_mails, settle};
use super::tally::Tally;
use super::told::{lists_tell_the_truth, note_marks, refusals_change_nothing};
use super::usage::{good_records_are_taken, usage_is_counted_once};
use crate::faulty::{Faults, Kill, Moment, spared};
use crate::harness::World;
use crate::invariants::{self, Table};
use crate::logs::Logs;

/// Batches of deeds in one seed.
const BATCHES: usize = 70;
/// Of a hundred deeds in bad weather, how many are done by a process that may end at its first to fifth call.
const KILLS: u32 = 5;
/// Tokens that are tried after a batch at most.
const PROBES_MAX: usize = 8;

/// How much goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of a hundred calls to the table, how many meet a fault.
    pub percent: u32,
}

impl Weather {
    /// Of a hundred deeds, how many are done by a process that may end before it has answered.
    fn kills(self) -> u32 {
        if self.percent > 0 { KILLS } else { 0 }
    }
}

pub struct Simulation<'w> {
    pub world: &'w World,
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
        Self {
            table: invariants::read(world).await,
            world,
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
                Some(Step::AcceptNewest(who)) => self.planner().accept_newest(who),
                Some(Step::Pass(seconds)) => {
                    self.world.faults.landed().await;
                    self.world.pass(seconds);
                    continue;
                }
                None => continue,
            };
            self.batch(ops).await;
        }
        self.end().await;
    }

    fn planner(&mut self) -> Planner<'_> {
        Planner {
            random: &mut self.random,
            ledger: &mut self.ledger,
            table: &self.table,
            people: &self.people,
            mailed: &self.mailed,
            now: self.world.clock.now(),
        }
    }

    /// The clock moves, mostly a little, now and then past the end of tokens, invitations and sessions.
    async fn time_passes(&mut self) {
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
            self.world.faults.landed().await;
        }
        self.world.pass(seconds);
        // The table deletes what has expired, late, and not all at once.
        if self.random.random_bool(0.1) {
            for (pk, sk) in self.planner().expired_items() {
                let client = self.world.app.store.client();
                let delete = client.delete_item().table_name(self.world.app.store.table());
                let delete = delete
                    .key("pk", AttributeValue::S(pk.clone()))
                    .key("sk", AttributeValue::S(sk.clone()));
                spared(delete.send()).await.unwrap();
                self.table.remove(&(pk, sk));
            }
        }
    }

    /// Where the process that is about to do something ends, if it does.
    fn end_of_a_process(&mut self) -> Option<Kill> {
        if self.weather.kills() == 0 || self.random.random_range(0..100) >= self.weather.kills() {
            return None;
        }
        let moments = [Moment::Before, Moment::During, Moment::After, Moment::After];
        Some(Kill {
            call: self.random.random_range(0..5),
            moment: *moments.choose(&mut self.random)?,
        })
    }

    fn mails_go_wrong(&mut self) {
        self.world.mailbox.set_fault(None);
        if self.random.random_bool(0.2) {
            let (fault, name) = match self.random.random_range(0..60) {
                0..20 => (Fault::message_rejected(), "mail rejected"),
                20..40 => (Fault::too_many_requests(), "mail throttled"),
                40..59 => (Fault::internal_failure(), "mail service broken"),
                _ => {
                    self.ledger.copies_excused = true;
                    (Fault::Silence { accepted: true }, "mail taken, answer lost")
                }
            };
            let many = self.random.random_range(1..4);
            self.world.mailbox.fault_next(many, fault);
            *self.tally.faults.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// Does `ops` at once, and judges what came of it.
    pub async fn batch(&mut self, ops: Vec<Op>) {
        let ops = ops.into_iter().map(|op| (op, self.end_of_a_process())).collect();
        self.done(ops).await;
    }

    /// As [`Simulation::batch`], by processes that end where it says.
    pub async fn done(&mut self, ops: Vec<(Op, Option<Kill>)>) {
        let doing = ops
            .into_iter()
            .map(|(op, kill)| perform(self.world, &self.people, &self.ledger, op, kill));
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
        refusals_change_nothing(&scene, findings);
        lists_tell_the_truth(&scene, findings);
        let lessons = learn(&scene);
        settle(&mut self.ledger, lessons, deeds, (&self.table, after), &self.emails);
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

    /// I6: tokens that have ended are tried, and refused. Where nobody could say, the answer decides.
    pub async fn probe(&mut self) {
        let now = self.world.clock.now();
        let usable = |at: &usize| self.ledger.tokens[*at].access_in_time(now) == Some(true);
        let of = |life: Life| {
            let tokens = self.ledger.tokens.iter().enumerate();
            tokens.filter(move |(_, held)| held.life == life).map(|(at, _)| at)
        };
        let mut dead: Vec<usize> = of(Life::Dead).filter(usable).collect();
        dead.reverse();
        let some: Vec<usize> = dead.choose_multiple(&mut self.random, 2).copied().collect();
        dead.truncate(PROBES_MAX / 2);
        dead.extend(some);
        let maybe: Vec<usize> = of(Life::Maybe).filter(usable).take(PROBES_MAX).collect();
        for at in dead {
            let holder = person(
                self.world,
                &self.people,
                &self.ledger,
                self.ledger.tokens[at].who,
                Some(at),
            );
            let path = ["/auth/me", "/workspaces/", "/workspaces/members"]
                .choose(&mut self.random)
                .copied()
                .unwrap_or("/auth/me");
            let (read, refreshed) = futures::join!(holder.get(path), holder.refresh());
            let held = &self.ledger.tokens[at];
            for answer in [read, refreshed] {
                self.tally.findings.expect("I6", answer.status == 401, || {
                    format!(
                        "tokens of person {}, session {} have ended, as {}, and are answered {}",
                        held.who, held.session, held.because, answer.status
                    )
                });
            }
        }
        for at in maybe {
            let holder = person(
                self.world,
                &self.people,
                &self.ledger,
                self.ledger.tokens[at].who,
                Some(at),
            );
            let answer = holder.get("/auth/me").await;
            match answer.status.as_u16() {
                200 => self.ledger.tokens[at].life = Life::Alive,
                401 => self.ledger.tokens[at].end("it was refused"),
                other => self.tally.findings.expect("contract", false, || {
                    format!("a look without faults is answered {other}: {}", answer.text)
                }),
            }
        }
    }

    /// Without faults everything that was left half-way is seen to: records, sums, mails.
    async fn end(&mut self) {
        self.world.mailbox.set_fault(None);
        self.world.faults.stop();
        self.world.faults.landed().await;
        self.weather.percent = 0;
        while !self.again.is_empty() {
            let again = std::mem::take(&mut self.again);
            self.batch(again).await;
        }
        self.batch(vec![Op::RetryMails]).await;
        for chunk in 0..4 {
            let open: Vec<usize> = (0..self.ledger.records.len())
                .filter(|at| self.ledger.records[*at].taken != Taken::Surely)
                .skip(chunk * 50)
                .take(50)
                .collect();
            self.batch(vec![Op::Deliver { records: open }]).await;
        }
        let workspaces: BTreeSet<String> = all(&self.table, "usage-hour")
            .filter_map(|row| row["pk"].as_str())
            .map(|pk| pk.trim_start_matches("USAGE#").to_owned())
            .collect();
        let roll_up = |workspace: &String| Op::RollUp {
            workspace: workspace.clone(),
        };
        self.batch(workspaces.iter().map(roll_up).collect()).await;
        let sums = |table: &Table| -> Table {
            let rows = table.iter();
            let rows = rows.filter(|(_, row)| row["entity"] == "usage-day" || row["entity"] == "usage-month");
            rows.map(|(key, row)| (key.clone(), row.clone())).collect()
        };
        let once = sums(&self.table);
        self.batch(workspaces.iter().chain(&workspaces).map(roll_up).collect())
            .await;
        let again = sums(&self.table);
        let findings = &mut self.tally.findings;
        findings.expect("I8", once == again, || "a rerun changed a sum".to_owned());
        let news = all(&self.table, "usage-news").count();
        findings.expect("I8", news == 0, || format!("{news} news were left behind"));
        for seconds in [61, 3700, 3700] {
            self.world.pass(seconds);
            self.batch(vec![Op::RetryMails]).await;
        }
        for row in all(&self.table, "invitation") {
            let id = text(row, "id");
            let Some(row) = pending(&self.table, &id) else { continue };
            let seen_to = row["delivery"]["status"] != "queued";
            self.tally.findings.expect("I9", seen_to, || {
                format!("the mail of {id} is forgotten: {}", row["delivery"])
            });
        }
    }
}
