//! Who may do what: every row of `role_matrix.txt`, over HTTP.

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
    who: String,
    operation: String,
    target: String,
    answer: String,
}

fn matrix() -> Vec<Row> {
    let lines = include_str!("role_matrix.txt").lines();
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let [who, operation, target, answer] = <[String; 4]>::try_from(cells).unwrap();
        Row {
            who,
            operation,
            target,
            answer,
        }
    })
    .collect()
}

/// What a row's operation is about, for somebody in a workspace.
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
            expected.insert(("nobody".to_owned(), name, "-".to_owned()));
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
        .map(|row| (row.who.clone(), row.operation.clone(), row.target.clone()))
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
async fn every_row_holds() {
    let whos = Role::ALL.map(Role::as_str).into_iter().chain(["none"]);
    let worlds = whos.map(async |who| broken_rows(&World::new().await, who).await);
    let mut broken = futures::future::join_all(worlds).await.concat();
    broken.extend(broken_open_rows().await);
    assert!(
        broken.is_empty(),
        "{} rows do not hold:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[tokio::test]
async fn what_is_not_open_needs_a_token() {
    let world = World::new().await;
    let stranger = world.stranger("stranger");
    for operation in operations().into_iter().filter(|operation| !operation.open) {
        let id = "00000000-0000-7000-8000-000000000000";
        let answer = stranger
            .call(&operation.method, &operation.about(id), Some(json!({})))
            .await;
        answer.refused(401, "TOKEN_MISSING");
    }
}

/// The rows of `who` that do not hold, in a world that nobody else is in.
pub async fn broken_rows(world: &World, who: &str) -> Vec<String> {
    let mut cast = Cast::new(world, who).await;
    let mut broken = Vec::new();
    for row in matrix().into_iter().filter(|row| row.who == who) {
        let answer = told(&cast.play(&row).await);
        if answer != row.answer {
            broken.push(format!("{row:?}: {answer}"));
        }
    }
    broken
}

async fn broken_open_rows() -> Vec<String> {
    let world = World::new().await;
    let nobody = world.stranger("nobody");
    let mut broken = Vec::new();
    for row in matrix().into_iter().filter(|row| row.who == "nobody") {
        let (method, path) = row.operation.split_once(' ').unwrap();
        let answer = told(&nobody.call(method, path, None).await);
        if answer != row.answer {
            broken.push(format!("{row:?}: {answer}"));
        }
    }
    broken
}

fn told(answer: &ApiResponse) -> String {
    match answer.body["error_code"].as_str() {
        Some(code) => format!("{} {code}", answer.status.as_u16()),
        None => answer.status.as_u16().to_string(),
    }
}

/// An owner who sets the stage, who acts, and who is acted upon.
struct Cast<'w> {
    world: &'w World,
    owner: Person<'w>,
    actor: Person<'w>,
    target: Person<'w>,
    /// Invitations that the owner made in this hour.
    invited: u32,
    /// All of them: each is to another e-mail.
    guests: u32,
}

impl<'w> Cast<'w> {
    async fn new(world: &'w World, who: &str) -> Self {
        let owner = world.owner("owner").await;
        let is_none = who == "none";
        let mut actor = world.joins(&owner, "actor", if is_none { "member" } else { who }).await;
        if is_none {
            owner.remove(&actor.id).await.expect(200);
            actor.log_in().await;
        }
        let target = world.joins(&owner, "target", "member").await;
        Self {
            world,
            owner,
            actor,
            target,
            invited: 2,
            guests: 0,
        }
    }

    /// Makes sure that the owner may invite once more.
    async fn room_to_invite(&mut self) {
        if self.invited == INVITATIONS_AN_HOUR {
            self.world.pass(3601);
            self.owner.log_in().await;
            self.actor.log_in().await;
            self.invited = 0;
        }
        self.invited += 1;
    }

    fn guest(&mut self) -> String {
        self.guests += 1;
        format!("guest{}@example.com", self.guests)
    }

    /// The id of a new invitation for `role`.
    async fn invitation(&mut self, role: &str) -> String {
        self.room_to_invite().await;
        let guest = self.guest();
        self.owner.invite(&guest, role).await.expect(201).id()
    }

    async fn play(&mut self, row: &Row) -> ApiResponse {
        let target = if row.target == "-" {
            "member"
        } else {
            row.target.as_str()
        };
        match row.operation.as_str() {
            CHANGE => {
                let (from, to) = target.split_once(" -> ").unwrap_or(("member", "member"));
                self.owner.change_role(&self.target.id, from).await.expect(200);
                self.actor.change_role(&self.target.id, to).await
            }
            REMOVE => {
                self.owner.change_role(&self.target.id, target).await.expect(200);
                let answer = self.actor.remove(&self.target.id).await;
                if answer.status.is_success() {
                    self.room_to_invite().await;
                    self.target = self.world.joins(&self.owner, "target", "member").await;
                }
                answer
            }
            INVITE => {
                let guest = self.guest();
                self.actor.invite(&guest, target).await
            }
            CANCEL => {
                let invitation = self.invitation(target).await;
                self.actor.cancel(&invitation).await
            }
            RESEND => {
                let invitation = self.invitation(target).await;
                self.actor.resend(&invitation).await
            }
            EXTEND => {
                let invitation = self.invitation(target).await;
                let in_a_day = self.world.clock.now().plus(std::time::Duration::from_secs(24 * 3600));
                self.actor.extend(&invitation, &in_a_day.to_string()).await
            }
            operation => self.simple(operation).await,
        }
    }

    /// An operation about nobody in particular.
    async fn simple(&mut self, operation: &str) -> ApiResponse {
        let (method, path) = operation.split_once(' ').unwrap();
        let body = match method {
            "PUT" | "POST" if path.ends_with("/workspaces/") => Some(json!({"name": "Another name"})),
            "PATCH" => Some(json!({"description": "Another description"})),
            _ => None::<Value>,
        };
        let answer = self.actor.call(method, path, body).await;
        if !answer.status.is_success() {
            return answer;
        }
        match operation {
            "POST /api/v1/workspaces/" => {
                self.actor.delete("/workspaces/").await.expect(200);
            }
            "POST /api/v1/auth/logout" => self.actor.log_in().await,
            "POST /api/v1/workspaces/revoke-all-sessions" => {
                self.actor.log_in().await;
                self.owner.log_in().await;
            }
            _ => {}
        }
        answer
    }
}
