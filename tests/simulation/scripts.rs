//! Sequences of steps: one operation, several concurrent ones, or a scripted sequence that reaches a specific state.

use std::collections::VecDeque;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::operations::{Operation, PersonIndex, TokenIndex};
use super::plan::Planner;
use super::snapshot::{items_of, membership, text};

/// A step of a sequence.
#[derive(Clone, Debug)]
pub enum Step {
    /// Operations that run concurrently.
    Perform(Vec<Operation>),
    /// Concurrent operations under an idempotency key.
    PerformWithKey(String, Vec<Operation>),
    /// The person accepts the newest invitation.
    AcceptNewest(PersonIndex),
    /// Advances the clock by seconds.
    Wait(i64),
}

pub type Script = VecDeque<Step>;

fn one_by_one(operations: impl IntoIterator<Item = Operation>) -> Script {
    operations
        .into_iter()
        .map(|operation| Step::Perform(vec![operation]))
        .collect()
}

impl Planner<'_> {
    /// Draws the next sequence.
    pub fn script(&mut self) -> Script {
        let script = match self.random.random_range(0..100) {
            0..34 => return one_by_one([self.operation()]),
            34..58 => {
                let many = self.random.random_range(2..8);
                return Script::from([Step::Perform((0..many).map(|_| self.operation()).collect())]);
            }
            58..62 => return Script::from([Step::Perform(self.calls_above_a_limit())]),
            62..70 => return Script::from([Step::Perform(self.concurrent_on_one_invitation())]),
            70..77 => return Script::from([Step::Perform(self.concurrent_on_one_person())]),
            77..82 => self.owners_demote_each_other(),
            82..87 => self.inviter_loses_right(),
            87..92 => self.attempts_on_another_workspace(),
            92..94 => self.person_loses_access(),
            94..97 => self.repeated_idempotency_key(),
            _ => self.reused_refresh_token(),
        };
        script.unwrap_or_else(|| one_by_one([self.operation()]))
    }

    /// Valid tokens of the members of a workspace with one of these roles, each with the id of its user.
    fn tokens_by_role(&self, home: &str, roles: &[&str]) -> Vec<(TokenIndex, String)> {
        let tokens_by_role = self.tokens_of(home).into_iter().filter_map(|token| {
            let who = self.ledger.tokens[token].who;
            let (_, role) = self.home(who)?;
            roles.contains(&role.as_str()).then_some((token, self.account(who)?))
        });
        tokens_by_role.collect()
    }

    /// Owners of one workspace demote and remove each other and themselves concurrently.
    fn owners_demote_each_other(&mut self) -> Option<Script> {
        let homes: Vec<String> = items_of(self.table, "workspace")
            .filter(|row| row["owner_count"].as_u64().unwrap_or(0) > 1)
            .map(|row| text(row, "id"))
            .collect();
        let home = homes.choose(self.random)?;
        let tokens_by_role = self.tokens_by_role(home, &["owner"]);
        let mut operations = Vec::new();
        for (token, own) in tokens_by_role.iter().take(8) {
            let (_, other) = tokens_by_role.choose(self.random)?;
            let target = if self.random.random() { own } else { other }.clone();
            operations.push(match self.random.random_range(0..3) {
                0 => Operation::Remove { token: *token, target },
                _ => Operation::ChangeRole {
                    token: *token,
                    target,
                    role: "manager",
                },
            });
        }
        (operations.len() > 1).then(|| Script::from([Step::Perform(operations)]))
    }

    /// A person is invited; the inviter loses the right, or time passes; then the person uses the link.
    fn inviter_loses_right(&mut self) -> Option<Script> {
        let free: Vec<PersonIndex> = (0..self.people.len()).filter(|who| self.home(*who).is_none()).collect();
        let who = *free.choose(self.random)?;
        let homes: Vec<String> = items_of(self.table, "workspace").map(|row| text(row, "id")).collect();
        let home = homes.choose(self.random)?;
        let (by, own) = self.tokens_by_role(home, &["owner"]).choose(self.random)?.clone();
        let mut inviters = self.tokens_by_role(home, &["owner", "manager"]);
        inviters.retain(|(_, id)| *id != own);
        let email = self.people[who].email.clone();
        let invite = |token| {
            let role = "member";
            Step::Perform(vec![Operation::Invite { token, email, role }])
        };
        let Some((token, target)) = inviters.choose(self.random).cloned() else {
            let days = self.random.random_range(6..9);
            return Some(Script::from([
                invite(by),
                Step::Wait(days * 24 * 3600),
                Step::AcceptNewest(who),
            ]));
        };
        let fall = if self.random.random_range(0..3) == 0 {
            Operation::Remove { token: by, target }
        } else {
            Operation::ChangeRole {
                token: by,
                target,
                role: "field_worker",
            }
        };
        Some(Script::from([
            invite(token),
            Step::Perform(vec![fall]),
            Step::AcceptNewest(who),
        ]))
    }

    /// An acceptance with the newest link of a person.
    pub fn accept_newest(&mut self, who: PersonIndex) -> Vec<Operation> {
        let email = &self.people[who].email;
        let mut links = self.ledger.links.iter().rev();
        let Some((id, link)) = links.find(|(_, link)| link.email == *email) else {
            return Vec::new();
        };
        let known = self.ledger.passwords.get(email).and_then(|passwords| passwords.first());
        let password = known.unwrap_or(&self.people[who].password).clone();
        vec![Operation::Accept {
            who,
            invitation: id.clone(),
            secret: link.secret.clone(),
            bearer: None,
            password: Some(password),
        }]
    }

    /// An owner or manager acts on invitations and members of another workspace.
    fn attempts_on_another_workspace(&mut self) -> Option<Script> {
        let who = self.actor();
        let (home, _) = self.home(who)?;
        let token = self.token(who)?;
        let theirs: Vec<String> = items_of(self.table, "invitation")
            .filter(|row| row["workspace_id"] != home.as_str())
            .map(|row| text(row, "id"))
            .collect();
        let others: Vec<String> = items_of(self.table, "user")
            .map(|row| text(row, "id"))
            .filter(|id| membership(self.table, id).is_some_and(|(workspace, _)| workspace != home))
            .collect();
        let (invitation, target) = (theirs.choose(self.random)?.clone(), others.choose(self.random)?.clone());
        let operations = [
            Operation::Cancel {
                token,
                invitation: invitation.clone(),
            },
            Operation::Resend {
                token,
                invitation: invitation.clone(),
            },
            Operation::Extend {
                token,
                invitation,
                expires_at: self.now.plus(super::ledger::seconds(3600)).to_string(),
            },
            Operation::ChangeRole {
                token,
                target: target.clone(),
                role: "member",
            },
            Operation::Remove { token, target },
        ];
        Some(one_by_one(operations))
    }

    /// A person with valid tokens loses access or a role.
    fn person_loses_access(&mut self) -> Option<Script> {
        let homes: Vec<String> = items_of(self.table, "workspace").map(|row| text(row, "id")).collect();
        let home = homes.choose(self.random)?;
        let owners = self.tokens_by_role(home, &["owner"]);
        let (by, own) = owners.choose(self.random)?.clone();
        let mut others = self.tokens_by_role(home, &["owner", "manager", "field_worker"]);
        others.retain(|(_, id)| *id != own);
        let (token, target) = others.choose(self.random)?.clone();
        let fall = match self.random.random_range(0..5) {
            0 => Operation::Remove { token: by, target },
            1 => Operation::RevokeAll { token: by },
            2 => Operation::LogOut { token },
            _ => Operation::ChangeRole {
                token: by,
                target,
                role: "member",
            },
        };
        let look = || Operation::Read {
            token,
            path: "/workspaces/members",
        };
        Some(one_by_one([look(), fall, look()]))
    }

    /// Requests under one key: one or several concurrent ones, a repetition, a different request under the same key,
    /// and the first request again.
    fn repeated_idempotency_key(&mut self) -> Option<Script> {
        let who = self.actor();
        let token = self.token(who)?;
        let (operation, other) = match self.random.random_range(0..10) {
            0..6 => {
                let operation = self.invite(who, token);
                (operation, self.invite(who, token))
            }
            6..9 => {
                let invitation = self.invitation(token);
                let other = self.invitation(token);
                (
                    Operation::Resend { token, invitation },
                    Operation::Resend {
                        token,
                        invitation: other,
                    },
                )
            }
            _ => {
                let [name, other] = [self.mark(), self.mark()].map(|mark| format!("Workspace {mark}"));
                (
                    Operation::CreateWorkspace { token, name },
                    Operation::CreateWorkspace { token, name: other },
                )
            }
        };
        let key = self.stray_id();
        let many = *[1, 1, 3, 5].choose(self.random)?;
        let ask = |operations| Step::PerformWithKey(key.clone(), operations);
        Some(Script::from([
            ask(vec![operation.clone(); many]),
            ask(vec![operation.clone()]),
            ask(vec![other]),
            ask(vec![operation]),
        ]))
    }

    /// A replaced refresh token is used again, mostly long after its replacement.
    fn reused_refresh_token(&mut self) -> Option<Script> {
        let tokens = self.ledger.tokens.iter().enumerate();
        let old = tokens.filter(|(_, held)| {
            let current = self.ledger.sessions.get(&held.session);
            held.state == super::ledger::TokenState::Valid
                && current.is_some_and(|session| session.generation > held.generation)
        });
        let old: Vec<TokenIndex> = old.map(|(at, _)| at).collect();
        let token = *old.choose(self.random)?;
        Some(one_by_one([Operation::Refresh { token }]))
    }
}
