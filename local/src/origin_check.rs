//! Keeps web pages out of the stack's own routes: a page that a browser shows from elsewhere reaches loopback too.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, Uri, header::HOST, header::ORIGIN},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// The names of this machine that a request may be addressed to, or come from a page of.
const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Refuses with 403 what is addressed to another host name (a rebound DNS name) or comes from another site's page.
pub(crate) async fn this_machine_only(request: Request, next: Next) -> Response {
    if is_local(request.headers()) {
        next.run(request).await
    } else {
        (
            StatusCode::FORBIDDEN,
            "This route answers this machine's own pages and tools only.\n",
        )
            .into_response()
    }
}

fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = headers.get(ORIGIN);
    let host_is_local = host.is_some_and(|host| names_this_machine(&format!("http://{host}")));
    let origin_is_local = origin.is_none_or(|origin| origin.to_str().is_ok_and(names_this_machine));
    host_is_local && origin_is_local
}

fn names_this_machine(url: &str) -> bool {
    url.parse::<Uri>()
        .is_ok_and(|uri| uri.host().is_some_and(|host| NAMES.contains(&host)))
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
    fn only_this_machine_is_answered() {
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
