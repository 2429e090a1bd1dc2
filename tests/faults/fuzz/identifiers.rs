//! Generated tokens, cursors, ids and links: only genuine ones are accepted.

use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::faults::fuzz::generators::{Edit, edited, edits, escaped};
use crate::faults::fuzz::{Setup, fuzz};
use crate::faults::requests::conforming;
use crate::support::harness::{Operation, Person, operations, proof};

#[test]
fn only_a_genuine_access_token_authenticates() {
    let setup = Setup::new();
    let owner = setup.owner();
    let token = owner.person().access.unwrap();
    let bearer = prop_oneof![
        3 => edits().prop_map(Err),
        1 => "[ -~]{0,200}".prop_map(Ok),
        1 => "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}".prop_map(Ok),
        1 => prop::collection::vec(proptest::char::range('\u{80}', '\u{ff}'), 1..40).prop_map(|text| Ok(text.into_iter().collect())),
    ];
    fuzz("access tokens", 4, &bearer, |sent| {
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(&token, &edits));
        let Ok(header) = format!("Bearer {sent}").parse::<axum::http::HeaderValue>() else {
            return;
        };
        if sent.trim() == token {
            return;
        }
        let request = Request::get("/api/v1/auth/me").header("authorization", header);
        let response = setup.run(
            setup
                .world
                .send(request.body(Body::empty()).unwrap(), owner.person().address),
        );
        conforming(response).refused(401, "TOKEN_INVALID");
    });
}

#[test]
fn only_a_genuine_refresh_token_refreshes() {
    let setup = Setup::new();
    let owner = setup.owner();
    let token = owner.person().refresh;
    let sent = prop_oneof![3 => edits().prop_map(Err), 1 => any::<String>().prop_map(Ok)];
    fuzz("refresh tokens", 4, &sent, |sent| {
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(&token, &edits));
        if sent == token {
            return;
        }
        let stranger = owner.person().signed_out();
        let response = setup.run(stranger.post("/auth/refresh", json!({"refresh_token": sent})));
        conforming(response).refused(401, "TOKEN_INVALID");
    });
    let genuine = Person {
        refresh: token,
        ..owner.person()
    };
    setup.run(genuine.refresh()).expect(200);
}

#[test]
fn only_a_genuine_cursor_continues_a_list() {
    let setup = Setup::new();
    let owner = setup.owner();
    let cursors = setup.run(async {
        let person = owner.person();
        setup.world.joins(&person, "member", "member").await;
        for name in ["one", "two"] {
            person
                .invite(&format!("{name}@example.com"), "member")
                .await
                .expect(201);
        }
        let mut cursors = Vec::new();
        for path in ["/workspaces/members", "/workspaces/invitations"] {
            let page = person.get(&format!("{path}?limit=1")).await.expect(200);
            cursors.push((path, page.body["next_cursor"].as_str().unwrap().to_owned()));
        }
        cursors
    });
    let sent = prop_oneof![3 => edits().prop_map(Err), 1 => any::<String>().prop_map(Ok)];
    fuzz("cursors", 4, &(select(cursors), sent), |((path, cursor), sent)| {
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(&cursor, &edits));
        if sent == cursor {
            return;
        }
        let path = format!("{path}?limit=1&cursor={}", escaped(&sent));
        let field_errors = conforming(setup.run(owner.person().get(&path)).expect(422)).invalid_fields();
        assert_eq!(field_errors, ["query.cursor"]);
    });
}

#[test]
fn an_edited_or_random_id_is_not_found() {
    let setup = Setup::new();
    let owner = setup.owner();
    let id = owner.person().id;
    let with_id: Vec<Operation> = operations()
        .into_iter()
        .filter(|operation| operation.path.contains('{'))
        .collect();
    let sent = prop_oneof![1 => edits().prop_map(Err), 1 => any::<String>().prop_map(Ok)];
    let body = json!({"role": "member", "expires_at": "2030-01-01T00:00:00Z"});
    fuzz("ids", 8, &(select(with_id), sent), |(operation, sent)| {
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(&id, &edits));
        let same = uuid::Uuid::try_parse(&sent).is_ok_and(|sent| sent.to_string() == id);
        if sent.is_empty() || same {
            return;
        }
        let path = operation.about(&escaped(&sent));
        let response = setup.run(owner.person().call(&operation.method, &path, Some(body.clone())));
        let limited = operation.path.ends_with("/resend") && response.status == 429;
        assert!(limited || response.status == 404, "{path}: {}", response.text);
        conforming(response);
    });
    setup.check_invariants();
}

#[test]
fn only_the_mailed_link_opens_an_invitation() {
    let setup = Setup::new();
    let owner = setup.owner();
    let issued = setup
        .run(owner.person().invite("guest@example.com", "member"))
        .expect(201);
    let link = proof(&issued, json!({}));
    let routes = vec!["/auth/invitation", "/auth/accept-invite", "/auth/decline-invite"];
    let sent = prop_oneof![3 => edits().prop_map(Err), 1 => any::<String>().prop_map(Ok)];
    let case = (select(routes), select(vec!["invite_id", "token"]), sent);
    fuzz("invitation links", 4, &case, |(route, field, sent)| {
        let genuine = link[field].as_str().unwrap();
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(genuine, &edits));
        let same_id = uuid::Uuid::try_parse(&sent).is_ok_and(|sent| sent.to_string() == genuine);
        if sent == genuine || same_id {
            return;
        }
        let mut body = link.clone();
        body["password"] = json!("correct horse");
        body[field] = json!(sent);
        let response = setup.run(owner.person().signed_out().post(route, body));
        conforming(response).refused(404, "INVITATION_NOT_FOUND");
    });
    let status = setup.run(owner.person().signed_out().preview(&issued)).expect(200).body["status"].clone();
    assert_eq!(status, "pending");
}
