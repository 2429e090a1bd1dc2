//! Each broken table makes the checker report a fault.

use super::*;
use crate::support::usage_support;

#[test]
fn keys_match_their_pattern() {
    assert!(matches("USER#<user>", "USER#1"));
    assert!(matches("MEMBER#<joined_at>#<user>", "MEMBER#2026#1"));
    for key in ["USER#", "USERS#1", "1"] {
        assert!(!matches("USER#<user>", key), "{key}");
    }
    assert!(!matches("MEMBER#<joined_at>#<user>", "MEMBER#2026"));
    assert!(!matches("WS", "WS#1"));
}

#[tokio::test]
async fn wrong_usage_is_reported() {
    let world = World::new().await;
    let workspace = world.owner("ann").await.workspace().await.id();
    let now = world.clock.now().to_string();
    let used = async || {
        let records = [usage_support::record(&workspace, "location_event", 400_000, &now)];
        usage_support::ingest_records(&world, &records).await;
    };
    used().await;
    usage_support::roll_up(&world, &workspace).await;
    used().await;
    let table = read(&world).await;
    assert_hold(&table);
    let assert_reported = |entity: &str, change: fn(&mut Value)| {
        let mut broken = table.clone();
        let item = broken.values_mut().find(|item| item["entity"] == entity).unwrap();
        change(item);
        assert!(!faults(&broken).is_empty(), "a wrong {entity} is not reported");
    };
    for entity in ["usage-day", "usage-month", "usage-dirty-marker"] {
        let mut broken = table.clone();
        broken.retain(|_, item| item["entity"] != entity);
        assert!(!faults(&broken).is_empty(), "a missing {entity} is not reported");
    }
    assert_reported("usage-record", |item| item["ttl"] = Value::Null);
    assert_reported("usage-hour", |item| item["ttl"] = Value::Null);
    assert_reported("usage-day", |item| item["location_events"] = Value::from(1));
    assert_reported("usage-month", |item| item["action_deliveries"] = Value::from(1));
    assert_reported("usage-dirty-marker", |item| {
        item["days"] = Value::from(vec!["2001-01-01"]);
    });
    assert_reported("usage-run", |item| item["as_of"] = Value::Null);
    assert_reported("notice", |item| item["percent"] = Value::from(100));
}

#[tokio::test]
async fn wrong_items_are_reported() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    ann.invite("ben@example.com", "member").await.expect(201);
    let table = read(&world).await;
    assert_hold(&table);
    for key in table.keys().filter(|(pk, _)| !pk.starts_with("LIMIT#") && pk != "KEYS") {
        let mut broken = table.clone();
        broken.remove(key);
        assert!(!faults(&broken).is_empty(), "a missing {key:?} is not reported");
    }
    for (key, counter) in table
        .iter()
        .filter(|(_, item)| item["entity"] == "workspace")
        .flat_map(|(key, _)| ["owner_count", "member_count", "pending_count"].map(|counter| (key, counter)))
    {
        let mut broken = table.clone();
        broken.get_mut(key).unwrap()[counter] = Value::from(7);
        assert!(!faults(&broken).is_empty(), "a wrong {counter} is not reported");
    }
    for (entity, by) in [
        ("invitation", Value::from("nobody")),
        ("user", Value::from("nobody")),
        ("invitation", Value::Null),
        ("slug", Value::Null),
        ("guard", Value::from("0123456789abcdef")),
    ] {
        let mut broken = table.clone();
        let item = broken.values_mut().find(|item| item["entity"] == entity).unwrap();
        item["last_write"] = by;
        assert!(
            !faults(&broken).is_empty(),
            "a wrong last_write of {entity} is not reported"
        );
    }
}
