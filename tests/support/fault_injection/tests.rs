//! Tests that each fault has its documented effect.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{KeysAndAttributes, TransactWriteItem, Update};
use futures::future::join_all;

use super::proxies::LATE;
use super::*;
use crate::support::harness::{PASSWORD, World};

const PLAIN: &str = "UpdateItem";
const TRANSACTION: &str = "TransactWriteItems";

/// The result of a call in one word.
fn result_name<T, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(SdkError::TimeoutError(_)) => "time-out".to_owned(),
        Err(SdkError::DispatchFailure(_)) => "connection".to_owned(),
        Err(SdkError::ResponseError(_)) => "unreadable".to_owned(),
        Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("unreadable").to_owned(),
        Err(_) => "something else".to_owned(),
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn key() -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".to_owned(), text("COUNTER")), ("sk".to_owned(), text("COUNTER"))])
}

/// Adds one to a counter in one attempt and returns the result.
async fn count(world: &World, operation: &str) -> String {
    let (client, table) = (world.app.store.client(), world.app.store.table());
    let single_attempt =
        aws_sdk_dynamodb::config::Builder::new().retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled());
    let one = AttributeValue::N("1".to_owned());
    if operation == PLAIN {
        let update = client.update_item().table_name(table).set_key(Some(key()));
        let update = update
            .update_expression("ADD n :one")
            .expression_attribute_values(":one", one);
        result_name(update.customize().config_override(single_attempt).send().await)
    } else {
        let update = Update::builder().table_name(table).set_key(Some(key()));
        let update = update
            .update_expression("ADD n :one")
            .expression_attribute_values(":one", one);
        let item = TransactWriteItem::builder().update(update.build().unwrap()).build();
        let write = client.transact_write_items().transact_items(item);
        result_name(write.customize().config_override(single_attempt).send().await)
    }
}

async fn counted(world: &World) -> usize {
    world.rows(&["COUNTER", r#""n": N("1")"#]).await.len()
}

#[tokio::test]
async fn each_write_fault_has_its_documented_effect() {
    let busy = |throttle| Fault::Throttled(throttle);
    let cases = [
        (PLAIN, Fault::Refused, "connection", 0),
        (PLAIN, Fault::TimedOut, "time-out", 0),
        (PLAIN, Fault::Slow, "done", 1),
        (PLAIN, Fault::Lost(Loss::Failed), "InternalServerError", 1),
        (PLAIN, Fault::Lost(Loss::Garbage), "unreadable", 1),
        (PLAIN, Fault::Lost(Loss::Cut), "connection", 1),
        (PLAIN, Fault::Lost(Loss::TimedOut), "time-out", 1),
        (PLAIN, Fault::Failed, "InternalServerError", 0),
        (
            PLAIN,
            busy(Throttle::Table),
            "ProvisionedThroughputExceededException",
            0,
        ),
        (PLAIN, busy(Throttle::Service), "ThrottlingException", 0),
        (PLAIN, busy(Throttle::Account), "RequestLimitExceeded", 0),
        (PLAIN, Fault::Conflict, "TransactionConflictException", 0),
        (TRANSACTION, Fault::Conflict, "TransactionCanceledException", 0),
        (TRANSACTION, Fault::InProgress, "TransactionInProgressException", 0),
        (TRANSACTION, Fault::Mismatch, "IdempotentParameterMismatchException", 0),
        (TRANSACTION, Fault::Lost(Loss::Cut), "connection", 1),
    ];
    join_all(cases.map(async |(operation, fault, seen, applied)| {
        let world = World::new().await;
        let on: &[&str] = if operation == PLAIN { &[PLAIN] } else { &[TRANSACTION] };
        world.faults.after(0, on, 1, fault);
        let results = count(&world, operation).await;
        assert_eq!((results.as_str(), counted(&world).await), (seen, applied), "{fault:?}");
        assert_eq!(world.faults.injected(), BTreeMap::from([(fault.name(), 1)]));
        if applied == 0 {
            assert_eq!(count(&world, operation).await, "done", "after {fault:?}");
            assert_eq!(counted(&world).await, 1);
        }
    }))
    .await;
}

#[tokio::test]
async fn a_late_write_is_applied_after_its_time_out() {
    let world = World::new().await;
    world.faults.next(WRITES, 1, Fault::Late);
    assert_eq!(
        (count(&world, PLAIN).await.as_str(), counted(&world).await),
        ("time-out", 0)
    );
    tokio::time::sleep(LATE).await;
    assert_eq!(counted(&world).await, 1);
}

#[tokio::test]
async fn unprocessed_keys_have_no_items_in_the_response() {
    let world = World::new().await;
    assert_eq!(count(&world, PLAIN).await, "done");
    for (which, left) in [
        (Keys::All, 2),
        (Keys::Some, 1),
        (Keys::Of("COUNT"), 1),
        (Keys::Of("KEYS"), 1),
    ] {
        world.faults.next(&["BatchGetItem"], 1, Fault::Unprocessed(which));
        let jwks = HashMap::from([("pk".to_owned(), text("KEYS")), ("sk".to_owned(), text("JWKS"))]);
        let keys = KeysAndAttributes::builder().keys(key()).keys(jwks).build().unwrap();
        let (client, table) = (world.app.store.client(), world.app.store.table());
        let response = client.batch_get_item().request_items(table, keys).send().await.unwrap();
        assert_eq!(
            response.unprocessed_keys().unwrap()[table].keys().len(),
            left,
            "{which:?}"
        );
        assert_eq!(response.responses().unwrap()[table].len(), 2 - left, "{which:?}");
    }
}

#[tokio::test]
async fn a_seed_determines_the_faults_and_own_calls_have_none() {
    let drawn = |seed| {
        let faults = Faults::seeded(seed, 40);
        (0..200).map(|_| faults.draw("UpdateItem", false)).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    let injected_fault = drawn(7).iter().flatten().count();
    assert!((60..100).contains(&injected_fault), "{injected_fault} of 200");

    let world = World::faulty(Faults::seeded(7, 100)).await;
    assert_eq!(counted(&world).await, 0);
    assert_eq!(without_faults(count(&world, PLAIN)).await, "done");
    assert_eq!(world.faults.injected(), BTreeMap::new());
    world.faults.stop();
    world.faults.after(1, WRITES, 1, Fault::Failed);
    let mut results = Vec::new();
    for _ in 0..3 {
        results.push(count(&world, PLAIN).await);
    }
    assert_eq!(results, ["done", "InternalServerError", "done"]);
}

#[tokio::test]
async fn a_process_ends_before_during_and_after_its_call() {
    for (moment, at_once, in_the_end) in [(Moment::Before, 0, 0), (Moment::During, 0, 1), (Moment::After, 1, 1)] {
        let world = World::new().await;
        let kill = Kill { call: 0, moment };
        assert_eq!(killed(Some(kill), count(&world, PLAIN)).await, None, "{moment:?}");
        assert_eq!(counted(&world).await, at_once, "{moment:?}");
        world.faults.wait_for_late_writes().await;
        assert_eq!(counted(&world).await, in_the_end, "{moment:?}");
    }
    let world = World::new().await;
    let kill = Kill {
        call: 1,
        moment: Moment::Before,
    };
    let result = killed(Some(kill), count(&world, PLAIN)).await;
    assert_eq!(result.as_deref(), Some("done"), "it made one call only");
    let twice = async {
        count(&world, TRANSACTION).await;
        count(&world, TRANSACTION).await
    };
    assert_eq!(killed(Some(kill), twice).await, None);
    assert_eq!(world.rows(&["COUNTER", r#""n": N("2")"#]).await.len(), 1);
}

#[tokio::test]
async fn queries_return_short_empty_and_stale_pages() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for name in ["bob", "cid", "dan", "eve"] {
        ann.invite(&format!("{name}@example.com"), "member").await.expect(201);
    }
    world.pass(3600);
    let ann = {
        let mut ann = ann;
        ann.log_in().await;
        ann
    };
    // The acceptance queries the partition of an earlier member, whose first page may be empty.
    let bob = world.joins(&ann, "bob", "member").await;
    ann.remove(&bob.id).await.expect(200);
    let again = ann.invite(&bob.email, "member").await.expect(201);
    world.faults.next(&["Query"], 1, Fault::Empty);
    bob.signed_out()
        .accept(&again, json!({"password": PASSWORD}))
        .await
        .expect(200);
    // Some query meets each fault, and the list remains complete.
    let right = ann.invitations().await.expect(200).body;
    assert_eq!(right["total"], 3);
    for fault in [Fault::Short(1), Fault::Short(3), Fault::Empty] {
        world.faults.next(&["Query"], 1, fault);
        assert_eq!(ann.invitations().await.expect(200).body, right, "{fault:?}");
        assert!(world.faults.injected()[fault.name()] > 0, "{fault:?}");
    }
    let sessions = async || {
        ann.revoke_all().await.expect(200).body["sessions_revoked"]
            .as_u64()
            .unwrap()
    };
    world.faults.next(&["Query"], 1, Fault::Stale(Lag::Behind));
    assert_eq!(sessions().await, 0, "the index was never queried before");
}
