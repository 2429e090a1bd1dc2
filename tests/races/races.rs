//! Many at once. After every race the whole table is checked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::harness::{ApiResponse, PASSWORD, Person, World};
use crate::support::invariants;

/// A world that lives as long as the process, so that people can act on threads of their own.
async fn world() -> &'static World {
    Box::leak(Box::new(World::new().await))
}

/// Does all of it at once, each on a task of its own.
async fn at_once(deeds: impl IntoIterator<Item = BoxFuture<'static, ApiResponse>>) -> Vec<ApiResponse> {
    let tasks: Vec<JoinHandle<ApiResponse>> = deeds.into_iter().map(tokio::spawn).collect();
    let answers: Vec<ApiResponse> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    for answer in &answers {
        assert!(answer.status.as_u16() < 500, "{}", answer.text);
    }
    answers
}

/// What `person` does.
macro_rules! deed {
    ($person:expr, |$actor:ident| $deed:expr) => {{
        let $actor = $person.clone();
        let deed: BoxFuture<'static, ApiResponse> = Box::pin(async move { $deed.await });
        deed
    }};
}

fn count(answers: &[ApiResponse], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status.as_u16() == status).count()
}

fn told(answers: &[ApiResponse]) -> Vec<String> {
    answers
        .iter()
        .map(|answer| format!("{} {}", answer.status.as_u16(), answer.body["error_code"]))
        .collect()
}

async fn owners(world: &'static World) -> Vec<Person<'static>> {
    let mut owners = vec![world.owner("owner0").await];
    for number in 1..8 {
        let owner = world.joins(&owners[0], &format!("owner{number}"), "owner").await;
        owners.push(owner);
    }
    owners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn owners_who_all_step_down_leave_one() {
    let world = world().await;
    let owners = owners(world).await;
    let answers = at_once(
        owners
            .iter()
            .map(|owner| deed!(owner, |it| it.change_role(&it.id, "member"))),
    )
    .await;
    assert_eq!(
        (count(&answers, 200), count(&answers, 400)),
        (7, 1),
        "{:?}",
        told(&answers)
    );
    let last = answers.into_iter().find(|answer| answer.status == 400).unwrap();
    last.refused(400, "LAST_OWNER");
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn owners_who_all_leave_leave_one() {
    let world = world().await;
    let owners = owners(world).await;
    let answers = at_once(owners.iter().map(|owner| deed!(owner, |it| it.remove(&it.id)))).await;
    assert_eq!(
        (count(&answers, 200), count(&answers, 403)),
        (7, 1),
        "{:?}",
        told(&answers)
    );
    let last = answers.into_iter().find(|answer| answer.status == 403).unwrap();
    last.refused(403, "LAST_OWNER");
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn owners_against_each_other_leave_one() {
    let world = world().await;
    let owners = owners(world).await;
    let deeds = (0..8).flat_map(|at| {
        let [next, after] = [1, 2].map(|ahead| owners[(at + ahead) % 8].id.clone());
        [
            deed!(owners[at], |it| it.change_role(&next, "member")),
            deed!(owners[at], |it| it.remove(&after)),
            deed!(owners[at], |it| it.change_role(&it.id, "manager")),
        ]
    });
    let answers = at_once(deeds).await;
    assert!(count(&answers, 200) >= 4, "{:?}", told(&answers));
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_person_who_accepts_twelve_times_is_one_member() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite("ben@example.com", "member").await.expect(201);
    let ben = world.stranger("ben");
    let answers = at_once((0..12).map(|_| {
        let issued = issued.clone();
        deed!(ben, |it| it
            .accept(&issued, json!({"password": PASSWORD, "name": "Ben"})))
    }))
    .await;
    assert_eq!(count(&answers, 200), 12, "{:?}", told(&answers));
    let id = &answers[0].body["user"]["id"];
    assert!(answers.iter().all(|answer| &answer.body["user"]["id"] == id));
    assert_eq!(ann.members().await.body["total"], 2);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twelve_who_hold_one_link_one_joins() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite("ben@example.com", "member").await.expect(201);
    let answers = at_once((0..12).map(|number| {
        let (issued, password) = (issued.clone(), format!("password of {number}"));
        deed!(world.stranger("ben"), |it| it
            .accept(&issued, json!({"password": password})))
    }))
    .await;
    assert_eq!(
        (count(&answers, 200), count(&answers, 400)),
        (1, 11),
        "{:?}",
        told(&answers)
    );
    for answer in answers.into_iter().filter(|answer| answer.status == 400) {
        answer.refused(400, "INVITATION_USED");
    }
    assert_eq!(ann.members().await.body["total"], 2);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn accepting_cancelling_resending_and_declining_have_one_winner() {
    let world = world().await;
    let ann = world.owner("ann").await;
    for round in 0..8 {
        let guest = world.stranger(&format!("guest{round}"));
        let issued = ann.invite(&guest.email, "member").await.expect(201);
        let id = issued.id();
        let (to_accept, to_decline, to_resend) = (issued.clone(), issued.clone(), id.clone());
        let deeds = [
            deed!(guest, |it| it.accept(&to_accept, json!({"password": PASSWORD}))),
            deed!(ann, |it| it.cancel(&id)),
            deed!(ann, |it| it.resend(&to_resend)),
            deed!(guest, |it| it.decline(&to_decline)),
        ];
        let answers = at_once(deeds).await;
        assert_eq!(count(&answers, 200), 1, "round {round}: {:?}", told(&answers));
        let accepted = answers[0].status == 200;
        let code = if accepted {
            "INVITATION_USED"
        } else {
            "INVITATION_REVOKED"
        };
        for loser in answers.into_iter().filter(|answer| answer.status != 200) {
            loser.refused(400, code);
        }
        invariants::check(world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_forty_invitations_at_once_ten_pass() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let answers =
        at_once((0..40).map(|number| deed!(ann, |it| it.invite(&format!("guest{number}@example.com"), "member"))))
            .await;
    assert_eq!(
        (count(&answers, 201), count(&answers, 429)),
        (10, 30),
        "{:?}",
        told(&answers)
    );
    for refused in answers.into_iter().filter(|answer| answer.status == 429) {
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&wait), "{wait}");
        refused.refused(429, "RATE_LIMITED");
    }
    assert_eq!(ann.invitations().await.body["total"], 10);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creates_for_one_address_leave_one_pending() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let bea = world.joins(&ann, "bea", "manager").await;
    // As many as one address may get in a day.
    let answers = at_once((0..5).map(|number| {
        let by = if number % 2 == 0 { &ann } else { &bea };
        deed!(by, |it| it.invite("guest@example.com", "member"))
    }))
    .await;
    assert_eq!(count(&answers, 201), 5, "{:?}", told(&answers));
    let list = ann.invitations().await.expect(200);
    assert_eq!(list.body["total"], 1);
    let guest = world.stranger("guest");
    let mut live = 0;
    for answer in &answers {
        let accepted = guest.accept(answer, json!({"password": PASSWORD})).await;
        live += usize::from(accepted.status == 200);
    }
    assert_eq!(live, 1);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_invited_to_two_workspaces_joins_one() {
    let world = world().await;
    let (ann, bea) = (world.owner("ann").await, world.owner("bea").await);
    for round in 0..4 {
        let guest = world.stranger(&format!("guest{round}"));
        let (to_ann, to_bea) = (
            ann.invite(&guest.email, "member").await.expect(201),
            bea.invite(&guest.email, "member").await.expect(201),
        );
        let answers = at_once([
            deed!(guest, |it| it.accept(&to_ann, json!({"password": PASSWORD}))),
            deed!(guest, |it| it.accept(&to_bea, json!({"password": PASSWORD}))),
        ])
        .await;
        assert_eq!(
            (count(&answers, 200), count(&answers, 400)),
            (1, 1),
            "{:?}",
            told(&answers)
        );
        invariants::check(world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_workspace_is_deleted_or_joined() {
    let world = world().await;
    for round in 0..4 {
        let ann = world.owner(&format!("ann{round}")).await;
        let guest = world.stranger(&format!("guest{round}"));
        let issued = ann.invite(&guest.email, "member").await.expect(201);
        let answers = at_once([
            deed!(ann, |it| it.delete("/workspaces/")),
            deed!(guest, |it| it.accept(&issued, json!({"password": PASSWORD}))),
        ])
        .await;
        assert_eq!(
            (count(&answers, 200), count(&answers, 400)),
            (1, 1),
            "{:?}",
            told(&answers)
        );
        invariants::check(world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invitation_dies_with_its_inviters_right_to_send_it() {
    let world = world().await;
    let ann = world.owner("ann").await;
    for round in 0..4 {
        let bea = world.joins(&ann, &format!("bea{round}"), "manager").await;
        let guest = world.stranger(&format!("guest{round}"));
        let issued = bea.invite(&guest.email, "member").await.expect(201);
        let for_bea = issued.clone();
        let answers = at_once([
            deed!(ann, |it| it.remove(&bea.id)),
            deed!(guest, |it| it.accept(&for_bea, json!({"password": PASSWORD}))),
        ])
        .await;
        answers[0].clone().expect(200);
        if answers[1].status != 200 {
            answers[1].clone().refused(400, "INVITATION_REVOKED");
            let later = guest.accept(&issued, json!({"password": PASSWORD})).await;
            later.refused(400, "INVITATION_REVOKED");
        }
        invariants::check(world).await;
    }
}

/// Reads and refreshes with `person`'s tokens without a pause while `deed` happens; what was asked after its answer
/// must be refused.
async fn hammered(person: &Person<'static>, deed: BoxFuture<'static, ApiResponse>) {
    let done: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let hammers: Vec<JoinHandle<Vec<(Instant, ApiResponse)>>> = (0..6)
        .map(|number| {
            let person = person.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                let mut after = 0;
                while after < 5 {
                    after += u32::from(done.load(Ordering::SeqCst));
                    let asked = Instant::now();
                    let answer = match number % 3 {
                        0 => person.members().await,
                        1 => person.get("/auth/me").await,
                        _ => person.refresh().await,
                    };
                    answers.push((asked, answer));
                }
                answers
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let answer = deed.await;
    let answered = Instant::now();
    done.store(true, Ordering::SeqCst);
    answer.expect(200);
    let mut before = 0;
    for answers in join_all(hammers).await {
        for (asked, answer) in answers.unwrap() {
            assert!(answer.status.as_u16() < 500, "{}", answer.text);
            if asked > answered {
                answer.refused(401, "TOKEN_REVOKED");
            } else {
                before += usize::from(answer.status == 200);
            }
        }
    }
    assert!(before > 0, "nothing was asked before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_token_outlives_the_answer_that_ended_it() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let mut ben = world.joins(&ann, "ben", "manager").await;
    let id = ben.id.clone();
    hammered(&ben, deed!(ann, |it| it.change_role(&id, "member"))).await;
    ben.log_in().await;
    hammered(&ben, deed!(ben, |it| it.post("/auth/logout", json!({})))).await;
    ben.log_in().await;
    hammered(&ben, deed!(ann, |it| it.revoke_all())).await;
    ben.log_in().await;
    let mut ann = ann;
    ann.log_in().await;
    let id = ben.id.clone();
    hammered(&ben, deed!(ann, |it| it.remove(&id))).await;
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_sessions_are_revoked_once_a_minute() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let answers = at_once((0..8).map(|_| deed!(ann, |it| it.revoke_all()))).await;
    assert_eq!(count(&answers, 200), 1, "{:?}", told(&answers));
    assert_eq!(count(&answers, 401) + count(&answers, 429), 7, "{:?}", told(&answers));
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_address_is_registered_once() {
    let world = world().await;
    let answers = at_once((0..6).map(|number| {
        let ann = world.stranger("ann");
        let body = json!({"email": "Ann@example.com", "password": PASSWORD, "name": "Ann", "company": format!("Company {number}")});
        deed!(ann, |it| it.post("/auth/register", body))
    }))
    .await;
    assert_eq!(
        (count(&answers, 201), count(&answers, 400)),
        (1, 5),
        "{:?}",
        told(&answers)
    );
    for answer in answers.into_iter().filter(|answer| answer.status == 400) {
        answer.refused(400, "EMAIL_TAKEN");
    }
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workspaces_of_one_name_have_slugs_of_their_own() {
    let world = world().await;
    let answers = at_once((0..6).map(|number| {
        let person = world.stranger(&format!("person{number}"));
        let body = json!({"email": person.email, "password": PASSWORD, "name": "Ann", "company": "One name"});
        deed!(person, |it| it.post("/auth/register", body))
    }))
    .await;
    assert_eq!(count(&answers, 201), 6, "{:?}", told(&answers));
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn somebody_founds_one_workspace() {
    let world = world().await;
    let ann = world.owner("ann").await;
    ann.delete("/workspaces/").await.expect(200);
    let answers = at_once((0..6).map(|number| {
        deed!(ann, |it| it
            .post("/workspaces/", json!({"name": format!("Number {number}")})))
    }))
    .await;
    assert_eq!(
        (count(&answers, 201), count(&answers, 400)),
        (1, 5),
        "{:?}",
        told(&answers)
    );
    for answer in answers.into_iter().filter(|answer| answer.status == 400) {
        answer.refused(400, "ALREADY_IN_WORKSPACE");
    }
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_password_is_guessed_fifteen_times_a_minute() {
    let world = world().await;
    let ann = world.owner("ann").await;
    world.pass(61);
    let answers = at_once((0..40).map(|number| {
        let guesser = world.stranger("guesser");
        let body = json!({"email": ann.email, "password": format!("guess number {number}")});
        deed!(guesser, |it| it.post("/auth/login", body))
    }))
    .await;
    assert_eq!(
        (count(&answers, 401), count(&answers, 429)),
        (15, 25),
        "{:?}",
        told(&answers)
    );
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_address_guesses_sixty_times_a_minute() {
    let world = world().await;
    let guesser = world.stranger("guesser");
    let answers = at_once((0..80).map(|number| {
        let body = json!({"email": format!("somebody{number}@example.com"), "password": PASSWORD});
        deed!(guesser, |it| it.post("/auth/login", body))
    }))
    .await;
    assert_eq!(
        (count(&answers, 401), count(&answers, 429)),
        (60, 20),
        "{:?}",
        told(&answers)
    );
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_token_used_at_once_has_one_successor() {
    let world = world().await;
    let ann = world.owner("ann").await;
    let answers = at_once((0..8).map(|_| deed!(ann, |it| it.refresh()))).await;
    assert_eq!(count(&answers, 200), 8, "{:?}", told(&answers));
    let successor = &answers[0].body["refresh_token"];
    assert!(answers.iter().all(|answer| &answer.body["refresh_token"] == successor));
    let mut ann = ann;
    ann.take_tokens(&answers[0]);
    ann.refresh().await.expect(200);
    invariants::check(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_begin_at_once_are_at_most_sixteen() {
    let world = world().await;
    let ann = world.owner("ann").await;
    for _ in 0..2 {
        world.pass(61);
        let answers = at_once((0..12).map(|_| {
            let body = json!({"email": ann.email, "password": PASSWORD});
            deed!(ann.signed_out(), |it| it.post("/auth/login", body))
        }))
        .await;
        assert_eq!(count(&answers, 200), 12, "{:?}", told(&answers));
    }
    invariants::check(world).await;
}
