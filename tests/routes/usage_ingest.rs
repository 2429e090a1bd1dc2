//! Function `usage-ingest`: each record of the queue counts once, and invalid messages are returned as failures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use shared::event::EventError;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::support::harness::World;
use crate::support::invariants;
use crate::support::logs::Logs;
use crate::support::usage_support::{
    advance_to, batch, deliver, failures, ingest, ingest_records, new_id, record, roll_up, rolled_up, usage_of,
};

const NOON: &str = "2096-03-15T12:00:00Z";

#[tokio::test]
async fn a_record_counts_once_however_often_it_is_delivered() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let original = record(&workspace, "location_event", 7, "2096-03-15T11:59:00Z");
    let mut capitals = original.clone();
    capitals["id"] = json!(original["id"].as_str().unwrap().to_uppercase());
    capitals["workspace_id"] = json!(workspace.to_uppercase());
    let mut with_offset = original.clone();
    with_offset["occurred_at"] = json!("2096-03-15T13:29:00+01:30");
    let another = record(&workspace, "action_delivery", 3, "2096-03-15T11:59:00Z");
    for _ in 0..3 {
        ingest_records(&world, &[original.clone(), capitals.clone(), with_offset.clone()]).await;
        ingest_records(&world, &[another.clone(), original.clone()]).await;
    }
    roll_up(&world, &workspace).await;
    let usage = usage_of(&ann).await;
    assert_eq!(
        (&usage["location_events"], &usage["action_deliveries"]),
        (&json!(7), &json!(3))
    );
    assert_eq!(usage["event_units"], json!(8.5));
    ingest_records(&world, &[original]).await;
    roll_up(&world, &workspace).await;
    assert_eq!(
        usage_of(&ann).await["event_units"],
        json!(8.5),
        "the record was delivered again after the roll-up"
    );
    invariants::check(&world).await;
}

#[tokio::test]
async fn concurrent_batches_with_the_same_records_count_each_record_once() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let records: Vec<String> = (0..20)
        .map(|_| record(&workspace, "location_event", 1, "2096-03-15T11:30:00Z").to_string())
        .collect();
    // The batches overlap, so that their transactions differ and share items.
    let batches: Vec<&[String]> = (0..8).map(|first| &records[first..first + 12]).collect();
    let failed = futures::future::join_all(batches.iter().map(|batch| deliver(&world, batch))).await;
    // The queue delivers messages again that failed after too many conflicts.
    for (batch, indexes) in batches.iter().zip(failed) {
        let redelivered: Vec<&String> = indexes.iter().map(|index| &batch[*index]).collect();
        assert_eq!(deliver(&world, &redelivered).await, [0; 0]);
    }
    assert_eq!(deliver(&world, &records).await, [0; 0]);
    roll_up(&world, &workspace).await;
    assert_eq!(usage_of(&ann).await["location_events"], 20);
    invariants::check(&world).await;
}

#[tokio::test]
async fn invalid_messages_fail_and_the_valid_ones_of_their_batch_count() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let valid = || record(&workspace, "location_event", 1, "2096-03-15T11:00:00Z");
    let with = |field: &str, value: Value| {
        let mut changed = valid();
        changed[field] = value;
        changed.to_string()
    };
    let without = |field: &str| {
        let mut changed = valid();
        changed.as_object_mut().unwrap().remove(field);
        changed.to_string()
    };
    let raw = |count: &str| {
        valid()
            .to_string()
            .replace("\"count\":1", &format!("\"count\":{count}"))
    };
    let mut invalid: Vec<String> = [
        "",
        "{",
        "null",
        "[]",
        "7",
        "\"x\"",
        "{}",
        "\u{0}",
        "[[[[[[[[",
        "{\"id\":\"a\"}}",
    ]
    .map(str::to_owned)
    .into();
    invalid.extend(["id", "workspace_id", "kind", "count", "occurred_at"].map(without));
    invalid.extend(
        [
            "0",
            "-1",
            "1.5",
            "1.0",
            "1e3",
            "1e400",
            "NaN",
            "18446744073709551616",
            "\"1\"",
            "null",
            "true",
            "[1]",
        ]
        .map(raw),
    );
    invalid.extend([
        with("id", json!("7")),
        with("id", json!(7)),
        with("id", json!(format!("{}#x", new_id()))),
        with("workspace_id", json!("KEYS")),
        with("workspace_id", json!(new_id())),
        with("kind", json!("location_events")),
        with("kind", json!("Location_Event")),
        with("occurred_at", json!("2096-02-30T00:00:00Z")),
        with("occurred_at", json!("2096-03-15T12:05:30Z")),
        with("occurred_at", json!("2096-02-09T11:59:00Z")),
        with("occurred_at", json!("yesterday")),
        with("occurred_at", json!(3_983_688_000_i64)),
        "[".repeat(100_000),
        json!([new_id(), workspace, "location_event", 1, "2096-03-15T11:00:00Z"]).to_string(),
    ]);
    let mut bodies = vec![valid().to_string()];
    for body in &invalid {
        bodies.extend([body.clone(), valid().to_string()]);
    }
    let expected: Vec<usize> = (0..invalid.len()).map(|index| 2 * index + 1).collect();
    assert_eq!(deliver(&world, &bodies).await, expected);
    assert_eq!(deliver(&world, &bodies).await, expected, "the second delivery");
    roll_up(&world, &workspace).await;
    assert_eq!(usage_of(&ann).await["location_events"], invalid.len() + 1);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_record_may_be_35_days_old_and_5_minutes_in_the_future() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let bodies = [
        "2096-02-09T12:01:00Z",
        "2096-02-09T11:59:00Z",
        "2096-03-15T12:04:30Z",
        "2096-03-15T12:05:30Z",
    ]
    .map(|moment| record(&workspace, "location_event", 1, moment).to_string());
    assert_eq!(deliver(&world, &bodies).await, [1, 3]);
    roll_up(&world, &workspace).await;
    let expected = ["2096-02", "2096-02-09", "2096-03", "2096-03-15"].map(|period| (period.to_owned(), (1, 0)));
    assert_eq!(rolled_up(&world, &workspace).await, BTreeMap::from(expected));
    invariants::check(&world).await;
}

#[tokio::test]
async fn sums_beyond_64_bits_stay_exact() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let at = "2096-03-15T11:00:00Z";
    let largest = || record(&workspace, "location_event", u64::MAX, at);
    ingest_records(
        &world,
        &[largest(), largest(), record(&workspace, "action_delivery", 1, at)],
    )
    .await;
    ingest_records(&world, &[largest()]).await;
    roll_up(&world, &workspace).await;
    let text = ann.get("/workspaces/usage").await.expect(200).text;
    for expected in [
        "\"location_events\":55340232221128654845,",
        "\"event_units\":55340232221128654845.5,",
        "\"action_deliveries\":1,",
    ] {
        assert_eq!(text.matches(expected).count(), 2, "{expected} in {text}");
    }
}

#[tokio::test]
async fn ten_thousand_records_in_one_batch_count_once_each() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
    let workspaces = [ann.workspace().await.id(), eve.workspace().await.id()];
    let bodies: Vec<String> = (0..10_000)
        .map(|number| {
            let moment = format!("2096-03-15T{:02}:59:59.999Z", number % 12);
            record(&workspaces[usize::from(number % 5 == 0)], "location_event", 1, &moment).to_string()
        })
        .collect();
    // An engine under load may respond too late to some writes. Their messages are delivered again, as the queue does.
    let mut remaining: Vec<&String> = bodies.iter().collect();
    for _ in 0..5 {
        let failed = deliver(&world, &remaining).await;
        remaining = failed.into_iter().map(|index| remaining[index]).collect();
    }
    assert!(remaining.is_empty(), "{} records failed five times", remaining.len());
    for (person, workspace, count) in [(&ann, &workspaces[0], 8_000), (&eve, &workspaces[1], 2_000)] {
        roll_up(&world, workspace).await;
        assert_eq!(usage_of(person).await["location_events"], count);
    }
}

#[tokio::test]
async fn an_empty_batch_makes_no_call() {
    let world = World::new().await;
    world.calls.forget();
    assert_eq!(deliver::<&str>(&world, &[]).await, [0; 0]);
    assert_eq!(world.calls.operations(), [""; 0]);
}

#[tokio::test]
async fn a_batch_makes_one_read_of_its_workspaces_and_one_transaction_per_hour() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let records: Vec<Value> = (0..50)
        .flat_map(|_| ["2096-03-15T11:00:00Z", "2096-03-15T10:59:59.999Z"])
        .map(|moment| record(&workspace, "location_event", 1, moment))
        .collect();
    world.calls.forget();
    ingest_records(&world, &records).await;
    assert_eq!(
        world.calls.operations(),
        ["BatchGetItem", "TransactWriteItems", "TransactWriteItems"]
    );
}

#[tokio::test]
async fn a_malformed_batch_is_refused() {
    let world = World::new().await;
    let before = world.dump().await;
    for event in [
        json!({}),
        json!([]),
        json!(null),
        json!("x"),
        json!({"Records": null}),
        json!({"Records": {}}),
        json!({"Records": [7]}),
        json!({"version": "2.0", "rawPath": "/", "requestContext": {}}),
    ] {
        let response = ingest(&world, &event, Duration::from_secs(60)).await;
        assert!(
            matches!(response, Err(EventError::Malformed(_))),
            "{event}: {response:?}"
        );
    }
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn an_invalid_message_without_an_id_fails_the_whole_batch() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let valid = record(&workspace, "location_event", 1, "2096-03-15T11:00:00Z").to_string();
    let mut event = batch(&[valid.as_str(), "{"]);
    event["Records"][1].as_object_mut().unwrap().remove("messageId");
    let response = ingest(&world, &event, Duration::from_secs(60)).await;
    assert!(matches!(response, Err(EventError::Failed(_))), "{response:?}");
    // The queue delivers both messages again.
    assert_eq!(deliver(&world, &[valid.as_str(), "{"]).await, [1]);
    roll_up(&world, &workspace).await;
    assert_eq!(usage_of(&ann).await["location_events"], 1);
}

#[tokio::test]
async fn messages_that_there_is_no_time_for_fail_and_count_at_the_next_delivery() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let bodies: Vec<String> = (0..3)
        .map(|_| record(&workspace, "location_event", 1, "2096-03-15T11:00:00Z").to_string())
        .collect();
    let late = ingest(&world, &batch(&bodies), Duration::from_secs(4)).await.unwrap();
    assert_eq!(failures(&late), [0, 1, 2]);
    assert_eq!(world.rows(&["usage-record"]).await, [""; 0]);
    assert_eq!(deliver(&world, &bodies).await, [0; 0]);
    roll_up(&world, &workspace).await;
    assert_eq!(usage_of(&ann).await["location_events"], 3);
}

#[tokio::test]
async fn records_of_a_deleted_workspace_fail() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let record = || record(&workspace, "location_event", 1_000_000, "2096-03-15T11:00:00Z").to_string();
    assert_eq!(deliver(&world, &[record()]).await, [0; 0]);
    ann.delete("/workspaces/").await.expect(200);
    assert_eq!(deliver(&world, &[record()]).await, [0]);
    // The record from before the deletion is rolled up, and no notice is sent.
    assert_eq!(roll_up(&world, &workspace).await["shards_left"], json!([]));
    assert_eq!(world.mailbox.attempts(), 0);
    invariants::check(&world).await;
}

#[tokio::test]
async fn the_log_shows_the_id_of_a_refused_record_and_nothing_of_its_body() {
    let logs = Logs::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(LevelFilter::INFO);
    let _logged = subscriber.with_writer(logs.clone()).finish().set_default();
    let world = World::new().await;
    advance_to(&world, NOON);
    let workspace = world.owner("ann").await.workspace().await.id();
    let annotated = |workspace: &str, count: u64, at: &str| {
        let mut record = record(workspace, "location_event", count, at);
        record["note"] = json!("text of the body");
        record
    };
    let in_time = "2096-03-15T11:00:00Z";
    let with = |field: &str, value: Value| {
        let mut changed = annotated(&workspace, 1, in_time);
        changed[field] = value;
        changed
    };
    let mut truncated = annotated(&workspace, 1, in_time).to_string();
    truncated.truncate(truncated.len() - 1);
    let malformed = "it is no usage record";
    let refused = [
        (annotated(&workspace, 0, in_time), "its count is 0"),
        (
            annotated(&workspace, 1, "2096-02-09T11:59:00Z"),
            "it occurred more than 35 days ago",
        ),
        (
            annotated(&workspace, 1, "2096-03-15T12:06:00Z"),
            "it occurred more than 5 minutes ahead",
        ),
        (annotated(&new_id(), 1, in_time), "its workspace does not exist"),
        (with("kind", json!("text of the body")), malformed),
        (with("count", json!("text of the body")), malformed),
        (with("workspace_id", json!("text of the body")), malformed),
        (with("occurred_at", Value::Null), malformed),
    ];
    let without_id = [
        truncated,
        "text of the body".to_owned(),
        with("id", json!("text of the body")).to_string(),
        with("id", json!([new_id()])).to_string(),
    ];
    let mut bodies: Vec<String> = refused.iter().map(|(record, _)| record.to_string()).collect();
    bodies.extend(without_id);
    bodies.push(annotated(&workspace, 1, in_time).to_string());
    let failed: Vec<usize> = (0..bodies.len() - 1).collect();
    assert_eq!(deliver(&world, &bodies).await, failed);

    let logged = logs.text();
    let lines = logged.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut lines_of_refusals: Vec<(usize, Value, Value)> = lines
        .map(|line| line["fields"].clone())
        .filter(|fields| fields["message"] == "a usage record was refused")
        .map(|fields| {
            let message = fields["message_id"].as_str().unwrap().parse().unwrap();
            (message, fields["record_id"].clone(), fields["reason"].clone())
        })
        .collect();
    lines_of_refusals.sort_by_key(|(message, ..)| *message);
    let with_id = refused
        .iter()
        .map(|(record, reason)| (record["id"].clone(), json!(reason)));
    let expected = with_id.chain(vec![(Value::Null, json!(malformed)); 4]).enumerate();
    let expected: Vec<_> = expected.map(|(index, (id, reason))| (index, id, reason)).collect();
    assert_eq!(lines_of_refusals, expected);
    assert!(!logged.contains("of the body"), "{logged}");
}
