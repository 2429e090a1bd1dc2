//! I11: requests under one key are performed once and get the same response, and the key is valid for no other request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::clock::Time;

use super::ledger::{LEEWAY_S, Ledger, seconds};
use super::operations::{Operation, PerformedOperation, PersonIndex};
use super::oracle::Expected;
use super::snapshot::{Snapshot, invitation, items_of, membership, text};
use crate::support::invariants::Findings;

/// Seconds for which an idempotency record is stored.
const RETENTION_S: u64 = 24 * 3600;

/// The first response under a key.
#[derive(Clone, Debug)]
pub struct FirstResponse {
    content: String,
    status: u16,
    text: String,
    home: Option<String>,
    requested_at: Time,
    responded_at: Time,
}

/// Idempotency keys that were used, by person.
#[derive(Debug, Default)]
pub struct Keys {
    done: BTreeMap<(PersonIndex, String), FirstResponse>,
    /// Keys whose first request has an unknown outcome, with the time of that request.
    unknown: BTreeMap<(PersonIndex, String), Time>,
}

/// The content of a request, by which a reused key is recognized.
fn request_content(operation: &Operation) -> String {
    match operation {
        Operation::Invite { email, role, .. } => format!("invite {email} {role}"),
        Operation::Resend { invitation, .. } => format!("resend {invitation}"),
        Operation::CreateWorkspace { name, .. } => format!("create workspace {name}"),
        other => unreachable!("{} takes no key", other.kind()),
    }
}

fn key_of(performed: &PerformedOperation, ledger: &Ledger) -> Option<(PersonIndex, String)> {
    Some((performed.operation.who(ledger)?, performed.key.clone()?))
}

impl FirstResponse {
    /// Whether the record is certainly stored (`true`) or certainly expired (`false`).
    fn is_stored(&self, performed: &PerformedOperation) -> Option<bool> {
        if performed.ended < self.requested_at.plus(seconds(RETENTION_S - LEEWAY_S)) {
            Some(true)
        } else if performed.started > self.responded_at.plus(seconds(RETENTION_S + LEEWAY_S)) {
            Some(false)
        } else {
            None
        }
    }
}

/// Whether the operation repeats an acknowledged request under its key.
pub fn is_repeated_request(performed: &PerformedOperation, ledger: &Ledger) -> bool {
    let first = key_of(performed, ledger).and_then(|key| ledger.keys.done.get(&key));
    first.is_some_and(|first| {
        first.is_stored(performed) != Some(false) && first.content == request_content(&performed.operation)
    })
}

/// Whether an earlier request under the same key has an unknown outcome.
pub fn is_outcome_unknown(performed: &PerformedOperation, ledger: &Ledger) -> bool {
    key_of(performed, ledger).is_some_and(|key| ledger.keys.unknown.contains_key(&key))
}

/// The correct responses to an operation with a key; `without_key` are the correct ones for the same operation without
/// a key.
pub fn expected(
    snapshot: &Snapshot<'_>,
    performed: &PerformedOperation,
    without_key: Option<Vec<Expected>>,
) -> Option<Vec<Expected>> {
    let Some(key) = key_of(performed, snapshot.ledger) else {
        return without_key;
    };
    let Some(first) = snapshot.ledger.keys.done.get(&key) else {
        return if snapshot.ledger.keys.unknown.contains_key(&key) {
            None
        } else {
            without_key
        };
    };
    let without_key = without_key?;
    // Authorization fails before the idempotency record is read.
    let is_refused_earlier = |(status, code): &Expected| *status == 401 || *code == "WORKSPACE_NOT_FOUND";
    if !first.is_stored(performed)? || without_key.iter().any(is_refused_earlier) {
        return Some(without_key);
    }
    let home = snapshot
        .actor(performed)
        .and_then(|actor| membership(snapshot.before, &actor))
        .map(|(home, _)| home);
    let is_same = first.content == request_content(&performed.operation)
        && (matches!(performed.operation, Operation::CreateWorkspace { .. }) || first.home == home);
    let right = if is_same {
        (first.status, "")
    } else {
        (422, "IDEMPOTENCY_KEY_REUSED")
    };
    // The role is checked either before or after the idempotency record is read.
    let forbidden = without_key.into_iter().filter(|(status, _)| *status == 403);
    Some([right].into_iter().chain(forbidden).collect())
}

/// Checks the idempotency of a batch.
pub fn check_idempotency(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    let ledger = snapshot.ledger;
    let mut first_of_batch: BTreeMap<(PersonIndex, String), (String, &str)> = BTreeMap::new();
    for performed in snapshot.batch.iter().filter(|performed| performed.is_done()) {
        let Some(key) = key_of(performed, ledger) else { continue };
        let first = ledger
            .keys
            .done
            .get(&key)
            .filter(|first| first.is_stored(performed) == Some(true));
        let (asked, response) = match first {
            Some(first) => (first.content.clone(), first.text.as_str()),
            None => first_of_batch
                .entry(key)
                .or_insert_with(|| (request_content(&performed.operation), &performed.text))
                .clone(),
        };
        findings.expect("I11", asked == request_content(&performed.operation), || {
            format!("a key of another request is accepted: {}", performed.summary(ledger))
        });
        findings.expect(
            "I11",
            asked != request_content(&performed.operation) || response == performed.text,
            || {
                // The finding shows only the delivery status, because a response contains a link.
                let [first, now] = [response, &performed.text].map(|text| {
                    let response: Value = serde_json::from_str(text).unwrap_or_default();
                    response["delivery"].to_string()
                });
                format!(
                    "a replay differs from the first response (delivery {now}, expected {first}): {}",
                    performed.summary(ledger)
                )
            },
        );
    }
    // For each e-mail address and inviter, at most as many invitations are created as were requested.
    let mut made: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in items_of(snapshot.after, "invitation") {
        if invitation(snapshot.before, &text(row, "id")).is_none() {
            *made.entry((text(row, "email"), text(row, "invited_by"))).or_default() += 1;
        }
    }
    for ((email, by), many) in made {
        let mut keys = BTreeSet::new();
        let mut without_key = 0;
        for performed in snapshot
            .possibly_applied()
            .filter(|performed| snapshot.actor(performed).as_deref() == Some(by.as_str()))
        {
            let is_about = match &performed.operation {
                Operation::Invite { email: invited, .. } => invited.trim().to_lowercase() == email,
                Operation::Resend { invitation, .. } => snapshot.email_of(invitation) == email,
                _ => false,
            };
            if !is_about || is_repeated_request(performed, ledger) {
                continue;
            }
            match &performed.key {
                Some(key) => {
                    keys.insert(key);
                }
                None => without_key += 1,
            }
        }
        let asked = keys.len() + without_key;
        findings.expect("I11", many <= asked, || {
            format!("{by} requested {asked} invitations of {email}, {many} were created")
        });
    }
}

/// Records the result of a request after its batch was checked.
pub fn record_result(ledger: &mut Ledger, performed: &PerformedOperation, home: Option<String>) {
    let Some(key) = key_of(performed, ledger) else { return };
    if performed.is_done() {
        // After an unknown outcome, the stored result may be as old as the first request.
        let requested_at = ledger.keys.unknown.get(&key).copied().unwrap_or(performed.started);
        let first = FirstResponse {
            content: request_content(&performed.operation),
            status: performed.status,
            text: performed.text.clone(),
            home,
            requested_at,
            responded_at: performed.ended,
        };
        let known = ledger.keys.done.get(&key);
        if known.is_none_or(|known| known.is_stored(performed) == Some(false)) {
            ledger.keys.done.insert(key, first);
        }
    } else if performed.status >= 500 {
        ledger.keys.unknown.entry(key).or_insert(performed.started);
    }
}
