//! Holds what people were told against what the table became: nothing changes that nobody was allowed to change, and
//! nothing that was acknowledged is missing.

use serde_json::Value;

use super::deeds::{Deed, Op};
use super::disclosure::{marks_stay_at_home, nothing_secret_is_told};
use super::once::is_repetition;
use super::scene::{
    Scene, all, invitation, is_owner, may_change, may_invite, may_remove, may_update, pending, place, text, user,
    user_of_email, workspace,
};
use crate::support::invariants::Findings;

/// Judges a batch.
pub fn judge(scene: &Scene<'_>, findings: &mut Findings) {
    for deed in scene.deeds {
        if deed.is_done() {
            is_permitted(scene, deed, findings);
            is_there(scene, deed, findings);
            is_no_dead_link(scene, deed, findings);
        }
    }
    places_change_for_a_reason(scene, findings);
    workspaces_change_for_a_reason(scene, findings);
    invitations_change_for_a_reason(scene, findings);
    marks_stay_at_home(scene, findings);
    nothing_secret_is_told(scene, findings);
}

fn told(scene: &Scene<'_>, deed: &Deed) -> String {
    deed.told(scene.ledger)
}

/// I7: whoever was told that it is done may have had the right.
fn is_permitted(scene: &Scene<'_>, deed: &Deed, findings: &mut Findings) {
    let workspaces_of_actor = || scene.actor(deed).map(|actor| scene.places(&actor, Some(deed)).0);
    let anywhere = |permits: &dyn Fn(&str) -> bool| {
        let mut workspaces = workspaces_of_actor().into_iter().flatten();
        workspaces.any(|workspace| scene.permitted(deed, &workspace, permits))
    };
    let about = |id: &str, permits: &dyn Fn(&str, &str) -> bool| {
        let row = [scene.before, scene.after]
            .into_iter()
            .find_map(|table| invitation(table, id));
        row.is_some_and(|row| {
            let role = text(row, "role");
            scene.permitted(deed, &text(row, "workspace_id"), |actor| permits(actor, &role))
        })
    };
    let holds = match &deed.op {
        Op::RevokeAll { .. } | Op::Dissolve { .. } => anywhere(&is_owner),
        Op::Invite { role, .. } => anywhere(&|actor| may_invite(actor, role)),
        Op::Rename { .. }
        | Op::Look {
            path: "/workspaces/invitations",
            ..
        } => anywhere(&may_update),
        Op::Look { path, .. } if path.starts_with("/workspaces") => anywhere(&|_| true),
        Op::Resend { invitation, .. } | Op::Cancel { invitation, .. } | Op::Extend { invitation, .. } => {
            about(invitation, &may_invite)
        }
        Op::ChangeRole { target, role, .. } => {
            is_change_permitted(scene, deed, target, &|actor, from| may_change(actor, from, role))
        }
        Op::Remove { target, .. } => is_change_permitted(scene, deed, target, &may_remove),
        _ => return,
    };
    findings.expect("I7", holds, || format!("nobody may do this: {}", told(scene, deed)));
}

fn is_change_permitted(scene: &Scene<'_>, deed: &Deed, target: &str, permits: &dyn Fn(&str, &str) -> bool) -> bool {
    let (workspaces, roles) = scene.places(target, Some(deed));
    workspaces.iter().any(|workspace| {
        roles
            .iter()
            .any(|from| scene.permitted(deed, workspace, |actor| permits(actor, from)))
    })
}

/// What was acknowledged and is contested by nothing is there.
fn is_there(scene: &Scene<'_>, deed: &Deed, findings: &mut Findings) {
    // What is answered again may have been undone since.
    if scene.is_contested(deed) || is_repetition(deed, scene.ledger) {
        return;
    }
    let (after, id) = (scene.after, text(&deed.body, "id"));
    let end_of = |id: &str| invitation(after, id).map(|row| text(&row["end"], "status"));
    let (rule, holds) = match &deed.op {
        Op::Register { who, .. } => {
            let email = &scene.people[*who].email;
            ("I2", user_of_email(after, email).as_deref() == Some(id.as_str()))
        }
        Op::Found { name, .. } => {
            let there = workspace(after, &id).is_some_and(|workspace| workspace["name"] == name.as_str());
            ("I2", there)
        }
        Op::Rename { name, .. } => {
            let there = workspace(after, &id).is_some_and(|workspace| workspace["name"] == name.as_str());
            ("I12", there)
        }
        Op::Dissolve { .. } => {
            let gone = scene.actor(deed).is_some_and(|actor| place(after, &actor).is_none());
            ("I2", gone)
        }
        Op::Invite { email, role, .. } => {
            let there = pending(after, &id)
                .is_some_and(|row| text(row, "email") == email.trim().to_lowercase() && row["role"] == *role);
            ("I3", there)
        }
        Op::Resend { invitation, .. } => (
            "I3",
            pending(after, &id).is_some() && end_of(invitation).as_deref() == Some("revoked"),
        ),
        Op::Cancel { invitation, .. } | Op::Decline { invitation, .. } => {
            ("I3", end_of(invitation).as_deref() == Some("revoked"))
        }
        Op::Extend {
            invitation, expires_at, ..
        } => {
            let there = pending(after, invitation).is_some_and(|row| row["expires_at"] == expires_at.as_str());
            ("I12", there)
        }
        Op::Accept { invitation: id, .. } => {
            let row = invitation(after, id).cloned().unwrap_or_default();
            let by = text(&row["end"], "accepted_by");
            let with_membership_condition =
                place(after, &by).is_some_and(|(workspace, _)| row["workspace_id"] == workspace.as_str());
            (
                "I3",
                deed.body["user"]["id"] == by.as_str() && with_membership_condition,
            )
        }
        Op::ChangeRole { target, role, .. } => ("I7", place(after, target).is_some_and(|(_, now)| now == *role)),
        Op::Remove { target, .. } => ("I6", place(after, target).is_none()),
        _ => return,
    };
    findings.expect(rule, holds, || {
        format!("it is acknowledged, and not so: {}", told(scene, deed))
    });
}

/// I3, I13: a link that had ended before opens nothing.
fn is_no_dead_link(scene: &Scene<'_>, deed: &Deed, findings: &mut Findings) {
    let Op::Accept { invitation: id, .. } = &deed.op else {
        return;
    };
    let ended = scene.ledger.links.get(id).and_then(|link| link.ended.clone());
    // Who accepted may repeat it for ten minutes.
    let before = invitation(scene.before, id).cloned().unwrap_or_default();
    let by = text(&before["end"], "accepted_by");
    let at = before["end"]["at"]
        .as_str()
        .and_then(|at| at.parse::<shared::clock::Time>().ok());
    let repeats = deed.body["user"]["id"] == by.as_str()
        && at.is_some_and(|at| deed.started.since(at) < std::time::Duration::from_secs(600));
    findings.expect("I3", ended.is_none() || repeats, || {
        format!("the link had ended ({ended:?}): {}", told(scene, deed))
    });
    let extended = scene
        .live()
        .any(|other| matches!(&other.op, Op::Extend { invitation, .. } if invitation == id));
    let expires_at = pending(scene.before, id).map(|row| text(row, "expires_at"));
    let expired = expires_at.is_some_and(|at| at < deed.started.to_string());
    findings.expect("I13", !expired || extended, || {
        format!("it had expired: {}", told(scene, deed))
    });
}

fn places_change_for_a_reason(scene: &Scene<'_>, findings: &mut Findings) {
    for row in all(scene.after, "user") {
        let id = text(row, "id");
        let email = text(row, "email");
        if user(scene.before, &id).is_none() {
            let made = scene.live().any(|deed| match &deed.op {
                Op::Register { who, .. } => scene.people[*who].email == email,
                Op::Accept { invitation, .. } => scene.email_of(invitation) == email,
                _ => false,
            });
            findings.expect("I12", made, || format!("nobody made the user {id} ({email})"));
        }
        let (was, is) = (place(scene.before, &id), place(scene.after, &id));
        tokens_end_for_a_reason(scene, row, findings);
        if was == is {
            continue;
        }
        let same_workspace = matches!((&was, &is), (Some((a, _)), Some((b, _))) if a == b);
        if let Some((from, role)) = was.as_ref().filter(|_| !same_workspace) {
            let left = scene.live().any(|deed| match &deed.op {
                Op::Remove { target, .. } => *target == id && is_change_permitted(scene, deed, target, &may_remove),
                Op::Dissolve { .. } => {
                    scene.actor(deed).as_deref() == Some(id.as_str()) && scene.permitted(deed, from, is_owner)
                }
                _ => false,
            });
            findings.expect("I7", left, || {
                format!("nobody took {id} from {from}, where they were {role}")
            });
        }
        let Some((to, role)) = &is else { continue };
        let joined = scene.live().any(|deed| match &deed.op {
            Op::Accept { invitation: link, .. } => invitation(scene.after, link)
                .is_some_and(|row| text(row, "email") == email && text(row, "workspace_id") == *to),
            Op::Found { .. } | Op::Register { .. } => scene.actor(deed).as_deref() == Some(id.as_str()),
            _ => false,
        });
        findings.expect("I7", joined || same_workspace, || {
            format!("nobody brought {id} into {to}")
        });
        let given = scene.live().any(|deed| match &deed.op {
            Op::Accept { invitation: link, .. } => invitation(scene.after, link)
                .is_some_and(|row| text(row, "email") == email && text(row, "role") == *role),
            Op::Found { .. } | Op::Register { .. } => role == "owner",
            Op::ChangeRole {
                target, role: granted, ..
            } => {
                *target == id
                    && granted == role
                    && is_change_permitted(scene, deed, target, &|actor, from| may_change(actor, from, role))
            }
            _ => false,
        });
        findings.expect("I7", given, || format!("nobody made {id} {role} in {to}"));
    }
}

/// An account's tokens end by its own logging out, and by removal and demotion.
fn tokens_end_for_a_reason(scene: &Scene<'_>, row: &Value, findings: &mut Findings) {
    let id = text(row, "id");
    let Some(was) = user(scene.before, &id) else { return };
    if was["epoch"] == row["epoch"] {
        return;
    }
    let ended = scene.live().any(|deed| match &deed.op {
        Op::LogOut { .. } => scene.actor(deed).as_deref() == Some(id.as_str()),
        Op::ChangeRole { target, .. } | Op::Remove { target, .. } => *target == id,
        _ => false,
    });
    findings.expect("I12", ended, || {
        format!(
            "nobody ended the tokens of {id}: their epoch rose from {} to {}",
            was["epoch"], row["epoch"]
        )
    });
}

fn workspaces_change_for_a_reason(scene: &Scene<'_>, findings: &mut Findings) {
    for row in all(scene.after, "workspace") {
        let id = text(row, "id");
        let Some(was) = workspace(scene.before, &id) else {
            let founded = scene
                .live()
                .any(|deed| matches!(deed.op, Op::Found { .. } | Op::Register { .. }));
            findings.expect("I12", founded, || format!("nobody made the workspace {id}"));
            continue;
        };
        if was["name"] != row["name"] {
            let renamed = scene.live().any(|deed| {
                matches!(&deed.op, Op::Rename { name, .. } if row["name"] == name.as_str())
                    && scene.permitted(deed, &id, may_update)
            });
            findings.expect("I5", renamed, || format!("nobody called {id} {}", row["name"]));
        }
        if was["epoch"] != row["epoch"] {
            let revoked = scene
                .live()
                .any(|deed| matches!(deed.op, Op::RevokeAll { .. }) && scene.permitted(deed, &id, is_owner));
            findings.expect("I12", revoked, || format!("nobody ended the sessions of {id}"));
        }
        let constant = ["id", "slug", "created_at", "tier", "cursor_key"];
        let differs = constant.iter().find(|name| was[**name] != row[**name]);
        findings.expect("I12", differs.is_none(), || format!("{id} has another {differs:?}"));
    }
    for row in all(scene.before, "workspace") {
        let id = text(row, "id");
        if workspace(scene.after, &id).is_none() {
            let dissolved = scene
                .live()
                .any(|deed| matches!(deed.op, Op::Dissolve { .. }) && scene.permitted(deed, &id, is_owner));
            findings.expect("I12", dissolved, || format!("nobody dissolved {id}"));
        }
    }
}

fn invitations_change_for_a_reason(scene: &Scene<'_>, findings: &mut Findings) {
    for row in all(scene.after, "invitation") {
        let id = text(row, "id");
        let Some(was) = invitation(scene.before, &id) else {
            let made = scene.live().any(|deed| {
                let email = match &deed.op {
                    Op::Invite { email, role, .. } if row["role"] == *role => email.trim().to_lowercase(),
                    Op::Resend { invitation, .. } => scene.email_of(invitation),
                    _ => return false,
                };
                row["email"] == email.as_str()
                    && scene.permitted(deed, &text(row, "workspace_id"), |actor| {
                        may_invite(actor, &text(row, "role"))
                    })
            });
            findings.expect("I7", made, || format!("nobody made the invitation {row}"));
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
        findings.expect("I3", differs.is_none(), || format!("{id} has another {differs:?}"));
        if !was["end"].is_null() {
            findings.expect("I3", was["end"] == row["end"], || {
                format!("{id} had ended as {}, and ends as {}", was["end"], row["end"])
            });
            continue;
        }
        if !row["end"].is_null() {
            let ended = scene.live().any(|deed| may_have_ended(scene, deed, &id, row));
            findings.expect("I3", ended, || format!("nobody ended {id} as {}", row["end"]));
        } else if let (Some(was), Some(is)) = (pending(scene.before, &id), pending(scene.after, &id)) {
            let extended = was["expires_at"] == is["expires_at"]
                || scene.live().any(|deed| {
                    matches!(&deed.op, Op::Extend { invitation, expires_at, .. }
                        if *invitation == id && is["expires_at"] == expires_at.as_str())
                });
            findings.expect("I12", extended, || format!("nobody extended {id}"));
            let [from, to] = [was, is].map(|row| step(&row["delivery"]));
            findings.expect("I9", from <= to, || {
                format!(
                    "the mail of {id} went back from {} to {}",
                    was["delivery"], is["delivery"]
                )
            });
        }
    }
}

/// How far a mail came.
pub fn step(delivery: &Value) -> u8 {
    match delivery["status"].as_str() {
        Some("queued") => 0,
        Some("sent") => 1,
        Some("failed") => 2,
        Some("delivered") => 3,
        Some("bounced" | "complained") => 4,
        _ => u8::MAX,
    }
}

fn may_have_ended(scene: &Scene<'_>, deed: &Deed, id: &str, row: &Value) -> bool {
    let (email, home) = (text(row, "email"), text(row, "workspace_id"));
    let accepted = row["end"]["status"] == "accepted";
    let may = || scene.permitted(deed, &home, |actor| may_invite(actor, &text(row, "role")));
    match &deed.op {
        Op::Accept { invitation, .. } if invitation == id => accepted,
        // Another invitation of the e-mail was accepted.
        Op::Accept { invitation, .. } => !accepted && scene.email_of(invitation) == email,
        Op::Cancel { invitation, .. } | Op::Resend { invitation, .. } => !accepted && invitation == id && may(),
        Op::Decline { invitation, .. } => !accepted && invitation == id,
        Op::Invite { email: invited, .. } => !accepted && invited.trim().to_lowercase() == email && may(),
        Op::Dissolve { .. } => !accepted && scene.permitted(deed, &home, is_owner),
        _ => false,
    }
}
