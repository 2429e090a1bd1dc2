//! What is done in which order: one deed, several at once, or a little story whose end only its beginning makes interesting.

use std::collections::VecDeque;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::deeds::{Op, Token, Who};
use super::plan::Planner;
use super::scene::{all, place, text};

/// One of the things that are done one after the other.
#[derive(Clone, Debug)]
pub enum Step {
    /// Deeds, all at once.
    Do(Vec<Op>),
    /// The same, under an idempotency key.
    Ask(String, Vec<Op>),
    /// Somebody accepts the newest invitation that they got.
    AcceptNewest(Who),
    /// So many seconds pass.
    Pass(i64),
}

pub type Script = VecDeque<Step>;

fn one_by_one(ops: impl IntoIterator<Item = Op>) -> Script {
    ops.into_iter().map(|op| Step::Do(vec![op])).collect()
}

impl Planner<'_> {
    /// What comes next.
    pub fn script(&mut self) -> Script {
        let script = match self.random.random_range(0..100) {
            0..34 => return one_by_one([self.op()]),
            34..58 => {
                let many = self.random.random_range(2..8);
                return Script::from([Step::Do((0..many).map(|_| self.op()).collect())]);
            }
            58..62 => return Script::from([Step::Do(self.storm())]),
            62..70 => return Script::from([Step::Do(self.about_an_invitation())]),
            70..77 => return Script::from([Step::Do(self.about_somebody())]),
            77..82 => self.owners_against_each_other(),
            82..87 => self.an_inviter_falls(),
            87..92 => self.a_stranger_tries(),
            92..94 => self.somebody_falls(),
            94..97 => self.somebody_asks_again(),
            _ => self.an_old_refresh_token(),
        };
        script.unwrap_or_else(|| one_by_one([self.op()]))
    }

    /// Live tokens of a workspace's members of these roles, with whose they are.
    fn hands(&self, home: &str, roles: &[&str]) -> Vec<(Token, String)> {
        let hands = self.tokens_of(home).into_iter().filter_map(|token| {
            let who = self.ledger.tokens[token].who;
            let (_, role) = self.home(who)?;
            roles.contains(&role.as_str()).then_some((token, self.account(who)?))
        });
        hands.collect()
    }

    /// Owners of one workspace demote and remove each other and themselves, all at once.
    fn owners_against_each_other(&mut self) -> Option<Script> {
        let homes: Vec<String> = all(self.table, "workspace")
            .filter(|row| row["owner_count"].as_u64().unwrap_or(0) > 1)
            .map(|row| text(row, "id"))
            .collect();
        let home = homes.choose(self.random)?;
        let hands = self.hands(home, &["owner"]);
        let mut ops = Vec::new();
        for (token, own) in hands.iter().take(8) {
            let (_, other) = hands.choose(self.random)?;
            let target = if self.random.random() { own } else { other }.clone();
            ops.push(match self.random.random_range(0..3) {
                0 => Op::Remove { token: *token, target },
                _ => Op::ChangeRole {
                    token: *token,
                    target,
                    role: "manager",
                },
            });
        }
        (ops.len() > 1).then(|| Script::from([Step::Do(ops)]))
    }

    /// Somebody is invited; who invited loses the right to, or time passes; then the link is used.
    fn an_inviter_falls(&mut self) -> Option<Script> {
        let free: Vec<Who> = (0..self.people.len()).filter(|who| self.home(*who).is_none()).collect();
        let who = *free.choose(self.random)?;
        let homes: Vec<String> = all(self.table, "workspace").map(|row| text(row, "id")).collect();
        let home = homes.choose(self.random)?;
        let (by, own) = self.hands(home, &["owner"]).choose(self.random)?.clone();
        let mut inviters = self.hands(home, &["owner", "manager"]);
        inviters.retain(|(_, id)| *id != own);
        let email = self.people[who].email.clone();
        let invite = |token| {
            let role = "member";
            Step::Do(vec![Op::Invite { token, email, role }])
        };
        let Some((token, target)) = inviters.choose(self.random).cloned() else {
            let days = self.random.random_range(6..9);
            return Some(Script::from([
                invite(by),
                Step::Pass(days * 24 * 3600),
                Step::AcceptNewest(who),
            ]));
        };
        let fall = if self.random.random_range(0..3) == 0 {
            Op::Remove { token: by, target }
        } else {
            Op::ChangeRole {
                token: by,
                target,
                role: "field_worker",
            }
        };
        Some(Script::from([
            invite(token),
            Step::Do(vec![fall]),
            Step::AcceptNewest(who),
        ]))
    }

    /// What the newest link of somebody is good for.
    pub fn accept_newest(&mut self, who: Who) -> Vec<Op> {
        let email = &self.people[who].email;
        let mut links = self.ledger.links.iter().rev();
        let Some((id, link)) = links.find(|(_, link)| link.email == *email) else {
            return Vec::new();
        };
        let known = self.ledger.passwords.get(email).and_then(|passwords| passwords.first());
        let password = known.unwrap_or(&self.people[who].password).clone();
        vec![Op::Accept {
            who,
            invitation: id.clone(),
            secret: link.secret.clone(),
            bearer: None,
            password: Some(password),
        }]
    }

    /// Somebody who may do much at home tries it on another's.
    fn a_stranger_tries(&mut self) -> Option<Script> {
        let who = self.actor();
        let (home, _) = self.home(who)?;
        let token = self.token(who)?;
        let theirs: Vec<String> = all(self.table, "invitation")
            .filter(|row| row["workspace_id"] != home.as_str())
            .map(|row| text(row, "id"))
            .collect();
        let others: Vec<String> = all(self.table, "user")
            .map(|row| text(row, "id"))
            .filter(|id| place(self.table, id).is_some_and(|(workspace, _)| workspace != home))
            .collect();
        let (invitation, target) = (theirs.choose(self.random)?.clone(), others.choose(self.random)?.clone());
        let ops = [
            Op::Cancel {
                token,
                invitation: invitation.clone(),
            },
            Op::Resend {
                token,
                invitation: invitation.clone(),
            },
            Op::Extend {
                token,
                invitation,
                expires_at: self.now.plus(super::ledger::seconds(3600)).to_string(),
            },
            Op::ChangeRole {
                token,
                target: target.clone(),
                role: "member",
            },
            Op::Remove { token, target },
        ];
        Some(one_by_one(ops))
    }

    /// Somebody whose tokens are in use loses what they have.
    fn somebody_falls(&mut self) -> Option<Script> {
        let homes: Vec<String> = all(self.table, "workspace").map(|row| text(row, "id")).collect();
        let home = homes.choose(self.random)?;
        let owners = self.hands(home, &["owner"]);
        let (by, own) = owners.choose(self.random)?.clone();
        let mut others = self.hands(home, &["owner", "manager", "field_worker"]);
        others.retain(|(_, id)| *id != own);
        let (token, target) = others.choose(self.random)?.clone();
        let fall = match self.random.random_range(0..5) {
            0 => Op::Remove { token: by, target },
            1 => Op::RevokeAll { token: by },
            2 => Op::LogOut { token },
            _ => Op::ChangeRole {
                token: by,
                target,
                role: "member",
            },
        };
        let look = || Op::Look {
            token,
            path: "/workspaces/members",
        };
        Some(one_by_one([look(), fall, look()]))
    }

    /// Somebody asks for something under a key, once or several times at once, then again; then for something else; then
    /// once more for the first.
    fn somebody_asks_again(&mut self) -> Option<Script> {
        let who = self.actor();
        let token = self.token(who)?;
        let (op, other) = match self.random.random_range(0..10) {
            0..6 => {
                let op = self.invite(who, token);
                (op, self.invite(who, token))
            }
            6..9 => {
                let invitation = self.invitation(token);
                let other = self.invitation(token);
                (
                    Op::Resend { token, invitation },
                    Op::Resend {
                        token,
                        invitation: other,
                    },
                )
            }
            _ => {
                let [name, other] = [self.mark(), self.mark()].map(|mark| format!("Workspace {mark}"));
                (Op::Found { token, name }, Op::Found { token, name: other })
            }
        };
        let key = self.stray_id();
        let many = *[1, 1, 3, 5].choose(self.random)?;
        let ask = |ops| Step::Ask(key.clone(), ops);
        Some(Script::from([
            ask(vec![op.clone(); many]),
            ask(vec![op.clone()]),
            ask(vec![other]),
            ask(vec![op]),
        ]))
    }

    /// A refresh token is used again, most of the time long after it was replaced.
    fn an_old_refresh_token(&mut self) -> Option<Script> {
        let tokens = self.ledger.tokens.iter().enumerate();
        let old = tokens.filter(|(_, held)| {
            let current = self.ledger.sessions.get(&held.session);
            held.life == super::ledger::Life::Alive
                && current.is_some_and(|session| session.generation > held.generation)
        });
        let old: Vec<Token> = old.map(|(at, _)| at).collect();
        let token = *old.choose(self.random)?;
        Some(one_by_one([Op::Refresh { token }]))
    }
}
