//! The mail budget of an e-mail address: five mails a day, further mails are withheld.

use futures::future::join_all;
use local::mailbox::Fault;
use serde_json::json;

use crate::routes::mail_retry::{invite_queued, mails_to, newest_delivery, report, retry};
use crate::support::harness::{ApiResponse, PASSWORD, Person, World};
use crate::support::invariants;

/// Owners, each of their own workspace.
async fn owners(world: &World, count: usize) -> Vec<Person<'_>> {
    let mut owners = Vec::new();
    for number in 0..count {
        owners.push(world.owner(&format!("owner{number}")).await);
    }
    owners
}

/// Whether a response shows a withheld mail: the status `failed` with its reason.
fn is_withheld(issued: &ApiResponse) -> bool {
    let delivery = &issued.body["delivery"];
    let reason = delivery["reason"].as_str().unwrap_or_default();
    let is_withheld = reason.contains("withheld") && reason.contains("link");
    assert_eq!(is_withheld, delivery["status"] == "failed", "{delivery}");
    is_withheld
}

#[tokio::test]
async fn an_email_address_gets_five_mails_a_day_and_no_request_is_refused() {
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
    // The limit of the caller is not reached, and each response has a link that works.
    for _ in 0..7 {
        issued = owners[1].resend(&issued.id()).await.expect(200);
        assert!(is_withheld(&issued));
    }
    let by_third_owner = owners[2].invite("guest@example.com", "member").await.expect(201);
    assert!(is_withheld(&by_third_owner));
    world.stranger("guest").preview(&by_third_owner).await.expect(200);
    let (status, reason) = newest_delivery(&owners[2]).await;
    assert_eq!(
        (status.as_str(), reason.as_deref()),
        ("failed", by_third_owner.body["delivery"]["reason"].as_str())
    );
    assert!(!is_withheld(
        &owners[0].invite("other@example.com", "member").await.expect(201)
    ));
    // A withheld mail never becomes due.
    for _ in 0..3 {
        world.pass(61);
        assert_eq!(retry(&world).await, report(0, 0, 0));
    }
    assert_eq!(mails_to(&world, "guest@example.com"), 5);
    invariants::check(&world).await;

    // The first mail is a day old, so that one slot is free.
    world.pass(86_400 - 600 - 3 * 61 - 60);
    for owner in &mut owners {
        owner.log_in().await;
    }
    let early = owners[2].resend(&by_third_owner.id()).await.expect(200);
    assert!(is_withheld(&early));
    world.pass(61);
    let late = owners[2].resend(&early.id()).await.expect(200);
    assert_eq!(late.body["delivery"]["status"], "sent");
    assert_eq!(mails_to(&world, "guest@example.com"), 6);
    // The slot that this owner expects to be free is taken: the budget is read again, and it is spent.
    let withheld = owners[1].resend(&issued.id()).await.expect(200);
    assert!(is_withheld(&withheld));
    assert_eq!(mails_to(&world, "guest@example.com"), 6);
    invariants::check(&world).await;
    let guest = world.stranger("guest");
    guest.accept(&withheld, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_of_twelve_concurrent_mails_to_one_email_address_are_sent() {
    let world = World::new().await;
    let owners = owners(&world, 12).await;
    let responses = join_all(owners.iter().map(|owner| owner.invite("guest@example.com", "member"))).await;
    let issued: Vec<ApiResponse> = responses.into_iter().map(|response| response.expect(201)).collect();
    let withheld = issued.iter().filter(|issued| is_withheld(issued)).count();
    assert_eq!((withheld, mails_to(&world, "guest@example.com")), (7, 5));
    invariants::check(&world).await;
    // As many concurrent resends, a day later.
    world.pass(86_400);
    let mut owners = owners;
    for owner in &mut owners {
        owner.log_in().await;
    }
    let resends = owners.iter().zip(&issued);
    let responses = join_all(resends.map(|(owner, issued)| async move { owner.resend(&issued.id()).await })).await;
    let resent: Vec<ApiResponse> = responses.into_iter().map(|response| response.expect(200)).collect();
    let withheld = resent.iter().filter(|resent| is_withheld(resent)).count();
    assert_eq!((withheld, mails_to(&world, "guest@example.com")), (7, 10));
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_retried_mail_takes_one_slot_of_the_budget() {
    let world = World::new().await;
    let mut owners = owners(&world, 6).await;
    for owner in &owners[..5] {
        invite_queued(owner, "guest@example.com").await;
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
