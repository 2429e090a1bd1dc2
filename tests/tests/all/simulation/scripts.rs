//! What is done in which order: one deed, several at once, or a little story whose end only its beginning makes interesting.

use std::collections::VecDeque;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::deeds::{Op, Token, Who};
use super::plan::Planner;
use super::scene::{all, place, text};

/// Batches of deeds, to be done one after the other.
pub type Script = VecDeque<Vec<Op>>;

impl Planner<'_> {
    /// What comes next.
    pub fn script(&mut self) -> Script {
        let script = match self.random.random_range(0..100) {
            0..34 => return Script::from([vec![self.op()]]),
            34..58 => {
                let many = self.random.random_range(2..8);
                return Script::from([(0..many).map(|_| self.op()).collect()]);
            }
            58..62 => return Script::from([self.storm()]),
            62..70 => return Script::from([self.about_an_invitation()]),
            70..77 => return Script::from([self.about_somebody()]),
            77..82 => self.owners_against_each_other(),
            82..87 => self.an_inviter_falls(),
            87..92 => self.a_stranger_tries(),
            92..96 => self.somebody_falls(),
            _ => self.an_old_refresh_token(),
        };
        script.unwrap_or_else(|| Script::from([vec![self.op()]]))
    }

    fn person(&self, email: &str) -> Option<Who> {
        self.people.iter().position(|someone| someone.email == email)
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
        (ops.len() > 1).then(|| Script::from([ops]))
    }

    /// Who sent an invitation loses the right to; then it is accepted.
    fn an_inviter_falls(&mut self) -> Option<Script> {
        let open: Vec<(String, String, String)> = all(self.table, "invitation")
            .filter(|row| row["end"].is_null() && self.person(&text(row, "email")).is_some())
            .map(|row| (text(row, "id"), text(row, "workspace_id"), text(row, "invited_by")))
            .collect();
        let (invitation, home, target) = open.choose(self.random)?.clone();
        let link = self.ledger.links.get(&invitation)?.clone();
        let who = self.person(&link.email)?;
        let hands = self.hands(&home, &["owner"]);
        let (token, _) = hands.choose(self.random)?;
        let fall = if self.random.random_range(0..3) == 0 {
            Op::Remove { token: *token, target }
        } else {
            Op::ChangeRole {
                token: *token,
                target,
                role: "field_worker",
            }
        };
        let accept = Op::Accept {
            who,
            invitation,
            secret: link.secret,
            bearer: None,
            password: Some(self.people[who].password.clone()),
        };
        Some(Script::from([vec![fall], vec![accept]]))
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
        Some(ops.into_iter().map(|op| vec![op]).collect())
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
        Some(Script::from([vec![look()], vec![fall], vec![look()]]))
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
        Some(Script::from([vec![Op::Refresh { token }]]))
    }
}
