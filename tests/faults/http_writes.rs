//! Every operation of the API that writes, while writes fail: the response is true, and the operation takes effect
//! once.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};

use crate::faults::http_operations::{Outcome, Scenario, WRITE_OPERATIONS};
use crate::faults::{CONCURRENT_CASES, LATE_AT_MOST};
use crate::support::fault_injection::{FOREVER, Fault, Loss, Throttle, WRITES};
use crate::support::harness::{World, operations};
use crate::support::invariants;

/// Deadline of a request where every write fails.
const SHORT: Duration = Duration::from_millis(1500);
/// Deadline of a request where no write gets a response: its writes share the time. It is too short to send a mail.
const LONG: Duration = Duration::from_millis(3500);
/// How much later than its deadline a request may end on a slow machine.
const TOLERANCE: Duration = Duration::from_millis(1500);

/// Faults of consecutive attempts: each fault with its number of attempts.
type FaultSequence = &'static [(Fault, usize)];

/// Performs every operation with faults at each of its writes. Asserts that the operation succeeds, and that its
/// outcome is the one without faults.
async fn assert_each_operation_takes_effect_once(faults: &[FaultSequence]) {
    let world = World::new().await;
    let scenario = Scenario::new(&world).await;
    let mut cases = Vec::new();
    for operation in WRITE_OPERATIONS {
        let expected = std::sync::Arc::new(scenario.outcome_without_faults(operation).await);
        for write in 0..expected.writes {
            cases.extend(
                faults
                    .iter()
                    .map(|faults| (operation, expected.clone(), write, *faults)),
            );
        }
    }
    let scenario = &scenario;
    let count = cases.len();
    let broken: Vec<String> = stream::iter(cases)
        .map(|(operation, expected, write, faults)| async move {
            let case = format!("{} {}, write {write}, {faults:?}", operation.name, operation.case);
            let world = scenario.world().await;
            let began = world.clock.now().as_millis();
            for (fault, times) in faults {
                world.faults.after(write, WRITES, *times, *fault);
            }
            let response = scenario.perform(operation, &world).await;
            if faults[0].0 == Fault::Late {
                tokio::time::sleep(LATE_AT_MOST).await;
            }
            // Every fault is injected as often as planned, with one exception. After a lost response, a slow machine may read
            // the write back before it has met all of the refusals that follow.
            let injected = world.faults.injected();
            for (index, (fault, times)) in faults.iter().enumerate() {
                let count = injected.get(fault.name()).copied().unwrap_or_default();
                let fewest = if index == 0 { *times } else { 1 };
                assert!((fewest..=*times).contains(&count), "{case}: {injected:?}");
            }
            assert_eq!(injected.len(), faults.len(), "{case}: {injected:?}");
            if response.status.as_u16() != operation.status {
                return Some(format!("{case}: {} {}", response.status, response.text));
            }
            let outcome = Outcome::of(&world, began).await;
            let missing: Vec<_> = expected
                .items
                .iter()
                .filter(|item| !outcome.items.contains(item))
                .collect();
            let added: Vec<_> = outcome
                .items
                .iter()
                .filter(|item| !expected.items.contains(item))
                .collect();
            if outcome.mails != expected.mails || outcome.items != expected.items {
                let mails = (expected.mails, outcome.mails);
                return Some(format!(
                    "{case}: expected and actual mails {mails:?}, missing {missing:#?}, added {added:#?}"
                ));
            }
            if faults[0].0 != Fault::Lost(Loss::Cut) {
                return None;
            }
            // A client that got no response repeats its request.
            let repeated = scenario.perform(operation, &world).await;
            let summary = (
                repeated.status.as_u16(),
                repeated.body["error_code"].as_str().unwrap_or_default(),
            );
            (summary != operation.repeated).then(|| format!("{case}: repeated: {} {}", repeated.status, repeated.text))
        })
        .buffer_unordered(CONCURRENT_CASES)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(broken.is_empty(), "{} of {count}:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_operation_that_writes_is_tested() {
    for operation in operations().iter().filter(|operation| operation.method != "GET") {
        let name = operation.name();
        assert!(
            WRITE_OPERATIONS.iter().any(|operation| operation.name == name),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_write_that_dynamodb_refuses_temporarily_is_applied_once() {
    assert_each_operation_takes_effect_once(&[
        &[(Fault::Refused, 1)],
        &[(Fault::Failed, 2)],
        &[(Fault::Conflict, 3)],
        &[(Fault::Throttled(Throttle::Service), 2)],
    ])
    .await;
}

#[tokio::test]
async fn a_write_whose_response_is_lost_is_applied_once() {
    assert_each_operation_takes_effect_once(&[
        &[(Fault::Lost(Loss::Cut), 2)],
        // After the lost response, more refusals than a write gets that was not applied.
        &[(Fault::Lost(Loss::Failed), 1), (Fault::Conflict, 9)],
        &[(Fault::Lost(Loss::Garbage), 1), (Fault::Throttled(Throttle::Table), 9)],
    ])
    .await;
}

#[tokio::test]
async fn a_write_without_a_response_in_time_is_applied_once() {
    assert_each_operation_takes_effect_once(&[&[(Fault::Lost(Loss::TimedOut), 1)], &[(Fault::Late, 1)]]).await;
}

#[tokio::test]
async fn a_request_gets_503_before_its_deadline_and_changes_nothing_if_dynamodb_keeps_failing() {
    let world = World::new().await;
    let scenario = &Scenario::new(&world).await;
    let faults = [
        Fault::Refused,
        Fault::Failed,
        Fault::Conflict,
        Fault::TimedOut,
        Fault::Throttled(Throttle::Table),
        Fault::Lost(Loss::Failed),
    ];
    let cases = WRITE_OPERATIONS
        .iter()
        .flat_map(|operation| faults.map(|fault| (operation, fault)));
    stream::iter(cases)
        .map(|(operation, fault)| async move {
            let case = format!("{} {}, {fault:?} forever", operation.name, operation.case);
            let mut world = scenario.world().await;
            world.request_time_limit = SHORT;
            let before = world.dump().await;
            world.faults.next(WRITES, FOREVER, fault);
            let (began, began_at) = (Instant::now(), world.clock.now().as_millis());
            let response = scenario.perform(operation, &world).await;
            assert!(began.elapsed() < SHORT + TOLERANCE, "{case}: {:?}", began.elapsed());
            if matches!(fault, Fault::Lost(_)) && response.status.as_u16() == operation.status {
                // A read back showed that the write was applied, so that it must have been applied completely.
                let expected = scenario.outcome_without_faults(operation).await;
                let outcome = Outcome::of(&world, began_at).await;
                assert!(
                    expected.is_same_except_mails(&outcome),
                    "{case}: {outcome:#?}, expected {expected:#?}"
                );
                return;
            }
            assert_eq!(response.status.as_u16(), 503, "{case}: {}", response.text);
            assert!(response.header("retry-after").is_some(), "{case}");
            let _ = response.refused(503, "SERVICE_UNAVAILABLE");
            assert_eq!(world.mailbox.attempts(), 0, "{case}");
            if matches!(fault, Fault::Lost(_)) {
                invariants::check(&world).await;
            } else {
                assert_eq!(world.dump().await, before, "{case}");
            }
        })
        .buffer_unordered(CONCURRENT_CASES)
        .collect::<()>()
        .await;
}

/// DynamoDB applies every write, and every response is lost. A read back shows that the write was applied.
#[tokio::test]
async fn an_applied_write_is_reported_as_applied_though_every_response_is_lost() {
    let world = World::new().await;
    let scenario = &Scenario::new(&world).await;
    let mut cases = Vec::new();
    for operation in WRITE_OPERATIONS {
        let expected = std::sync::Arc::new(scenario.outcome_without_faults(operation).await);
        cases.extend([Loss::Failed, Loss::Cut].map(|loss| (operation, expected.clone(), Fault::Lost(loss))));
    }
    let broken: Vec<String> = stream::iter(cases)
        .map(|(operation, expected, fault)| async move {
            let case = format!("{} {}, {fault:?} forever", operation.name, operation.case);
            let mut world = scenario.world().await;
            world.request_time_limit = LONG;
            world.faults.next(WRITES, FOREVER, fault);
            let (began, began_at) = (Instant::now(), world.clock.now().as_millis());
            let response = scenario.perform(operation, &world).await;
            let took = began.elapsed();
            assert!(took < LONG + Duration::from_secs(1), "{case}: {took:?}");
            if response.status.as_u16() != operation.status {
                return Some(format!("{case}: {} {}", response.status, response.text));
            }
            let outcome = Outcome::of(&world, began_at).await;
            (!expected.is_same_except_mails(&outcome)).then(|| format!("{case}: {outcome:#?}, expected {expected:#?}"))
        })
        .buffer_unordered(CONCURRENT_CASES)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(broken.is_empty(), "{}:\n{}", broken.len(), broken.join("\n"));
}

#[tokio::test]
async fn an_invitation_succeeds_though_its_delivery_status_cannot_be_recorded() {
    let world = World::new().await;
    let scenario = Scenario::new(&world).await;
    let mut world = scenario.world().await;
    world.request_time_limit = Duration::from_secs(7);
    world.faults.after(1, WRITES, FOREVER, Fault::Failed);
    let setup = scenario.setup.in_world(&world);
    let issued = setup
        .person("ann")
        .invite("new@example.com", "member")
        .await
        .expect(201);
    assert_eq!(issued.body["delivery"]["status"], "queued");
    assert_eq!(world.mailbox.mails().len(), 1);
    world.faults.stop();
    // Without the time to send a mail, none is attempted.
    world.request_time_limit = SHORT;
    let setup = scenario.setup.in_world(&world);
    let issued = setup
        .person("ann")
        .invite("newer@example.com", "member")
        .await
        .expect(201);
    assert_eq!(issued.body["delivery"]["status"], "queued");
    assert_eq!(world.mailbox.mails().len(), 1);
    invariants::check(&world).await;
}
