//! `GET /workspaces/members`: order, pages and cursors.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::routes::members::ids;
use crate::support::harness::{ApiResponse, PASSWORD, Person, World, names};

/// Adds `count` members. The clock moves on by an hour after every tenth invitation, the limit of an owner.
async fn add_members<'w>(world: &'w World, owner: &mut Person<'w>, count: usize) -> Vec<Person<'w>> {
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

/// All pages of the list.
async fn pages_of(person: &Person<'_>, limit: usize) -> Vec<ApiResponse> {
    let mut pages = vec![
        person
            .get(&format!("/workspaces/members?limit={limit}"))
            .await
            .expect(200),
    ];
    while let Some(cursor) = pages.last().unwrap().body["next_cursor"].as_str() {
        assert!(pages.len() < 50, "the list does not end");
        let next = person
            .get(&format!("/workspaces/members?limit={limit}&cursor={cursor}"))
            .await
            .expect(200);
        pages.push(next);
    }
    pages
}

#[tokio::test]
async fn a_new_workspace_lists_its_owner() {
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
async fn members_are_listed_in_the_order_of_joining() {
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
        assert_eq!(ids(&list), expected, "a new member is in the list immediately");
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
async fn a_member_without_a_name_is_listed_with_null() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let invitation = owner.invite("bob@example.com", "member").await.expect(201);
    let accepted = world
        .stranger("bob")
        .accept(&invitation, json!({"password": PASSWORD}))
        .await
        .expect(200);
    assert_eq!(accepted.body["user"]["name"], "bob", "the SDKs need a name to display");
    let list = owner.members().await.expect(200);
    assert_eq!(
        names(&list.body["members"][1]),
        ["email", "id", "joined_at", "name", "role"]
    );
    assert_eq!(list.body["members"][1]["name"], Value::Null);
}

#[tokio::test]
async fn the_pages_list_every_member_exactly_once() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let people = add_members(&world, &mut owner, 12).await;
    let mut expected = vec![owner.id.clone()];
    expected.extend(people.iter().map(|person| person.id.clone()));
    for limit in [1, 5, 12, 13, 500] {
        let pages = pages_of(&owner, limit).await;
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
async fn the_next_page_is_complete_after_a_member_left_and_another_joined() {
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
async fn a_page_holds_at_most_five_hundred_members_and_shows_that_there_are_more() {
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
async fn an_invalid_limit_is_refused() {
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
async fn a_cursor_that_is_malformed_altered_or_of_another_list_is_refused() {
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
    let mut invalid = vec![
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
        invalid.push(URL_SAFE_NO_PAD.encode(altered));
    }
    for cursor in invalid {
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
