//! What people know after a batch: what they were told, and where they were not told, what the table says.

use local::mailbox::Mail;

use super::deeds::{Deed, Op, Outcome};
use super::disclosure::{marks, note_marks};
use super::judge::step;
use super::ledger::{INVITE, LOG_IN, Ledger, Life, Link, RECIPIENT, RESEND, REVOKE_ALL, Session, Taken};
use super::once;
use super::scene::{
    Scene, all, invitation, is_owner, joined, may_invite, pending, place, rank, sessions_of, text, user, user_of_email,
    workspace,
};
use crate::support::invariants::{Findings, Table};

/// What a batch taught, to be written down once it was judged.
#[derive(Default)]
pub struct Lessons {
    /// Users whose earlier tokens have ended, and why.
    ended: Vec<(String, &'static str)>,
    /// Invitations whose links have ended, and why.
    links: Vec<(String, &'static str)>,
    /// E-mails of new accounts, and what their password may be.
    passwords: Vec<(String, Vec<String>)>,
    /// Users whose new tokens may have ended at once.
    unsettled: Vec<String>,
    /// Invitations of which nobody can say whether their inviter lost the right before or after sending them.
    unsure: Vec<String>,
}

/// Reads the lessons off a batch.
pub fn learn(scene: &Scene<'_>) -> Lessons {
    let mut lessons = Lessons::default();
    tokens_that_ended(scene, &mut lessons);
    links_that_ended(scene, &mut lessons);
    links_that_may_have_ended(scene, &mut lessons);
    for row in all(scene.after, "user") {
        let (id, email) = (text(row, "id"), text(row, "email"));
        if user(scene.before, &id).is_some() {
            continue;
        }
        let password = |deed: &Deed| match &deed.op {
            Op::Register { who, .. } if scene.people[*who].email == email => Some(scene.people[*who].password.clone()),
            Op::Accept {
                invitation, password, ..
            } if scene.email_of(invitation) == email => password.clone(),
            _ => None,
        };
        let of = |done: bool| -> Vec<String> {
            let deeds = scene.live().filter(|deed| deed.is_done() == done);
            deeds.filter_map(password).collect()
        };
        let (told, untold) = (of(true), of(false));
        let passwords = if told.is_empty() { untold } else { told };
        lessons.passwords.push((email, passwords));
    }
    lessons
}

fn tokens_that_ended(scene: &Scene<'_>, lessons: &mut Lessons) {
    for row in all(scene.after, "user") {
        let id = text(row, "id");
        let epoch_before = user(scene.before, &id).map(|row| row["epoch"].clone());
        let user_epoch_rose = epoch_before.is_some_and(|before| before != row["epoch"]);
        if user_epoch_rose {
            lessons.ended.push((id.clone(), "the account's epoch rose"));
        }
        let homes = [place(scene.before, &id), place(scene.after, &id)];
        let revoked = |home: &String| {
            let epochs =
                [scene.before, scene.after].map(|table| workspace(table, home).map(|row| row["epoch"].clone()));
            matches!(epochs, [Some(was), Some(is)] if was != is)
        };
        let homes: Vec<bool> = homes.iter().flatten().map(|(home, _)| revoked(home)).collect();
        if homes.len() == 2 && homes.iter().all(|revoked| *revoked) {
            lessons.ended.push((id.clone(), "the workspace's epoch rose"));
        }
        if user_epoch_rose || homes.contains(&true) {
            lessons.unsettled.push(id);
        }
    }
    for deed in scene.deeds.iter().filter(|deed| deed.is_done()) {
        match &deed.op {
            Op::LogOut { .. } => {
                lessons
                    .ended
                    .extend(scene.actor(deed).map(|actor| (actor, "they logged out")));
            }
            Op::Remove { target, .. } => lessons.ended.push((target.clone(), "they were removed")),
            Op::ChangeRole { target, role, .. } => {
                let is_alone = !scene.is_contested(deed);
                let from = place(scene.before, target).map_or(0, |(_, from)| rank(&from));
                if is_alone && rank(role) < from {
                    lessons.ended.push((target.clone(), "they were demoted"));
                }
            }
            Op::RevokeAll { .. } => {
                let home = text(&deed.body, "workspace_id");
                for row in all(scene.before, "user") {
                    if row["membership"]["workspace_id"] == home.as_str() {
                        lessons.ended.push((text(row, "id"), "all sessions were revoked"));
                    }
                }
            }
            _ => {}
        }
    }
}

fn links_that_ended(scene: &Scene<'_>, lessons: &mut Lessons) {
    for row in all(scene.before, "invitation") {
        let (id, home, role) = (text(row, "id"), text(row, "workspace_id"), text(row, "role"));
        let (email, by) = (text(row, "email"), text(row, "invited_by"));
        let mut end = |because| lessons.links.push((id.clone(), because));
        if invitation(scene.after, &id).is_none_or(|row| !row["end"].is_null()) {
            end("the table says that it ended");
        }
        if joined(scene.after, &email) > joined(scene.before, &email) {
            end("its e-mail joined a workspace");
        }
        let was = place(scene.before, &by).filter(|(workspace, _)| *workspace == home);
        let is = place(scene.after, &by).filter(|(workspace, _)| *workspace == home);
        let could = |place: Option<(String, String)>| place.is_some_and(|(_, actor)| may_invite(&actor, &role));
        if could(was.clone()) && !could(is) {
            end("its inviter lost the right to send it");
        }
        let told = scene
            .deeds
            .iter()
            .filter(|deed| deed.is_done())
            .any(|deed| match &deed.op {
                Op::Remove { target, .. } => *target == by,
                Op::ChangeRole { target, role: to, .. } => *target == by && !may_invite(to, &role),
                _ => false,
            });
        if told && could(was) {
            end("its inviter was removed or demoted");
        }
    }
}

/// Invitations that were made while somebody decided about their inviter.
fn links_that_may_have_ended(scene: &Scene<'_>, lessons: &mut Lessons) {
    for row in all(scene.after, "invitation") {
        let (id, by) = (text(row, "id"), text(row, "invited_by"));
        if invitation(scene.before, &id).is_some() {
            continue;
        }
        // It was made just before its e-mail joined, and whoever joined did not see it.
        if row["invite_epoch"].as_u64().unwrap_or(0) < joined(scene.after, &text(row, "email")) {
            lessons.links.push((id, "its e-mail joined a workspace"));
            continue;
        }
        let decided = scene.live().any(|deed| match &deed.op {
            Op::Remove { target, .. } | Op::ChangeRole { target, .. } => *target == by,
            _ => false,
        });
        let could = place(scene.after, &by)
            .is_some_and(|(home, role)| row["workspace_id"] == home.as_str() && may_invite(&role, &text(row, "role")));
        if !could {
            lessons.links.push((id, "its inviter has no right to send it"));
        } else if decided {
            lessons.unsure.push(id);
        }
    }
}

/// Writes the lessons down.
pub fn reconcile(
    ledger: &mut Ledger,
    lessons: Lessons,
    deeds: &[Deed],
    (before, after): (&Table, &Table),
    emails: &[String],
) {
    let earlier = ledger.tokens.len();
    let account = |email: &str| user_of_email(after, email).or_else(|| user_of_email(before, email));
    for deed in deeds {
        // A repetition costs nothing.
        if !(deed.is_done() && once::is_repetition(deed, ledger)) {
            // It may have been charged when it was first asked for, or beside it.
            let same = deeds.iter().filter(|other| deed.key.is_some() && other.key == deed.key);
            let at_once = same.count() <= 1 && !once::is_doubtful(deed, ledger);
            charges(ledger, deed, at_once, (before, emails));
        }
        let actor = deed.op.who(ledger).and_then(|who| account(&emails[who]));
        let home = actor.and_then(|actor| place(before, &actor)).map(|(home, _)| home);
        once::note(ledger, deed, home);
        if deed.is_done() {
            let known = ledger.tokens.len();
            ledger.take_tokens(deed);
            // Whose link a stranger opened, theirs the account is.
            let email = text(&deed.body["user"], "email");
            match (
                ledger.tokens.get_mut(known),
                emails.iter().position(|known| *known == email),
            ) {
                (Some(held), Some(who)) => held.who = who,
                // A guest's, who plays no part.
                (Some(_), None) => ledger.tokens.truncate(known),
                (None, _) => {}
            }
            ledger.take_link(deed, after);
        }
        records(ledger, deed);
        reuse(ledger, deed);
    }
    for (email, passwords) in lessons.passwords {
        ledger.secrets.extend(passwords.iter().cloned());
        ledger.passwords.insert(email, passwords.into_iter().collect());
    }
    note_marks(ledger, after);
    for id in lessons.unsure {
        if let Some(link) = ledger.links.get_mut(&id) {
            link.unsure = true;
        }
    }
    for (id, because) in lessons.links {
        ledger.end_link(&id, because);
    }
    for (at, held) in ledger.tokens.iter_mut().enumerate() {
        let Some(user_id) = account(&emails[held.who]) else {
            continue;
        };
        if at < earlier {
            if let Some((_, because)) = lessons.ended.iter().find(|(ended, _)| *ended == user_id) {
                held.end(because);
            }
        } else if held.life == Life::Maybe && !lessons.unsettled.contains(&user_id) {
            held.life = Life::Alive;
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

/// A token that was once refused as revoked, and a session whose old refresh token was used again, have ended.
fn reuse(ledger: &mut Ledger, deed: &Deed) {
    if deed.code != "TOKEN_REVOKED" {
        return;
    }
    match &deed.op {
        Op::Refresh { token } => {
            let session = ledger.tokens[*token].session.clone();
            let family = ledger.tokens.iter_mut().filter(|held| held.session == session);
            family.for_each(|held| held.end("its session's refresh token was refused"));
        }
        op => {
            if let Some(token) = op.token() {
                ledger.tokens[token].end("it was refused");
            }
        }
    }
}

fn records(ledger: &mut Ledger, deed: &Deed) {
    let Op::Deliver { records } = &deed.op else { return };
    let failed: Vec<usize> = if deed.is_done() {
        crate::support::usage_support::failures(&deed.body)
    } else {
        (0..records.len()).collect()
    };
    for (place, at) in records.iter().enumerate() {
        let taken = &mut ledger.records[*at].taken;
        match (failed.contains(&place), *taken) {
            (false, _) => *taken = Taken::Surely,
            (true, Taken::Never) => *taken = Taken::Maybe,
            (true, _) => {}
        }
    }
}

/// What limits counted; `at_once` says that it was counted while the deed was done.
fn charges(ledger: &mut Ledger, deed: &Deed, at_once: bool, (before, emails): (&Table, &[String])) {
    let who = deed.op.who(ledger).map(|who| emails[who].clone());
    let actor = who
        .as_ref()
        .and_then(|email| user_of_email(before, email))
        .unwrap_or_default();
    let status = deed.status;
    let unknown = deed.outcome() == Outcome::Unknown;
    match &deed.op {
        Op::Invite { email, .. } => {
            let surely = matches!(status, 201 | 400);
            if surely || unknown || status == 403 {
                ledger.charge(INVITE, &actor, deed, surely && at_once);
                ledger.charge(RECIPIENT, &email.trim().to_lowercase(), deed, status == 201 && at_once);
            }
        }
        Op::Resend { invitation: id, .. } => {
            let surely = matches!(status, 200 | 400);
            if surely || unknown || matches!(status, 403 | 404) {
                ledger.charge(RESEND, &actor, deed, surely && at_once);
                let email = invitation(before, id).map(|row| text(row, "email"));
                ledger.charge(RECIPIENT, &email.unwrap_or_default(), deed, status == 200 && at_once);
            }
        }
        Op::RevokeAll { .. } if status == 200 => {
            ledger.charge(REVOKE_ALL, &text(&deed.body, "workspace_id"), deed, true);
        }
        Op::RevokeAll { .. } if unknown => {
            let home = place(before, &actor).map(|(home, _)| home);
            ledger.charge(REVOKE_ALL, &home.unwrap_or_default(), deed, false);
        }
        Op::LogIn { .. } => {
            let surely = matches!(status, 200 | 401);
            if surely || unknown {
                ledger.charge(LOG_IN, &who.unwrap_or_default(), deed, surely);
            }
        }
        Op::Accept {
            invitation,
            password: Some(_),
            ..
        } => {
            let email = ledger.links.get(invitation).map(|link| link.email.clone());
            ledger.charge(LOG_IN, &email.unwrap_or_default(), deed, false);
        }
        _ => {}
    }
}

/// I9, I5: judges new mails, and takes links out of them.
pub fn read_mails(ledger: &mut Ledger, new: &[Mail], (before, after): (&Table, &Table), findings: &mut Findings) {
    for mail in new {
        let page = format!("{} {} {}", mail.subject, mail.text, mail.html);
        let Some(id) = mail.tags.get("invitation") else {
            // A notice to an owner.
            let user_id = user_of_email(after, &mail.to).or_else(|| user_of_email(before, &mail.to));
            let homes = [before, after].map(|table| user_id.as_ref().and_then(|id| place(table, id)));
            let homes: Vec<_> = homes.into_iter().flatten().filter(|(_, role)| is_owner(role)).collect();
            let known = |mark: &str| {
                let own = |(home, _): &(String, String)| ledger.marks.get(home).is_some_and(|own| own == mark);
                homes.iter().any(own)
            };
            findings.expect("I5", marks(&page).all(known), || {
                format!("a notice to {} is of another's workspace", mail.to)
            });
            continue;
        };
        let row = [before, after].into_iter().find_map(|table| invitation(table, id));
        let Some(row) = row else {
            findings.expect("I9", false, || format!("a mail is of no invitation: {id}"));
            continue;
        };
        let ended = invitation(before, id).is_some_and(|row| !row["end"].is_null());
        findings.expect("I9", !ended, || format!("{id} had ended, and is mailed"));
        findings.expect("I5", mail.to == text(row, "email"), || {
            format!("the mail of {id} goes to {}", mail.to)
        });
        let home = text(row, "workspace_id");
        let at_home = marks(&page).all(|mark| ledger.marks.get(&home).is_some_and(|own| own == mark));
        findings.expect("I5", at_home, || format!("the mail of {id} is of another's workspace"));
        let copies = ledger.copies.entry(id.clone()).or_default();
        *copies += 1;
        let once = *copies == 1 || ledger.copies_excused;
        findings.expect("I9", once, || format!("{id} is mailed again"));
        let secret = page.split_once("token=").map(|(_, rest)| {
            rest.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
                .collect::<String>()
        });
        let told: String = secret.unwrap_or_default();
        if let Some(link) = ledger.links.get(id) {
            let same = link.secret == told;
            findings.expect("I9", same, || format!("the mail of {id} has another link"));
        } else {
            ledger.secrets.push(told.clone());
            let link = Link {
                secret: told,
                email: mail.to.clone(),
                role: text(row, "role"),
                workspace: home,
                ended: None,
                unsure: true,
            };
            ledger.links.insert(id.clone(), link);
            if invitation(after, id).is_none_or(|row| !row["end"].is_null()) {
                ledger.end_link(id, "the table says that it ended");
            }
        }
    }
    for row in all(after, "invitation") {
        let id = text(row, "id");
        let Some(row) = pending(after, &id) else { continue };
        let claims = !matches!(row["delivery"]["status"].as_str(), Some("queued" | "failed"));
        let left = ledger.copies.contains_key(&id);
        findings.expect("I9", left || !claims, || {
            format!("the mail of {id} is said to be {}, and never left", row["delivery"])
        });
        ledger.mails.insert(id, step(&row["delivery"]));
    }
}
