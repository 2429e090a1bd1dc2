//! Protects the stack's own routes from web pages of other sites, which can reach loopback through the user's browser.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, Uri, header::HOST, header::ORIGIN},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// The host names of this machine that are accepted in `Host` and `Origin`.
const LOCAL_HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Middleware that responds with 403 to requests for another host name (DNS rebinding) or from a page of another site.
pub(crate) async fn this_machine_only(request: Request, next: Next) -> Response {
    if is_local(request.headers()) {
        next.run(request).await
    } else {
        (
            StatusCode::FORBIDDEN,
            "This route accepts requests only from pages and tools on this machine.\n",
        )
            .into_response()
    }
}

fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = headers.get(ORIGIN);
    let host_is_local = host.is_some_and(|host| has_local_host(&format!("http://{host}")));
    let origin_is_local = origin.is_none_or(|origin| origin.to_str().is_ok_and(has_local_host));
    host_is_local && origin_is_local
}

fn has_local_host(url: &str) -> bool {
    url.parse::<Uri>()
        .is_ok_and(|uri| uri.host().is_some_and(|host| LOCAL_HOSTS.contains(&host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        is_local(&headers)
    }

    #[test]
    fn only_local_hosts_and_origins_are_allowed() {
        assert!(allowed("127.0.0.1:3000", None));
        assert!(allowed("localhost", Some("http://localhost:5173")));
        assert!(allowed("[::1]:3000", None));
        assert!(!allowed("rebound.example:3000", None));
        assert!(!allowed("127.0.0.1.example", None));
        assert!(!allowed("127.0.0.1:3000", Some("https://elsewhere.example")));
        assert!(!allowed("127.0.0.1:3000", Some("null")));
        assert!(!is_local(&HeaderMap::new()));
    }
}
