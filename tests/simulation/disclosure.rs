//! What responses disclose: no data of another workspace, no secret, and complete lists.

use serde_json::Value;

use super::ledger::Ledger;
use super::operations::{Operation, Outcome};
use super::snapshot::{Snapshot, invitation, items_of, membership, text};
use crate::support::invariants::{Findings, Table};

/// Checks that a list shows the rows of the table; only for an operation that ran alone.
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
                format!("the list is {}, expected {there:?}", performed.text)
            });
        }
        "/workspaces/invitations" => {
            let now = performed.started.to_string();
            let mut there = rows_of("PENDING#");
            there.retain(|row| text(row, "expires_at") > now);
            let there: Vec<String> = there.into_iter().rev().map(|row| text(row, "id")).collect();
            findings.expect("I13", shown("invitations", "id") == there, || {
                format!("the list is {}, expected {there:?}", performed.text)
            });
        }
        _ => {}
    }
}

/// I5: a response contains no data of a workspace that the person neither belongs to nor has a link to.
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
            // An error may repeat the input of the person.
            Operation::Invite { email, .. } => marks(email).next(),
            _ => None,
        };
        findings.expect("I5", strange.is_none() || strange == own, || {
            format!(
                "person {who} received data of another workspace ({strange:?}): {}",
                performed.summary(snapshot.ledger)
            )
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

/// I15: a response contains no secret unless it issues one.
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
            format!("a response contains a secret: {}", performed.summary(snapshot.ledger))
        });
    }
}

/// I12: a refusal changes nothing; only for an operation that ran alone.
pub fn check_refusals(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    let Some(performed) = snapshot.only_operation() else {
        return;
    };
    // Reuse of a refresh token ends its session, although the request is refused.
    if performed.outcome() != Outcome::Refused || matches!(performed.operation, Operation::Refresh { .. }) {
        return;
    }
    let rows = |table: &Table| -> Vec<Value> {
        let rows = table.values().filter(|item| item["entity"] != "limit");
        rows.cloned().collect()
    };
    findings.expect("I12", rows(snapshot.before) == rows(snapshot.after), || {
        format!(
            "a refused operation changed the table: {}",
            performed.summary(snapshot.ledger)
        )
    });
}

/// Records the marks of new workspaces.
pub fn note_marks(ledger: &mut Ledger, table: &Table) {
    for row in items_of(table, "workspace") {
        let (id, name) = (text(row, "id"), text(row, "name"));
        if let Some(mark) = marks(&name).next() {
            ledger.marks.entry(id).or_insert_with(|| mark.to_owned());
        }
    }
}
