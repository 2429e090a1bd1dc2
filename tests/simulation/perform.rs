//! Performs an operation: sends its request or calls its trigger, and records the response.

use std::time::Duration;

use serde_json::{Value, json};
use shared::event::{self, Deadline, EventError};

use super::ledger::Ledger;
use super::operations::{KILLED, Operation, Participant, PerformedOperation, PersonIndex, TokenIndex};
use crate::support::deployed::in_role;
use crate::support::fault_injection::{Kill, killed};
use crate::support::harness::{Person, World};
use crate::support::usage_support;

/// An operation and how to perform it.
#[derive(Clone, Debug)]
pub struct Task {
    pub operation: Operation,
    /// The idempotency key of the request.
    pub key: Option<String>,
    /// The call at which the process ends.
    pub kill: Option<Kill>,
}

/// Performs the operation and returns it with its response.
pub async fn perform(world: &World, people: &[Participant], ledger: &Ledger, task: Task) -> PerformedOperation {
    let Task { operation, key, kill } = task;
    let started = world.clock.now();
    let result = if operation.is_trigger() {
        let response = killed(kill, trigger(world, ledger, &operation)).await;
        response.map(|response| match response {
            Ok(body) => (200, String::new(), body.clone(), body.to_string()),
            Err(error) => (500, "EVENT".to_owned(), Value::Null, error.to_string()),
        })
    } else {
        let response = killed(kill, request(world, people, ledger, &operation, key.as_deref())).await;
        response.map(|response| {
            let code = response.body["error_code"].as_str().unwrap_or_default().to_owned();
            (response.status.as_u16(), code, response.body, response.text)
        })
    };
    // The gateway responds with 502 when the function ends.
    let (status, code, body, text) = result.unwrap_or_else(|| (502, KILLED.to_owned(), Value::Null, String::new()));
    PerformedOperation {
        operation,
        key,
        started,
        ended: world.clock.now(),
        status,
        code,
        body,
        text,
    }
}

/// The person with the given tokens, or without tokens.
pub fn person<'w>(
    world: &'w World,
    people: &[Participant],
    ledger: &Ledger,
    who: PersonIndex,
    token: Option<TokenIndex>,
) -> Person<'w> {
    let participant = &people[who];
    let held = token.map(|token| &ledger.tokens[token]);
    Person {
        world,
        name: format!("p{who}"),
        email: participant.email.clone(),
        id: String::new(),
        access: held.map(|held| held.access.clone()),
        refresh: held.map(|held| held.refresh.clone()).unwrap_or_default(),
        address: participant.address,
    }
}

async fn request(
    world: &World,
    people: &[Participant],
    ledger: &Ledger,
    operation: &Operation,
    key: Option<&str>,
) -> crate::support::harness::ApiResponse {
    let who = operation.who(ledger).unwrap();
    let person = person(world, people, ledger, who, operation.token());
    if let Some(key) = key {
        let (path, body) = match operation {
            Operation::Invite { email, role, .. } => (
                "/workspaces/invitations".to_owned(),
                json!({"email": email, "role": role}).to_string(),
            ),
            Operation::Resend { invitation, .. } => {
                (format!("/workspaces/invitations/{invitation}/resend"), String::new())
            }
            Operation::CreateWorkspace { name, .. } => ("/workspaces/".to_owned(), json!({"name": name}).to_string()),
            other => unreachable!("{} takes no key", other.kind()),
        };
        let request = person.request("POST", &path).header("idempotency-key", key);
        let body = axum::body::Body::from(body);
        return world.send(request.body(body).unwrap(), person.address).await;
    }
    let link = |invitation: &str, secret: &str| json!({"invite_id": invitation, "token": secret});
    match operation {
        Operation::Register { company, .. } => {
            let body = json!({
                "email": person.email, "password": people[who].password, "name": person.name, "company": company,
            });
            person.post("/auth/register", body).await
        }
        Operation::LogIn { password, .. } => {
            let body = json!({"email": person.email, "password": password});
            person.post("/auth/login", body).await
        }
        Operation::Refresh { token } => {
            let body = json!({"refresh_token": ledger.tokens[*token].refresh});
            person.post("/auth/refresh", body).await
        }
        Operation::LogOut { .. } => person.post("/auth/logout", json!({})).await,
        Operation::Read { path, .. } => person.get(path).await,
        Operation::RevokeAll { .. } => person.revoke_all().await,
        Operation::CreateWorkspace { name, .. } => person.post("/workspaces/", json!({"name": name})).await,
        Operation::UpdateWorkspace { name, .. } => person.patch("/workspaces/", json!({"name": name})).await,
        Operation::DeleteWorkspace { .. } => person.delete("/workspaces/").await,
        Operation::Invite { email, role, .. } => person.invite(email, role).await,
        Operation::Resend { invitation, .. } => person.resend(invitation).await,
        Operation::Cancel { invitation, .. } => person.cancel(invitation).await,
        Operation::Extend {
            invitation, expires_at, ..
        } => person.extend(invitation, expires_at).await,
        Operation::Accept {
            invitation,
            secret,
            password,
            ..
        } => {
            let mut body = link(invitation, secret);
            if let Some(password) = password {
                body["password"] = json!(password);
            }
            person.post("/auth/accept-invite", body).await
        }
        Operation::Decline { invitation, secret, .. } => {
            person.post("/auth/decline-invite", link(invitation, secret)).await
        }
        Operation::Preview { invitation, secret, .. } => {
            person.post("/auth/invitation", link(invitation, secret)).await
        }
        Operation::ChangeRole { target, role, .. } => person.change_role(target, role).await,
        Operation::Remove { target, .. } => person.remove(target).await,
        Operation::IngestUsage { .. }
        | Operation::RollUp { .. }
        | Operation::RetryMails
        | Operation::MailEvent { .. } => {
            unreachable!("a trigger is not a request")
        }
    }
}

async fn trigger(world: &World, ledger: &Ledger, operation: &Operation) -> Result<Value, EventError> {
    let (a_minute, app) = (Duration::from_secs(60), world.app.clone());
    match operation {
        Operation::IngestUsage { records } => {
            let bodies: Vec<String> = records.iter().map(|at| ledger.records[*at].body()).collect();
            let event = usage_support::batch(&bodies);
            in_role("usage-ingest", usage_support::ingest(world, &event, a_minute)).await
        }
        Operation::RollUp { workspace } => {
            let shard = shared::store::keys::shard_of(workspace.parse().unwrap());
            let event = json!({"source": "aws.scheduler", "shards": {"from": shard, "to": shard}});
            let call = usage_support::aggregate(world, &event, a_minute);
            in_role("usage-aggregator", call).await
        }
        Operation::RetryMails => {
            let call = event::call(mail_retry::handle, app, b"{}", Deadline::after(a_minute));
            in_role("mail-retry", call).await.map(|response| parsed(&response))
        }
        Operation::MailEvent { kind, invitation } => {
            let event = mail_event(kind, invitation).to_string();
            let call = event::call(mail_events::handle, app, event.as_bytes(), Deadline::after(a_minute));
            in_role("mail-events", Box::pin(call))
                .await
                .map(|response| parsed(&response))
        }
        _ => unreachable!("a request is not a trigger"),
    }
}

fn parsed(response: &[u8]) -> Value {
    serde_json::from_slice(response).unwrap()
}

/// An event of SES about the mail of an invitation.
fn mail_event(kind: &str, invitation: &str) -> Value {
    let mut detail = json!({
        "eventType": kind,
        "mail": {
            "timestamp": "2025-10-01T08:00:00.000Z", "messageId": "1", "destination": ["bob@example.com"],
            "tags": {"ses:configuration-set": ["mail"], "invitation": [invitation]},
        },
    });
    if kind == "Bounce" {
        detail["bounce"] = json!({"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": []});
    }
    json!({
        "version": "0", "id": "1", "detail-type": "Email", "source": "aws.ses", "account": "123456789012",
        "time": "2025-10-01T08:00:00Z", "region": "eu-central-1", "resources": [], "detail": detail,
    })
}
