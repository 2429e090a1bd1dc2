//! Function `usage-aggregator`: hours are rolled up into days and months, with the same sums after repeated, concurrent
//! and late runs.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::Error;
use shared::clock::Time;
use shared::event::EventError;
use shared::store::keys::{SHARDS, shard_of};
use shared::store::usage::Month;

use crate::support::harness::World;
use crate::support::invariants;
use crate::support::usage_support::{
    advance_to, aggregate, deliver, ingest_records, record, roll_up, rolled_up, usage_of,
};

const NOON: &str = "2096-03-15T12:00:00Z";
/// More time than any call takes.
const MINUTE: Duration = Duration::from_secs(60);

/// The event of the hourly schedule, for all shards.
fn hourly() -> Value {
    json!({"source": "aws.scheduler", "time": "2096-03-15T12:00:00Z"})
}

fn totals<const N: usize>(totals: [(&str, u128, u128); N]) -> BTreeMap<String, (u128, u128)> {
    let totals = totals.map(|(period, events, deliveries)| (period.to_owned(), (events, deliveries)));
    BTreeMap::from(totals)
}

#[tokio::test]
async fn hours_are_added_to_their_day_and_month_in_utc() {
    let world = World::new().await;
    advance_to(&world, "2096-03-01T00:00:00Z");
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let event = |count, moment| record(&workspace, "location_event", count, moment);
    ingest_records(
        &world,
        &[
            event(1, "2096-02-28T23:59:59.999Z"),
            event(10, "2096-02-29T00:00:00.000Z"),
            event(100, "2096-02-29T23:59:59.999Z"),
            event(1_000, "2096-03-01T00:30:00+01:00"),
            event(10_000, "2096-03-01T00:00:00.000Z"),
            event(100_000, "2096-02-29T19:01:00-05:00"),
            record(&workspace, "action_delivery", 3, "2096-02-29T12:00:00Z"),
        ],
    )
    .await;
    roll_up(&world, &workspace).await;
    let expected = totals([
        ("2096-02", 1_111, 3),
        ("2096-02-28", 1, 0),
        ("2096-02-29", 1_110, 3),
        ("2096-03", 110_000, 0),
        ("2096-03-01", 110_000, 0),
    ]);
    assert_eq!(rolled_up(&world, &workspace).await, expected);
    let usage = usage_of(&ann).await;
    assert_eq!(
        (&usage["event_units"], &usage["month"]["event_units"]),
        (&json!(110_000), &json!(110_000))
    );
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_late_record_changes_its_day_and_its_month_only() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let event = |count, moment| record(&workspace, "location_event", count, moment);
    ingest_records(
        &world,
        &[
            event(1, "2096-03-15T11:00:00Z"),
            event(2, "2096-02-10T08:00:00Z"),
            event(4, "2096-02-20T08:00:00Z"),
        ],
    )
    .await;
    roll_up(&world, &workspace).await;
    world.pass(3_600);
    ingest_records(&world, &[event(8, "2096-02-10T08:30:00Z")]).await;
    roll_up(&world, &workspace).await;
    let expected = totals([
        ("2096-02", 14, 0),
        ("2096-02-10", 10, 0),
        ("2096-02-20", 4, 0),
        ("2096-03", 1, 0),
        ("2096-03-15", 1, 0),
    ]);
    assert_eq!(rolled_up(&world, &workspace).await, expected);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_run_without_new_usage_changes_nothing_and_reads_no_workspace() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    ingest_records(
        &world,
        &[record(&workspace, "location_event", 5, "2096-03-15T11:00:00Z")],
    )
    .await;
    world.calls.forget();
    assert_eq!(
        roll_up(&world, &workspace).await,
        json!({"workspaces": 1, "shards_left": []})
    );
    // The dirty markers of the shard, the month, the hours of the day, the transaction, and the end of the run.
    assert_eq!(world.calls.operations().len(), 5, "{:?}", world.calls.operations());
    let rolled = world.rows(&["USAGE#"]).await;
    for _ in 0..3 {
        world.pass(3_600);
        world.calls.forget();
        assert_eq!(
            roll_up(&world, &workspace).await,
            json!({"workspaces": 0, "shards_left": []})
        );
        assert_eq!(world.calls.operations().len(), 2, "{:?}", world.calls.operations());
    }
    assert_eq!(world.rows(&["USAGE#"]).await, rolled);
    invariants::check(&world).await;
}

#[tokio::test]
async fn concurrent_runs_give_the_same_sums() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    for round in 1..=5 {
        let records: Vec<Value> = (0..6)
            .map(|hour| {
                record(
                    &workspace,
                    "location_event",
                    1,
                    &format!("2096-03-1{round}T{hour:02}:00:00Z"),
                )
            })
            .collect();
        ingest_records(&world, &records).await;
        let runs = (0..3).map(|_| roll_up(&world, &workspace));
        futures::future::join_all(runs).await;
    }
    assert_eq!(rolled_up(&world, &workspace).await["2096-03"], (30, 0));
    assert_eq!(world.rows(&["usage-dirty-marker"]).await, [""; 0]);
    invariants::check(&world).await;
}

#[tokio::test]
async fn records_that_arrive_during_a_run_are_in_that_run_or_in_the_next() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let records = || -> Vec<Value> {
        ["2096-03-15T11:00:00Z", "2096-03-15T10:00:00Z", "2096-02-29T10:00:00Z"]
            .iter()
            .map(|moment| record(&workspace, "location_event", 1, moment))
            .collect()
    };
    for _ in 0..10 {
        let (one, other) = (records(), records());
        futures::join!(
            ingest_records(&world, &one),
            roll_up(&world, &workspace),
            ingest_records(&world, &other),
            roll_up(&world, &workspace)
        );
        // The invariants require a dirty marker for hours that are not rolled up.
        invariants::check(&world).await;
    }
    roll_up(&world, &workspace).await;
    let sums = rolled_up(&world, &workspace).await;
    assert_eq!((sums["2096-03-15"], sums["2096-02-29"]), ((40, 0), (20, 0)));
    assert_eq!((sums["2096-03"], sums["2096-02"]), ((40, 0), (20, 0)));
    assert_eq!(world.rows(&["usage-dirty-marker"]).await, [""; 0]);
}

#[tokio::test]
async fn a_run_writes_nothing_after_a_concurrent_run_changed_the_month() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let workspace = world.owner("ann").await.workspace().await.id();
    let ingest = async |count, moment: &str| {
        ingest_records(&world, &[record(&workspace, "location_event", count, moment)]).await;
    };
    ingest(1, "2096-03-14T11:00:00Z").await;
    roll_up(&world, &workspace).await;
    ingest(2, "2096-03-13T11:00:00Z").await;
    // A run reads everything that it needs, and pauses before it writes.
    let (store, id) = (world.app.store.unproven(), workspace.parse().unwrap());
    let marker = store.usage_dirty_marker(id).await.unwrap().unwrap();
    let read = store.usage_month(id, "2096-03").await.unwrap();
    let day = store.usage_day_of_hours(id, "2096-03-13").await.unwrap();
    let stale = Month {
        month: "2096-03".to_owned(),
        read,
        days: BTreeMap::from([("2096-03-13".to_owned(), day)]),
    };
    ingest(4, "2096-03-12T11:00:00Z").await;
    roll_up(&world, &workspace).await;
    let before = world.dump().await;
    assert_eq!(store.usage_roll_up(&marker, &[stale], &[]).await, Err(Error::Stale));
    assert_eq!(world.dump().await, before);
    let expected = [
        ("2096-03", 7, 0),
        ("2096-03-12", 4, 0),
        ("2096-03-13", 2, 0),
        ("2096-03-14", 1, 0),
    ];
    assert_eq!(rolled_up(&world, &workspace).await, totals(expected));
}

#[tokio::test]
async fn one_run_rolls_up_the_hours_of_missed_runs() {
    let world = World::new().await;
    advance_to(&world, "2096-03-15T21:00:00Z");
    let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
    let workspaces = [ann.workspace().await.id(), eve.workspace().await.id()];
    for hour in 21..24 {
        let moment = format!("2096-03-15T{hour}:00:00Z");
        let records = workspaces
            .each_ref()
            .map(|workspace| record(workspace, "location_event", 1, &moment));
        ingest_records(&world, &records).await;
        world.pass(3_600);
    }
    let response = aggregate(&world, &hourly(), MINUTE).await.unwrap();
    assert_eq!(response, json!({"workspaces": 2, "shards_left": []}));
    for workspace in &workspaces {
        let expected = totals([("2096-03", 3, 0), ("2096-03-15", 3, 0)]);
        assert_eq!(rolled_up(&world, workspace).await, expected);
    }
}

#[tokio::test]
async fn as_of_is_the_start_of_the_last_complete_run_of_the_shard() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await;
    let as_of = async || -> Time { usage_of(&ann).await["as_of"].as_str().unwrap().parse().unwrap() };
    let created_at: Time = workspace.body["created_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(as_of().await, created_at);

    let shard = shard_of(workspace.id().parse().unwrap());
    let other = (shard + 1) % SHARDS;
    let event = json!({"shards": {"from": other, "to": other}});
    aggregate(&world, &event, MINUTE).await.unwrap();
    assert_eq!(as_of().await, created_at, "a run of another shard");

    let started = world.clock.now();
    roll_up(&world, &workspace.id()).await;
    let complete = as_of().await;
    assert!(complete >= started && complete <= world.clock.now());

    ingest_records(
        &world,
        &[record(&workspace.id(), "location_event", 1, "2096-03-15T11:00:00Z")],
    )
    .await;
    world.pass(60);
    let partial = aggregate(&world, &hourly(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(partial, json!({"workspaces": 0, "shards_left": [shard]}));
    assert_eq!(as_of().await, complete, "a run without time for every shard");
    aggregate(&world, &hourly(), MINUTE).await.unwrap();
    assert!(as_of().await > complete);
    assert_eq!(usage_of(&ann).await["location_events"], 1, "the next run continues");
}

#[tokio::test]
async fn as_of_of_a_workspace_created_since_the_last_run_is_its_creation() {
    let world = World::new().await;
    advance_to(&world, NOON);
    aggregate(&world, &hourly(), MINUTE).await.unwrap();
    world.pass(60);
    let ann = world.owner("ann").await;
    assert_eq!(usage_of(&ann).await["as_of"], ann.workspace().await.body["created_at"]);
}

#[tokio::test]
async fn a_malformed_schedule_event_is_refused() {
    let world = World::new().await;
    for event in [
        json!([]),
        json!(null),
        json!("x"),
        json!({"shards": {"from": 0, "to": 64}}),
        json!({"shards": {"from": 9, "to": 8}}),
        json!({"shards": {"from": -1, "to": 8}}),
        json!({"shards": {"from": 0}}),
        json!({"shards": [0, 7, 9]}),
        json!({"shards": "all"}),
    ] {
        let response = aggregate(&world, &event, MINUTE).await;
        assert!(
            matches!(response, Err(EventError::Malformed(_))),
            "{event}: {response:?}"
        );
    }
}

#[tokio::test]
async fn a_workspace_that_cannot_be_rolled_up_stops_no_other_and_keeps_its_sums() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
    let (broken, intact) = (ann.workspace().await.id(), eve.workspace().await.id());
    ingest_records(&world, &[record(&broken, "location_event", 5, "2096-03-15T11:00:00Z")]).await;
    aggregate(&world, &hourly(), MINUTE).await.unwrap();
    let as_of = usage_of(&ann).await["as_of"].clone();
    // Without its hours, the day would be rolled up to a smaller sum.
    for split in 0..4 {
        let delete = world
            .app
            .store
            .client()
            .delete_item()
            .table_name(world.app.store.table());
        delete
            .key("pk", AttributeValue::S(format!("USAGE#{broken}")))
            .key("sk", AttributeValue::S(format!("HOUR#2096-03-15T11#{split}")))
            .send()
            .await
            .unwrap();
    }
    ingest_records(
        &world,
        &[
            record(&broken, "location_event", 1, "2096-03-15T10:00:00Z"),
            record(&intact, "location_event", 1, "2096-03-15T11:00:00Z"),
        ],
    )
    .await;
    let failed = aggregate(&world, &hourly(), MINUTE).await;
    assert!(matches!(failed, Err(EventError::Failed(_))), "{failed:?}");
    assert_eq!(usage_of(&eve).await["location_events"], 1);
    let usage = usage_of(&ann).await;
    assert_eq!((&usage["location_events"], &usage["as_of"]), (&json!(5), &as_of));
    assert_eq!(
        world.rows(&["usage-dirty-marker", &broken]).await.len(),
        1,
        "the dirty marker stays for the next run"
    );
}

#[tokio::test]
async fn records_with_the_same_id_in_two_workspaces_both_count() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
    let workspaces = [ann.workspace().await.id(), eve.workspace().await.id()];
    let mut records = workspaces
        .each_ref()
        .map(|workspace| record(workspace, "location_event", 1, "2096-03-15T11:00:00Z"));
    records[1]["id"] = records[0]["id"].clone();
    records[1]["count"] = json!(2);
    // Otherwise the sender of one workspace could suppress records of another by choosing their ids.
    assert_eq!(deliver(&world, &records.each_ref().map(Value::to_string)).await, [0; 0]);
    aggregate(&world, &hourly(), MINUTE).await.unwrap();
    assert_eq!(usage_of(&ann).await["location_events"], 1);
    assert_eq!(usage_of(&eve).await["location_events"], 2);
}
