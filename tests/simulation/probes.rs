//! What is tried between deeds, and what must be so when all is over.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::deeds::Op;
use super::ledger::{Life, Taken};
use super::life::Simulation;
use super::perform::person;
use super::scene::{all, pending, text};
use crate::support::invariants::Table;

/// Tokens that are tried after a batch at most.
const PROBES_MAX: usize = 8;

impl Simulation<'_> {
    /// I6: tokens that have ended are tried, and refused. Where nobody could say, the answer decides.
    pub async fn probe(&mut self) {
        let is_elsewhere = self.elsewhere.is_some() && self.random.random();
        let now = self.environment(is_elsewhere).clock.now();
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
            let path = ["/auth/me", "/workspaces/", "/workspaces/members"]
                .choose(&mut self.random)
                .copied()
                .unwrap_or("/auth/me");
            let holder = person(
                self.environment(is_elsewhere),
                &self.people,
                &self.ledger,
                self.ledger.tokens[at].who,
                Some(at),
            );
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
                self.environment(is_elsewhere),
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
    pub async fn end(&mut self) {
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
        let news = all(&self.table, "usage-dirty-marker").count();
        findings.expect("I8", news == 0, || format!("{news} news were left behind"));
        for seconds in [61, 3700, 3700] {
            self.pass(seconds);
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
