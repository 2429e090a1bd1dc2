//! What a deed must be answered when nothing else is done beside it: the contract, on what the table held before.

use std::time::Duration;

use serde_json::Value;
use shared::clock::Time;

use super::deeds::{Deed, Op};
use super::ledger::{INVITE, LEEWAY_S, LOG_IN, Life, RECIPIENT, RESEND, REVOKE_ALL, in_time, seconds};
use super::once;
use super::scene::{
    Scene, invitation, is_owner, item, may_change, may_invite, may_remove, may_update, pending, place, text,
    user_of_email, workspace,
};

/// Status and code; no code for a deed that is done.
pub type Expected = (u16, &'static str);

const LIMITED: Expected = (429, "RATE_LIMITED");

/// The answers that are right; none when nobody can say.
pub fn expected(scene: &Scene<'_>, deed: &Deed) -> Option<Vec<Expected>> {
    once::expected(scene, deed, usual(scene, deed))
}

/// The answers that are right without an idempotency key.
fn usual(scene: &Scene<'_>, deed: &Deed) -> Option<Vec<Expected>> {
    let now = deed.ended;
    match &deed.op {
        Op::Register { who, .. } => {
            let taken = user_of_email(scene.before, &scene.people[*who].email).is_some();
            Some(vec![if taken { (400, "EMAIL_TAKEN") } else { (201, "") }])
        }
        Op::LogIn { who, password } => {
            let email = &scene.people[*who].email;
            let limited = scene.ledger.may_be_full(LOG_IN, email, now).then_some(LIMITED);
            let passwords = scene.ledger.passwords.get(email);
            let known = user_of_email(scene.before, email).is_some();
            let right = known && passwords.is_some_and(|passwords| passwords.contains(password));
            if right && passwords.is_some_and(|passwords| passwords.len() > 1) {
                return None;
            }
            let answer = if right { (200, "") } else { (401, "INVALID_CREDENTIALS") };
            Some([answer].into_iter().chain(limited).collect())
        }
        Op::Refresh { token } => refresh(scene, *token, deed),
        Op::Accept { .. } => accept(scene, deed),
        Op::Decline { invitation, secret, .. } => match link_state(scene, invitation, secret, now)? {
            Standing::Open | Standing::Expired => Some(vec![(200, "")]),
            standing => Some(vec![standing.refusal()]),
        },
        Op::Preview { invitation, secret, .. } => match link_state(scene, invitation, secret, now)? {
            Standing::Unknown => Some(vec![(404, "INVITATION_NOT_FOUND")]),
            _ => Some(vec![(200, "")]),
        },
        Op::Deliver { .. } | Op::RollUp { .. } | Op::RetryMails | Op::Tell { .. } => Some(vec![(200, "")]),
        op => {
            let held = &scene.ledger.tokens[op.token()?];
            match (held.access_in_time(now)?, held.life) {
                (false, _) => return Some(vec![(401, "TOKEN_INVALID")]),
                (true, Life::Dead) => return Some(vec![(401, "TOKEN_REVOKED")]),
                (true, Life::Maybe) => return None,
                (true, Life::Alive) => {}
            }
            let actor = scene.actor(deed)?;
            if matches!(op, Op::LogOut { .. } | Op::Look { path: "/auth/me", .. }) {
                return Some(vec![(200, "")]);
            }
            match (op, place(scene.before, &actor)) {
                (Op::Found { .. }, None) => Some(vec![(201, "")]),
                (Op::Found { .. }, Some(_)) => Some(vec![(400, "ALREADY_IN_WORKSPACE")]),
                (_, None) => Some(vec![(404, "WORKSPACE_NOT_FOUND")]),
                (op, Some((home, role))) => member(scene, op, &actor, (&home, &role), now),
            }
        }
    }
}

/// What a member of `home` with `role` is answered.
fn member(scene: &Scene<'_>, op: &Op, actor: &str, (home, role): (&str, &str), now: Time) -> Option<Vec<Expected>> {
    let forbidden = Some(vec![(403, "FORBIDDEN")]);
    let limited = |full: bool| full.then_some(LIMITED).into_iter();
    match op {
        Op::Look {
            path: "/workspaces/invitations",
            ..
        }
        | Op::Rename { .. }
        | Op::Cancel { .. }
        | Op::Resend { .. }
        | Op::Extend { .. }
        | Op::ChangeRole { .. }
        | Op::Remove { .. }
            if !may_update(role) =>
        {
            forbidden
        }
        Op::Look { .. } | Op::Rename { .. } => Some(vec![(200, "")]),
        Op::Dissolve { .. } | Op::RevokeAll { .. } if !is_owner(role) => forbidden,
        Op::Dissolve { .. } => {
            let alone = workspace(scene.before, home).is_some_and(|row| row["member_count"] == 1);
            Some(vec![if alone { (200, "") } else { (400, "WORKSPACE_NOT_EMPTY") }])
        }
        Op::RevokeAll { .. } => {
            let (may, must) = (
                scene.ledger.may_be_full(REVOKE_ALL, home, now),
                scene.ledger.must_be_full(REVOKE_ALL, home, now),
            );
            let done = (!must).then_some((200, ""));
            Some(done.into_iter().chain(limited(may)).collect())
        }
        Op::Invite {
            email, role: granted, ..
        } => {
            let email = email.trim().to_lowercase();
            if !may_invite(role, granted) {
                return forbidden;
            }
            let (may, must) = (
                scene.ledger.may_be_full(INVITE, actor, now),
                scene.ledger.must_be_full(INVITE, actor, now),
            );
            let may = may || scene.ledger.may_be_full(RECIPIENT, &email, now);
            let owner = user_of_email(scene.before, &email);
            let answer = match owner.as_ref().and_then(|owner| place(scene.before, owner)) {
                _ if guarded_role(scene, &email, home).is_some_and(|guarded| !may_invite(role, &guarded)) => {
                    (403, "FORBIDDEN")
                }
                _ if owner.as_deref() == Some(actor) => (400, "SELF_INVITE"),
                Some((theirs, _)) if theirs == home => (400, "ALREADY_MEMBER"),
                Some(_) => (400, "INVITEE_UNAVAILABLE"),
                None => (201, ""),
            };
            Some((!must).then_some(answer).into_iter().chain(limited(may)).collect())
        }
        Op::Cancel { invitation: id, .. } | Op::Resend { invitation: id, .. } | Op::Extend { invitation: id, .. } => {
            let row = invitation(scene.before, id).filter(|row| row["workspace_id"] == home);
            let Some(row) = row else {
                return Some(vec![(404, "INVITATION_NOT_FOUND")]);
            };
            if !may_invite(role, &text(row, "role")) {
                return forbidden;
            }
            let resends = matches!(op, Op::Resend { .. });
            let may = resends
                && (scene.ledger.may_be_full(RESEND, actor, now)
                    || scene.ledger.may_be_full(RECIPIENT, &text(row, "email"), now));
            let must = resends && scene.ledger.must_be_full(RESEND, actor, now);
            let answer = match standing(scene, row, now)? {
                Standing::Used => (400, "INVITATION_USED"),
                Standing::Revoked => (400, "INVITATION_REVOKED"),
                Standing::Expired if resends => (400, "INVITATION_EXPIRED"),
                // Nobody accepts it any more, but its row is there to be cleared away.
                Standing::Dead => {
                    let answers = [(200, ""), (400, "INVITATION_REVOKED"), (400, "INVITATION_EXPIRED")];
                    return Some(answers.into_iter().chain(limited(may)).collect());
                }
                Standing::Open | Standing::Expired | Standing::Unknown => (200, ""),
            };
            Some((!must).then_some(answer).into_iter().chain(limited(may)).collect())
        }
        Op::ChangeRole { target, .. } | Op::Remove { target, .. } => {
            let theirs = place(scene.before, target).filter(|(workspace, _)| workspace == home);
            let Some((_, from)) = theirs else {
                return Some(vec![(404, "MEMBER_NOT_FOUND")]);
            };
            let owners = workspace(scene.before, home).and_then(|row| row["owner_count"].as_u64());
            let is_last = from == "owner" && owners == Some(1);
            Some(vec![match op {
                Op::ChangeRole { role: to, .. } if !may_change(role, &from, to) => (403, "FORBIDDEN"),
                Op::ChangeRole { role: to, .. } if is_last && *to != "owner" => (400, "LAST_OWNER"),
                Op::Remove { .. } if !may_remove(role, &from) => (403, "FORBIDDEN"),
                Op::Remove { .. } if is_last => (403, "LAST_OWNER"),
                _ => (200, ""),
            }])
        }
        _ => None,
    }
}

/// The role that an e-mail's pending invitation in a workspace is for.
fn guarded_role(scene: &Scene<'_>, email: &str, home: &str) -> Option<String> {
    let guard = item(scene.before, &format!("EMAIL#{email}"), &format!("GUARD#{home}"))?;
    invitation(scene.before, &text(guard, "invitation_id")).map(|row| text(row, "role"))
}

/// Where an invitation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    Expired,
    Used,
    Revoked,
    /// Its e-mail joined elsewhere, or its inviter lost the right to send it.
    Dead,
    Unknown,
}

impl Standing {
    fn refusal(self) -> Expected {
        match self {
            Self::Open => (200, ""),
            Self::Expired => (400, "INVITATION_EXPIRED"),
            Self::Used => (400, "INVITATION_USED"),
            Self::Revoked | Self::Dead => (400, "INVITATION_REVOKED"),
            Self::Unknown => (404, "INVITATION_NOT_FOUND"),
        }
    }
}

fn standing(scene: &Scene<'_>, row: &Value, now: Time) -> Option<Standing> {
    match row["end"]["status"].as_str() {
        Some("accepted") => return Some(Standing::Used),
        Some(_) => return Some(Standing::Revoked),
        None => {}
    }
    let id = text(row, "id");
    if scene.ledger.links.get(&id).is_some_and(|link| link.ended.is_some()) {
        return Some(Standing::Dead);
    }
    if scene.ledger.links.get(&id).is_some_and(|link| link.unsure) {
        return None;
    }
    let expires_at: Time = pending(scene.before, &id)?["expires_at"].as_str()?.parse().ok()?;
    if now.plus(seconds(1)) < expires_at {
        Some(Standing::Open)
    } else if now > expires_at.plus(seconds(1)) {
        Some(Standing::Expired)
    } else {
        None
    }
}

fn link_state(scene: &Scene<'_>, id: &str, secret: &str, now: Time) -> Option<Standing> {
    match scene.ledger.links.get(id) {
        Some(link) if link.secret == secret => match invitation(scene.before, id) {
            Some(row) => standing(scene, row, now),
            None => Some(Standing::Unknown),
        },
        _ => Some(Standing::Unknown),
    }
}

fn accept(scene: &Scene<'_>, deed: &Deed) -> Option<Vec<Expected>> {
    let Op::Accept {
        who,
        invitation: id,
        secret,
        bearer,
        password,
    } = &deed.op
    else {
        return None;
    };
    let now = deed.ended;
    if let Some(bearer) = bearer {
        let held = &scene.ledger.tokens[*bearer];
        match (held.access_in_time(now)?, held.life) {
            (false, _) => return Some(vec![(401, "TOKEN_INVALID")]),
            (true, Life::Dead) => return Some(vec![(401, "TOKEN_REVOKED")]),
            (true, Life::Maybe) => return None,
            (true, Life::Alive) => {}
        }
    }
    let standing = link_state(scene, id, secret, now)?;
    if standing == Standing::Unknown {
        return Some(vec![standing.refusal()]);
    }
    let email = scene.email_of(id);
    let account = user_of_email(scene.before, &email);
    let passwords = scene.ledger.passwords.get(&email);
    let by_bearer = bearer.is_some() && scene.people[*who].email == email;
    let right = password
        .as_ref()
        .is_some_and(|password| passwords.is_some_and(|passwords| passwords.contains(password)));
    let sure = passwords.is_none_or(|passwords| passwords.len() <= 1);
    let mut limited = Vec::new();
    if password.is_some() && scene.ledger.may_be_full(LOG_IN, &email, now) {
        limited.push(LIMITED);
    }
    if standing == Standing::Used {
        let end = &invitation(scene.before, id)?["end"];
        let at: Time = end["at"].as_str()?.parse().ok()?;
        let still_there = place(scene.before, &text(end, "accepted_by")).is_some_and(|(home, _)| {
            invitation(scene.before, id).is_some_and(|row| row["workspace_id"] == home.as_str())
        });
        let late = now.since(at) > Duration::from_secs(600 + LEEWAY_S);
        let answer = if late || !still_there || !(by_bearer || right) {
            (400, "INVITATION_USED")
        } else if now.since(at) < Duration::from_secs(600 - LEEWAY_S) && sure {
            (200, "")
        } else {
            return None;
        };
        return Some([answer].into_iter().chain(limited).collect());
    }
    if standing != Standing::Open {
        return Some(vec![standing.refusal()]);
    }
    if bearer.is_some() && !by_bearer {
        return Some(vec![(409, "INVITE_EMAIL_MISMATCH")]);
    }
    if !sure {
        return None;
    }
    let answer = match &account {
        None if password.is_none() => (400, "PASSWORD_REQUIRED"),
        Some(_) if !by_bearer && !right => (401, "INVALID_CREDENTIALS"),
        Some(account) if place(scene.before, account).is_some() => (400, "INVITEE_UNAVAILABLE"),
        None | Some(_) => (200, ""),
    };
    Some([answer].into_iter().chain(limited).collect())
}

fn refresh(scene: &Scene<'_>, token: usize, deed: &Deed) -> Option<Vec<Expected>> {
    let now = deed.ended;
    let held = &scene.ledger.tokens[token];
    let revoked = Some(vec![(401, "TOKEN_REVOKED"), (401, "TOKEN_INVALID")]);
    match held.life {
        Life::Dead => return revoked,
        Life::Maybe => return None,
        Life::Alive => {}
    }
    let session = scene.ledger.sessions.get(&held.session)?;
    if !in_time(session.since, session.since, super::ledger::REFRESH_S, now)? {
        return revoked;
    }
    // When within the deed it was decided, which a fault may draw out for seconds, nobody can say.
    let (least, most) = (deed.started.since(session.since), now.since(session.since));
    match session.generation.checked_sub(held.generation)? {
        0 => Some(vec![(200, "")]),
        1 if most < Duration::from_secs(29) => Some(vec![(200, "")]),
        1 if least < Duration::from_secs(31) => None,
        _ => Some(vec![(401, "TOKEN_REVOKED")]),
    }
}
