//! Sequential round trips to DynamoDB for every route. `docs/table.md` lists the same numbers under `## Round trips`.

use std::collections::BTreeMap;

use crate::deployment::round_trip_requests::{accounts, invitations, people, workspaces};
use crate::support::harness::{World, operations};

/// The expected numbers: operation, case, sequential round trips, and calls.
const EXPECTED: &[(&str, &str, usize, &[&str])] = &[
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
        "to the current role",
        1,
        &[READ],
    ),
    ("DELETE /api/v1/workspaces/members/{user_id}", "", 2, &[READ, TRANSACT]),
    (
        "POST /api/v1/workspaces/invitations",
        "2, the mail, 1 for its delivery status",
        3,
        &[READ, TRANSACT, UPDATE],
    ),
    (
        "POST /api/v1/workspaces/invitations",
        "replaces a pending invitation",
        3,
        &[READ, TRANSACT, UPDATE],
    ),
    (
        "POST /api/v1/workspaces/invitations",
        KEYED,
        3,
        &[READ, TRANSACT, UPDATE, UPDATE],
    ),
    ("POST /api/v1/workspaces/invitations", REPLAYED, 1, &[READ]),
    (
        "POST /api/v1/workspaces/invitations",
        "mail withheld",
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
        "2, the mail, 1 for its delivery status",
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
        "mail withheld",
        4,
        &[READ, READ, TRANSACT, TRANSACT],
    ),
    (
        "POST /api/v1/workspaces/invitations/{id}/resend",
        "mail withheld repeatedly",
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
        "wrong password or unknown e-mail address",
        2,
        &[READ, READ, UPDATE, UPDATE],
    ),
    ("POST /api/v1/auth/refresh", "", 2, &[READ, UPDATE]),
    ("POST /api/v1/auth/refresh", "retried after a lost response", 1, &[READ]),
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

pub const KEYED: &str = "with an `Idempotency-Key`";
pub const REPLAYED: &str = "with an `Idempotency-Key`, replayed";
const READ: &str = "BatchGetItem";
const QUERY: &str = "Query";
const UPDATE: &str = "UpdateItem";
const TRANSACT: &str = "TransactWriteItems";

/// The measured rows of the document, by their index in [`EXPECTED`], and the deviations.
pub struct Measurements<'w> {
    pub world: &'w World,
    rows: BTreeMap<usize, String>,
    deviations: Vec<String>,
}

impl Measurements<'_> {
    /// Records the calls that were made since [`Measurements::reset`].
    pub fn record(&mut self, operation: &str, case: &str) {
        let (trips, calls) = (self.world.calls.round_trips(), self.world.calls.operations());
        let index = EXPECTED
            .iter()
            .position(|(o, c, ..)| *o == operation && *c == case)
            .unwrap();
        let (_, _, expected_trips, expected) = EXPECTED[index];
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        if trips != expected_trips || calls != expected {
            let expected = format!("expected: {expected_trips}, {expected:?}");
            self.deviations.push(format!(
                "{operation} {case}: {trips} round trips, {calls:?}; {expected}"
            ));
        }
        self.rows.insert(index, row(operation, case, trips, &calls));
    }

    /// Forgets the calls that were made so far.
    pub fn reset(&self) {
        self.world.calls.forget();
    }
}

/// A row of the table in the document.
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
async fn every_route_makes_the_documented_number_of_round_trips() {
    let world = World::new().await;
    let mut measurements = Measurements {
        world: &world,
        rows: BTreeMap::new(),
        deviations: Vec::new(),
    };
    workspaces(&mut measurements).await;
    invitations(&mut measurements).await;
    people(&mut measurements).await;
    accounts(&mut measurements).await;
    assert!(
        measurements.deviations.is_empty(),
        "{}",
        measurements.deviations.join("\n")
    );

    assert_eq!(
        measurements.rows.len(),
        EXPECTED.len(),
        "an expected row is not measured"
    );
    for operation in operations() {
        let name = operation.name();
        assert!(
            EXPECTED.iter().any(|(operation, ..)| *operation == name),
            "{name} has no expected row"
        );
    }
    let measured: Vec<String> = measurements.rows.into_values().collect();
    let page = include_str!("../../docs/table.md");
    let (_, section) = page.split_once("## Round trips").unwrap_or_default();
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let written: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(
        written,
        measured,
        "docs/table.md must have these rows:\n{}",
        measured.join("\n")
    );
}
