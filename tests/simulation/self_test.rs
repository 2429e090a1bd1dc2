//! Tests of the checks: each invariant is broken, and a finding must name it.

mod mails_and_counts;
mod responses;

use serde_json::{Value, json};

use super::checker::check_batch;
use super::conditions::Conditions;
use super::disclosure::{check_lists, check_refusals};
use super::idempotency::check_idempotency;
use super::ledger::{INVITE, Record, RecordState, TokenState};
use super::operations::{Operation, PerformedOperation};
use super::oracle::expected;
use super::perform::Task;
use super::reconcile::check_mails;
use super::run::Simulation;
use super::snapshot::{Snapshot, items_of, text};
use super::usage::check_usage_counts;
use crate::support::fault_injection::{Kill, Moment};
use crate::support::harness::World;
use crate::support::invariants::{Findings, Table};
use crate::support::logs::Logs;

/// An operation that was not performed, with the given response.
fn response_to(
    simulation: &Simulation<'_>,
    operation: Operation,
    status: u16,
    code: &str,
    body: Value,
) -> PerformedOperation {
    let now = simulation.world.clock.now();
    PerformedOperation {
        operation,
        key: None,
        started: now,
        ended: now,
        status,
        code: code.to_owned(),
        text: body.to_string(),
        body,
    }
}

fn snapshot<'a>(simulation: &'a Simulation<'_>, after: &'a Table, batch: &'a [PerformedOperation]) -> Snapshot<'a> {
    Snapshot {
        before: &simulation.table,
        after,
        batch,
        unresolved: &[],
        is_late_write_possible: false,
        ledger: &simulation.ledger,
        people: &simulation.people,
    }
}

/// The findings for `batch` when the table became `after`.
fn faults_of(simulation: &Simulation<'_>, after: &Table, batch: &[PerformedOperation]) -> Vec<String> {
    let mut findings = Findings::default();
    let snapshot = snapshot(simulation, after, batch);
    check_batch(&snapshot, &mut findings);
    check_refusals(&snapshot, &mut findings);
    check_lists(&snapshot, &mut findings);
    check_usage_counts(&snapshot, &mut findings);
    findings.faults
}

#[track_caller]
fn assert_reported(rule: &str, faults: &[String]) {
    let seen = faults.iter().any(|fault| fault.starts_with(&format!("{rule}: ")));
    assert!(seen, "no finding for broken {rule}: {faults:?}");
}

/// The table with the first item of `entity` that `change` changed.
fn changed(table: &Table, entity: &str, change: impl Fn(&mut Value) -> bool) -> Table {
    let mut broken = table.clone();
    let mut items = broken.values_mut().filter(|item| item["entity"] == entity);
    assert!(items.any(change), "no {entity} was changed");
    broken
}

async fn initial_simulation(world: &World) -> Simulation<'_> {
    let mut simulation = Simulation::new(world, 1, Conditions::default(), Logs::default()).await;
    simulation.create_initial_state().await;
    let owner = simulation.ledger.tokens.iter().position(|held| held.who == 0).unwrap();
    let guest = Operation::Invite {
        token: owner,
        email: "guest@example.com".to_owned(),
        role: "member",
    };
    simulation.perform_batch(vec![guest]).await;
    assert_eq!(simulation.counters.findings.faults, [""; 0]);
    simulation
}

#[tokio::test]
async fn changes_without_an_operation_are_reported() {
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    assert_eq!(faults_of(&simulation, &simulation.table, &[]), [""; 0]);
    let table = simulation.table.clone();
    let set = |entity: &str, name: &'static str, to: Value| {
        changed(&table, entity, |item| {
            item[name] = to.clone();
            true
        })
    };
    assert_reported(
        "I5",
        &faults_of(&simulation, &set("workspace", "name", json!("Mine")), &[]),
    );
    assert_reported(
        "I12",
        &faults_of(&simulation, &set("workspace", "epoch", json!(9)), &[]),
    );
    assert_reported(
        "I12",
        &faults_of(&simulation, &set("workspace", "tier", json!("enterprise")), &[]),
    );
    assert_reported("I12", &faults_of(&simulation, &set("user", "epoch", json!(9)), &[]));
    assert_reported(
        "I7",
        &faults_of(&simulation, &set("user", "membership", Value::Null), &[]),
    );
    let risen = changed(&simulation.table, "user", |user| {
        let is_low = user["membership"]["role"] != "owner";
        if is_low {
            user["membership"]["role"] = json!("owner");
        }
        is_low
    });
    assert_reported("I7", &faults_of(&simulation, &risen, &[]));
    assert_reported(
        "I3",
        &faults_of(&simulation, &set("invitation", "role", json!("owner")), &[]),
    );
    assert_reported(
        "I12",
        &faults_of(
            &simulation,
            &set("pending", "expires_at", json!("2999-01-01T00:00:00.000Z")),
            &[],
        ),
    );
    let revived = changed(&simulation.table, "invitation", |row| {
        let ended = !row["end"].is_null();
        row["end"] = Value::Null;
        ended
    });
    assert_reported("I3", &faults_of(&simulation, &revived, &[]));
    let ended = changed(&simulation.table, "invitation", |row| {
        let was_open = row["end"].is_null();
        row["end"] = json!({"status": "revoked"});
        was_open
    });
    assert_reported("I3", &faults_of(&simulation, &ended, &[]));
    for entity in ["workspace", "user", "invitation"] {
        // The items appear without an operation that creates them.
        let mut without = simulation.table.clone();
        without.retain(|_, item| item["entity"] != entity);
        let after = std::mem::replace(&mut simulation.table, without);
        let rule = if entity == "invitation" { "I7" } else { "I12" };
        assert_reported(rule, &faults_of(&simulation, &after, &[]));
        simulation.table = after;
    }
    let mut gone = simulation.table.clone();
    gone.retain(|_, item| item["entity"] != "workspace");
    assert_reported("I12", &faults_of(&simulation, &gone, &[]));
}

#[tokio::test]
async fn late_writes_are_attributed_and_other_changes_are_reported() {
    let world = World::new().await;
    let mut simulation = initial_simulation(&world).await;
    let token = simulation.ledger.tokens.iter().position(|held| held.who == 0).unwrap();
    let home = text(
        &simulation
            .table
            .values()
            .find(|row| row["entity"] == "workspace")
            .unwrap()
            .clone(),
        "id",
    );
    let name = format!("Called late {}", simulation.ledger.marks[&home]);
    let rename = Operation::UpdateWorkspace {
        token,
        name: name.clone(),
    };
    let kill = Kill {
        call: 1,
        moment: Moment::During,
    };
    simulation.conditions.percent = 5;
    simulation
        .perform_tasks(vec![Task {
            operation: rename,
            key: None,
            kill: Some(kill),
        }])
        .await;
    assert!(
        simulation.is_late_write_possible && simulation.unresolved.len() == 1,
        "the late write is pending"
    );
    let early = simulation.table.clone();
    for seconds in 0..2 {
        simulation.perform_batch(vec![Operation::RetryMails]).await;
        assert_eq!(
            simulation.unresolved.len(),
            1,
            "the operation is not unresolved any more after {seconds} batches"
        );
    }
    world.faults.wait_for_late_writes().await;
    let unresolved = simulation.unresolved.clone();
    simulation.perform_batch(vec![Operation::RetryMails]).await;
    assert!(
        simulation.table.values().any(|row| row["name"] == name.as_str()),
        "the late write was not applied"
    );
    assert_eq!(simulation.counters.findings.faults, [""; 0]);
    assert!(simulation.unresolved.is_empty() && !unresolved.is_empty());
    let late = std::mem::replace(&mut simulation.table, early);
    assert_reported("I5", &faults_of(&simulation, &late, &[]));
}
