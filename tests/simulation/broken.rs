//! The simulation's judges are judged: each invariant is broken, and must be found broken.

mod mails_and_counts;
mod responses;

use serde_json::{Value, json};

use super::deeds::{Deed, Op};
use super::disclosure::{lists_tell_the_truth, refusals_change_nothing};
use super::judge::judge;
use super::ledger::{INVITE, Life, Record, Taken};
use super::life::Simulation;
use super::once::is_done_once;
use super::oracle::expected;
use super::perform::Task;
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
