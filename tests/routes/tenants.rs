//! What is another workspace's does not exist: not by its answer, not by its headers, not by what it changes.

use serde_json::{Value, json};

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, proof};

/// What of an answer a caller can compare: all of it but its request's id.
fn comparable(answer: &ApiResponse) -> (u16, Vec<(String, String)>, String) {
    let id = answer.header("x-request-id").unwrap();
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "x-request-id")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status.as_u16(), headers, answer.text.replace(id, "…"))
}

/// Each id gets the same 404 on a route, and none of them changes anything.
async fn all_unknown(person: &Person<'_>, method: &str, path: &str, body: Option<Value>, code: &str, ids: &[String]) {
    let before = person.world.dump_without_limits().await;
    let mails = person.world.mailbox.mails().len();
    let mut answers = Vec::new();
    for id in ids {
        let answer = person
            .call(method, &path.replace("{}", id), body.clone())
            .await
            .refused(404, code);
        answers.push(comparable(&answer));
    }
    for (answer, id) in answers.iter().zip(ids) {
        assert_eq!(*answer, answers[0], "{method} {path} {id}");
    }
    assert_eq!(person.world.dump_without_limits().await, before, "{method} {path}");
    assert_eq!(person.world.mailbox.mails().len(), mails);
}

fn never_ids() -> Vec<String> {
    let unknown = uuid::Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0001);
    let mut ids = vec![
        unknown.to_string(),
        unknown.simple().to_string(),
        uuid::Uuid::nil().to_string(),
    ];
    ids.extend(["x", "not-a-uuid", "%23", "..%2F..", "USER%23", "*", "null", "%00"].map(str::to_owned));
    ids.push("7".repeat(500));
    ids
}

#[tokio::test]
async fn another_workspaces_members_are_unknown() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let eve = world.owner("eve").await;
    let member = world.joins(&eve, "fay", "member").await;
    let gone = world.joins(&eve, "gus", "member").await;
    eve.remove(&gone.id).await.expect(200);
    let own = world.joins(&ann, "hal", "member").await;
    ann.remove(&own.id).await.expect(200);
    let mut ids = vec![
        eve.id.clone(),
        member.id.clone(),
        gone.id,
        own.id,
        eve.workspace().await.id(),
    ];
    ids.extend(never_ids());
    let manager = world.joins(&ann, "max", "manager").await;
    for person in [&ann, &manager] {
        for role in ["member", "manager", "owner", "king"] {
            let body = Some(json!({"role": role}));
            all_unknown(
                person,
                "PATCH",
                "/workspaces/members/{}",
                body,
                "MEMBER_NOT_FOUND",
                &ids,
            )
            .await;
        }
        all_unknown(
            person,
            "DELETE",
            "/workspaces/members/{}",
            None,
            "MEMBER_NOT_FOUND",
            &ids,
        )
        .await;
    }
    member.workspace().await.expect(200);
    eve.workspace().await.expect(200);
}

#[tokio::test]
async fn another_workspaces_invitations_are_unknown() {
    let world = World::new().await;
    let mut ann = world.owner("ann").await;
    let eve = world.owner("eve").await;
    let pending = eve.invite("bob@example.com", "member").await.expect(201);
    let as_owner = eve.invite("cid@example.com", "owner").await.expect(201);
    let cancelled = eve.invite("dan@example.com", "member").await.expect(201);
    eve.cancel(&cancelled.id()).await.expect(200);
    let used = eve.invite("fay@example.com", "member").await.expect(201);
    world
        .stranger("fay")
        .accept(&used, json!({"password": PASSWORD}))
        .await
        .expect(200);
    let mut ids: Vec<_> = [&pending, &as_owner, &cancelled, &used]
        .into_iter()
        .map(ApiResponse::id)
        .collect();
    ids.push(ann.id.clone());
    ids.extend(never_ids());
    let mut manager = world.joins(&ann, "max", "manager").await;
    let path = "/workspaces/invitations/{}";
    for person in [&mut ann, &mut manager] {
        person.log_in().await;
        all_unknown(person, "DELETE", path, None, "INVITATION_NOT_FOUND", &ids).await;
        for expires_at in ["2000-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
            let body = Some(json!({"expires_at": expires_at}));
            all_unknown(person, "PATCH", path, body, "INVITATION_NOT_FOUND", &ids).await;
        }
        for some in ids.chunks(8) {
            let resend = format!("{path}/resend");
            all_unknown(person, "POST", &resend, None, "INVITATION_NOT_FOUND", some).await;
            world.pass(3601);
            person.log_in().await;
        }
    }
    world
        .stranger("bob")
        .accept(&pending, json!({"password": PASSWORD}))
        .await
        .expect(200);
}

#[tokio::test]
async fn the_lists_hold_nothing_of_another_workspace() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let zelda = world.owner("zelda").await;
    world.joins(&zelda, "fay", "member").await;
    zelda.invite("guest-of-zelda@example.com", "member").await.expect(201);
    zelda
        .patch("/workspaces/", json!({"description": "zelda's only"}))
        .await
        .expect(200);
    for path in [
        "/workspaces/",
        "/workspaces/members",
        "/workspaces/invitations",
        "/workspaces/usage",
        "/auth/me",
    ] {
        let answer = ann.get(path).await.expect(200);
        for word in ["zelda", "fay", &zelda.id] {
            assert!(!answer.text.contains(word), "{path}: {}", answer.text);
        }
    }
    assert_eq!(ann.members().await.body["total"], 1);
    assert_eq!(ann.invitations().await.body["total"], 0);
}

#[tokio::test]
async fn an_owners_rights_stay_behind_when_they_move() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let eve = world.owner("eve").await;
    let mut bob = world.joins(&ann, "bob", "owner").await;
    let held = bob.clone();
    let invitation = ann.invite("guest@example.com", "member").await.expect(201);
    ann.remove(&bob.id).await.expect(200);
    let issued = eve.invite(&bob.email, "owner").await.expect(201);
    let accepted = bob
        .signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .expect(200);
    bob.take_tokens(&accepted);
    held.remove(&ann.id).await.refused(401, "TOKEN_REVOKED");
    all_unknown(
        &bob,
        "DELETE",
        "/workspaces/members/{}",
        None,
        "MEMBER_NOT_FOUND",
        std::slice::from_ref(&ann.id),
    )
    .await;
    let ids = [invitation.id()];
    all_unknown(
        &bob,
        "DELETE",
        "/workspaces/invitations/{}",
        None,
        "INVITATION_NOT_FOUND",
        &ids,
    )
    .await;
    assert_eq!(bob.workspace().await.body, eve.workspace().await.body);
}

#[tokio::test]
async fn a_link_with_a_wrong_token_is_as_unknown_as_none() {
    let world = World::new().await;
    let owner = world.owner("ann").await;
    let pending = owner.invite("bob@example.com", "member").await.expect(201);
    let cancelled = owner.invite("cid@example.com", "member").await.expect(201);
    owner.cancel(&cancelled.id()).await.expect(200);
    let used = owner.invite("dan@example.com", "member").await.expect(201);
    world
        .stranger("dan")
        .accept(&used, json!({"password": PASSWORD}))
        .await
        .expect(200);
    let mut ids: Vec<_> = [&pending, &cancelled, &used].into_iter().map(ApiResponse::id).collect();
    ids.extend([
        "x".to_owned(),
        uuid::Uuid::nil().to_string(),
        uuid::Uuid::from_u128(9).to_string(),
    ]);
    let nobody = world.stranger("nobody");
    let before = world.dump_without_limits().await;
    let mut answers = Vec::new();
    for route in ["invitation", "accept-invite", "decline-invite"] {
        for id in &ids {
            for token in [json!("x"), json!("A".repeat(43))] {
                let body = json!({"invite_id": id, "token": token, "password": PASSWORD});
                let refused = nobody
                    .post(&format!("/auth/{route}"), body)
                    .await
                    .refused(404, "INVITATION_NOT_FOUND");
                answers.push(comparable(&refused));
            }
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(world.dump_without_limits().await, before);
    let good = proof(&pending, json!({"password": PASSWORD}));
    nobody.post("/auth/accept-invite", good).await.expect(200);
}
