//! Mails of invitations: sent again until they leave, never twice, never for an invitation that ended, and told of as
//! the mail service tells it.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use local::mailbox::Fault;
use serde_json::{Value, json};
use shared::app::{App, RequiredSecrets};
use shared::config::{Config, SecretSource};
use shared::event::{self, Deadline, EventError};
use shared::models::delivery::{Delivery, DeliveryStatus};
use shared::secret::Secret;

use crate::support::deployed::in_role;
use crate::support::harness::{ApiResponse, PASSWORD, Person, World, proof};
use crate::support::invariants;

/// Calls `mail-retry` as its schedule does.
async fn retry(world: &World) -> Value {
    let deadline = Deadline::after(Duration::from_secs(60));
    let call = event::call(mail_retry::handle, world.app.clone(), b"{}", deadline);
    let answer = in_role("mail-retry", call).await;
    serde_json::from_slice(&answer.unwrap()).unwrap()
}

/// Calls `mail-events` with a raw event.
async fn tell(world: &World, event: &Value) -> Result<Value, EventError> {
    let deadline = Deadline::after(Duration::from_secs(10));
    let event = event.to_string();
    let call = event::call(mail_events::handle, world.app.clone(), event.as_bytes(), deadline);
    let answer = in_role("mail-events", Box::pin(call)).await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

/// An event of SES about the mail of an invitation.
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

fn report(sent: usize, queued: usize, failed: usize) -> Value {
    json!({"sent": sent, "queued": queued, "failed": failed})
}

/// The fate of the mail of the newest invitation, as the list shows it.
async fn shown(person: &Person<'_>) -> (String, Option<String>) {
    let list = person.invitations().await.expect(200);
    let delivery = &list.body["invitations"][0]["delivery"];
    let text = |name: &str| delivery[name].as_str().map(str::to_owned);
    (text("status").unwrap(), text("reason"))
}

fn mails_to(world: &World, address: &str) -> usize {
    world.mailbox.mails().iter().filter(|mail| mail.to == address).count()
}

/// An invitation of `email` that the mail service did not take.
async fn queued(person: &Person<'_>, email: &str) -> ApiResponse {
    person.world.mailbox.fault_next(1, Fault::internal_failure());
    let issued = person.invite(email, "member").await.expect(201);
    assert_eq!(issued.body["delivery"]["status"], "queued");
    issued
}

#[tokio::test]
async fn a_mail_that_did_not_leave_is_sent_later_once_with_the_same_link() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = queued(&ann, "bob@example.com").await;
    assert_eq!(mails_to(&world, "bob@example.com"), 0);
    assert_eq!(retry(&world).await, report(0, 0, 0), "it is not due yet");
    world.pass(61);
    assert_eq!(retry(&world).await, report(1, 0, 0));
    assert_eq!(shown(&ann).await, ("sent".to_owned(), None));
    for _ in 0..3 {
        world.pass(3600);
        assert_eq!(retry(&world).await, report(0, 0, 0));
    }
    assert_eq!(mails_to(&world, "bob@example.com"), 1);
    let mail = world.mailbox.latest_to("bob@example.com").unwrap();
    let link = issued.body["invite_link"].as_str().unwrap();
    assert!(mail.text.contains(link), "{}", mail.text);
    assert_eq!(mail.tags["invitation"], issued.id());
    invariants::check(&world).await;
    let bob = world.stranger("bob");
    bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test]
async fn waits_grow_and_end_after_a_day() {
    let world = World::new().await;
    let mut ann = world.owner("ann").await;
    world.mailbox.set_fault(Fault::too_many_requests());
    ann.invite("bob@example.com", "member").await.expect(201);
    world.pass(61);
    assert_eq!(retry(&world).await, report(0, 1, 0));
    assert_eq!(retry(&world).await, report(0, 0, 0));
    world.pass(30);
    assert_eq!(
        retry(&world).await,
        report(0, 0, 0),
        "it waits as long as it has waited"
    );
    world.pass(60);
    assert_eq!(retry(&world).await, report(0, 1, 0));
    world.pass(60);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    world.pass(23 * 3600);
    assert_eq!(retry(&world).await, report(0, 1, 0));
    world.pass(40 * 60);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    world.pass(3600);
    assert_eq!(retry(&world).await, report(0, 0, 1));
    ann.log_in().await;
    let (status, reason) = shown(&ann).await;
    assert_eq!(status, "failed");
    assert!(reason.unwrap().contains("24 hours"));
    world.mailbox.set_fault(None);
    world.pass(24 * 3600);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    assert!(world.mailbox.mails().is_empty());
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_mail_that_the_service_finds_unfit_is_given_up_at_once() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    queued(&ann, "bob@example.com").await;
    world.pass(61);
    world.mailbox.set_fault(Fault::message_rejected());
    assert_eq!(retry(&world).await, report(0, 0, 1));
    let (status, reason) = shown(&ann).await;
    assert_eq!(status, "failed");
    assert!(reason.is_some());
    invariants::check(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_at_once_send_each_mail_once() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for number in 0..8 {
        queued(&ann, &format!("guest{number}@example.com")).await;
    }
    world.pass(61);
    let reports = join_all((0..4).map(|_| retry(&world))).await;
    let sent: u64 = reports.iter().map(|report| report["sent"].as_u64().unwrap()).sum();
    assert_eq!(sent, 8, "{reports:?}");
    for number in 0..8 {
        assert_eq!(mails_to(&world, &format!("guest{number}@example.com")), 1);
    }
    assert_eq!(world.mailbox.attempts(), 16);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_mail_whose_sender_died_is_sent_when_its_hold_ends() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    queued(&ann, "bob@example.com").await;
    world.pass(61);
    let page = world
        .app
        .store
        .unproven()
        .due_page(world.app.now(), None)
        .await
        .unwrap();
    let [due] = page.entries.as_slice() else {
        panic!("one mail is due: {page:?}");
    };
    let (workspace, id) = due.key.as_pending().unwrap();
    let held_until = world.app.now().plus(Duration::from_secs(120));
    let claim = async || {
        let store = &world.app.store;
        store
            .unproven()
            .invitation_mail_claim(workspace, id, &due.index_key, held_until)
            .await
            .unwrap()
    };
    assert!(claim().await.is_some());
    assert!(claim().await.is_none(), "what was read is old: somebody holds it");
    world.pass(100);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    world.pass(21);
    assert_eq!(retry(&world).await, report(1, 0, 0));
    // The first holder was not dead but slow. It cannot put back what is done.
    let late = Delivery::queued(world.app.now());
    let again = Some(world.app.now());
    let stands = world
        .app
        .store
        .unproven()
        .invitation_delivery_record(workspace, id, held_until, &late, again);
    assert_eq!(stands.await.unwrap().unwrap().status, DeliveryStatus::Sent);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    assert_eq!(mails_to(&world, "bob@example.com"), 1);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_lost_answer_is_made_good_by_the_service_s_own_word() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.mailbox.fault_next(1, Fault::Silence { accepted: true });
    let told = ann.invite("bob@example.com", "member").await.expect(201);
    assert_eq!(told.body["delivery"]["status"], "queued");
    let answer = tell(&world, &event("Send", &told.id())).await.unwrap();
    assert_eq!(answer, json!({"invitation": told.id(), "delivery": "sent"}));
    world.pass(61);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    assert_eq!(mails_to(&world, "bob@example.com"), 1);

    // Nobody tells of this one: it may be sent twice, with one link.
    world.mailbox.fault_next(1, Fault::Silence { accepted: true });
    let untold = ann.invite("cid@example.com", "member").await.expect(201);
    world.pass(61);
    assert_eq!(retry(&world).await, report(1, 0, 0));
    world.pass(3600);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    let link = untold.body["invite_link"].as_str().unwrap();
    let mails = world.mailbox.mails();
    let copies: Vec<_> = mails.iter().filter(|mail| mail.to == "cid@example.com").collect();
    assert_eq!(copies.len(), 2);
    assert!(copies.iter().all(|mail| mail.text.contains(link)));
    invariants::check(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_silent_mail_service_keeps_nobody_waiting_and_is_asked_by_one_at_a_time() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.mailbox.set_fault(Some(Fault::Silence { accepted: false }));
    // Within the 10 s that the function may run.
    let in_time = Duration::from_secs(9);
    let mut started = Instant::now();
    let first = ann.invite("bob@example.com", "member").await.expect(201);
    assert!(started.elapsed() < in_time, "{:?}", started.elapsed());
    started = Instant::now();
    let issued = ann.resend(&first.id()).await.expect(200);
    assert!(started.elapsed() < in_time, "{:?}", started.elapsed());
    for answer in [&first, &issued] {
        let delivery = &answer.body["delivery"];
        assert_eq!(delivery["status"], "queued");
        assert_eq!(delivery["reason"], "The mail service did not take the mail.");
    }
    assert_eq!(world.mailbox.attempts(), 2);

    world.pass(61);
    let (one, other) = futures::join!(retry(&world), retry(&world));
    let queued: u64 = [&one, &other]
        .iter()
        .map(|report| report["queued"].as_u64().unwrap())
        .sum();
    assert_eq!((queued, world.mailbox.attempts()), (1, 3), "{one} {other}");
    assert_eq!(shown(&ann).await.0, "queued");
    assert_eq!(retry(&world).await, report(0, 0, 0), "it waits");
    invariants::check(&world).await;

    world.mailbox.set_fault(None);
    world.pass(121);
    let (one, other) = futures::join!(retry(&world), retry(&world));
    let sent: u64 = [&one, &other]
        .iter()
        .map(|report| report["sent"].as_u64().unwrap())
        .sum();
    assert_eq!((sent, mails_to(&world, "bob@example.com")), (1, 1), "{one} {other}");
    let mail = world.mailbox.latest_to("bob@example.com").unwrap();
    assert!(mail.text.contains(issued.body["invite_link"].as_str().unwrap()));
    assert_eq!(shown(&ann).await, ("sent".to_owned(), None));
    invariants::check(&world).await;
}

#[tokio::test]
async fn what_ended_is_never_mailed() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let cancelled = queued(&ann, "cancelled@example.com").await;
    ann.cancel(&cancelled.id()).await.expect(200);
    let declined = queued(&ann, "declined@example.com").await;
    world.stranger("declined").decline(&declined).await.expect(200);
    let accepted = queued(&ann, "accepted@example.com").await;
    let guest = world.stranger("accepted");
    guest.accept(&accepted, json!({"password": PASSWORD})).await.expect(200);
    let resent = queued(&ann, "resent@example.com").await;
    ann.resend(&resent.id()).await.expect(200);
    world.pass(61);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    for email in ["cancelled", "declined", "accepted"] {
        assert_eq!(mails_to(&world, &format!("{email}@example.com")), 0, "{email}");
    }
    assert_eq!(mails_to(&world, "resent@example.com"), 1);
    let token = proof(&resent, json!({}))["token"].as_str().unwrap().to_owned();
    assert!(world.mailbox.mails().iter().all(|mail| !mail.text.contains(&token)));
    invariants::check(&world).await;
}

#[tokio::test]
async fn what_died_otherwise_is_given_up() {
    let world = World::new().await;
    let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
    let bea = world.joins(&ann, "bea", "manager").await;
    world.mailbox.clear();
    // Its inviter may invite no more.
    queued(&bea, "bob@example.com").await;
    ann.change_role(&bea.id, "member").await.expect(200);
    world.pass(61);
    assert_eq!(retry(&world).await, report(0, 0, 1));
    assert_eq!(shown(&ann).await.0, "failed");
    // It expired while the mail service was down.
    let late = queued(&ann, "late@example.com").await;
    world.pass(169 * 3600);
    assert_eq!(retry(&world).await, report(0, 0, 1));
    let mut ann = ann;
    ann.log_in().await;
    let now = world.app.now().plus(Duration::from_secs(3600)).to_string();
    let revived = ann.extend(&late.id(), &now).await.expect(200);
    assert_eq!(revived.body["delivery"]["status"], "failed");
    assert!(revived.body["delivery"]["reason"].as_str().unwrap().contains("expired"));
    // Its workspace is gone.
    let mut eve = eve;
    eve.log_in().await;
    queued(&eve, "cid@example.com").await;
    eve.delete("/workspaces/").await.expect(200);
    world.pass(61);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    assert!(world.mailbox.mails().is_empty());
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_link_that_would_not_open_is_never_mailed() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    queued(&ann, "bob@example.com").await;
    world.pass(61);
    let config = Config {
        invitation_secret: Some(SecretSource::Value(Secret::new("another key"))),
        ..(*world.app.config).clone()
    };
    let app = App::start(config, world.clock.clone(), RequiredSecrets::INVITATION, None).await;
    let deadline = Deadline::after(Duration::from_secs(60));
    let answer = event::call(mail_retry::handle, app.unwrap(), b"{}", deadline).await;
    let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    assert_eq!(answer, report(0, 0, 1));
    assert!(shown(&ann).await.1.unwrap().contains("Send it again"));
    assert!(world.mailbox.mails().is_empty());
    invariants::check(&world).await;
}

#[tokio::test]
async fn an_entry_of_another_kind_keeps_no_mail_waiting() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    queued(&ann, "bob@example.com").await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = world.app.store.client().put_item().table_name(world.app.store.table());
    put.item("pk", text("OTHER"))
        .item("sk", text("OTHER"))
        .item("gsi1pk", text("DUE"))
        .item("gsi1sk", text("2000-01-01T00:00:00.000Z"))
        .send()
        .await
        .unwrap();
    world.pass(61);
    assert_eq!(retry(&world).await, report(1, 0, 0));
}

#[tokio::test]
async fn a_run_without_time_left_leaves_everything_as_it_is() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    queued(&ann, "bob@example.com").await;
    world.pass(61);
    let before = world.dump().await;
    let late = Deadline::after(Duration::from_secs(20));
    let answer = event::call(mail_retry::handle, world.app.clone(), b"{}", late).await;
    let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    assert_eq!(answer, report(0, 0, 0));
    assert_eq!(world.dump().await, before);
    assert_eq!(retry(&world).await, report(1, 0, 0));
}

#[tokio::test]
async fn the_fate_of_a_mail_only_moves_forward() {
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
        let answer = tell(&world, &event).await.unwrap();
        assert_eq!(answer["delivery"], json!(moved), "step {number}");
        assert_eq!(shown(&ann).await.0, status, "step {number}");
    }
    assert!(shown(&ann).await.1.unwrap().contains("spam"));
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_bounce_before_the_sent_mark_stays() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.mailbox.fault_next(1, Fault::Silence { accepted: true });
    let issued = ann.invite("bob@example.com", "member").await.expect(201);
    let answer = tell(&world, &bounce("Permanent", &issued.id())).await.unwrap();
    assert_eq!(answer["delivery"], "bounced");
    let page = world
        .app
        .store
        .unproven()
        .due_page(world.app.now().plus(Duration::from_secs(3600)), None);
    assert!(page.await.unwrap().entries.is_empty(), "it is due no more");
    let workspace = ann.workspace().await.id().parse().unwrap();
    let sent = Delivery {
        status: DeliveryStatus::Sent,
        ..Delivery::queued(world.app.now())
    };
    let id = issued.id().parse().unwrap();
    let store = &world.app.store;
    let marked = store
        .unproven()
        .invitation_delivery_record(workspace, id, world.app.now(), &sent, None)
        .await;
    assert_eq!(marked.unwrap().unwrap().status, DeliveryStatus::Bounced);
    let (status, reason) = shown(&ann).await;
    assert_eq!(status, "bounced");
    assert!(reason.unwrap().contains("refused the mail for good"));
    world.pass(3600);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    invariants::check(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_at_once_end_with_the_furthest() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite("bob@example.com", "member").await.expect(201);
    let id = issued.id();
    let events = [event("Send", &id), event("Delivery", &id), event("Complaint", &id)];
    let told = join_all(events.iter().cycle().take(12).map(|event| tell(&world, event))).await;
    let complaints = told
        .into_iter()
        .filter(|answer| answer.as_ref().unwrap()["delivery"] == "complained");
    assert_eq!(complaints.count(), 1);
    assert_eq!(shown(&ann).await.0, "complained");
}

#[tokio::test]
async fn events_about_nothing_that_is_there_change_nothing() {
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
        let answer = tell(&world, &event).await.unwrap();
        assert_eq!(answer["delivery"], Value::Null, "{event}");
    }
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
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
        let refused = tell(&world, &event).await;
        assert!(matches!(refused, Err(EventError::Malformed(_))), "{event}: {refused:?}");
    }
    let deadline = Deadline::after(Duration::from_secs(60));
    for event in [&b"[]"[..], b"7", b""] {
        let refused = event::call(mail_retry::handle, world.app.clone(), event, deadline).await;
        assert!(matches!(refused, Err(EventError::Malformed(_))), "{event:?}");
    }
}

/// Owners of workspaces of their own.
async fn owners(world: &World, count: usize) -> Vec<Person<'_>> {
    let mut owners = Vec::new();
    for number in 0..count {
        owners.push(world.owner(&format!("owner{number}")).await);
    }
    owners
}

/// Whether an answer says that the mail was withheld, which it says with its reason.
fn is_withheld(issued: &ApiResponse) -> bool {
    let delivery = &issued.body["delivery"];
    let reason = delivery["reason"].as_str().unwrap_or_default();
    let is_withheld = reason.contains("withheld") && reason.contains("link");
    assert_eq!(is_withheld, delivery["status"] == "failed", "{delivery}");
    is_withheld
}

#[tokio::test]
async fn an_address_gets_5_mails_a_day_from_everybody_together_and_nobody_is_refused() {
    let world = World::new().await;
    let mut owners = owners(&world, 3).await;
    owners[0].invite("guest@example.com", "member").await.expect(201);
    world.pass(600);
    let mut issued = owners[1].invite("Guest@Example.com", "member").await.expect(201);
    for _ in 0..3 {
        issued = owners[1].resend(&issued.id()).await.expect(200);
        assert!(!is_withheld(&issued));
    }
    assert_eq!(mails_to(&world, "guest@example.com"), 5);
    // The limits of one person are what they are, and each answer has a link that works.
    for _ in 0..7 {
        issued = owners[1].resend(&issued.id()).await.expect(200);
        assert!(is_withheld(&issued));
    }
    let issued_by_another = owners[2].invite("guest@example.com", "member").await.expect(201);
    assert!(is_withheld(&issued_by_another));
    world.stranger("guest").preview(&issued_by_another).await.expect(200);
    let (status, reason) = shown(&owners[2]).await;
    assert_eq!(
        (status.as_str(), reason.as_deref()),
        ("failed", issued_by_another.body["delivery"]["reason"].as_str())
    );
    assert!(!is_withheld(
        &owners[0].invite("other@example.com", "member").await.expect(201)
    ));
    // They are not due, ever.
    for _ in 0..3 {
        world.pass(61);
        assert_eq!(retry(&world).await, report(0, 0, 0));
    }
    assert_eq!(mails_to(&world, "guest@example.com"), 5);
    invariants::check(&world).await;

    // The first mail is a day old: one more may go.
    world.pass(86_400 - 600 - 3 * 61 - 60);
    for owner in &mut owners {
        owner.log_in().await;
    }
    let early = owners[2].resend(&issued_by_another.id()).await.expect(200);
    assert!(is_withheld(&early));
    world.pass(61);
    let late = owners[2].resend(&early.id()).await.expect(200);
    assert_eq!(late.body["delivery"]["status"], "sent");
    assert_eq!(mails_to(&world, "guest@example.com"), 6);
    // Bea's guess, the slot that came free first, is taken: the budget is read, and spent.
    let lost = owners[1].resend(&issued.id()).await.expect(200);
    assert!(is_withheld(&lost));
    assert_eq!(mails_to(&world, "guest@example.com"), 6);
    invariants::check(&world).await;
    let guest = world.stranger("guest");
    guest.accept(&lost, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_mails_to_one_address_at_once_5_leave() {
    let world = World::new().await;
    let owners = owners(&world, 12).await;
    let answers = join_all(owners.iter().map(|owner| owner.invite("guest@example.com", "member"))).await;
    let issued: Vec<ApiResponse> = answers.into_iter().map(|answer| answer.expect(201)).collect();
    let withheld = issued.iter().filter(|issued| is_withheld(issued)).count();
    assert_eq!((withheld, mails_to(&world, "guest@example.com")), (7, 5));
    invariants::check(&world).await;
    // As many resends at once, a day later.
    world.pass(86_400);
    let mut owners = owners;
    for owner in &mut owners {
        owner.log_in().await;
    }
    let resends = owners.iter().zip(&issued);
    let answers = join_all(resends.map(|(owner, issued)| async move { owner.resend(&issued.id()).await })).await;
    let resent: Vec<ApiResponse> = answers.into_iter().map(|answer| answer.expect(200)).collect();
    let withheld = resent.iter().filter(|resent| is_withheld(resent)).count();
    assert_eq!((withheld, mails_to(&world, "guest@example.com")), (7, 10));
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_mail_that_is_sent_again_costs_its_recipient_s_budget_once() {
    let world = World::new().await;
    let mut owners = owners(&world, 6).await;
    for owner in &owners[..5] {
        queued(owner, "guest@example.com").await;
        world.mailbox.set_fault(Fault::internal_failure());
        world.pass(61);
        assert_eq!(retry(&world).await, report(0, 1, 0));
        world.mailbox.set_fault(None);
        world.pass(121);
        assert_eq!(retry(&world).await, report(1, 0, 0));
    }
    assert_eq!(mails_to(&world, "guest@example.com"), 5);
    owners[5].log_in().await;
    assert!(is_withheld(
        &owners[5].invite("guest@example.com", "member").await.expect(201)
    ));
}
