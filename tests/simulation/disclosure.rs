//! What answers show: nothing of another's, nothing secret, and what there is.

use serde_json::Value;

use super::deeds::{Op, Outcome};
use super::ledger::Ledger;
use super::scene::{Scene, all, invitation, place, text};
use crate::support::invariants::{Findings, Table};

/// What a list shows is there. Only for deeds that nothing else was done beside.
pub fn lists_tell_the_truth(scene: &Scene<'_>, findings: &mut Findings) {
    let Some(deed) = scene.lone() else { return };
    let (Op::Look { path, .. }, true) = (&deed.op, deed.is_done()) else {
        return;
    };
    let Some((home, _)) = scene.actor(deed).and_then(|actor| place(scene.after, &actor)) else {
        return;
    };
    let shown = |list: &str, id: &str| -> Vec<String> {
        let rows = deed.body[list].as_array().into_iter().flatten();
        rows.map(|row| text(row, id)).collect()
    };
    let rows_of = |prefix: &str| -> Vec<&Value> {
        let rows = scene.after.iter();
        let rows = rows.filter(|((pk, sk), _)| *pk == format!("WS#{home}") && sk.starts_with(prefix));
        rows.map(|(_, row)| row).collect()
    };
    match *path {
        "/workspaces/members" => {
            let there: Vec<String> = rows_of("MEMBER#").into_iter().map(|row| text(row, "id")).collect();
            findings.expect("I2", shown("members", "id") == there, || {
                format!("the list is {}, the rows are {there:?}", deed.text)
            });
        }
        "/workspaces/invitations" => {
            let now = deed.started.to_string();
            let mut there = rows_of("PENDING#");
            there.retain(|row| text(row, "expires_at") > now);
            let there: Vec<String> = there.into_iter().rev().map(|row| text(row, "id")).collect();
            findings.expect("I13", shown("invitations", "id") == there, || {
                format!("the list is {}, the rows are {there:?}", deed.text)
            });
        }
        _ => {}
    }
}

/// I5: nobody sees a byte of a workspace that they were neither in nor hold a link to.
pub fn marks_stay_at_home(scene: &Scene<'_>, findings: &mut Findings) {
    for deed in scene.deeds {
        let Some(who) = deed.op.who(scene.ledger) else { continue };
        let shown: Vec<&str> = marks(&deed.text).collect();
        let mut homes = scene
            .actor(deed)
            .map(|actor| scene.places(&actor, None).0)
            .unwrap_or_default();
        if let Op::Accept { invitation: id, .. }
        | Op::Preview { invitation: id, .. }
        | Op::Decline { invitation: id, .. } = &deed.op
        {
            let row = [scene.before, scene.after]
                .into_iter()
                .find_map(|table| invitation(table, id));
            homes.extend(row.map(|row| text(row, "workspace_id")));
        }
        let is_said_by = |mark: &str| {
            let mut companies = scene.ledger.companies.iter();
            companies.any(|(of, own)| *of == who && own == mark)
        };
        let strange = shown.into_iter().filter(|mark| !is_said_by(mark)).find(|mark| {
            !homes
                .iter()
                .any(|home| scene.ledger.marks.get(home).is_some_and(|own| own == mark))
        });
        let own = match &deed.op {
            Op::Found { name, .. } | Op::Register { company: name, .. } => marks(name).next(),
            // What one says oneself comes back in a complaint.
            Op::Invite { email, .. } => marks(email).next(),
            _ => None,
        };
        findings.expect("I5", strange.is_none() || strange == own, || {
            format!("person {who} sees {strange:?}: {}", deed.told(scene.ledger))
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
pub fn nothing_secret_is_told(scene: &Scene<'_>, findings: &mut Findings) {
    for deed in scene.deeds {
        let issues = matches!(
            deed.op,
            Op::LogIn { .. } | Op::Refresh { .. } | Op::Accept { .. } | Op::Invite { .. } | Op::Resend { .. }
        );
        if issues && deed.is_done() {
            continue;
        }
        let shown = scene.ledger.secrets.iter().any(|secret| deed.text.contains(secret));
        findings.expect("I15", !shown, || {
            format!("an answer shows a secret: {}", deed.told(scene.ledger))
        });
    }
}

/// I12: a refusal changes nothing. Only for deeds that nothing else was done beside.
pub fn refusals_change_nothing(scene: &Scene<'_>, findings: &mut Findings) {
    let Some(deed) = scene.lone() else { return };
    // A refresh token that is used again ends its session.
    if deed.outcome() != Outcome::Refused || matches!(deed.op, Op::Refresh { .. }) {
        return;
    }
    let rows = |table: &Table| -> Vec<Value> {
        let rows = table.values().filter(|item| item["entity"] != "limit");
        rows.cloned().collect()
    };
    findings.expect("I12", rows(scene.before) == rows(scene.after), || {
        format!("it is refused, and changed something: {}", deed.told(scene.ledger))
    });
}

/// Notes the marks of new workspaces.
pub fn note_marks(ledger: &mut Ledger, table: &Table) {
    for row in all(table, "workspace") {
        let (id, name) = (text(row, "id"), text(row, "name"));
        if let Some(mark) = marks(&name).next() {
            ledger.marks.entry(id).or_insert_with(|| mark.to_owned());
        }
    }
}
