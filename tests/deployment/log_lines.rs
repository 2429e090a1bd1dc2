//! The log of a scenario with every function, including failures: each line names its request, its function and, once
//! known, its caller and workspace. No line has an e-mail address, a name, a password, a token or a link.

use std::collections::BTreeSet;

use local::mailbox::Fault as MailFault;
use serde_json::{Value, json};
use shared::store::keys::shard_of;

use crate::support::deployed::in_role;
use crate::support::fault_injection::{FOREVER, Fault, READS, Throttle, WRITES};
use crate::support::harness::{ApiResponse, PASSWORD, Person, World};
use crate::support::logs::Logs;
use crate::support::usage_support::{advance_to, batch, record};

const NOON: &str = "2096-03-15T12:00:00Z";
const OWNER: &str = "xanthippe";
const MANAGER: &str = "bartholomew";
const INVITEE: &str = "cassiopeia";
const OTHER: &str = "demetrius";
/// Routes whose requests have no caller, although they succeed.
const WITHOUT_CALLER: [&str; 2] = ["/api/v1/auth/invitation", "/api/v1/auth/decline-invite"];
/// Longer than the lease of a mail's creator, the lease of a notice, and the first retry delays.
const ALL_DUE_S: i64 = 600;

/// What the log must say, and must not say, of a scenario.
#[derive(Default)]
struct Scenario {
    /// Text that no line may contain, with what it is.
    hidden: Vec<(&'static str, String)>,
    /// Responses, each with the user and the workspace that every line of its request names.
    responses: Vec<(ApiResponse, Option<String>, Option<String>)>,
}

impl Scenario {
    /// Notes the tokens and the link of a response.
    fn note(&mut self, response: &ApiResponse) {
        for (kind, field) in [("access token", "access_token"), ("refresh token", "refresh_token")] {
            if let Some(token) = response.body[field].as_str() {
                self.hidden.push((kind, token.to_owned()));
            }
        }
        if let Some(link) = response.body["invite_link"].as_str() {
            let (_, token) = link.split_once("token=").unwrap();
            self.hidden.push(("link", link.to_owned()));
            self.hidden.push(("invitation token", token.to_owned()));
        }
    }

    /// Notes a response to a request of `person` in `workspace`.
    fn authorized(&mut self, response: ApiResponse, person: &Person<'_>, workspace: &str) -> ApiResponse {
        self.note(&response);
        let (user, workspace) = (Some(person.id.clone()), Some(workspace.to_owned()));
        self.responses.push((response.clone(), user, workspace));
        response
    }

    fn tokens(&mut self, person: &Person<'_>) {
        self.hidden.push(("refresh token", person.refresh.clone()));
        self.hidden.push(("access token", person.access.clone().unwrap()));
    }
}

/// Calls a function with an event, as its trigger does.
async fn trigger(world: &World, function: &'static str, event: &Value) -> Option<Value> {
    let event = event.to_string();
    let call = local::functions::call(world.app.clone(), function, event.as_bytes());
    let response = in_role(function, Box::pin(call)).await.unwrap();
    response.ok().map(|response| serde_json::from_slice(&response).unwrap())
}

fn mail_event(kind: &str, invitation: &str) -> Value {
    json!({
        "detail-type": "Email", "source": "aws.ses",
        "detail": {
            "eventType": kind,
            "mail": {
                "messageId": "ses-1", "destination": [format!("{INVITEE}@example.com")],
                "tags": {"invitation": [invitation]},
            },
        },
    })
}

fn usage_event(workspace: &str, count: u64) -> Value {
    batch(&[record(workspace, "location_event", count, "2096-03-15T11:00:00Z").to_string()])
}

fn shard_event(workspace: &str) -> Value {
    let shard = shard_of(workspace.parse().unwrap());
    json!({"shards": {"from": shard, "to": shard}})
}

/// Accounts and sessions. Returns the owner and the manager of a workspace.
async fn accounts<'w>(world: &'w World, scenario: &mut Scenario) -> (Person<'w>, Person<'w>, String) {
    let mut owner = world.owner(OWNER).await;
    scenario.tokens(&owner);
    let workspace = owner.workspace().await.id();
    let wrong = json!({"email": owner.email, "password": "not the password"});
    owner.signed_out().post("/auth/login", wrong).await.expect(401);
    let no_email = json!({"email": OWNER, "password": 1});
    owner.signed_out().post("/auth/register", no_email).await.expect(422);
    owner.signed_out().members().await.expect(401);

    let manager = world.joins(&owner, MANAGER, "member").await;
    scenario.tokens(&manager);
    let forbidden = manager
        .invite(&format!("{OTHER}@example.com"), "member")
        .await
        .expect(403);
    scenario.authorized(forbidden, &manager, &workspace);
    let changed = owner.change_role(&manager.id, "manager").await.expect(200);
    scenario.authorized(changed, &owner, &workspace);

    let used = owner.clone();
    let refreshed = owner.refresh().await.expect(200);
    owner.take_tokens(&refreshed);
    scenario.tokens(&owner);
    scenario.authorized(refreshed, &owner, &workspace);
    world.pass(60);
    let reused = used.refresh().await.refused(401, "TOKEN_REVOKED");
    scenario.authorized(reused, &owner, &workspace);
    owner.members().await.expect(401);
    owner.log_in().await;
    scenario.tokens(&owner);
    (owner, manager, workspace)
}

/// Invitations whose mails are sent, refused, sent again and reported on. Returns the id of one.
async fn invitations(world: &World, scenario: &mut Scenario, owner: &Person<'_>, workspace: &str) -> String {
    world.mailbox.fault_next(1, MailFault::message_rejected());
    let refused_mail = owner
        .invite(&format!("{INVITEE}@example.com"), "member")
        .await
        .expect(201);
    let refused_mail = scenario.authorized(refused_mail, owner, workspace);
    let invalid = owner.invite(&format!("{INVITEE} at home"), "member").await.expect(400);
    scenario.authorized(invalid, owner, workspace);
    let resent = owner.resend(&refused_mail.id()).await.expect(200);
    let resent = scenario.authorized(resent, owner, workspace);
    owner.signed_out().preview(&resent).await.expect(200);
    for kind in ["Delivery", "Send", "Open"] {
        trigger(world, "mail-events", &mail_event(kind, &resent.id()))
            .await
            .unwrap();
    }
    owner.signed_out().decline(&resent).await.expect(200);
    trigger(world, "mail-events", &mail_event("Complaint", &resent.id()))
        .await
        .unwrap();
    let malformed = json!({"detail": {"eventType": "Send", "mail": format!("{INVITEE}@example.com")}});
    assert_eq!(trigger(world, "mail-events", &malformed).await, None);

    world.mailbox.fault_next(2, MailFault::internal_failure());
    let queued = owner
        .invite(&format!("{OTHER}@example.com"), "member")
        .await
        .expect(201);
    let queued = scenario.authorized(queued, owner, workspace);
    world.pass(ALL_DUE_S);
    trigger(world, "mail-retry", &json!({})).await.unwrap();
    world.pass(ALL_DUE_S);
    world
        .faults
        .after(1, WRITES, FOREVER, Fault::Throttled(Throttle::Table));
    trigger(world, "mail-retry", &json!({})).await.unwrap();
    world.faults.stop();
    world.faults.next(READS, FOREVER, Fault::Failed);
    assert_eq!(trigger(world, "mail-retry", &json!({})).await, None);
    world.faults.stop();
    queued.id()
}

/// Usage that is counted, refused, not counted for now and rolled up, with a notice whose mail is refused.
async fn usage(world: &World, workspace: &str) {
    trigger(world, "usage-ingest", &usage_event(workspace, 450_000))
        .await
        .unwrap();
    let unknown = "01890000-0000-7000-8000-000000000000";
    trigger(world, "usage-ingest", &usage_event(unknown, 1)).await.unwrap();
    let malformed = batch(&[format!("{{\"id\": \"{OWNER}@example.com\"}}")]);
    trigger(world, "usage-ingest", &malformed).await.unwrap();
    assert_eq!(trigger(world, "usage-ingest", &json!({"Records": OWNER})).await, None);
    world.faults.next(WRITES, FOREVER, Fault::Throttled(Throttle::Table));
    trigger(world, "usage-ingest", &usage_event(workspace, 1))
        .await
        .unwrap();
    world.faults.stop();

    world.faults.after(1, &["Query"], FOREVER, Fault::Failed);
    assert_eq!(trigger(world, "usage-aggregator", &shard_event(workspace)).await, None);
    world.faults.stop();
    world.mailbox.fault_next(2, MailFault::internal_failure());
    trigger(world, "usage-aggregator", &shard_event(workspace))
        .await
        .unwrap();
    world.pass(ALL_DUE_S);
    trigger(world, "mail-retry", &json!({})).await.unwrap();
    world.pass(ALL_DUE_S);
    trigger(world, "mail-retry", &json!({})).await.unwrap();
}

fn text<'l>(line: &'l Value, field: &str) -> &'l str {
    line[field].as_str().unwrap_or_default()
}

/// Fails unless each line names its request and its function, and the caller and the workspace once they are known.
fn assert_attributable(lines: &[Value], scenario: &Scenario) {
    let triggers = ["mail-events", "mail-retry", "usage-aggregator", "usage-ingest"];
    let functions: BTreeSet<&str> = local::functions::names().into_iter().collect();
    for line in lines {
        assert!(!text(line, "request_id").is_empty(), "no request: {line}");
        let function = text(line, "function");
        assert!(functions.contains(function), "no function: {line}");
        for noise in ["span", "spans", "fields"] {
            assert_eq!(line.get(noise), None, "{line}");
        }
        for field in ["timestamp", "level", "target", "message"] {
            assert!(!text(line, field).is_empty(), "no {field}: {line}");
        }
        let route = text(line, "route");
        if line["status"].as_u64().is_some_and(|status| status < 400) {
            assert!(!text(line, "workspace_id").is_empty(), "no workspace: {line}");
            assert!(
                !text(line, "user_id").is_empty() || WITHOUT_CALLER.contains(&route),
                "no caller: {line}"
            );
        }
        if triggers.contains(&function) && text(line, "message").starts_with("a mail") {
            assert!(!text(line, "workspace_id").is_empty(), "no workspace: {line}");
        }
    }
    for (response, user, workspace) in &scenario.responses {
        let request_id = response.header("x-request-id").unwrap();
        let own: Vec<_> = lines.iter().filter(|line| line["request_id"] == request_id).collect();
        assert!(!own.is_empty(), "no line of {request_id}");
        for line in own {
            assert_eq!(line.get("user_id").and_then(Value::as_str), user.as_deref(), "{line}");
            assert_eq!(
                line.get("workspace_id").and_then(Value::as_str),
                workspace.as_deref(),
                "{line}"
            );
        }
    }
}

/// The lines with this message, of which there must be one at least.
#[track_caller]
fn with_message<'l>(lines: &'l [Value], message: &str) -> Vec<&'l Value> {
    let found: Vec<&Value> = lines
        .iter()
        .filter(|line| text(line, "message").starts_with(message))
        .collect();
    assert!(!found.is_empty(), "no line {message:?}");
    found
}

/// Fails unless the lines of the failures name their objects, and each failure is logged once.
fn assert_messages(lines: &[Value], owner: &Person<'_>, workspace: &str, failed: &ApiResponse) {
    let [reused] = with_message(lines, "refresh token reused")[..] else {
        panic!("the reuse is logged more than once");
    };
    assert_eq!(reused["user_id"], owner.id.as_str());
    assert!(!text(reused, "session_id").is_empty(), "{reused}");
    assert_eq!(reused["source_ip"], owner.address.to_string());
    for line in with_message(lines, "a mail was not sent") {
        let is_notice = line["function"] == "usage-aggregator" || line.get("invitation_id").is_none();
        assert!(is_notice || !text(line, "invitation_id").is_empty(), "{line}");
        assert!(
            line["function"] != "invitations" || !text(line, "invitation_id").is_empty(),
            "{line}"
        );
    }
    for message in [
        "due mail not handled",
        "usage not rolled up",
        "usage records were not counted",
        "mail event ignored: the",
    ] {
        for line in with_message(lines, message) {
            assert_eq!(line["workspace_id"], workspace, "{line}");
        }
    }
    for message in [
        "a usage record was refused",
        "event failed",
        "event is malformed",
        "mail event ignored",
    ] {
        with_message(lines, message);
    }
    let [failure] = with_message(lines, "request failed")[..] else {
        panic!("the failure is logged more than once");
    };
    assert_eq!(failure["request_id"].as_str(), failed.header("x-request-id"));
}

#[tokio::test]
async fn each_line_is_attributable_and_has_no_personal_data() {
    let logs = Logs::default();
    let _kept = logs.keep();
    let world = World::new().await;
    advance_to(&world, NOON);
    let mut scenario = Scenario::default();
    let (mut owner, manager, workspace) = accounts(&world, &mut scenario).await;
    let queued = invitations(&world, &mut scenario, &owner, &workspace).await;
    usage(&world, &workspace).await;
    // The access token of before has expired.
    owner.log_in().await;
    scenario.tokens(&owner);
    let cancelled = owner.cancel(&queued).await.expect(200);
    scenario.authorized(cancelled, &owner, &workspace);
    world.faults.next(READS, FOREVER, Fault::Failed);
    let failed = owner.members().await.refused(503, "SERVICE_UNAVAILABLE");
    world.faults.stop();
    scenario.responses.push((failed.clone(), Some(owner.id.clone()), None));
    let revoked = owner.revoke_all().await.expect(200);
    scenario.authorized(revoked, &owner, &workspace);
    manager.members().await.expect(401);

    let logged = logs.text();
    let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 40, "{} lines", lines.len());
    assert_attributable(&lines, &scenario);

    assert_messages(&lines, &owner, &workspace, &failed);
    let names = [OWNER, MANAGER, INVITEE, OTHER].map(|name| ("name", name.to_owned()));
    scenario.hidden.extend(names);
    scenario.hidden.push(("password", PASSWORD.to_owned()));
    scenario.hidden.push(("password", "not the password".to_owned()));
    scenario.hidden.push(("address", "@".to_owned()));
    for (kind, hidden) in &scenario.hidden {
        let found = logged.lines().find(|line| line.contains(hidden.as_str()));
        assert_eq!(found, None, "a {kind}");
    }
    println!("{logged}");
}
