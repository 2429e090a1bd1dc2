//! Selects the subjects of the next operations: mostly valid ones, sometimes invalid ones.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::ledger::{HeldTokens, Link, TokenState};
use super::operations::{PersonIndex, TokenIndex};
use super::plan::Planner;
use super::snapshot::{items_of, membership, text, user_of_email};

impl Planner<'_> {
    pub fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    pub fn participant(&mut self) -> PersonIndex {
        self.random.random_range(0..self.people.len())
    }

    pub fn stray_id(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.random.random())
            .into_uuid()
            .to_string()
    }

    /// A mark that occurs in the data of only one workspace.
    pub fn mark(&mut self) -> String {
        format!("zq{:08x}qz", self.random.random::<u32>())
    }

    pub fn account(&self, who: PersonIndex) -> Option<String> {
        user_of_email(self.table, &self.people[who].email)
    }

    pub fn home(&self, who: PersonIndex) -> Option<(String, String)> {
        membership(self.table, &self.account(who)?)
    }

    /// Tokens of a person; sometimes ones that have ended.
    pub fn token(&mut self, who: PersonIndex) -> Option<TokenIndex> {
        let ended_too = self.chance(8);
        let fits = |(_, held): &(usize, &HeldTokens)| {
            held.who == who
                && (ended_too
                    || (held.state != TokenState::Ended && held.is_access_token_valid(self.now) == Some(true)))
        };
        let own: Vec<usize> = self
            .ledger
            .tokens
            .iter()
            .enumerate()
            .filter(fits)
            .map(|(at, _)| at)
            .collect();
        own.choose(self.random).copied()
    }

    /// Tokens whose access token has expired and whose refresh token is current.
    pub fn refreshable(&mut self, who: PersonIndex) -> Option<TokenIndex> {
        let fits = |held: &HeldTokens| {
            let current = self.ledger.sessions.get(&held.session);
            held.who == who
                && held.state == TokenState::Valid
                && current.is_some_and(|session| session.generation == held.generation)
        };
        self.ledger.tokens.iter().rposition(fits)
    }

    /// A random person, mostly an owner or a manager.
    pub fn actor(&mut self) -> PersonIndex {
        let high: Vec<PersonIndex> = (0..self.people.len())
            .filter(|who| {
                self.home(*who)
                    .is_some_and(|(_, role)| role == "owner" || role == "manager")
            })
            .collect();
        match high.choose(self.random) {
            Some(who) if self.random.random_range(0..100) < 70 => *who,
            _ => self.participant(),
        }
    }

    /// An invitation of the own workspace (pending or ended), of another workspace, or an unknown id.
    pub fn invitation(&mut self, token: TokenIndex) -> String {
        let home = self.home(self.ledger.tokens[token].who).map(|(home, _)| home);
        let own = |row: &&serde_json::Value| home.as_ref().is_some_and(|home| row["workspace_id"] == home.as_str());
        let rows = || items_of(self.table, "invitation");
        let some: Vec<String> = match self.random.random_range(0..100) {
            0..65 => rows()
                .filter(|row| row["end"].is_null())
                .filter(own)
                .map(|row| text(row, "id"))
                .collect(),
            65..80 => rows().filter(own).map(|row| text(row, "id")).collect(),
            80..92 => rows().map(|row| text(row, "id")).collect(),
            _ => Vec::new(),
        };
        some.choose(self.random).cloned().unwrap_or_else(|| self.stray_id())
    }

    /// A user of the own workspace (or the person itself), of another workspace, or an unknown id.
    pub fn target(&mut self, token: TokenIndex) -> String {
        let who = self.ledger.tokens[token].who;
        let home = self.home(who).map(|(home, _)| home);
        let rows = || items_of(self.table, "user");
        let some: Vec<String> = match self.random.random_range(0..100) {
            0..10 => self.account(who).into_iter().collect(),
            10..80 => rows()
                .filter(|row| {
                    home.as_ref()
                        .is_some_and(|home| row["membership"]["workspace_id"] == home.as_str())
                })
                .map(|row| text(row, "id"))
                .collect(),
            80..95 => rows().map(|row| text(row, "id")).collect(),
            _ => Vec::new(),
        };
        some.choose(self.random).cloned().unwrap_or_else(|| self.stray_id())
    }

    /// A link, mostly one that its recipient can use.
    pub fn link(&mut self, of: Option<PersonIndex>) -> Option<(String, String, PersonIndex)> {
        let person = |email: &str| self.people.iter().position(|participant| participant.email == email);
        let any = self.random.random_range(0..100) < 30;
        let fits = |(_, link): &(&String, &Link)| {
            let addressee = person(&link.email);
            let right = of.is_none_or(|of| addressee == Some(of));
            let free = any || (link.ended.is_none() && addressee.is_some_and(|who| self.home(who).is_none()));
            right && free
        };
        let links: Vec<_> = self.ledger.links.iter().filter(fits).collect();
        let (id, link) = links.choose(self.random)?;
        let addressee = person(&link.email).unwrap_or(0);
        let secret = if self.random.random_range(0..100) < 6 {
            format!("{}x", link.secret)
        } else {
            link.secret.clone()
        };
        Some(((*id).clone(), secret, addressee))
    }

    /// Valid tokens of a workspace's members.
    pub fn tokens_of(&self, home: &str) -> Vec<TokenIndex> {
        let here = |who: PersonIndex| self.home(who).is_some_and(|(workspace, _)| workspace == home);
        let tokens = self.ledger.tokens.iter().enumerate();
        tokens
            .filter(|(_, held)| held.state == TokenState::Valid && held.is_access_token_valid(self.now) == Some(true))
            .filter(|(_, held)| here(held.who))
            .map(|(at, _)| at)
            .collect()
    }

    pub fn some_workspace(&mut self) -> Option<String> {
        let all: Vec<String> = items_of(self.table, "workspace").map(|row| text(row, "id")).collect();
        all.choose(self.random).cloned()
    }

    /// Expired items, which TTL may have deleted already.
    pub fn expired_items(&mut self) -> Vec<(String, String)> {
        let now = u64::try_from(self.now.as_seconds()).unwrap_or(0);
        let past = |row: &serde_json::Value| row["ttl"].as_u64().is_some_and(|ttl| ttl < now);
        let rows = self.table.iter();
        let expired: Vec<_> = rows
            .filter(|(_, row)| past(row) && row["entity"] != "usage-hour")
            .map(|(key, _)| key.clone())
            .collect();
        let some = expired.len().div_ceil(2);
        expired.choose_multiple(self.random, some).cloned().collect()
    }
}
