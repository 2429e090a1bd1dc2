//! `GET /workspaces/usage`: the usage of the day and the month, as last aggregated.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use shared::clock::Time;
use shared::event::Deadline;

use crate::support::harness::{Person, World};
use crate::support::usage_support::advance_to;

/// Ingests a record of `kind` that occurred at `moment`.
async fn ingest(world: &World, owner: &Person<'_>, kind: &str, count: u64, moment: &str) {
    let body = json!({
        "id": uuid::Uuid::from_bytes(shared::ids::random_bytes()), "workspace_id": owner.workspace().await.id(),
        "kind": kind, "count": count, "occurred_at": moment,
    });
    let event =
        json!({"Records": [{"messageId": "m", "body": body.to_string(), "attributes": {}, "messageAttributes": {}}]});
    let deadline = Deadline::after(Duration::from_secs(60));
    let response = usage_ingest::handle(world.app.clone(), serde_json::from_value(event).unwrap(), deadline);
    assert!(response.await.unwrap().batch_item_failures.is_empty());
}

/// Runs the aggregation over all shards, as its schedule does.
async fn aggregate(world: &World) {
    let event = serde_json::from_value(json!({"source": "aws.scheduler"})).unwrap();
    usage_aggregator::handle(world.app.clone(), event, Deadline::after(Duration::from_secs(60)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_new_workspace_has_no_usage() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let created_at = owner.workspace().await.body["created_at"].clone();
    advance_to(&world, "2096-02-29T12:00:00Z");
    owner.log_in().await;
    let expected = json!({
        "location_events": 0,
        "action_deliveries": 0,
        "event_units": 0,
        "tier": "developer",
        "tier_limit": 500_000,
        "period_start": "2096-02-29T00:00:00.000Z",
        "period_end": "2096-02-29T23:59:59.000Z",
        "as_of": created_at,
        "month": {
            "location_events": 0,
            "action_deliveries": 0,
            "event_units": 0,
            "period_start": "2096-02-01T00:00:00.000Z",
            "period_end": "2096-02-29T23:59:59.000Z",
        },
    });
    let usage = owner.get("/workspaces/usage").await.expect(200);
    assert_eq!(usage.body, expected);
    assert!(!usage.text.contains(":0.0"), "{}", usage.text);
}

#[tokio::test]
async fn every_role_may_read_the_usage() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let usage = owner.get("/workspaces/usage").await.expect(200).body;
    for role in ["owner", "manager", "field_worker", "member"] {
        let person = world.joins(&owner, role, role).await;
        assert_eq!(person.get("/workspaces/usage").await.expect(200).body, usage);
    }
}

#[tokio::test]
async fn a_person_without_a_workspace_gets_404() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    owner.delete("/workspaces/").await.expect(200);
    owner.get("/workspaces/usage").await.refused(404, "WORKSPACE_NOT_FOUND");
}

#[tokio::test]
async fn the_day_and_the_month_are_shown_as_last_aggregated() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    advance_to(&world, "2096-12-31T12:00:00Z");
    owner.log_in().await;
    let other = world.owner("eve").await;
    ingest(&world, &owner, "location_event", 10_000, "2096-12-31T11:59:59.999Z").await;
    ingest(&world, &owner, "action_delivery", 5_001, "2096-12-31T00:00:00Z").await;
    ingest(&world, &owner, "location_event", 60_000, "2096-12-30T23:59:59.999Z").await;
    ingest(&world, &owner, "action_delivery", 54_999, "2096-12-01T00:00:00Z").await;
    ingest(&world, &owner, "location_event", 1, "2096-11-30T23:59:59.999Z").await;
    let before = owner.get("/workspaces/usage").await.expect(200).body;
    assert_eq!(
        (&before["event_units"], &before["as_of"]),
        (&json!(0), &owner.workspace().await.body["created_at"])
    );
    let run_at = world.clock.now();
    aggregate(&world).await;
    let usage = owner.get("/workspaces/usage").await.expect(200);
    let as_of: Time = usage.body["as_of"].as_str().unwrap().parse().unwrap();
    assert!(as_of >= run_at && as_of <= world.clock.now());
    for (field, value) in [
        ("location_events", json!(10_000)),
        ("action_deliveries", json!(5_001)),
        ("event_units", json!(12_500.5)),
        ("period_end", json!("2096-12-31T23:59:59.000Z")),
    ] {
        assert_eq!(usage.body[field], value, "{field}");
    }
    let month = json!({
        "location_events": 70_000,
        "action_deliveries": 60_000,
        "event_units": 100_000,
        "period_start": "2096-12-01T00:00:00.000Z",
        "period_end": "2096-12-31T23:59:59.000Z",
    });
    assert_eq!(usage.body["month"], month);
    assert_eq!(
        other.get("/workspaces/usage").await.expect(200).body["month"]["event_units"],
        0
    );

    advance_to(&world, "2097-01-01T00:00:00Z");
    owner.log_in().await;
    let next = owner.get("/workspaces/usage").await.expect(200);
    assert_eq!(
        (&next.body["event_units"], &next.body["month"]["event_units"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(next.body["period_start"], "2097-01-01T00:00:00.000Z");
    assert_eq!(
        next.body["as_of"], usage.body["as_of"],
        "the time of the last aggregation does not change with the month"
    );
}

#[tokio::test]
async fn the_limit_is_that_of_the_tier() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let (client, table) = (world.app.store.client(), world.app.store.table());
    let workspace = owner.workspace().await.id();
    for (tier, limit) in [
        ("pro", json!(5_000_000)),
        ("enterprise", json!(null)),
        ("developer", json!(500_000)),
    ] {
        let update = client
            .update_item()
            .table_name(table)
            .update_expression("SET tier = :tier");
        let update = update
            .key("pk", AttributeValue::S(format!("WS#{workspace}")))
            .key("sk", AttributeValue::S("WS".into()));
        update
            .expression_attribute_values(":tier", AttributeValue::S(tier.into()))
            .send()
            .await
            .unwrap();
        let usage = owner.get("/workspaces/usage").await.expect(200);
        assert_eq!((&usage.body["tier"], &usage.body["tier_limit"]), (&json!(tier), &limit));
        assert!(usage.text.contains("\"tier_limit\":"), "{}", usage.text);
        assert_eq!(owner.get("/auth/me").await.body["selected_plan"], tier);
    }
}
