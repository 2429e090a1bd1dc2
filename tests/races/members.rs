//! Concurrent requests of the owners of a workspace. After every race the whole table is checked.

use crate::races::setup::{concurrently, count, request, summary, world};
use crate::support::harness::{Person, World};
use crate::support::invariants;

async fn owners(world: &'static World) -> Vec<Person<'static>> {
    let mut owners = vec![world.owner("owner0").await];
    for number in 1..8 {
        let owner = world.joins(&owners[0], &format!("owner{number}"), "owner").await;
        owners.push(owner);
    }
    owners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_owner_stays_when_eight_owners_concurrently_demote_themselves() {
    let world = world().await;
    let owners = owners(world).await;
    let responses = concurrently(
        owners
            .iter()
            .map(|owner| request!(owner, |caller| caller.change_role(&caller.id, "member"))),
    )
    .await;
    assert_eq!(
        (count(&responses, 200), count(&responses, 400)),
        (7, 1),
        "{:?}",
        summary(&responses)
    );
    let last = responses.into_iter().find(|response| response.status == 400).unwrap();
    last.refused(400, "LAST_OWNER");
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_owner_stays_when_eight_owners_concurrently_leave() {
    let world = world().await;
    let owners = owners(world).await;
    let responses = concurrently(
        owners
            .iter()
            .map(|owner| request!(owner, |caller| caller.remove(&caller.id))),
    )
    .await;
    assert_eq!(
        (count(&responses, 200), count(&responses, 403)),
        (7, 1),
        "{:?}",
        summary(&responses)
    );
    let last = responses.into_iter().find(|response| response.status == 403).unwrap();
    last.refused(403, "LAST_OWNER");
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_owner_stays_when_eight_owners_concurrently_demote_and_remove_each_other() {
    let world = world().await;
    let owners = owners(world).await;
    let requests = (0..8).flat_map(|at| {
        let [next, after] = [1, 2].map(|ahead| owners[(at + ahead) % 8].id.clone());
        [
            request!(owners[at], |caller| caller.change_role(&next, "member")),
            request!(owners[at], |caller| caller.remove(&after)),
            request!(owners[at], |caller| caller.change_role(&caller.id, "manager")),
        ]
    });
    let responses = concurrently(requests).await;
    assert!(count(&responses, 200) >= 4, "{:?}", summary(&responses));
    invariants::check(world).await;
}
