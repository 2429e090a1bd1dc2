//! The calls of functions by their triggers, and the items before each call.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures::FutureExt;
use futures::future::BoxFuture;
use local::mailbox::Fault;
use serde_json::{Value, json};
use shared::event::{self, Deadline};
use shared::store::keys::shard_of;

use crate::support::deployed::in_role;
use crate::support::fault_injection::WRITES;
use crate::support::harness::World;
use crate::support::outcome::Outcome;
use crate::support::usage_support::{advance_to, batch, ingest_records, record, roll_up};

/// The time of the setup.
const NOON: &str = "2096-03-15T12:00:00Z";
/// Each call is made so much later, when the mails of the setup are due.
const CALL_DELAY_S: i64 = 300;
/// Longer than the lease of a claimed mail.
pub const LEASE_END_S: i64 = 130;

/// A call of a function by its trigger, in which the function writes.
pub struct Trigger {
    pub function: &'static str,
    pub case: &'static str,
    /// Deadline of the call where every write fails: long enough for the function to begin its work.
    pub time: Duration,
    /// The responses to the first call and to a repeated one.
    pub responses: fn(&Setup) -> [Value; 2],
    event: fn(&Setup) -> Value,
    /// Whether the function sends mails.
    pub mails: bool,
}

/// Deadline that is long enough for every call.
pub const MINUTE: Duration = Duration::from_secs(60);
/// Deadline of the calls that do little.
const SHORT: Duration = Duration::from_millis(2500);

pub const TRIGGERS: &[Trigger] = &[
    Trigger {
        function: "mail-events",
        case: "sent, of a mail whose response was lost",
        time: SHORT,
        responses: |setup| {
            [
                delivery_response(&setup.queued, "sent"),
                delivery_response(&setup.queued, Value::Null),
            ]
        },
        event: |setup| delivery_event(&setup.queued, "Send"),
        mails: false,
    },
    Trigger {
        function: "mail-events",
        case: "delivered",
        time: SHORT,
        responses: |setup| {
            [
                delivery_response(&setup.sent, "delivered"),
                delivery_response(&setup.sent, Value::Null),
            ]
        },
        event: |setup| delivery_event(&setup.sent, "Delivery"),
        mails: false,
    },
    Trigger {
        function: "mail-events",
        case: "bounced",
        time: SHORT,
        responses: |setup| {
            [
                delivery_response(&setup.sent, "bounced"),
                delivery_response(&setup.sent, Value::Null),
            ]
        },
        event: |setup| {
            let mut event = delivery_event(&setup.sent, "Bounce");
            event["detail"]["bounce"] = json!({"bounceType": "Permanent", "bounceSubType": "General"});
            event
        },
        mails: false,
    },
    Trigger {
        function: "mail-events",
        case: "complained",
        time: SHORT,
        responses: |setup| {
            [
                delivery_response(&setup.sent, "complained"),
                delivery_response(&setup.sent, Value::Null),
            ]
        },
        event: |setup| delivery_event(&setup.sent, "Complaint"),
        mails: false,
    },
    Trigger {
        function: "mail-retry",
        case: "an invitation and a notice to two owners",
        time: Duration::from_secs(40),
        responses: |_| [2, 0].map(|sent| json!({"sent": sent, "queued": 0, "failed": 0})),
        event: |_| json!({}),
        mails: true,
    },
    Trigger {
        function: "usage-ingest",
        case: "records of two workspaces and two hours, one of them twice",
        time: Duration::from_secs(7),
        responses: |_| [(); 2].map(|()| json!({"batchItemFailures": []})),
        event: |setup| batch(&setup.records),
        mails: false,
    },
    Trigger {
        function: "usage-aggregator",
        case: "two months, and a limit that is used up",
        time: Duration::from_secs(55),
        responses: |_| [1, 0].map(|workspaces| json!({"workspaces": workspaces, "shards_left": []})),
        event: |setup| {
            let shard = shard_of(setup.workspace.parse().unwrap());
            json!({"source": "aws.scheduler", "shards": {"from": shard, "to": shard}})
        },
        mails: true,
    },
];

/// The response of `mail-events`: the new delivery status, or null if it did not change.
fn delivery_response(invitation: &str, status: impl Into<Value>) -> Value {
    json!({"invitation": invitation, "delivery": status.into()})
}

/// A delivery event of SES for the mail of an invitation.
fn delivery_event(invitation: &str, kind: &str) -> Value {
    json!({"detail": {"eventType": kind, "mail": {"tags": {"invitation": [invitation]}}}})
}

/// The items before each call. Ann and Olga own a workspace. The mail of one invitation was sent, that of another is
/// due, and so is a notice that 80 % of the limit is used. Usage that reaches 100 % of the limit is not rolled up yet.
pub struct Setup {
    items: Vec<HashMap<String, AttributeValue>>,
    workspace: String,
    /// The invitation whose mail was sent.
    sent: String,
    /// The invitation whose mail is due.
    queued: String,
    /// Records of two workspaces that are not ingested yet.
    records: Vec<String>,
}

impl Setup {
    pub async fn new() -> Self {
        let world = World::new().await;
        advance_to(&world, NOON);
        let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
        world.joins(&ann, "olga", "owner").await;
        let workspaces = [ann.workspace().await.id(), eve.workspace().await.id()];
        let [workspace, others] = &workspaces;
        let event = |count, moment| record(workspace, "location_event", count, moment);
        world.mailbox.set_fault(Some(Fault::too_many_requests()));
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

    /// A new world that contains exactly the items of the setup, at the time of the call.
    pub async fn world(&self) -> World {
        let world = World::new().await;
        advance_to(&world, NOON);
        world.pass(CALL_DELAY_S);
        for chunk in self.items.chunks(25) {
            let puts = chunk.iter().map(|item| {
                let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
                WriteRequest::builder().put_request(put).build()
            });
            let write = world.app.store.client().batch_write_item();
            let write = write.request_items(world.app.store.table(), puts.collect());
            let unprocessed = write.send().await.unwrap().unprocessed_items.unwrap_or_default();
            assert!(unprocessed.is_empty());
        }
        world
    }

    /// Calls a function as its trigger does. Returns the response or the error.
    pub async fn call(&self, trigger: &Trigger, world: &World, time: Duration) -> Result<Value, String> {
        let event = (trigger.event)(self).to_string();
        call(world, trigger.function, &event, time).await
    }

    /// The outcome of a call without faults, and the number of its writes.
    pub async fn outcome_without_faults(&self, trigger: &Trigger) -> (Outcome, usize) {
        let world = self.world().await;
        world.calls.forget();
        let response = self.call(trigger, &world, MINUTE).await;
        assert_eq!(response.as_ref(), Ok(&(trigger.responses)(self)[0]), "{}", trigger.case);
        let operations = world.calls.operations();
        let writes = operations.iter().filter(|name| WRITES.contains(&name.as_str())).count();
        assert!(writes > 0, "{} {} writes nothing", trigger.function, trigger.case);
        (Outcome::of(&world).await, writes)
    }
}

pub async fn call(world: &World, function: &'static str, event: &str, time: Duration) -> Result<Value, String> {
    let (app, deadline, event) = (world.app.clone(), Deadline::after(time), event.as_bytes());
    let calling: BoxFuture<'_, _> = match function {
        "mail-events" => event::call(mail_events::handle, app, event, deadline).boxed(),
        "mail-retry" => event::call(mail_retry::handle, app, event, deadline).boxed(),
        "usage-ingest" => event::call(usage_ingest::handle, app, event, deadline).boxed(),
        "usage-aggregator" => event::call(usage_aggregator::handle, app, event, deadline).boxed(),
        other => panic!("no trigger calls {other}"),
    };
    let response = in_role(function, calling).await.map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&response).unwrap())
}
