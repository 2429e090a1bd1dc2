//! Sequential round trips to DynamoDB, route by route: `docs/table.md` has the same numbers under `## Round trips`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, operations};

/// What each request may cost: its operation, in which case, its sequential round trips, and its calls.
const BUDGET: &[(&str, &str, usize, &[&str])] = &[
    ("GET /.well-known/jwks.json", "", 0, &[]),
    ("GET /invite", "", 0, &[]),
    ("GET /api/v1/auth/me", "", 1, &[READ]),
    ("GET /api/v1/workspaces/", "", 1, &[READ]),
    ("GET /api/v1/workspaces/members", "", 1, &[READ, QUERY]),
    ("GET /api/v1/workspaces/invitations", "", 1, &[READ, QUERY]),
    ("GET /api/v1/workspaces/usage", "", 1, &[READ]),
    ("PUT /api/v1/workspaces/", "", 2, &[READ, UPDATE]),
    ("PATCH /api/v1/workspaces/", "", 2, &[READ, UPDATE]),
    ("PATCH /api/v1/workspaces/", "with `If-Match`", 2, &[READ, UPDATE]),
    ("POST /api/v1/workspaces/", "", 2, &[READ, TRANSACT]),
    ("POST /api/v1/workspaces/", KEYED, 2, &[READ, TRANSACT]),
    ("DELETE /api/v1/workspaces/", "", 2, &[READ, TRANSACT]),
    (
        "DELETE /api/v1/workspaces/",
        "with up to 30 pending invitations",
        3,
        &[READ, QUERY, TRANSACT],
    ),
    ("PATCH /api/v1/workspaces/members/{user_id}", "", 2, &[READ, TRANSACT]),
    (
        "PATCH /api/v1/workspaces/members/{user_id}",
        "to the role they have",
        1,
        &[READ],
    ),
    ("DELETE /api/v1/workspaces/members/{user_id}", "", 2, &[READ, TRANSACT]),
    (
        "POST /api/v1/workspaces/invitations",
        "2, the mail, 1 for its fate",
        3,
        &[READ, TRANSACT, UPDATE],
    ),
    (
        "POST /api/v1/workspaces/invitations",
        "in the place of another",
        3,
        &[READ, TRANSACT, UPDATE],
    ),
    (
        "POST /api/v1/workspaces/invitations",
        KEYED,
        3,
        &[READ, TRANSACT, UPDATE, UPDATE],
    ),
    ("POST /api/v1/workspaces/invitations", REPEATED, 1, &[READ]),
    (
        "POST /api/v1/workspaces/invitations",
        "its mail withheld",
        2,
        &[READ, TRANSACT],
    ),
    (
        "POST /api/v1/workspaces/invitations",
        "refused by a rule",
        2,
        &[READ, UPDATE],
    ),
    (
        "POST /api/v1/workspaces/invitations",
        "refused by the limit",
        1,
        &[READ],
    ),
    (
        "POST /api/v1/workspaces/invitations/{id}/resend",
        "2, the mail, 1 for its fate",
        3,
        &[READ, TRANSACT, UPDATE],
    ),
    (
        "POST /api/v1/workspaces/invitations/{id}/resend",
        KEYED,
        3,
        &[READ, TRANSACT, UPDATE, UPDATE],
    ),
    (
        "POST /api/v1/workspaces/invitations/{id}/resend",
        "its mail withheld",
        4,
        &[READ, READ, TRANSACT, TRANSACT],
    ),
    (
        "POST /api/v1/workspaces/invitations/{id}/resend",
        "its mail withheld again",
        2,
        &[READ, TRANSACT],
    ),
    ("PATCH /api/v1/workspaces/invitations/{id}", "", 2, &[READ, UPDATE]),
    ("DELETE /api/v1/workspaces/invitations/{id}", "", 2, &[READ, TRANSACT]),
    (
        "POST /api/v1/workspaces/revoke-all-sessions",
        "",
        2,
        &[READ, QUERY, TRANSACT],
    ),
    ("POST /api/v1/auth/register", "", 3, &[READ, UPDATE, TRANSACT]),
    ("POST /api/v1/auth/login", "", 3, &[READ, READ, UPDATE, UPDATE, UPDATE]),
    (
        "POST /api/v1/auth/login",
        "wrong password, or nobody's e-mail",
        2,
        &[READ, READ, UPDATE, UPDATE],
    ),
    ("POST /api/v1/auth/refresh", "", 2, &[READ, UPDATE]),
    (
        "POST /api/v1/auth/refresh",
        "once more, the answer being lost",
        1,
        &[READ],
    ),
    ("POST /api/v1/auth/logout", "", 2, &[READ, UPDATE]),
    ("POST /api/v1/auth/invitation", "", 2, &[READ, READ, QUERY, UPDATE]),
    (
        "POST /api/v1/auth/accept-invite",
        "a new person",
        3,
        &[READ, READ, READ, QUERY, UPDATE, TRANSACT],
    ),
    (
        "POST /api/v1/auth/accept-invite",
        "with a bearer token",
        3,
        &[READ, READ, QUERY, UPDATE, TRANSACT],
    ),
    (
        "POST /api/v1/auth/accept-invite",
        "with a password",
        4,
        &[READ, READ, READ, READ, QUERY, UPDATE, UPDATE, UPDATE, TRANSACT],
    ),
    (
        "POST /api/v1/auth/decline-invite",
        "",
        3,
        &[READ, READ, QUERY, UPDATE, TRANSACT],
    ),
];

const KEYED: &str = "with an `Idempotency-Key`";
const REPEATED: &str = "with an `Idempotency-Key`, once more";
const READ: &str = "BatchGetItem";
const QUERY: &str = "Query";
const UPDATE: &str = "UpdateItem";
const TRANSACT: &str = "TransactWriteItems";

/// What was measured: a row a request, by its place in [`BUDGET`].
struct Measured<'w> {
    world: &'w World,
    rows: BTreeMap<usize, String>,
    broken: Vec<String>,
}

impl Measured<'_> {
    /// Notes what the request cost that was made since [`Measured::begin`].
    fn note(&mut self, operation: &str, case: &str) {
        let (trips, calls) = (self.world.calls.round_trips(), self.world.calls.operations());
        let place = BUDGET
            .iter()
            .position(|(o, c, ..)| *o == operation && *c == case)
            .unwrap();
        let (_, _, permitted_trips, permitted) = BUDGET[place];
        let mut permitted = permitted.to_vec();
        permitted.sort_unstable();
        if trips != permitted_trips || calls != permitted {
            let permitted = format!("permitted: {permitted_trips}, {permitted:?}");
            self.broken.push(format!(
                "{operation} {case}: {trips} round trips, {calls:?}; {permitted}"
            ));
        }
        self.rows.insert(place, row(operation, case, trips, &calls));
    }

    fn begin(&self) {
        self.world.calls.forget();
    }
}

fn row(operation: &str, case: &str, trips: usize, calls: &[String]) -> String {
    let mut counted: Vec<String> = Vec::new();
    for call in calls {
        let times = calls.iter().filter(|other| *other == call).count();
        let text = if times == 1 {
            call.clone()
        } else {
            format!("{times} {call}")
        };
        if !counted.contains(&text) {
            counted.push(text);
        }
    }
    let calls = if counted.is_empty() {
        "none".to_owned()
    } else {
        counted.join(", ")
    };
    let case = if case.is_empty() {
        String::new()
    } else {
        format!(" ({case})")
    };
    format!("| `{operation}`{case} | {trips} | {calls} |")
}

#[tokio::test]
async fn every_route_keeps_to_its_budget_and_the_document_says_so() {
    let world = World::new().await;
    let mut measured = Measured {
        world: &world,
        rows: BTreeMap::new(),
        broken: Vec::new(),
    };
    workspaces(&mut measured).await;
    invitations(&mut measured).await;
    people(&mut measured).await;
    accounts(&mut measured).await;
    assert!(measured.broken.is_empty(), "{}", measured.broken.join("\n"));

    assert_eq!(measured.rows.len(), BUDGET.len(), "a row of the budget is not measured");
    for operation in operations() {
        let name = operation.name();
        assert!(
            BUDGET.iter().any(|(operation, ..)| *operation == name),
            "{name} has no budget"
        );
    }
    let measured: Vec<String> = measured.rows.into_values().collect();
    let page = include_str!("../../docs/table.md");
    let (_, section) = page.split_once("## Round trips").unwrap_or_default();
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let written: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(
        written,
        measured,
        "docs/table.md must hold these rows:\n{}",
        measured.join("\n")
    );
}

async fn workspaces(measured: &mut Measured<'_>) {
    let world = measured.world;
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
        measured.begin();
        ann.get(path).await.expect(200);
        measured.note(read, "");
    }
    measured.begin();
    ann.put("/workspaces/", json!({"name": "New name"})).await.expect(200);
    measured.note("PUT /api/v1/workspaces/", "");
    measured.begin();
    ann.patch("/workspaces/", json!({"website": "https://example.com"}))
        .await
        .expect(200);
    measured.note("PATCH /api/v1/workspaces/", "");
    let tag = ann.workspace().await.header("etag").unwrap().to_owned();
    let renamed = json!({"name": "Newer name"});
    measured.begin();
    with_header(&ann, "PATCH", "/workspaces/", ("if-match", &tag), &renamed, 200).await;
    measured.note("PATCH /api/v1/workspaces/", "with `If-Match`");

    ann.invite("guest@example.com", "member").await.expect(201);
    measured.begin();
    ann.delete("/workspaces/").await.expect(200);
    measured.note("DELETE /api/v1/workspaces/", "with up to 30 pending invitations");
    // IdempotentRequest without the workspace: the token names one that the caller is not in.
    let mut ann = ann;
    ann.log_in().await;
    measured.begin();
    ann.post("/workspaces/", json!({"name": "Another"})).await.expect(201);
    measured.note("POST /api/v1/workspaces/", "");
    ann.log_in().await;
    ann.delete("/workspaces/").await.expect(200);
    ann.log_in().await;
    measured.begin();
    with_header(
        &ann,
        "POST",
        "/workspaces/",
        ("idempotency-key", "k"),
        &json!({"name": "Keyed"}),
        201,
    )
    .await;
    measured.note("POST /api/v1/workspaces/", KEYED);
    ann.log_in().await;
    measured.begin();
    ann.delete("/workspaces/").await.expect(200);
    measured.note("DELETE /api/v1/workspaces/", "");
}

/// What is answered, with this status, to a request with a header.
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

async fn invitations(measured: &mut Measured<'_>) {
    let world = measured.world;
    let bob = world.owner("bob").await;
    let (create, mail) = ("POST /api/v1/workspaces/invitations", "2, the mail, 1 for its fate");
    measured.begin();
    bob.invite("first@example.com", "member").await.expect(201);
    measured.note(create, mail);
    measured.begin();
    let issued = bob.invite("first@example.com", "manager").await.expect(201);
    measured.note(create, "in the place of another");
    measured.begin();
    bob.invite(&bob.email, "member").await.refused(400, "SELF_INVITE");
    measured.note(create, "refused by a rule");
    measured.begin();
    let issued = bob.resend(&issued.id()).await.expect(200);
    measured.note("POST /api/v1/workspaces/invitations/{id}/resend", mail);
    let path = format!("/workspaces/invitations/{}/resend", issued.id());
    measured.begin();
    let issued = with_header(&bob, "POST", &path, ("idempotency-key", "k"), &json!({}), 200).await;
    measured.note("POST /api/v1/workspaces/invitations/{id}/resend", KEYED);
    let body = json!({"email": "keyed@example.com"});
    for case in [KEYED, REPEATED] {
        measured.begin();
        with_header(
            &bob,
            "POST",
            "/workspaces/invitations",
            ("idempotency-key", "k"),
            &body,
            201,
        )
        .await;
        measured.note(create, case);
    }
    let in_a_day = world.clock.now().plus(std::time::Duration::from_secs(24 * 3600));
    measured.begin();
    bob.extend(&issued.id(), &in_a_day.to_string()).await.expect(200);
    measured.note("PATCH /api/v1/workspaces/invitations/{id}", "");
    let nobody = world.stranger("nobody");
    measured.begin();
    nobody.preview(&issued).await.expect(200);
    measured.note("POST /api/v1/auth/invitation", "");
    measured.begin();
    bob.cancel(&issued.id()).await.expect(200);
    measured.note("DELETE /api/v1/workspaces/invitations/{id}", "");
    let issued = bob.invite("second@example.com", "member").await.expect(201);
    measured.begin();
    nobody.decline(&issued).await.expect(200);
    measured.note("POST /api/v1/auth/decline-invite", "");
    for _ in 0..5 {
        bob.invite(&bob.email, "member").await.refused(400, "SELF_INVITE");
    }
    measured.begin();
    bob.invite("third@example.com", "member")
        .await
        .refused(429, "RATE_LIMITED");
    measured.note(create, "refused by the limit");
    withheld(measured).await;
}

/// Invitations of an address that has had its mails.
async fn withheld(measured: &mut Measured<'_>) {
    let world = measured.world;
    let (ida, jon) = (world.owner("ida").await, world.owner("jon").await);
    let of_ida = ida.invite("third@example.com", "member").await.expect(201);
    for _ in 0..4 {
        jon.invite("third@example.com", "member").await.expect(201);
    }
    measured.begin();
    jon.invite("third@example.com", "member").await.expect(201);
    measured.note("POST /api/v1/workspaces/invitations", "its mail withheld");
    let resend = "POST /api/v1/workspaces/invitations/{id}/resend";
    measured.begin();
    let of_ida = ida.resend(&of_ida.id()).await.expect(200);
    measured.note(resend, "its mail withheld");
    measured.begin();
    ida.resend(&of_ida.id()).await.expect(200);
    measured.note(resend, "its mail withheld again");
}

async fn people(measured: &mut Measured<'_>) {
    let world = measured.world;
    let cleo = world.owner("cleo").await;
    let accept = "POST /api/v1/auth/accept-invite";
    let issued = cleo.invite("dan@example.com", "member").await.expect(201);
    let mut dan = world.stranger("dan");
    measured.begin();
    let accepted = dan
        .accept(&issued, json!({"password": PASSWORD, "name": "Dan"}))
        .await
        .expect(200);
    measured.note(accept, "a new person");
    dan.take_tokens(&accepted);

    let change = "PATCH /api/v1/workspaces/members/{user_id}";
    measured.begin();
    cleo.change_role(&dan.id, "manager").await.expect(200);
    measured.note(change, "");
    measured.begin();
    cleo.change_role(&dan.id, "manager").await.expect(200);
    measured.note(change, "to the role they have");
    measured.begin();
    cleo.remove(&dan.id).await.expect(200);
    measured.note("DELETE /api/v1/workspaces/members/{user_id}", "");

    let issued = cleo.invite("dan@example.com", "member").await.expect(201);
    dan.log_in().await;
    measured.begin();
    dan.accept(&issued, json!({})).await.expect(200);
    measured.note(accept, "with a bearer token");
    cleo.remove(&dan.id).await.expect(200);
    let issued = cleo.invite("dan@example.com", "member").await.expect(201);
    measured.begin();
    dan.signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .expect(200);
    measured.note(accept, "with a password");

    measured.begin();
    cleo.revoke_all().await.expect(200);
    measured.note("POST /api/v1/workspaces/revoke-all-sessions", "");
}

async fn accounts(measured: &mut Measured<'_>) {
    let world = measured.world;
    let mut eve: Person<'_> = world.stranger("eve");
    measured.begin();
    eve.post(
        "/auth/register",
        json!({"email": eve.email, "password": PASSWORD, "name": "Eve"}),
    )
    .await
    .expect(201);
    measured.note("POST /api/v1/auth/register", "");
    measured.begin();
    eve.log_in().await;
    measured.note("POST /api/v1/auth/login", "");
    for (email, password) in [
        (eve.email.as_str(), "another password"),
        ("nobody@example.com", PASSWORD),
    ] {
        measured.begin();
        eve.post("/auth/login", json!({"email": email, "password": password}))
            .await
            .expect(401);
        measured.note("POST /api/v1/auth/login", "wrong password, or nobody's e-mail");
    }
    measured.begin();
    eve.refresh().await.expect(200);
    measured.note("POST /api/v1/auth/refresh", "");
    measured.begin();
    eve.refresh().await.expect(200);
    measured.note("POST /api/v1/auth/refresh", "once more, the answer being lost");
    measured.begin();
    eve.post("/auth/logout", json!({})).await.expect(200);
    measured.note("POST /api/v1/auth/logout", "");
}
