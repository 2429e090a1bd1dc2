//! Every deed that writes, while the table fails it: whatever becomes of a try, the client hears the truth, and what was
//! asked for happens once.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use axum::body::Body;
use axum::http::Request;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use shared::deadline::Deadline;
use shared::event;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::support::fault_injection::{FOREVER, Fault, Keys, Loss, READS, Throttle, WRITES};
use crate::support::harness::{ApiResponse, PASSWORD, Person, World, operations};
use crate::support::invariants;
use crate::support::usage_support;

/// Cases that run at once: most of their time they wait.
const AT_ONCE: usize = 16;
/// What a request has where the table fails for good.
const SHORT: Duration = Duration::from_millis(1500);
/// What a request has where no write is answered: its writes share it. No mail is begun in it.
const LONG: Duration = Duration::from_millis(3500);
/// How long after an answer a late write arrives at most.
const LATE_AT_MOST: Duration = Duration::from_millis(1500);

/// Something a client asks for that writes.
struct Deed {
    operation: &'static str,
    case: &'static str,
    status: u16,
    /// What the same request is answered when it is made once more.
    again: (u16, &'static str),
    act: for<'a> fn(&'a Stage<'a>) -> BoxFuture<'a, ApiResponse>,
}

/// What `stage` sees done.
macro_rules! deed {
    ($operation:literal, $case:literal, $status:literal, $again:expr, |$stage:ident| $act:expr) => {
        Deed {
            operation: $operation,
            case: $case,
            status: $status,
            again: $again,
            act: |$stage| async move { $act.await }.boxed(),
        }
    };
}

const DONE: (u16, &str) = (200, "");
const ENDED: (u16, &str) = (400, "INVITATION_REVOKED");

const DEEDS: &[Deed] = &[
    deed!("PUT /api/v1/workspaces/", "", 200, DONE, |stage| {
        stage.of("ann").put("/workspaces/", json!({"name": "New name"}))
    }),
    deed!("PATCH /api/v1/workspaces/", "", 200, DONE, |stage| {
        stage.of("ann").patch(
            "/workspaces/",
            json!({"website": "https://example.com", "logo_url": null}),
        )
    }),
    deed!(
        "POST /api/v1/workspaces/",
        "",
        201,
        (400, "ALREADY_IN_WORKSPACE"),
        |stage| { stage.of("eve").post("/workspaces/", json!({"name": "Another"})) }
    ),
    deed!(
        "DELETE /api/v1/workspaces/",
        "with an invitation",
        200,
        (404, "WORKSPACE_NOT_FOUND"),
        |stage| { stage.of("dan").delete("/workspaces/") }
    ),
    deed!("PATCH /api/v1/workspaces/members/{user_id}", "up", 200, DONE, |stage| {
        stage.of("ann").change_role(&stage.of("bob").id, "owner")
    }),
    deed!(
        "PATCH /api/v1/workspaces/members/{user_id}",
        "down",
        200,
        DONE,
        |stage| { stage.of("ann").change_role(&stage.of("bob").id, "member") }
    ),
    deed!(
        "DELETE /api/v1/workspaces/members/{user_id}",
        "",
        200,
        (404, "MEMBER_NOT_FOUND"),
        |stage| { stage.of("ann").remove(&stage.of("bob").id) }
    ),
    deed!("POST /api/v1/workspaces/invitations", "", 201, (201, ""), |stage| {
        stage.of("ann").invite("new@example.com", "member")
    }),
    deed!(
        "POST /api/v1/workspaces/invitations",
        "in the place of another",
        201,
        (201, ""),
        |stage| { stage.of("ann").invite("guest@example.com", "manager") }
    ),
    deed!(
        "POST /api/v1/workspaces/invitations",
        "refused by a rule",
        400,
        (400, "SELF_INVITE"),
        |stage| { stage.of("ann").invite("ann@example.com", "member") }
    ),
    deed!(
        "POST /api/v1/workspaces/invitations/{id}/resend",
        "",
        200,
        ENDED,
        |stage| { stage.of("ann").resend(&stage.guest) }
    ),
    deed!("PATCH /api/v1/workspaces/invitations/{id}", "", 200, DONE, |stage| {
        stage.of("ann").extend(&stage.guest, &stage.in_a_day)
    }),
    deed!("DELETE /api/v1/workspaces/invitations/{id}", "", 200, ENDED, |stage| {
        stage.of("ann").cancel(&stage.guest)
    }),
    deed!(
        "POST /api/v1/workspaces/revoke-all-sessions",
        "",
        200,
        (401, "TOKEN_REVOKED"),
        |stage| { stage.of("ann").revoke_all() }
    ),
    deed!("POST /api/v1/auth/register", "", 201, (400, "EMAIL_TAKEN"), |stage| {
        stage.of("guest").post(
            "/auth/register",
            json!({"email": "new@example.com", "password": PASSWORD, "name": "New"}),
        )
    }),
    deed!("POST /api/v1/auth/login", "", 200, DONE, |stage| {
        stage
            .of("guest")
            .post("/auth/login", json!({"email": "ann@example.com", "password": PASSWORD}))
    }),
    deed!("POST /api/v1/auth/refresh", "", 200, DONE, |stage| stage
        .of("ann")
        .refresh()),
    deed!(
        "POST /api/v1/auth/refresh",
        "with a stolen copy",
        401,
        (401, "TOKEN_REVOKED"),
        |stage| { stage.of("eve").refresh() }
    ),
    deed!("POST /api/v1/auth/logout", "", 200, (401, "TOKEN_REVOKED"), |stage| {
        stage.of("bob").post("/auth/logout", json!({}))
    }),
    deed!("POST /api/v1/auth/invitation", "", 200, DONE, |stage| {
        stage.of("guest").preview(stage.invited("guest"))
    }),
    deed!("POST /api/v1/auth/accept-invite", "a new person", 200, DONE, |stage| {
        stage
            .of("guest")
            .accept(stage.invited("guest"), json!({"password": PASSWORD, "name": "Guest"}))
    }),
    deed!(
        "POST /api/v1/auth/accept-invite",
        "with a password",
        200,
        DONE,
        |stage| {
            stage
                .of("guest")
                .accept(stage.invited("eve"), json!({"password": PASSWORD}))
        }
    ),
    deed!("POST /api/v1/auth/decline-invite", "", 200, ENDED, |stage| {
        stage.of("guest").decline(stage.invited("guest"))
    }),
];

/// Who is there before each deed: ann owns a workspace with the manager bob and invites guest and eve, dan owns one and
/// invites somebody, eve has an account, and an old copy of her refresh token.
struct Stage<'w> {
    people: BTreeMap<&'static str, Person<'w>>,
    invited: BTreeMap<&'static str, ApiResponse>,
    guest: String,
    in_a_day: String,
}

impl<'w> Stage<'w> {
    async fn set(world: &'w World) -> Self {
        let ann = world.owner("ann").await;
        let bob = world.joins(&ann, "bob", "manager").await;
        let dan = world.owner("dan").await;
        dan.invite("somebody@example.com", "member").await.expect(201);
        let mut eve = world.owner("eve").await;
        eve.delete("/workspaces/").await.expect(200);
        eve.log_in().await;
        let old = eve.clone();
        let refreshed = eve.refresh().await.expect(200);
        eve.take_tokens(&refreshed);
        let refreshed = eve.refresh().await.expect(200);
        eve.take_tokens(&refreshed);
        let invited = [("guest", "guest@example.com"), ("eve", "eve@example.com")];
        let mut issued = BTreeMap::new();
        for (name, address) in invited {
            issued.insert(name, ann.invite(address, "member").await.expect(201));
        }
        let in_a_day = world.clock.now().plus(Duration::from_secs(24 * 3600)).to_string();
        let eve = Person {
            refresh: old.refresh,
            ..eve
        };
        let guest = world.stranger("guest");
        let people = [("ann", ann), ("bob", bob), ("dan", dan), ("eve", eve), ("guest", guest)];
        Self {
            people: people.into(),
            guest: issued["guest"].id(),
            invited: issued,
            in_a_day,
        }
    }

    fn of(&self, name: &str) -> &Person<'w> {
        &self.people[name]
    }

    fn invited(&self, name: &str) -> &ApiResponse {
        &self.invited[name]
    }

    /// The same people in another world.
    fn in_world<'n>(&self, world: &'n World) -> Stage<'n> {
        let person = |person: &Person<'w>| Person {
            world,
            name: person.name.clone(),
            email: person.email.clone(),
            id: person.id.clone(),
            access: person.access.clone(),
            refresh: person.refresh.clone(),
            address: person.address,
        };
        Stage {
            people: self.people.iter().map(|(name, other)| (*name, person(other))).collect(),
            invited: self.invited.clone(),
            guest: self.guest.clone(),
            in_a_day: self.in_a_day.clone(),
        }
    }
}

/// A stage that was set, to be played on again and again.
struct Theatre<'w> {
    stage: Stage<'w>,
    items: Vec<HashMap<String, AttributeValue>>,
}

impl<'w> Theatre<'w> {
    async fn open(world: &'w World) -> Self {
        let stage = Stage::set(world).await;
        let scan = world.app.store.client().scan().table_name(world.app.store.table());
        let page = scan.consistent_read(true).send().await.unwrap();
        assert!(page.last_evaluated_key.is_none());
        Self {
            stage,
            items: page.items.unwrap(),
        }
    }

    /// A world in which nothing but the stage is set.
    async fn world(&self) -> World {
        let world = World::new().await;
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

    async fn act(&self, deed: &Deed, world: &World) -> ApiResponse {
        let stage = self.stage.in_world(world);
        (deed.act)(&stage).await
    }

    /// What a deed comes to when nothing fails: its writes, and what there is afterwards.
    async fn healthy(&self, deed: &Deed) -> Outcome {
        let world = self.world().await;
        let began = world.clock.now().as_millis();
        world.calls.forget();
        self.act(deed, &world).await.expect(deed.status);
        let operations = world.calls.operations();
        let writes = operations.iter().filter(|name| WRITES.contains(&name.as_str())).count();
        assert!(writes > 0, "{} writes nothing", deed.operation);
        Outcome {
            writes,
            ..Outcome::of(&world, began).await
        }
    }
}

/// What there is afterwards.
#[derive(Debug, PartialEq)]
struct Outcome {
    writes: usize,
    mails: usize,
    items: Vec<String>,
}

impl Outcome {
    /// What there is; of limits the slots that were taken since `began`, for those before become free while a test runs.
    async fn of(world: &World, began: i64) -> Self {
        let mut table = invariants::read(world).await;
        invariants::assert_hold(&table);
        for limit in table.values_mut().filter(|item| item["entity"] == "limit") {
            let slots = limit.as_object().unwrap().iter();
            let taken = slots
                .filter(|(name, value)| name.starts_with('s') && value.as_i64().is_some_and(|stamp| stamp >= began));
            *limit = json!({"entity": "limit", "taken": taken.count()});
        }
        let mut items: Vec<String> = table.values().map(shape).collect();
        items.sort();
        Self {
            writes: 0,
            mails: world.mailbox.mails().len(),
            items,
        }
    }
}

impl Outcome {
    /// Whether `other` is the same, but for mails, which may still be due there.
    fn is_made(&self, other: &Self) -> bool {
        let made = [self, other].map(|outcome| {
            let parts = outcome
                .items
                .iter()
                .partition::<Vec<_>, _>(|item| item.contains("delivery: "));
            (parts.0.len(), parts.1)
        });
        made[0] == made[1] && (self.mails > 0 || self.items == other.items)
    }
}

/// An item without what differs from one world to the next: ids, times, what is random, and who wrote last.
fn shape(item: &Value) -> String {
    let is_random = |text: &str| text.contains(|c: char| c.is_ascii_digit()) || text.len() > 40;
    match item {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| *name != "last_write");
            let mut fields: Vec<String> = fields
                .map(|(name, value)| match name.as_str() {
                    name if is_random(name) => format!("?: {}", shape(value)),
                    name => format!("{name}: {}", shape(value)),
                })
                .collect();
            fields.sort();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(values) => format!("{:?}", values.iter().map(shape).collect::<Vec<_>>()),
        Value::String(text) if is_random(text) => "?".to_owned(),
        Value::Number(number) if number.as_u64().is_some_and(|number| number > 1_000_000_000) => "?".to_owned(),
        other => other.to_string(),
    }
}

/// Faults of tries that follow each other, each so many times.
type Faulty = &'static [(Fault, usize)];

/// Every deed, with faults at every one of its writes: it succeeds, and what there is afterwards is what there would be
/// without the fault.
async fn each_deed_happens_once(faults: &[Faulty]) {
    let world = World::new().await;
    let theatre = Theatre::open(&world).await;
    let mut cases = Vec::new();
    for deed in DEEDS {
        let healthy = std::sync::Arc::new(theatre.healthy(deed).await);
        for place in 0..healthy.writes {
            cases.extend(faults.iter().map(|fault| (deed, healthy.clone(), place, *fault)));
        }
    }
    let theatre = &theatre;
    let count = cases.len();
    let broken: Vec<String> = stream::iter(cases)
        .map(|(deed, healthy, place, faults)| async move {
            let case = format!("{} {}, write {place}, {faults:?}", deed.operation, deed.case);
            let world = theatre.world().await;
            let began = world.clock.now().as_millis();
            for (fault, times) in faults {
                world.faults.after(place, WRITES, *times, *fault);
            }
            let answer = theatre.act(deed, &world).await;
            if faults[0].0 == Fault::Late {
                tokio::time::sleep(LATE_AT_MOST).await;
            }
            let suffered: BTreeMap<_, _> = faults.iter().map(|(fault, times)| (fault.name(), *times)).collect();
            assert_eq!(world.faults.injected(), suffered, "{case}");
            if answer.status.as_u16() != deed.status {
                return Some(format!("{case}: {} {}", answer.status, answer.text));
            }
            let outcome = Outcome::of(&world, began).await;
            let missing: Vec<_> = healthy
                .items
                .iter()
                .filter(|item| !outcome.items.contains(item))
                .collect();
            let added: Vec<_> = outcome
                .items
                .iter()
                .filter(|item| !healthy.items.contains(item))
                .collect();
            if outcome.mails != healthy.mails || outcome.items != healthy.items {
                let mails = (healthy.mails, outcome.mails);
                return Some(format!(
                    "{case}: mails {mails:?}, missing {missing:#?}, instead {added:#?}"
                ));
            }
            if faults[0].0 != Fault::Lost(Loss::Cut) {
                return None;
            }
            // Who got no answer asks again.
            let (status, code) = deed.again;
            let again = theatre.act(deed, &world).await;
            let told = (
                again.status.as_u16(),
                again.body["error_code"].as_str().unwrap_or_default(),
            );
            (told != (status, code)).then(|| format!("{case}: once more: {} {}", again.status, again.text))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(broken.is_empty(), "{} of {count}:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_operation_that_writes_has_a_deed() {
    for operation in operations().iter().filter(|operation| operation.method != "GET") {
        let name = operation.name();
        assert!(DEEDS.iter().any(|deed| deed.operation == name), "{name}");
    }
}

#[tokio::test]
async fn a_write_that_the_table_refuses_for_a_moment_is_made_once() {
    each_deed_happens_once(&[
        &[(Fault::Refused, 1)],
        &[(Fault::Failed, 2)],
        &[(Fault::Conflict, 3)],
        &[(Fault::Throttled(Throttle::Service), 2)],
    ])
    .await;
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_made_once() {
    each_deed_happens_once(&[
        &[(Fault::Lost(Loss::Cut), 2)],
        // Refused then as often as would end the tries of a write that was never applied.
        &[(Fault::Lost(Loss::Failed), 1), (Fault::Conflict, 9)],
        &[(Fault::Lost(Loss::Garbage), 1), (Fault::Throttled(Throttle::Table), 9)],
    ])
    .await;
}

#[tokio::test]
async fn a_write_that_nobody_answers_in_time_is_made_once() {
    each_deed_happens_once(&[&[(Fault::Lost(Loss::TimedOut), 1)], &[(Fault::Late, 1)]]).await;
}

#[tokio::test]
async fn a_table_that_fails_for_good_is_told_of_in_time_and_nothing_is_half_done() {
    let world = World::new().await;
    let theatre = &Theatre::open(&world).await;
    let faults = [
        Fault::Refused,
        Fault::Failed,
        Fault::Conflict,
        Fault::TimedOut,
        Fault::Throttled(Throttle::Table),
        Fault::Lost(Loss::Failed),
    ];
    let cases = DEEDS.iter().flat_map(|deed| faults.map(|fault| (deed, fault)));
    stream::iter(cases)
        .map(|(deed, fault)| async move {
            let case = format!("{} {}, {fault:?} for good", deed.operation, deed.case);
            let mut world = theatre.world().await;
            world.request_time_limit = SHORT;
            let before = world.dump().await;
            world.faults.next(WRITES, FOREVER, fault);
            let (began, began_at) = (Instant::now(), world.clock.now().as_millis());
            let answer = theatre.act(deed, &world).await;
            // The machine's slowness has a second.
            assert!(
                began.elapsed() < SHORT + Duration::from_millis(1500),
                "{case}: {:?}",
                began.elapsed()
            );
            if matches!(fault, Fault::Lost(_)) && answer.status.as_u16() == deed.status {
                // Nobody answered a write, but a read showed that it was made: then it was, and whole.
                let healthy = theatre.healthy(deed).await;
                let made = Outcome::of(&world, began_at).await;
                assert!(healthy.is_made(&made), "{case}: {healthy:#?}, instead {made:#?}");
                return;
            }
            assert_eq!(answer.status.as_u16(), 503, "{case}: {}", answer.text);
            assert!(answer.header("retry-after").is_some(), "{case}");
            let _ = answer.refused(503, "SERVICE_UNAVAILABLE");
            assert_eq!(world.mailbox.attempts(), 0, "{case}");
            if matches!(fault, Fault::Lost(_)) {
                invariants::check(&world).await;
            } else {
                assert_eq!(world.dump().await, before, "{case}");
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}

/// A table that makes every write and never says so: reading tells.
#[tokio::test]
async fn what_was_done_is_said_to_be_done_though_no_write_is_ever_answered() {
    let world = World::new().await;
    let theatre = &Theatre::open(&world).await;
    let mut cases = Vec::new();
    for deed in DEEDS {
        let healthy = std::sync::Arc::new(theatre.healthy(deed).await);
        cases.extend([Loss::Failed, Loss::Cut].map(|loss| (deed, healthy.clone(), Fault::Lost(loss))));
    }
    let broken: Vec<String> = stream::iter(cases)
        .map(|(deed, healthy, fault)| async move {
            let case = format!("{} {}, {fault:?} for good", deed.operation, deed.case);
            let mut world = theatre.world().await;
            world.request_time_limit = LONG;
            world.faults.next(WRITES, FOREVER, fault);
            let (began, began_at) = (Instant::now(), world.clock.now().as_millis());
            let answer = theatre.act(deed, &world).await;
            let took = began.elapsed();
            assert!(took < LONG + Duration::from_secs(1), "{case}: {took:?}");
            if answer.status.as_u16() != deed.status {
                return Some(format!("{case}: {} {}", answer.status, answer.text));
            }
            let made = Outcome::of(&world, began_at).await;
            (!healthy.is_made(&made)).then(|| format!("{case}: {healthy:#?}, instead {made:#?}"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(broken.is_empty(), "{}:\n{}", broken.len(), broken.join("\n"));
}

#[tokio::test]
async fn a_mail_whose_fate_cannot_be_recorded_fails_no_invitation() {
    let world = World::new().await;
    let theatre = Theatre::open(&world).await;
    let mut world = theatre.world().await;
    world.request_time_limit = Duration::from_secs(7);
    world.faults.after(1, WRITES, FOREVER, Fault::Failed);
    let stage = theatre.stage.in_world(&world);
    let issued = stage.of("ann").invite("new@example.com", "member").await.expect(201);
    assert_eq!(issued.body["delivery"]["status"], "queued");
    assert_eq!(world.mailbox.mails().len(), 1);
    world.faults.stop();
    // Without the time to send it, it is not begun.
    world.request_time_limit = SHORT;
    let stage = theatre.stage.in_world(&world);
    let issued = stage.of("ann").invite("newer@example.com", "member").await.expect(201);
    assert_eq!(issued.body["delivery"]["status"], "queued");
    assert_eq!(world.mailbox.mails().len(), 1);
    invariants::check(&world).await;
}

#[tokio::test]
async fn who_cannot_be_checked_is_let_through_nowhere() {
    let world = World::new().await;
    let theatre = &Theatre::open(&world).await;
    let closed: Vec<_> = operations().into_iter().filter(|operation| !operation.open).collect();
    let cases = closed.iter().flat_map(|operation| {
        let on_reads = [Keys::Of("USER#"), Keys::Of("WS#"), Keys::All].map(Fault::Unprocessed);
        on_reads.map(|fault| (operation, fault))
    });
    stream::iter(cases)
        .map(|(operation, fault)| async move {
            let case = format!("{} {fault:?}", operation.name());
            let world = theatre.world().await;
            let before = world.dump().await;
            world.faults.next(&["BatchGetItem"], FOREVER, fault);
            let stage = theatre.stage.in_world(&world);
            let path = operation.about(&stage.guest);
            let answer = stage
                .of("ann")
                .call(&operation.method, &path, Some(json!({"name": "x"})));
            let answer = answer.await;
            assert_eq!(answer.status.as_u16(), 503, "{case}: {}", answer.text);
            assert!(answer.header("retry-after").is_some(), "{case}");
            assert_eq!(world.dump().await, before, "{case}");
        })
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}

#[tokio::test]
async fn reads_are_tried_again_and_a_batch_is_read_whole() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for fault in [
        Fault::Refused,
        Fault::Failed,
        Fault::Lost(Loss::Cut),
        Fault::Throttled(Throttle::Service),
    ] {
        for (operation, path) in [("BatchGetItem", "/workspaces/"), ("Query", "/workspaces/members")] {
            let on: &[&str] = if operation == "Query" {
                &["Query"]
            } else {
                &["BatchGetItem"]
            };
            world.faults.next(on, 1, fault);
            ann.get(path).await.expect(200);
        }
    }
    for keys in [Keys::All, Keys::Some] {
        world.faults.next(READS, 3, Fault::Unprocessed(keys));
        ann.get("/workspaces/").await.expect(200);
    }
}

#[tokio::test]
async fn a_read_that_never_answers_is_told_of_in_time() {
    let mut world = World::new().await;
    world.request_time_limit = SHORT;
    let ann = world.owner("ann").await;
    world.faults.next(READS, FOREVER, Fault::TimedOut);
    let began = Instant::now();
    ann.get("/workspaces/members").await.refused(503, "SERVICE_UNAVAILABLE");
    assert!(
        began.elapsed() < SHORT + Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_handler_that_never_ends_is_answered_for() {
    let world = World::with(|config| config.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let never = || std::future::pending::<String>();
    let routes = OpenApiRouter::from(axum::Router::new().route("/never", axum::routing::get(never)));
    let request = Request::get("/never").header("origin", "https://app.example");
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Deadline::after(Duration::ZERO));
    let response = shared::http::finish(routes, world.app.clone()).oneshot(request).await;
    let answer = ApiResponse::read(response.unwrap()).await;
    assert!(answer.header("access-control-allow-origin").is_some());
    assert!(answer.header("retry-after").is_some());
    answer.refused(503, "SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn a_mail_that_is_due_leaves_once_whatever_becomes_of_its_writes() {
    let cases = (0..2).flat_map(|place| [Loss::Failed, Loss::Cut].map(|loss| (place, Fault::Lost(loss))));
    for (place, fault) in cases.chain([(0, Fault::Conflict), (1, Fault::Failed)]) {
        let world = World::new().await;
        let ann = world.owner("ann").await;
        world.mailbox.fault_next(1, local::mailbox::Fault::internal_failure());
        ann.invite("bob@example.com", "member").await.expect(201);
        world.pass(61);
        world.faults.after(place, WRITES, 3, fault);
        let call = event::call(
            mail_retry::handle,
            world.app.clone(),
            b"{}",
            Deadline::after(SHORT * 40),
        );
        let report: Value = serde_json::from_slice(&call.await.unwrap()).unwrap();
        assert_eq!(report["sent"], 1, "write {place}, {fault:?}: {report}");
        assert_eq!(world.faults.injected(), BTreeMap::from([(fault.name(), 3)]));
        assert_eq!(world.mailbox.mails().len(), 1);
        let listed = ann.invitations().await.expect(200);
        assert_eq!(listed.body["invitations"][0]["delivery"]["status"], "sent");
        invariants::check(&world).await;
    }
}

#[tokio::test]
async fn usage_is_taken_once_and_no_message_comes_back_whose_record_was() {
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
            let seen = usage_support::usage_of(&ann).await;
            assert_eq!(seen["location_events"], 5, "{fault:?}: {seen}");
            assert_eq!(seen["month"]["location_events"], 5, "{fault:?}: {seen}");
            invariants::check(&world).await;
        })
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}
