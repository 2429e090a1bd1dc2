//! The expected state: tokens, links, passwords and usage records, as the responses and the table show them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::clock::Time;

use super::idempotency::Keys;
use super::operations::{Operation, PerformedOperation, PersonIndex};
use super::snapshot::text;
use crate::support::invariants::Table;

/// Seconds for which an access token is valid, and by which clocks may differ.
pub const ACCESS_S: u64 = 15 * 60;
pub const LEEWAY_S: u64 = 5;
/// Seconds for which a refresh token is valid.
pub const REFRESH_S: u64 = 30 * 24 * 3600;

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whether tokens must work, may work or must not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    Valid,
    Unknown,
    Ended,
}

/// Tokens that a person received.
#[derive(Clone, Debug)]
pub struct HeldTokens {
    pub who: PersonIndex,
    pub access: String,
    pub refresh: String,
    pub session: String,
    /// The generation of the refresh token in its session.
    pub generation: u64,
    /// The times of the request and of the response that brought the tokens.
    pub requested_at: Time,
    pub received_at: Time,
    pub state: TokenState,
    /// The reason why the tokens ended.
    pub reason: String,
}

impl HeldTokens {
    /// Whether the access token is certainly within its validity (`true`) or certainly expired (`false`).
    pub fn is_access_token_valid(&self, now: Time) -> Option<bool> {
        is_within(self.requested_at, self.received_at, ACCESS_S, now)
    }

    pub fn end(&mut self, reason: &str) {
        if self.state != TokenState::Ended {
            self.state = TokenState::Ended;
            reason.clone_into(&mut self.reason);
        }
    }
}

/// Whether something that was issued between two times is certainly valid (`true`) or certainly expired (`false`).
pub fn is_within(requested_at: Time, received_at: Time, valid_s: u64, now: Time) -> Option<bool> {
    if now < requested_at.plus(seconds(valid_s - LEEWAY_S)) {
        Some(true)
    } else if now > received_at.plus(seconds(valid_s + 2 * LEEWAY_S)) {
        Some(false)
    } else {
        None
    }
}

/// The current generation of a session, and the time of its last refresh.
#[derive(Clone, Debug)]
pub struct Session {
    pub generation: u64,
    pub since: Time,
}

/// The link of an invitation.
#[derive(Clone, Debug)]
pub struct Link {
    pub secret: String,
    pub email: String,
    pub role: String,
    pub workspace: String,
    /// The reason why the link must not work any more.
    pub ended: Option<String>,
    /// Whether it is unknown if the link works: its inviter may have lost the right before or after sending it.
    pub is_uncertain: bool,
}

/// Whether a usage record was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    NotCounted,
    Unknown,
    Counted,
}

/// A usage record.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: String,
    pub workspace: String,
    pub kind: &'static str,
    pub count: u64,
    pub occurred_at: Time,
    pub state: RecordState,
}

impl Record {
    pub fn body(&self) -> String {
        json!({
            "id": self.id, "workspace_id": self.workspace, "kind": self.kind, "count": self.count,
            "occurred_at": self.occurred_at.to_string(),
        })
        .to_string()
    }
}

/// A call that a limit admitted or may have admitted.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    pub started: Time,
    pub ended: Time,
    pub is_certain: bool,
}

/// A limit: the number of calls per subject within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub name: &'static str,
    pub calls: usize,
    pub window_s: u64,
}

pub const INVITE: Rule = Rule {
    name: "invite",
    calls: 10,
    window_s: 3600,
};
pub const RESEND: Rule = Rule {
    name: "resend",
    calls: 10,
    window_s: 3600,
};
pub const RECIPIENT: Rule = Rule {
    name: "recipient",
    calls: 25,
    window_s: 24 * 3600,
};
pub const REVOKE_ALL: Rule = Rule {
    name: "revoke-all",
    calls: 1,
    window_s: 60,
};
pub const LOG_IN: Rule = Rule {
    name: "log in",
    calls: 15,
    window_s: 60,
};

#[derive(Debug, Default)]
pub struct Ledger {
    pub tokens: Vec<HeldTokens>,
    pub sessions: BTreeMap<String, Session>,
    pub links: BTreeMap<String, Link>,
    /// Possible passwords of an e-mail address: one when it is known.
    pub passwords: BTreeMap<String, BTreeSet<String>>,
    pub records: Vec<Record>,
    pub charges: BTreeMap<(Rule, String), Vec<Charge>>,
    /// The mark of each workspace's data.
    pub marks: BTreeMap<String, String>,
    /// The marks of company names that people sent themselves; they may see these names in any workspace.
    pub companies: Vec<(PersonIndex, String)>,
    /// Every secret that was issued or that a person knows.
    pub secrets: Vec<String>,
    /// The last delivery rank of each invitation's mail.
    pub mails: BTreeMap<String, u8>,
    /// Number of mails per invitation.
    pub mail_counts: BTreeMap<String, u32>,
    /// Idempotency keys that were used.
    pub keys: Keys,
    /// Whether a mail may be sent twice because the outcome of a call was unknown.
    pub may_send_twice: bool,
}

impl Ledger {
    /// Records the tokens of a response.
    pub fn record_tokens(&mut self, performed: &PerformedOperation) {
        let (Some(access), Some(refresh)) = (
            performed.body["access_token"].as_str(),
            performed.body["refresh_token"].as_str(),
        ) else {
            return;
        };
        if self.tokens.iter().any(|held| held.access == access) {
            return;
        }
        let Some(who) = performed.operation.who(self) else {
            return;
        };
        let session = text(&claims(access), "sid");
        let same = self.tokens.iter().find(|held| held.refresh == refresh);
        let generation = match (&performed.operation, same) {
            (_, Some(same)) => same.generation,
            (Operation::Refresh { token }, None) => self.tokens[*token].generation + 1,
            _ => 0,
        };
        self.secrets.extend([access.to_owned(), refresh.to_owned()]);
        self.tokens.push(HeldTokens {
            who,
            access: access.to_owned(),
            refresh: refresh.to_owned(),
            session,
            generation,
            requested_at: performed.started,
            received_at: performed.ended,
            state: TokenState::Unknown,
            reason: String::new(),
        });
    }

    /// Records the link in a response of create or resend.
    pub fn record_link(&mut self, performed: &PerformedOperation, table: &Table) {
        let Some(link) = performed.body["invite_link"].as_str() else {
            return;
        };
        let (id, email) = (text(&performed.body, "id"), text(&performed.body, "email"));
        let (_, fragment) = link.split_once('#').unwrap_or_default();
        let secret = fragment.split('&').find_map(|pair| pair.strip_prefix("token="));
        let secret = secret.unwrap_or_default().to_owned();
        self.secrets.push(secret.clone());
        let invitation = table.get(&(format!("INVITE#{id}"), "INVITE".to_owned()));
        let workspace = invitation.map(|invitation| text(invitation, "workspace_id"));
        let link = Link {
            secret,
            email,
            role: text(&performed.body, "role"),
            workspace: workspace.unwrap_or_default(),
            ended: None,
            is_uncertain: false,
        };
        // The link in a replay may have ended since the first response.
        self.links.entry(id).or_insert(link);
    }

    /// Records that the link of an invitation must not work any more.
    pub fn end_link(&mut self, id: &str, reason: &str) {
        if let Some(link) = self.links.get_mut(id) {
            link.ended.get_or_insert_with(|| reason.to_owned());
        }
    }

    /// Records a call against a limit.
    pub fn charge(&mut self, rule: Rule, subject: &str, performed: &PerformedOperation, is_certain: bool) {
        let charge = Charge {
            started: performed.started,
            ended: performed.ended,
            is_certain,
        };
        self.charges.entry((rule, subject.to_owned())).or_default().push(charge);
    }

    /// Whether a limit may refuse a call at `now`.
    pub fn may_be_full(&self, rule: Rule, subject: &str, now: Time) -> bool {
        let charges = self.charges.get(&(rule, subject.to_owned()));
        let since = now.minus(seconds(rule.window_s + LEEWAY_S));
        let recent = charges.into_iter().flatten().filter(|charge| charge.ended >= since);
        recent.count() >= rule.calls
    }

    /// Whether a limit must refuse a call at `now`.
    pub fn must_be_full(&self, rule: Rule, subject: &str, now: Time) -> bool {
        let charges = self.charges.get(&(rule, subject.to_owned()));
        let since = now.minus(seconds(rule.window_s - LEEWAY_S));
        let recent = charges.into_iter().flatten();
        recent
            .filter(|charge| charge.is_certain && charge.started >= since)
            .count()
            >= rule.calls
    }

    /// The calls that a limit certainly admitted beyond its number within one window.
    pub fn excess(&self) -> Vec<String> {
        let mut excess = Vec::new();
        for ((rule, subject), charges) in &self.charges {
            let mut sure: Vec<&Charge> = charges.iter().filter(|charge| charge.is_certain).collect();
            sure.sort_by_key(|charge| charge.started);
            for some in sure.windows(rule.calls + 1) {
                let (Some(first), Some(last)) = (some.first(), some.iter().map(|charge| charge.ended).max()) else {
                    continue;
                };
                if last.since(first.started) < seconds(rule.window_s) {
                    excess.push(format!(
                        "{} admitted {} calls of {subject} from {} to {last}",
                        rule.name,
                        some.len(),
                        first.started
                    ));
                }
            }
        }
        excess
    }
}

/// The claims of a JWT.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
