//! `ETag` and `If-Match` on `/workspaces/`: a change based on a stale version is refused.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::fault_injection::{FOREVER, Fault, Loss};
use crate::support::harness::{ApiResponse, Person, World};
use crate::support::invariants;

impl Person<'_> {
    async fn call_if_match(&self, method: &str, tags: &[&str], body: Value) -> ApiResponse {
        let request = self.request(method, "/workspaces/");
        let request = tags
            .iter()
            .fold(request, |request, tag| request.header("if-match", *tag));
        let request = request.body(body.to_string().into()).unwrap();
        self.world.send(request, self.address).await
    }

    async fn patch_if_match(&self, tag: &str, body: Value) -> ApiResponse {
        self.call_if_match("PATCH", &[tag], body).await
    }

    /// The current entity tag of the workspace.
    async fn current_tag(&self) -> String {
        tag(&self.workspace().await.expect(200))
    }
}

/// The entity tag of a response. Asserts that the tag is strong.
#[track_caller]
fn tag(response: &ApiResponse) -> String {
    let tag = response.header("etag").unwrap();
    let opaque = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
    assert!(!opaque.is_empty() && !opaque.contains('"'), "{tag}");
    tag.to_owned()
}

#[tokio::test]
async fn the_tag_changes_exactly_when_the_workspace_resource_changes() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.current_tag().await;
    assert_eq!(ann.current_tag().await, first);
    let member = world.joins(&ann, "ben", "member").await;
    ann.invite("cleo@example.com", "member").await.expect(201);
    ann.change_role(&member.id, "manager").await.expect(200);
    assert_eq!(ann.current_tag().await, first);
    let mut seen = vec![first];
    for (method, body) in [
        ("PUT", json!({"name": "One"})),
        ("PATCH", json!({"website": "https://example.com"})),
        ("PATCH", json!({"website": null})),
        // Setting the current value is a change too: `updated_at` moves.
        ("PATCH", json!({"name": "One"})),
    ] {
        let changed = tag(&ann.call(method, "/workspaces/", Some(body)).await.expect(200));
        assert_eq!(ann.current_tag().await, changed);
        assert!(!seen.contains(&changed), "{changed}");
        seen.push(changed);
    }
    let unchanged = ann.patch("/workspaces/", json!({})).await.expect(200);
    assert_eq!(Some(&tag(&unchanged)), seen.last());

    ann.remove(&member.id).await.expect(200);
    for invitation in ann.invitations().await.body["invitations"].as_array().unwrap() {
        ann.cancel(invitation["id"].as_str().unwrap()).await.expect(200);
    }
    ann.delete("/workspaces/").await.expect(200);
    let created = tag(&ann.post("/workspaces/", json!({"name": "One"})).await.expect(201));
    assert_eq!(ann.current_tag().await, created);
    assert!(
        !seen.contains(&created),
        "a new workspace repeats no tag of the deleted one"
    );
    assert!(ann.members().await.header("etag").is_none());
}

#[tokio::test]
async fn a_change_with_a_stale_or_invalid_tag_is_refused() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let other = world.owner("bob").await.current_tag().await;
    let stale = ann.current_tag().await;
    let current = tag(&ann.patch_if_match(&stale, json!({"name": "One"})).await.expect(200));
    let table = world.dump().await;
    let weak = format!("W/{current}");
    let bare = current.trim_matches('"').to_owned();
    let several = format!("{stale}, {other}");
    for unmet in [
        &stale, &other, &weak, &bare, &several, "", "\"\"", "x", "\"*\"", "*, \"x\"",
    ] {
        for method in ["PUT", "PATCH"] {
            let response = ann.call_if_match(method, &[unmet], json!({"name": "Two"})).await;
            assert_eq!(response.status, 412, "{method} {unmet:?}: {}", response.text);
            response.refused(412, "PRECONDITION_FAILED");
        }
        ann.patch_if_match(unmet, json!({}))
            .await
            .refused(412, "PRECONDITION_FAILED");
    }
    let repeated = ann.patch_if_match(&stale, json!({"name": "One"})).await;
    repeated.refused(412, "PRECONDITION_FAILED");
    assert_eq!(world.dump().await, table);
}

#[tokio::test]
async fn a_change_with_the_current_tag_is_made() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let other = "\"other\"";
    for (number, form) in ["{}", " {} ", "{other}, {}", "{},{other}", "W/{other}, {}", ",, {}", "*"]
        .iter()
        .enumerate()
    {
        for method in ["PUT", "PATCH"] {
            let current = ann.current_tag().await;
            let tags = form.replace("{other}", other).replace("{}", &current);
            let name = format!("Name {number} {method}");
            let changed = ann
                .call_if_match(method, &[&tags], json!({"name": name}))
                .await
                .expect(200);
            assert_eq!(changed.body["name"], json!(name), "{tags}");
            assert_ne!(tag(&changed), current);
        }
    }
    // Several header lines are one list.
    let current = ann.current_tag().await;
    let changed = ann
        .call_if_match("PATCH", &[other, &current], json!({"name": "Lines"}))
        .await;
    changed.expect(200);
    let current = ann.current_tag().await;
    let unchanged = ann.patch_if_match(&current, json!({})).await.expect(200);
    assert_eq!(tag(&unchanged), current);
}

#[tokio::test]
async fn the_precondition_is_checked_after_all_other_rules() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let mut ben = world.joins(&ann, "ben", "member").await;
    let stale = "\"stale\"";
    ann.patch_if_match(stale, json!({"website": "x"}))
        .await
        .refused(422, "VALIDATION_ERROR");
    ben.patch_if_match(stale, json!({"name": "x"}))
        .await
        .refused(403, "FORBIDDEN");
    ann.signed_out()
        .patch_if_match(stale, json!({"name": "x"}))
        .await
        .refused(401, "TOKEN_MISSING");
    ann.remove(&ben.id).await.expect(200);
    ben.log_in().await;
    for tag in [stale, "*"] {
        ben.patch_if_match(tag, json!({"name": "x"}))
            .await
            .refused(404, "WORKSPACE_NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_twelve_concurrent_changes_with_the_same_tag_wins() {
    let world: &'static World = Box::leak(Box::new(World::new().await));
    let ann = world.owner("ann").await;
    let ben = world.joins(&ann, "ben", "manager").await;
    for round in 0..4 {
        let current = ann.current_tag().await;
        let tasks = (0..12).map(|number| {
            let (caller, tag) = (if number % 2 == 0 { &ann } else { &ben }.clone(), current.clone());
            // Half of the requests are equal.
            let name = format!("Name {round} {}", number / 6 * number);
            tokio::spawn(async move { caller.patch_if_match(&tag, json!({"name": name})).await })
        });
        let responses: Vec<ApiResponse> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
        let (won, lost): (Vec<_>, Vec<_>) = responses.into_iter().partition(|response| response.status == 200);
        assert_eq!(won.len(), 1, "{won:?}");
        for response in lost {
            response.refused(412, "PRECONDITION_FAILED");
        }
        let now = ann.workspace().await;
        assert_eq!((&now.body, tag(&now)), (&won[0].body, tag(&won[0])));
    }
    // Without a tag, all changes are made, one after the other.
    let tasks = (0..12).map(|number| {
        let caller = ann.clone();
        tokio::spawn(async move {
            caller
                .patch("/workspaces/", json!({"name": format!("Free {number}")}))
                .await
        })
    });
    for response in join_all(tasks).await {
        response.unwrap().expect(200);
    }
    invariants::check(world).await;
}

#[tokio::test]
async fn a_change_whose_response_from_dynamodb_was_lost_succeeds() {
    let mut world = World::new().await;
    world.request_time_limit = Duration::from_secs(3);
    let ann = world.owner("ann").await;
    for lost in 1..=3 {
        let current = ann.current_tag().await;
        world.faults.next(&["UpdateItem"], lost, Fault::Lost(Loss::Failed));
        let name = format!("Name {lost}");
        let changed = ann.patch_if_match(&current, json!({"name": name})).await.expect(200);
        assert_eq!(changed.body["name"], json!(name), "{lost}");
        assert_eq!(tag(&changed), ann.current_tag().await, "{lost}");
        ann.patch_if_match(&current, json!({"name": "Other"}))
            .await
            .refused(412, "PRECONDITION_FAILED");
    }
    // A change that was not made is not reported as made.
    let current = ann.current_tag().await;
    world.faults.next(&["UpdateItem"], FOREVER, Fault::Refused);
    ann.patch_if_match(&current, json!({"name": "Never"}))
        .await
        .refused(503, "SERVICE_UNAVAILABLE");
    world.faults.stop();
    assert_eq!(ann.current_tag().await, current);
    ann.patch_if_match(&current, json!({"name": "Later"})).await.expect(200);
}

#[tokio::test]
async fn deleting_a_workspace_with_a_stale_tag_is_refused() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let read = ann.current_tag().await;
    ann.patch_if_match(&read, json!({"name": "Newer"})).await.expect(200);
    let before = world.dump_without_limits().await;
    ann.call_if_match("DELETE", &[&read], Value::Null)
        .await
        .refused(412, "PRECONDITION_FAILED");
    assert_eq!(world.dump_without_limits().await, before);
    let current = ann.current_tag().await;
    ann.call_if_match("DELETE", &[&current], Value::Null).await.expect(200);
    ann.workspace().await.refused(404, "WORKSPACE_NOT_FOUND");
}

#[tokio::test]
async fn a_retried_write_does_not_undo_a_later_change() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let ben = world.joins(&ann, "ben", "owner").await;
    // The write is applied immediately, and its response never arrives: after the time-out it is attempted again.
    world.faults.next(&["UpdateItem"], 1, Fault::Lost(Loss::TimedOut));
    let first = ann.patch("/workspaces/", json!({"name": "First", "timezone": "Europe/Paris"}));
    let second = async {
        let read = loop {
            let read = ben.workspace().await;
            if read.body["name"] == "First" {
                break tag(&read);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        ben.patch_if_match(&read, json!({"name": "Second"})).await.expect(200)
    };
    let (first, second) = futures::join!(first, second);
    first.expect(200);
    assert_eq!(second.body["timezone"], "Europe/Paris");
    assert_eq!(ann.workspace().await.body, second.body);
}
