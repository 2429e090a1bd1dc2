//! Hours roll up into days and months, the same however often, by how many, and how late it is done; owners hear of a
//! limit that is near.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use local::mailbox::Fault;
use serde_json::{Value, json};
use shared::Error;
use shared::clock::Time;
use shared::event::{Deadline, EventError};
use shared::models::usage::Tier;
use shared::outbox::SEND_MAX;
use shared::store::Key;
use shared::store::keys::{SHARDS, shard_of};
use shared::store::usage::Month;

use crate::support::harness::World;
use crate::support::invariants;
use crate::support::usage_support::{
    advance_to, aggregate, deliver, ingest_records, record, roll_up, rolled_up, usage_of,
};

const NOON: &str = "2096-03-15T12:00:00Z";
const A_MINUTE: Duration = Duration::from_secs(60);

/// The run of an hour, over all shards.
fn hourly() -> Value {
    json!({"source": "aws.scheduler", "time": "2096-03-15T12:00:00Z"})
}

fn totals<const N: usize>(totals: [(&str, u128, u128); N]) -> BTreeMap<String, (u128, u128)> {
    let totals = totals.map(|(period, events, deliveries)| (period.to_owned(), (events, deliveries)));
    BTreeMap::from(totals)
}

/// The notices that were mailed: to whom, of which percentage; sorted.
fn notices(world: &World) -> Vec<(String, String)> {
    let mut notices: Vec<_> = world
        .mailbox
        .mails()
        .into_iter()
        .filter_map(|mail| {
            let (_, share) = mail.subject.split_once(" has used ")?;
            Some((mail.to, share.replace(" of its month", "")))
        })
        .collect();
    notices.sort();
    notices
}

fn told(who: &str, share: &str) -> (String, String) {
    (format!("{who}@example.com"), share.to_owned())
}

#[tokio::test]
async fn hours_go_to_the_day_and_the_month_in_which_they_lie() {
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
async fn a_late_record_corrects_its_day_and_its_month_and_no_other() {
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
async fn running_again_changes_nothing_and_touches_nobody() {
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
    // The shard's news, the month, the day's hours; then the transaction, and that the run is done.
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
async fn two_runs_at_once_give_the_same_numbers() {
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
async fn records_that_come_during_a_run_are_in_it_or_in_the_next() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let batch = || -> Vec<Value> {
        ["2096-03-15T11:00:00Z", "2096-03-15T10:00:00Z", "2096-02-29T10:00:00Z"]
            .iter()
            .map(|moment| record(&workspace, "location_event", 1, moment))
            .collect()
    };
    for _ in 0..10 {
        let (one, other) = (batch(), batch());
        futures::join!(
            ingest_records(&world, &one),
            roll_up(&world, &workspace),
            ingest_records(&world, &other),
            roll_up(&world, &workspace)
        );
        // What was not rolled up is news.
        invariants::check(&world).await;
    }
    roll_up(&world, &workspace).await;
    let sums = rolled_up(&world, &workspace).await;
    assert_eq!((sums["2096-03-15"], sums["2096-02-29"]), ((40, 0), (20, 0)));
    assert_eq!((sums["2096-03"], sums["2096-02"]), ((40, 0), (20, 0)));
    assert_eq!(world.rows(&["usage-dirty-marker"]).await, [""; 0]);
}

#[tokio::test]
async fn a_run_that_was_overtaken_writes_nothing() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let workspace = world.owner("ann").await.workspace().await.id();
    let used = async |count, moment: &str| {
        ingest_records(&world, &[record(&workspace, "location_event", count, moment)]).await
    };
    used(1, "2096-03-14T11:00:00Z").await;
    roll_up(&world, &workspace).await;
    used(2, "2096-03-13T11:00:00Z").await;
    // A run has read all that it needs, and freezes there.
    let (store, id) = (&world.app.store, workspace.parse().unwrap());
    let news = store.usage_dirty_marker(id).await.unwrap().unwrap();
    let read = store.usage_month(id, "2096-03").await.unwrap();
    let day = store.usage_day_of_hours(id, "2096-03-13").await.unwrap();
    let frozen = Month {
        month: "2096-03".to_owned(),
        read,
        days: BTreeMap::from([("2096-03-13".to_owned(), day)]),
    };
    used(4, "2096-03-12T11:00:00Z").await;
    roll_up(&world, &workspace).await;
    let before = world.dump().await;
    assert_eq!(store.usage_roll_up(&news, &[frozen], &[]).await, Err(Error::Stale));
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
async fn one_run_makes_up_for_hours_that_were_missed() {
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
    let ran = aggregate(&world, &hourly(), A_MINUTE).await.unwrap();
    assert_eq!(ran, json!({"workspaces": 2, "shards_left": []}));
    for workspace in &workspaces {
        let expected = totals([("2096-03", 3, 0), ("2096-03-15", 3, 0)]);
        assert_eq!(rolled_up(&world, workspace).await, expected);
    }
}

#[tokio::test]
async fn as_of_is_the_start_of_the_last_whole_run_of_the_workspaces_shard() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let made = ann.workspace().await;
    let as_of = async || -> Time { usage_of(&ann).await["as_of"].as_str().unwrap().parse().unwrap() };
    let created_at: Time = made.body["created_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(as_of().await, created_at);

    let shard = shard_of(made.id().parse().unwrap());
    let other = (shard + 1) % SHARDS;
    let event = json!({"shards": {"from": other, "to": other}});
    aggregate(&world, &event, A_MINUTE).await.unwrap();
    assert_eq!(as_of().await, created_at, "another shard's run");

    let started = world.clock.now();
    roll_up(&world, &made.id()).await;
    let ran = as_of().await;
    assert!(ran >= started && ran <= world.clock.now());

    ingest_records(
        &world,
        &[record(&made.id(), "location_event", 1, "2096-03-15T11:00:00Z")],
    )
    .await;
    world.pass(60);
    let cut = aggregate(&world, &hourly(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(cut, json!({"workspaces": 0, "shards_left": [shard]}));
    assert_eq!(as_of().await, ran, "a run that had no time for everything");
    aggregate(&world, &hourly(), A_MINUTE).await.unwrap();
    assert!(as_of().await > ran);
    assert_eq!(
        usage_of(&ann).await["location_events"],
        1,
        "the next run goes on where it ended"
    );
}

#[tokio::test]
async fn a_workspace_made_since_the_last_run_is_as_old_as_itself() {
    let world = World::new().await;
    advance_to(&world, NOON);
    aggregate(&world, &hourly(), A_MINUTE).await.unwrap();
    world.pass(60);
    let ann = world.owner("ann").await;
    assert_eq!(usage_of(&ann).await["as_of"], ann.workspace().await.body["created_at"]);
}

#[tokio::test]
async fn what_is_no_schedule_is_refused() {
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
        let answer = aggregate(&world, &event, A_MINUTE).await;
        assert!(matches!(answer, Err(EventError::Malformed(_))), "{event}: {answer:?}");
    }
}

#[tokio::test]
async fn a_workspace_that_cannot_be_rolled_up_stops_no_other_and_no_day_shrinks() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
    let (broken, well) = (ann.workspace().await.id(), eve.workspace().await.id());
    ingest_records(&world, &[record(&broken, "location_event", 5, "2096-03-15T11:00:00Z")]).await;
    aggregate(&world, &hourly(), A_MINUTE).await.unwrap();
    let as_of = usage_of(&ann).await["as_of"].clone();
    // Hours that are gone make no day smaller.
    for split in 0..4 {
        let hour = Key::usage_hour(broken.parse().unwrap(), "2096-03-15T11", split);
        let gone = world
            .app
            .store
            .client()
            .delete_item()
            .table_name(world.app.store.table());
        gone.key("pk", AttributeValue::S(hour.pk))
            .key("sk", AttributeValue::S(hour.sk))
            .send()
            .await
            .unwrap();
    }
    ingest_records(
        &world,
        &[
            record(&broken, "location_event", 1, "2096-03-15T10:00:00Z"),
            record(&well, "location_event", 1, "2096-03-15T11:00:00Z"),
        ],
    )
    .await;
    let failed = aggregate(&world, &hourly(), A_MINUTE).await;
    assert!(matches!(failed, Err(EventError::Failed(_))), "{failed:?}");
    assert_eq!(usage_of(&eve).await["location_events"], 1);
    let usage = usage_of(&ann).await;
    assert_eq!((&usage["location_events"], &usage["as_of"]), (&json!(5), &as_of));
    assert_eq!(
        world.rows(&["usage-dirty-marker", &broken]).await.len(),
        1,
        "it stays for the next run"
    );
}

#[tokio::test]
async fn every_owner_hears_of_each_threshold_once() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let olga = world.joins(&ann, "olga", "owner").await;
    world.joins(&ann, "max", "manager").await;
    let workspace = ann.workspace().await.id();
    let name = ann.workspace().await.body["name"].as_str().unwrap().to_owned();
    let used = async |count, moment: &str| {
        ingest_records(&world, &[record(&workspace, "location_event", count, moment)]).await;
        futures::join!(roll_up(&world, &workspace), roll_up(&world, &workspace));
        roll_up(&world, &workspace).await;
    };
    used(399_999, "2096-03-15T11:00:00Z").await;
    assert_eq!(notices(&world), []);
    used(1, "2096-03-15T11:00:00Z").await;
    let at_80 = [told("ann", "80 %"), told("olga", "80 %")];
    assert_eq!(notices(&world), at_80);
    let mail = world.mailbox.latest_to(&olga.email).unwrap();
    for text in [&mail.text, &mail.html] {
        for part in [name.as_str(), "80 %", "500000", "developer", "2096-03"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
    used(50_000, "2096-03-14T11:00:00Z").await;
    assert_eq!(notices(&world), at_80, "more of the same is no news");
    used(500_000, "2096-03-13T11:00:00Z").await;
    let at_100 = [
        told("ann", "100 %"),
        told("ann", "80 %"),
        told("olga", "100 %"),
        told("olga", "80 %"),
    ];
    assert_eq!(notices(&world), at_100);
    used(9_000_000, "2096-03-12T11:00:00Z").await;
    assert_eq!(notices(&world), at_100);
    assert_eq!(world.rows(&[r#""entity": S("notice")"#, "DUE"]).await, [""; 0]);

    advance_to(&world, "2096-04-02T00:00:00Z");
    used(400_000, "2096-04-01T11:00:00Z").await;
    assert_eq!(notices(&world).len(), 6, "a new month is counted anew");
    invariants::check(&world).await;
}

#[tokio::test]
async fn both_thresholds_crossed_at_once_are_two_notices() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    ingest_records(
        &world,
        &[record(&workspace, "action_delivery", 1_000_000, "2096-03-15T11:00:00Z")],
    )
    .await;
    roll_up(&world, &workspace).await;
    assert_eq!(notices(&world), [told("ann", "100 %"), told("ann", "80 %")]);
}

#[tokio::test]
async fn each_tier_has_thresholds_of_its_own_and_enterprise_none() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    let on = async |tier| {
        let moved = world
            .app
            .store
            .workspace_set_tier(workspace.parse().unwrap(), tier)
            .await;
        moved.unwrap();
    };
    let used = async |count| {
        ingest_records(
            &world,
            &[record(&workspace, "location_event", count, "2096-03-15T11:00:00Z")],
        )
        .await;
        roll_up(&world, &workspace).await;
    };
    on(Tier::Pro).await;
    used(3_999_999).await;
    assert_eq!(notices(&world), []);
    on(Tier::Enterprise).await;
    used(10_000_000).await;
    assert_eq!(notices(&world), []);
    on(Tier::Pro).await;
    used(1).await;
    assert_eq!(notices(&world), [told("ann", "100 %"), told("ann", "80 %")]);
    on(Tier::Developer).await;
    used(1).await;
    assert_eq!(notices(&world).len(), 4, "a smaller tier's limit is another one");
    on(Tier::Pro).await;
    used(1).await;
    assert_eq!(notices(&world).len(), 4);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_notice_that_was_not_mailed_stays_due_and_goes_out_once() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    world.joins(&ann, "olga", "owner").await;
    let workspace = ann.workspace().await.id();
    // Ann's mail meets it, Olga's goes out.
    world.mailbox.fault_next(1, Fault::too_many_requests());
    ingest_records(
        &world,
        &[record(&workspace, "location_event", 400_000, "2096-03-15T11:00:00Z")],
    )
    .await;
    roll_up(&world, &workspace).await;
    assert_eq!(notices(&world), [told("olga", "80 %")]);
    assert_eq!(
        usage_of(&ann).await["location_events"],
        400_000,
        "usage waits for no mail"
    );
    invariants::check(&world).await;

    let retry = async || {
        let left = Deadline::after(Duration::from_secs(60));
        let report = mail_retry::handle(world.app.clone(), serde_json::Map::new(), left)
            .await
            .unwrap();
        serde_json::to_value(report).unwrap()["sent"].as_u64().unwrap()
    };
    assert_eq!(retry().await, 0, "the one who tried still has it");
    assert_eq!(notices(&world).len(), 1);
    world.pass(61);
    let (one, other) = futures::join!(retry(), retry());
    assert_eq!(one + other, 1, "one of them sends it");
    let both = [told("ann", "80 %"), told("olga", "80 %")];
    assert_eq!(notices(&world), both);
    world.pass(3_600);
    assert_eq!(retry().await, 0);
    roll_up(&world, &workspace).await;
    assert_eq!(notices(&world), both);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_silent_mail_service_ends_a_turn_and_the_next_one_goes_on() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let ann = world.owner("ann").await;
    for number in 0..6 {
        world.joins(&ann, &format!("olga{number}"), "owner").await;
    }
    let workspace = ann.workspace().await.id();
    let retry = async || {
        let left = Deadline::after(Duration::from_secs(60));
        let report = mail_retry::handle(world.app.clone(), serde_json::Map::new(), left).await;
        serde_json::to_value(report.unwrap()).unwrap()
    };
    let records = [record(&workspace, "location_event", 400_000, "2096-03-15T11:00:00Z")];
    ingest_records(&world, &records).await;
    world.mailbox.set_fault(Some(Fault::Silence { accepted: false }));
    for turn in 1..=2 {
        let (before, started) = (world.mailbox.attempts(), Instant::now());
        if turn == 1 {
            roll_up(&world, &workspace).await;
        } else {
            assert_eq!(retry().await, json!({"sent": 0, "queued": 1, "failed": 0}));
        }
        assert!(started.elapsed() < SEND_MAX, "turn {turn}: {:?}", started.elapsed());
        let tried = world.mailbox.attempts() - before;
        assert!((1..7).contains(&tried), "turn {turn}: {tried} of 7 owners were tried");
        assert_eq!(
            retry().await,
            json!({"sent": 0, "queued": 0, "failed": 0}),
            "the claim holds"
        );
        world.pass(61);
    }
    assert_eq!(notices(&world), []);
    world.mailbox.set_fault(None);
    assert_eq!(retry().await, json!({"sent": 1, "queued": 0, "failed": 0}));
    let mut everybody: Vec<_> = (0..6).map(|number| told(&format!("olga{number}"), "80 %")).collect();
    everybody.insert(0, told("ann", "80 %"));
    assert_eq!(notices(&world), everybody);
    world.pass(3_600);
    assert_eq!(retry().await, json!({"sent": 0, "queued": 0, "failed": 0}));
    invariants::check(&world).await;
}

#[tokio::test]
async fn one_workspaces_records_are_no_others() {
    let world = World::new().await;
    advance_to(&world, NOON);
    let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
    let workspaces = [ann.workspace().await.id(), eve.workspace().await.id()];
    let mut shared_id = workspaces
        .each_ref()
        .map(|workspace| record(workspace, "location_event", 1, "2096-03-15T11:00:00Z"));
    shared_id[1]["id"] = shared_id[0]["id"].clone();
    shared_id[1]["count"] = json!(2);
    // The same id in two workspaces is two records: nobody's choice of ids takes usage from another.
    assert_eq!(
        deliver(&world, &shared_id.each_ref().map(Value::to_string)).await,
        [0; 0]
    );
    aggregate(&world, &hourly(), A_MINUTE).await.unwrap();
    assert_eq!(usage_of(&ann).await["location_events"], 1);
    assert_eq!(usage_of(&eve).await["location_events"], 2);
}
