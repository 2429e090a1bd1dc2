//! The functions that no request calls, while the table fails them: whatever becomes of a write, the call does what it
//! would do without the fault; and where it cannot, it is called again and nothing is lost, nothing done twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use local::mailbox::Fault as MailFault;
use serde_json::{Value, json};
use shared::event::{self, Deadline};
use shared::store::keys::shard_of;

use crate::support::deployed::in_role;
use crate::support::fault_injection::{FOREVER, Fault, Loss, READS, Throttle, WRITES};
use crate::support::harness::World;
use crate::support::outcome::Outcome;
use crate::support::usage_support::{advance_to, batch, ingest_records, record, roll_up};

/// Cases that run at once: most of their time they wait.
const AT_ONCE: usize = 16;
/// How long after an answer a late write arrives at most.
const LATE_AT_MOST: Duration = Duration::from_millis(1500);
/// What the machine's slowness has beyond a call's deadline.
const SLOWNESS: Duration = Duration::from_millis(1500);
/// When the stage is set; each call is made five minutes later, when what is due is due.
const NOON: &str = "2096-03-15T12:00:00Z";
const LATER_S: i64 = 300;
/// After which nobody holds a mail any more.
const HOLDS_END_S: i64 = 130;

/// A call by a trigger that writes.
struct Trigger {
    function: &'static str,
    case: &'static str,
    /// What the call has where the table fails for good: enough for it to begin its work at all.
    time: Duration,
    /// What its answer is when all is well, and when it is called once more.
    answers: fn(&Stage) -> [Value; 2],
    event: fn(&Stage) -> Value,
    /// Whether it sends mails beside its writes.
    mails: bool,
}

/// Time enough for any call.
const MINUTE: Duration = Duration::from_secs(60);
const FEW_S: Duration = Duration::from_millis(2500);

const TRIGGERS: &[Trigger] = &[
    Trigger {
        function: "mail-events",
        case: "a mail was sent whose sender did not hear so",
        time: FEW_S,
        answers: |stage| [moved(&stage.queued, "sent"), moved(&stage.queued, Value::Null)],
        event: |stage| told(&stage.queued, "Send"),
        mails: false,
    },
    Trigger {
        function: "mail-events",
        case: "delivered",
        time: FEW_S,
        answers: |stage| [moved(&stage.sent, "delivered"), moved(&stage.sent, Value::Null)],
        event: |stage| told(&stage.sent, "Delivery"),
        mails: false,
    },
    Trigger {
        function: "mail-events",
        case: "bounced",
        time: FEW_S,
        answers: |stage| [moved(&stage.sent, "bounced"), moved(&stage.sent, Value::Null)],
        event: |stage| {
            let mut event = told(&stage.sent, "Bounce");
            event["detail"]["bounce"] = json!({"bounceType": "Permanent", "bounceSubType": "General"});
            event
        },
        mails: false,
    },
    Trigger {
        function: "mail-events",
        case: "called spam",
        time: FEW_S,
        answers: |stage| [moved(&stage.sent, "complained"), moved(&stage.sent, Value::Null)],
        event: |stage| told(&stage.sent, "Complaint"),
        mails: false,
    },
    Trigger {
        function: "mail-retry",
        case: "an invitation and a notice to two owners",
        time: Duration::from_secs(40),
        answers: |_| [2, 0].map(|sent| json!({"sent": sent, "queued": 0, "failed": 0})),
        event: |_| json!({}),
        mails: true,
    },
    Trigger {
        function: "usage-ingest",
        case: "records of two workspaces and two hours, one of them twice",
        time: Duration::from_secs(7),
        answers: |_| [(); 2].map(|()| json!({"batchItemFailures": []})),
        event: |stage| batch(&stage.records),
        mails: false,
    },
    Trigger {
        function: "usage-aggregator",
        case: "two months, and a limit that is used up",
        time: Duration::from_secs(55),
        answers: |_| [1, 0].map(|workspaces| json!({"workspaces": workspaces, "shards_left": []})),
        event: |stage| {
            let shard = shard_of(stage.workspace.parse().unwrap());
            json!({"source": "aws.scheduler", "shards": {"from": shard, "to": shard}})
        },
        mails: true,
    },
];

fn moved(invitation: &str, to: impl Into<Value>) -> Value {
    json!({"invitation": invitation, "delivery": to.into()})
}

/// What SES tells of an invitation's mail.
fn told(invitation: &str, kind: &str) -> Value {
    json!({"detail": {"eventType": kind, "mail": {"tags": {"invitation": [invitation]}}}})
}

/// What there is before each call. Ann and Olga own a workspace: one invitation's mail was sent, another's is due, as is a
/// notice that 80 % of their limit are used up, and news are there of more usage, with which it is all used up.
struct Stage {
    items: Vec<HashMap<String, AttributeValue>>,
    workspace: String,
    sent: String,
    queued: String,
    records: Vec<String>,
}

impl Stage {
    async fn set() -> Self {
        let world = World::new().await;
        advance_to(&world, NOON);
        let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
        world.joins(&ann, "olga", "owner").await;
        let workspaces = [ann.workspace().await.id(), eve.workspace().await.id()];
        let [workspace, others] = &workspaces;
        let event = |count, moment| record(workspace, "location_event", count, moment);
        world.mailbox.set_fault(Some(MailFault::too_many_requests()));
        ingest_records(&world, &[event(400_000, "2096-03-14T11:00:00Z")]).await;
        roll_up(&world, workspace).await;
        let queued = ann.invite("queued@example.com", "member").await.expect(201);
        world.mailbox.set_fault(None);
        let sent = ann.invite("sent@example.com", "member").await.expect(201);
        ingest_records(
            &world,
            &[event(100_000, "2096-03-15T11:00:00Z"), event(5, "2096-02-20T11:00:00Z")],
        )
        .await;
        let mut records = vec![
            event(1, "2096-03-15T10:10:00Z"),
            event(2, "2096-03-15T10:20:00Z"),
            record(workspace, "action_delivery", 3, "2096-03-15T11:10:00Z"),
            record(others, "location_event", 4, "2096-03-15T10:10:00Z"),
        ];
        records.push(records[0].clone());
        let scan = world.app.store.client().scan().table_name(world.app.store.table());
        let page = scan.consistent_read(true).send().await.unwrap();
        assert!(page.last_evaluated_key.is_none());
        Self {
            items: page.items.unwrap(),
            workspace: workspace.clone(),
            sent: sent.id(),
            queued: queued.id(),
            records: records.iter().map(Value::to_string).collect(),
        }
    }

    /// A world in which nothing but the stage is set.
    async fn world(&self) -> World {
        let world = World::new().await;
        advance_to(&world, NOON);
        world.pass(LATER_S);
        for some in self.items.chunks(25) {
            let puts = some.iter().map(|item| {
                let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
                WriteRequest::builder().put_request(put).build()
            });
            let write = world.app.store.client().batch_write_item();
            let write = write.request_items(world.app.store.table(), puts.collect());
            let left = write.send().await.unwrap().unprocessed_items.unwrap_or_default();
            assert!(left.is_empty());
        }
        world
    }

    /// Calls as the trigger does; what is answered, or why not.
    async fn call(&self, trigger: &Trigger, world: &World, time: Duration) -> Result<Value, String> {
        let event = (trigger.event)(self).to_string();
        call(world, trigger.function, &event, time).await
    }

    /// What a call comes to when nothing fails, and how many writes it makes.
    async fn healthy(&self, trigger: &Trigger) -> (Outcome, usize) {
        let world = self.world().await;
        world.calls.forget();
        let answer = self.call(trigger, &world, MINUTE).await;
        assert_eq!(answer.as_ref(), Ok(&(trigger.answers)(self)[0]), "{}", trigger.case);
        let operations = world.calls.operations();
        let writes = operations.iter().filter(|name| WRITES.contains(&name.as_str())).count();
        assert!(writes > 0, "{} {} writes nothing", trigger.function, trigger.case);
        (Outcome::of(&world).await, writes)
    }
}

async fn call(world: &World, function: &'static str, event: &str, time: Duration) -> Result<Value, String> {
    let (app, deadline, event) = (world.app.clone(), Deadline::after(time), event.as_bytes());
    let calling: BoxFuture<'_, _> = match function {
        "mail-events" => event::call(mail_events::handle, app, event, deadline).boxed(),
        "mail-retry" => event::call(mail_retry::handle, app, event, deadline).boxed(),
        "usage-ingest" => event::call(usage_ingest::handle, app, event, deadline).boxed(),
        "usage-aggregator" => event::call(usage_aggregator::handle, app, event, deadline).boxed(),
        other => panic!("no trigger calls {other}"),
    };
    let answer = in_role(function, calling).await.map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

/// Faults of tries that follow each other, each so many times.
type Faulty = &'static [(Fault, usize)];

/// Every trigger, with faults at every one of its writes: it answers and leaves behind what it would without the fault,
/// and when the trigger calls again, nothing changes.
async fn each_call_does_its_work_once(faults: &[Faulty]) {
    let stage = &Stage::set().await;
    let mut cases = Vec::new();
    for trigger in TRIGGERS {
        let (healthy, writes) = stage.healthy(trigger).await;
        let healthy = std::sync::Arc::new(healthy);
        for place in 0..writes {
            cases.extend(faults.iter().map(|faults| (trigger, healthy.clone(), place, *faults)));
        }
    }
    let count = cases.len();
    let broken: Vec<String> = stream::iter(cases)
        .map(|(trigger, healthy, place, faults)| async move {
            let case = format!("{} {}, write {place}, {faults:?}", trigger.function, trigger.case);
            let world = stage.world().await;
            for (fault, times) in faults {
                world.faults.after(place, WRITES, *times, *fault);
            }
            let answer = stage.call(trigger, &world, MINUTE).await;
            if faults[0].0 == Fault::Late {
                tokio::time::sleep(LATE_AT_MOST).await;
            }
            let suffered: BTreeMap<_, _> = faults.iter().map(|(fault, times)| (fault.name(), *times)).collect();
            assert_eq!(world.faults.injected(), suffered, "{case}");
            let [at_first, again] = (trigger.answers)(stage);
            if answer.as_ref() != Ok(&at_first) {
                return Some(format!("{case}: {answer:?}"));
            }
            if let Some(differs) = Outcome::of(&world).await.differs(&healthy) {
                return Some(format!("{case}: {differs}"));
            }
            world.pass(if trigger.mails { HOLDS_END_S } else { 1 });
            let answer = stage.call(trigger, &world, MINUTE).await;
            if answer.as_ref() != Ok(&again) {
                return Some(format!("{case}: once more: {answer:?}"));
            }
            let differs = Outcome::of(&world).await.differs(&healthy);
            differs.map(|differs| format!("{case}: once more: {differs}"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(broken.is_empty(), "{} of {count}:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_function_that_no_request_calls_has_a_trigger() {
    let with_routes: BTreeSet<&str> = local::functions::FUNCTIONS
        .iter()
        .map(|function| function.name)
        .collect();
    let others = local::functions::names().into_iter();
    let others: BTreeSet<&str> = others.filter(|name| !with_routes.contains(name)).collect();
    let triggered: BTreeSet<&str> = TRIGGERS.iter().map(|trigger| trigger.function).collect();
    assert_eq!(triggered, others);
}

#[tokio::test]
async fn a_write_that_the_table_refuses_for_a_moment_is_made_once() {
    each_call_does_its_work_once(&[
        &[(Fault::Refused, 1)],
        &[(Fault::Failed, 2)],
        &[(Fault::Conflict, 3)],
        &[(Fault::Throttled(Throttle::Service), 2)],
    ])
    .await;
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_made_once() {
    each_call_does_its_work_once(&[
        &[(Fault::Lost(Loss::Cut), 2)],
        // Refused then as often as would end the tries of a write that was never applied.
        &[(Fault::Lost(Loss::Failed), 1), (Fault::Conflict, 9)],
        &[(Fault::Lost(Loss::Garbage), 1), (Fault::Throttled(Throttle::Table), 9)],
    ])
    .await;
}

#[tokio::test]
async fn a_write_that_nobody_answers_in_time_is_made_once() {
    each_call_does_its_work_once(&[&[(Fault::Lost(Loss::TimedOut), 1)], &[(Fault::Late, 1)]]).await;
}

/// Whether an answer says to whoever called that not all is done, so that they call again, or all that they wait for is.
fn is_true(trigger: &Trigger, answer: &Result<Value, String>, outcome: &Outcome, healthy: &Outcome) -> bool {
    let usage_of = |outcome: &Outcome| -> BTreeMap<String, Value> {
        let mut items = outcome.items.clone();
        items.retain(|key, _| {
            ["USAGE#", "DIRTY#", "RUN#"]
                .iter()
                .any(|beginning| key.starts_with(beginning))
        });
        items
    };
    match (trigger.function, answer) {
        // What stays due is seen to by the next minute's call.
        (_, Err(_)) | ("mail-retry", Ok(_)) => true,
        ("usage-ingest", Ok(answer)) => answer["batchItemFailures"] != json!([]),
        // Usage waits for no mail.
        ("usage-aggregator", Ok(_)) => usage_of(outcome) == usage_of(healthy),
        // A write that nobody answered may be found to be made.
        _ => outcome.differs(healthy).is_none(),
    }
}

/// Mails that left once more than they should have, of invitations and of notices.
fn mails_too_many(outcome: &Outcome, healthy: &Outcome) -> [usize; 2] {
    let count = |outcome: &Outcome, is_notice| {
        let mails = outcome.mails.iter();
        mails.filter(|mail| mail.contains(" has used ") == is_notice).count()
    };
    [false, true].map(|is_notice| count(outcome, is_notice) - count(healthy, is_notice))
}

#[tokio::test]
async fn a_table_that_fails_for_good_is_told_of_in_time_and_a_later_call_makes_up_for_it() {
    let stage = &Stage::set().await;
    let faults = [Fault::Failed, Fault::Conflict, Fault::Lost(Loss::Failed)];
    let mut cases = Vec::new();
    for trigger in TRIGGERS {
        let (_, writes) = stage.healthy(trigger).await;
        let healthy = std::sync::Arc::new(made_up_for(stage, trigger, &stage.world().await).await);
        for place in 0..writes {
            cases.extend(faults.map(|fault| (trigger, healthy.clone(), place, fault)));
        }
    }
    let broken: Vec<String> = stream::iter(cases)
        .map(|(trigger, healthy, place, fault)| async move {
            let case = format!(
                "{} {}, {fault:?} for good from write {place} on",
                trigger.function, trigger.case
            );
            let world = stage.world().await;
            let before = world.dump().await;
            world.faults.after(place, WRITES, FOREVER, fault);
            let began = Instant::now();
            let answer = stage.call(trigger, &world, trigger.time).await;
            let took = began.elapsed();
            world.faults.stop();
            if took > trigger.time + SLOWNESS {
                return Some(format!("{case}: took {took:?}"));
            }
            let applied_none = !matches!(fault, Fault::Lost(_)) && place == 0;
            if applied_none && world.dump().await != before {
                return Some(format!("{case}: something was written"));
            }
            let outcome = Outcome::of(&world).await;
            if !is_true(trigger, &answer, &outcome, &healthy) {
                return Some(format!("{case}: nobody is told: {answer:?}"));
            }
            let mut outcome = made_up_for(stage, trigger, &world).await;
            // A mail that left, and of which nobody could record so, leaves once more: losing it would be worse.
            let too_many = mails_too_many(&outcome, &healthy);
            let at_most = usize::from(trigger.mails && place > 0);
            if too_many.iter().any(|too_many| *too_many > at_most) {
                return Some(format!("{case}: {:?}", outcome.mails));
            }
            outcome.mails.dedup();
            outcome.differs(&healthy).map(|differs| format!("{case}: {differs}"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What there is when the trigger has called again, and the minutes' calls have sent what is due.
async fn made_up_for(stage: &Stage, trigger: &Trigger, world: &World) -> Outcome {
    for _ in 0..2 {
        world.pass(HOLDS_END_S);
        stage.call(trigger, world, MINUTE).await.unwrap();
        if trigger.mails {
            world.pass(HOLDS_END_S);
            call(world, "mail-retry", "{}", MINUTE).await.unwrap();
        }
    }
    Outcome::of(world).await
}

#[tokio::test]
async fn who_cannot_read_the_table_says_so_and_writes_nothing() {
    let stage = &Stage::set().await;
    stream::iter(TRIGGERS)
        .map(|trigger| async move {
            let world = stage.world().await;
            let before = world.dump().await;
            world.faults.next(READS, FOREVER, Fault::Failed);
            let answer = stage.call(trigger, &world, trigger.time).await;
            assert!(answer.is_err(), "{} {}: {answer:?}", trigger.function, trigger.case);
            assert_eq!(world.dump().await, before, "{} {}", trigger.function, trigger.case);
            assert!(world.mailbox.mails().is_empty());
        })
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}
