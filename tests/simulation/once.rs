//! I11: what is asked for under one key is done once and answered alike, and the key is good for nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::clock::Time;

use super::deeds::{Deed, Op, Who};
use super::ledger::{LEEWAY_S, Ledger, seconds};
use super::oracle::Expected;
use super::scene::{Scene, all, invitation, place, text};
use crate::support::invariants::Findings;

/// How long a key is remembered.
const KEPT_S: u64 = 24 * 3600;

/// What was done under a key.
#[derive(Clone, Debug)]
pub struct First {
    content: String,
    status: u16,
    text: String,
    home: Option<String>,
    asked: Time,
    told: Time,
}

/// Keys that were used, by whose they are.
#[derive(Debug, Default)]
pub struct Keys {
    done: BTreeMap<(Who, String), First>,
    /// Those of which nobody knows whether anything was done, and since when.
    unknown: BTreeMap<(Who, String), Time>,
}

/// What a request asks for.
fn content(op: &Op) -> String {
    match op {
        Op::Invite { email, role, .. } => format!("invite {email} {role}"),
        Op::Resend { invitation, .. } => format!("resend {invitation}"),
        Op::Found { name, .. } => format!("found {name}"),
        other => unreachable!("{} takes no key", other.kind()),
    }
}

fn key_of(deed: &Deed, ledger: &Ledger) -> Option<(Who, String)> {
    Some((deed.op.who(ledger)?, deed.key.clone()?))
}

impl First {
    /// Whether it is surely remembered, or surely not any more.
    fn is_kept(&self, deed: &Deed) -> Option<bool> {
        if deed.ended < self.asked.plus(seconds(KEPT_S - LEEWAY_S)) {
            Some(true)
        } else if deed.started > self.told.plus(seconds(KEPT_S + LEEWAY_S)) {
            Some(false)
        } else {
            None
        }
    }
}

/// Whether it asks again for what was done.
pub fn is_repetition(deed: &Deed, ledger: &Ledger) -> bool {
    let first = key_of(deed, ledger).and_then(|key| ledger.keys.done.get(&key));
    first.is_some_and(|first| first.is_kept(deed) != Some(false) && first.content == content(&deed.op))
}

/// Whether nobody knows if it was done before.
pub fn is_doubtful(deed: &Deed, ledger: &Ledger) -> bool {
    key_of(deed, ledger).is_some_and(|key| ledger.keys.unknown.contains_key(&key))
}

/// The right answers to a deed that comes with a key, of which the `usual` ones are those without.
pub fn expected(scene: &Scene<'_>, deed: &Deed, usual: Option<Vec<Expected>>) -> Option<Vec<Expected>> {
    let Some(key) = key_of(deed, scene.ledger) else {
        return usual;
    };
    let Some(first) = scene.ledger.keys.done.get(&key) else {
        return if scene.ledger.keys.unknown.contains_key(&key) {
            None
        } else {
            usual
        };
    };
    let usual = usual?;
    // Who may not is refused as anybody.
    let comes_before = |(status, code): &Expected| *status == 401 || *code == "WORKSPACE_NOT_FOUND";
    if !first.is_kept(deed)? || usual.iter().any(comes_before) {
        return Some(usual);
    }
    let home = scene
        .actor(deed)
        .and_then(|actor| place(scene.before, &actor))
        .map(|(home, _)| home);
    let is_same = first.content == content(&deed.op) && (matches!(deed.op, Op::Found { .. }) || first.home == home);
    let right = if is_same {
        (first.status, "")
    } else {
        (422, "IDEMPOTENCY_KEY_REUSED")
    };
    // Whose rank forbids it is told so before or after the key is looked at.
    let forbidden = usual.into_iter().filter(|(status, _)| *status == 403);
    Some([right].into_iter().chain(forbidden).collect())
}

/// Judges a batch.
pub fn is_done_once(scene: &Scene<'_>, findings: &mut Findings) {
    let ledger = scene.ledger;
    let mut told: BTreeMap<(Who, String), (String, &str)> = BTreeMap::new();
    for deed in scene.deeds.iter().filter(|deed| deed.is_done()) {
        let Some(key) = key_of(deed, ledger) else { continue };
        let first = ledger
            .keys
            .done
            .get(&key)
            .filter(|first| first.is_kept(deed) == Some(true));
        let (asked, answer) = match first {
            Some(first) => (first.content.clone(), first.text.as_str()),
            None => told
                .entry(key)
                .or_insert_with(|| (content(&deed.op), &deed.text))
                .clone(),
        };
        findings.expect("I11", asked == content(&deed.op), || {
            format!(
                "its key stands for another request, and it is done: {}",
                deed.told(ledger)
            )
        });
        findings.expect("I11", asked != content(&deed.op) || answer == deed.text, || {
            // What was said of the mail, and no more: an answer holds a link.
            let [first, now] = [answer, &deed.text].map(|text| {
                let answer: Value = serde_json::from_str(text).unwrap_or_default();
                answer["delivery"].to_string()
            });
            format!(
                "it is answered another way than before (delivery {now}, before {first}): {}",
                deed.told(ledger)
            )
        });
    }
    // Of each e-mail and inviter no more invitations are made than were asked for.
    let mut made: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in all(scene.after, "invitation") {
        if invitation(scene.before, &text(row, "id")).is_none() {
            *made.entry((text(row, "email"), text(row, "invited_by"))).or_default() += 1;
        }
    }
    for ((email, by), many) in made {
        let mut keys = BTreeSet::new();
        let mut without_key = 0;
        for deed in scene
            .live()
            .filter(|deed| scene.actor(deed).as_deref() == Some(by.as_str()))
        {
            let is_about = match &deed.op {
                Op::Invite { email: invited, .. } => invited.trim().to_lowercase() == email,
                Op::Resend { invitation, .. } => scene.email_of(invitation) == email,
                _ => false,
            };
            if !is_about || is_repetition(deed, ledger) {
                continue;
            }
            match &deed.key {
                Some(key) => {
                    keys.insert(key);
                }
                None => without_key += 1,
            }
        }
        let asked = keys.len() + without_key;
        findings.expect("I11", many <= asked, || {
            format!("{by} asked {asked} times for an invitation of {email}, and {many} were made")
        });
    }
}

/// Writes down what was done, once it was judged.
pub fn note(ledger: &mut Ledger, deed: &Deed, home: Option<String>) {
    let Some(key) = key_of(deed, ledger) else { return };
    if deed.is_done() {
        // When nobody heard of the first try, it may be as old as that.
        let asked = ledger.keys.unknown.get(&key).copied().unwrap_or(deed.started);
        let first = First {
            content: content(&deed.op),
            status: deed.status,
            text: deed.text.clone(),
            home,
            asked,
            told: deed.ended,
        };
        let known = ledger.keys.done.get(&key);
        if known.is_none_or(|known| known.is_kept(deed) == Some(false)) {
            ledger.keys.done.insert(key, first);
        }
    } else if deed.status >= 500 {
        ledger.keys.unknown.entry(key).or_insert(deed.started);
    }
}
