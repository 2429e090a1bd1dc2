//! The requests whose round trips are measured.

use serde_json::{Value, json};

use crate::deployment::round_trips::{KEYED, Measurements, REPLAYED};
use crate::support::harness::{ApiResponse, PASSWORD, Person};

pub async fn workspaces(measurements: &mut Measurements<'_>) {
    let world = measurements.world;
    let ann = world.owner("ann").await;
    let reads = [
        "GET /api/v1/auth/me",
        "GET /api/v1/workspaces/",
        "GET /api/v1/workspaces/members",
        "GET /api/v1/workspaces/invitations",
        "GET /api/v1/workspaces/usage",
        "GET /.well-known/jwks.json",
        "GET /invite",
    ];
    for read in reads {
        let (_, path) = read.split_once(' ').unwrap();
        measurements.reset();
        ann.get(path).await.expect(200);
        measurements.record(read, "");
    }
    measurements.reset();
    ann.put("/workspaces/", json!({"name": "New name"})).await.expect(200);
    measurements.record("PUT /api/v1/workspaces/", "");
    measurements.reset();
    ann.patch("/workspaces/", json!({"website": "https://example.com"}))
        .await
        .expect(200);
    measurements.record("PATCH /api/v1/workspaces/", "");
    let tag = ann.workspace().await.header("etag").unwrap().to_owned();
    let renamed = json!({"name": "Newer name"});
    measurements.reset();
    with_header(&ann, "PATCH", "/workspaces/", ("if-match", &tag), &renamed, 200).await;
    measurements.record("PATCH /api/v1/workspaces/", "with `If-Match`");

    ann.invite("guest@example.com", "member").await.expect(201);
    measurements.reset();
    ann.delete("/workspaces/").await.expect(200);
    measurements.record("DELETE /api/v1/workspaces/", "with up to 30 pending invitations");
    // After a new login, the token does not name the deleted workspace any more.
    let mut ann = ann;
    ann.log_in().await;
    measurements.reset();
    ann.post("/workspaces/", json!({"name": "Another"})).await.expect(201);
    measurements.record("POST /api/v1/workspaces/", "");
    ann.log_in().await;
    ann.delete("/workspaces/").await.expect(200);
    ann.log_in().await;
    measurements.reset();
    with_header(
        &ann,
        "POST",
        "/workspaces/",
        ("idempotency-key", "k"),
        &json!({"name": "Keyed"}),
        201,
    )
    .await;
    measurements.record("POST /api/v1/workspaces/", KEYED);
    ann.log_in().await;
    measurements.reset();
    ann.delete("/workspaces/").await.expect(200);
    measurements.record("DELETE /api/v1/workspaces/", "");
}

/// Sends a request with one more header. Asserts the status of the response.
async fn with_header(
    person: &Person<'_>,
    method: &str,
    path: &str,
    (name, value): (&str, &str),
    body: &Value,
    status: u16,
) -> ApiResponse {
    let request = person.request(method, path).header(name, value);
    let request = request.body(body.to_string().into()).unwrap();
    person.world.send(request, person.address).await.expect(status)
}

pub async fn invitations(measurements: &mut Measurements<'_>) {
    let world = measurements.world;
    let bob = world.owner("bob").await;
    let (create, mail) = (
        "POST /api/v1/workspaces/invitations",
        "2, the mail, 1 for its delivery status",
    );
    measurements.reset();
    bob.invite("first@example.com", "member").await.expect(201);
    measurements.record(create, mail);
    measurements.reset();
    let issued = bob.invite("first@example.com", "manager").await.expect(201);
    measurements.record(create, "replaces a pending invitation");
    measurements.reset();
    bob.invite(&bob.email, "member").await.refused(400, "SELF_INVITE");
    measurements.record(create, "refused by a rule");
    measurements.reset();
    let issued = bob.resend(&issued.id()).await.expect(200);
    measurements.record("POST /api/v1/workspaces/invitations/{id}/resend", mail);
    let path = format!("/workspaces/invitations/{}/resend", issued.id());
    measurements.reset();
    let issued = with_header(&bob, "POST", &path, ("idempotency-key", "k"), &json!({}), 200).await;
    measurements.record("POST /api/v1/workspaces/invitations/{id}/resend", KEYED);
    let body = json!({"email": "keyed@example.com"});
    for case in [KEYED, REPLAYED] {
        measurements.reset();
        with_header(
            &bob,
            "POST",
            "/workspaces/invitations",
            ("idempotency-key", "k"),
            &body,
            201,
        )
        .await;
        measurements.record(create, case);
    }
    let in_a_day = world.clock.now().plus(std::time::Duration::from_secs(24 * 3600));
    measurements.reset();
    bob.extend(&issued.id(), &in_a_day.to_string()).await.expect(200);
    measurements.record("PATCH /api/v1/workspaces/invitations/{id}", "");
    let anonymous = world.stranger("anonymous");
    measurements.reset();
    anonymous.preview(&issued).await.expect(200);
    measurements.record("POST /api/v1/auth/invitation", "");
    measurements.reset();
    bob.cancel(&issued.id()).await.expect(200);
    measurements.record("DELETE /api/v1/workspaces/invitations/{id}", "");
    let issued = bob.invite("second@example.com", "member").await.expect(201);
    measurements.reset();
    anonymous.decline(&issued).await.expect(200);
    measurements.record("POST /api/v1/auth/decline-invite", "");
    for _ in 0..5 {
        bob.invite(&bob.email, "member").await.refused(400, "SELF_INVITE");
    }
    measurements.reset();
    bob.invite("third@example.com", "member")
        .await
        .refused(429, "RATE_LIMITED");
    measurements.record(create, "refused by the limit");
    withheld(measurements).await;
}

/// Invitations of an e-mail address whose mail budget is spent.
async fn withheld(measurements: &mut Measurements<'_>) {
    let world = measurements.world;
    let (ida, jon) = (world.owner("ida").await, world.owner("jon").await);
    let of_ida = ida.invite("third@example.com", "member").await.expect(201);
    for _ in 0..4 {
        jon.invite("third@example.com", "member").await.expect(201);
    }
    measurements.reset();
    jon.invite("third@example.com", "member").await.expect(201);
    measurements.record("POST /api/v1/workspaces/invitations", "mail withheld");
    let resend = "POST /api/v1/workspaces/invitations/{id}/resend";
    measurements.reset();
    let of_ida = ida.resend(&of_ida.id()).await.expect(200);
    measurements.record(resend, "mail withheld");
    measurements.reset();
    ida.resend(&of_ida.id()).await.expect(200);
    measurements.record(resend, "mail withheld repeatedly");
}

pub async fn people(measurements: &mut Measurements<'_>) {
    let world = measurements.world;
    let cleo = world.owner("cleo").await;
    let accept = "POST /api/v1/auth/accept-invite";
    let issued = cleo.invite("dan@example.com", "member").await.expect(201);
    let mut dan = world.stranger("dan");
    measurements.reset();
    let accepted = dan
        .accept(&issued, json!({"password": PASSWORD, "name": "Dan"}))
        .await
        .expect(200);
    measurements.record(accept, "a new person");
    dan.take_tokens(&accepted);

    let change = "PATCH /api/v1/workspaces/members/{user_id}";
    measurements.reset();
    cleo.change_role(&dan.id, "manager").await.expect(200);
    measurements.record(change, "");
    measurements.reset();
    cleo.change_role(&dan.id, "manager").await.expect(200);
    measurements.record(change, "to the current role");
    measurements.reset();
    cleo.remove(&dan.id).await.expect(200);
    measurements.record("DELETE /api/v1/workspaces/members/{user_id}", "");

    let issued = cleo.invite("dan@example.com", "member").await.expect(201);
    dan.log_in().await;
    measurements.reset();
    dan.accept(&issued, json!({})).await.expect(200);
    measurements.record(accept, "with a bearer token");
    cleo.remove(&dan.id).await.expect(200);
    let issued = cleo.invite("dan@example.com", "member").await.expect(201);
    measurements.reset();
    dan.signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .expect(200);
    measurements.record(accept, "with a password");

    measurements.reset();
    cleo.revoke_all().await.expect(200);
    measurements.record("POST /api/v1/workspaces/revoke-all-sessions", "");
}

pub async fn accounts(measurements: &mut Measurements<'_>) {
    let world = measurements.world;
    let mut eve: Person<'_> = world.stranger("eve");
    measurements.reset();
    eve.post(
        "/auth/register",
        json!({"email": eve.email, "password": PASSWORD, "name": "Eve"}),
    )
    .await
    .expect(201);
    measurements.record("POST /api/v1/auth/register", "");
    measurements.reset();
    eve.log_in().await;
    measurements.record("POST /api/v1/auth/login", "");
    for (email, password) in [
        (eve.email.as_str(), "another password"),
        ("unknown@example.com", PASSWORD),
    ] {
        measurements.reset();
        eve.post("/auth/login", json!({"email": email, "password": password}))
            .await
            .expect(401);
        measurements.record("POST /api/v1/auth/login", "wrong password or unknown e-mail address");
    }
    measurements.reset();
    eve.refresh().await.expect(200);
    measurements.record("POST /api/v1/auth/refresh", "");
    measurements.reset();
    eve.refresh().await.expect(200);
    measurements.record("POST /api/v1/auth/refresh", "retried after a lost response");
    measurements.reset();
    eve.post("/auth/logout", json!({})).await.expect(200);
    measurements.record("POST /api/v1/auth/logout", "");
}
