//! The contract: the correct responses to an operation that runs alone, derived from the table before it.

use std::time::Duration;

use serde_json::Value;
use shared::clock::Time;

use super::idempotency;
use super::ledger::{INVITE, LEEWAY_S, LOG_IN, RECIPIENT, RESEND, REVOKE_ALL, TokenState, is_within, seconds};
use super::operations::{Operation, PerformedOperation};
use super::snapshot::{
    Snapshot, invitation, is_owner, item, may_change, may_invite, may_remove, may_update, membership, pending, text,
    user_of_email, workspace,
};

/// Status and error code; the code is empty for a success.
pub type Expected = (u16, &'static str);

const LIMITED: Expected = (429, "RATE_LIMITED");

/// The correct responses; none when the outcome cannot be predicted.
pub fn expected(snapshot: &Snapshot<'_>, performed: &PerformedOperation) -> Option<Vec<Expected>> {
    idempotency::expected(snapshot, performed, without_key(snapshot, performed))
}

/// The correct responses without an idempotency key.
fn without_key(snapshot: &Snapshot<'_>, performed: &PerformedOperation) -> Option<Vec<Expected>> {
    let now = performed.ended;
    match &performed.operation {
        Operation::Register { who, .. } => {
            let taken = user_of_email(snapshot.before, &snapshot.people[*who].email).is_some();
            Some(vec![if taken { (400, "EMAIL_TAKEN") } else { (201, "") }])
        }
        Operation::LogIn { who, password } => {
            let email = &snapshot.people[*who].email;
            let limited = snapshot.ledger.may_be_full(LOG_IN, email, now).then_some(LIMITED);
            let passwords = snapshot.ledger.passwords.get(email);
            let known = user_of_email(snapshot.before, email).is_some();
            let right = known && passwords.is_some_and(|passwords| passwords.contains(password));
            if right && passwords.is_some_and(|passwords| passwords.len() > 1) {
                return None;
            }
            let response = if right { (200, "") } else { (401, "INVALID_CREDENTIALS") };
            Some([response].into_iter().chain(limited).collect())
        }
        Operation::Refresh { token } => refresh(snapshot, *token, performed),
        Operation::Accept { .. } => accept(snapshot, performed),
        Operation::Decline { invitation, secret, .. } => match link_state(snapshot, invitation, secret, now)? {
            LinkState::Pending | LinkState::Expired => Some(vec![(200, "")]),
            state => Some(vec![state.refusal()]),
        },
        Operation::Preview { invitation, secret, .. } => match link_state(snapshot, invitation, secret, now)? {
            LinkState::NotFound => Some(vec![(404, "INVITATION_NOT_FOUND")]),
            _ => Some(vec![(200, "")]),
        },
        Operation::IngestUsage { .. }
        | Operation::RollUp { .. }
        | Operation::RetryMails
        | Operation::MailEvent { .. } => Some(vec![(200, "")]),
        operation => {
            let held = &snapshot.ledger.tokens[operation.token()?];
            match (held.is_access_token_valid(now)?, held.state) {
                (false, _) => return Some(vec![(401, "TOKEN_INVALID")]),
                (true, TokenState::Ended) => return Some(vec![(401, "TOKEN_REVOKED")]),
                (true, TokenState::Unknown) => return None,
                (true, TokenState::Valid) => {}
            }
            let actor = snapshot.actor(performed)?;
            if matches!(
                operation,
                Operation::LogOut { .. } | Operation::Read { path: "/auth/me", .. }
            ) {
                return Some(vec![(200, "")]);
            }
            match (operation, membership(snapshot.before, &actor)) {
                (Operation::CreateWorkspace { .. }, None) => Some(vec![(201, "")]),
                (Operation::CreateWorkspace { .. }, Some(_)) => Some(vec![(400, "ALREADY_IN_WORKSPACE")]),
                (_, None) => Some(vec![(404, "WORKSPACE_NOT_FOUND")]),
                (operation, Some((home, role))) => member(snapshot, operation, &actor, (&home, &role), now),
            }
        }
    }
}

/// The correct responses to a member of `home` with `role`.
fn member(
    snapshot: &Snapshot<'_>,
    operation: &Operation,
    actor: &str,
    (home, role): (&str, &str),
    now: Time,
) -> Option<Vec<Expected>> {
    let forbidden = Some(vec![(403, "FORBIDDEN")]);
    let limited = |full: bool| full.then_some(LIMITED).into_iter();
    match operation {
        Operation::Read {
            path: "/workspaces/invitations",
            ..
        }
        | Operation::UpdateWorkspace { .. }
        | Operation::Cancel { .. }
        | Operation::Resend { .. }
        | Operation::Extend { .. }
        | Operation::ChangeRole { .. }
        | Operation::Remove { .. }
            if !may_update(role) =>
        {
            forbidden
        }
        Operation::Read { .. } | Operation::UpdateWorkspace { .. } => Some(vec![(200, "")]),
        Operation::DeleteWorkspace { .. } | Operation::RevokeAll { .. } if !is_owner(role) => forbidden,
        Operation::DeleteWorkspace { .. } => {
            let alone = workspace(snapshot.before, home).is_some_and(|row| row["member_count"] == 1);
            Some(vec![if alone { (200, "") } else { (400, "WORKSPACE_NOT_EMPTY") }])
        }
        Operation::RevokeAll { .. } => {
            let (may, must) = (
                snapshot.ledger.may_be_full(REVOKE_ALL, home, now),
                snapshot.ledger.must_be_full(REVOKE_ALL, home, now),
            );
            let done = (!must).then_some((200, ""));
            Some(done.into_iter().chain(limited(may)).collect())
        }
        Operation::Invite {
            email, role: granted, ..
        } => {
            let email = email.trim().to_lowercase();
            if !may_invite(role, granted) {
                return forbidden;
            }
            let (may, must) = (
                snapshot.ledger.may_be_full(INVITE, actor, now),
                snapshot.ledger.must_be_full(INVITE, actor, now),
            );
            let may = may || snapshot.ledger.may_be_full(RECIPIENT, &email, now);
            let owner = user_of_email(snapshot.before, &email);
            let response = match owner.as_ref().and_then(|owner| membership(snapshot.before, owner)) {
                _ if guarded_role(snapshot, &email, home).is_some_and(|guarded| !may_invite(role, &guarded)) => {
                    (403, "FORBIDDEN")
                }
                _ if owner.as_deref() == Some(actor) => (400, "SELF_INVITE"),
                Some((theirs, _)) if theirs == home => (400, "ALREADY_MEMBER"),
                Some(_) => (400, "INVITEE_UNAVAILABLE"),
                None => (201, ""),
            };
            Some((!must).then_some(response).into_iter().chain(limited(may)).collect())
        }
        Operation::Cancel { invitation: id, .. }
        | Operation::Resend { invitation: id, .. }
        | Operation::Extend { invitation: id, .. } => {
            let row = invitation(snapshot.before, id).filter(|row| row["workspace_id"] == home);
            let Some(row) = row else {
                return Some(vec![(404, "INVITATION_NOT_FOUND")]);
            };
            if !may_invite(role, &text(row, "role")) {
                return forbidden;
            }
            let resends = matches!(operation, Operation::Resend { .. });
            let may = resends
                && (snapshot.ledger.may_be_full(RESEND, actor, now)
                    || snapshot.ledger.may_be_full(RECIPIENT, &text(row, "email"), now));
            let must = resends && snapshot.ledger.must_be_full(RESEND, actor, now);
            let response = match invitation_state(snapshot, row, now)? {
                LinkState::Accepted => (400, "INVITATION_USED"),
                LinkState::Revoked => (400, "INVITATION_REVOKED"),
                LinkState::Expired if resends => (400, "INVITATION_EXPIRED"),
                // The invitation can no longer be accepted, but its pending row may still exist.
                LinkState::NoLongerValid => {
                    let responses = [(200, ""), (400, "INVITATION_REVOKED"), (400, "INVITATION_EXPIRED")];
                    return Some(responses.into_iter().chain(limited(may)).collect());
                }
                LinkState::Pending | LinkState::Expired | LinkState::NotFound => (200, ""),
            };
            Some((!must).then_some(response).into_iter().chain(limited(may)).collect())
        }
        Operation::ChangeRole { target, .. } | Operation::Remove { target, .. } => {
            let theirs = membership(snapshot.before, target).filter(|(workspace, _)| workspace == home);
            let Some((_, from)) = theirs else {
                return Some(vec![(404, "MEMBER_NOT_FOUND")]);
            };
            let owners = workspace(snapshot.before, home).and_then(|row| row["owner_count"].as_u64());
            let is_last = from == "owner" && owners == Some(1);
            Some(vec![match operation {
                Operation::ChangeRole { role: to, .. } if !may_change(role, &from, to) => (403, "FORBIDDEN"),
                Operation::ChangeRole { role: to, .. } if is_last && *to != "owner" => (400, "LAST_OWNER"),
                Operation::Remove { .. } if !may_remove(role, &from) => (403, "FORBIDDEN"),
                Operation::Remove { .. } if is_last => (403, "LAST_OWNER"),
                _ => (200, ""),
            }])
        }
        _ => None,
    }
}

/// The role of the pending invitation of an e-mail address in a workspace.
fn guarded_role(snapshot: &Snapshot<'_>, email: &str, home: &str) -> Option<String> {
    let guard = item(snapshot.before, &format!("EMAIL#{email}"), &format!("GUARD#{home}"))?;
    invitation(snapshot.before, &text(guard, "invitation_id")).map(|row| text(row, "role"))
}

/// The state of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkState {
    Pending,
    Expired,
    Accepted,
    Revoked,
    /// The e-mail address joined another workspace, or the inviter lost the right to send the invitation.
    NoLongerValid,
    NotFound,
}

impl LinkState {
    fn refusal(self) -> Expected {
        match self {
            Self::Pending => (200, ""),
            Self::Expired => (400, "INVITATION_EXPIRED"),
            Self::Accepted => (400, "INVITATION_USED"),
            Self::Revoked | Self::NoLongerValid => (400, "INVITATION_REVOKED"),
            Self::NotFound => (404, "INVITATION_NOT_FOUND"),
        }
    }
}

fn invitation_state(snapshot: &Snapshot<'_>, row: &Value, now: Time) -> Option<LinkState> {
    match row["end"]["status"].as_str() {
        Some("accepted") => return Some(LinkState::Accepted),
        Some(_) => return Some(LinkState::Revoked),
        None => {}
    }
    let id = text(row, "id");
    if snapshot.ledger.links.get(&id).is_some_and(|link| link.ended.is_some()) {
        return Some(LinkState::NoLongerValid);
    }
    if snapshot.ledger.links.get(&id).is_some_and(|link| link.is_uncertain) {
        return None;
    }
    let expires_at: Time = pending(snapshot.before, &id)?["expires_at"].as_str()?.parse().ok()?;
    if now.plus(seconds(1)) < expires_at {
        Some(LinkState::Pending)
    } else if now > expires_at.plus(seconds(1)) {
        Some(LinkState::Expired)
    } else {
        None
    }
}

fn link_state(snapshot: &Snapshot<'_>, id: &str, secret: &str, now: Time) -> Option<LinkState> {
    match snapshot.ledger.links.get(id) {
        Some(link) if link.secret == secret => match invitation(snapshot.before, id) {
            Some(row) => invitation_state(snapshot, row, now),
            None => Some(LinkState::NotFound),
        },
        _ => Some(LinkState::NotFound),
    }
}

fn accept(snapshot: &Snapshot<'_>, performed: &PerformedOperation) -> Option<Vec<Expected>> {
    let Operation::Accept {
        who,
        invitation: id,
        secret,
        bearer,
        password,
    } = &performed.operation
    else {
        return None;
    };
    let now = performed.ended;
    if let Some(bearer) = bearer {
        let held = &snapshot.ledger.tokens[*bearer];
        match (held.is_access_token_valid(now)?, held.state) {
            (false, _) => return Some(vec![(401, "TOKEN_INVALID")]),
            (true, TokenState::Ended) => return Some(vec![(401, "TOKEN_REVOKED")]),
            (true, TokenState::Unknown) => return None,
            (true, TokenState::Valid) => {}
        }
    }
    let state = link_state(snapshot, id, secret, now)?;
    if state == LinkState::NotFound {
        return Some(vec![state.refusal()]);
    }
    let email = snapshot.email_of(id);
    let account = user_of_email(snapshot.before, &email);
    let passwords = snapshot.ledger.passwords.get(&email);
    let by_bearer = bearer.is_some() && snapshot.people[*who].email == email;
    let right = password
        .as_ref()
        .is_some_and(|password| passwords.is_some_and(|passwords| passwords.contains(password)));
    let is_certain = passwords.is_none_or(|passwords| passwords.len() <= 1);
    let mut limited = Vec::new();
    if password.is_some() && snapshot.ledger.may_be_full(LOG_IN, &email, now) {
        limited.push(LIMITED);
    }
    if state == LinkState::Accepted {
        let end = &invitation(snapshot.before, id)?["end"];
        let at: Time = end["at"].as_str()?.parse().ok()?;
        let still_there = membership(snapshot.before, &text(end, "accepted_by")).is_some_and(|(home, _)| {
            invitation(snapshot.before, id).is_some_and(|row| row["workspace_id"] == home.as_str())
        });
        let late = now.since(at) > Duration::from_secs(600 + LEEWAY_S);
        let response = if late || !still_there || !(by_bearer || right) {
            (400, "INVITATION_USED")
        } else if now.since(at) < Duration::from_secs(600 - LEEWAY_S) && is_certain {
            (200, "")
        } else {
            return None;
        };
        return Some([response].into_iter().chain(limited).collect());
    }
    if state != LinkState::Pending {
        return Some(vec![state.refusal()]);
    }
    if bearer.is_some() && !by_bearer {
        return Some(vec![(409, "INVITE_EMAIL_MISMATCH")]);
    }
    if !is_certain {
        return None;
    }
    let response = match &account {
        None if password.is_none() => (400, "PASSWORD_REQUIRED"),
        Some(_) if !by_bearer && !right => (401, "INVALID_CREDENTIALS"),
        Some(account) if membership(snapshot.before, account).is_some() => (400, "INVITEE_UNAVAILABLE"),
        None | Some(_) => (200, ""),
    };
    Some([response].into_iter().chain(limited).collect())
}

fn refresh(snapshot: &Snapshot<'_>, token: usize, performed: &PerformedOperation) -> Option<Vec<Expected>> {
    let now = performed.ended;
    let held = &snapshot.ledger.tokens[token];
    let revoked = Some(vec![(401, "TOKEN_REVOKED"), (401, "TOKEN_INVALID")]);
    match held.state {
        TokenState::Ended => return revoked,
        TokenState::Unknown => return None,
        TokenState::Valid => {}
    }
    let session = snapshot.ledger.sessions.get(&held.session)?;
    if !is_within(session.since, session.since, super::ledger::REFRESH_S, now)? {
        return revoked;
    }
    // A fault may delay the decision by seconds, so the time of the decision is not known exactly.
    let (least, most) = (performed.started.since(session.since), now.since(session.since));
    match session.generation.checked_sub(held.generation)? {
        0 => Some(vec![(200, "")]),
        1 if most < Duration::from_secs(29) => Some(vec![(200, "")]),
        1 if least < Duration::from_secs(31) => None,
        _ => Some(vec![(401, "TOKEN_REVOKED")]),
    }
}
