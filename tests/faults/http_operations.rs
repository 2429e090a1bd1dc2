//! The operations of the API that write, the people who perform them, and their outcome.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::fault_injection::WRITES;
use crate::support::harness::{ApiResponse, PASSWORD, Person, World};
use crate::support::invariants;

/// An operation of the API that writes.
pub struct WriteOperation {
    /// Method and path.
    pub name: &'static str,
    pub case: &'static str,
    pub status: u16,
    /// Status and error code of the response to the same request when it is repeated.
    pub repeated: (u16, &'static str),
    perform: for<'a> fn(&'a Setup<'a>) -> BoxFuture<'a, ApiResponse>,
}

/// A [`WriteOperation`] whose request uses the people and invitations of `$setup`.
macro_rules! operation {
    ($name:literal, $case:literal, $status:literal, $repeated:expr, |$setup:ident| $request:expr) => {
        WriteOperation {
            name: $name,
            case: $case,
            status: $status,
            repeated: $repeated,
            perform: |$setup| async move { $request.await }.boxed(),
        }
    };
}

const SUCCEEDS: (u16, &str) = (200, "");
const REVOKED: (u16, &str) = (400, "INVITATION_REVOKED");

pub const WRITE_OPERATIONS: &[WriteOperation] = &[
    operation!("PUT /api/v1/workspaces/", "", 200, SUCCEEDS, |setup| {
        setup.person("ann").put("/workspaces/", json!({"name": "New name"}))
    }),
    operation!("PATCH /api/v1/workspaces/", "", 200, SUCCEEDS, |setup| {
        setup.person("ann").patch(
            "/workspaces/",
            json!({"website": "https://example.com", "logo_url": null}),
        )
    }),
    operation!(
        "POST /api/v1/workspaces/",
        "",
        201,
        (400, "ALREADY_IN_WORKSPACE"),
        |setup| { setup.person("eve").post("/workspaces/", json!({"name": "Another"})) }
    ),
    operation!(
        "DELETE /api/v1/workspaces/",
        "with a pending invitation",
        200,
        (404, "WORKSPACE_NOT_FOUND"),
        |setup| { setup.person("dan").delete("/workspaces/") }
    ),
    operation!(
        "PATCH /api/v1/workspaces/members/{user_id}",
        "promotion",
        200,
        SUCCEEDS,
        |setup| { setup.person("ann").change_role(&setup.person("bob").id, "owner") }
    ),
    operation!(
        "PATCH /api/v1/workspaces/members/{user_id}",
        "demotion",
        200,
        SUCCEEDS,
        |setup| { setup.person("ann").change_role(&setup.person("bob").id, "member") }
    ),
    operation!(
        "DELETE /api/v1/workspaces/members/{user_id}",
        "",
        200,
        (404, "MEMBER_NOT_FOUND"),
        |setup| { setup.person("ann").remove(&setup.person("bob").id) }
    ),
    operation!("POST /api/v1/workspaces/invitations", "", 201, (201, ""), |setup| {
        setup.person("ann").invite("new@example.com", "member")
    }),
    operation!(
        "POST /api/v1/workspaces/invitations",
        "replaces a pending invitation",
        201,
        (201, ""),
        |setup| { setup.person("ann").invite("guest@example.com", "manager") }
    ),
    operation!(
        "POST /api/v1/workspaces/invitations",
        "refused by a rule",
        400,
        (400, "SELF_INVITE"),
        |setup| { setup.person("ann").invite("ann@example.com", "member") }
    ),
    operation!(
        "POST /api/v1/workspaces/invitations/{id}/resend",
        "",
        200,
        REVOKED,
        |setup| { setup.person("ann").resend(&setup.guest_invitation) }
    ),
    operation!(
        "PATCH /api/v1/workspaces/invitations/{id}",
        "",
        200,
        SUCCEEDS,
        |setup| { setup.person("ann").extend(&setup.guest_invitation, &setup.in_a_day) }
    ),
    operation!(
        "DELETE /api/v1/workspaces/invitations/{id}",
        "",
        200,
        REVOKED,
        |setup| { setup.person("ann").cancel(&setup.guest_invitation) }
    ),
    operation!(
        "POST /api/v1/workspaces/revoke-all-sessions",
        "",
        200,
        (401, "TOKEN_REVOKED"),
        |setup| { setup.person("ann").revoke_all() }
    ),
    operation!("POST /api/v1/auth/register", "", 201, (400, "EMAIL_TAKEN"), |setup| {
        setup.person("guest").post(
            "/auth/register",
            json!({"email": "new@example.com", "password": PASSWORD, "name": "New"}),
        )
    }),
    operation!("POST /api/v1/auth/login", "", 200, SUCCEEDS, |setup| {
        setup
            .person("guest")
            .post("/auth/login", json!({"email": "ann@example.com", "password": PASSWORD}))
    }),
    operation!("POST /api/v1/auth/refresh", "", 200, SUCCEEDS, |setup| setup
        .person("ann")
        .refresh()),
    operation!(
        "POST /api/v1/auth/refresh",
        "with a token that was already used",
        401,
        (401, "TOKEN_REVOKED"),
        |setup| { setup.person("eve").refresh() }
    ),
    operation!("POST /api/v1/auth/logout", "", 200, (401, "TOKEN_REVOKED"), |setup| {
        setup.person("bob").post("/auth/logout", json!({}))
    }),
    operation!("POST /api/v1/auth/invitation", "", 200, SUCCEEDS, |setup| {
        setup.person("guest").preview(setup.invitation("guest"))
    }),
    operation!(
        "POST /api/v1/auth/accept-invite",
        "a new person",
        200,
        SUCCEEDS,
        |setup| {
            setup.person("guest").accept(
                setup.invitation("guest"),
                json!({"password": PASSWORD, "name": "Guest"}),
            )
        }
    ),
    operation!(
        "POST /api/v1/auth/accept-invite",
        "with a password",
        200,
        SUCCEEDS,
        |setup| {
            setup
                .person("guest")
                .accept(setup.invitation("eve"), json!({"password": PASSWORD}))
        }
    ),
    operation!("POST /api/v1/auth/decline-invite", "", 200, REVOKED, |setup| {
        setup.person("guest").decline(setup.invitation("guest"))
    }),
];

/// The people before each operation. Ann owns a workspace with the manager Bob, and has invited Guest and Eve. Dan owns
/// a workspace and has invited a person. Eve has an account, no workspace, and a refresh token that was already used.
pub struct Setup<'w> {
    people: BTreeMap<&'static str, Person<'w>>,
    invitations: BTreeMap<&'static str, ApiResponse>,
    /// Id of the invitation of Guest.
    pub guest_invitation: String,
    in_a_day: String,
}

impl<'w> Setup<'w> {
    async fn new(world: &'w World) -> Self {
        let ann = world.owner("ann").await;
        let bob = world.joins(&ann, "bob", "manager").await;
        let dan = world.owner("dan").await;
        dan.invite("person@example.com", "member").await.expect(201);
        let mut eve = world.owner("eve").await;
        eve.delete("/workspaces/").await.expect(200);
        eve.log_in().await;
        let old = eve.clone();
        let refreshed = eve.refresh().await.expect(200);
        eve.take_tokens(&refreshed);
        let refreshed = eve.refresh().await.expect(200);
        eve.take_tokens(&refreshed);
        let mut invitations = BTreeMap::new();
        for (name, address) in [("guest", "guest@example.com"), ("eve", "eve@example.com")] {
            invitations.insert(name, ann.invite(address, "member").await.expect(201));
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
            guest_invitation: invitations["guest"].id(),
            invitations,
            in_a_day,
        }
    }

    pub fn person(&self, name: &str) -> &Person<'w> {
        &self.people[name]
    }

    fn invitation(&self, name: &str) -> &ApiResponse {
        &self.invitations[name]
    }

    /// The same people in another world.
    pub fn in_world<'n>(&self, world: &'n World) -> Setup<'n> {
        let person = |person: &Person<'w>| Person {
            world,
            name: person.name.clone(),
            email: person.email.clone(),
            id: person.id.clone(),
            access: person.access.clone(),
            refresh: person.refresh.clone(),
            address: person.address,
        };
        Setup {
            people: self.people.iter().map(|(name, other)| (*name, person(other))).collect(),
            invitations: self.invitations.clone(),
            guest_invitation: self.guest_invitation.clone(),
            in_a_day: self.in_a_day.clone(),
        }
    }
}

/// A setup with its items, which can be copied into a new world for every case.
pub struct Scenario<'w> {
    pub setup: Setup<'w>,
    items: Vec<HashMap<String, AttributeValue>>,
}

impl<'w> Scenario<'w> {
    pub async fn new(world: &'w World) -> Self {
        let setup = Setup::new(world).await;
        let scan = world.app.store.client().scan().table_name(world.app.store.table());
        let page = scan.consistent_read(true).send().await.unwrap();
        assert!(page.last_evaluated_key.is_none());
        Self {
            setup,
            items: page.items.unwrap(),
        }
    }

    /// A new world that contains exactly the items of the setup.
    pub async fn world(&self) -> World {
        let world = World::new().await;
        for chunk in self.items.chunks(25) {
            let puts = chunk.iter().map(|item| {
                let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
                WriteRequest::builder().put_request(put).build()
            });
            let write = world.app.store.client().batch_write_item();
            let write = write.request_items(world.app.store.table(), puts.collect());
            let unprocessed = write.send().await.unwrap().unprocessed_items.unwrap_or_default();
            assert!(unprocessed.is_empty());
        }
        world
    }

    pub async fn perform(&self, operation: &WriteOperation, world: &World) -> ApiResponse {
        let setup = self.setup.in_world(world);
        (operation.perform)(&setup).await
    }

    /// The outcome of an operation without faults.
    pub async fn outcome_without_faults(&self, operation: &WriteOperation) -> Outcome {
        let world = self.world().await;
        let began = world.clock.now().as_millis();
        world.calls.forget();
        self.perform(operation, &world).await.expect(operation.status);
        let operations = world.calls.operations();
        let writes = operations.iter().filter(|name| WRITES.contains(&name.as_str())).count();
        assert!(writes > 0, "{} writes nothing", operation.name);
        Outcome {
            writes,
            ..Outcome::of(&world, began).await
        }
    }
}

/// The effect of an operation: the number of its writes, the number of mails, and the items of the table.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Counted by [`Scenario::outcome_without_faults`] only.
    pub writes: usize,
    pub mails: usize,
    pub items: Vec<String>,
}

impl Outcome {
    /// Reads the table. Of limits, only the slots that were taken since `began` count: older ones become free while a
    /// test runs.
    pub async fn of(world: &World, began: i64) -> Self {
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

    /// Whether `other` is this outcome, except that its mails may still be due.
    pub fn is_same_except_mails(&self, other: &Self) -> bool {
        let compared = [self, other].map(|outcome| {
            let parts = outcome
                .items
                .iter()
                .partition::<Vec<_>, _>(|item| item.contains("delivery: "));
            (parts.0.len(), parts.1)
        });
        compared[0] == compared[1] && (self.mails > 0 || self.items == other.items)
    }
}

/// An item as text without the parts that differ between worlds: ids, times, random values, and the id of the last
/// write.
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
