//! Permissions by role: every row of `role_matrix.txt`, over HTTP.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::models::role::Role;

use crate::support::harness::{ApiResponse, Person, World, operations};

const CHANGE: &str = "PATCH /api/v1/workspaces/members/{user_id}";
const REMOVE: &str = "DELETE /api/v1/workspaces/members/{user_id}";
const INVITE: &str = "POST /api/v1/workspaces/invitations";
const CANCEL: &str = "DELETE /api/v1/workspaces/invitations/{id}";
const EXTEND: &str = "PATCH /api/v1/workspaces/invitations/{id}";
const RESEND: &str = "POST /api/v1/workspaces/invitations/{id}/resend";

/// Invitations that a user may create in an hour.
const INVITATIONS_AN_HOUR: u32 = 10;

#[derive(Clone, Debug)]
struct Row {
    role: String,
    operation: String,
    target: String,
    /// The expected status, with the error code of a refusal.
    response: String,
}

fn matrix() -> Vec<Row> {
    let lines = include_str!("role_matrix.txt").lines();
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let [role, operation, target, response] = <[String; 4]>::try_from(cells).unwrap();
        Row {
            role,
            operation,
            target,
            response,
        }
    })
    .collect()
}

/// The targets for which a member of a workspace needs a row.
fn targets(operation: &str) -> Vec<String> {
    let roles = Role::ALL.map(Role::as_str);
    match operation {
        CHANGE => roles
            .iter()
            .flat_map(|from| roles.map(|to| format!("{from} -> {to}")))
            .collect(),
        REMOVE | INVITE | CANCEL | EXTEND | RESEND => roles.map(str::to_owned).to_vec(),
        _ => vec!["-".to_owned()],
    }
}

#[test]
fn every_combination_has_a_row() {
    let mut expected = BTreeSet::new();
    for operation in operations() {
        let name = operation.name();
        if operation.open {
            expected.insert(("anonymous".to_owned(), name, "-".to_owned()));
            continue;
        }
        expected.insert(("none".to_owned(), name.clone(), "-".to_owned()));
        for role in Role::ALL {
            let rows = targets(&name)
                .into_iter()
                .map(|target| (role.as_str().to_owned(), name.clone(), target));
            expected.extend(rows);
        }
    }
    let rows = matrix();
    let written: BTreeSet<_> = rows
        .iter()
        .map(|row| (row.role.clone(), row.operation.clone(), row.target.clone()))
        .collect();
    assert_eq!(written.len(), rows.len(), "a combination has two rows");
    let missing: Vec<_> = expected.difference(&written).collect();
    let unknown: Vec<_> = written.difference(&expected).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing: {missing:#?}\nunknown: {unknown:#?}"
    );
}

#[tokio::test]
async fn every_operation_responds_as_its_row_says() {
    let roles = Role::ALL.map(Role::as_str).into_iter().chain(["none"]);
    let checks = roles.map(async |role| failing_rows(&World::new().await, role).await);
    let mut failing = futures::future::join_all(checks).await.concat();
    failing.extend(failing_open_rows().await);
    assert!(
        failing.is_empty(),
        "{} rows do not hold:\n{}",
        failing.len(),
        failing.join("\n")
    );
}

#[tokio::test]
async fn every_operation_but_the_open_ones_requires_a_token() {
    let world = World::new().await;
    let stranger = world.stranger("stranger");
    for operation in operations().into_iter().filter(|operation| !operation.open) {
        let id = "00000000-0000-7000-8000-000000000000";
        let response = stranger
            .call(&operation.method, &operation.about(id), Some(json!({})))
            .await;
        response.refused(401, "TOKEN_MISSING");
    }
}

/// The rows of a role that do not hold. `world` must be empty.
pub async fn failing_rows(world: &World, role: &str) -> Vec<String> {
    let mut setup = Setup::new(world, role).await;
    let mut failing = Vec::new();
    for row in matrix().into_iter().filter(|row| row.role == role) {
        let response = summary(&setup.perform(&row).await);
        if response != row.response {
            failing.push(format!("{row:?}: {response}"));
        }
    }
    failing
}

async fn failing_open_rows() -> Vec<String> {
    let world = World::new().await;
    let anonymous = world.stranger("anonymous");
    let mut failing = Vec::new();
    for row in matrix().into_iter().filter(|row| row.role == "anonymous") {
        let (method, path) = row.operation.split_once(' ').unwrap();
        let response = summary(&anonymous.call(method, path, None).await);
        if response != row.response {
            failing.push(format!("{row:?}: {response}"));
        }
    }
    failing
}

/// Status and error code.
fn summary(response: &ApiResponse) -> String {
    match response.body["error_code"].as_str() {
        Some(code) => format!("{} {code}", response.status.as_u16()),
        None => response.status.as_u16().to_string(),
    }
}

/// The people of a workspace in which rows are checked.
struct Setup<'w> {
    world: &'w World,
    /// Prepares what a row needs.
    owner: Person<'w>,
    /// Sends the request of a row.
    caller: Person<'w>,
    /// The member whom a request changes or removes.
    target: Person<'w>,
    /// Invitations that the owner created in this hour.
    invited: u32,
    /// Number of e-mail addresses that were invited: each invitation is for a new one.
    guests: u32,
}

impl<'w> Setup<'w> {
    async fn new(world: &'w World, role: &str) -> Self {
        let owner = world.owner("owner").await;
        let is_none = role == "none";
        let mut caller = world
            .joins(&owner, "caller", if is_none { "member" } else { role })
            .await;
        if is_none {
            owner.remove(&caller.id).await.expect(200);
            caller.log_in().await;
        }
        let target = world.joins(&owner, "target", "member").await;
        Self {
            world,
            owner,
            caller,
            target,
            invited: 2,
            guests: 0,
        }
    }

    /// Moves the clock on when the owner has reached the hourly limit of invitations.
    async fn count_invitation(&mut self) {
        if self.invited == INVITATIONS_AN_HOUR {
            self.world.pass(3601);
            self.owner.log_in().await;
            self.caller.log_in().await;
            self.invited = 0;
        }
        self.invited += 1;
    }

    fn guest(&mut self) -> String {
        self.guests += 1;
        format!("guest{}@example.com", self.guests)
    }

    /// Creates an invitation for `role`. Returns its id.
    async fn invitation(&mut self, role: &str) -> String {
        self.count_invitation().await;
        let guest = self.guest();
        self.owner.invite(&guest, role).await.expect(201).id()
    }

    async fn perform(&mut self, row: &Row) -> ApiResponse {
        let target = if row.target == "-" {
            "member"
        } else {
            row.target.as_str()
        };
        match row.operation.as_str() {
            CHANGE => {
                let (from, to) = target.split_once(" -> ").unwrap_or(("member", "member"));
                self.owner.change_role(&self.target.id, from).await.expect(200);
                self.caller.change_role(&self.target.id, to).await
            }
            REMOVE => {
                self.owner.change_role(&self.target.id, target).await.expect(200);
                let response = self.caller.remove(&self.target.id).await;
                if response.status.is_success() {
                    self.count_invitation().await;
                    self.target = self.world.joins(&self.owner, "target", "member").await;
                }
                response
            }
            INVITE => {
                let guest = self.guest();
                self.caller.invite(&guest, target).await
            }
            CANCEL => {
                let invitation = self.invitation(target).await;
                self.caller.cancel(&invitation).await
            }
            RESEND => {
                let invitation = self.invitation(target).await;
                self.caller.resend(&invitation).await
            }
            EXTEND => {
                let invitation = self.invitation(target).await;
                let in_a_day = self.world.clock.now().plus(std::time::Duration::from_secs(24 * 3600));
                self.caller.extend(&invitation, &in_a_day.to_string()).await
            }
            operation => self.perform_without_target(operation).await,
        }
    }

    /// Performs an operation whose path has no id, and undoes what later rows would notice.
    async fn perform_without_target(&mut self, operation: &str) -> ApiResponse {
        let (method, path) = operation.split_once(' ').unwrap();
        let body = match method {
            "PUT" | "POST" if path.ends_with("/workspaces/") => Some(json!({"name": "Another name"})),
            "PATCH" => Some(json!({"description": "Another description"})),
            _ => None::<Value>,
        };
        let response = self.caller.call(method, path, body).await;
        if !response.status.is_success() {
            return response;
        }
        match operation {
            "POST /api/v1/workspaces/" => {
                self.caller.delete("/workspaces/").await.expect(200);
            }
            "POST /api/v1/auth/logout" => self.caller.log_in().await,
            "POST /api/v1/workspaces/revoke-all-sessions" => {
                self.caller.log_in().await;
                self.owner.log_in().await;
            }
            _ => {}
        }
        response
    }
}
