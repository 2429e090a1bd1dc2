//! Requests with ended tokens after each batch, and the checks at the end of a seed.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::ledger::{RecordState, TokenState};
use super::operations::Operation;
use super::perform::person;
use super::run::Simulation;
use super::snapshot::{items_of, pending, text};
use crate::support::invariants::Table;

/// Largest number of tokens that are probed after a batch.
const PROBES_MAX: usize = 8;

impl Simulation<'_> {
    /// I6: tokens that have ended are refused. For a token of unknown state, the response decides.
    pub async fn probe(&mut self) {
        let in_second_environment = self.second_environment.is_some() && self.random.random();
        let now = self.environment(in_second_environment).clock.now();
        let usable = |at: &usize| self.ledger.tokens[*at].is_access_token_valid(now) == Some(true);
        let of = |state: TokenState| {
            let tokens = self.ledger.tokens.iter().enumerate();
            tokens.filter(move |(_, held)| held.state == state).map(|(at, _)| at)
        };
        let mut dead: Vec<usize> = of(TokenState::Ended).filter(usable).collect();
        dead.reverse();
        let some: Vec<usize> = dead.choose_multiple(&mut self.random, 2).copied().collect();
        dead.truncate(PROBES_MAX / 2);
        dead.extend(some);
        let maybe: Vec<usize> = of(TokenState::Unknown).filter(usable).take(PROBES_MAX).collect();
        for at in dead {
            let path = ["/auth/me", "/workspaces/", "/workspaces/members"]
                .choose(&mut self.random)
                .copied()
                .unwrap_or("/auth/me");
            let holder = person(
                self.environment(in_second_environment),
                &self.people,
                &self.ledger,
                self.ledger.tokens[at].who,
                Some(at),
            );
            let (read, refreshed) = futures::join!(holder.get(path), holder.refresh());
            let held = &self.ledger.tokens[at];
            for response in [read, refreshed] {
                self.counters.findings.expect("I6", response.status == 401, || {
                    format!(
                        "ended tokens of person {}, session {} ({}): expected 401, actual {}",
                        held.who, held.session, held.reason, response.status
                    )
                });
            }
        }
        for at in maybe {
            let holder = person(
                self.environment(in_second_environment),
                &self.people,
                &self.ledger,
                self.ledger.tokens[at].who,
                Some(at),
            );
            let response = holder.get("/auth/me").await;
            match response.status.as_u16() {
                200 => self.ledger.tokens[at].state = TokenState::Valid,
                401 => self.ledger.tokens[at].end("a request with it was refused"),
                other => self.counters.findings.expect("contract", false, || {
                    format!(
                        "GET /auth/me without faults: expected 200 or 401, actual {other}: {}",
                        response.text
                    )
                }),
            }
        }
    }

    /// Without faults, all unfinished work is completed: records, sums, mails.
    pub async fn finish(&mut self) {
        self.world.mailbox.set_fault(None);
        self.world.faults.stop();
        self.world.faults.wait_for_late_writes().await;
        self.conditions.percent = 0;
        while !self.triggers_to_retry.is_empty() {
            let again = std::mem::take(&mut self.triggers_to_retry);
            self.perform_batch(again).await;
        }
        self.perform_batch(vec![Operation::RetryMails]).await;
        for chunk in 0..4 {
            let open: Vec<usize> = (0..self.ledger.records.len())
                .filter(|at| self.ledger.records[*at].state != RecordState::Counted)
                .skip(chunk * 50)
                .take(50)
                .collect();
            self.perform_batch(vec![Operation::IngestUsage { records: open }]).await;
        }
        let workspaces: BTreeSet<String> = items_of(&self.table, "usage-hour")
            .filter_map(|row| row["pk"].as_str())
            .map(|pk| pk.trim_start_matches("USAGE#").to_owned())
            .collect();
        let roll_up = |workspace: &String| Operation::RollUp {
            workspace: workspace.clone(),
        };
        self.perform_batch(workspaces.iter().map(roll_up).collect()).await;
        let sums = |table: &Table| -> Table {
            let rows = table.iter();
            let rows = rows.filter(|(_, row)| row["entity"] == "usage-day" || row["entity"] == "usage-month");
            rows.map(|(key, row)| (key.clone(), row.clone())).collect()
        };
        let once = sums(&self.table);
        self.perform_batch(workspaces.iter().chain(&workspaces).map(roll_up).collect())
            .await;
        let again = sums(&self.table);
        let findings = &mut self.counters.findings;
        findings.expect("I8", once == again, || "a second roll-up changed a sum".to_owned());
        let markers = items_of(&self.table, "usage-dirty-marker").count();
        findings.expect("I8", markers == 0, || {
            format!("{markers} dirty markers remain after the roll-up")
        });
        for seconds in [61, 3700, 3700] {
            self.advance_clocks(seconds);
            self.perform_batch(vec![Operation::RetryMails]).await;
        }
        for row in items_of(&self.table, "invitation") {
            let id = text(row, "id");
            let Some(row) = pending(&self.table, &id) else { continue };
            let seen_to = row["delivery"]["status"] != "queued";
            self.counters.findings.expect("I9", seen_to, || {
                format!("the mail of invitation {id} is still queued: {}", row["delivery"])
            });
        }
    }
}
