//! Races between a read and the following write: a process pauses in between, until a concurrent write was made.

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

/// Deadline of a request that ends within it, unless the machine is very slow.
const LONG: Duration = Duration::from_secs(60);
/// Deadline of a request that may use all of it, because no read shows the state that its write requires.
const SHORT: Duration = Duration::from_secs(3);

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// A request with everything that a process needs to serve it without a gateway.
fn post_request(person: &Person<'_>, path: &str, body: &serde_json::Value) -> Request<Body> {
    let mut request = person.request("POST", path).body(Body::from(body.to_string())).unwrap();
    request.extensions_mut().insert(Gateway {
        request_id: String::new(),
        source_ip: Some(person.address),
        domain_name: Some("api.example.com".to_owned()),
    });
    request
}

/// Sends a request to a process that pauses before its transaction while `meanwhile` runs.
async fn send_paused(
    world: &World,
    request: Request<Body>,
    deadline: Duration,
    meanwhile: impl Future<Output = ()>,
) -> ApiResponse {
    let work = async move |app: App| {
        let mut request = request;
        request.extensions_mut().insert(Deadline::after(deadline));
        ApiResponse::read(local::stack::api(app).oneshot(request).await.unwrap()).await
    };
    let (response, was_paused) = run_paused(world, PauseBefore::First("TransactWriteItems"), work, meanwhile).await;
    assert!(was_paused, "the request made no transaction: {}", response.text);
    response
}

#[tokio::test]
async fn accepting_fails_if_the_invitation_was_cancelled_or_accepted_meanwhile() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    for (event, code) in [("cancelled", "INVITATION_REVOKED"), ("accepted", "INVITATION_USED")] {
        let issued = ann.invite(&format!("{event}@example.com"), "member").await.expect(201);
        let guest = world.stranger(event);
        let late = json!({"password": "another passphrase", "name": event});
        let request = post_request(&guest, "/auth/accept-invite", &proof(&issued, late));
        let meanwhile = async {
            if event == "cancelled" {
                ann.cancel(&issued.id()).await.expect(200);
            } else {
                guest
                    .accept(&issued, json!({"password": PASSWORD, "name": event}))
                    .await
                    .expect(200);
            }
        };
        let response = send_paused(&world, request, LONG, Box::pin(meanwhile)).await;
        // If the invitation was accepted meanwhile, the account exists and has a different password.
        let refusal = (
            response.status.as_u16(),
            response.body["error_code"].as_str().unwrap_or_default(),
        );
        assert!(
            [(400, code), (401, "INVALID_CREDENTIALS")].contains(&refusal),
            "{}",
            response.text
        );
        invariants::check(&world).await;
    }
    assert_eq!(ann.members().await.expect(200).body["total"], 2);
}

/// The three items of an invitation end together. The write has a condition on each of them, and each condition alone
/// prevents the acceptance.
#[tokio::test]
async fn accepting_fails_if_any_of_the_three_items_of_the_invitation_has_ended() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let workspace = ann.workspace().await.id();
    for ended in ["invitation", "pending", "guard"] {
        let email = format!("{ended}@example.com");
        let issued = ann.invite(&email, "member").await.expect(201);
        let body = proof(&issued, json!({"password": PASSWORD, "name": ended}));
        let request = post_request(&world.stranger(ended), "/auth/accept-invite", &body);
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
        let response = send_paused(&world, request, SHORT, Box::pin(meanwhile)).await;
        assert!(
            [400, 503].contains(&response.status.as_u16()),
            "{ended}: {}",
            response.text
        );
        assert_eq!(ann.members().await.expect(200).body["total"], 1, "{ended}");
        assert_eq!(
            world.rows(&[r#""entity": S("user")"#, &email]).await,
            [""; 0],
            "{ended}"
        );
    }
}

/// Every operation that ends tokens raises the epoch of the user and removes the sessions. Each of the two suffices.
#[tokio::test]
async fn a_raised_epoch_ends_tokens_whose_session_still_exists() {
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
