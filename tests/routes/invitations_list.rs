//! `GET /workspaces/invitations`: order, pages, and the maximal number of pending invitations.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::routes::invitations_create::WEEK;
use crate::support::harness::{ApiResponse, Person, World, names};

pub fn ids(list: &ApiResponse) -> Vec<String> {
    let rows = list.body["invitations"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

pub async fn invite_many(owner: &Person<'_>, count: usize) -> Vec<String> {
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

#[tokio::test]
async fn a_workspace_has_at_most_two_thousand_pending_invitations() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let first = owner.invite("first@example.com", "member").await.expect(201);
    fill_with_copies(&world, &owner, &first.id(), 2000).await;
    assert_eq!(owner.invitations().await.expect(200).body["total"], 2000);
    let before = world.dump_without_limits().await;
    owner
        .invite("another@example.com", "member")
        .await
        .refused(400, "TOO_MANY_PENDING");
    assert_eq!(world.dump_without_limits().await, before);
    let replacement = owner.invite("first@example.com", "member").await.expect(201);
    assert_eq!(owner.invitations().await.body["total"], 2000);
    owner.cancel(&replacement.id()).await.expect(200);
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
        "expired invitations do not count"
    );
}

/// Copies the items of the invitation `id` until the workspace has `count` pending invitations.
async fn fill_with_copies(world: &World, owner: &Person<'_>, id: &str, count: u128) {
    let workspace = owner.workspace().await.id();
    let (client, table) = (world.app.store.client(), world.app.store.table());
    let scan = client.scan().table_name(table).send().await.unwrap();
    let item_of = |entity: &str| -> HashMap<String, AttributeValue> {
        let entity = AttributeValue::S(entity.to_owned());
        scan.items()
            .iter()
            .find(|item| item["entity"] == entity)
            .unwrap()
            .clone()
    };
    let (pending, invitation, guard) = (item_of("pending"), item_of("invitation"), item_of("guard"));
    assert_eq!(pending["id"], AttributeValue::S(id.to_owned()));
    let copies: Vec<_> = (1..count)
        .flat_map(|number| {
            let (id, email) = (
                uuid::Uuid::from_u128(number).to_string(),
                format!("guest{number}@example.com"),
            );
            let copy = |item: &HashMap<String, AttributeValue>, pk: String, sk: String, own: &[(&str, &String)]| {
                let mut copy = item.clone();
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
async fn the_list_is_newest_first_and_has_pages() {
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
async fn the_next_page_is_complete_after_an_invitation_was_cancelled() {
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
async fn a_page_holds_at_most_a_hundred_invitations_and_shows_the_total() {
    let world = World::new().await;
    let mut owner = world.owner("ann").await;
    let first = owner.invite("first@example.com", "member").await.expect(201);
    fill_with_copies(&world, &owner, &first.id(), 103).await;
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
async fn an_invalid_limit_or_a_cursor_that_is_malformed_altered_or_of_another_list_is_refused() {
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
                .invalid_fields(),
            ["query.limit"],
            "{limit}"
        );
    }
    let cursor_of = async |person: &Person<'_>, list: &str| {
        let page = person.get(&format!("/workspaces/{list}?limit=1")).await.expect(200);
        page.body["next_cursor"].as_str().unwrap().to_owned()
    };
    let own = cursor_of(&owner, "invitations").await;
    let mut invalid = vec![
        cursor_of(&other, "invitations").await,
        cursor_of(&owner, "members").await,
    ];
    invalid.extend([String::new(), "x".to_owned(), format!("{own}A"), own[1..].to_owned()]);
    let bytes = URL_SAFE_NO_PAD.decode(&own).unwrap();
    for at in [0, 15, 16, bytes.len() - 1] {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        invalid.push(URL_SAFE_NO_PAD.encode(altered));
    }
    for cursor in invalid {
        for name in ["cursor", "before"] {
            let refused = owner.get(&format!("/workspaces/invitations?{name}={cursor}")).await;
            refused.refused(422, "VALIDATION_ERROR");
        }
    }
    assert_eq!(
        owner
            .get("/workspaces/invitations?limit=0&cursor=!")
            .await
            .invalid_fields(),
        ["query.cursor", "query.limit"]
    );
    owner
        .get(&format!("/workspaces/invitations?limit=100&cursor={own}"))
        .await
        .expect(200);
}
