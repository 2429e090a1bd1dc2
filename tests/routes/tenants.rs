//! Resources of another workspace do not exist for the caller: responses and headers are those of an unknown id, and
//! nothing changes.

use serde_json::{Value, json};

use crate::support::harness::{ApiResponse, PASSWORD, Person, World, proof};

/// The parts of a response that a caller can compare: everything but the request id.
fn comparable(response: &ApiResponse) -> (u16, Vec<(String, String)>, String) {
    let id = response.header("x-request-id").unwrap();
    let mut headers: Vec<_> = response
        .headers
        .iter()
        .filter(|(name, _)| *name != "x-request-id")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (response.status.as_u16(), headers, response.text.replace(id, "…"))
}

/// Asserts that each id gets the same 404 on a route, and that nothing changes.
async fn assert_all_unknown(
    person: &Person<'_>,
    method: &str,
    path: &str,
    body: Option<Value>,
    code: &str,
    ids: &[String],
) {
    let before = person.world.dump_without_limits().await;
    let mails = person.world.mailbox.mails().len();
    let mut responses = Vec::new();
    for id in ids {
        let response = person
            .call(method, &path.replace("{}", id), body.clone())
            .await
            .refused(404, code);
        responses.push(comparable(&response));
    }
    for (response, id) in responses.iter().zip(ids) {
        assert_eq!(*response, responses[0], "{method} {path} {id}");
    }
    assert_eq!(person.world.dump_without_limits().await, before, "{method} {path}");
    assert_eq!(person.world.mailbox.mails().len(), mails);
}

/// Ids that do not exist, valid and malformed.
fn unknown_ids() -> Vec<String> {
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
async fn members_of_another_workspace_are_unknown() {
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
    ids.extend(unknown_ids());
    let manager = world.joins(&ann, "max", "manager").await;
    for person in [&ann, &manager] {
        for role in ["member", "manager", "owner", "king"] {
            let body = Some(json!({"role": role}));
            assert_all_unknown(
                person,
                "PATCH",
                "/workspaces/members/{}",
                body,
                "MEMBER_NOT_FOUND",
                &ids,
            )
            .await;
        }
        assert_all_unknown(
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
async fn invitations_of_another_workspace_are_unknown() {
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
    ids.extend(unknown_ids());
    let mut manager = world.joins(&ann, "max", "manager").await;
    let path = "/workspaces/invitations/{}";
    for person in [&mut ann, &mut manager] {
        person.log_in().await;
        assert_all_unknown(person, "DELETE", path, None, "INVITATION_NOT_FOUND", &ids).await;
        for expires_at in ["2000-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
            let body = Some(json!({"expires_at": expires_at}));
            assert_all_unknown(person, "PATCH", path, body, "INVITATION_NOT_FOUND", &ids).await;
        }
        for chunk in ids.chunks(8) {
            let resend = format!("{path}/resend");
            assert_all_unknown(person, "POST", &resend, None, "INVITATION_NOT_FOUND", chunk).await;
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
async fn responses_contain_nothing_of_another_workspace() {
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
        let response = ann.get(path).await.expect(200);
        for word in ["zelda", "fay", &zelda.id] {
            assert!(!response.text.contains(word), "{path}: {}", response.text);
        }
    }
    assert_eq!(ann.members().await.body["total"], 1);
    assert_eq!(ann.invitations().await.body["total"], 0);
}

#[tokio::test]
async fn a_removed_owner_who_joins_another_workspace_has_no_rights_in_the_first() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let eve = world.owner("eve").await;
    let mut bob = world.joins(&ann, "bob", "owner").await;
    let with_old_token = bob.clone();
    let invitation = ann.invite("guest@example.com", "member").await.expect(201);
    ann.remove(&bob.id).await.expect(200);
    let issued = eve.invite(&bob.email, "owner").await.expect(201);
    let accepted = bob
        .signed_out()
        .accept(&issued, json!({"password": PASSWORD}))
        .await
        .expect(200);
    bob.take_tokens(&accepted);
    with_old_token.remove(&ann.id).await.refused(401, "TOKEN_REVOKED");
    assert_all_unknown(
        &bob,
        "DELETE",
        "/workspaces/members/{}",
        None,
        "MEMBER_NOT_FOUND",
        std::slice::from_ref(&ann.id),
    )
    .await;
    let ids = [invitation.id()];
    assert_all_unknown(
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
async fn a_link_with_a_wrong_token_gets_the_response_of_an_unknown_link() {
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
    let anonymous = world.stranger("anonymous");
    let before = world.dump_without_limits().await;
    let mut responses = Vec::new();
    for route in ["invitation", "accept-invite", "decline-invite"] {
        for id in &ids {
            for token in [json!("x"), json!("A".repeat(43))] {
                let body = json!({"invite_id": id, "token": token, "password": PASSWORD});
                let refused = anonymous
                    .post(&format!("/auth/{route}"), body)
                    .await
                    .refused(404, "INVITATION_NOT_FOUND");
                responses.push(comparable(&refused));
            }
        }
    }
    assert!(
        responses.iter().all(|response| *response == responses[0]),
        "{responses:#?}"
    );
    assert_eq!(world.dump_without_limits().await, before);
    let valid = proof(&pending, json!({"password": PASSWORD}));
    anonymous.post("/auth/accept-invite", valid).await.expect(200);
}
