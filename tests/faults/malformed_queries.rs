//! Malformed query parameters and ids.

use std::time::Duration;

use serde_json::json;

use crate::faults::requests::{SampleWorkspace, conforming};
use crate::support::harness::World;

#[tokio::test]
async fn an_invalid_query_parameter_is_refused() {
    let world = World::new().await;
    let sample = SampleWorkspace::new(&world).await;
    let huge = "9".repeat(40);
    let long = "A".repeat(6000);
    let numbers = [
        "",
        "-1",
        "abc",
        "1.5",
        "1e3",
        "%00",
        "%ff",
        "0x10",
        "\u{0661}",
        huge.as_str(),
    ];
    let numbers = numbers.map(|number| {
        if number.is_ascii() {
            number.to_owned()
        } else {
            "%D9%A1".to_owned()
        }
    });
    let cursors = [
        "",
        "x",
        "%00",
        "%ff",
        "..%2F..",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        long.as_str(),
    ];
    for (path, too_many, names) in [
        ("/workspaces/members", "501", &["limit"] as &[&str]),
        ("/workspaces/invitations", "101", &["limit", "offset"]),
    ] {
        for name in names {
            for number in &numbers {
                let response = sample.owner.get(&format!("{path}?{name}={number}")).await;
                assert_eq!(response.status, 422, "{path} {name}={number}: {}", response.text);
                assert_eq!(conforming(response).invalid_fields(), [format!("query.{name}")]);
            }
        }
        for limit in ["0", too_many] {
            let response = sample.owner.get(&format!("{path}?limit={limit}")).await;
            assert_eq!(conforming(response).invalid_fields(), ["query.limit"], "{limit}");
        }
        for cursor in cursors {
            let response = sample.owner.get(&format!("{path}?cursor={cursor}")).await;
            assert_eq!(response.status, 422, "{path} cursor={cursor:.30}: {}", response.text);
            assert_eq!(conforming(response).invalid_fields(), ["query.cursor"]);
        }
        let both = sample.owner.get(&format!("{path}?limit=0&cursor=x")).await;
        assert_eq!(conforming(both).invalid_fields(), ["query.cursor", "query.limit"]);
        for harmless in ["?", "?&&&=", "?unknown=1", "?limit=1&unknown", "?limit=1&limit=1"] {
            conforming(sample.owner.get(&format!("{path}{harmless}")).await.expect(200));
        }
    }
}

#[tokio::test]
async fn a_malformed_id_is_not_found() {
    let world = World::new().await;
    let sample = SampleWorkspace::new(&world).await;
    let id = sample.invitation.id();
    let compact = id.replace('-', "");
    for id in [
        "1",
        "-",
        "%00",
        "%ff",
        "%2F",
        "..",
        "null",
        "USER%231",
        "{id}",
        &compact,
        &format!("{id}x"),
        &format!("%7B{id}%7D"),
        &"a".repeat(4000),
    ] {
        let id = id.replace('{', "%7B").replace('}', "%7D");
        for (method, path, code) in [
            ("PATCH", format!("/workspaces/members/{id}"), "MEMBER_NOT_FOUND"),
            ("DELETE", format!("/workspaces/members/{id}"), "MEMBER_NOT_FOUND"),
            ("PATCH", format!("/workspaces/invitations/{id}"), "INVITATION_NOT_FOUND"),
            (
                "DELETE",
                format!("/workspaces/invitations/{id}"),
                "INVITATION_NOT_FOUND",
            ),
            (
                "POST",
                format!("/workspaces/invitations/{id}/resend"),
                "INVITATION_NOT_FOUND",
            ),
        ] {
            let body =
                json!({"role": "member", "expires_at": world.clock.now().plus(Duration::from_secs(3600)).to_string()});
            let response = conforming(sample.owner.call(method, &path, Some(body)).await);
            assert_eq!(response.status, 404, "{method} {path:.80}: {}", response.text);
            response.refused(404, code);
        }
    }
    // UUIDs are not case-sensitive.
    conforming(sample.owner.cancel(&id.to_uppercase()).await.expect(200));
}
