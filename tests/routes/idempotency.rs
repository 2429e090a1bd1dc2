//! `Idempotency-Key`: the same request is done once and answered alike; another one under its key is refused.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use local::mailbox::Fault;
use serde_json::{Value, json};

use crate::support::fault_injection::{self, FOREVER, Loss};
use crate::support::harness::{ApiResponse, PASSWORD, Person, World, proof};
use crate::support::invariants;

const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";
const OVERLOOKED: fault_injection::Fault = fault_injection::Fault::Overlooked("IDEMPOTENCY#");
const INVITATIONS: &str = "/workspaces/invitations";

/// What somebody asks for under a key.
impl Person<'_> {
    async fn post_as(&self, key: &str, path: &str, body: Value) -> ApiResponse {
        let request = self.request("POST", path).header("idempotency-key", key);
        let request = request.body(body.to_string().into()).unwrap();
        self.world.send(request, self.address).await
    }

    async fn invite_as(&self, key: &str, email: &str) -> ApiResponse {
        self.post_as(key, INVITATIONS, json!({"email": email, "role": "member"}))
            .await
    }

    async fn resend_as(&self, key: &str, invitation: &str) -> ApiResponse {
        let path = format!("{INVITATIONS}/{invitation}/resend");
        self.post_as(key, &path, json!({})).await
    }

    async fn found_as(&self, key: &str, name: &str) -> ApiResponse {
        self.post_as(key, "/workspaces/", json!({"name": name})).await
    }
}

/// Somebody who is in no workspace.
async fn loner<'w>(world: &'w World, name: &str) -> Person<'w> {
    let mut person = world.owner(name).await;
    person.delete("/workspaces/").await.expect(200);
    person.log_in().await;
    person
}

fn mails_to(world: &World, address: &str) -> usize {
    world.mailbox.mails().iter().filter(|mail| mail.to == address).count()
}

#[track_caller]
fn same(first: &ApiResponse, again: &ApiResponse) {
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    assert_eq!(first.header("etag"), again.header("etag"));
}

#[tokio::test]
async fn an_invitation_that_is_asked_for_again_is_made_once() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.invite_as(KEY, "ben@example.com").await.expect(201);
    let table = world.dump().await;
    for _ in 0..12 {
        // More often than the limit of ten permits: what was done is not done again, and costs nothing.
        same(&first, &ann.invite_as(KEY, "ben@example.com").await);
    }
    assert_eq!(world.dump().await, table);
    assert_eq!(mails_to(&world, "ben@example.com"), 1);
    assert_eq!(ann.invitations().await.body["total"], 1);
    let again = ann.invite_as(KEY, "ben@example.com").await;
    let ben = world.stranger("ben");
    ben.accept(&again, json!({"password": PASSWORD})).await.expect(200);
    // It was accepted since: the answer is the first one all the same.
    same(&first, &ann.invite_as(KEY, "ben@example.com").await);
    invariants::check(&world).await;
}

#[tokio::test]
async fn an_invitation_is_resent_once() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let old = ann.invite("ben@example.com", "member").await.expect(201);
    let first = ann.resend_as(KEY, &old.id()).await.expect(200);
    let table = world.dump().await;
    same(&first, &ann.resend_as(KEY, &old.id()).await);
    same(&first, &ann.resend_as(KEY, &old.id().to_uppercase()).await);
    assert_eq!(world.dump().await, table);
    assert_eq!(mails_to(&world, "ben@example.com"), 2);
    let other = ann.resend_as(KEY, &first.id()).await;
    other.refused(422, "IDEMPOTENCY_KEY_REUSED");
    ann.resend(&old.id()).await.refused(400, "INVITATION_REVOKED");
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_workspace_is_founded_once() {
    let world = World::new().await;
    let ann = loner(&world, "ann").await;
    let first = ann.found_as(KEY, "Acme").await.expect(201);
    let table = world.dump().await;
    same(&first, &ann.found_as(KEY, "Acme").await);
    ann.found_as("another", "Acme")
        .await
        .refused(400, "ALREADY_IN_WORKSPACE");
    assert_eq!(world.dump().await, table);
    // Whatever became of it since.
    ann.patch("/workspaces/", json!({"name": "Renamed"})).await.expect(200);
    same(&first, &ann.found_as(KEY, "Acme").await);
    ann.delete("/workspaces/").await.expect(200);
    same(&first, &ann.found_as(KEY, "Acme").await);
    ann.workspace().await.refused(404, "WORKSPACE_NOT_FOUND");
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.invite_as(KEY, "ben@example.com").await.expect(201);
    let table = world.dump().await;
    for body in [
        json!({"email": "cleo@example.com", "role": "member"}),
        json!({"email": "ben@example.com", "role": "manager"}),
        json!({"email": "ben@example.com"}),
        json!({"email": "ben@example.com", "role": "member", "more": 1}),
    ] {
        let refused = ann.post_as(KEY, INVITATIONS, body).await;
        let refused = refused.refused(422, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(refused.body["detail"][0]["loc"], json!(["header", "Idempotency-Key"]));
    }
    ann.post_as(KEY, INVITATIONS, json!({"role": "member"}))
        .await
        .refused(422, "VALIDATION_ERROR");
    assert_eq!(world.dump().await, table);
    // The same JSON, written otherwise, is the same body.
    let request = ann.request("POST", INVITATIONS).header("idempotency-key", KEY);
    let request = request.body(" {\"role\":\"member\", \"email\": \"ben@\\u0065xample.com\"}".into());
    same(&first, &world.send(request.unwrap(), ann.address).await);

    let cleo = loner(&world, "cleo").await;
    cleo.found_as(KEY, "Acme").await.expect(201);
    let table = world.dump().await;
    cleo.found_as(KEY, "Acme Corporation")
        .await
        .refused(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(world.dump().await, table);
}

#[tokio::test]
async fn a_key_is_its_callers_and_its_routes() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let dan = world.joins(&ann, "dan", "owner").await;
    let issued = ann.invite_as(KEY, "ben@example.com").await.expect(201);
    let resent = ann.resend_as(KEY, &issued.id()).await.expect(200);
    let replaced = dan.invite_as(KEY, "ben@example.com").await.expect(201);
    let ids = [issued.id(), resent.id(), replaced.id()];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_key_opens_nothing_that_its_caller_lost() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let mut dan = world.joins(&ann, "dan", "owner").await;
    let issued = dan.invite_as(KEY, "ben@example.com").await.expect(201);
    let for_owner = json!({"email": "eve@example.com", "role": "owner"});
    let for_owner = dan.post_as("owner", INVITATIONS, for_owner).await.expect(201);
    let resent = dan.resend_as("resend", &for_owner.id()).await.expect(200);
    ann.change_role(&dan.id, "manager").await.expect(200);
    dan.log_in().await;
    same(&issued, &dan.invite_as(KEY, "ben@example.com").await);
    dan.resend_as("resend", &for_owner.id()).await.refused(403, "FORBIDDEN");
    ann.change_role(&dan.id, "member").await.expect(200);
    dan.log_in().await;
    dan.invite_as(KEY, "ben@example.com").await.refused(403, "FORBIDDEN");
    ann.remove(&dan.id).await.expect(200);
    dan.log_in().await;
    dan.invite_as(KEY, "ben@example.com")
        .await
        .refused(404, "WORKSPACE_NOT_FOUND");
    // In another workspace, the key still stands for what was done in the first.
    dan.post("/workspaces/", json!({"name": "Dan's"})).await.expect(201);
    dan.log_in().await;
    let refused = dan
        .invite_as(KEY, "ben@example.com")
        .await
        .refused(422, "IDEMPOTENCY_KEY_REUSED");
    assert!(!refused.text.contains(&issued.id()) && !refused.text.contains(&resent.id()));
    ann.signed_out()
        .invite_as(KEY, "ben@example.com")
        .await
        .refused(401, "TOKEN_MISSING");
}

#[tokio::test]
async fn a_key_is_the_same_bare_and_quoted() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for (number, (bare, quoted)) in [(KEY, format!("\"{KEY}\"")), ("a b,c\"\\", r#""a b,c\"\\""#.to_owned())]
        .into_iter()
        .enumerate()
    {
        let email = format!("guest{number}@example.com");
        let first = ann.invite_as(bare, &email).await.expect(201);
        same(&first, &ann.invite_as(&quoted, &email).await);
    }
    let long = "k".repeat(255);
    let first = ann.invite_as(&long, "long@example.com").await.expect(201);
    same(&first, &ann.invite_as(&long, "long@example.com").await);
}

#[tokio::test]
async fn what_is_no_key_is_told_so_and_changes_nothing() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let loner = loner(&world, "bob").await;
    let old = ann.invite("ben@example.com", "member").await.expect(201);
    let table = world.dump().await;
    let long = "k".repeat(256);
    let not_ascii: &[&[u8]] = &[b"a\tb", b"\xff", "schl\u{fc}ssel".as_bytes()];
    let texts = ["", " ", "\"\"", "\"", "\"open", "\"a\"b", "\"a\\b\"", &long];
    for value in texts
        .iter()
        .map(|text| text.as_bytes())
        .chain(not_ascii.iter().copied())
    {
        let key = axum::http::HeaderValue::from_bytes(value).unwrap();
        for (person, path, body) in [
            (&ann, INVITATIONS.to_owned(), json!({"email": "cleo@example.com"})),
            (&ann, format!("{INVITATIONS}/{}/resend", old.id()), json!({})),
            (&loner, "/workspaces/".to_owned(), json!({"name": "Acme"})),
        ] {
            let request = person.request("POST", &path).header("idempotency-key", &key);
            let request = request.body(body.to_string().into()).unwrap();
            let answer = world.send(request, person.address).await;
            assert_eq!(answer.invalid_fields(), ["header.Idempotency-Key"], "{path}: {value:?}");
        }
    }
    let request = ann.request("POST", INVITATIONS).header("idempotency-key", "a");
    let request = request.header("idempotency-key", "a");
    let request = request.body(json!({"email": "cleo@example.com"}).to_string().into());
    assert_eq!(
        world.send(request.unwrap(), ann.address).await.invalid_fields(),
        ["header.Idempotency-Key"]
    );
    assert_eq!(world.dump().await, table);
    // It is looked at where bodies are.
    let member = world.joins(&ann, "member", "member").await;
    member.invite_as("", "cleo@example.com").await.refused(403, "FORBIDDEN");
    loner
        .invite_as("", "cleo@example.com")
        .await
        .refused(404, "WORKSPACE_NOT_FOUND");
    ann.signed_out()
        .invite_as("", "cleo@example.com")
        .await
        .refused(401, "TOKEN_MISSING");
}

#[tokio::test]
async fn a_key_is_kept_for_a_day_whether_its_item_is_deleted_or_not() {
    let world = World::new().await;
    let mut ann = world.owner("ann").await;
    let first = ann.invite_as(KEY, "ben@example.com").await.expect(201);
    world.pass(24 * 3600 - 30);
    ann.log_in().await;
    same(&first, &ann.invite_as(KEY, "ben@example.com").await);
    world.pass(31);
    assert_eq!(world.rows(&["S(\"idempotency\")"]).await.len(), 1);
    let second = ann.invite_as(KEY, "ben@example.com").await.expect(201);
    assert_ne!(first.id(), second.id());
    same(&second, &ann.invite_as(KEY, "ben@example.com").await);
    world.pass(24 * 3600 + 1);
    ann.log_in().await;
    ann.invite_as(KEY, "cleo@example.com").await.expect(201);
    assert_eq!(world.rows(&["S(\"idempotency\")"]).await.len(), 1);
    invariants::check(&world).await;
}

/// Another release may remember an answer in another form. The request is not done again for that.
#[tokio::test]
async fn what_was_done_is_not_done_again_when_its_answer_cannot_be_read() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite_as(KEY, "ben@example.com").await.expect(201);
    ann.resend_as(KEY, &issued.id()).await.expect(200);
    let bob = loner(&world, "bob").await;
    bob.found_as(KEY, "Acme").await.expect(201);
    let client = world.app.store.client();
    let scan = client.scan().table_name(world.app.store.table()).send().await.unwrap();
    let remembered = scan.items.unwrap().into_iter().filter(|item| {
        let entity = item["entity"].as_s().map(String::as_str);
        entity == Ok("idempotency")
    });
    for mut item in remembered {
        let result = AttributeValue::M([("version".to_owned(), AttributeValue::N("2".to_owned()))].into());
        item.insert("result".to_owned(), result);
        let put = client.put_item().table_name(world.app.store.table());
        put.set_item(Some(item)).send().await.unwrap();
    }
    let table = world.dump().await;
    for refused in [
        ann.invite_as(KEY, "ben@example.com").await,
        ann.resend_as(KEY, &issued.id()).await,
        bob.found_as(KEY, "Acme").await,
    ] {
        refused.refused(409, "ALREADY_DONE");
    }
    ann.invite_as(KEY, "cleo@example.com")
        .await
        .refused(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(world.dump().await, table);
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    ann.invite_as(KEY, &ann.email).await.refused(400, "SELF_INVITE");
    ann.invite_as(KEY, "no address").await.refused(400, "INVALID_EMAIL");
    assert_eq!(world.rows(&["S(\"idempotency\")"]).await.len(), 0);
    ann.invite_as(KEY, "ben@example.com").await.expect(201);
}

#[tokio::test]
async fn who_sends_no_key_or_signs_in_is_served_as_ever() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.invite("ben@example.com", "member").await.expect(201);
    let second = ann.invite("ben@example.com", "member").await.expect(201);
    assert_ne!(first.id(), second.id());
    let register = json!({"email": "cleo@example.com", "password": PASSWORD, "name": "Cleo"});
    let cleo = world.stranger("cleo");
    for key in [KEY, ""] {
        let log_in = json!({"email": ann.email, "password": PASSWORD});
        let [one, two] = [
            ann.post_as(key, "/auth/login", log_in.clone()).await.expect(200),
            ann.post_as(key, "/auth/login", log_in).await.expect(200),
        ];
        assert_ne!(one.body["access_token"], two.body["access_token"]);
    }
    cleo.post_as(KEY, "/auth/register", register.clone()).await.expect(201);
    cleo.post_as(KEY, "/auth/register", register)
        .await
        .refused(400, "EMAIL_TAKEN");
    assert_eq!(world.rows(&["S(\"idempotency\")"]).await.len(), 0);
}

#[tokio::test]
async fn nothing_secret_is_remembered() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite_as(KEY, "ben@example.com").await.expect(201);
    let resent = ann.resend_as(KEY, &issued.id()).await.expect(200);
    let bob = loner(&world, "bob").await;
    bob.found_as(KEY, "Acme").await.expect(201);
    let remembered = world.rows(&["S(\"idempotency\")"]).await;
    assert_eq!(remembered.len(), 3);
    for item in remembered {
        for answer in [&issued, &resent] {
            assert!(
                !item.contains(proof(answer, json!({}))["token"].as_str().unwrap()),
                "{item}"
            );
        }
        for hidden in [KEY, "token", "cursor_key", "#invite_id"] {
            assert!(!item.contains(hidden), "{hidden} in {item}");
        }
    }
}

#[tokio::test]
async fn an_answer_says_the_same_of_its_mail_whatever_becomes_of_that() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.mailbox.set_fault(Fault::internal_failure());
    let queued = ann.invite_as("queued", "ben@example.com").await.expect(201);
    world.mailbox.set_fault(Fault::message_rejected());
    let failed = ann.invite_as("failed", "cleo@example.com").await.expect(201);
    world.mailbox.set_fault(None);
    let sent = ann.invite_as("sent", "dan@example.com").await.expect(201);
    let said = [&queued, &failed, &sent].map(|answer| answer.body["delivery"]["status"].clone());
    assert_eq!(said, ["queued", "failed", "sent"]);
    ann.cancel(&queued.id()).await.expect(200);
    same(&queued, &ann.invite_as("queued", "ben@example.com").await);
    same(&failed, &ann.invite_as("failed", "cleo@example.com").await);
    same(&sent, &ann.invite_as("sent", "dan@example.com").await);
    assert_eq!(mails_to(&world, "ben@example.com"), 0);
    assert_eq!(mails_to(&world, "dan@example.com"), 1);
}

/// All of it at once, each on a task of its own: the answers, which must be one.
async fn sixteen_times<F: Future<Output = ApiResponse> + Send + 'static>(deed: impl Fn() -> F) -> ApiResponse {
    let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(deed())).collect();
    let answers: Vec<ApiResponse> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    for answer in &answers {
        same(&answers[0], answer);
    }
    answers[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_sixteen_times_at_once_is_one_deed() {
    let world: &'static World = Box::leak(Box::new(World::new().await));
    let ann = world.owner("ann").await;
    // One short of the limit: only one of them may cost a call.
    for number in 0..9 {
        ann.invite(&format!("guest{number}@example.com"), "member")
            .await
            .expect(201);
    }
    let it = ann.clone();
    let deed = move || {
        let it = it.clone();
        async move { it.invite_as(KEY, "ben@example.com").await }
    };
    let issued = sixteen_times(deed).await.expect(201);
    assert_eq!(issued.body["delivery"]["status"], "sent");
    assert_eq!(mails_to(world, "ben@example.com"), 1);
    assert_eq!(ann.invitations().await.body["total"], 10);

    let (it, id) = (ann.clone(), issued.id());
    let deed = move || {
        let (it, id) = (it.clone(), id.clone());
        async move { it.resend_as(KEY, &id).await }
    };
    let resent = sixteen_times(deed).await.expect(200);
    assert_eq!(mails_to(world, "ben@example.com"), 2);
    assert_eq!(ann.invitations().await.body["total"], 10);
    world
        .stranger("ben")
        .accept(&resent, json!({"password": PASSWORD}))
        .await
        .expect(200);

    let bob = loner(world, "bob").await;
    let it = bob.clone();
    let deed = move || {
        let it = it.clone();
        async move { it.found_as(KEY, "Acme").await }
    };
    let founded = sixteen_times(deed).await.expect(201);
    assert_eq!(bob.workspace().await.expect(200).body, founded.body);
    assert_eq!(world.rows(&["S(\"slug\")", "S(\"SLUG#acme"]).await.len(), 1);
    invariants::check(world).await;
}

#[tokio::test]
async fn a_request_whose_answers_were_lost_is_finished_by_the_next() {
    for lost in [1, 2, FOREVER] {
        let mut world = World::new().await;
        world.request_time_limit = Duration::from_secs(3);
        let ann = world.owner("ann").await;
        let cut = fault_injection::Fault::Lost(Loss::Failed);
        world.faults.next(&["TransactWriteItems"], lost, cut);
        ann.invite_as(KEY, "ben@example.com").await;
        world.faults.stop();
        let issued = ann.invite_as(KEY, "ben@example.com").await.expect(201);
        assert_eq!(ann.invitations().await.body["total"], 1, "{lost}");
        assert_eq!(world.rows(&["S(\"invitation\")"]).await.len(), 1, "{lost}");
        assert!(mails_to(&world, "ben@example.com") <= 1, "{lost}");
        world
            .stranger("ben")
            .accept(&issued, json!({"password": PASSWORD}))
            .await
            .expect(200);
        invariants::check(&world).await;
    }
}

#[tokio::test]
async fn a_first_try_that_was_overlooked_does_not_refuse_the_second() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for number in 0..9 {
        ann.invite(&format!("guest{number}@example.com"), "member")
            .await
            .expect(201);
    }
    let issued = ann.invite_as(KEY, "ben@example.com").await.expect(201);
    let table = world.dump().await;
    // The limit is used up by the first try itself.
    world.faults.next(&["BatchGetItem"], 1, OVERLOOKED);
    same(&issued, &ann.invite_as(KEY, "ben@example.com").await);
    assert_eq!(world.dump().await, table);
    let resent = ann.resend_as(KEY, &issued.id()).await.expect(200);
    let table = world.dump().await;
    world.faults.next(&["BatchGetItem"], 1, OVERLOOKED);
    same(&resent, &ann.resend_as(KEY, &issued.id()).await);
    assert_eq!(world.dump().await, table);
    let bob = loner(&world, "bob").await;
    let founded = bob.found_as(KEY, "Acme").await.expect(201);
    let table = world.dump().await;
    world.faults.next(&["BatchGetItem"], 2, OVERLOOKED);
    same(&founded, &bob.found_as(KEY, "Acme").await);
    assert_eq!(world.dump().await, table);
    // And where it is not refused, the transaction is.
    let cleo = world.owner("cleo").await;
    let issued = cleo.invite_as(KEY, "dan@example.com").await.expect(201);
    let table = world.dump().await;
    world.faults.next(&["BatchGetItem"], 1, OVERLOOKED);
    same(&issued, &cleo.invite_as(KEY, "dan@example.com").await);
    assert_eq!(world.dump().await, table);
}

#[tokio::test]
async fn an_answer_that_could_not_be_completed_is_given_as_it_is_known() {
    let mut world = World::new().await;
    world.request_time_limit = Duration::from_secs(5);
    let ann = world.owner("ann").await;
    // The mail leaves, and neither its fate nor what was said of it can be recorded.
    world
        .faults
        .next(&["UpdateItem"], FOREVER, fault_injection::Fault::Refused);
    let first = ann.invite_as(KEY, "ben@example.com").await.expect(201);
    world.faults.stop();
    assert_eq!(first.body["delivery"]["status"], "queued");
    same(&first, &ann.invite_as(KEY, "ben@example.com").await);
    assert_eq!(mails_to(&world, "ben@example.com"), 1);
    // They are written, and nobody hears of it: a look tells.
    let mut world = World::new().await;
    world.request_time_limit = Duration::from_secs(7);
    let ann = world.owner("ann").await;
    world
        .faults
        .next(&["UpdateItem"], FOREVER, fault_injection::Fault::Lost(Loss::Failed));
    let first = ann.invite_as("heard", "cleo@example.com").await.expect(201);
    world.faults.stop();
    assert_eq!(first.body["delivery"]["status"], "sent");
    same(&first, &ann.invite_as("heard", "cleo@example.com").await);
    assert_eq!(mails_to(&world, "cleo@example.com"), 1);
    invariants::check(&world).await;
}
