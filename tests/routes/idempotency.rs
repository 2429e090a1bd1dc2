//! `Idempotency-Key`: a repeated request is replayed, and a different request under the same key is refused.

use aws_sdk_dynamodb::types::AttributeValue;
use local::mailbox::Fault;
use serde_json::{Value, json};

use crate::routes::mail_retry::mails_to;
use crate::support::harness::{ApiResponse, PASSWORD, Person, World, proof};
use crate::support::invariants;

pub const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";
pub const INVITATIONS: &str = "/workspaces/invitations";

/// Requests under an idempotency key.
impl Person<'_> {
    pub async fn post_with_key(&self, key: &str, path: &str, body: Value) -> ApiResponse {
        let request = self.request("POST", path).header("idempotency-key", key);
        let request = request.body(body.to_string().into()).unwrap();
        self.world.send(request, self.address).await
    }

    pub async fn invite_with_key(&self, key: &str, email: &str) -> ApiResponse {
        self.post_with_key(key, INVITATIONS, json!({"email": email, "role": "member"}))
            .await
    }

    pub async fn resend_with_key(&self, key: &str, invitation: &str) -> ApiResponse {
        let path = format!("{INVITATIONS}/{invitation}/resend");
        self.post_with_key(key, &path, json!({})).await
    }

    pub async fn create_workspace_with_key(&self, key: &str, name: &str) -> ApiResponse {
        self.post_with_key(key, "/workspaces/", json!({"name": name})).await
    }
}

/// A person who has an account and no workspace.
pub async fn without_workspace<'w>(world: &'w World, name: &str) -> Person<'w> {
    let mut person = world.owner(name).await;
    person.delete("/workspaces/").await.expect(200);
    person.log_in().await;
    person
}

#[track_caller]
pub fn assert_replayed(first: &ApiResponse, replay: &ApiResponse) {
    assert_eq!((first.status, &first.text), (replay.status, &replay.text));
    assert_eq!(first.header("etag"), replay.header("etag"));
}

#[tokio::test]
async fn a_repeated_invitation_request_creates_one_invitation() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
    let table = world.dump().await;
    for _ in 0..12 {
        // More requests than the limit of ten: a replay creates nothing and takes no slot of the limit.
        assert_replayed(&first, &ann.invite_with_key(KEY, "ben@example.com").await);
    }
    assert_eq!(world.dump().await, table);
    assert_eq!(mails_to(&world, "ben@example.com"), 1);
    assert_eq!(ann.invitations().await.body["total"], 1);
    let replay = ann.invite_with_key(KEY, "ben@example.com").await;
    let ben = world.stranger("ben");
    ben.accept(&replay, json!({"password": PASSWORD})).await.expect(200);
    // The replay stays the first response after the invitation was accepted.
    assert_replayed(&first, &ann.invite_with_key(KEY, "ben@example.com").await);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_repeated_resend_sends_one_mail() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let old = ann.invite("ben@example.com", "member").await.expect(201);
    let first = ann.resend_with_key(KEY, &old.id()).await.expect(200);
    let table = world.dump().await;
    assert_replayed(&first, &ann.resend_with_key(KEY, &old.id()).await);
    assert_replayed(&first, &ann.resend_with_key(KEY, &old.id().to_uppercase()).await);
    assert_eq!(world.dump().await, table);
    assert_eq!(mails_to(&world, "ben@example.com"), 2);
    let other = ann.resend_with_key(KEY, &first.id()).await;
    other.refused(422, "IDEMPOTENCY_KEY_REUSED");
    ann.resend(&old.id()).await.refused(400, "INVITATION_REVOKED");
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_repeated_workspace_request_creates_one_workspace() {
    let world = World::new().await;
    let ann = without_workspace(&world, "ann").await;
    let first = ann.create_workspace_with_key(KEY, "Acme").await.expect(201);
    let table = world.dump().await;
    assert_replayed(&first, &ann.create_workspace_with_key(KEY, "Acme").await);
    ann.create_workspace_with_key("another", "Acme")
        .await
        .refused(400, "ALREADY_IN_WORKSPACE");
    assert_eq!(world.dump().await, table);
    // The replay stays the same after the workspace was renamed or deleted.
    ann.patch("/workspaces/", json!({"name": "Renamed"})).await.expect(200);
    assert_replayed(&first, &ann.create_workspace_with_key(KEY, "Acme").await);
    ann.delete("/workspaces/").await.expect(200);
    assert_replayed(&first, &ann.create_workspace_with_key(KEY, "Acme").await);
    ann.workspace().await.refused(404, "WORKSPACE_NOT_FOUND");
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_key_is_refused_for_a_different_body() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
    let table = world.dump().await;
    for body in [
        json!({"email": "cleo@example.com", "role": "member"}),
        json!({"email": "ben@example.com", "role": "manager"}),
        json!({"email": "ben@example.com"}),
        json!({"email": "ben@example.com", "role": "member", "more": 1}),
    ] {
        let refused = ann.post_with_key(KEY, INVITATIONS, body).await;
        let refused = refused.refused(422, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(refused.body["detail"][0]["loc"], json!(["header", "Idempotency-Key"]));
    }
    ann.post_with_key(KEY, INVITATIONS, json!({"role": "member"}))
        .await
        .refused(422, "VALIDATION_ERROR");
    assert_eq!(world.dump().await, table);
    // A different spelling of the same JSON is the same body.
    let request = ann.request("POST", INVITATIONS).header("idempotency-key", KEY);
    let request = request.body(" {\"role\":\"member\", \"email\": \"ben@\\u0065xample.com\"}".into());
    assert_replayed(&first, &world.send(request.unwrap(), ann.address).await);

    let cleo = without_workspace(&world, "cleo").await;
    cleo.create_workspace_with_key(KEY, "Acme").await.expect(201);
    let table = world.dump().await;
    cleo.create_workspace_with_key(KEY, "Acme Corporation")
        .await
        .refused(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(world.dump().await, table);
}

#[tokio::test]
async fn a_key_applies_to_one_caller_and_one_route() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let dan = world.joins(&ann, "dan", "owner").await;
    let issued = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
    let resent = ann.resend_with_key(KEY, &issued.id()).await.expect(200);
    let replaced = dan.invite_with_key(KEY, "ben@example.com").await.expect(201);
    let ids = [issued.id(), resent.id(), replaced.id()];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    invariants::check(&world).await;
}

#[tokio::test]
async fn a_replay_needs_the_rights_that_the_request_needs() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let mut dan = world.joins(&ann, "dan", "owner").await;
    let issued = dan.invite_with_key(KEY, "ben@example.com").await.expect(201);
    let for_owner = json!({"email": "eve@example.com", "role": "owner"});
    let for_owner = dan.post_with_key("owner", INVITATIONS, for_owner).await.expect(201);
    let resent = dan.resend_with_key("resend", &for_owner.id()).await.expect(200);
    ann.change_role(&dan.id, "manager").await.expect(200);
    dan.log_in().await;
    assert_replayed(&issued, &dan.invite_with_key(KEY, "ben@example.com").await);
    dan.resend_with_key("resend", &for_owner.id())
        .await
        .refused(403, "FORBIDDEN");
    ann.change_role(&dan.id, "member").await.expect(200);
    dan.log_in().await;
    dan.invite_with_key(KEY, "ben@example.com")
        .await
        .refused(403, "FORBIDDEN");
    ann.remove(&dan.id).await.expect(200);
    dan.log_in().await;
    dan.invite_with_key(KEY, "ben@example.com")
        .await
        .refused(404, "WORKSPACE_NOT_FOUND");
    // In another workspace, the key still belongs to the request in the first one.
    dan.post("/workspaces/", json!({"name": "Dan's"})).await.expect(201);
    dan.log_in().await;
    let refused = dan
        .invite_with_key(KEY, "ben@example.com")
        .await
        .refused(422, "IDEMPOTENCY_KEY_REUSED");
    assert!(!refused.text.contains(&issued.id()) && !refused.text.contains(&resent.id()));
    ann.signed_out()
        .invite_with_key(KEY, "ben@example.com")
        .await
        .refused(401, "TOKEN_MISSING");
}

#[tokio::test]
async fn a_key_expires_after_a_day_even_if_its_item_is_still_there() {
    let world = World::new().await;
    let mut ann = world.owner("ann").await;
    let first = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
    world.pass(24 * 3600 - 30);
    ann.log_in().await;
    assert_replayed(&first, &ann.invite_with_key(KEY, "ben@example.com").await);
    world.pass(31);
    assert_eq!(world.rows(&["S(\"idempotency\")"]).await.len(), 1);
    let second = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
    assert_ne!(first.id(), second.id());
    assert_replayed(&second, &ann.invite_with_key(KEY, "ben@example.com").await);
    world.pass(24 * 3600 + 1);
    ann.log_in().await;
    ann.invite_with_key(KEY, "cleo@example.com").await.expect(201);
    assert_eq!(world.rows(&["S(\"idempotency\")"]).await.len(), 1);
    invariants::check(&world).await;
}

/// Another release may store results in another format. The operation must not be repeated for that.
#[tokio::test]
async fn an_unreadable_result_is_refused_and_the_operation_is_not_repeated() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
    ann.resend_with_key(KEY, &issued.id()).await.expect(200);
    let bob = without_workspace(&world, "bob").await;
    bob.create_workspace_with_key(KEY, "Acme").await.expect(201);
    let client = world.app.store.client();
    let scan = client.scan().table_name(world.app.store.table()).send().await.unwrap();
    let records = scan.items.unwrap().into_iter().filter(|item| {
        let entity = item["entity"].as_s().map(String::as_str);
        entity == Ok("idempotency")
    });
    for mut item in records {
        let result = AttributeValue::M([("version".to_owned(), AttributeValue::N("2".to_owned()))].into());
        item.insert("result".to_owned(), result);
        let put = client.put_item().table_name(world.app.store.table());
        put.set_item(Some(item)).send().await.unwrap();
    }
    let table = world.dump().await;
    for refused in [
        ann.invite_with_key(KEY, "ben@example.com").await,
        ann.resend_with_key(KEY, &issued.id()).await,
        bob.create_workspace_with_key(KEY, "Acme").await,
    ] {
        refused.refused(409, "ALREADY_DONE");
    }
    ann.invite_with_key(KEY, "cleo@example.com")
        .await
        .refused(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(world.dump().await, table);
}

#[tokio::test]
async fn a_refused_request_stores_no_record() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    ann.invite_with_key(KEY, &ann.email).await.refused(400, "SELF_INVITE");
    ann.invite_with_key(KEY, "no address")
        .await
        .refused(400, "INVALID_EMAIL");
    assert_eq!(world.rows(&["S(\"idempotency\")"]).await.len(), 0);
    ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
}

#[tokio::test]
async fn records_hold_no_secrets() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let issued = ann.invite_with_key(KEY, "ben@example.com").await.expect(201);
    let resent = ann.resend_with_key(KEY, &issued.id()).await.expect(200);
    let bob = without_workspace(&world, "bob").await;
    bob.create_workspace_with_key(KEY, "Acme").await.expect(201);
    let records = world.rows(&["S(\"idempotency\")"]).await;
    assert_eq!(records.len(), 3);
    for item in records {
        for response in [&issued, &resent] {
            assert!(
                !item.contains(proof(response, json!({}))["token"].as_str().unwrap()),
                "{item}"
            );
        }
        for hidden in [KEY, "token", "cursor_key", "#invite_id"] {
            assert!(!item.contains(hidden), "{hidden} in {item}");
        }
    }
}

#[tokio::test]
async fn a_replay_shows_the_delivery_status_of_the_first_response() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    world.mailbox.set_fault(Fault::internal_failure());
    let queued = ann.invite_with_key("queued", "ben@example.com").await.expect(201);
    world.mailbox.set_fault(Fault::message_rejected());
    let failed = ann.invite_with_key("failed", "cleo@example.com").await.expect(201);
    world.mailbox.set_fault(None);
    let sent = ann.invite_with_key("sent", "dan@example.com").await.expect(201);
    let statuses = [&queued, &failed, &sent].map(|response| response.body["delivery"]["status"].clone());
    assert_eq!(statuses, ["queued", "failed", "sent"]);
    ann.cancel(&queued.id()).await.expect(200);
    assert_replayed(&queued, &ann.invite_with_key("queued", "ben@example.com").await);
    assert_replayed(&failed, &ann.invite_with_key("failed", "cleo@example.com").await);
    assert_replayed(&sent, &ann.invite_with_key("sent", "dan@example.com").await);
    assert_eq!(mails_to(&world, "ben@example.com"), 0);
    assert_eq!(mails_to(&world, "dan@example.com"), 1);
}
