//! Usage records from the queue: each counts once, what is wrong is given back, what is right is kept.

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
async fn a_record_counts_once_however_often_it_comes() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let once = record(&workspace, "location_event", 7, "2096-03-15T11:59:00Z");
    let mut capitals = once.clone();
    capitals["id"] = json!(once["id"].as_str().unwrap().to_uppercase());
    capitals["workspace_id"] = json!(workspace.to_uppercase());
    let mut elsewhere = once.clone();
    elsewhere["occurred_at"] = json!("2096-03-15T13:29:00+01:30");
    let another = record(&workspace, "action_delivery", 3, "2096-03-15T11:59:00Z");
    for _ in 0..3 {
        ingest_records(&world, &[once.clone(), capitals.clone(), elsewhere.clone()]).await;
        ingest_records(&world, &[another.clone(), once.clone()]).await;
    }
    roll_up(&world, &workspace).await;
    let usage = usage_of(&ann).await;
    assert_eq!(
        (&usage["location_events"], &usage["action_deliveries"]),
        (&json!(7), &json!(3))
    );
    assert_eq!(usage["event_units"], json!(8.5));
    ingest_records(&world, &[once]).await;
    roll_up(&world, &workspace).await;
    assert_eq!(
        usage_of(&ann).await["event_units"],
        json!(8.5),
        "it came after it was rolled up"
    );
    invariants::check(&world).await;
}

#[tokio::test]
async fn batches_with_the_same_records_at_once_count_them_once() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let records: Vec<String> = (0..20)
        .map(|_| record(&workspace, "location_event", 1, "2096-03-15T11:30:00Z").to_string())
        .collect();
    // Each batch has another part of the same records: the transactions differ, and share items.
    let batches: Vec<&[String]> = (0..8).map(|first| &records[first..first + 12]).collect();
    let failed = futures::future::join_all(batches.iter().map(|batch| deliver(&world, batch))).await;
    // What met another transaction too often is delivered again.
    for (batch, places) in batches.iter().zip(failed) {
        let again: Vec<&String> = places.iter().map(|place| &batch[*place]).collect();
        assert_eq!(deliver(&world, &again).await, [0; 0]);
    }
    assert_eq!(deliver(&world, &records).await, [0; 0]);
    roll_up(&world, &workspace).await;
    assert_eq!(usage_of(&ann).await["location_events"], 20);
    invariants::check(&world).await;
}

#[tokio::test]
async fn what_is_no_record_is_given_back_and_the_others_are_kept() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let good = || record(&workspace, "location_event", 1, "2096-03-15T11:00:00Z");
    let with = |field: &str, value: Value| {
        let mut wrong = good();
        wrong[field] = value;
        wrong.to_string()
    };
    let without = |field: &str| {
        let mut wrong = good();
        wrong.as_object_mut().unwrap().remove(field);
        wrong.to_string()
    };
    let raw = |count: &str| good().to_string().replace("\"count\":1", &format!("\"count\":{count}"));
    let mut wrong: Vec<String> = [
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
    wrong.extend(["id", "workspace_id", "kind", "count", "occurred_at"].map(without));
    wrong.extend(
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
    wrong.extend([
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
    let mut bodies = vec![good().to_string()];
    for body in &wrong {
        bodies.extend([body.clone(), good().to_string()]);
    }
    let expected: Vec<usize> = (0..wrong.len()).map(|place| 2 * place + 1).collect();
    assert_eq!(deliver(&world, &bodies).await, expected);
    assert_eq!(deliver(&world, &bodies).await, expected, "again");
    roll_up(&world, &workspace).await;
    assert_eq!(usage_of(&ann).await["location_events"], wrong.len() + 1);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_record_is_taken_from_35_days_late_to_5_minutes_ahead() {
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
    let most = || record(&workspace, "location_event", u64::MAX, at);
    ingest_records(&world, &[most(), most(), record(&workspace, "action_delivery", 1, at)]).await;
    ingest_records(&world, &[most()]).await;
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
async fn ten_thousand_records_at_once_count_once_each() {
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
    // An engine under load answers some of it too late; what was counted of that comes again, as from the queue.
    let mut left: Vec<&String> = bodies.iter().collect();
    for _ in 0..5 {
        let failed = deliver(&world, &left).await;
        left = failed.into_iter().map(|place| left[place]).collect();
    }
    assert!(left.is_empty(), "{} records are left", left.len());
    for (person, workspace, count) in [(&ann, &workspaces[0], 8_000), (&eve, &workspaces[1], 2_000)] {
        roll_up(&world, workspace).await;
        assert_eq!(usage_of(person).await["location_events"], count);
    }
}

#[tokio::test]
async fn an_empty_batch_costs_nothing() {
    let world = World::new().await;
    world.calls.forget();
    assert_eq!(deliver::<&str>(&world, &[]).await, [0; 0]);
    assert_eq!(world.calls.operations(), [""; 0]);
}

#[tokio::test]
async fn a_batch_costs_a_read_for_its_workspaces_and_a_transaction_an_hour() {
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
async fn what_is_no_batch_is_refused() {
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
        let answer = ingest(&world, &event, Duration::from_secs(60)).await;
        assert!(matches!(answer, Err(EventError::Malformed(_))), "{event}: {answer:?}");
    }
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn a_message_that_cannot_be_named_fails_the_whole_call_rather_than_pass_for_taken() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let good = record(&workspace, "location_event", 1, "2096-03-15T11:00:00Z").to_string();
    let mut event = batch(&[good.as_str(), "{"]);
    event["Records"][1].as_object_mut().unwrap().remove("messageId");
    let answer = ingest(&world, &event, Duration::from_secs(60)).await;
    assert!(matches!(answer, Err(EventError::Failed(_))), "{answer:?}");
    // So the queue delivers both again.
    assert_eq!(deliver(&world, &[good.as_str(), "{"]).await, [1]);
    roll_up(&world, &workspace).await;
    assert_eq!(usage_of(&ann).await["location_events"], 1);
}

#[tokio::test]
async fn what_there_is_no_time_for_is_delivered_again() {
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
async fn a_deleted_workspace_uses_nothing() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let record = || record(&workspace, "location_event", 1_000_000, "2096-03-15T11:00:00Z").to_string();
    assert_eq!(deliver(&world, &[record()]).await, [0; 0]);
    ann.delete("/workspaces/").await.expect(200);
    assert_eq!(deliver(&world, &[record()]).await, [0]);
    // What was taken before is rolled up all the same, and nobody is told.
    assert_eq!(roll_up(&world, &workspace).await["shards_left"], json!([]));
    assert_eq!(world.mailbox.attempts(), 0);
    invariants::check(&world).await;
}

#[tokio::test]
async fn the_log_names_the_record_that_was_refused_and_shows_nothing_of_its_body() {
    let logs = Logs::default();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(LevelFilter::INFO);
    let _logged = subscriber.with_writer(logs.clone()).finish().set_default();
    let world = World::new().await;
    advance_to(&world, NOON);
    let workspace = world.owner("ann").await.workspace().await.id();
    let of = |workspace: &str, count: u64, at: &str| {
        let mut record = record(workspace, "location_event", count, at);
        record["note"] = json!("the body's own words");
        record
    };
    let in_time = "2096-03-15T11:00:00Z";
    let with = |field: &str, value: Value| {
        let mut wrong = of(&workspace, 1, in_time);
        wrong[field] = value;
        wrong
    };
    let mut cut = of(&workspace, 1, in_time).to_string();
    cut.truncate(cut.len() - 1);
    let malformed = "it is no usage record";
    let refused = [
        (of(&workspace, 0, in_time), "its count is 0"),
        (
            of(&workspace, 1, "2096-02-09T11:59:00Z"),
            "it occurred more than 35 days ago",
        ),
        (
            of(&workspace, 1, "2096-03-15T12:06:00Z"),
            "it occurred more than 5 minutes ahead",
        ),
        (of(&new_id(), 1, in_time), "its workspace does not exist"),
        (with("kind", json!("the body's own words")), malformed),
        (with("count", json!("the body's own words")), malformed),
        (with("workspace_id", json!("the body's own words")), malformed),
        (with("occurred_at", Value::Null), malformed),
    ];
    let nameless = [
        cut,
        "the body's own words".to_owned(),
        with("id", json!("the body's own words")).to_string(),
        with("id", json!([new_id()])).to_string(),
    ];
    let mut bodies: Vec<String> = refused.iter().map(|(record, _)| record.to_string()).collect();
    bodies.extend(nameless);
    bodies.push(of(&workspace, 1, in_time).to_string());
    let given_back: Vec<usize> = (0..bodies.len() - 1).collect();
    assert_eq!(deliver(&world, &bodies).await, given_back);

    let logged = logs.text();
    let lines = logged.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut told: Vec<(usize, Value, Value)> = lines
        .map(|line| line["fields"].clone())
        .filter(|fields| fields["message"] == "a usage record was refused")
        .map(|fields| {
            let message = fields["message_id"].as_str().unwrap().parse().unwrap();
            (message, fields["record_id"].clone(), fields["reason"].clone())
        })
        .collect();
    told.sort_by_key(|(message, ..)| *message);
    let named = refused
        .iter()
        .map(|(record, reason)| (record["id"].clone(), json!(reason)));
    let expected = named.chain(vec![(Value::Null, json!(malformed)); 4]).enumerate();
    let expected: Vec<_> = expected.map(|(place, (id, reason))| (place, id, reason)).collect();
    assert_eq!(told, expected);
    assert!(!logged.contains("own words"), "{logged}");
}
