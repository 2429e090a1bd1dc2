//! `ETag` and `If-Match` on the workspace: who changes what they have not read changes nothing.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::fault_injection::{FOREVER, Fault, Loss};
use crate::support::harness::{ApiResponse, Person, World};
use crate::support::invariants;

impl Person<'_> {
    async fn change_if(&self, method: &str, tags: &[&str], body: Value) -> ApiResponse {
        let request = self.request(method, "/workspaces/");
        let request = tags
            .iter()
            .fold(request, |request, tag| request.header("if-match", *tag));
        let request = request.body(body.to_string().into()).unwrap();
        self.world.send(request, self.address).await
    }

    async fn patch_if(&self, tag: &str, body: Value) -> ApiResponse {
        self.change_if("PATCH", &[tag], body).await
    }

    /// The version of their workspace as it is now.
    async fn version(&self) -> String {
        tag(&self.workspace().await.expect(200))
    }
}

/// An answer's entity tag, which must be a strong one.
#[track_caller]
fn tag(answer: &ApiResponse) -> String {
    let tag = answer.header("etag").unwrap();
    let opaque = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
    assert!(!opaque.is_empty() && !opaque.contains('"'), "{tag}");
    tag.to_owned()
}

#[tokio::test]
async fn a_tag_is_one_version_s_and_changes_with_what_is_shown_alone() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let first = ann.version().await;
    assert_eq!(ann.version().await, first);
    let member = world.joins(&ann, "ben", "member").await;
    ann.invite("cleo@example.com", "member").await.expect(201);
    ann.change_role(&member.id, "manager").await.expect(200);
    assert_eq!(ann.version().await, first);
    let mut seen = vec![first];
    for (method, body) in [
        ("PUT", json!({"name": "One"})),
        ("PATCH", json!({"website": "https://example.com"})),
        ("PATCH", json!({"website": null})),
        // Saying again what is so is an update: `updated_at` moves.
        ("PATCH", json!({"name": "One"})),
    ] {
        let changed = tag(&ann.call(method, "/workspaces/", Some(body)).await.expect(200));
        assert_eq!(ann.version().await, changed);
        assert!(!seen.contains(&changed), "{changed}");
        seen.push(changed);
    }
    let idle = ann.patch("/workspaces/", json!({})).await.expect(200);
    assert_eq!(Some(&tag(&idle)), seen.last());

    ann.remove(&member.id).await.expect(200);
    for invitation in ann.invitations().await.body["invitations"].as_array().unwrap() {
        ann.cancel(invitation["id"].as_str().unwrap()).await.expect(200);
    }
    ann.delete("/workspaces/").await.expect(200);
    let founded = tag(&ann.post("/workspaces/", json!({"name": "One"})).await.expect(201));
    assert_eq!(ann.version().await, founded);
    assert!(!seen.contains(&founded), "a new workspace has versions of its own");
    assert!(ann.members().await.header("etag").is_none());
}

#[tokio::test]
async fn a_stale_change_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let other = world.owner("bob").await.version().await;
    let stale = ann.version().await;
    let current = tag(&ann.patch_if(&stale, json!({"name": "One"})).await.expect(200));
    let table = world.dump().await;
    let weak = format!("W/{current}");
    let bare = current.trim_matches('"').to_owned();
    let several = format!("{stale}, {other}");
    for unmet in [
        &stale, &other, &weak, &bare, &several, "", "\"\"", "x", "\"*\"", "*, \"x\"",
    ] {
        for method in ["PUT", "PATCH"] {
            let answer = ann.change_if(method, &[unmet], json!({"name": "Two"})).await;
            assert_eq!(answer.status, 412, "{method} {unmet:?}: {}", answer.text);
            answer.refused(412, "PRECONDITION_FAILED");
        }
        ann.patch_if(unmet, json!({})).await.refused(412, "PRECONDITION_FAILED");
    }
    let again = ann.patch_if(&stale, json!({"name": "One"})).await;
    again.refused(412, "PRECONDITION_FAILED");
    assert_eq!(world.dump().await, table);
}

#[tokio::test]
async fn a_change_of_what_was_read_is_made() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let other = "\"other\"";
    for (number, form) in ["{}", " {} ", "{other}, {}", "{},{other}", "W/{other}, {}", ",, {}", "*"]
        .iter()
        .enumerate()
    {
        for method in ["PUT", "PATCH"] {
            let current = ann.version().await;
            let tags = form.replace("{other}", other).replace("{}", &current);
            let name = format!("Name {number} {method}");
            let changed = ann.change_if(method, &[&tags], json!({"name": name})).await.expect(200);
            assert_eq!(changed.body["name"], json!(name), "{tags}");
            assert_ne!(tag(&changed), current);
        }
    }
    // Several lines are one list.
    let current = ann.version().await;
    let changed = ann
        .change_if("PATCH", &[other, &current], json!({"name": "Lines"}))
        .await;
    changed.expect(200);
    let current = ann.version().await;
    let idle = ann.patch_if(&current, json!({})).await.expect(200);
    assert_eq!(tag(&idle), current);
}

#[tokio::test]
async fn other_checks_come_first() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let mut ben = world.joins(&ann, "ben", "member").await;
    let stale = "\"stale\"";
    ann.patch_if(stale, json!({"website": "x"}))
        .await
        .refused(422, "VALIDATION_ERROR");
    ben.patch_if(stale, json!({"name": "x"}))
        .await
        .refused(403, "FORBIDDEN");
    ann.signed_out()
        .patch_if(stale, json!({"name": "x"}))
        .await
        .refused(401, "TOKEN_MISSING");
    ann.remove(&ben.id).await.expect(200);
    ben.log_in().await;
    for tag in [stale, "*"] {
        ben.patch_if(tag, json!({"name": "x"}))
            .await
            .refused(404, "WORKSPACE_NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_with_one_tag_one_wins() {
    let world: &'static World = Box::leak(Box::new(World::new().await));
    let ann = world.owner("ann").await;
    let ben = world.joins(&ann, "ben", "manager").await;
    for round in 0..4 {
        let current = ann.version().await;
        let tasks = (0..12).map(|number| {
            let (it, tag) = (if number % 2 == 0 { &ann } else { &ben }.clone(), current.clone());
            // Half of them say the very same.
            let name = format!("Name {round} {}", number / 6 * number);
            tokio::spawn(async move { it.patch_if(&tag, json!({"name": name})).await })
        });
        let answers: Vec<ApiResponse> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!(won.len(), 1, "{won:?}");
        for answer in lost {
            answer.refused(412, "PRECONDITION_FAILED");
        }
        let now = ann.workspace().await;
        assert_eq!((&now.body, tag(&now)), (&won[0].body, tag(&won[0])));
    }
    // Without a tag all of them are made, one after the other.
    let tasks = (0..12).map(|number| {
        let it = ann.clone();
        tokio::spawn(async move {
            it.patch("/workspaces/", json!({"name": format!("Free {number}")}))
                .await
        })
    });
    for answer in join_all(tasks).await {
        answer.unwrap().expect(200);
    }
    invariants::check(world).await;
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_no_stale_one() {
    let mut world = World::new().await;
    world.request_time_limit = Duration::from_secs(3);
    let ann = world.owner("ann").await;
    for lost in 1..=3 {
        let current = ann.version().await;
        world.faults.next(&["UpdateItem"], lost, Fault::Lost(Loss::Failed));
        let name = format!("Name {lost}");
        let changed = ann.patch_if(&current, json!({"name": name})).await.expect(200);
        assert_eq!(changed.body["name"], json!(name), "{lost}");
        assert_eq!(tag(&changed), ann.version().await, "{lost}");
        ann.patch_if(&current, json!({"name": "Other"}))
            .await
            .refused(412, "PRECONDITION_FAILED");
    }
    // What was not made is not said to be.
    let current = ann.version().await;
    world.faults.next(&["UpdateItem"], FOREVER, Fault::Refused);
    ann.patch_if(&current, json!({"name": "Never"}))
        .await
        .refused(503, "SERVICE_UNAVAILABLE");
    world.faults.stop();
    assert_eq!(ann.version().await, current);
    ann.patch_if(&current, json!({"name": "Later"})).await.expect(200);
}

#[tokio::test]
async fn a_workspace_is_deleted_as_it_was_read() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let read = ann.version().await;
    ann.patch_if(&read, json!({"name": "Newer"})).await.expect(200);
    let before = world.dump_without_limits().await;
    ann.change_if("DELETE", &[&read], Value::Null)
        .await
        .refused(412, "PRECONDITION_FAILED");
    assert_eq!(world.dump_without_limits().await, before);
    let current = ann.version().await;
    ann.change_if("DELETE", &[&current], Value::Null).await.expect(200);
    ann.workspace().await.refused(404, "WORKSPACE_NOT_FOUND");
}

#[tokio::test]
async fn a_change_whose_answer_is_late_does_not_undo_what_was_made_of_it() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let ben = world.joins(&ann, "ben", "owner").await;
    // Applied at once; nothing is heard of it until its time is up, and it is tried again.
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
        ben.patch_if(&read, json!({"name": "Second"})).await.expect(200)
    };
    let (first, second) = futures::join!(first, second);
    first.expect(200);
    assert_eq!(second.body["timezone"], "Europe/Paris");
    assert_eq!(ann.workspace().await.body, second.body);
}
