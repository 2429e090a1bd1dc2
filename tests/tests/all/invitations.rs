//! `/workspaces/invitations`: create, list, resend, cancel, extend.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local::mailbox::Fault;
use serde_json::{Value, json};
use shared::clock::Time;

use crate::harness::{Answer, PASSWORD, Person, World, names, proof};

const HOUR: i64 = 3600;
const WEEK: i64 = 168 * HOUR;

const OUT: [&str; 8] = [
    "created_at",
    "delivery",
    "email",
    "expires_at",
    "id",
    "invited_by_email",
    "role",
    "status",
];

fn time(value: &Value) -> Time {
    value.as_str().unwrap().parse().unwrap()
}

/// The moment `seconds` from now, as clients write it.
fn ahead(world: &World, seconds: i64) -> String {
    let now = world.clock.now().as_millis();
    Time::from_millis(now + seconds * 1000).to_string()
}

fn ids(list: &Answer) -> Vec<String> {
    let rows = list.body["invitations"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// The answer without what only the issuing one has.
fn listed(issued: &Answer) -> Value {
    let mut body = issued.body.clone();
    body.as_object_mut()
        .unwrap()
        .retain(|name, _| OUT.contains(&name.as_str()));
    body
}

async fn invite_many(owner: &Person<'_>, count: usize) -> Vec<String> {
    let mut newest_first = Vec::new();
    for number in 0..count {
        let issued = owner
            .invite(&format!("guest{number}@example.com"), "member")
            .await
            .expect(201);
        newest_first.insert(0, issued.id());
    }
    newest_first
}

/// The refusal of a rate limit of `quota` an hour, of which the oldest call was made at `oldest`. `before` is from just
/// before the refused call.
fn limited(refused: Answer, quota: u32, oldest: Time, before: Time, after: Time) -> i64 {
    let refused = refused.refused(429, "RATE_LIMITED");
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    let exact = |now: Time| (oldest.as_millis() + HOUR * 1000 - now.as_millis() + 999).div_euclid(1000);
    assert!((exact(after)..=exact(before)).contains(&wait), "{wait} is not the wait");
    assert!(
        refused
            .header("ratelimit-policy")
            .unwrap()
            .ends_with(&format!("q={quota};w=3600"))
    );
    assert!(refused.header("ratelimit").unwrap().ends_with(&format!("r=0;t={wait}")));
    wait
}

#[tokio::test]
async fn an_invitation_is_answered_201_with_exactly_these_fields() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("Bob@Example.com", "manager").await.expect(201);
    let mut every = OUT.to_vec();
    every.extend(["invite_link", "invite_ttl_hours"]);
    every.sort_unstable();
    assert_eq!(names(&issued.body), every);
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
        "the token is stored nowhere"
    );
}

#[tokio::test]
async fn the_mail_brings_the_same_link() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    owner
        .patch("/workspaces/", json!({"name": "Acme & Söhne <b>"}))
        .await
        .expect(200);
    let issued = owner.invite("bob@example.com", "field_worker").await.expect(201);
    let mail = world.mailbox.latest_to("bob@example.com").unwrap();
    let link = issued.body["invite_link"].as_str().unwrap();
    assert!(mail.text.contains(link), "{}", mail.text);
    let from_html = mail.html.replace("&#38;", "&").replace("&amp;", "&");
    assert!(from_html.contains(link), "{}", mail.html);
    assert!(
        mail.text.contains("ann@example.com") && mail.text.contains("Acme & Söhne <b>"),
        "{}",
        mail.text
    );
    assert!(!mail.html.contains("Söhne <b>"), "{}", mail.html);
    assert!(mail.subject.contains("Acme"), "{}", mail.subject);
    assert_eq!(mail.from, "invitations@workspaces.example");
    assert_eq!(world.mailbox.mails().len(), 1);
}

#[tokio::test]
async fn the_links_origin_is_the_setting_or_the_gateways_and_never_a_header() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let request = owner
        .request("POST", "/workspaces/invitations")
        .header("host", "evil.example");
    let request = request
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example");
    let body = Body::from(json!({"email": "bob@example.com"}).to_string());
    let issued = world.send(request.body(body).unwrap(), owner.address).await.expect(201);
    assert!(
        issued.body["invite_link"]
            .as_str()
            .unwrap()
            .starts_with("https://api.example.com/invite#")
    );

    let world = World::with(|config| config.public_url = "https://work.example".parse().ok()).await;
    let issued = world
        .owner("ann")
        .await
        .invite("bob@example.com", "member")
        .await
        .expect(201);
    assert!(
        issued.body["invite_link"]
            .as_str()
            .unwrap()
            .starts_with("https://work.example/invite#invite_id=")
    );

    let world = World::with(|config| config.invite_url = "https://app.example/join".parse().ok()).await;
    let issued = world
        .owner("ann")
        .await
        .invite("bob@example.com", "member")
        .await
        .expect(201);
    assert!(
        issued.body["invite_link"]
            .as_str()
            .unwrap()
            .starts_with("https://app.example/join#invite_id=")
    );
}

#[tokio::test]
async fn the_time_to_live_is_a_setting() {
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
async fn inviting_oneself_or_a_member_is_refused() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let before = world.deeds().await;
    for email in ["ann@example.com", " ANN@Example.COM "] {
        owner.invite(email, "member").await.refused(400, "SELF_INVITE");
    }
    for email in ["bob@example.com", " BOB@Example.COM "] {
        owner.invite(email, "member").await.refused(400, "ALREADY_MEMBER");
    }
    assert_eq!(world.deeds().await, before);
    owner.remove(&bob.id).await.expect(200);
    owner.invite("bob@example.com", "member").await.expect(201);
}

#[tokio::test]
async fn somebody_in_another_workspace_is_unavailable_and_nobody_says_why() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let eve = world.owner("eve").await;
    let before = world.deeds().await;
    let refused = owner
        .invite("Eve@example.com", "member")
        .await
        .refused(400, "INVITEE_UNAVAILABLE");
    let detail = refused.body["detail"].as_str().unwrap().to_lowercase();
    for word in ["another", "eve", "belongs", "other workspace", "account"] {
        assert!(!detail.contains(word), "{detail}");
    }
    assert_eq!(world.deeds().await, before);
    assert_eq!(world.mailbox.mails().len(), 0);
    eve.delete("/workspaces/").await.expect(200);
    owner.invite("eve@example.com", "member").await.expect(201);
}

#[tokio::test]
async fn an_address_or_a_role_that_is_none_is_refused() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let before = world.deeds().await;
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
    assert_eq!(world.deeds().await, before);
}

#[tokio::test]
async fn a_body_of_the_wrong_form_is_422_and_costs_nothing() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let path = "/workspaces/invitations";
    for _ in 0..4 {
        assert_eq!(owner.post(path, json!({})).await.faults(), ["body.email"]);
        assert_eq!(
            owner.post(path, json!({"email": 5, "role": 5})).await.faults(),
            ["body.email", "body.role"]
        );
        assert_eq!(owner.raw("POST", path, "").await.faults(), ["body"]);
    }
    invite_many(&owner, 10).await;
}

#[tokio::test]
async fn a_newer_invitation_ends_the_earlier_one_of_the_same_address() {
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
async fn a_workspace_has_two_thousand_pending_invitations_at_most() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let first = owner.invite("first@example.com", "member").await.expect(201);
    crowd_out(&world, &owner, &first.id(), 2000).await;
    assert_eq!(owner.invitations().await.expect(200).body["total"], 2000);
    let before = world.deeds().await;
    owner
        .invite("another@example.com", "member")
        .await
        .refused(400, "TOO_MANY_PENDING");
    assert_eq!(world.deeds().await, before);
    let instead = owner.invite("first@example.com", "member").await.expect(201);
    assert_eq!(owner.invitations().await.body["total"], 2000);
    owner.cancel(&instead.id()).await.expect(200);
    owner.invite("another@example.com", "member").await.expect(201);
    owner
        .invite("one.more@example.com", "member")
        .await
        .refused(400, "TOO_MANY_PENDING");
    world.pass(WEEK);
    owner.log_in().await;
    let fresh = owner.invite("one.more@example.com", "member").await.expect(201);
    let list = owner.invitations().await.expect(200);
    assert_eq!(
        (ids(&list), &list.body["total"]),
        (vec![fresh.id()], &json!(1)),
        "the expired ones make room"
    );
}

/// Copies the rows of the invitation `id` until the workspace has `count` of them.
async fn crowd_out(world: &World, owner: &Person<'_>, id: &str, count: u128) {
    let workspace = owner.workspace().await.id();
    let (client, table) = (world.app.store.client(), world.app.store.table());
    let scan = client.scan().table_name(table).send().await.unwrap();
    let of = |entity: &str| -> HashMap<String, AttributeValue> {
        let entity = AttributeValue::S(entity.to_owned());
        scan.items()
            .iter()
            .find(|item| item["entity"] == entity)
            .unwrap()
            .clone()
    };
    let (pending, invitation, guard) = (of("pending"), of("invitation"), of("guard"));
    assert_eq!(pending["id"], AttributeValue::S(id.to_owned()));
    let copies: Vec<_> = (1..count)
        .flat_map(|number| {
            let (id, email) = (
                uuid::Uuid::from_u128(number).to_string(),
                format!("guest{number}@example.com"),
            );
            let copy = |of: &HashMap<String, AttributeValue>, pk: String, sk: String, own: &[(&str, &String)]| {
                let mut copy = of.clone();
                copy.retain(|name, _| !name.starts_with("gsi"));
                let own = own.iter().copied().chain([("pk", &pk), ("sk", &sk)]);
                copy.extend(own.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.clone()))));
                WriteRequest::builder()
                    .put_request(PutRequest::builder().set_item(Some(copy)).build().unwrap())
                    .build()
            };
            let own = [("id", &id), ("email", &email)];
            [
                copy(&pending, format!("WS#{workspace}"), format!("PENDING#{id}"), &own),
                copy(&invitation, format!("INVITE#{id}"), "INVITE".to_owned(), &own),
                copy(
                    &guard,
                    format!("EMAIL#{email}"),
                    format!("GUARD#{workspace}"),
                    &[("invitation_id", &id)],
                ),
            ]
        })
        .collect();
    for batch in copies.chunks(25) {
        client
            .batch_write_item()
            .request_items(table, batch.to_vec())
            .send()
            .await
            .unwrap();
    }
    let counted = client
        .update_item()
        .table_name(table)
        .update_expression("SET pending_count = :count");
    let counted = counted
        .key("pk", AttributeValue::S(format!("WS#{workspace}")))
        .key("sk", AttributeValue::S("WS".into()));
    counted
        .expression_attribute_values(":count", AttributeValue::N(count.to_string()))
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn the_list_is_newest_first_and_pages_on() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let newest_first = invite_many(&owner, 7).await;
    for name in ["cursor", "before"] {
        let mut seen = Vec::new();
        let mut next = String::new();
        for expected in [3, 3, 1] {
            let page = owner
                .get(&format!("/workspaces/invitations?limit=3{next}"))
                .await
                .expect(200);
            assert_eq!(names(&page.body), ["invitations", "next_cursor", "total"]);
            assert_eq!((ids(&page).len(), &page.body["total"]), (expected, &json!(7)));
            seen.extend(ids(&page));
            next = page.body["next_cursor"]
                .as_str()
                .map_or_else(String::new, |cursor| format!("&{name}={cursor}"));
        }
        assert_eq!((seen, next), (newest_first.clone(), String::new()));
    }
    let exact = owner.get("/workspaces/invitations?limit=7").await.expect(200);
    assert_eq!(
        (ids(&exact), &exact.body["next_cursor"]),
        (newest_first.clone(), &Value::Null)
    );
    for (offset, limit) in [(0, 2), (2, 3), (5, 100), (7, 1), (50, 5)] {
        let page = owner
            .get(&format!("/workspaces/invitations?offset={offset}&limit={limit}"))
            .await
            .expect(200);
        let expected: Vec<_> = newest_first.iter().skip(offset).take(limit).cloned().collect();
        assert_eq!(
            (ids(&page), &page.body["total"]),
            (expected, &json!(7)),
            "offset {offset}, limit {limit}"
        );
    }
}

#[tokio::test]
async fn a_page_goes_on_where_an_invitation_ended() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let newest_first = invite_many(&owner, 5).await;
    let page = owner.get("/workspaces/invitations?limit=2").await.expect(200);
    let cursor = page.body["next_cursor"].as_str().unwrap();
    owner.cancel(&newest_first[1]).await.expect(200);
    owner.invite("newer@example.com", "member").await.expect(201);
    let rest = owner
        .get(&format!("/workspaces/invitations?cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(
        (ids(&rest), &rest.body["total"]),
        (newest_first[2..].to_vec(), &json!(5))
    );
}

#[tokio::test]
async fn a_list_holds_a_hundred_and_tells_the_true_count() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let first = owner.invite("first@example.com", "member").await.expect(201);
    crowd_out(&world, &owner, &first.id(), 103).await;
    for path in ["/workspaces/invitations", "/workspaces/invitations?limit=100"] {
        let list = owner.get(path).await.expect(200);
        assert_eq!((ids(&list).len(), &list.body["total"]), (100, &json!(103)));
        let cursor = list.body["next_cursor"].as_str().unwrap();
        let rest = owner
            .get(&format!("/workspaces/invitations?cursor={cursor}"))
            .await
            .expect(200);
        assert_eq!((ids(&rest).len(), &rest.body["total"]), (3, &json!(103)));
        let mut every: Vec<_> = ids(&list).into_iter().chain(ids(&rest)).collect();
        assert_eq!(every[0], first.id());
        every.sort();
        every.dedup();
        assert_eq!(every.len(), 103);
    }
    world.pass(WEEK);
    owner.log_in().await;
    assert_eq!(
        owner.invitations().await.body,
        json!({"invitations": [], "total": 0, "next_cursor": null})
    );
}

#[tokio::test]
async fn a_bad_foreign_or_altered_cursor_or_limit_is_refused() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let other = world.owner("eve").await;
    world.joins(&owner, "bob", "member").await;
    for person in [&owner, &other] {
        invite_many(person, 2).await;
    }
    for limit in ["0", "101", "-1", "x", "", "2.0"] {
        assert_eq!(
            owner
                .get(&format!("/workspaces/invitations?limit={limit}"))
                .await
                .faults(),
            ["query.limit"],
            "{limit}"
        );
    }
    let cursor_of = async |person: &Person<'_>, list: &str| {
        let page = person.get(&format!("/workspaces/{list}?limit=1")).await.expect(200);
        page.body["next_cursor"].as_str().unwrap().to_owned()
    };
    let own = cursor_of(&owner, "invitations").await;
    let mut bad = vec![
        cursor_of(&other, "invitations").await,
        cursor_of(&owner, "members").await,
    ];
    bad.extend([String::new(), "x".to_owned(), format!("{own}A"), own[1..].to_owned()]);
    let bytes = URL_SAFE_NO_PAD.decode(&own).unwrap();
    for at in [0, 15, 16, bytes.len() - 1] {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        bad.push(URL_SAFE_NO_PAD.encode(altered));
    }
    for cursor in bad {
        for name in ["cursor", "before"] {
            let refused = owner.get(&format!("/workspaces/invitations?{name}={cursor}")).await;
            refused.refused(422, "VALIDATION_ERROR");
        }
    }
    assert_eq!(
        owner.get("/workspaces/invitations?limit=0&cursor=!").await.faults(),
        ["query.cursor", "query.limit"]
    );
    owner
        .get(&format!("/workspaces/invitations?limit=100&cursor={own}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn resending_makes_a_new_invitation_and_revokes_the_old_one() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let old = owner.invite("bob@example.com", "manager").await.expect(201);
    world.pass(HOUR / 5);
    let new = owner.resend(&old.id()).await.expect(200);
    assert_eq!(names(&new.body), names(&old.body));
    for field in ["id", "invite_link", "created_at", "expires_at"] {
        assert_ne!(new.body[field], old.body[field], "{field}");
    }
    for field in ["email", "role", "status", "invited_by_email", "invite_ttl_hours"] {
        assert_eq!(new.body[field], old.body[field], "{field}");
    }
    assert_eq!(
        time(&new.body["expires_at"]),
        time(&new.body["created_at"]).plus(Duration::from_secs(168 * 3600))
    );
    assert_ne!(proof(&new, json!({}))["token"], proof(&old, json!({}))["token"]);
    let mail = world.mailbox.latest_to("bob@example.com").unwrap();
    assert!(mail.text.contains(new.body["invite_link"].as_str().unwrap()));
    assert_eq!(world.mailbox.mails().len(), 2);
    let list = owner.invitations().await.expect(200);
    assert_eq!(
        list.body,
        json!({"invitations": [listed(&new)], "total": 1, "next_cursor": null})
    );
    let bob = world.stranger("bob");
    bob.accept(&old, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
    let accepted = bob.accept(&new, json!({"password": PASSWORD})).await.expect(200);
    assert_eq!(accepted.body["user"]["workspace_role"], "manager");
}

#[tokio::test]
async fn only_a_pending_invitation_is_resent() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let used = owner.invite("bob@example.com", "member").await.expect(201);
    world
        .stranger("bob")
        .accept(&used, json!({"password": PASSWORD}))
        .await
        .expect(200);
    let cancelled = owner.invite("cid@example.com", "member").await.expect(201);
    owner.cancel(&cancelled.id()).await.expect(200);
    let replaced = owner.invite("dan@example.com", "member").await.expect(201);
    owner.resend(&replaced.id()).await.expect(200);
    let expired = owner.invite("eve@example.com", "member").await.expect(201);
    owner.resend(&used.id()).await.refused(400, "INVITATION_USED");
    owner.resend(&cancelled.id()).await.refused(400, "INVITATION_REVOKED");
    owner.resend(&replaced.id()).await.refused(400, "INVITATION_REVOKED");
    owner
        .resend(&uuid::Uuid::from_u128(7).to_string())
        .await
        .refused(404, "INVITATION_NOT_FOUND");
    world.pass(WEEK);
    owner.log_in().await;
    let mails = world.mailbox.mails().len();
    owner.resend(&expired.id()).await.refused(400, "INVITATION_EXPIRED");
    assert_eq!(world.mailbox.mails().len(), mails);
}

#[tokio::test]
async fn ten_creates_an_hour_and_the_wait_is_exact() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let other = world.joins(&owner, "zoe", "owner").await;
    world.pass(HOUR);
    owner.log_in().await;
    let first = owner.invite("first@example.com", "member").await.expect(201);
    world.pass(600);
    for (number, (email, role)) in [
        ("ann@example.com", "member"),
        ("nobody", "member"),
        ("bob@example.com", "king"),
    ]
    .into_iter()
    .cycle()
    .take(9)
    .enumerate()
    {
        assert_eq!(
            owner.invite(email, role).await.status,
            400,
            "refused ones cost too: {number}"
        );
    }
    let before = world.clock.now();
    let refused = owner.invite("late@example.com", "member").await;
    let wait = limited(refused, 10, time(&first.body["created_at"]), before, world.clock.now());
    owner
        .invite("ann@example.com", "member")
        .await
        .refused(429, "RATE_LIMITED");
    assert!(world.mailbox.latest_to("late@example.com").is_none());
    owner.resend(&first.id()).await.expect(200);

    let mut zoe = other;
    zoe.log_in().await;
    zoe.invite("by.zoe@example.com", "member").await.expect(201);

    world.pass(wait);
    owner.log_in().await;
    owner.invite("late@example.com", "member").await.expect(201);
    owner
        .invite("later@example.com", "member")
        .await
        .refused(429, "RATE_LIMITED");
}

#[tokio::test]
async fn ten_resends_an_hour_and_refused_ones_cost_too() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let mut current = owner.invite("bob@example.com", "member").await.expect(201);
    let dead = current.id();
    let first_at = {
        current = owner.resend(&current.id()).await.expect(200);
        time(&current.body["created_at"])
    };
    for _ in 0..4 {
        owner.resend(&dead).await.refused(400, "INVITATION_REVOKED");
    }
    for number in 0..4_u128 {
        owner
            .resend(&uuid::Uuid::from_u128(number).to_string())
            .await
            .refused(404, "INVITATION_NOT_FOUND");
    }
    current = owner.resend(&current.id()).await.expect(200);
    let before = world.clock.now();
    let refused = owner.resend(&current.id()).await;
    limited(refused, 10, first_at, before, world.clock.now());
    assert_eq!(ids(&owner.invitations().await), [current.id()]);
    owner.invite("cid@example.com", "member").await.expect(201);
}

#[tokio::test]
async fn cancelling_ends_the_link() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let cancelled = owner.cancel(&issued.id()).await.expect(200);
    assert_eq!(names(&cancelled.body), ["id", "message", "status"]);
    assert_eq!(
        (&cancelled.body["id"], &cancelled.body["status"]),
        (&json!(issued.id()), &json!("revoked"))
    );
    assert!(cancelled.body["message"].is_string());
    assert_eq!(
        owner.invitations().await.body,
        json!({"invitations": [], "total": 0, "next_cursor": null})
    );
    owner.cancel(&issued.id()).await.refused(400, "INVITATION_REVOKED");
    let bob = world.stranger("bob");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
    assert_eq!(bob.preview(&issued).await.expect(200).body["status"], "revoked");
    assert_eq!(
        world
            .rows(&["bob@example.com", r#""entity": S("pending")"#])
            .await
            .len(),
        0
    );

    let used = owner.invite("cid@example.com", "member").await.expect(201);
    world
        .stranger("cid")
        .accept(&used, json!({"password": PASSWORD}))
        .await
        .expect(200);
    owner.cancel(&used.id()).await.refused(400, "INVITATION_USED");
    owner
        .cancel(&uuid::Uuid::from_u128(7).to_string())
        .await
        .refused(404, "INVITATION_NOT_FOUND");
    assert_eq!(owner.members().await.body["total"], 2);
}

#[tokio::test]
async fn an_invitation_expires_by_the_clock_and_can_still_be_cancelled() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let bob = world.stranger("bob");
    world.pass(WEEK - 60);
    owner.log_in().await;
    assert_eq!(owner.invitations().await.body["total"], 1);
    assert_eq!(bob.preview(&issued).await.expect(200).body["status"], "pending");
    world.pass(60);
    assert_eq!(
        owner.invitations().await.body,
        json!({"invitations": [], "total": 0, "next_cursor": null})
    );
    assert_eq!(bob.preview(&issued).await.expect(200).body["status"], "expired");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_EXPIRED");
    assert_eq!(
        world.rows(&[&issued.id(), r#""entity": S("pending")"#]).await.len(),
        1,
        "no deletion was needed"
    );
    let cancelled = owner.cancel(&issued.id()).await.expect(200);
    assert_eq!(cancelled.body["status"], "revoked");
    owner.cancel(&issued.id()).await.refused(400, "INVITATION_REVOKED");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_REVOKED");
}

#[tokio::test]
async fn extending_keeps_the_link_and_sends_no_mail() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let until = ahead(&world, 20 * 24 * HOUR);
    let extended = owner.extend(&issued.id(), &until).await.expect(200);
    let mut expected = listed(&issued);
    expected["expires_at"] = json!(until);
    assert_eq!(extended.body, expected);
    assert_eq!(owner.invitations().await.body["invitations"], json!([expected]));
    assert_eq!(world.mailbox.mails().len(), 1);
    world.pass(WEEK + HOUR);
    owner.log_in().await;
    assert_eq!(owner.invitations().await.body["total"], 1);

    let sooner = owner.extend(&issued.id(), "2099-01-01T02:00:00+02:00").await;
    sooner.refused(400, "INVALID_EXPIRY");
    let soon = owner.extend(&issued.id(), &ahead(&world, 60)).await.expect(200);
    assert!(time(&soon.body["expires_at"]) < time(&extended.body["expires_at"]));
    world
        .stranger("bob")
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .expect(200);
}

#[tokio::test]
async fn extending_revives_an_expired_invitation() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    world.pass(WEEK);
    owner.log_in().await;
    let bob = world.stranger("bob");
    bob.accept(&issued, json!({"password": PASSWORD}))
        .await
        .refused(400, "INVITATION_EXPIRED");
    let revived = owner.extend(&issued.id(), &ahead(&world, HOUR)).await.expect(200);
    assert_eq!(
        (&revived.body["status"], &revived.body["id"]),
        (&json!("pending"), &json!(issued.id()))
    );
    assert_eq!(owner.invitations().await.body["total"], 1);
    bob.accept(&issued, json!({"password": PASSWORD})).await.expect(200);
}

#[tokio::test]
async fn an_expiry_lies_ahead_within_ninety_days() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let path = format!("/workspaces/invitations/{}", issued.id());
    let before = world.deeds().await;
    for seconds in [-1, -WEEK, 90 * 24 * HOUR + 60] {
        owner
            .extend(&issued.id(), &ahead(&world, seconds))
            .await
            .refused(400, "INVALID_EXPIRY");
    }
    for body in [
        json!({}),
        json!({"expires_at": null}),
        json!({"expires_at": 5}),
        json!({"expires_at": "tomorrow"}),
    ] {
        assert_eq!(owner.patch(&path, body).await.faults(), ["body.expires_at"]);
    }
    assert_eq!(owner.raw("PATCH", &path, "").await.faults(), ["body"]);
    assert_eq!(world.deeds().await, before);
    owner
        .extend(&issued.id(), &ahead(&world, 90 * 24 * HOUR))
        .await
        .expect(200);
}

#[tokio::test]
async fn an_ended_invitation_is_not_extended() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let used = owner.invite("bob@example.com", "member").await.expect(201);
    world
        .stranger("bob")
        .accept(&used, json!({"password": PASSWORD}))
        .await
        .expect(200);
    let cancelled = owner.invite("cid@example.com", "member").await.expect(201);
    owner.cancel(&cancelled.id()).await.expect(200);
    let until = ahead(&world, HOUR);
    owner.extend(&used.id(), &until).await.refused(400, "INVITATION_USED");
    owner
        .extend(&cancelled.id(), &until)
        .await
        .refused(400, "INVITATION_REVOKED");
    owner
        .extend(&uuid::Uuid::from_u128(7).to_string(), &until)
        .await
        .refused(404, "INVITATION_NOT_FOUND");
}

#[tokio::test]
async fn a_refused_mail_is_failed_and_its_invitation_stands() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    world.mailbox.set_fault(Fault::message_rejected());
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    assert_eq!(issued.body["delivery"]["status"], "failed");
    let reason = issued.body["delivery"]["reason"].as_str().unwrap();
    assert!(
        !reason.is_empty() && !reason.contains("MessageRejected") && !reason.contains("verified"),
        "{reason}"
    );
    assert_eq!(owner.invitations().await.body["invitations"], json!([listed(&issued)]));
    let again = owner.resend(&issued.id()).await.expect(200);
    assert_eq!(again.body["delivery"]["status"], "failed");
    assert_eq!(world.mailbox.mails().len(), 0);
    world
        .stranger("bob")
        .accept(&again, json!({"password": PASSWORD}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_mail_service_out_of_order_leaves_the_mail_queued() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    for (fault, email) in [
        (Fault::internal_failure(), "bob@example.com"),
        (Fault::too_many_requests(), "cid@example.com"),
    ] {
        world.mailbox.set_fault(fault);
        let issued = owner.invite(email, "member").await.expect(201);
        assert_eq!(issued.body["delivery"]["status"], "queued");
        assert_eq!(owner.invitations().await.body["invitations"][0], listed(&issued));
        assert_eq!(
            world.rows(&[&issued.id(), r#""gsi1pk": S("DUE")"#]).await.len(),
            1,
            "it is to be sent later"
        );
        world.mailbox.set_fault(None);
        assert!(world.mailbox.latest_to(email).is_none());
        let name = email.split('@').next().unwrap();
        world
            .stranger(name)
            .accept(&issued, json!({"password": PASSWORD}))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_mail_is_said_to_be_sent_exactly_when_it_was() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    world.mailbox.fault_next(1, Fault::internal_failure());
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let arrived = world.mailbox.latest_to("bob@example.com").is_some();
    assert_eq!(
        issued.body["delivery"]["status"],
        if arrived { "sent" } else { "queued" }
    );
    let due = world.rows(&[&issued.id(), r#""gsi1pk": S("DUE")"#]).await.len();
    assert_eq!(due, usize::from(!arrived));
}

#[tokio::test]
async fn a_manager_invites_below_owner_and_sees_all() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let manager = world.joins(&owner, "max", "manager").await;
    let as_owner = owner.invite("bob@example.com", "owner").await.expect(201);
    manager
        .invite("cid@example.com", "owner")
        .await
        .refused(403, "FORBIDDEN");
    assert_eq!(ids(&manager.invitations().await.expect(200)), [as_owner.id()]);
    let before = world.deeds().await;
    manager.cancel(&as_owner.id()).await.refused(403, "FORBIDDEN");
    manager.resend(&as_owner.id()).await.refused(403, "FORBIDDEN");
    manager
        .extend(&as_owner.id(), &ahead(&world, HOUR))
        .await
        .refused(403, "FORBIDDEN");
    assert_eq!(world.deeds().await, before);
    let own = manager.invite("cid@example.com", "manager").await.expect(201);
    let resent = manager.resend(&own.id()).await.expect(200);
    manager.extend(&resent.id(), &ahead(&world, HOUR)).await.expect(200);
    manager.cancel(&resent.id()).await.expect(200);
}

#[tokio::test]
async fn members_and_field_workers_have_nothing_to_do_with_invitations() {
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
async fn without_a_workspace_there_are_no_invitations() {
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

#[tokio::test]
async fn an_expiry_is_an_instant_however_it_is_written() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let issued = owner.invite("bob@example.com", "member").await.expect(201);
    let until = ahead(&world, 20 * 24 * HOUR);
    let date = &until[..10];
    let bare = until.trim_end_matches('Z');
    for (written, meant) in [
        (bare.to_owned(), until.clone()),
        (format!("{date}T23:30:00-00:30"), {
            let midnight: Time = format!("{date}T23:30:00Z").parse().unwrap();
            midnight.plus(Duration::from_secs(1800)).to_string()
        }),
        (format!("{date}T02:00:00.5+02:00"), format!("{date}T00:00:00.500Z")),
    ] {
        let extended = owner.extend(&issued.id(), &written).await.expect(200);
        assert_eq!(extended.body["expires_at"], meant, "{written}");
    }
}
