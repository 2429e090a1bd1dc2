//! Updates the ledger after a batch: from the responses, and from the table where a response is missing.

use local::mailbox::Mail;

use super::checker::delivery_rank;
use super::disclosure::{marks, note_marks};
use super::idempotency;
use super::ledger::{INVITE, LOG_IN, Ledger, Link, RECIPIENT, RESEND, REVOKE_ALL, RecordState, Session, TokenState};
use super::operations::{Operation, Outcome, PerformedOperation};
use super::snapshot::{
    Snapshot, invitation, invite_epoch, is_owner, items_of, may_invite, membership, pending, rank, sessions_of, text,
    user, user_of_email, workspace,
};
use crate::support::invariants::{Findings, Table};

/// Observations of a batch, which are recorded in the ledger after the batch was checked.
#[derive(Default)]
pub struct Observations {
    /// Users whose earlier tokens have ended, with the reason.
    ended: Vec<(String, &'static str)>,
    /// Invitations whose links have ended, with the reason.
    links: Vec<(String, &'static str)>,
    /// E-mail addresses of new accounts, with their possible passwords.
    passwords: Vec<(String, Vec<String>)>,
    /// Users whose new tokens may have ended immediately.
    uncertain_users: Vec<String>,
    /// Invitations whose inviter lost the right either before or after sending them.
    uncertain_links: Vec<String>,
}

/// Derives the observations from a batch.
pub fn observe(snapshot: &Snapshot<'_>) -> Observations {
    let mut observations = Observations::default();
    observe_ended_tokens(snapshot, &mut observations);
    observe_ended_links(snapshot, &mut observations);
    observe_uncertain_links(snapshot, &mut observations);
    for row in items_of(snapshot.after, "user") {
        let (id, email) = (text(row, "id"), text(row, "email"));
        if user(snapshot.before, &id).is_some() {
            continue;
        }
        let password = |performed: &PerformedOperation| match &performed.operation {
            Operation::Register { who, .. } if snapshot.people[*who].email == email => {
                Some(snapshot.people[*who].password.clone())
            }
            Operation::Accept {
                invitation, password, ..
            } if snapshot.email_of(invitation) == email => password.clone(),
            _ => None,
        };
        let of = |done: bool| -> Vec<String> {
            let batch = snapshot
                .possibly_applied()
                .filter(|performed| performed.is_done() == done);
            batch.filter_map(password).collect()
        };
        let (confirmed, unconfirmed) = (of(true), of(false));
        let passwords = if confirmed.is_empty() { unconfirmed } else { confirmed };
        observations.passwords.push((email, passwords));
    }
    observations
}

fn observe_ended_tokens(snapshot: &Snapshot<'_>, observations: &mut Observations) {
    for row in items_of(snapshot.after, "user") {
        let id = text(row, "id");
        let epoch_before = user(snapshot.before, &id).map(|row| row["epoch"].clone());
        let user_epoch_rose = epoch_before.is_some_and(|before| before != row["epoch"]);
        if user_epoch_rose {
            observations.ended.push((id.clone(), "the account's epoch rose"));
        }
        let homes = [membership(snapshot.before, &id), membership(snapshot.after, &id)];
        let revoked = |home: &String| {
            let epochs =
                [snapshot.before, snapshot.after].map(|table| workspace(table, home).map(|row| row["epoch"].clone()));
            matches!(epochs, [Some(was), Some(is)] if was != is)
        };
        let homes: Vec<bool> = homes.iter().flatten().map(|(home, _)| revoked(home)).collect();
        if homes.len() == 2 && homes.iter().all(|revoked| *revoked) {
            observations.ended.push((id.clone(), "the workspace's epoch rose"));
        }
        if user_epoch_rose || homes.contains(&true) {
            observations.uncertain_users.push(id);
        }
    }
    for performed in snapshot.batch.iter().filter(|performed| performed.is_done()) {
        match &performed.operation {
            Operation::LogOut { .. } => {
                observations
                    .ended
                    .extend(snapshot.actor(performed).map(|actor| (actor, "they logged out")));
            }
            Operation::Remove { target, .. } => observations.ended.push((target.clone(), "they were removed")),
            Operation::ChangeRole { target, role, .. } => {
                let is_alone = !snapshot.is_contested(performed);
                let from = membership(snapshot.before, target).map_or(0, |(_, from)| rank(&from));
                if is_alone && rank(role) < from {
                    observations.ended.push((target.clone(), "they were demoted"));
                }
            }
            Operation::RevokeAll { .. } => {
                let home = text(&performed.body, "workspace_id");
                for row in items_of(snapshot.before, "user") {
                    if row["membership"]["workspace_id"] == home.as_str() {
                        observations.ended.push((text(row, "id"), "all sessions were revoked"));
                    }
                }
            }
            _ => {}
        }
    }
}

fn observe_ended_links(snapshot: &Snapshot<'_>, observations: &mut Observations) {
    for row in items_of(snapshot.before, "invitation") {
        let (id, home, role) = (text(row, "id"), text(row, "workspace_id"), text(row, "role"));
        let (email, by) = (text(row, "email"), text(row, "invited_by"));
        let mut end = |reason| observations.links.push((id.clone(), reason));
        if invitation(snapshot.after, &id).is_none_or(|row| !row["end"].is_null()) {
            end("the table shows its end");
        }
        if invite_epoch(snapshot.after, &email) > invite_epoch(snapshot.before, &email) {
            end("its e-mail joined a workspace");
        }
        let was = membership(snapshot.before, &by).filter(|(workspace, _)| *workspace == home);
        let is = membership(snapshot.after, &by).filter(|(workspace, _)| *workspace == home);
        let could =
            |membership: Option<(String, String)>| membership.is_some_and(|(_, actor)| may_invite(&actor, &role));
        if could(was.clone()) && !could(is) {
            end("its inviter lost the right to send it");
        }
        let is_acknowledged = snapshot
            .batch
            .iter()
            .filter(|performed| performed.is_done())
            .any(|performed| match &performed.operation {
                Operation::Remove { target, .. } => *target == by,
                Operation::ChangeRole { target, role: to, .. } => *target == by && !may_invite(to, &role),
                _ => false,
            });
        if is_acknowledged && could(was) {
            end("its inviter was removed or demoted");
        }
    }
}

/// Invitations that were created while an operation on their inviter ran.
fn observe_uncertain_links(snapshot: &Snapshot<'_>, observations: &mut Observations) {
    for row in items_of(snapshot.after, "invitation") {
        let (id, by) = (text(row, "id"), text(row, "invited_by"));
        if invitation(snapshot.before, &id).is_some() {
            continue;
        }
        // The invitation was created just before its e-mail address joined, so accepting did not end it.
        if row["invite_epoch"].as_u64().unwrap_or(0) < invite_epoch(snapshot.after, &text(row, "email")) {
            observations.links.push((id, "its e-mail joined a workspace"));
            continue;
        }
        let decided = snapshot.possibly_applied().any(|performed| match &performed.operation {
            Operation::Remove { target, .. } | Operation::ChangeRole { target, .. } => *target == by,
            _ => false,
        });
        let could = membership(snapshot.after, &by)
            .is_some_and(|(home, role)| row["workspace_id"] == home.as_str() && may_invite(&role, &text(row, "role")));
        if !could {
            observations.links.push((id, "its inviter has no right to send it"));
        } else if decided {
            observations.uncertain_links.push(id);
        }
    }
}

/// Records the observations in the ledger.
pub fn reconcile(
    ledger: &mut Ledger,
    observations: Observations,
    batch: &[PerformedOperation],
    (before, after): (&Table, &Table),
    emails: &[String],
) {
    let earlier = ledger.tokens.len();
    let account = |email: &str| user_of_email(after, email).or_else(|| user_of_email(before, email));
    for performed in batch {
        // A repeated request is not charged.
        if !(performed.is_done() && idempotency::is_repeated_request(performed, ledger)) {
            // A concurrent or earlier request with the same key may have been charged instead.
            let same = batch
                .iter()
                .filter(|other| performed.key.is_some() && other.key == performed.key);
            let is_charged_now = same.count() <= 1 && !idempotency::is_outcome_unknown(performed, ledger);
            record_charges(ledger, performed, is_charged_now, (before, emails));
        }
        let actor = performed.operation.who(ledger).and_then(|who| account(&emails[who]));
        let home = actor.and_then(|actor| membership(before, &actor)).map(|(home, _)| home);
        idempotency::record_result(ledger, performed, home);
        if performed.is_done() {
            let known = ledger.tokens.len();
            ledger.record_tokens(performed);
            // The tokens belong to the account of the link's e-mail address, not to the person who used the link.
            let email = text(&performed.body["user"], "email");
            match (
                ledger.tokens.get_mut(known),
                emails.iter().position(|known| *known == email),
            ) {
                (Some(held), Some(who)) => held.who = who,
                // The account belongs to a guest, who performs no operations.
                (Some(_), None) => ledger.tokens.truncate(known),
                (None, _) => {}
            }
            ledger.record_link(performed, after);
        }
        record_usage_results(ledger, performed);
        record_refused_tokens(ledger, performed);
    }
    for (email, passwords) in observations.passwords {
        ledger.secrets.extend(passwords.iter().cloned());
        ledger.passwords.insert(email, passwords.into_iter().collect());
    }
    note_marks(ledger, after);
    for id in observations.uncertain_links {
        if let Some(link) = ledger.links.get_mut(&id) {
            link.is_uncertain = true;
        }
    }
    for (id, reason) in observations.links {
        ledger.end_link(&id, reason);
    }
    for (at, held) in ledger.tokens.iter_mut().enumerate() {
        let Some(user_id) = account(&emails[held.who]) else {
            continue;
        };
        if at < earlier {
            if let Some((_, reason)) = observations.ended.iter().find(|(ended, _)| *ended == user_id) {
                held.end(reason);
            }
        } else if held.state == TokenState::Unknown && !observations.uncertain_users.contains(&user_id) {
            held.state = TokenState::Valid;
        }
    }
    for email in emails {
        let Some(user_id) = account(email) else { continue };
        for (id, generation, since) in sessions_of(after, &user_id) {
            ledger.sessions.insert(id, Session { generation, since });
        }
    }
    for held in &mut ledger.tokens {
        let Some(user_id) = account(&emails[held.who]) else {
            continue;
        };
        let sessions = user(after, &user_id).and_then(|user| user["sessions"].as_object());
        if sessions.is_none_or(|sessions| !sessions.contains_key(&held.session)) {
            held.end("the table has no such session");
        }
    }
}

/// A token that was refused as revoked has ended, and so has the session of a reused refresh token.
fn record_refused_tokens(ledger: &mut Ledger, performed: &PerformedOperation) {
    if performed.code != "TOKEN_REVOKED" {
        return;
    }
    match &performed.operation {
        Operation::Refresh { token } => {
            let session = ledger.tokens[*token].session.clone();
            let family = ledger.tokens.iter_mut().filter(|held| held.session == session);
            family.for_each(|held| held.end("its session's refresh token was refused"));
        }
        operation => {
            if let Some(token) = operation.token() {
                ledger.tokens[token].end("a request with it was refused");
            }
        }
    }
}

fn record_usage_results(ledger: &mut Ledger, performed: &PerformedOperation) {
    let Operation::IngestUsage { records } = &performed.operation else {
        return;
    };
    let failed: Vec<usize> = if performed.is_done() {
        crate::support::usage_support::failures(&performed.body)
    } else {
        (0..records.len()).collect()
    };
    for (index, at) in records.iter().enumerate() {
        let state = &mut ledger.records[*at].state;
        match (failed.contains(&index), *state) {
            (false, _) => *state = RecordState::Counted,
            (true, RecordState::NotCounted) => *state = RecordState::Unknown,
            (true, _) => {}
        }
    }
}

/// Records the calls that limits counted; `is_charged_now` says that this request was certainly charged, not an earlier
/// one.
fn record_charges(
    ledger: &mut Ledger,
    performed: &PerformedOperation,
    is_charged_now: bool,
    (before, emails): (&Table, &[String]),
) {
    let who = performed.operation.who(ledger).map(|who| emails[who].clone());
    let actor = who
        .as_ref()
        .and_then(|email| user_of_email(before, email))
        .unwrap_or_default();
    let status = performed.status;
    let unknown = performed.outcome() == Outcome::Unknown;
    match &performed.operation {
        Operation::Invite { email, .. } => {
            let is_certain = matches!(status, 201 | 400);
            if is_certain || unknown || status == 403 {
                ledger.charge(INVITE, &actor, performed, is_certain && is_charged_now);
                ledger.charge(
                    RECIPIENT,
                    &email.trim().to_lowercase(),
                    performed,
                    status == 201 && is_charged_now,
                );
            }
        }
        Operation::Resend { invitation: id, .. } => {
            let is_certain = matches!(status, 200 | 400);
            if is_certain || unknown || matches!(status, 403 | 404) {
                ledger.charge(RESEND, &actor, performed, is_certain && is_charged_now);
                let email = invitation(before, id).map(|row| text(row, "email"));
                ledger.charge(
                    RECIPIENT,
                    &email.unwrap_or_default(),
                    performed,
                    status == 200 && is_charged_now,
                );
            }
        }
        Operation::RevokeAll { .. } if status == 200 => {
            ledger.charge(REVOKE_ALL, &text(&performed.body, "workspace_id"), performed, true);
        }
        Operation::RevokeAll { .. } if unknown => {
            let home = membership(before, &actor).map(|(home, _)| home);
            ledger.charge(REVOKE_ALL, &home.unwrap_or_default(), performed, false);
        }
        Operation::LogIn { .. } => {
            let is_certain = matches!(status, 200 | 401);
            if is_certain || unknown {
                ledger.charge(LOG_IN, &who.unwrap_or_default(), performed, is_certain);
            }
        }
        Operation::Accept {
            invitation,
            password: Some(_),
            ..
        } => {
            let email = ledger.links.get(invitation).map(|link| link.email.clone());
            ledger.charge(LOG_IN, &email.unwrap_or_default(), performed, false);
        }
        _ => {}
    }
}

/// I9, I5: checks new mails and records their links.
pub fn check_mails(ledger: &mut Ledger, new: &[Mail], (before, after): (&Table, &Table), findings: &mut Findings) {
    for mail in new {
        let page = format!("{} {} {}", mail.subject, mail.text, mail.html);
        let Some(id) = mail.tags.get("invitation") else {
            // The mail is a notice to an owner.
            let user_id = user_of_email(after, &mail.to).or_else(|| user_of_email(before, &mail.to));
            let homes = [before, after].map(|table| user_id.as_ref().and_then(|id| membership(table, id)));
            let homes: Vec<_> = homes.into_iter().flatten().filter(|(_, role)| is_owner(role)).collect();
            let known = |mark: &str| {
                let own = |(home, _): &(String, String)| ledger.marks.get(home).is_some_and(|own| own == mark);
                homes.iter().any(own)
            };
            findings.expect("I5", marks(&page).all(known), || {
                format!("a notice to {} contains data of another workspace", mail.to)
            });
            continue;
        };
        let row = [before, after].into_iter().find_map(|table| invitation(table, id));
        let Some(row) = row else {
            findings.expect("I9", false, || format!("a mail has the unknown invitation {id}"));
            continue;
        };
        let ended = invitation(before, id).is_some_and(|row| !row["end"].is_null());
        findings.expect("I9", !ended, || {
            format!("a mail was sent for the ended invitation {id}")
        });
        findings.expect("I5", mail.to == text(row, "email"), || {
            format!("the mail of invitation {id} was sent to {}", mail.to)
        });
        let home = text(row, "workspace_id");
        let at_home = marks(&page).all(|mark| ledger.marks.get(&home).is_some_and(|own| own == mark));
        findings.expect("I5", at_home, || {
            format!("the mail of invitation {id} contains data of another workspace")
        });
        let copies = ledger.mail_counts.entry(id.clone()).or_default();
        *copies += 1;
        let once = *copies == 1 || ledger.may_send_twice;
        findings.expect("I9", once, || format!("a second mail was sent for invitation {id}"));
        let secret = page.split_once("token=").map(|(_, rest)| {
            rest.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
                .collect::<String>()
        });
        let token: String = secret.unwrap_or_default();
        if let Some(link) = ledger.links.get(id) {
            let same = link.secret == token;
            findings.expect("I9", same, || {
                format!("the mail of invitation {id} contains a different link")
            });
        } else {
            ledger.secrets.push(token.clone());
            let link = Link {
                secret: token,
                email: mail.to.clone(),
                role: text(row, "role"),
                workspace: home,
                ended: None,
                is_uncertain: true,
            };
            ledger.links.insert(id.clone(), link);
            if invitation(after, id).is_none_or(|row| !row["end"].is_null()) {
                ledger.end_link(id, "the table shows its end");
            }
        }
    }
    for row in items_of(after, "invitation") {
        let id = text(row, "id");
        let Some(row) = pending(after, &id) else { continue };
        let claims = !matches!(row["delivery"]["status"].as_str(), Some("queued" | "failed"));
        let left = ledger.mail_counts.contains_key(&id);
        findings.expect("I9", left || !claims, || {
            format!("invitation {id}: delivery is {}, but no mail was sent", row["delivery"])
        });
        ledger.mails.insert(id, delivery_rank(&row["delivery"]));
    }
}
