//! The functions that triggers call, while writes fail: a call takes effect as without the fault, or reports that its
//! work is incomplete, and later calls complete the work. Nothing is lost or done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use shared::event::{self, Deadline};

use crate::faults::trigger_calls::{LEASE_END_S, MINUTE, Setup, TRIGGERS, Trigger, call};
use crate::faults::{CONCURRENT_CASES, LATE_AT_MOST};
use crate::support::fault_injection::{FOREVER, Fault, Loss, READS, Throttle, WRITES};
use crate::support::harness::World;
use crate::support::invariants;
use crate::support::outcome::Outcome;
use crate::support::usage_support;

/// How much later than its deadline a call may end on a slow machine.
const TOLERANCE: Duration = Duration::from_millis(1500);

/// Faults of consecutive attempts: each fault with its number of attempts.
type FaultSequence = &'static [(Fault, usize)];

/// Makes every call with faults at each of its writes. Asserts that response and outcome are those without faults, and
/// that a repeated call changes nothing.
async fn assert_each_call_takes_effect_once(faults: &[FaultSequence]) {
    let setup = &Setup::new().await;
    let mut cases = Vec::new();
    for trigger in TRIGGERS {
        let (expected, writes) = setup.outcome_without_faults(trigger).await;
        let expected = std::sync::Arc::new(expected);
        for write in 0..writes {
            cases.extend(faults.iter().map(|faults| (trigger, expected.clone(), write, *faults)));
        }
    }
    let count = cases.len();
    let broken: Vec<String> = stream::iter(cases)
        .map(|(trigger, expected, write, faults)| async move {
            let case = format!("{} {}, write {write}, {faults:?}", trigger.function, trigger.case);
            let world = setup.world().await;
            for (fault, times) in faults {
                world.faults.after(write, WRITES, *times, *fault);
            }
            let response = setup.call(trigger, &world, MINUTE).await;
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
            let [first, repeated] = (trigger.responses)(setup);
            if response.as_ref() != Ok(&first) {
                return Some(format!("{case}: {response:?}"));
            }
            if let Some(difference) = Outcome::of(&world).await.differs(&expected) {
                return Some(format!("{case}: {difference}"));
            }
            world.pass(if trigger.mails { LEASE_END_S } else { 1 });
            let response = setup.call(trigger, &world, MINUTE).await;
            if response.as_ref() != Ok(&repeated) {
                return Some(format!("{case}: repeated: {response:?}"));
            }
            let difference = Outcome::of(&world).await.differs(&expected);
            difference.map(|difference| format!("{case}: repeated: {difference}"))
        })
        .buffer_unordered(CONCURRENT_CASES)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(broken.is_empty(), "{} of {count}:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_function_without_routes_is_tested() {
    let with_routes: BTreeSet<&str> = local::functions::FUNCTIONS
        .iter()
        .map(|function| function.name)
        .collect();
    let names = local::functions::names().into_iter();
    let without_routes: BTreeSet<&str> = names.filter(|name| !with_routes.contains(name)).collect();
    let tested: BTreeSet<&str> = TRIGGERS.iter().map(|trigger| trigger.function).collect();
    assert_eq!(tested, without_routes);
}

#[tokio::test]
async fn a_write_that_dynamodb_refuses_temporarily_is_applied_once() {
    assert_each_call_takes_effect_once(&[
        &[(Fault::Refused, 1)],
        &[(Fault::Failed, 2)],
        &[(Fault::Conflict, 3)],
        &[(Fault::Throttled(Throttle::Service), 2)],
    ])
    .await;
}

#[tokio::test]
async fn a_write_whose_response_is_lost_is_applied_once() {
    assert_each_call_takes_effect_once(&[
        &[(Fault::Lost(Loss::Cut), 2)],
        // After the lost response, more refusals than a write gets that was not applied.
        &[(Fault::Lost(Loss::Failed), 1), (Fault::Conflict, 9)],
        &[(Fault::Lost(Loss::Garbage), 1), (Fault::Throttled(Throttle::Table), 9)],
    ])
    .await;
}

#[tokio::test]
async fn a_write_without_a_response_in_time_is_applied_once() {
    assert_each_call_takes_effect_once(&[&[(Fault::Lost(Loss::TimedOut), 1)], &[(Fault::Late, 1)]]).await;
}

/// Whether a response is true: it reports incomplete work, so that the trigger calls again, or the work is complete.
fn is_true(trigger: &Trigger, response: &Result<Value, String>, outcome: &Outcome, expected: &Outcome) -> bool {
    let usage_of = |outcome: &Outcome| -> BTreeMap<String, Value> {
        let mut items = outcome.items.clone();
        items.retain(|key, _| {
            ["USAGE#", "DIRTY#", "RUN#"]
                .iter()
                .any(|beginning| key.starts_with(beginning))
        });
        items
    };
    match (trigger.function, response) {
        // The call of the next minute sends what is still due.
        (_, Err(_)) | ("mail-retry", Ok(_)) => true,
        ("usage-ingest", Ok(response)) => response["batchItemFailures"] != json!([]),
        // The roll-up does not depend on mails.
        ("usage-aggregator", Ok(_)) => usage_of(outcome) == usage_of(expected),
        // A read back may show that a write without a response was applied.
        _ => outcome.differs(expected).is_none(),
    }
}

/// The number of mails above the expected number, of invitations and of notices.
fn excess_mails(outcome: &Outcome, expected: &Outcome) -> [usize; 2] {
    let count = |outcome: &Outcome, is_notice| {
        let mails = outcome.mails.iter();
        mails.filter(|mail| mail.contains(" has used ") == is_notice).count()
    };
    [false, true].map(|is_notice| count(outcome, is_notice) - count(expected, is_notice))
}

#[tokio::test]
async fn a_call_ends_with_a_true_response_if_writes_keep_failing_and_later_calls_complete_the_work() {
    let setup = &Setup::new().await;
    let faults = [Fault::Failed, Fault::Conflict, Fault::Lost(Loss::Failed)];
    let mut cases = Vec::new();
    for trigger in TRIGGERS {
        let (_, writes) = setup.outcome_without_faults(trigger).await;
        let expected = std::sync::Arc::new(after_later_calls(setup, trigger, &setup.world().await).await);
        for write in 0..writes {
            cases.extend(faults.map(|fault| (trigger, expected.clone(), write, fault)));
        }
    }
    let broken: Vec<String> = stream::iter(cases)
        .map(|(trigger, expected, write, fault)| async move {
            let case = format!(
                "{} {}, {fault:?} forever from write {write} on",
                trigger.function, trigger.case
            );
            let world = setup.world().await;
            let before = world.dump().await;
            world.faults.after(write, WRITES, FOREVER, fault);
            let began = Instant::now();
            let response = setup.call(trigger, &world, trigger.time).await;
            let took = began.elapsed();
            world.faults.stop();
            if took > trigger.time + TOLERANCE {
                return Some(format!("{case}: took {took:?}"));
            }
            let applied_none = !matches!(fault, Fault::Lost(_)) && write == 0;
            if applied_none && world.dump().await != before {
                return Some(format!("{case}: something was written"));
            }
            let outcome = Outcome::of(&world).await;
            if !is_true(trigger, &response, &outcome, &expected) {
                return Some(format!("{case}: the response hides incomplete work: {response:?}"));
            }
            let mut outcome = after_later_calls(setup, trigger, &world).await;
            // A mail that was sent and not recorded as sent is sent again. To lose a mail would be worse.
            let excess = excess_mails(&outcome, &expected);
            let permitted = usize::from(trigger.mails && write > 0);
            if excess.iter().any(|excess| *excess > permitted) {
                return Some(format!("{case}: {:?}", outcome.mails));
            }
            outcome.mails.dedup();
            let difference = outcome.differs(&expected);
            difference.map(|difference| format!("{case}: {difference}"))
        })
        .buffer_unordered(CONCURRENT_CASES)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The outcome after two later calls, each followed by a run of `mail-retry` if the function sends mails.
async fn after_later_calls(setup: &Setup, trigger: &Trigger, world: &World) -> Outcome {
    for _ in 0..2 {
        world.pass(LEASE_END_S);
        setup.call(trigger, world, MINUTE).await.unwrap();
        if trigger.mails {
            world.pass(LEASE_END_S);
            call(world, "mail-retry", "{}", MINUTE).await.unwrap();
        }
    }
    Outcome::of(world).await
}

#[tokio::test]
async fn a_call_fails_and_writes_nothing_if_reads_fail() {
    let setup = &Setup::new().await;
    stream::iter(TRIGGERS)
        .map(|trigger| async move {
            let world = setup.world().await;
            let before = world.dump().await;
            world.faults.next(READS, FOREVER, Fault::Failed);
            let response = setup.call(trigger, &world, trigger.time).await;
            assert!(response.is_err(), "{} {}: {response:?}", trigger.function, trigger.case);
            assert_eq!(world.dump().await, before, "{} {}", trigger.function, trigger.case);
            assert!(world.mailbox.mails().is_empty());
        })
        .buffer_unordered(CONCURRENT_CASES)
        .collect::<()>()
        .await;
}

#[tokio::test]
async fn a_due_mail_is_sent_once_though_its_writes_fail() {
    let cases = (0..2).flat_map(|write| [Loss::Failed, Loss::Cut].map(|loss| (write, Fault::Lost(loss))));
    for (write, fault) in cases.chain([(0, Fault::Conflict), (1, Fault::Failed)]) {
        let world = World::new().await;
        let ann = world.owner("ann").await;
        world.mailbox.fault_next(1, local::mailbox::Fault::internal_failure());
        ann.invite("bob@example.com", "member").await.expect(201);
        world.pass(61);
        world.faults.after(write, WRITES, 3, fault);
        let call = event::call(mail_retry::handle, world.app.clone(), b"{}", Deadline::after(MINUTE));
        let report: Value = serde_json::from_slice(&call.await.unwrap()).unwrap();
        assert_eq!(report["sent"], 1, "write {write}, {fault:?}: {report}");
        assert_eq!(world.faults.injected(), BTreeMap::from([(fault.name(), 3)]));
        assert_eq!(world.mailbox.mails().len(), 1);
        let listed = ann.invitations().await.expect(200);
        assert_eq!(listed.body["invitations"][0]["delivery"]["status"], "sent");
        invariants::check(&world).await;
    }
}

#[tokio::test]
async fn usage_counts_once_though_its_writes_fail_and_no_message_of_a_counted_record_fails() {
    let faults = [
        (Fault::Refused, 1),
        (Fault::Failed, 2),
        (Fault::Conflict, 3),
        (Fault::InProgress, 3),
        (Fault::Lost(Loss::Failed), 2),
        (Fault::Lost(Loss::Cut), 1),
        (Fault::Lost(Loss::TimedOut), 1),
        (Fault::Late, 1),
        (Fault::Throttled(Throttle::Table), 3),
    ];
    stream::iter(faults)
        .map(|(fault, times)| async move {
            let world = World::new().await;
            let ann = world.owner("ann").await;
            let workspace = ann.workspace().await.id();
            let now = world.clock.now().to_string();
            let records: Vec<Value> = (0..5)
                .map(|_| usage_support::record(&workspace, "location_event", 1, &now))
                .collect();
            world.faults.next(WRITES, times, fault);
            usage_support::ingest_records(&world, &records).await;
            tokio::time::sleep(if fault == Fault::Late {
                LATE_AT_MOST
            } else {
                Duration::ZERO
            })
            .await;
            world.faults.next(WRITES, times, fault);
            usage_support::roll_up(&world, &workspace).await;
            tokio::time::sleep(if fault == Fault::Late {
                LATE_AT_MOST
            } else {
                Duration::ZERO
            })
            .await;
            assert_eq!(world.faults.injected()[fault.name()], 2 * times);
            let usage = usage_support::usage_of(&ann).await;
            assert_eq!(usage["location_events"], 5, "{fault:?}: {usage}");
            assert_eq!(usage["month"]["location_events"], 5, "{fault:?}: {usage}");
            invariants::check(&world).await;
        })
        .buffer_unordered(CONCURRENT_CASES)
        .collect::<()>()
        .await;
}
