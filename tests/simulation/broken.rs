//! The simulation's judges are judged: each invariant is broken, and must be found broken.

use serde_json::{Value, json};

use super::deeds::{Deed, Op, Task};
use super::disclosure::{lists_tell_the_truth, refusals_change_nothing};
use super::judge::judge;
use super::ledger::{INVITE, Life, Record, Taken};
use super::life::Simulation;
use super::once::is_done_once;
use super::oracle::expected;
use super::reconcile::read_mails;
use super::scene::{Scene, all, text};
use super::usage::usage_is_counted_once;
use super::weather::Weather;
use crate::support::fault_injection::{Kill, Moment};
use crate::support::harness::World;
use crate::support::invariants::{Findings, Table};
use crate::support::logs::Logs;

/// A deed that nobody did, answered with `status` and `body`.
fn said(at: &Simulation<'_>, op: Op, status: u16, code: &str, body: Value) -> Deed {
    let now = at.world.clock.now();
    Deed {
        op,
        key: None,
        started: now,
        ended: now,
        status,
        code: code.to_owned(),
        text: body.to_string(),
        body,
    }
}

fn scene<'a>(at: &'a Simulation<'_>, after: &'a Table, deeds: &'a [Deed]) -> Scene<'a> {
    Scene {
        before: &at.table,
        after,
        deeds,
        carried: &[],
        is_haunted: false,
        ledger: &at.ledger,
        people: &at.people,
    }
}

/// What is found of `deeds` when the table became `after`.
fn found(at: &Simulation<'_>, after: &Table, deeds: &[Deed]) -> Vec<String> {
    let mut findings = Findings::default();
    let scene = scene(at, after, deeds);
    judge(&scene, &mut findings);
    refusals_change_nothing(&scene, &mut findings);
    lists_tell_the_truth(&scene, &mut findings);
    usage_is_counted_once(&scene, &mut findings);
    findings.faults
}

#[track_caller]
fn breaks(rule: &str, faults: &[String]) {
    let seen = faults.iter().any(|fault| fault.starts_with(&format!("{rule}: ")));
    assert!(seen, "nobody sees that {rule} is broken: {faults:?}");
}

/// The table with its first item of `entity` that `which` changed.
fn changed(table: &Table, entity: &str, change: impl Fn(&mut Value) -> bool) -> Table {
    let mut broken = table.clone();
    let mut items = broken.values_mut().filter(|item| item["entity"] == entity);
    assert!(items.any(change), "there is no such {entity}");
    broken
}

async fn begun(world: &World) -> Simulation<'_> {
    let mut simulation = Simulation::new(world, 1, Weather::default(), Logs::default()).await;
    simulation.begin().await;
    let owner = simulation.ledger.tokens.iter().position(|held| held.who == 0).unwrap();
    let guest = Op::Invite {
        token: owner,
        email: "guest@example.com".to_owned(),
        role: "member",
    };
    simulation.batch(vec![guest]).await;
    assert_eq!(simulation.tally.findings.faults, [""; 0]);
    simulation
}

#[tokio::test]
async fn what_changes_without_a_reason_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    assert_eq!(found(&at, &at.table, &[]), [""; 0]);
    let table = at.table.clone();
    let set = |entity: &str, name: &'static str, to: Value| {
        changed(&table, entity, |item| {
            item[name] = to.clone();
            true
        })
    };
    breaks("I5", &found(&at, &set("workspace", "name", json!("Mine")), &[]));
    breaks("I12", &found(&at, &set("workspace", "epoch", json!(9)), &[]));
    breaks("I12", &found(&at, &set("workspace", "tier", json!("enterprise")), &[]));
    breaks("I12", &found(&at, &set("user", "epoch", json!(9)), &[]));
    breaks("I7", &found(&at, &set("user", "membership", Value::Null), &[]));
    let risen = changed(&at.table, "user", |user| {
        let is_low = user["membership"]["role"] != "owner";
        if is_low {
            user["membership"]["role"] = json!("owner");
        }
        is_low
    });
    breaks("I7", &found(&at, &risen, &[]));
    breaks("I3", &found(&at, &set("invitation", "role", json!("owner")), &[]));
    breaks(
        "I12",
        &found(
            &at,
            &set("pending", "expires_at", json!("2999-01-01T00:00:00.000Z")),
            &[],
        ),
    );
    let revived = changed(&at.table, "invitation", |row| {
        let ended = !row["end"].is_null();
        row["end"] = Value::Null;
        ended
    });
    breaks("I3", &found(&at, &revived, &[]));
    let ended = changed(&at.table, "invitation", |row| {
        let was_open = row["end"].is_null();
        row["end"] = json!({"status": "revoked"});
        was_open
    });
    breaks("I3", &found(&at, &ended, &[]));
    for entity in ["workspace", "user", "invitation"] {
        // Nobody made what was not there before.
        let mut without = at.table.clone();
        without.retain(|_, item| item["entity"] != entity);
        let after = std::mem::replace(&mut at.table, without);
        let rule = if entity == "invitation" { "I7" } else { "I12" };
        breaks(rule, &found(&at, &after, &[]));
        at.table = after;
    }
    let mut gone = at.table.clone();
    gone.retain(|_, item| item["entity"] != "workspace");
    breaks("I12", &found(&at, &gone, &[]));
}

#[tokio::test]
async fn what_lands_late_has_its_deed_and_what_does_not_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let token = at.ledger.tokens.iter().position(|held| held.who == 0).unwrap();
    let home = text(
        &at.table
            .values()
            .find(|row| row["entity"] == "workspace")
            .unwrap()
            .clone(),
        "id",
    );
    let name = format!("Called late {}", at.ledger.marks[&home]);
    let rename = Op::Rename {
        token,
        name: name.clone(),
    };
    let dies = Kill {
        call: 1,
        moment: Moment::During,
    };
    at.weather.percent = 5;
    at.done(vec![Task {
        op: rename,
        key: None,
        kill: Some(dies),
    }])
    .await;
    assert!(at.is_haunted && at.carried.len() == 1, "it is under way");
    let early = at.table.clone();
    for seconds in 0..2 {
        at.batch(vec![Op::RetryMails]).await;
        assert_eq!(at.carried.len(), 1, "after {seconds} batches it is forgotten");
    }
    world.faults.landed().await;
    let carried = at.carried.clone();
    at.batch(vec![Op::RetryMails]).await;
    assert!(
        at.table.values().any(|row| row["name"] == name.as_str()),
        "it did not land"
    );
    assert_eq!(at.tally.findings.faults, [""; 0]);
    assert!(at.carried.is_empty() && !carried.is_empty());
    let late = std::mem::replace(&mut at.table, early);
    breaks("I5", &found(&at, &late, &[]));
}

#[tokio::test]
async fn what_people_are_wrongly_told_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let table = at.table.clone();
    let rank = |at: &Simulation<'_>, role: &str| {
        let user = all(&at.table, "user").find(|user| user["membership"]["role"] == role);
        user.map(|user| (text(user, "id"), text(user, "email")))
    };
    let token_of = |at: &Simulation<'_>, email: &str| {
        let who = at.emails.iter().position(|known| known == email).unwrap();
        at.ledger.tokens.iter().position(|held| held.who == who).unwrap()
    };
    let (owner, owner_email) = rank(&at, "owner").unwrap();
    let (low, low_email) = ["member", "field_worker"]
        .iter()
        .find_map(|role| rank(&at, role))
        .unwrap();
    let (by_owner, by_low) = (token_of(&at, &owner_email), token_of(&at, &low_email));
    let open = all(&table, "invitation").find(|row| row["end"].is_null()).unwrap();
    let open = text(open, "id");
    let cancel = |token| Op::Cancel {
        token,
        invitation: open.clone(),
    };
    // Acknowledged, and not so; by somebody who may not.
    breaks(
        "I3",
        &found(&at, &table, &[said(&at, cancel(by_owner), 200, "", json!({}))]),
    );
    breaks(
        "I7",
        &found(&at, &table, &[said(&at, cancel(by_low), 200, "", json!({}))]),
    );
    let rise = Op::ChangeRole {
        token: by_low,
        target: low.clone(),
        role: "owner",
    };
    breaks("I7", &found(&at, &table, &[said(&at, rise, 200, "", json!({}))]));
    let remove = Op::Remove {
        token: by_owner,
        target: owner,
    };
    breaks("I6", &found(&at, &table, &[said(&at, remove, 200, "", json!({}))]));
    // Refused, and done all the same.
    let renamed = changed(&table, "workspace", |row| {
        row["description"] = json!("changed");
        true
    });
    let rename = Op::Rename {
        token: by_owner,
        name: "x".to_owned(),
    };
    breaks("I12", &found(&at, &renamed, &[said(&at, rename, 400, "X", json!({}))]));
    // What is another's, and what is secret.
    let look = |path| Op::Look { token: by_owner, path };
    let stranger = json!({"name": "Company zq00000000qz"});
    breaks(
        "I5",
        &found(&at, &table, &[said(&at, look("/workspaces/"), 200, "", stranger)]),
    );
    let secret = json!({"name": at.ledger.secrets[0]});
    breaks(
        "I15",
        &found(&at, &table, &[said(&at, look("/workspaces/"), 200, "", secret)]),
    );
    // Lists that leave something out.
    let nobody = json!({"members": []});
    breaks(
        "I2",
        &found(&at, &table, &[said(&at, look("/workspaces/members"), 200, "", nobody)]),
    );
    let deed = said(&at, look("/workspaces/members"), 404, "WORKSPACE_NOT_FOUND", json!({}));
    let deeds = [deed];
    assert_eq!(expected(&scene(&at, &table, &deeds), &deeds[0]), Some(vec![(200, "")]));

    // A link that had ended, and one that had expired.
    let link = at.ledger.links[&open].clone();
    let accept = Op::Accept {
        who: 0,
        invitation: open.clone(),
        secret: link.secret,
        bearer: None,
        password: None,
    };
    at.ledger.end_link(&open, "a test says so");
    breaks(
        "I3",
        &found(&at, &table, &[said(&at, accept.clone(), 200, "", json!({}))]),
    );
    world.pass(8 * 24 * 3600);
    breaks("I13", &found(&at, &table, &[said(&at, accept, 200, "", json!({}))]));
}

#[tokio::test]
async fn rights_that_outlive_their_end_are_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    at.ledger
        .tokens
        .iter_mut()
        .for_each(|held| assert_eq!(held.life, Life::Alive));
    at.ledger.tokens[0].end("a test says so");
    at.probe().await;
    breaks("I6", &at.tally.findings.faults);
}

#[tokio::test]
async fn an_answer_that_the_contract_does_not_have_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    // The ledger believes in a password that is none.
    let email = at.emails[0].clone();
    at.ledger
        .passwords
        .insert(email, ["not the password".to_owned()].into());
    let password = "not the password".to_owned();
    at.batch(vec![Op::LogIn { who: 0, password }]).await;
    breaks("contract", &at.tally.findings.faults);
}

#[tokio::test]
async fn a_log_that_shows_a_secret_is_found() {
    use std::io::Write;
    let world = World::new().await;
    let mut at = begun(&world).await;
    let secret = at.people[1].password.clone();
    at.logs.write_all(secret.as_bytes()).unwrap();
    at.batch(vec![Op::RetryMails]).await;
    breaks("I15", &at.tally.findings.faults);
}

#[tokio::test]
async fn mails_that_must_not_be_are_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let mails = world.mailbox.mails();
    let mail = mails
        .iter()
        .find(|mail| mail.to == "guest@example.com")
        .unwrap()
        .clone();
    let id = mail.tags["invitation"].clone();
    let read = |at: &mut Simulation<'_>, table: &Table, mail: &local::mailbox::Mail| {
        let mut findings = Findings::default();
        read_mails(
            &mut at.ledger,
            std::slice::from_ref(mail),
            (table, table),
            &mut findings,
        );
        findings.faults
    };
    let table = at.table.clone();
    breaks("I9", &read(&mut at, &table, &mail));
    at.ledger.copies.clear();
    let ended = changed(&table, "invitation", |row| {
        row["end"] = json!({"status": "revoked"});
        row["id"] == id.as_str()
    });
    breaks("I9", &read(&mut at, &ended, &mail));
    let mut astray = mail.clone();
    astray.to = "somebody@example.com".to_owned();
    breaks("I5", &read(&mut at, &table, &astray));
    let mut gossip = mail.clone();
    gossip.text.push_str("zq00000000qz");
    breaks("I5", &read(&mut at, &table, &gossip));
    let mut other = mail;
    other.text = other.text.replace("token=", "token=x");
    other.html = other.text.clone();
    breaks("I9", &read(&mut at, &table, &other));
    // Said to be sent, and never left.
    at.ledger.copies.clear();
    let mut findings = Findings::default();
    read_mails(&mut at.ledger, &[], (&table, &table), &mut findings);
    breaks("I9", &findings.faults);
    // Back from sent to queued.
    let back = changed(&table, "pending", |row| {
        row["delivery"]["status"] = json!("queued");
        true
    });
    breaks("I9", &found(&at, &back, &[]));
}

#[tokio::test]
async fn usage_that_is_counted_twice_or_not_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let workspace = text(all(&at.table, "workspace").next().unwrap(), "id");
    let record = |taken| Record {
        id: crate::support::usage_support::new_id(),
        workspace: workspace.clone(),
        kind: "location_event",
        count: 7,
        occurred_at: world.clock.now(),
        taken,
    };
    at.ledger.records.push(record(Taken::Never));
    at.batch(vec![Op::Deliver { records: vec![0] }]).await;
    assert_eq!(found(&at, &at.table, &[]), [""; 0]);
    for wrong in [0, 14] {
        let hour = changed(&at.table, "usage-hour", |hour| {
            hour["location_events"] = json!(wrong);
            true
        });
        breaks("I8", &found(&at, &hour, &[]));
    }
    at.ledger.records.push(record(Taken::Maybe));
    let twice = changed(&at.table, "usage-hour", |hour| {
        hour["location_events"] = json!(14);
        true
    });
    assert_eq!(found(&at, &twice, &[]), [""; 0], "it may have been counted");
    at.ledger.records.push(record(Taken::Surely));
    breaks("I8", &found(&at, &at.table, &[]));
}

#[tokio::test]
async fn a_limit_that_admits_one_too_many_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let deed = said(&at, Op::RetryMails, 201, "", json!({}));
    for _ in 0..10 {
        at.ledger.charge(INVITE, "somebody", &deed, true);
    }
    assert_eq!(at.ledger.excess(), [""; 0]);
    let now = world.clock.now();
    assert!(at.ledger.must_be_full(INVITE, "somebody", now) && at.ledger.may_be_full(INVITE, "somebody", now));
    world.pass(3700);
    let later = said(&at, Op::RetryMails, 201, "", json!({}));
    at.ledger.charge(INVITE, "somebody", &later, true);
    assert_eq!(at.ledger.excess(), [""; 0]);
    at.ledger.charge(INVITE, "somebody", &deed, true);
    assert_eq!(at.ledger.excess().len(), 1);
}

#[tokio::test]
async fn a_key_under_which_more_is_done_than_once_is_found() {
    let world = World::new().await;
    let mut at = begun(&world).await;
    let token = at.ledger.tokens.iter().position(|held| held.who == 0).unwrap();
    let ask = |email: &str| Task {
        op: Op::Invite {
            token,
            email: email.to_owned(),
            role: "member",
        },
        key: Some("a key".to_owned()),
        kill: None,
    };
    let early = at.table.clone();
    at.done(vec![ask("visitor@example.com"); 3]).await;
    at.done(vec![ask("visitor@example.com")]).await;
    at.done(vec![ask("another@example.com")]).await;
    assert_eq!(at.tally.findings.faults, [""; 0]);
    assert_eq!(at.tally.answers.get(&422), Some(&1));
    let judged = |deeds: &[Deed], before: &Table, after: &Table| {
        let mut findings = Findings::default();
        let scene = Scene {
            before,
            ..scene(&at, after, deeds)
        };
        is_done_once(&scene, &mut findings);
        findings.faults
    };
    let keyed = |email: &str, body: Value| {
        let mut deed = said(&at, ask(email).op, 201, "", body);
        deed.key = Some("a key".to_owned());
        deed
    };
    let table = &at.table;
    breaks(
        "I11",
        &judged(&[keyed("visitor@example.com", json!({"id": "other"}))], table, table),
    );
    breaks("I11", &judged(&[keyed("another@example.com", json!({}))], table, table));
    // Nobody asked for one more.
    breaks("I11", &judged(&[], &early, table));
}
