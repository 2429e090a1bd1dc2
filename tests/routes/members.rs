//! `/workspaces/members`: list, change roles, remove.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, names};

/// `count` members join by invitation, which an owner sends ten of an hour.
async fn crowd<'w>(world: &'w World, owner: &mut Person<'w>, count: usize) -> Vec<Person<'w>> {
    let mut people = Vec::new();
    for number in 0..count {
        if number > 0 && number % 10 == 0 {
            world.pass(3601);
            owner.log_in().await;
        }
        people.push(world.joins(owner, &format!("member{number:02}"), "member").await);
    }
    people
}

fn ids(answer: &ApiResponse) -> Vec<String> {
    let members = answer.body["members"].as_array().unwrap().iter();
    members
        .map(|member| member["id"].as_str().unwrap().to_owned())
        .collect()
}

fn role_of(list: &ApiResponse, id: &str) -> Option<String> {
    let member = list.body["members"]
        .as_array()
        .unwrap()
        .iter()
        .find(|member| member["id"] == id)?;
    Some(member["role"].as_str().unwrap().to_owned())
}

/// Every page from the first to the last.
async fn walk(person: &Person<'_>, limit: usize) -> Vec<ApiResponse> {
    let mut pages = vec![
        person
            .get(&format!("/workspaces/members?limit={limit}"))
            .await
            .expect(200),
    ];
    while let Some(cursor) = pages.last().unwrap().body["next_cursor"].as_str() {
        assert!(pages.len() < 50, "the walk does not end");
        let next = person
            .get(&format!("/workspaces/members?limit={limit}&cursor={cursor}"))
            .await
            .expect(200);
        pages.push(next);
    }
    pages
}

/// Their token, and the session behind it, have ended.
async fn is_out(person: &Person<'_>) {
    person.get("/auth/me").await.refused(401, "TOKEN_REVOKED");
    person.workspace().await.refused(401, "TOKEN_REVOKED");
    person.refresh().await.refused(401, "TOKEN_REVOKED");
}

#[tokio::test]
async fn an_owner_alone_is_the_whole_list() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let list = owner.members().await.expect(200);
    let joined_at = owner.workspace().await.body["created_at"].clone();
    let expected = json!({
        "members": [{"id": owner.id, "email": "ann@example.com", "name": "ann", "role": "owner", "joined_at": joined_at}],
        "total": 1,
        "truncated": false,
        "next_cursor": null,
    });
    assert_eq!(list.body, expected);
}

#[tokio::test]
async fn members_are_listed_in_the_order_in_which_they_joined() {
    let world = World::new().await;
    let owner = world.owner("zoe").await;
    let mut expected = vec![owner.id.clone()];
    for (name, role) in [
        ("yan", "owner"),
        ("bob", "member"),
        ("max", "manager"),
        ("ann", "field_worker"),
    ] {
        let person = world.joins(&owner, name, role).await;
        expected.push(person.id.clone());
        let list = person.members().await.expect(200);
        assert_eq!(ids(&list), expected, "what was just answered is in the list");
        assert_eq!(list.body["total"], expected.len());
        assert_eq!(list.body["truncated"], false);
        let newest = list.body["members"].as_array().unwrap().last().unwrap();
        assert_eq!((&newest["name"], &newest["role"]), (&json!(name), &json!(role)));
    }
    let list = owner.members().await;
    let joined: Vec<_> = list.body["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| &member["joined_at"])
        .collect();
    assert!(
        joined.windows(2).all(|pair| pair[0].as_str() <= pair[1].as_str()),
        "{joined:?}"
    );
}

#[tokio::test]
async fn a_member_who_gave_no_name_has_a_null_one() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let invitation = owner.invite("bob@example.com", "member").await.expect(201);
    let accepted = world
        .stranger("bob")
        .accept(&invitation, json!({"password": PASSWORD}))
        .await
        .expect(200);
    assert_eq!(accepted.body["user"]["name"], "bob", "the SDKs need a name to show");
    let list = owner.members().await.expect(200);
    assert_eq!(
        names(&list.body["members"][1]),
        ["email", "id", "joined_at", "name", "role"]
    );
    assert_eq!(list.body["members"][1]["name"], Value::Null);
}

#[tokio::test]
async fn a_walk_reaches_every_member_exactly_once() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let people = crowd(&world, &mut owner, 12).await;
    let mut expected = vec![owner.id.clone()];
    expected.extend(people.iter().map(|person| person.id.clone()));
    for limit in [1, 5, 12, 13, 500] {
        let pages = walk(&owner, limit).await;
        assert_eq!(
            pages.iter().flat_map(ids).collect::<Vec<_>>(),
            expected,
            "limit {limit}"
        );
        assert_eq!(pages.len(), 13_usize.div_ceil(limit));
        for (number, page) in pages.iter().enumerate() {
            assert_eq!(page.body["total"], 13);
            let last = number + 1 == pages.len();
            assert_eq!(
                (&page.body["truncated"], page.body["next_cursor"].is_null()),
                (&json!(!last), last)
            );
            assert!(ids(page).len() <= limit);
        }
    }
}

#[tokio::test]
async fn a_walk_goes_on_where_a_member_left_and_meets_who_joined() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let mut expected = vec![owner.id.clone()];
    let mut people = Vec::new();
    for name in ["bob", "cid", "dan", "eve"] {
        people.push(world.joins(&owner, name, "member").await);
        expected.push(people.last().unwrap().id.clone());
    }
    let first = owner.get("/workspaces/members?limit=2").await.expect(200);
    assert_eq!(ids(&first), expected[..2]);
    owner.remove(&expected[1]).await.expect(200);
    expected.push(world.joins(&owner, "fay", "member").await.id);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let rest = owner
        .get(&format!("/workspaces/members?cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(ids(&rest), expected[2..]);
    assert_eq!(
        (&rest.body["total"], &rest.body["truncated"]),
        (&json!(5), &json!(false))
    );
}

#[tokio::test]
async fn a_list_without_parameters_holds_five_hundred_and_says_so() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let workspace = owner.workspace().await.id();
    let (client, table) = (world.app.store.client(), world.app.store.table());
    let scan = client.scan().table_name(table).send().await.unwrap();
    let row: HashMap<String, AttributeValue> = scan
        .items
        .unwrap()
        .into_iter()
        .find(|item| item["entity"] == AttributeValue::S("member".into()))
        .unwrap();
    let copies: Vec<_> = (0..500_u128)
        .map(|number| {
            let id = uuid::Uuid::from_u128(number).to_string();
            let mut copy = row.clone();
            let joined_at = "2099-01-01T00:00:00.000Z";
            copy.insert("sk".into(), AttributeValue::S(format!("MEMBER#{joined_at}#{id}")));
            copy.insert("id".into(), AttributeValue::S(id));
            copy.insert("joined_at".into(), AttributeValue::S(joined_at.into()));
            WriteRequest::builder()
                .put_request(PutRequest::builder().set_item(Some(copy)).build().unwrap())
                .build()
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
        .update_expression("SET member_count = :count");
    let counted = counted
        .key("pk", AttributeValue::S(format!("WS#{workspace}")))
        .key("sk", AttributeValue::S("WS".into()));
    counted
        .expression_attribute_values(":count", AttributeValue::N("501".into()))
        .send()
        .await
        .unwrap();

    for path in ["/workspaces/members", "/workspaces/members?limit=500"] {
        let list = owner.get(path).await.expect(200);
        assert_eq!(
            (&list.body["total"], &list.body["truncated"]),
            (&json!(501), &json!(true))
        );
        assert_eq!(ids(&list).len(), 500);
        let cursor = list.body["next_cursor"].as_str().unwrap();
        let rest = owner
            .get(&format!("/workspaces/members?cursor={cursor}"))
            .await
            .expect(200);
        assert_eq!(ids(&rest), [uuid::Uuid::from_u128(499).to_string()]);
        assert_eq!(
            (&rest.body["total"], &rest.body["truncated"]),
            (&json!(501), &json!(false))
        );
    }
}

#[tokio::test]
async fn a_bad_limit_is_refused() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    for limit in ["0", "501", "-1", "x", "", "1.5", "99999999999999999999"] {
        let refused = owner.get(&format!("/workspaces/members?limit={limit}")).await;
        assert_eq!(refused.invalid_fields(), ["query.limit"], "{limit}");
    }
    assert_eq!(
        owner.get("/workspaces/members?limit=0&cursor=!").await.invalid_fields(),
        ["query.cursor", "query.limit"]
    );
    for limit in ["1", "500"] {
        owner
            .get(&format!("/workspaces/members?limit={limit}"))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_bad_foreign_or_altered_cursor_is_refused() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let other = world.owner("eve").await;
    world.joins(&owner, "bob", "member").await;
    world.joins(&other, "fay", "member").await;
    let cursor_of = async |person: &Person<'_>, list: &str| {
        let page = person.get(&format!("/workspaces/{list}?limit=1")).await.expect(200);
        page.body["next_cursor"].as_str().unwrap().to_owned()
    };
    for email in ["cid@example.com", "dan@example.com"] {
        owner.invite(email, "member").await.expect(201);
    }
    let own = cursor_of(&owner, "members").await;
    let mut bad = vec![
        cursor_of(&other, "members").await,
        cursor_of(&owner, "invitations").await,
        String::new(),
        "x".to_owned(),
        "MEMBER%23".to_owned(),
        format!("{own}A"),
        own[..own.len() - 4].to_owned(),
        "A".repeat(5000),
    ];
    let bytes = URL_SAFE_NO_PAD.decode(&own).unwrap();
    for at in [0, 7, 15, 16, bytes.len() / 2, bytes.len() - 1] {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        bad.push(URL_SAFE_NO_PAD.encode(altered));
    }
    for cursor in bad {
        let refused = owner.get(&format!("/workspaces/members?cursor={cursor}")).await;
        assert_eq!(refused.invalid_fields(), ["query.cursor"], "{cursor}");
    }
    assert_eq!(
        ids(&owner
            .get(&format!("/workspaces/members?cursor={own}"))
            .await
            .expect(200))
        .len(),
        1
    );
}

#[tokio::test]
async fn a_role_changes_with_exactly_this_answer() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    for role in ["field_worker", "manager", "owner", "member"] {
        let changed = owner.change_role(&bob.id, role).await.expect(200);
        assert_eq!(names(&changed.body), ["message", "role", "user_id"]);
        assert_eq!(
            (&changed.body["user_id"], &changed.body["role"]),
            (&json!(bob.id), &json!(role))
        );
        assert!(changed.body["message"].is_string());
        assert_eq!(role_of(&owner.members().await, &bob.id).as_deref(), Some(role));
        let user = format!("USER#{}", bob.id);
        assert_eq!(
            world
                .rows(&[&user, r#""entity": S("user")"#, &format!("\"role\": S({role:?})")])
                .await
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn the_role_somebody_has_already_changes_nothing() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    for role in ["member", "field_worker", "manager", "owner"] {
        let person = world.joins(&owner, role, role).await;
        let before = world.dump().await;
        let same = owner.change_role(&person.id, role).await.expect(200);
        assert_eq!(
            (&same.body["user_id"], &same.body["role"]),
            (&json!(person.id), &json!(role))
        );
        assert_eq!(world.dump().await, before);
        person.workspace().await.expect(200);
        person.refresh().await.expect(200);
    }
    owner.change_role(&owner.id, "owner").await.expect(200);
    owner.workspace().await.expect(200);
}

#[tokio::test]
async fn an_upgrade_keeps_tokens_and_gives_its_rights_at_once() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    bob.patch("/workspaces/", json!({"name": "Bob's"}))
        .await
        .refused(403, "FORBIDDEN");
    for role in ["field_worker", "manager"] {
        owner.change_role(&bob.id, role).await.expect(200);
        bob.workspace().await.expect(200);
    }
    bob.patch("/workspaces/", json!({"name": "Bob's"})).await.expect(200);
    owner.change_role(&bob.id, "owner").await.expect(200);
    bob.change_role(&owner.id, "owner").await.expect(200);
    assert_eq!(bob.refresh().await.expect(200).body["user"]["role"], "owner");
}

#[tokio::test]
async fn any_downgrade_ends_every_token_at_once() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let ranks = ["owner", "manager", "field_worker", "member"];
    let bob = world.joins(&owner, "bob", "member").await;
    for (at, from) in ranks.iter().enumerate() {
        for to in &ranks[at + 1..] {
            owner.change_role(&bob.id, from).await.expect(200);
            let (mut phone, mut laptop) = (bob.signed_out(), bob.signed_out());
            phone.log_in().await;
            laptop.log_in().await;
            owner.change_role(&bob.id, to).await.expect(200);
            is_out(&phone).await;
            is_out(&laptop).await;
            phone.log_in().await;
            assert_eq!(
                phone.get("/auth/me").await.expect(200).body["workspace_role"],
                *to,
                "{from} to {to}"
            );
            world.pass(20);
        }
    }
    owner.workspace().await.expect(200);
}

#[tokio::test]
async fn the_last_owner_is_neither_demoted_nor_removed() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    world.joins(&owner, "max", "manager").await;
    let before = world.dump().await;
    for role in ["manager", "field_worker", "member"] {
        owner.change_role(&owner.id, role).await.refused(400, "LAST_OWNER");
    }
    owner.remove(&owner.id).await.refused(403, "LAST_OWNER");
    assert_eq!(world.dump().await, before);

    let second = world.joins(&owner, "bob", "owner").await;
    owner.change_role(&owner.id, "member").await.expect(200);
    is_out(&owner).await;
    second
        .change_role(&second.id, "member")
        .await
        .refused(400, "LAST_OWNER");
    second.remove(&second.id).await.refused(403, "LAST_OWNER");
    second.change_role(&owner.id, "owner").await.expect(200);
    second.remove(&second.id).await.expect(200);
    is_out(&second).await;
}

#[tokio::test]
async fn a_role_that_is_none_is_refused() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let before = world.dump().await;
    for role in ["", "admin", "Owner", "owner ", "superuser"] {
        owner.change_role(&bob.id, role).await.refused(400, "INVALID_ROLE");
    }
    let path = format!("/workspaces/members/{}", bob.id);
    for body in [
        json!({}),
        json!({"role": 5}),
        json!({"role": ["owner"]}),
        json!({"role": null}),
    ] {
        assert_eq!(owner.patch(&path, body).await.invalid_fields(), ["body.role"]);
    }
    assert_eq!(owner.raw("PATCH", &path, "").await.invalid_fields(), ["body"]);
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn an_unknown_member_is_404_after_the_body_and_the_role_were_looked_at() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let nobody = uuid::Uuid::from_u128(7).to_string();
    owner
        .change_role(&nobody, "member")
        .await
        .refused(404, "MEMBER_NOT_FOUND");
    owner.remove(&nobody).await.refused(404, "MEMBER_NOT_FOUND");
    assert_eq!(
        owner
            .patch(&format!("/workspaces/members/{nobody}"), json!({}))
            .await
            .invalid_fields(),
        ["body.role"]
    );
    for target in [&nobody, &owner.id, &bob.id] {
        bob.patch(&format!("/workspaces/members/{target}"), json!({}))
            .await
            .refused(403, "FORBIDDEN");
        bob.remove(target).await.refused(403, "FORBIDDEN");
    }
}

#[tokio::test]
async fn a_manager_manages_those_below_only() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let manager = world.joins(&owner, "max", "manager").await;
    let peer = world.joins(&owner, "mia", "manager").await;
    let bob = world.joins(&owner, "bob", "member").await;
    let before = world.dump().await;
    for target in [&owner, &peer, &manager] {
        manager
            .change_role(&target.id, "member")
            .await
            .refused(403, "FORBIDDEN");
        manager.remove(&target.id).await.refused(403, "FORBIDDEN");
    }
    manager.change_role(&bob.id, "owner").await.refused(403, "FORBIDDEN");
    assert_eq!(world.dump().await, before);
    manager.change_role(&bob.id, "field_worker").await.expect(200);
    manager.remove(&bob.id).await.expect(200);
}

#[tokio::test]
async fn a_removed_member_is_out_at_once_and_may_come_back() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let mut bob = world.joins(&owner, "bob", "manager").await;
    let joined_at = owner.members().await.body["members"][1]["joined_at"].clone();
    let removed = owner.remove(&bob.id).await.expect(200);
    assert_eq!(names(&removed.body), ["message", "role", "user_id"]);
    assert_eq!(
        (&removed.body["user_id"], &removed.body["role"]),
        (&json!(bob.id), &Value::Null)
    );
    assert!(removed.body["message"].is_string());
    is_out(&bob).await;
    assert_eq!(ids(&owner.members().await), std::slice::from_ref(&owner.id));
    assert_eq!(owner.members().await.body["total"], 1);
    owner.remove(&bob.id).await.refused(404, "MEMBER_NOT_FOUND");

    bob.log_in().await;
    for path in [
        "/workspaces/",
        "/workspaces/members",
        "/workspaces/usage",
        "/workspaces/invitations",
    ] {
        bob.get(path).await.refused(404, "WORKSPACE_NOT_FOUND");
    }
    let me = bob.get("/auth/me").await.expect(200);
    for field in ["workspace_id", "workspace_slug", "workspace_role"] {
        assert_eq!(me.body[field], Value::Null);
    }
    assert_eq!(me.body["role"], "member");

    world.pass(1);
    let invitation = owner.invite(&bob.email, "field_worker").await.expect(201);
    let back = bob.accept(&invitation, json!({})).await.expect(200);
    assert_eq!(back.body["user"]["id"], bob.id);
    let list = owner.members().await;
    assert_eq!(ids(&list), [owner.id.clone(), bob.id.clone()]);
    assert_eq!(role_of(&list, &bob.id).as_deref(), Some("field_worker"));
    assert!(list.body["members"][1]["joined_at"].as_str() > joined_at.as_str());
}

#[tokio::test]
async fn an_invitation_ends_with_its_inviters_right_to_send_it() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let manager = world.joins(&owner, "max", "manager").await;
    let second = world.joins(&owner, "zoe", "owner").await;
    let by_manager = manager.invite("bob@example.com", "member").await.expect(201);
    let as_owner = second.invite("cid@example.com", "owner").await.expect(201);
    let as_member = second.invite("dan@example.com", "member").await.expect(201);
    let stranger = world.stranger("somebody");
    let body = || json!({"password": PASSWORD});

    owner.change_role(&manager.id, "field_worker").await.expect(200);
    stranger
        .accept(&by_manager, body())
        .await
        .refused(400, "INVITATION_REVOKED");
    assert_eq!(
        stranger.preview(&by_manager).await.expect(200).body["status"],
        "revoked"
    );

    owner.change_role(&second.id, "manager").await.expect(200);
    stranger
        .accept(&as_owner, body())
        .await
        .refused(400, "INVITATION_REVOKED");
    stranger.accept(&as_member, body()).await.expect(200);

    let third = world.joins(&owner, "kim", "owner").await;
    let by_third = third.invite("eve@example.com", "member").await.expect(201);
    owner.remove(&third.id).await.expect(200);
    stranger
        .accept(&by_third, body())
        .await
        .refused(400, "INVITATION_REVOKED");
    assert_eq!(owner.members().await.body["total"], 4);
}

#[tokio::test]
async fn a_right_that_comes_back_revives_no_invitation() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let demoted = world.joins(&owner, "max", "manager").await;
    let mut removed = world.joins(&owner, "zoe", "owner").await;
    let by_demoted = demoted.invite("bob@example.com", "member").await.expect(201);
    let by_removed = removed.invite("cid@example.com", "member").await.expect(201);
    owner.change_role(&demoted.id, "member").await.expect(200);
    owner.change_role(&demoted.id, "owner").await.expect(200);
    owner.remove(&removed.id).await.expect(200);
    world.pass(1);
    let back = owner.invite(&removed.email, "owner").await.expect(201);
    removed.log_in().await;
    removed.accept(&back, json!({})).await.expect(200);
    let stranger = world.stranger("somebody");
    for issued in [&by_demoted, &by_removed] {
        let refused = stranger.accept(issued, json!({"password": PASSWORD})).await;
        refused.refused(400, "INVITATION_REVOKED");
    }
    let fresh = removed.invite("cid@example.com", "member").await.expect(201);
    stranger.accept(&fresh, json!({"password": PASSWORD})).await.expect(200);
}
