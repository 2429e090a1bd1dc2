//! What answers show: nothing of another's, nothing secret, and what there is.

use serde_json::Value;

use super::ledger::Ledger;
use super::operations::{Operation, Outcome};
use super::snapshot::{Snapshot, invitation, items_of, membership, text};
use crate::support::invariants::{Findings, Table};

/// What a list shows is there. Only for batch that nothing else was done beside.
pub fn check_lists(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    let Some(performed) = snapshot.only_operation() else {
        return;
    };
    let (Operation::Read { path, .. }, true) = (&performed.operation, performed.is_done()) else {
        return;
    };
    let Some((home, _)) = snapshot
        .actor(performed)
        .and_then(|actor| membership(snapshot.after, &actor))
    else {
        return;
    };
    let shown = |list: &str, id: &str| -> Vec<String> {
        let rows = performed.body[list].as_array().into_iter().flatten();
        rows.map(|row| text(row, id)).collect()
    };
    let rows_of = |prefix: &str| -> Vec<&Value> {
        let rows = snapshot.after.iter();
        let rows = rows.filter(|((pk, sk), _)| *pk == format!("WS#{home}") && sk.starts_with(prefix));
        rows.map(|(_, row)| row).collect()
    };
    match *path {
        "/workspaces/members" => {
            let there: Vec<String> = rows_of("MEMBER#").into_iter().map(|row| text(row, "id")).collect();
            findings.expect("I2", shown("members", "id") == there, || {
                format!("the list is {}, the rows are {there:?}", performed.text)
            });
        }
        "/workspaces/invitations" => {
            let now = performed.started.to_string();
            let mut there = rows_of("PENDING#");
            there.retain(|row| text(row, "expires_at") > now);
            let there: Vec<String> = there.into_iter().rev().map(|row| text(row, "id")).collect();
            findings.expect("I13", shown("invitations", "id") == there, || {
                format!("the list is {}, the rows are {there:?}", performed.text)
            });
        }
        _ => {}
    }
}

/// I5: nobody sees a byte of a workspace that they were neither in nor hold a link to.
pub fn check_tenant_isolation(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    for performed in snapshot.batch {
        let Some(who) = performed.operation.who(snapshot.ledger) else {
            continue;
        };
        let shown: Vec<&str> = marks(&performed.text).collect();
        let mut homes = snapshot
            .actor(performed)
            .map(|actor| snapshot.possible_memberships(&actor, None).0)
            .unwrap_or_default();
        if let Operation::Accept { invitation: id, .. }
        | Operation::Preview { invitation: id, .. }
        | Operation::Decline { invitation: id, .. } = &performed.operation
        {
            let row = [snapshot.before, snapshot.after]
                .into_iter()
                .find_map(|table| invitation(table, id));
            homes.extend(row.map(|row| text(row, "workspace_id")));
        }
        let is_said_by = |mark: &str| {
            let mut companies = snapshot.ledger.companies.iter();
            companies.any(|(of, own)| *of == who && own == mark)
        };
        let strange = shown.into_iter().filter(|mark| !is_said_by(mark)).find(|mark| {
            !homes
                .iter()
                .any(|home| snapshot.ledger.marks.get(home).is_some_and(|own| own == mark))
        });
        let own = match &performed.operation {
            Operation::CreateWorkspace { name, .. } | Operation::Register { company: name, .. } => marks(name).next(),
            // What one says oneself comes back in a complaint.
            Operation::Invite { email, .. } => marks(email).next(),
            _ => None,
        };
        findings.expect("I5", strange.is_none() || strange == own, || {
            format!("person {who} sees {strange:?}: {}", performed.summary(snapshot.ledger))
        });
    }
}

/// The marks of workspaces in a text.
pub fn marks(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("zq").filter_map(|(at, _)| {
        let mark = text.get(at..at + 12)?;
        let hex = mark.get(2..10)?;
        (mark.ends_with("qz") && hex.chars().all(|c| c.is_ascii_hexdigit())).then_some(mark)
    })
}

/// I15: what does not issue a secret does not tell one.
pub fn check_secrets(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    for performed in snapshot.batch {
        let issues = matches!(
            performed.operation,
            Operation::LogIn { .. }
                | Operation::Refresh { .. }
                | Operation::Accept { .. }
                | Operation::Invite { .. }
                | Operation::Resend { .. }
        );
        if issues && performed.is_done() {
            continue;
        }
        let shown = snapshot
            .ledger
            .secrets
            .iter()
            .any(|secret| performed.text.contains(secret));
        findings.expect("I15", !shown, || {
            format!("an answer shows a secret: {}", performed.summary(snapshot.ledger))
        });
    }
}

/// I12: a refusal changes nothing. Only for batch that nothing else was done beside.
pub fn check_refusals(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    let Some(performed) = snapshot.only_operation() else {
        return;
    };
    // A refresh token that is used again ends its session.
    if performed.outcome() != Outcome::Refused || matches!(performed.operation, Operation::Refresh { .. }) {
        return;
    }
    let rows = |table: &Table| -> Vec<Value> {
        let rows = table.values().filter(|item| item["entity"] != "limit");
        rows.cloned().collect()
    };
    findings.expect("I12", rows(snapshot.before) == rows(snapshot.after), || {
        format!(
            "it is refused, and changed something: {}",
            performed.summary(snapshot.ledger)
        )
    });
}

/// Notes the marks of new workspaces.
pub fn note_marks(ledger: &mut Ledger, table: &Table) {
    for row in items_of(table, "workspace") {
        let (id, name) = (text(row, "id"), text(row, "name"));
        if let Some(mark) = marks(&name).next() {
            ledger.marks.entry(id).or_insert_with(|| mark.to_owned());
        }
    }
}
