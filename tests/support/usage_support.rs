//! Usage metering in tests: records, batches of the queue, and roll-ups.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::clock::Time;
use shared::event::{self, Deadline, EventError};
use shared::store::keys::shard_of;

use crate::support::harness::{Person, World};

/// A time limit above the duration of any call.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Advances the clock to the second after `moment`, which is in the future.
pub fn advance_to(world: &World, moment: &str) {
    let moment: Time = moment.parse().unwrap();
    let ahead = moment.as_millis() - world.clock.now().as_millis();
    assert!(ahead > 0, "{moment} is past");
    world.pass(ahead.div_euclid(1000) + 1);
}

pub fn new_id() -> String {
    uuid::Uuid::from_bytes(shared::ids::random_bytes()).to_string()
}

/// A new record.
pub fn record(workspace: &str, kind: &str, count: u64, occurred_at: &str) -> Value {
    json!({
        "id": new_id(), "workspace_id": workspace, "kind": kind, "count": count, "occurred_at": occurred_at,
    })
}

/// A batch as the queue delivers it; each message's id is its index.
pub fn batch<B: AsRef<str>>(bodies: &[B]) -> Value {
    let messages = bodies.iter().enumerate().map(|(index, body)| {
        json!({
            "messageId": index.to_string(), "receiptHandle": "r", "body": body.as_ref(),
            "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {}, "eventSource": "aws:sqs",
        })
    });
    json!({"Records": messages.collect::<Vec<_>>()})
}

/// Calls `usage-ingest` with a raw event.
pub async fn ingest(world: &World, event: &Value, left: Duration) -> Result<Value, EventError> {
    let event = event.to_string();
    let deadline = Deadline::after(left);
    let response = event::call(usage_ingest::handle, world.app.clone(), event.as_bytes(), deadline).await?;
    Ok(serde_json::from_slice(&response).unwrap())
}

/// The indexes of the messages that the queue must deliver again.
pub fn failures(response: &Value) -> Vec<usize> {
    let failures = response["batchItemFailures"].as_array().unwrap().iter();
    let mut indexes: Vec<usize> = failures
        .map(|failure| failure["itemIdentifier"].as_str().unwrap().parse().unwrap())
        .collect();
    indexes.sort_unstable();
    indexes
}

/// Delivers messages in one batch and returns the indexes of those that failed.
pub async fn deliver<B: AsRef<str>>(world: &World, bodies: &[B]) -> Vec<usize> {
    failures(&ingest(world, &batch(bodies), A_MINUTE).await.unwrap())
}

/// Delivers records in one batch and asserts that all of them are counted.
pub async fn ingest_records(world: &World, records: &[Value]) {
    let bodies: Vec<String> = records.iter().map(Value::to_string).collect();
    assert_eq!(deliver(world, &bodies).await, [0; 0]);
}

/// Calls `usage-aggregator` with a raw event.
pub async fn aggregate(world: &World, event: &Value, left: Duration) -> Result<Value, EventError> {
    let event = event.to_string();
    let deadline = Deadline::after(left);
    let response = event::call(usage_aggregator::handle, world.app.clone(), event.as_bytes(), deadline).await?;
    Ok(serde_json::from_slice(&response).unwrap())
}

/// Rolls up the shard of a workspace, as the hourly schedule does.
pub async fn roll_up(world: &World, workspace: &str) -> Value {
    let shard = shard_of(workspace.parse().unwrap());
    let event = json!({"source": "aws.scheduler", "shards": {"from": shard, "to": shard}});
    aggregate(world, &event, A_MINUTE).await.unwrap()
}

/// Events and deliveries of a workspace's days and months, as rolled up.
pub async fn rolled_up(world: &World, workspace: &str) -> BTreeMap<String, (u128, u128)> {
    let query = world.app.store.client().query().table_name(world.app.store.table());
    let page = query
        .key_condition_expression("pk = :pk AND begins_with(sk, :month)")
        .expression_attribute_values(":pk", AttributeValue::S(format!("USAGE#{workspace}")))
        .expression_attribute_values(":month", AttributeValue::S("MONTH#".to_owned()))
        .consistent_read(true)
        .send()
        .await
        .unwrap();
    assert!(page.last_evaluated_key.is_none());
    let count = |value: &AttributeValue| value.as_n().unwrap().parse().unwrap();
    let period = |sort_key: &AttributeValue| sort_key.as_s().unwrap().rsplit('#').next().unwrap().to_owned();
    let items = page.items().iter();
    items
        .map(|item| {
            let counts = (count(&item["location_events"]), count(&item["action_deliveries"]));
            (period(&item["sk"]), counts)
        })
        .collect()
}

/// The usage response for a person's workspace.
pub async fn usage_of(person: &Person<'_>) -> Value {
    person.get("/workspaces/usage").await.expect(200).body
}
