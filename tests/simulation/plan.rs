//! Plans the next operations: allowed and forbidden ones, alone, concurrent, and concurrent on one subject.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use shared::clock::Time;

use super::ledger::{Ledger, Record, RecordState, TokenState};
use super::operations::{Operation, Participant, PersonIndex, TokenIndex};
use super::snapshot::{items_of, text};
use crate::support::invariants::Table;

const ROLES: [&str; 4] = ["owner", "manager", "field_worker", "member"];

/// The state from which operations are planned.
pub struct Planner<'a> {
    pub random: &'a mut StdRng,
    pub ledger: &'a mut Ledger,
    pub table: &'a Table,
    pub people: &'a [Participant],
    /// Invitations whose mail the mail service accepted.
    pub mailed: &'a [String],
    pub now: Time,
}

impl Planner<'_> {
    /// An operation of `who` that needs tokens; without valid tokens, `who` first refreshes or logs in.
    fn with_token(
        &mut self,
        who: PersonIndex,
        operation: impl FnOnce(&mut Self, TokenIndex) -> Operation,
    ) -> Operation {
        match self.token(who) {
            Some(token) => operation(self, token),
            None => match self.refreshable(who) {
                Some(token) if !self.chance(15) => Operation::Refresh { token },
                _ => self.join_or_log_in(who),
            },
        }
    }

    /// Refreshes or logs in for everyone who has an account and no valid access token.
    pub fn renew_sessions(&mut self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for who in 0..self.people.len() {
            let now = self.now;
            let works = self.ledger.tokens.iter().any(|held| {
                held.who == who && held.state == TokenState::Valid && held.is_access_token_valid(now) == Some(true)
            });
            if works || self.account(who).is_none() {
                continue;
            }
            match self.refreshable(who) {
                Some(token) => operations.push(Operation::Refresh { token }),
                None if self.chance(50) => operations.push(self.log_in(who)),
                None => {}
            }
        }
        operations
    }

    /// The first owners invite the other people.
    pub fn initial_invitations(&mut self, founders: usize) -> Vec<Operation> {
        let mut operations = Vec::new();
        for who in founders..self.people.len().saturating_sub(2) {
            let owner_membership = who % founders;
            let Some(token) = self.token(owner_membership) else {
                continue;
            };
            let role = ROLES.choose(self.random).unwrap_or(&"member");
            let email = self.people[who].email.clone();
            operations.push(Operation::Invite { token, email, role });
        }
        operations
    }

    /// The invited people accept.
    pub fn initial_acceptances(&mut self, founders: usize) -> Vec<Operation> {
        (founders..self.people.len().saturating_sub(2))
            .filter_map(|who| {
                let email = &self.people[who].email;
                let (id, link) = self.ledger.links.iter().find(|(_, link)| link.email == *email)?;
                Some(Operation::Accept {
                    who,
                    invitation: id.clone(),
                    secret: link.secret.clone(),
                    bearer: None,
                    password: Some(self.people[who].password.clone()),
                })
            })
            .collect()
    }

    fn join_or_log_in(&mut self, who: PersonIndex) -> Operation {
        if self.account(who).is_some() {
            return self.log_in(who);
        }
        // A person without an account mostly waits for an invitation.
        if self.chance(25) {
            return self.register(who);
        }
        self.accept(Some(who)).unwrap_or_else(|| self.register(who))
    }

    pub fn register(&mut self, who: PersonIndex) -> Operation {
        let mark = self.mark();
        let company = format!("Company {mark}");
        self.ledger.companies.push((who, mark));
        Operation::Register { who, company }
    }

    fn log_in(&mut self, who: PersonIndex) -> Operation {
        let known = self.ledger.passwords.get(&self.people[who].email);
        let right = known.and_then(|passwords| passwords.first().cloned());
        let password = match right {
            Some(right) if !self.chance(7) => right,
            _ => "this password is wrong".to_owned(),
        };
        Operation::LogIn { who, password }
    }

    pub fn operation(&mut self) -> Operation {
        let who = self.actor();
        match self.random.random_range(0..100) {
            0..5 => {
                let who = self.participant();
                self.join_or_log_in(who)
            }
            5..8 => {
                let who = self.participant();
                self.log_in(who)
            }
            8..15 => self.refresh(),
            15..17 => self.with_token(who, |_, token| Operation::LogOut { token }),
            17..19 => self.with_token(who, |_, token| Operation::RevokeAll { token }),
            19..22 => self.with_token(who, |it, token| Operation::CreateWorkspace {
                token,
                name: format!("Workspace {}", it.mark()),
            }),
            22..25 => self.with_token(who, Self::rename),
            25..27 => self.with_token(who, |_, token| Operation::DeleteWorkspace { token }),
            27..42 => self.with_token(who, move |it, token| it.invite(who, token)),
            42..46 => self.with_token(who, |it, token| {
                let invitation = it.invitation(token);
                Operation::Resend { token, invitation }
            }),
            46..49 => self.with_token(who, |it, token| {
                let invitation = it.invitation(token);
                Operation::Cancel { token, invitation }
            }),
            49..52 => self.with_token(who, Self::extend),
            52..68 => self.accept(None).unwrap_or_else(|| self.join_or_log_in(who)),
            68..70 => self.show(),
            70..75 => self.with_token(who, |it, token| {
                let target = it.target(token);
                it.change_role(token, target)
            }),
            75..79 => self.with_token(who, |it, token| {
                let target = it.target(token);
                Operation::Remove { token, target }
            }),
            79..86 => self.with_token(who, Self::read_operation),
            86..91 => self.ingest_usage(),
            91..94 => self.roll_up().unwrap_or(Operation::RetryMails),
            94..97 => Operation::RetryMails,
            _ => self.mail_event().unwrap_or(Operation::RetryMails),
        }
    }

    fn read_operation(&mut self, token: TokenIndex) -> Operation {
        let paths = [
            "/workspaces/",
            "/workspaces/members",
            "/workspaces/invitations",
            "/workspaces/usage",
            "/auth/me",
        ];
        let path = paths.choose(self.random).unwrap_or(&"/auth/me");
        Operation::Read { token, path }
    }

    fn refresh(&mut self) -> Operation {
        let ended_too = self.chance(25);
        let fits = |(_, held): &(usize, &super::ledger::HeldTokens)| {
            let current = self.ledger.sessions.get(&held.session);
            ended_too
                || (held.state != TokenState::Ended
                    && current.is_some_and(|session| session.generation == held.generation))
        };
        let some: Vec<usize> = self
            .ledger
            .tokens
            .iter()
            .enumerate()
            .filter(fits)
            .map(|(at, _)| at)
            .collect();
        if let Some(token) = some.choose(self.random) {
            Operation::Refresh { token: *token }
        } else {
            let who = self.participant();
            self.join_or_log_in(who)
        }
    }

    fn rename(&mut self, token: TokenIndex) -> Operation {
        let who = self.ledger.tokens[token].who;
        let own = self
            .home(who)
            .and_then(|(home, _)| self.ledger.marks.get(&home).cloned());
        let mark = own.unwrap_or_default();
        let name = format!("Called {} {mark}", self.random.random_range(0..1000));
        Operation::UpdateWorkspace { token, name }
    }

    pub fn invite(&mut self, who: PersonIndex, token: TokenIndex) -> Operation {
        let mark = self
            .home(who)
            .and_then(|(home, _)| self.ledger.marks.get(&home).cloned());
        let free: Vec<PersonIndex> = (0..self.people.len()).filter(|who| self.home(*who).is_none()).collect();
        let email = match self.random.random_range(0..100) {
            0..60 if !free.is_empty() => {
                let who = free.choose(self.random).copied().unwrap_or_default();
                self.people[who].email.clone()
            }
            60..80 => {
                let who = self.participant();
                self.people[who].email.clone()
            }
            _ => format!(
                "guest{}.{}@example.com",
                self.random.random_range(0..6),
                mark.unwrap_or_default()
            ),
        };
        let email = match self.random.random_range(0..4) {
            0 => email.to_uppercase(),
            1 => format!(" {email} "),
            _ => email,
        };
        let role = ROLES.choose(self.random).unwrap_or(&"member");
        Operation::Invite { token, email, role }
    }

    fn extend(&mut self, token: TokenIndex) -> Operation {
        let invitation = self.invitation(token);
        let days = self.random.random_range(1..80);
        let expires_at = self.now.plus(Duration::from_secs(days * 24 * 3600)).to_string();
        Operation::Extend {
            token,
            invitation,
            expires_at,
        }
    }

    fn change_role(&mut self, token: TokenIndex, target: String) -> Operation {
        let role = ROLES.choose(self.random).unwrap_or(&"member");
        Operation::ChangeRole { token, target, role }
    }

    fn accept(&mut self, of: Option<PersonIndex>) -> Option<Operation> {
        let (invitation, secret, addressee) = self.link(of)?;
        let who = if self.chance(85) { addressee } else { self.participant() };
        let bearer = if self.chance(40) { self.token(who) } else { None };
        let known = self.ledger.passwords.get(&self.people[who].email);
        let password = known.and_then(|passwords| passwords.first().cloned());
        let password = password.unwrap_or_else(|| self.people[who].password.clone());
        let password = match self.random.random_range(0..100) {
            0..6 => Some("this password is wrong".to_owned()),
            6..12 => None,
            _ if bearer.is_some() => None,
            _ => Some(password),
        };
        Some(Operation::Accept {
            who,
            invitation,
            secret,
            bearer,
            password,
        })
    }

    fn show(&mut self) -> Operation {
        let Some((invitation, secret, who)) = self.link(None) else {
            return Operation::RetryMails;
        };
        if self.chance(50) {
            Operation::Preview {
                who,
                invitation,
                secret,
            }
        } else {
            Operation::Decline {
                who,
                invitation,
                secret,
            }
        }
    }

    fn ingest_usage(&mut self) -> Operation {
        for _ in 0..self.random.random_range(0..4) {
            let Some(workspace) = self.some_workspace() else { break };
            let ago_s = match self.random.random_range(0..10) {
                0..7 => self.random.random_range(0..7200),
                7..9 => self.random.random_range(0..5 * 24 * 3600),
                _ => self.random.random_range(0..36 * 24 * 3600),
            };
            let most = if self.chance(5) { 200_000 } else { 900 };
            let record = Record {
                id: self.stray_id(),
                workspace: if self.chance(3) { self.stray_id() } else { workspace },
                kind: ["location_event", "action_delivery"]
                    .choose(self.random)
                    .unwrap_or(&"location_event"),
                count: self.random.random_range(1..most),
                occurred_at: self.now.minus(Duration::from_secs(ago_s)),
                state: RecordState::NotCounted,
            };
            self.ledger.records.push(record);
        }
        let (new, old): (Vec<usize>, Vec<usize>) =
            (0..self.ledger.records.len()).partition(|at| self.ledger.records[*at].state != RecordState::Counted);
        let mut records: Vec<usize> = new.into_iter().rev().take(10).collect();
        // The queue may deliver a record more than once.
        records.extend(old.choose_multiple(self.random, 2));
        Operation::IngestUsage { records }
    }

    fn roll_up(&mut self) -> Option<Operation> {
        let workspace = self.some_workspace()?;
        Some(Operation::RollUp { workspace })
    }

    fn mail_event(&mut self) -> Option<Operation> {
        let invitation = self.mailed.choose(self.random)?.clone();
        let kind = ["Send", "Delivery", "Bounce", "Complaint", "Reject"]
            .choose(self.random)
            .unwrap_or(&"Send");
        Some(Operation::MailEvent { kind, invitation })
    }

    /// One person repeats an operation more often than its limit permits.
    pub fn calls_above_a_limit(&mut self) -> Vec<Operation> {
        let who = self.actor();
        let which = [0, 0, 1, 1, 2, 3, 3].choose(self.random).copied().unwrap_or(0);
        let many = if which == 2 { 17 } else { 12 };
        (0..many)
            .map(|_| match which {
                0 => self.with_token(who, move |it, token| it.invite(who, token)),
                1 => self.with_token(who, |it, token| {
                    let invitation = it.invitation(token);
                    Operation::Resend { token, invitation }
                }),
                2 => Operation::LogIn {
                    who,
                    password: "this password is wrong".to_owned(),
                },
                _ => self.ingest_usage(),
            })
            .collect()
    }

    /// Several people perform different operations on one invitation.
    pub fn concurrent_on_one_invitation(&mut self) -> Vec<Operation> {
        let pending: Vec<(String, String)> = items_of(self.table, "invitation")
            .filter(|row| row["end"].is_null())
            .map(|row| (text(row, "id"), text(row, "workspace_id")))
            .collect();
        let Some((id, home)) = pending.choose(self.random).cloned() else {
            return vec![self.operation()];
        };
        let (Some(link), tokens) = (self.ledger.links.get(&id).cloned(), self.tokens_of(&home)) else {
            return vec![self.operation()];
        };
        let addressee = self
            .people
            .iter()
            .position(|participant| participant.email == link.email);
        let (invitation, secret) = (id, link.secret);
        (0..self.random.random_range(3..7))
            .map(|_| {
                let (token, invitation) = (tokens.choose(self.random).copied(), invitation.clone());
                match (self.random.random_range(0..7), token, addressee) {
                    (0, Some(token), _) => Operation::Cancel { token, invitation },
                    (1, Some(token), _) => Operation::Resend { token, invitation },
                    (2, Some(token), _) => Operation::Extend {
                        token,
                        invitation,
                        expires_at: self.now.plus(Duration::from_secs(24 * 3600)).to_string(),
                    },
                    (3, Some(token), _) => Operation::Invite {
                        token,
                        email: link.email.clone(),
                        role: "member",
                    },
                    (4, _, _) => Operation::Decline {
                        who: 0,
                        invitation,
                        secret: secret.clone(),
                    },
                    (_, _, Some(who)) => Operation::Accept {
                        who,
                        invitation,
                        secret: secret.clone(),
                        bearer: None,
                        password: Some(self.people[who].password.clone()),
                    },
                    _ => Operation::RetryMails,
                }
            })
            .collect()
    }

    /// A person uses tokens while other people change the membership.
    pub fn concurrent_on_one_person(&mut self) -> Vec<Operation> {
        let who = self.participant();
        let (Some(target), Some((home, _))) = (self.account(who), self.home(who)) else {
            return vec![self.operation()];
        };
        let tokens = self.tokens_of(&home);
        (0..self.random.random_range(3..8))
            .map(|_| match (self.random.random_range(0..9), tokens.choose(self.random)) {
                (0 | 1, Some(token)) => self.change_role(*token, target.clone()),
                (2, Some(token)) => Operation::Remove {
                    token: *token,
                    target: target.clone(),
                },
                (3, Some(token)) => Operation::RevokeAll { token: *token },
                (4, _) => self.with_token(who, |_, token| Operation::LogOut { token }),
                (5, _) => self.log_in(who),
                (6, _) => self.refresh(),
                (7, _) => self.with_token(who, Self::read_operation),
                _ => self.with_token(who, move |it, token| it.invite(who, token)),
            })
            .collect()
    }
}
