//! Races that are decided between a read and the write behind it: a process freezes there, and thaws when it is too late.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use shared::app::App;
use shared::deadline::Deadline;
use shared::http::gateway::Gateway;
use tower::ServiceExt;

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, proof};
use crate::support::invariants;
use crate::support::paused::{PauseBefore, run_paused};

/// What a request has, where what it waits for never comes.
const SHORT: Duration = Duration::from_secs(3);

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// A request that any process may answer.
fn posted(person: &Person<'_>, path: &str, body: &serde_json::Value) -> Request<Body> {
    let mut request = person.request("POST", path).body(Body::from(body.to_string())).unwrap();
    request.extensions_mut().insert(Gateway {
        request_id: String::new(),
        source_ip: Some(person.address),
        domain_name: Some("api.example.com".to_owned()),
    });
    request
}

/// The answer of a process that freezes before its transaction.
async fn answered_late(world: &World, request: Request<Body>, meanwhile: impl Future<Output = ()>) -> ApiResponse {
    let work = async move |app: App| {
        let mut request = request;
        request.extensions_mut().insert(Deadline::after(SHORT));
        ApiResponse::read(local::stack::api(app).oneshot(request).await.unwrap()).await
    };
    let (answer, was_frozen) = run_paused(world, PauseBefore::First("TransactWriteItems"), work, meanwhile).await;
    assert!(was_frozen, "it came to no transaction: {}", answer.text);
    answer
}

#[tokio::test]
async fn who_accepts_too_late_joins_nowhere() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for (guest, code) in [("cancelled", "INVITATION_REVOKED"), ("accepted", "INVITATION_USED")] {
        let issued = ann.invite(&format!("{guest}@example.com"), "member").await.expect(201);
        let person = world.stranger(guest);
        let mine = json!({"password": "another passphrase", "name": guest});
        let request = posted(&person, "/auth/accept-invite", &proof(&issued, mine));
        let meanwhile = async {
            if guest == "cancelled" {
                ann.cancel(&issued.id()).await.expect(200);
            } else {
                person
                    .accept(&issued, json!({"password": PASSWORD, "name": guest}))
                    .await
                    .expect(200);
            }
        };
        let answer = answered_late(&world, request, Box::pin(meanwhile)).await;
        // Of who was accepted meanwhile there is an account, and this is not its password.
        let told = (
            answer.status.as_u16(),
            answer.body["error_code"].as_str().unwrap_or_default(),
        );
        assert!(
            [(400, code), (401, "INVALID_CREDENTIALS")].contains(&told),
            "{}",
            answer.text
        );
        invariants::check(&world).await;
    }
    assert_eq!(ann.members().await.expect(200).body["total"], 2);
}

/// An invitation's three items end together. The write says so of each by itself, so that none of the three conditions is
/// there for nothing: whichever of them ended, nobody joins.
#[tokio::test]
async fn each_item_of_an_invitation_is_enough_to_refuse_its_acceptance() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    for ended in ["invitation", "pending", "guard"] {
        let email = format!("{ended}@example.com");
        let issued = ann.invite(&email, "member").await.expect(201);
        let body = proof(&issued, json!({"password": PASSWORD, "name": ended}));
        let request = posted(&world.stranger(ended), "/auth/accept-invite", &body);
        let (client, table) = (world.app.store.client(), world.app.store.table());
        let meanwhile = async {
            let id = issued.id();
            if ended == "pending" {
                let delete = client.delete_item().table_name(table);
                let delete = delete.key("pk", text(&format!("WS#{workspace}")));
                delete.key("sk", text(&format!("PENDING#{id}"))).send().await.unwrap();
                return;
            }
            let update = client.update_item().table_name(table);
            let update = if ended == "invitation" {
                let end = [("status", "revoked"), ("at", "2025-10-01T08:00:00.000Z")];
                let end = end.map(|(name, value)| (name.to_owned(), text(value)));
                let update = update
                    .key("pk", text(&format!("INVITE#{id}")))
                    .key("sk", text("INVITE"));
                let update = update.update_expression("SET #it = :it");
                update
                    .expression_attribute_names("#it", "end")
                    .expression_attribute_values(":it", AttributeValue::M(end.into()))
            } else {
                let update = update.key("pk", text(&format!("EMAIL#{email}")));
                let update = update.key("sk", text(&format!("GUARD#{workspace}")));
                let update = update.update_expression("SET invitation_id = :it");
                update.expression_attribute_values(":it", text("00000000-0000-7000-8000-000000000000"))
            };
            update.send().await.unwrap();
        };
        let answer = answered_late(&world, request, Box::pin(meanwhile)).await;
        assert!([400, 503].contains(&answer.status.as_u16()), "{ended}: {}", answer.text);
        assert_eq!(ann.members().await.expect(200).body["total"], 1, "{ended}");
        assert_eq!(
            world.rows(&[r#""entity": S("user")"#, &email]).await,
            [""; 0],
            "{ended}"
        );
    }
}

/// Whatever ends a token raises its user's epoch and takes the sessions away. Each of the two is enough.
#[tokio::test]
async fn a_raised_epoch_ends_tokens_whose_session_is_still_there() {
    let world = World::new().await;
    let mut ann = world.owner("ann").await;
    let update = world
        .app
        .store
        .client()
        .update_item()
        .table_name(world.app.store.table());
    let update = update
        .key("pk", text(&format!("USER#{}", ann.id)))
        .key("sk", text("USER"));
    let update = update.update_expression("ADD epoch :one");
    let update = update.expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    update.send().await.unwrap();
    for path in ["/auth/me", "/workspaces/", "/workspaces/members"] {
        ann.get(path).await.refused(401, "TOKEN_REVOKED");
    }
    ann.log_in().await;
    ann.get("/auth/me").await.expect(200);
}
