//! Responses do not reveal whether an e-mail address has an account.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::harness::World;

#[tokio::test]
async fn invitation_responses_do_not_depend_on_whether_the_invitee_has_an_account() {
    let world = World::new().await;
    let (ann, known) = (world.owner("ann").await, world.owner("known").await);
    known.delete("/workspaces/").await.expect(200);
    let mut responses = Vec::new();
    for email in ["known@example.com", "unheard@example.com"] {
        let issued = ann.invite(email, "member").await.expect(201);
        let resent = ann.resend(&issued.id()).await.expect(200);
        let listed = ann.invitations().await.expect(200);
        let cancelled = ann.cancel(&resent.id()).await.expect(200);
        let mut bodies: Vec<Value> = [issued, resent, listed, cancelled]
            .into_iter()
            .map(|response| response.body)
            .collect();
        bodies.iter_mut().for_each(remove_individual_fields);
        responses.push((bodies, world.mailbox.latest_to(email).unwrap().subject));
    }
    assert_eq!(responses[0], responses[1]);
}

/// Removes the fields that differ between any two invitations.
fn remove_individual_fields(body: &mut Value) {
    match body {
        Value::Array(values) => values.iter_mut().for_each(remove_individual_fields),
        Value::Object(fields) => {
            let differs = ["id", "email", "created_at", "expires_at", "updated_at", "invite_link"];
            fields.retain(|name, _| !differs.contains(&name.as_str()));
            fields.values_mut().for_each(remove_individual_fields);
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_login_with_an_unknown_email_address_takes_as_long_as_a_wrong_password() {
    let world = World::new().await;
    let ann = world.owner("ann").await.signed_out();
    let mut shortest = [Duration::MAX; 3];
    for _ in 0..6 {
        for (email, shortest) in ["ann@example.com", "nobody@example.com", "no e-mail"]
            .iter()
            .zip(&mut shortest)
        {
            let started = Instant::now();
            let body = json!({"email": email, "password": "the wrong passphrase"});
            ann.post("/auth/login", body).await.refused(401, "INVALID_CREDENTIALS");
            *shortest = started.elapsed().min(*shortest);
        }
    }
    // Load on the machine makes an attempt longer, never shorter. A login that skips the hash is ten times as fast.
    let [known, unknown, malformed] = shortest;
    assert!(unknown > known / 3 && malformed > known / 3, "{shortest:?}");
}
