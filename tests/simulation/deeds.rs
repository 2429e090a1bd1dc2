//! What people do, and what came of it.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::Time;
use shared::event::{self, Deadline, EventError};

use super::ledger::Ledger;
use crate::support::deployed::in_role;
use crate::support::fault_injection::{Kill, killed};
use crate::support::harness::{Person, World};
use crate::support::usage_support;

/// Somebody of the simulation, by number.
pub type Who = usize;
/// Tokens that somebody was given, by their place in the ledger.
pub type Token = usize;

/// Something to be done. Ids are the ones that were known when it was planned.
#[derive(Clone, Debug)]
pub enum Op {
    Register {
        who: Who,
        company: String,
    },
    LogIn {
        who: Who,
        password: String,
    },
    Refresh {
        token: Token,
    },
    LogOut {
        token: Token,
    },
    Look {
        token: Token,
        path: &'static str,
    },
    RevokeAll {
        token: Token,
    },
    Found {
        token: Token,
        name: String,
    },
    Rename {
        token: Token,
        name: String,
    },
    Dissolve {
        token: Token,
    },
    Invite {
        token: Token,
        email: String,
        role: &'static str,
    },
    Resend {
        token: Token,
        invitation: String,
    },
    Cancel {
        token: Token,
        invitation: String,
    },
    Extend {
        token: Token,
        invitation: String,
        expires_at: String,
    },
    /// Accepts by a link, with a bearer token, a password, or neither.
    Accept {
        who: Who,
        invitation: String,
        secret: String,
        bearer: Option<Token>,
        password: Option<String>,
    },
    Decline {
        who: Who,
        invitation: String,
        secret: String,
    },
    Preview {
        who: Who,
        invitation: String,
        secret: String,
    },
    ChangeRole {
        token: Token,
        target: String,
        role: &'static str,
    },
    Remove {
        token: Token,
        target: String,
    },
    /// The queue delivers usage records, by their places in the ledger.
    Deliver {
        records: Vec<usize>,
    },
    RollUp {
        workspace: String,
    },
    RetryMails,
    /// The mail service tells of an invitation's mail.
    Tell {
        kind: &'static str,
        invitation: String,
    },
}

impl Op {
    /// Its name in the summary.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::LogIn { .. } => "log in",
            Self::Refresh { .. } => "refresh",
            Self::LogOut { .. } => "log out",
            Self::Look { .. } => "read",
            Self::RevokeAll { .. } => "revoke all",
            Self::Found { .. } => "create workspace",
            Self::Rename { .. } => "update workspace",
            Self::Dissolve { .. } => "delete workspace",
            Self::Invite { .. } => "invite",
            Self::Resend { .. } => "resend",
            Self::Cancel { .. } => "cancel",
            Self::Extend { .. } => "extend",
            Self::Accept { .. } => "accept",
            Self::Decline { .. } => "decline",
            Self::Preview { .. } => "preview",
            Self::ChangeRole { .. } => "change role",
            Self::Remove { .. } => "remove",
            Self::Deliver { .. } => "usage records",
            Self::RollUp { .. } => "usage roll-up",
            Self::RetryMails => "mail retry",
            Self::Tell { .. } => "mail event",
        }
    }

    /// Whether nobody asks for it.
    pub fn is_trigger(&self) -> bool {
        matches!(
            self,
            Self::Deliver { .. } | Self::RollUp { .. } | Self::RetryMails | Self::Tell { .. }
        )
    }

    /// Whose access token it is done with.
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::LogOut { token }
            | Self::Look { token, .. }
            | Self::RevokeAll { token }
            | Self::Found { token, .. }
            | Self::Rename { token, .. }
            | Self::Dissolve { token }
            | Self::Invite { token, .. }
            | Self::Resend { token, .. }
            | Self::Cancel { token, .. }
            | Self::Extend { token, .. }
            | Self::ChangeRole { token, .. }
            | Self::Remove { token, .. } => Some(*token),
            Self::Accept { bearer, .. } => *bearer,
            _ => None,
        }
    }

    /// Who does it; nobody where a trigger does.
    pub fn who(&self, ledger: &Ledger) -> Option<Who> {
        match self {
            Self::Register { who, .. }
            | Self::LogIn { who, .. }
            | Self::Accept { who, .. }
            | Self::Decline { who, .. }
            | Self::Preview { who, .. } => Some(*who),
            Self::Refresh { token } => Some(ledger.tokens[*token].who),
            _ => self.token().map(|token| ledger.tokens[token].who),
        }
    }

    /// The invitation that it is about.
    pub fn invitation(&self) -> Option<&str> {
        match self {
            Self::Resend { invitation, .. }
            | Self::Cancel { invitation, .. }
            | Self::Extend { invitation, .. }
            | Self::Accept { invitation, .. }
            | Self::Decline { invitation, .. }
            | Self::Preview { invitation, .. } => Some(invitation),
            _ => None,
        }
    }
}

/// What an answer says of the deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is not done.
    Refused,
    /// It may be done or not.
    Unknown,
}

/// What nobody answers whose process ended.
pub const KILLED: &str = "KILLED";

/// Something that was done.
#[derive(Clone, Debug)]
pub struct Deed {
    pub op: Op,
    /// The idempotency key that it came with.
    pub key: Option<String>,
    pub started: Time,
    pub ended: Time,
    pub status: u16,
    /// The error's code, empty for none.
    pub code: String,
    pub body: Value,
    pub text: String,
}

impl Deed {
    pub fn outcome(&self) -> Outcome {
        match self.status {
            200..300 => Outcome::Done,
            500.. => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }

    pub fn is_done(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    /// In a line, without secrets.
    pub fn told(&self, ledger: &Ledger) -> String {
        let op = match &self.op {
            Op::Accept {
                invitation,
                bearer,
                password,
                ..
            } => format!(
                "accept {invitation} with {} and {}",
                if bearer.is_some() { "a bearer token" } else { "no token" },
                if password.is_some() {
                    "a password"
                } else {
                    "no password"
                }
            ),
            Op::Decline { invitation, .. } => format!("decline {invitation}"),
            Op::Preview { invitation, .. } => format!("preview {invitation}"),
            Op::LogIn { .. } => "log in".to_owned(),
            op => format!("{op:?}"),
        };
        let op = match &self.key {
            Some(key) => format!("{op} with key {key}"),
            None => op,
        };
        let who = self.op.who(ledger);
        let session = self.op.token().map(|token| ledger.tokens[token].session.clone());
        format!(
            "{} {who:?} {session:?}: {op} -> {} {}",
            self.started, self.status, self.code
        )
    }
}

/// Somebody of the simulation.
#[derive(Clone, Debug)]
pub struct Someone {
    pub email: String,
    pub password: String,
    pub address: IpAddr,
}

/// Something to be done, and how.
#[derive(Clone, Debug)]
pub struct Task {
    pub op: Op,
    /// The idempotency key that it comes with.
    pub key: Option<String>,
    /// Where its process ends.
    pub kill: Option<Kill>,
}

/// Does it.
pub async fn perform(world: &World, people: &[Someone], ledger: &Ledger, task: Task) -> Deed {
    let Task { op, key, kill } = task;
    let started = world.clock.now();
    let answered = if op.is_trigger() {
        let answer = killed(kill, trigger(world, ledger, &op)).await;
        answer.map(|answer| match answer {
            Ok(body) => (200, String::new(), body.clone(), body.to_string()),
            Err(error) => (500, "EVENT".to_owned(), Value::Null, error.to_string()),
        })
    } else {
        let answer = killed(kill, request(world, people, ledger, &op, key.as_deref())).await;
        answer.map(|answer| {
            let code = answer.body["error_code"].as_str().unwrap_or_default().to_owned();
            (answer.status.as_u16(), code, answer.body, answer.text)
        })
    };
    // As the gateway answers when the function is gone.
    let (status, code, body, text) = answered.unwrap_or_else(|| (502, KILLED.to_owned(), Value::Null, String::new()));
    Deed {
        op,
        key,
        started,
        ended: world.clock.now(),
        status,
        code,
        body,
        text,
    }
}

/// The person with these tokens, or without any.
pub fn person<'w>(world: &'w World, people: &[Someone], ledger: &Ledger, who: Who, token: Option<Token>) -> Person<'w> {
    let someone = &people[who];
    let held = token.map(|token| &ledger.tokens[token]);
    Person {
        world,
        name: format!("p{who}"),
        email: someone.email.clone(),
        id: String::new(),
        access: held.map(|held| held.access.clone()),
        refresh: held.map(|held| held.refresh.clone()).unwrap_or_default(),
        address: someone.address,
    }
}

async fn request(
    world: &World,
    people: &[Someone],
    ledger: &Ledger,
    op: &Op,
    key: Option<&str>,
) -> crate::support::harness::ApiResponse {
    let who = op.who(ledger).unwrap();
    let person = person(world, people, ledger, who, op.token());
    if let Some(key) = key {
        let (path, body) = match op {
            Op::Invite { email, role, .. } => (
                "/workspaces/invitations".to_owned(),
                json!({"email": email, "role": role}).to_string(),
            ),
            Op::Resend { invitation, .. } => (format!("/workspaces/invitations/{invitation}/resend"), String::new()),
            Op::Found { name, .. } => ("/workspaces/".to_owned(), json!({"name": name}).to_string()),
            other => unreachable!("{} takes no key", other.kind()),
        };
        let request = person.request("POST", &path).header("idempotency-key", key);
        let body = axum::body::Body::from(body);
        return world.send(request.body(body).unwrap(), person.address).await;
    }
    let link = |invitation: &str, secret: &str| json!({"invite_id": invitation, "token": secret});
    match op {
        Op::Register { company, .. } => {
            let body = json!({
                "email": person.email, "password": people[who].password, "name": person.name, "company": company,
            });
            person.post("/auth/register", body).await
        }
        Op::LogIn { password, .. } => {
            let body = json!({"email": person.email, "password": password});
            person.post("/auth/login", body).await
        }
        Op::Refresh { token } => {
            let body = json!({"refresh_token": ledger.tokens[*token].refresh});
            person.post("/auth/refresh", body).await
        }
        Op::LogOut { .. } => person.post("/auth/logout", json!({})).await,
        Op::Look { path, .. } => person.get(path).await,
        Op::RevokeAll { .. } => person.revoke_all().await,
        Op::Found { name, .. } => person.post("/workspaces/", json!({"name": name})).await,
        Op::Rename { name, .. } => person.patch("/workspaces/", json!({"name": name})).await,
        Op::Dissolve { .. } => person.delete("/workspaces/").await,
        Op::Invite { email, role, .. } => person.invite(email, role).await,
        Op::Resend { invitation, .. } => person.resend(invitation).await,
        Op::Cancel { invitation, .. } => person.cancel(invitation).await,
        Op::Extend {
            invitation, expires_at, ..
        } => person.extend(invitation, expires_at).await,
        Op::Accept {
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
        Op::Decline { invitation, secret, .. } => person.post("/auth/decline-invite", link(invitation, secret)).await,
        Op::Preview { invitation, secret, .. } => person.post("/auth/invitation", link(invitation, secret)).await,
        Op::ChangeRole { target, role, .. } => person.change_role(target, role).await,
        Op::Remove { target, .. } => person.remove(target).await,
        Op::Deliver { .. } | Op::RollUp { .. } | Op::RetryMails | Op::Tell { .. } => {
            unreachable!("a trigger is nobody's request")
        }
    }
}

async fn trigger(world: &World, ledger: &Ledger, op: &Op) -> Result<Value, EventError> {
    let (a_minute, app) = (Duration::from_secs(60), world.app.clone());
    match op {
        Op::Deliver { records } => {
            let bodies: Vec<String> = records.iter().map(|at| ledger.records[*at].body()).collect();
            let event = usage_support::batch(&bodies);
            in_role("usage-ingest", usage_support::ingest(world, &event, a_minute)).await
        }
        Op::RollUp { workspace } => {
            let shard = shared::store::keys::shard_of(workspace.parse().unwrap());
            let event = json!({"source": "aws.scheduler", "shards": {"from": shard, "to": shard}});
            let call = usage_support::aggregate(world, &event, a_minute);
            in_role("usage-aggregator", call).await
        }
        Op::RetryMails => {
            let call = event::call(mail_retry::handle, app, b"{}", Deadline::after(a_minute));
            in_role("mail-retry", call).await.map(|answer| parsed(&answer))
        }
        Op::Tell { kind, invitation } => {
            let event = mail_event(kind, invitation).to_string();
            let call = event::call(mail_events::handle, app, event.as_bytes(), Deadline::after(a_minute));
            in_role("mail-events", Box::pin(call))
                .await
                .map(|answer| parsed(&answer))
        }
        _ => unreachable!("a request is no trigger"),
    }
}

fn parsed(answer: &[u8]) -> Value {
    serde_json::from_slice(answer).unwrap()
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
