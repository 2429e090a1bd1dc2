//! Usage compared with a plain sum: random records that are delivered repeatedly, late, and around midnight and the end
//! of a month, while runs are repeated, concurrent, killed between two steps, or paused before a call.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use crate::support::harness::World;
use crate::support::paused::{PauseBefore, run_paused};
use aws_sdk_dynamodb::types::AttributeValue;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use shared::App;
use shared::clock::Time;
use shared::event::Deadline;
use shared::store::keys::shard_of;

/// A usage record. Two records with the same id are the same record, delivered twice.
#[derive(Clone, Debug)]
struct Record {
    id: String,
    workspace: String,
    kind: &'static str,
    count: u64,
    occurred_at: Time,
}

impl Record {
    fn random(random: &mut StdRng, workspaces: &[String], now: Time) -> Self {
        let hour_s = 3600;
        let ago_s = match random.random_range(0..4) {
            0 | 1 => random.random_range(0..2 * hour_s),
            2 => random.random_range(0..72 * hour_s),
            _ => random.random_range(0..34 * 24 * hour_s),
        };
        Self {
            id: uuid::Builder::from_random_bytes(random.random())
                .into_uuid()
                .to_string(),
            workspace: workspaces.choose(random).unwrap().clone(),
            kind: ["location_event", "action_delivery"].choose(random).unwrap(),
            count: random.random_range(1..1_000),
            occurred_at: now.minus(Duration::from_secs(ago_s)),
        }
    }

    /// The message of the record. At random, its id is in capitals, and its time has another offset.
    fn message(&self, random: &mut StdRng) -> Value {
        let id = if random.random() {
            self.id.to_uppercase()
        } else {
            self.id.clone()
        };
        let occurred_at = if random.random() {
            let text = self.occurred_at.plus(Duration::from_secs(5400)).to_string();
            text.replace('Z', "+01:30")
        } else {
            self.occurred_at.to_string()
        };
        let body = json!({
            "id": id, "workspace_id": self.workspace, "kind": self.kind, "count": self.count, "occurred_at": occurred_at,
        });
        message(&self.id, &body.to_string())
    }
}

fn message(id: &str, body: &str) -> Value {
    json!({"messageId": id, "body": body, "attributes": {}, "messageAttributes": {}})
}

/// The expected sums: every record once, in the period in which it occurred.
fn sums(records: &[Record], period: fn(Time) -> String) -> BTreeMap<(String, String), (u64, u64)> {
    let unique: HashMap<&str, &Record> = records.iter().map(|record| (record.id.as_str(), record)).collect();
    let mut sums = BTreeMap::new();
    for record in unique.values() {
        let (events, deliveries) = sums
            .entry((record.workspace.clone(), period(record.occurred_at)))
            .or_insert((0, 0));
        *(if record.kind == "location_event" {
            events
        } else {
            deliveries
        }) += record.count;
    }
    sums
}

/// The sums that are stored in the table, as docs/table.md describes them.
async fn stored(world: &World, workspaces: &[String], entity: &str) -> BTreeMap<(String, String), (u64, u64)> {
    let mut sums = BTreeMap::new();
    for workspace in workspaces {
        let query = world.app.store.client().query().table_name(world.app.store.table());
        let page = query
            .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
            .expression_attribute_values(":pk", AttributeValue::S(format!("USAGE#{workspace}")))
            .expression_attribute_values(":sk", AttributeValue::S("MONTH#".to_owned()))
            .consistent_read(true)
            .send()
            .await
            .unwrap();
        assert!(page.last_evaluated_key.is_none());
        for item in page.items() {
            if item["entity"].as_s().unwrap() != entity {
                continue;
            }
            let number = |name: &str| item[name].as_n().unwrap().parse::<u64>().unwrap();
            let period = item["sk"].as_s().unwrap().rsplit('#').next().unwrap().to_owned();
            let counts = (number("location_events"), number("action_deliveries"));
            sums.insert((workspace.clone(), period), counts);
        }
    }
    sums
}

/// The sums of months that follow from those of days.
fn months_of(days: BTreeMap<(String, String), (u64, u64)>) -> BTreeMap<(String, String), (u64, u64)> {
    let mut months = BTreeMap::new();
    for ((workspace, mut day), (events, deliveries)) in days {
        day.truncate("2096-01".len());
        let sum = months.entry((workspace, day)).or_insert((0, 0));
        *sum = (sum.0 + events, sum.1 + deliveries);
    }
    months
}

/// Polls `future` up to `polls` times, then drops it: the effect of a process that ends at this point.
async fn killed_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let (mut future, mut remaining) = (Box::pin(future), polls);
    std::future::poll_fn(move |context| {
        if remaining == 0 {
            return Poll::Ready(None);
        }
        remaining -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Delivers records. Returns those that the queue has to deliver again.
async fn deliver(world: &World, random: &mut StdRng, records: Vec<Record>, polls: usize) -> Vec<Record> {
    let mut messages: Vec<Value> = records.iter().map(|record| record.message(random)).collect();
    messages.push(message("poison", "{\"id\":"));
    let event = serde_json::from_value(json!({ "Records": messages })).unwrap();
    let call = usage_ingest::handle(world.app.clone(), event, Deadline::after(Duration::from_secs(60)));
    match killed_after(polls, call).await {
        // Without a response that reports success, the queue delivers every message again.
        None | Some(Err(_)) => records,
        Some(Ok(response)) => {
            let response = serde_json::to_value(response).unwrap();
            let failed: Vec<&str> = response["batchItemFailures"]
                .as_array()
                .unwrap()
                .iter()
                .map(|failure| failure["itemIdentifier"].as_str().unwrap())
                .collect();
            assert!(failed.contains(&"poison"), "{response}");
            records
                .into_iter()
                .filter(|record| failed.contains(&record.id.as_str()))
                .collect()
        }
    }
}

/// Runs the aggregation over the shards of the workspaces.
async fn aggregate(app: &App, workspaces: &[String], polls: usize) {
    for workspace in workspaces {
        let shard = shard_of(workspace.parse().unwrap());
        let event = json!({"source": "aws.scheduler", "shards": {"from": shard, "to": shard}});
        let event = serde_json::from_value(event).unwrap();
        let call = usage_aggregator::handle(app.clone(), event, Deadline::after(Duration::from_secs(60)));
        if let Some(ended) = killed_after(polls, call).await {
            ended.unwrap();
        }
    }
}

/// Pauses a run while a record is ingested and a concurrent run rolls it up. Returns the record.
async fn paused_run(world: &World, random: &mut StdRng, workspaces: &[String; 2]) -> Record {
    // Often the record is of an older day: the paused run would detect the change of a day that it rolls up itself.
    let mut later = Record::random(random, workspaces, world.clock.now());
    if random.random() {
        let ago_s = random.random_range(4..25) * 24 * 3600;
        later.occurred_at = world.clock.now().minus(Duration::from_secs(ago_s));
    }
    let before = if random.random() {
        PauseBefore::First("TransactWriteItems")
    } else {
        PauseBefore::Call(random.random_range(1..16))
    };
    let of_run = workspaces.clone();
    let run = async move |app: App| aggregate(&app, &of_run, UNLIMITED).await;
    let meanwhile = async {
        let failed = deliver(world, random, vec![later.clone()], UNLIMITED).await;
        assert!(failed.is_empty(), "{failed:?} failed");
        aggregate(&world.app, workspaces, UNLIMITED).await;
    };
    run_paused(world, before, run, meanwhile).await;
    later
}

/// Enough polls for every call.
const UNLIMITED: usize = usize::MAX;

async fn run_scenario(seed: u64) {
    let random = &mut StdRng::seed_from_u64(seed);
    let world = World::new().await;
    let starts = [
        "2096-02-28T21:00:00Z",
        "2095-12-31T21:00:00Z",
        "2096-03-01T00:05:00Z",
        "2095-06-15T12:00:00Z",
    ];
    let start: Time = starts.choose(random).unwrap().parse().unwrap();
    world.pass((start.as_millis() - world.clock.now().as_millis()) / 1000);
    let (ann, bob) = (world.owner("ann").await, world.owner("bob").await);
    let workspaces = [ann.workspace().await.id(), bob.workspace().await.id()];

    let (mut sent, mut failed) = (Vec::<Record>::new(), Vec::<Record>::new());
    for _ in 0..random.random_range(10..25) {
        let polls = if random.random_bool(0.3) {
            random.random_range(1..60)
        } else {
            UNLIMITED
        };
        let mut batch: Vec<Record> = (0..random.random_range(0..12))
            .map(|_| Record::random(random, &workspaces, world.clock.now()))
            .collect();
        sent.extend(batch.iter().cloned());
        batch.append(&mut failed);
        // The queue delivers at least once.
        batch.extend(sent.choose_multiple(random, 3).cloned());
        match random.random_range(0..5) {
            0 => failed = deliver(&world, random, batch, polls).await,
            1 => {
                failed = deliver(&world, random, batch, UNLIMITED).await;
                aggregate(&world.app, &workspaces, polls).await;
            }
            2 => {
                let (mut one, mut other) = (StdRng::from_rng(random), StdRng::from_rng(random));
                let halves = batch.split_off(batch.len() / 2);
                let ((), first, second) = futures::join!(
                    aggregate(&world.app, &workspaces, polls),
                    deliver(&world, &mut one, batch, polls),
                    deliver(&world, &mut other, halves, UNLIMITED)
                );
                failed = [first, second].concat();
            }
            3 => {
                failed = deliver(&world, random, batch, UNLIMITED).await;
                let later = paused_run(&world, random, &workspaces).await;
                sent.push(later);
            }
            _ => {
                failed = batch;
                futures::join!(
                    aggregate(&world.app, &workspaces, UNLIMITED),
                    aggregate(&world.app, &workspaces, polls)
                );
            }
        }
        let months = stored(&world, &workspaces, "usage-month").await;
        assert_eq!(
            months,
            months_of(stored(&world, &workspaces, "usage-day").await),
            "a month is the sum of its days at any time"
        );
        world.pass(random.random_range(0..3600));
    }
    failed = deliver(&world, random, failed, UNLIMITED).await;
    assert!(failed.is_empty(), "seed {seed}: {failed:?} failed");
    aggregate(&world.app, &workspaces, UNLIMITED).await;

    let days = sums(&sent, Time::date);
    let months = sums(&sent, Time::month);
    assert_eq!(stored(&world, &workspaces, "usage-day").await, days, "seed {seed}");
    assert_eq!(stored(&world, &workspaces, "usage-month").await, months, "seed {seed}");
    aggregate(&world.app, &workspaces, UNLIMITED).await;
    assert_eq!(
        stored(&world, &workspaces, "usage-day").await,
        days,
        "seed {seed}: a rerun changed a day"
    );
    assert_eq!(
        stored(&world, &workspaces, "usage-month").await,
        months,
        "seed {seed}: a rerun changed a month"
    );

    let (mut ann, now) = (ann, world.clock.now());
    ann.log_in().await;
    let usage = ann.get("/workspaces/usage").await.expect(200).body;
    let expected = |sums: &BTreeMap<(String, String), (u64, u64)>, period: String| {
        let (events, deliveries) = sums.get(&(workspaces[0].clone(), period)).copied().unwrap_or_default();
        (json!(events), json!(deliveries))
    };
    let counts = |period: &Value| (period["location_events"].clone(), period["action_deliveries"].clone());
    assert_eq!(counts(&usage), expected(&days, now.date()), "seed {seed}");
    assert_eq!(counts(&usage["month"]), expected(&months, now.month()), "seed {seed}");
}

/// `USAGE_SEED=7 cargo test -p tests usage_model` runs one scenario again, `USAGE_SEEDS=1000` runs more of them.
#[tokio::test]
async fn the_sums_are_those_of_plain_arithmetic() {
    #[expect(clippy::disallowed_methods, reason = "the tester chooses the seeds")]
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match variable("USAGE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("USAGE_SEEDS").unwrap_or(12),
    };
    for seed in seeds {
        // The output of a failed test names the seed.
        println!("seed {seed}");
        run_scenario(seed).await;
    }
}
