//! Concurrent requests about invitations. After every race the whole table is checked.

use serde_json::json;

use crate::races::setup::{concurrently, count, request, summary, world};
use crate::support::harness::PASSWORD;
use crate::support::invariants;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twelve_concurrent_accepts_with_one_password_create_one_member() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite("ben@example.com", "member").await.expect(201);
    let ben = world.stranger("ben");
    let responses = concurrently((0..12).map(|_| {
        let issued = issued.clone();
        request!(ben, |caller| caller
            .accept(&issued, json!({"password": PASSWORD, "name": "Ben"})))
    }))
    .await;
    assert_eq!(count(&responses, 200), 12, "{:?}", summary(&responses));
    let id = &responses[0].body["user"]["id"];
    assert!(responses.iter().all(|response| &response.body["user"]["id"] == id));
    assert_eq!(ann.members().await.body["total"], 2);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_twelve_concurrent_accepts_with_different_passwords_wins() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite("ben@example.com", "member").await.expect(201);
    let responses = concurrently((0..12).map(|number| {
        let (issued, password) = (issued.clone(), format!("password of {number}"));
        request!(world.stranger("ben"), |caller| caller
            .accept(&issued, json!({"password": password})))
    }))
    .await;
    assert_eq!(
        (count(&responses, 200), count(&responses, 400)),
        (1, 11),
        "{:?}",
        summary(&responses)
    );
    for response in responses.into_iter().filter(|response| response.status == 400) {
        response.refused(400, "INVITATION_USED");
    }
    assert_eq!(ann.members().await.body["total"], 2);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_a_concurrent_accept_cancel_resend_and_decline_wins() {
    let world = world().await;
    let ann = world.owner("ann").await;
    for round in 0..8 {
        let guest = world.stranger(&format!("guest{round}"));
        let issued = ann.invite(&guest.email, "member").await.expect(201);
        let id = issued.id();
        let (to_accept, to_decline, to_resend) = (issued.clone(), issued.clone(), id.clone());
        let requests = [
            request!(guest, |caller| caller.accept(&to_accept, json!({"password": PASSWORD}))),
            request!(ann, |caller| caller.cancel(&id)),
            request!(ann, |caller| caller.resend(&to_resend)),
            request!(guest, |caller| caller.decline(&to_decline)),
        ];
        let responses = concurrently(requests).await;
        assert_eq!(count(&responses, 200), 1, "round {round}: {:?}", summary(&responses));
        let accepted = responses[0].status == 200;
        let code = if accepted {
            "INVITATION_USED"
        } else {
            "INVITATION_REVOKED"
        };
        for refused in responses.into_iter().filter(|response| response.status != 200) {
            refused.refused(400, code);
        }
        invariants::check(world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_of_forty_concurrent_invitations_pass_the_limit() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let began = world.clock.now();
    let responses = concurrently((0..40).map(|number| {
        request!(ann, |caller| caller
            .invite(&format!("guest{number}@example.com"), "member"))
    }))
    .await;
    assert_eq!(
        (count(&responses, 201), count(&responses, 429)),
        (10, 30),
        "{:?}",
        summary(&responses)
    );
    let took_s = world.clock.now().since(began).as_secs() + 1;
    for refused in responses.into_iter().filter(|response| response.status == 429) {
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((3600 - took_s..=3600).contains(&wait), "{wait}");
        refused.refused(429, "RATE_LIMITED");
    }
    assert_eq!(ann.invitations().await.body["total"], 10);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_invitations_of_one_email_address_leave_one_pending() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let bea = world.joins(&ann, "bea", "manager").await;
    // Five, as no e-mail address may get more mails in a day.
    let responses = concurrently((0..5).map(|number| {
        let inviter = if number % 2 == 0 { &ann } else { &bea };
        request!(inviter, |caller| caller.invite("guest@example.com", "member"))
    }))
    .await;
    assert_eq!(count(&responses, 201), 5, "{:?}", summary(&responses));
    let list = ann.invitations().await.expect(200);
    assert_eq!(list.body["total"], 1);
    let guest = world.stranger("guest");
    let mut valid = 0;
    for response in &responses {
        let accepted = guest.accept(response, json!({"password": PASSWORD})).await;
        valid += usize::from(accepted.status == 200);
    }
    assert_eq!(valid, 1);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_two_concurrent_accepts_for_different_workspaces_wins() {
    let world = world().await;
    let (ann, bea) = (world.owner("ann").await, world.owner("bea").await);
    for round in 0..4 {
        let guest = world.stranger(&format!("guest{round}"));
        let (to_ann, to_bea) = (
            ann.invite(&guest.email, "member").await.expect(201),
            bea.invite(&guest.email, "member").await.expect(201),
        );
        let responses = concurrently([
            request!(guest, |caller| caller.accept(&to_ann, json!({"password": PASSWORD}))),
            request!(guest, |caller| caller.accept(&to_bea, json!({"password": PASSWORD}))),
        ])
        .await;
        assert_eq!(
            (count(&responses, 200), count(&responses, 400)),
            (1, 1),
            "{:?}",
            summary(&responses)
        );
        invariants::check(world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_a_concurrent_workspace_deletion_and_accept_wins() {
    let world = world().await;
    for round in 0..4 {
        let ann = world.owner(&format!("ann{round}")).await;
        let guest = world.stranger(&format!("guest{round}"));
        let issued = ann.invite(&guest.email, "member").await.expect(201);
        let responses = concurrently([
            request!(ann, |caller| caller.delete("/workspaces/")),
            request!(guest, |caller| caller.accept(&issued, json!({"password": PASSWORD}))),
        ])
        .await;
        assert_eq!(
            (count(&responses, 200), count(&responses, 400)),
            (1, 1),
            "{:?}",
            summary(&responses)
        );
        invariants::check(world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invitation_ends_when_its_inviter_is_removed_concurrently() {
    let world = world().await;
    let ann = world.owner("ann").await;
    for round in 0..4 {
        let bea = world.joins(&ann, &format!("bea{round}"), "manager").await;
        let guest = world.stranger(&format!("guest{round}"));
        let issued = bea.invite(&guest.email, "member").await.expect(201);
        let to_accept = issued.clone();
        let responses = concurrently([
            request!(ann, |caller| caller.remove(&bea.id)),
            request!(guest, |caller| caller.accept(&to_accept, json!({"password": PASSWORD}))),
        ])
        .await;
        responses[0].clone().expect(200);
        if responses[1].status != 200 {
            responses[1].clone().refused(400, "INVITATION_REVOKED");
            let later = guest.accept(&issued, json!({"password": PASSWORD})).await;
            later.refused(400, "INVITATION_REVOKED");
        }
        invariants::check(world).await;
    }
}
