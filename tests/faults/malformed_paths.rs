//! Unknown paths and methods, trailing slashes, origins of browsers, and headers that clients may not set.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::faults::requests::{SampleWorkspace, UNKNOWN, conforming, get, send};
use crate::routes::set_clock_back;
use crate::support::harness::{ApiResponse, World, operations};

#[tokio::test]
async fn an_unknown_path_gets_404_and_an_unsupported_method_405() {
    let world = World::new().await;
    let sample = SampleWorkspace::new(&world).await;
    let unknown = [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/workspace",
        "/api/v1/workspaces/members/a/b",
        "/api/v2/workspaces",
        "/API/V1/WORKSPACES",
        "/api/v1/workspaces/..%2Fmembers",
        "/api/v1/auth",
        "/docs",
        "/_local/mailbox",
        "/favicon.ico",
        "/api/v1//workspaces",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/workspaces%00",
    ];
    for path in unknown {
        let response = send(&world, get(path)).await;
        assert_eq!(response.status, 404, "{path}: {}", response.text);
        conforming(response).refused(404, "NOT_FOUND");
    }
    let operations = operations();
    let mut paths: Vec<&str> = operations.iter().map(|operation| operation.path.as_str()).collect();
    paths.dedup();
    for path in paths {
        let methods = operations
            .iter()
            .filter(|operation| operation.path == path)
            .map(|operation| operation.method.as_str());
        let methods: Vec<&str> = methods.collect();
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
            if methods.contains(&method) {
                continue;
            }
            let with_id = path.replace("{user_id}", &sample.member.id).replace("{id}", UNKNOWN);
            let response = sample.owner.raw(method, &with_id, "").await;
            assert_eq!(response.status, 405, "{method} {path}: {}", response.text);
            let mut allowed: Vec<&str> = response.header("allow").unwrap().split(',').map(str::trim).collect();
            allowed.retain(|method| *method != "HEAD");
            allowed.sort_unstable();
            let mut expected = methods.clone();
            expected.sort_unstable();
            assert_eq!(allowed, expected, "{method} {path}");
            conforming(response).refused(405, "METHOD_NOT_ALLOWED");
        }
    }
    conforming(sample.owner.raw("POST", "/workspaces", "").await).refused(422, "VALIDATION_ERROR");
    conforming(sample.owner.get("/workspaces").await.expect(200));
}

#[tokio::test]
async fn a_trailing_slash_is_redirected_to_the_path_without_it_and_never_to_another_host() {
    let world = World::new().await;
    let owner = world.owner("owner").await;
    for operation in operations() {
        if operation.path.ends_with('/') {
            continue;
        }
        let path = operation.about(UNKNOWN);
        for query in ["", "?limit=1&cursor=a%2Fb"] {
            let response = owner.raw(&operation.method, &format!("{path}/{query}"), "").await;
            assert_eq!(response.status, 308, "{path}: {}", response.text);
            assert_eq!(response.header("location"), Some(format!("{path}{query}").as_str()));
            conforming(response);
        }
    }
    conforming(owner.get("/api/v1/workspaces/").await.expect(200));
    let to_another_host = [
        "//evil.example/",
        "///evil.example/",
        "//evil.example/%2e%2e/",
        "/%5Cevil.example/",
        "/%2F/evil.example/",
        "//evil.example//",
        "/%09/evil.example/",
        "/@evil.example/",
        "/.evil.example/",
        "//evil.example/?a=b",
        "/evil.example/%0d%0aLocation:x/",
    ];
    for path in to_another_host {
        let response = conforming(send(&world, get(path).header("host", "evil.example")).await);
        if let Some(location) = response.header("location") {
            assert!(
                location.starts_with('/') && !location.starts_with("//") && !location.contains('\\'),
                "{path} leads to {location}"
            );
        } else {
            assert_eq!(response.status, 404, "{path}");
        }
    }
}

#[tokio::test]
async fn only_configured_origins_may_read_responses_in_a_browser() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let preflight = |origin: &str| {
        Request::builder()
            .method("OPTIONS")
            .uri("/api/v1/workspaces/members")
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization,content-type")
    };
    let has_cors_headers = |response: &ApiResponse| {
        response
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control-"))
    };
    let read = send(
        &world,
        ann.request("GET", "/workspaces/")
            .header("origin", "https://app.example"),
    )
    .await;
    assert!(!has_cors_headers(&read), "{:?}", read.headers);
    let response = send(&world, preflight("https://app.example")).await;
    assert!(!has_cors_headers(&response), "{:?}", response.headers);
    conforming(response).refused(405, "METHOD_NOT_ALLOWED");

    let world = World::with(|config| config.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let ann = world.owner("ann").await;
    for person in [ann.clone(), ann.signed_out()] {
        let response = conforming(
            send(
                &world,
                person
                    .request("GET", "/workspaces/")
                    .header("origin", "https://app.example"),
            )
            .await,
        );
        assert_eq!(
            response.header("access-control-allow-origin"),
            Some("https://app.example")
        );
        assert_eq!(response.header("access-control-allow-credentials"), None);
        let mut exposed: Vec<String> = response
            .header("access-control-expose-headers")
            .unwrap()
            .split(',')
            .map(|name| name.trim().to_lowercase())
            .collect();
        exposed.sort();
        assert_eq!(
            exposed,
            ["etag", "ratelimit", "ratelimit-policy", "retry-after", "x-request-id"]
        );
        assert!(response.header("vary").unwrap().to_lowercase().contains("origin"));
    }
    let response = conforming(send(&world, preflight("https://app.example")).await);
    assert!(response.status.is_success(), "{}", response.status);
    assert_eq!(
        response.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    let methods = response.header("access-control-allow-methods").unwrap();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(methods.contains(method), "{methods}");
    }
    let headers = response.header("access-control-allow-headers").unwrap().to_lowercase();
    assert!(
        headers.contains("authorization") && headers.contains("content-type"),
        "{headers}"
    );
    for origin in [
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:444",
        "null",
    ] {
        let read = send(&world, ann.request("GET", "/workspaces/").header("origin", origin))
            .await
            .expect(200);
        assert_eq!(read.header("access-control-allow-origin"), None, "{origin}");
        let response = send(&world, preflight(origin)).await;
        assert_eq!(response.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn headers_do_not_set_the_host_the_method_the_request_id_or_the_ip_address() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let mut request = ann.request("POST", "/workspaces/invitations");
    for name in ["host", "x-forwarded-host", "forwarded", "x-original-host"] {
        request = request.header(name, "evil.example");
    }
    let body = json!({"email": "guest@example.com"}).to_string();
    let issued = world
        .send(request.body(Body::from(body)).unwrap(), ann.address)
        .await
        .expect(201);
    let link = issued.body["invite_link"].as_str().unwrap();
    assert!(link.starts_with("https://api.example.com/invite#invite_id="), "{link}");
    assert!(!issued.text.contains("evil"));

    let request = ann
        .request("GET", "/workspaces/")
        .header("x-request-id", "mine")
        .header("x-http-method-override", "DELETE");
    let response = conforming(send(&world, request).await.expect(200));
    assert_ne!(response.header("x-request-id"), Some("mine"));

    let began = world.clock.now();
    let guesser = world.stranger("guesser");
    for number in 0..61 {
        set_clock_back(&world, began);
        let request = guesser.request("POST", "/auth/invitation");
        let request = request
            .header("x-forwarded-for", format!("192.0.2.{number}"))
            .header("x-real-ip", format!("192.0.2.{number}"));
        let body = json!({"invite_id": UNKNOWN, "token": "x"}).to_string();
        let response = world
            .send(request.body(Body::from(body)).unwrap(), guesser.address)
            .await;
        if number < 60 {
            conforming(response).refused(404, "INVITATION_NOT_FOUND");
        } else {
            conforming(response).refused(429, "RATE_LIMITED");
        }
    }
}
