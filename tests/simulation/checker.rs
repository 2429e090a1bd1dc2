//! Compares the responses with the table: every change has a permitted operation as its cause, and every acknowledged
//! operation has its effect.

use serde_json::Value;

use super::disclosure::{check_secrets, check_tenant_isolation};
use super::idempotency::is_repeated_request;
use super::operations::{Operation, PerformedOperation};
use super::snapshot::{
    Snapshot, invitation, is_owner, items_of, may_change, may_invite, may_remove, may_update, membership, pending,
    text, user, user_of_email, workspace,
};
use crate::support::invariants::Findings;

/// Checks a batch.
pub fn check_batch(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    for performed in snapshot.batch {
        if performed.is_done() {
            check_permission(snapshot, performed, findings);
            check_effect(snapshot, performed, findings);
            check_link(snapshot, performed, findings);
        }
    }
    check_memberships(snapshot, findings);
    check_workspaces(snapshot, findings);
    check_invitations(snapshot, findings);
    check_tenant_isolation(snapshot, findings);
    check_secrets(snapshot, findings);
}

fn summary(snapshot: &Snapshot<'_>, performed: &PerformedOperation) -> String {
    performed.summary(snapshot.ledger)
}

/// I7: the actor of an acknowledged operation may have had the right to perform it.
fn check_permission(snapshot: &Snapshot<'_>, performed: &PerformedOperation, findings: &mut Findings) {
    let workspaces_of_actor = || {
        snapshot
            .actor(performed)
            .map(|actor| snapshot.possible_memberships(&actor, Some(performed)).0)
    };
    let anywhere = |permits: &dyn Fn(&str) -> bool| {
        let mut workspaces = workspaces_of_actor().into_iter().flatten();
        workspaces.any(|workspace| snapshot.is_permitted(performed, &workspace, permits))
    };
    let about = |id: &str, permits: &dyn Fn(&str, &str) -> bool| {
        let row = [snapshot.before, snapshot.after]
            .into_iter()
            .find_map(|table| invitation(table, id));
        row.is_some_and(|row| {
            let role = text(row, "role");
            snapshot.is_permitted(performed, &text(row, "workspace_id"), |actor| permits(actor, &role))
        })
    };
    let holds = match &performed.operation {
        Operation::RevokeAll { .. } | Operation::DeleteWorkspace { .. } => anywhere(&is_owner),
        Operation::Invite { role, .. } => anywhere(&|actor| may_invite(actor, role)),
        Operation::UpdateWorkspace { .. }
        | Operation::Read {
            path: "/workspaces/invitations",
            ..
        } => anywhere(&may_update),
        Operation::Read { path, .. } if path.starts_with("/workspaces") => anywhere(&|_| true),
        Operation::Resend { invitation, .. }
        | Operation::Cancel { invitation, .. }
        | Operation::Extend { invitation, .. } => about(invitation, &may_invite),
        Operation::ChangeRole { target, role, .. } => {
            is_change_permitted(snapshot, performed, target, &|actor, from| {
                may_change(actor, from, role)
            })
        }
        Operation::Remove { target, .. } => is_change_permitted(snapshot, performed, target, &may_remove),
        _ => return,
    };
    findings.expect("I7", holds, || {
        format!("operation without the right to it: {}", summary(snapshot, performed))
    });
}

fn is_change_permitted(
    snapshot: &Snapshot<'_>,
    performed: &PerformedOperation,
    target: &str,
    permits: &dyn Fn(&str, &str) -> bool,
) -> bool {
    let (workspaces, roles) = snapshot.possible_memberships(target, Some(performed));
    workspaces.iter().any(|workspace| {
        roles
            .iter()
            .any(|from| snapshot.is_permitted(performed, workspace, |actor| permits(actor, from)))
    })
}

/// Checks that an acknowledged and uncontested operation has its effect.
fn check_effect(snapshot: &Snapshot<'_>, performed: &PerformedOperation, findings: &mut Findings) {
    // A later operation may have undone the effect since the first response.
    if snapshot.is_contested(performed) || is_repeated_request(performed, snapshot.ledger) {
        return;
    }
    let (after, id) = (snapshot.after, text(&performed.body, "id"));
    let end_of = |id: &str| invitation(after, id).map(|row| text(&row["end"], "status"));
    let (rule, holds) = match &performed.operation {
        Operation::Register { who, .. } => {
            let email = &snapshot.people[*who].email;
            ("I2", user_of_email(after, email).as_deref() == Some(id.as_str()))
        }
        Operation::CreateWorkspace { name, .. } => {
            let there = workspace(after, &id).is_some_and(|workspace| workspace["name"] == name.as_str());
            ("I2", there)
        }
        Operation::UpdateWorkspace { name, .. } => {
            let there = workspace(after, &id).is_some_and(|workspace| workspace["name"] == name.as_str());
            ("I12", there)
        }
        Operation::DeleteWorkspace { .. } => {
            let gone = snapshot
                .actor(performed)
                .is_some_and(|actor| membership(after, &actor).is_none());
            ("I2", gone)
        }
        Operation::Invite { email, role, .. } => {
            let there = pending(after, &id)
                .is_some_and(|row| text(row, "email") == email.trim().to_lowercase() && row["role"] == *role);
            ("I3", there)
        }
        Operation::Resend { invitation, .. } => (
            "I3",
            pending(after, &id).is_some() && end_of(invitation).as_deref() == Some("revoked"),
        ),
        Operation::Cancel { invitation, .. } | Operation::Decline { invitation, .. } => {
            ("I3", end_of(invitation).as_deref() == Some("revoked"))
        }
        Operation::Extend {
            invitation, expires_at, ..
        } => {
            let there = pending(after, invitation).is_some_and(|row| row["expires_at"] == expires_at.as_str());
            ("I12", there)
        }
        Operation::Accept { invitation: id, .. } => {
            let row = invitation(after, id).cloned().unwrap_or_default();
            let by = text(&row["end"], "accepted_by");
            let with_membership_condition =
                membership(after, &by).is_some_and(|(workspace, _)| row["workspace_id"] == workspace.as_str());
            (
                "I3",
                performed.body["user"]["id"] == by.as_str() && with_membership_condition,
            )
        }
        Operation::ChangeRole { target, role, .. } => {
            ("I7", membership(after, target).is_some_and(|(_, now)| now == *role))
        }
        Operation::Remove { target, .. } => ("I6", membership(after, target).is_none()),
        _ => return,
    };
    findings.expect(rule, holds, || {
        format!(
            "acknowledged operation without its effect: {}",
            summary(snapshot, performed)
        )
    });
}

/// I3, I13: a link that ended or expired before the request is not accepted.
fn check_link(snapshot: &Snapshot<'_>, performed: &PerformedOperation, findings: &mut Findings) {
    let Operation::Accept { invitation: id, .. } = &performed.operation else {
        return;
    };
    let ended = snapshot.ledger.links.get(id).and_then(|link| link.ended.clone());
    // The accepting person may repeat the request for ten minutes.
    let before = invitation(snapshot.before, id).cloned().unwrap_or_default();
    let by = text(&before["end"], "accepted_by");
    let at = before["end"]["at"]
        .as_str()
        .and_then(|at| at.parse::<shared::clock::Time>().ok());
    let repeats = performed.body["user"]["id"] == by.as_str()
        && at.is_some_and(|at| performed.started.since(at) < std::time::Duration::from_secs(600));
    findings.expect("I3", ended.is_none() || repeats, || {
        format!(
            "accepted by a link that had ended ({ended:?}): {}",
            summary(snapshot, performed)
        )
    });
    let extended = snapshot
        .possibly_applied()
        .any(|other| matches!(&other.operation, Operation::Extend { invitation, .. } if invitation == id));
    let expires_at = pending(snapshot.before, id).map(|row| text(row, "expires_at"));
    let expired = expires_at.is_some_and(|at| at < performed.started.to_string());
    findings.expect("I13", !expired || extended, || {
        format!("accepted by an expired link: {}", summary(snapshot, performed))
    });
}

fn check_memberships(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    for row in items_of(snapshot.after, "user") {
        let id = text(row, "id");
        let email = text(row, "email");
        if user(snapshot.before, &id).is_none() {
            let made = snapshot.possibly_applied().any(|performed| match &performed.operation {
                Operation::Register { who, .. } => snapshot.people[*who].email == email,
                Operation::Accept { invitation, .. } => snapshot.email_of(invitation) == email,
                _ => false,
            });
            findings.expect("I12", made, || {
                format!("user {id} ({email}) exists without an operation that creates it")
            });
        }
        let (was, is) = (membership(snapshot.before, &id), membership(snapshot.after, &id));
        check_account_epoch(snapshot, row, findings);
        if was == is {
            continue;
        }
        let same_workspace = matches!((&was, &is), (Some((a, _)), Some((b, _))) if a == b);
        if let Some((from, role)) = was.as_ref().filter(|_| !same_workspace) {
            let left = snapshot.possibly_applied().any(|performed| match &performed.operation {
                Operation::Remove { target, .. } => {
                    *target == id && is_change_permitted(snapshot, performed, target, &may_remove)
                }
                Operation::DeleteWorkspace { .. } => {
                    snapshot.actor(performed).as_deref() == Some(id.as_str())
                        && snapshot.is_permitted(performed, from, is_owner)
                }
                _ => false,
            });
            findings.expect("I7", left, || {
                format!("user {id} with role {role} left workspace {from} without an operation")
            });
        }
        let Some((to, role)) = &is else { continue };
        let joined = snapshot.possibly_applied().any(|performed| match &performed.operation {
            Operation::Accept { invitation: link, .. } => invitation(snapshot.after, link)
                .is_some_and(|row| text(row, "email") == email && text(row, "workspace_id") == *to),
            Operation::CreateWorkspace { .. } | Operation::Register { .. } => {
                snapshot.actor(performed).as_deref() == Some(id.as_str())
            }
            _ => false,
        });
        findings.expect("I7", joined || same_workspace, || {
            format!("user {id} joined workspace {to} without an operation")
        });
        let given = snapshot.possibly_applied().any(|performed| match &performed.operation {
            Operation::Accept { invitation: link, .. } => invitation(snapshot.after, link)
                .is_some_and(|row| text(row, "email") == email && text(row, "role") == *role),
            Operation::CreateWorkspace { .. } | Operation::Register { .. } => role == "owner",
            Operation::ChangeRole {
                target, role: granted, ..
            } => {
                *target == id
                    && granted == role
                    && is_change_permitted(snapshot, performed, target, &|actor, from| {
                        may_change(actor, from, role)
                    })
            }
            _ => false,
        });
        findings.expect("I7", given, || {
            format!("user {id} has role {role} in workspace {to} without an operation that grants it")
        });
    }
}

/// An account's tokens end by a logout, a removal or a demotion.
fn check_account_epoch(snapshot: &Snapshot<'_>, row: &Value, findings: &mut Findings) {
    let id = text(row, "id");
    let Some(was) = user(snapshot.before, &id) else { return };
    if was["epoch"] == row["epoch"] {
        return;
    }
    let ended = snapshot.possibly_applied().any(|performed| match &performed.operation {
        Operation::LogOut { .. } => snapshot.actor(performed).as_deref() == Some(id.as_str()),
        Operation::ChangeRole { target, .. } | Operation::Remove { target, .. } => *target == id,
        _ => false,
    });
    findings.expect("I12", ended, || {
        format!(
            "the epoch of user {id} rose from {} to {} without an operation",
            was["epoch"], row["epoch"]
        )
    });
}

fn check_workspaces(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    for row in items_of(snapshot.after, "workspace") {
        let id = text(row, "id");
        let Some(was) = workspace(snapshot.before, &id) else {
            let founded = snapshot.possibly_applied().any(|performed| {
                matches!(
                    performed.operation,
                    Operation::CreateWorkspace { .. } | Operation::Register { .. }
                )
            });
            findings.expect("I12", founded, || {
                format!("workspace {id} exists without an operation that creates it")
            });
            continue;
        };
        if was["name"] != row["name"] {
            let renamed = snapshot.possibly_applied().any(|performed| {
                matches!(&performed.operation, Operation::UpdateWorkspace { name, .. } if row["name"] == name.as_str())
                    && snapshot.is_permitted(performed, &id, may_update)
            });
            findings.expect("I5", renamed, || {
                format!("workspace {id} has the new name {} without an operation", row["name"])
            });
        }
        if was["epoch"] != row["epoch"] {
            let revoked = snapshot.possibly_applied().any(|performed| {
                matches!(performed.operation, Operation::RevokeAll { .. })
                    && snapshot.is_permitted(performed, &id, is_owner)
            });
            findings.expect("I12", revoked, || {
                format!("the epoch of workspace {id} changed without an operation")
            });
        }
        let constant = ["id", "slug", "created_at", "tier", "cursor_key"];
        let differs = constant.iter().find(|name| was[**name] != row[**name]);
        findings.expect("I12", differs.is_none(), || {
            format!("workspace {id}: constant field {differs:?} changed")
        });
    }
    for row in items_of(snapshot.before, "workspace") {
        let id = text(row, "id");
        if workspace(snapshot.after, &id).is_none() {
            let dissolved = snapshot.possibly_applied().any(|performed| {
                matches!(performed.operation, Operation::DeleteWorkspace { .. })
                    && snapshot.is_permitted(performed, &id, is_owner)
            });
            findings.expect("I12", dissolved, || {
                format!("workspace {id} is missing without an operation that deletes it")
            });
        }
    }
}

fn check_invitations(snapshot: &Snapshot<'_>, findings: &mut Findings) {
    for row in items_of(snapshot.after, "invitation") {
        let id = text(row, "id");
        let Some(was) = invitation(snapshot.before, &id) else {
            let made = snapshot.possibly_applied().any(|performed| {
                let email = match &performed.operation {
                    Operation::Invite { email, role, .. } if row["role"] == *role => email.trim().to_lowercase(),
                    Operation::Resend { invitation, .. } => snapshot.email_of(invitation),
                    _ => return false,
                };
                row["email"] == email.as_str()
                    && snapshot.is_permitted(performed, &text(row, "workspace_id"), |actor| {
                        may_invite(actor, &text(row, "role"))
                    })
            });
            findings.expect("I7", made, || {
                format!("invitation exists without an operation that creates it: {row}")
            });
            continue;
        };
        let constant = [
            "workspace_id",
            "email",
            "role",
            "invited_by",
            "token_hash",
            "created_at",
        ];
        let differs = constant.iter().find(|name| was[**name] != row[**name]);
        findings.expect("I3", differs.is_none(), || {
            format!("invitation {id}: constant field {differs:?} changed")
        });
        if !was["end"].is_null() {
            findings.expect("I3", was["end"] == row["end"], || {
                format!("invitation {id}: end was {}, is {}", was["end"], row["end"])
            });
            continue;
        }
        if !row["end"].is_null() {
            let ended = snapshot
                .possibly_applied()
                .any(|performed| may_have_ended(snapshot, performed, &id, row));
            findings.expect("I3", ended, || {
                format!("invitation {id} ended as {} without an operation", row["end"])
            });
        } else if let (Some(was), Some(is)) = (pending(snapshot.before, &id), pending(snapshot.after, &id)) {
            let extended = was["expires_at"] == is["expires_at"]
                || snapshot.possibly_applied().any(|performed| {
                    matches!(&performed.operation, Operation::Extend { invitation, expires_at, .. }
                        if *invitation == id && is["expires_at"] == expires_at.as_str())
                });
            findings.expect("I12", extended, || {
                format!("invitation {id}: expires_at changed without an operation")
            });
            let [from, to] = [was, is].map(|row| delivery_rank(&row["delivery"]));
            findings.expect("I9", from <= to, || {
                format!(
                    "invitation {id}: delivery went back from {} to {}",
                    was["delivery"], is["delivery"]
                )
            });
        }
    }
}

/// Returns how far a mail's delivery came.
pub fn delivery_rank(delivery: &Value) -> u8 {
    match delivery["status"].as_str() {
        Some("queued") => 0,
        Some("sent") => 1,
        Some("failed") => 2,
        Some("delivered") => 3,
        Some("bounced" | "complained") => 4,
        _ => u8::MAX,
    }
}

fn may_have_ended(snapshot: &Snapshot<'_>, performed: &PerformedOperation, id: &str, row: &Value) -> bool {
    let (email, home) = (text(row, "email"), text(row, "workspace_id"));
    let accepted = row["end"]["status"] == "accepted";
    let may = || snapshot.is_permitted(performed, &home, |actor| may_invite(actor, &text(row, "role")));
    match &performed.operation {
        Operation::Accept { invitation, .. } if invitation == id => accepted,
        // Accepting another invitation ends the other invitations of the same e-mail address.
        Operation::Accept { invitation, .. } => !accepted && snapshot.email_of(invitation) == email,
        Operation::Cancel { invitation, .. } | Operation::Resend { invitation, .. } => {
            !accepted && invitation == id && may()
        }
        Operation::Decline { invitation, .. } => !accepted && invitation == id,
        Operation::Invite { email: invited, .. } => !accepted && invited.trim().to_lowercase() == email && may(),
        Operation::DeleteWorkspace { .. } => !accepted && snapshot.is_permitted(performed, &home, is_owner),
        _ => false,
    }
}
