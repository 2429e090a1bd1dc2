//! `POST /workspaces/invitations`: the response, and who may invite whom.

use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::Time;

use crate::routes::invitations_list::{ids, invite_many};
use crate::support::harness::{ApiResponse, PASSWORD, World, names, proof};

pub const HOUR: i64 = 3600;
pub const WEEK: i64 = 168 * HOUR;

/// The fields of an invitation in the list.
const LISTED_FIELDS: [&str; 8] = [
    "created_at",
    "delivery",
    "email",
    "expires_at",
    "id",
    "invited_by_email",
    "role",
    "status",
];

pub fn time(value: &Value) -> Time {
    value.as_str().unwrap().parse().unwrap()
}

/// The time in `seconds` from now, as text.
pub fn ahead(world: &World, seconds: i64) -> String {
    let now = world.clock.now().as_millis();
    Time::from_millis(now + seconds * 1000).to_string()
}

/// The invitation as the list shows it: the response of create or resend without the link.
pub fn listed(issued: &ApiResponse) -> Value {
    let mut body = issued.body.clone();
    body.as_object_mut()
        .unwrap()
        .retain(|name, _| LISTED_FIELDS.contains(&name.as_str()));
    body
}

#[tokio::test]
async fn a_created_invitation_has_exactly_these_fields() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("Bob@Example.com", "manager").await.expect(201);
    let mut fields = LISTED_FIELDS.to_vec();
    fields.extend(["invite_link", "invite_ttl_hours"]);
    fields.sort_unstable();
    assert_eq!(names(&issued.body), fields);
    assert_eq!(uuid::Uuid::parse_str(&issued.id()).unwrap().get_version_num(), 7);
    for (field, value) in [
        ("email", json!("bob@example.com")),
        ("role", json!("manager")),
        ("status", json!("pending")),
        ("invited_by_email", json!("ann@example.com")),
        ("invite_ttl_hours", json!(168)),
    ] {
        assert_eq!(issued.body[field], value, "{field}");
    }
    let (created_at, expires_at) = (time(&issued.body["created_at"]), time(&issued.body["expires_at"]));
    assert_eq!(expires_at, created_at.plus(Duration::from_secs(168 * 3600)));
    assert_eq!(names(&issued.body["delivery"]), ["reason", "status", "updated_at"]);
    assert_eq!(
        (&issued.body["delivery"]["status"], &issued.body["delivery"]["reason"]),
        (&json!("sent"), &Value::Null)
    );
    assert!(time(&issued.body["delivery"]["updated_at"]) >= created_at);

    let link = issued.body["invite_link"].as_str().unwrap();
    let token = proof(&issued, json!({}))["token"].as_str().unwrap().to_owned();
    assert_eq!(
        link,
        format!("https://api.example.com/invite#invite_id={}&token={token}", issued.id())
    );
    assert!(
        token.len() >= 43
            && token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
        "{token}"
    );

    let list = owner.invitations().await.expect(200);
    assert_eq!(
        list.body,
        json!({"invitations": [listed(&issued)], "total": 1, "next_cursor": null})
    );
    assert_eq!(world.rows(&[&issued.id(), r#""entity": S("pending")"#]).await.len(), 1);
    assert_eq!(
        world.rows(&[&token]).await,
        Vec::<String>::new(),
        "the token is not stored"
    );
}

#[tokio::test]
async fn the_lifetime_of_an_invitation_is_configurable() {
    let world = World::with(|config| config.invite_ttl = Duration::from_secs(24 * 3600)).await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    assert_eq!(issued.body["invite_ttl_hours"], 24);
    assert_eq!(
        time(&issued.body["expires_at"]),
        time(&issued.body["created_at"]).plus(Duration::from_secs(24 * 3600))
    );
}

#[tokio::test]
async fn the_default_role_is_member() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner
        .post("/workspaces/invitations", json!({"email": " bob@example.com "}))
        .await
        .expect(201);
    assert_eq!(
        (&issued.body["role"], &issued.body["email"]),
        (&json!("member"), &json!("bob@example.com"))
    );
    let accepted = world
        .stranger("bob")
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .expect(200);
    assert_eq!(accepted.body["user"]["workspace_role"], "member");
    for role in ["owner", "manager", "field_worker", "member"] {
        let issued = owner.invite(&format!("{role}@example.com"), role).await.expect(201);
        assert_eq!(issued.body["role"], role);
    }
}

#[tokio::test]
async fn an_invitation_of_oneself_or_of_a_member_is_refused() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let before = world.dump_without_limits().await;
    for email in ["ann@example.com", " ANN@Example.COM "] {
        owner.invite(email, "member").await.refused(400, "SELF_INVITE");
    }
    for email in ["bob@example.com", " BOB@Example.COM "] {
        owner.invite(email, "member").await.refused(400, "ALREADY_MEMBER");
    }
    assert_eq!(world.dump_without_limits().await, before);
    owner.remove(&bob.id).await.expect(200);
    owner.invite("bob@example.com", "member").await.expect(201);
}

#[tokio::test]
async fn an_invitation_of_a_member_of_another_workspace_is_refused_without_a_reason() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = world.owner("eve").await;
    let before = world.dump_without_limits().await;
    let refused = owner
        .invite("Eve@example.com", "member")
        .await
        .refused(400, "INVITEE_UNAVAILABLE");
    let detail = refused.body["detail"].as_str().unwrap().to_lowercase();
    for word in ["another", "eve", "belongs", "other workspace", "account"] {
        assert!(!detail.contains(word), "{detail}");
    }
    assert_eq!(world.dump_without_limits().await, before);
    assert_eq!(world.mailbox.mails().len(), 0);
    eve.delete("/workspaces/").await.expect(200);
    owner.invite("eve@example.com", "member").await.expect(201);
}

#[tokio::test]
async fn an_invalid_email_address_or_role_is_refused() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let before = world.dump_without_limits().await;
    for email in [
        "",
        "bob",
        "bob@",
        "@example.com",
        "bob@example.com,cid@example.com",
        "bob@exa mple.com",
        "böb@example.com",
    ] {
        owner.invite(email, "member").await.refused(400, "INVALID_EMAIL");
    }
    for role in ["", "admin", "Owner"] {
        owner.invite("bob@example.com", role).await.refused(400, "INVALID_ROLE");
    }
    assert_eq!(world.dump_without_limits().await, before);
}

#[tokio::test]
async fn a_malformed_body_is_refused_with_422_and_takes_no_slot_of_the_limit() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let path = "/workspaces/invitations";
    for _ in 0..4 {
        assert_eq!(owner.post(path, json!({})).await.invalid_fields(), ["body.email"]);
        assert_eq!(
            owner.post(path, json!({"email": 5, "role": 5})).await.invalid_fields(),
            ["body.email", "body.role"]
        );
        assert_eq!(owner.raw("POST", path, "").await.invalid_fields(), ["body"]);
    }
    invite_many(&owner, 10).await;
}

#[tokio::test]
async fn a_new_invitation_revokes_the_earlier_one_of_the_same_email_address() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let manager = world.joins(&owner, "max", "manager").await;
    let first = owner.invite("bob@example.com", "member").await.expect(201);
    let second = manager.invite(" BOB@example.COM ", "field_worker").await.expect(201);
    assert_ne!(first.id(), second.id());
    assert_ne!(first.body["invite_link"], second.body["invite_link"]);
    let list = owner.invitations().await.expect(200);
    assert_eq!((ids(&list), &list.body["total"]), (vec![second.id()], &json!(1)));
    let bob = world.stranger("bob");
    bob.accept(&first, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
    assert_eq!(bob.preview(&first).await.expect(200).body["status"], "revoked");
    let accepted = bob.accept(&second, json!({"password": PASSWORD})).await.expect(200);
    assert_eq!(accepted.body["user"]["workspace_role"], "field_worker");
}

#[tokio::test]
async fn a_manager_sees_every_invitation_and_may_invite_any_role_but_owner() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let manager = world.joins(&owner, "max", "manager").await;
    let as_owner = owner.invite("bob@example.com", "owner").await.expect(201);
    manager
        .invite("cid@example.com", "owner")
        .await
        .refused(403, "FORBIDDEN");
    assert_eq!(ids(&manager.invitations().await.expect(200)), [as_owner.id()]);
    let before = world.dump_without_limits().await;
    manager.cancel(&as_owner.id()).await.refused(403, "FORBIDDEN");
    manager.resend(&as_owner.id()).await.refused(403, "FORBIDDEN");
    manager
        .extend(&as_owner.id(), &ahead(&world, HOUR))
        .await
        .refused(403, "FORBIDDEN");
    assert_eq!(world.dump_without_limits().await, before);
    let own = manager.invite("cid@example.com", "manager").await.expect(201);
    let resent = manager.resend(&own.id()).await.expect(200);
    manager.extend(&resent.id(), &ahead(&world, HOUR)).await.expect(200);
    manager.cancel(&resent.id()).await.expect(200);
}

#[tokio::test]
async fn members_and_field_workers_may_not_use_invitations() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    for role in ["member", "field_worker"] {
        let person = world.joins(&owner, role, role).await;
        let before = world.dump().await;
        person.invitations().await.refused(403, "FORBIDDEN");
        person
            .get("/workspaces/invitations?limit=0")
            .await
            .refused(403, "FORBIDDEN");
        person
            .invite("cid@example.com", "member")
            .await
            .refused(403, "FORBIDDEN");
        person
            .post("/workspaces/invitations", json!({}))
            .await
            .refused(403, "FORBIDDEN");
        for id in [issued.id(), uuid::Uuid::from_u128(7).to_string()] {
            person.cancel(&id).await.refused(403, "FORBIDDEN");
            person.resend(&id).await.refused(403, "FORBIDDEN");
            person.extend(&id, "x").await.refused(403, "FORBIDDEN");
        }
        assert_eq!(world.dump().await, before);
    }
}

#[tokio::test]
async fn without_a_workspace_every_invitation_route_responds_with_404() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let id = owner.invite("bob@example.com", "member").await.expect(201).id();
    let mut eve = world.joins(&owner, "eve", "owner").await;
    owner.remove(&eve.id).await.expect(200);
    eve.log_in().await;
    eve.invitations().await.refused(404, "WORKSPACE_NOT_FOUND");
    eve.invite("cid@example.com", "member")
        .await
        .refused(404, "WORKSPACE_NOT_FOUND");
    eve.cancel(&id).await.refused(404, "WORKSPACE_NOT_FOUND");
    eve.resend(&id).await.refused(404, "WORKSPACE_NOT_FOUND");
    eve.extend(&id, &ahead(&world, HOUR))
        .await
        .refused(404, "WORKSPACE_NOT_FOUND");
}
