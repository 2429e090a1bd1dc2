//! Function `mail-retry`: queued mails of invitations are sent later, once, and never for an invitation that has ended.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use local::mailbox::Fault;
use serde_json::{Value, json};
use shared::app::{App, RequiredSecrets};
use shared::config::{Config, SecretSource};
use shared::event::{self, Deadline};
use shared::models::delivery::{Delivery, DeliveryStatus};
use shared::secret::Secret;

use crate::support::deployed::in_role;
use crate::support::harness::{ApiResponse, PASSWORD, Person, World, proof};
use crate::support::invariants;

/// Calls `mail-retry` as its schedule does.
pub async fn retry(world: &World) -> Value {
    let deadline = Deadline::after(Duration::from_secs(60));
    let call = event::call(mail_retry::handle, world.app.clone(), b"{}", deadline);
    let response = in_role("mail-retry", call).await;
    serde_json::from_slice(&response.unwrap()).unwrap()
}

/// The response of `mail-retry`.
pub fn report(sent: usize, queued: usize, failed: usize) -> Value {
    json!({"sent": sent, "queued": queued, "failed": failed})
}

/// Delivery status and reason of the newest invitation in the list.
pub async fn newest_delivery(person: &Person<'_>) -> (String, Option<String>) {
    let list = person.invitations().await.expect(200);
    let delivery = &list.body["invitations"][0]["delivery"];
    let text = |name: &str| delivery[name].as_str().map(str::to_owned);
    (text("status").unwrap(), text("reason"))
}

pub fn mails_to(world: &World, address: &str) -> usize {
    world.mailbox.mails().iter().filter(|mail| mail.to == address).count()
}

/// Creates an invitation whose mail is queued because the mail service fails.
pub async fn invite_queued(person: &Person<'_>, email: &str) -> ApiResponse {
    person.world.mailbox.fault_next(1, Fault::internal_failure());
    let issued = person.invite(email, "member").await.expect(201);
    assert_eq!(issued.body["delivery"]["status"], "queued");
    issued
}

#[tokio::test]
async fn a_queued_mail_is_sent_later_once_with_the_same_link() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = invite_queued(&ann, "bob@example.com").await;
    assert_eq!(mails_to(&world, "bob@example.com"), 0);
    assert_eq!(retry(&world).await, report(0, 0, 0), "the mail is not due yet");
    world.pass(61);
    assert_eq!(retry(&world).await, report(1, 0, 0));
    assert_eq!(newest_delivery(&ann).await, ("sent".to_owned(), None));
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
async fn the_wait_between_attempts_grows_and_attempts_end_after_a_day() {
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
        "the next wait is as long as all waits before"
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
    let (status, reason) = newest_delivery(&ann).await;
    assert_eq!(status, "failed");
    assert!(reason.unwrap().contains("24 hours"));
    world.mailbox.set_fault(None);
    world.pass(24 * 3600);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    assert!(world.mailbox.mails().is_empty());
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_mail_that_the_service_rejects_fails_without_a_retry() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    invite_queued(&ann, "bob@example.com").await;
    world.pass(61);
    world.mailbox.set_fault(Fault::message_rejected());
    assert_eq!(retry(&world).await, report(0, 0, 1));
    let (status, reason) = newest_delivery(&ann).await;
    assert_eq!(status, "failed");
    assert!(reason.is_some());
    invariants::check(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_runs_send_each_mail_once() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for number in 0..8 {
        invite_queued(&ann, &format!("guest{number}@example.com")).await;
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
async fn a_claimed_mail_is_sent_by_another_run_after_the_lease() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    invite_queued(&ann, "bob@example.com").await;
    world.pass(61);
    let page = world
        .app
        .store
        .unproven()
        .due_page(world.app.now(), None)
        .await
        .unwrap();
    let [due] = page.entries.as_slice() else {
        panic!("not exactly one mail is due: {page:?}");
    };
    let (workspace, id) = due.key.as_pending().unwrap();
    let lease_end = world.app.now().plus(Duration::from_secs(120));
    let claim = async || {
        let store = &world.app.store;
        store
            .unproven()
            .invitation_mail_claim(workspace, id, &due.index_key, lease_end)
            .await
            .unwrap()
    };
    assert!(claim().await.is_some());
    assert!(claim().await.is_none(), "the due entry is stale: the mail is claimed");
    world.pass(100);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    world.pass(21);
    assert_eq!(retry(&world).await, report(1, 0, 0));
    // The first claimant was slow. What it records after its lease does not replace the status `sent`.
    let late = Delivery::queued(world.app.now());
    let due_at = Some(world.app.now());
    let recorded = world
        .app
        .store
        .unproven()
        .invitation_delivery_record(workspace, id, lease_end, &late, due_at);
    assert_eq!(recorded.await.unwrap().unwrap().status, DeliveryStatus::Sent);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    assert_eq!(mails_to(&world, "bob@example.com"), 1);
    invariants::check(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mail_service_that_does_not_respond_delays_no_request_and_gets_one_attempt_per_mail_and_run() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.mailbox.set_fault(Some(Fault::Silence { accepted: false }));
    // Less than the 10 s that the function may run.
    let limit = Duration::from_secs(9);
    let mut started = Instant::now();
    let first = ann.invite("bob@example.com", "member").await.expect(201);
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    started = Instant::now();
    let issued = ann.resend(&first.id()).await.expect(200);
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    for response in [&first, &issued] {
        let delivery = &response.body["delivery"];
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
    assert_eq!(newest_delivery(&ann).await.0, "queued");
    assert_eq!(retry(&world).await, report(0, 0, 0), "the mail is not due yet");
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
    assert_eq!(newest_delivery(&ann).await, ("sent".to_owned(), None));
    invariants::check(&world).await;
}

#[tokio::test]
async fn an_invitation_that_has_ended_is_not_mailed() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let cancelled = invite_queued(&ann, "cancelled@example.com").await;
    ann.cancel(&cancelled.id()).await.expect(200);
    let declined = invite_queued(&ann, "declined@example.com").await;
    world.stranger("declined").decline(&declined).await.expect(200);
    let accepted = invite_queued(&ann, "accepted@example.com").await;
    let guest = world.stranger("accepted");
    guest.accept(&accepted, json!({"password": PASSWORD})).await.expect(200);
    let resent = invite_queued(&ann, "resent@example.com").await;
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
async fn a_mail_fails_if_its_invitation_became_invalid() {
    let world = World::new().await;
    let (ann, eve) = (world.owner("ann").await, world.owner("eve").await);
    let bea = world.joins(&ann, "bea", "manager").await;
    world.mailbox.clear();
    // The inviter lost the right to invite.
    invite_queued(&bea, "bob@example.com").await;
    ann.change_role(&bea.id, "member").await.expect(200);
    world.pass(61);
    assert_eq!(retry(&world).await, report(0, 0, 1));
    assert_eq!(newest_delivery(&ann).await.0, "failed");
    // The invitation expired while the mail service failed.
    let late = invite_queued(&ann, "late@example.com").await;
    world.pass(169 * 3600);
    assert_eq!(retry(&world).await, report(0, 0, 1));
    let mut ann = ann;
    ann.log_in().await;
    let in_an_hour = world.app.now().plus(Duration::from_secs(3600)).to_string();
    let extended = ann.extend(&late.id(), &in_an_hour).await.expect(200);
    assert_eq!(extended.body["delivery"]["status"], "failed");
    assert!(
        extended.body["delivery"]["reason"]
            .as_str()
            .unwrap()
            .contains("expired")
    );
    // The workspace was deleted.
    let mut eve = eve;
    eve.log_in().await;
    invite_queued(&eve, "cid@example.com").await;
    eve.delete("/workspaces/").await.expect(200);
    world.pass(61);
    assert_eq!(retry(&world).await, report(0, 0, 0));
    assert!(world.mailbox.mails().is_empty());
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_mail_fails_if_its_link_would_be_invalid() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    invite_queued(&ann, "bob@example.com").await;
    world.pass(61);
    let config = Config {
        invitation_secret: Some(SecretSource::Value(Secret::new("another key"))),
        ..(*world.app.config).clone()
    };
    let app = App::start(config, world.clock.clone(), RequiredSecrets::INVITATION, None).await;
    let deadline = Deadline::after(Duration::from_secs(60));
    let response = event::call(mail_retry::handle, app.unwrap(), b"{}", deadline).await;
    let response: Value = serde_json::from_slice(&response.unwrap()).unwrap();
    assert_eq!(response, report(0, 0, 1));
    assert!(newest_delivery(&ann).await.1.unwrap().contains("Send it again"));
    assert!(world.mailbox.mails().is_empty());
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_due_entry_of_an_unknown_kind_does_not_block_other_mails() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    invite_queued(&ann, "bob@example.com").await;
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
async fn a_run_without_time_left_changes_nothing() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    invite_queued(&ann, "bob@example.com").await;
    world.pass(61);
    let before = world.dump().await;
    let late = Deadline::after(Duration::from_secs(20));
    let response = event::call(mail_retry::handle, world.app.clone(), b"{}", late).await;
    let response: Value = serde_json::from_slice(&response.unwrap()).unwrap();
    assert_eq!(response, report(0, 0, 0));
    assert_eq!(world.dump().await, before);
    assert_eq!(retry(&world).await, report(1, 0, 0));
}
