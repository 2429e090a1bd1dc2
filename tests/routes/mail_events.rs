//! Function `mail-events`: delivery events of SES move the delivery status of an invitation's mail.

use std::time::Duration;

use futures::future::join_all;
use local::mailbox::Fault;
use serde_json::{Value, json};
use shared::event::{self, Deadline, EventError};
use shared::models::delivery::{Delivery, DeliveryStatus};

use crate::routes::mail_retry::{mails_to, newest_delivery, report, retry};
use crate::support::deployed::in_role;
use crate::support::harness::World;
use crate::support::invariants;

/// Calls `mail-events` with a raw event.
async fn deliver(world: &World, event: &Value) -> Result<Value, EventError> {
    let deadline = Deadline::after(Duration::from_secs(10));
    let event = event.to_string();
    let call = event::call(mail_events::handle, world.app.clone(), event.as_bytes(), deadline);
    let response = in_role("mail-events", Box::pin(call)).await?;
    Ok(serde_json::from_slice(&response).unwrap())
}

/// A delivery event of SES for the mail of an invitation.
fn event(kind: &str, invitation: &str) -> Value {
    json!({
        "version": "0", "id": "1", "detail-type": "Email", "source": "aws.ses", "account": "123456789012",
        "time": "2025-10-01T08:00:00Z", "region": "eu-central-1", "resources": [],
        "detail": {
            "eventType": kind,
            "mail": {
                "timestamp": "2025-10-01T08:00:00.000Z", "messageId": "1", "destination": ["bob@example.com"],
                "tags": {"ses:configuration-set": ["mail"], "invitation": [invitation]},
            },
        },
    })
}

fn bounce(kind: &str, invitation: &str) -> Value {
    let mut event = event("Bounce", invitation);
    event["detail"]["bounce"] = json!({"bounceType": kind, "bounceSubType": "General", "bouncedRecipients": []});
    event
}

#[tokio::test]
async fn a_delivery_event_completes_a_mail_whose_response_was_lost() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.mailbox.fault_next(1, Fault::Silence { accepted: true });
    let with_event = ann.invite("bob@example.com", "member").await.expect(201);
    assert_eq!(with_event.body["delivery"]["status"], "queued");
    let response = deliver(&world, &event("Send", &with_event.id())).await.unwrap();
    assert_eq!(response, json!({"invitation": with_event.id(), "delivery": "sent"}));
    world.pass(61);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    assert_eq!(mails_to(&world, "bob@example.com"), 1);

    // No event arrives for this mail: it may be sent twice, with the same link.
    world.mailbox.fault_next(1, Fault::Silence { accepted: true });
    let without_event = ann.invite("cid@example.com", "member").await.expect(201);
    world.pass(61);
    assert_eq!(retry(&world).await, report(1, 0, 0));
    world.pass(3600);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    let link = without_event.body["invite_link"].as_str().unwrap();
    let mails = world.mailbox.mails();
    let copies: Vec<_> = mails.iter().filter(|mail| mail.to == "cid@example.com").collect();
    assert_eq!(copies.len(), 2);
    assert!(copies.iter().all(|mail| mail.text.contains(link)));
    invariants::check(&world).await;
}

#[tokio::test]
async fn the_delivery_status_only_moves_forward() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite("bob@example.com", "member").await.expect(201);
    let id = issued.id();
    let steps = [
        (event("Send", &id), None, "sent"),
        (bounce("Transient", &id), Some("sent"), "sent"),
        (bounce("Transient", &id), None, "sent"),
        (event("Delivery", &id), Some("delivered"), "delivered"),
        (event("Delivery", &id), None, "delivered"),
        (event("Send", &id), None, "delivered"),
        (bounce("Undetermined", &id), None, "delivered"),
        (event("Reject", &id), None, "delivered"),
        (event("Complaint", &id), Some("complained"), "complained"),
        (bounce("Permanent", &id), None, "complained"),
        (event("Delivery", &id), None, "complained"),
    ];
    for (number, (event, moved, status)) in steps.into_iter().enumerate() {
        let response = deliver(&world, &event).await.unwrap();
        assert_eq!(response["delivery"], json!(moved), "step {number}");
        assert_eq!(newest_delivery(&ann).await.0, status, "step {number}");
    }
    assert!(newest_delivery(&ann).await.1.unwrap().contains("spam"));
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_bounce_that_arrives_before_the_status_sent_is_kept() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.mailbox.fault_next(1, Fault::Silence { accepted: true });
    let issued = ann.invite("bob@example.com", "member").await.expect(201);
    let response = deliver(&world, &bounce("Permanent", &issued.id())).await.unwrap();
    assert_eq!(response["delivery"], "bounced");
    let page = world
        .app
        .store
        .unproven()
        .due_page(world.app.now().plus(Duration::from_secs(3600)), None);
    assert!(page.await.unwrap().entries.is_empty(), "the mail is not due any more");
    let workspace = ann.workspace().await.id().parse().unwrap();
    let sent = Delivery {
        status: DeliveryStatus::Sent,
        ..Delivery::queued(world.app.now())
    };
    let id = issued.id().parse().unwrap();
    let store = &world.app.store;
    let recorded = store
        .unproven()
        .invitation_delivery_record(workspace, id, world.app.now(), &sent, None)
        .await;
    assert_eq!(recorded.unwrap().unwrap().status, DeliveryStatus::Bounced);
    let (status, reason) = newest_delivery(&ann).await;
    assert_eq!(status, "bounced");
    assert!(reason.unwrap().contains("refused the mail for good"));
    world.pass(3600);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    invariants::check(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_events_leave_the_furthest_status() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite("bob@example.com", "member").await.expect(201);
    let id = issued.id();
    let events = [event("Send", &id), event("Delivery", &id), event("Complaint", &id)];
    let responses = join_all(events.iter().cycle().take(12).map(|event| deliver(&world, event))).await;
    let complaints = responses
        .into_iter()
        .filter(|response| response.as_ref().unwrap()["delivery"] == "complained");
    assert_eq!(complaints.count(), 1);
    assert_eq!(newest_delivery(&ann).await.0, "complained");
}

#[tokio::test]
async fn an_event_for_an_ended_or_unknown_invitation_changes_nothing() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite("bob@example.com", "member").await.expect(201);
    ann.cancel(&issued.id()).await.expect(200);
    let unknown = uuid::Uuid::from_bytes(shared::ids::random_bytes()).to_string();
    let mut untagged = event("Delivery", &unknown);
    untagged["detail"]["mail"]["tags"] = json!({});
    let mut bare = event("Delivery", &unknown);
    bare["detail"]["mail"] = json!({});
    let before = world.dump().await;
    for event in [
        event("Delivery", &issued.id()),
        bounce("Permanent", &issued.id()),
        event("Delivery", &unknown),
        event("Delivery", "no id"),
        event("Open", &issued.id()),
        untagged,
        bare,
    ] {
        let response = deliver(&world, &event).await.unwrap();
        assert_eq!(response["delivery"], Value::Null, "{event}");
    }
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn a_malformed_event_is_refused() {
    let world = World::new().await;
    let mut without_bounce = bounce("Permanent", "1");
    without_bounce["detail"]["bounce"] = Value::Null;
    let mut without_mail = event("Delivery", "1");
    without_mail["detail"]["mail"] = Value::Null;
    for event in [
        json!({}),
        json!([]),
        json!({"detail": {}}),
        json!(7),
        without_bounce,
        without_mail,
    ] {
        let refused = deliver(&world, &event).await;
        assert!(matches!(refused, Err(EventError::Malformed(_))), "{event}: {refused:?}");
    }
    let deadline = Deadline::after(Duration::from_secs(60));
    for event in [&b"[]"[..], b"7", b""] {
        let refused = event::call(mail_retry::handle, world.app.clone(), event, deadline).await;
        assert!(matches!(refused, Err(EventError::Malformed(_))), "{event:?}");
    }
}
