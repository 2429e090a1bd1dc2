//! The HTTP layers around the handlers: they prepare each request and complete each response.

pub mod body;
pub mod gateway;
pub mod idempotency;
pub mod openapi;
pub mod page;
pub mod path;
pub mod precondition;
pub mod problem;
pub mod query;
pub mod wire;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::auth::access::Caller;
use crate::deadline::{Deadline, GRACE};
use crate::error::Error;
use crate::telemetry;
use gateway::Gateway;

/// The bytes that a request's body may have.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Completes a function's routes: errors in one shape for unknown paths and methods, the limit on bodies, redirects
/// from trailing slashes, CORS, and the headers of every response.
pub fn finish(routes: OpenApiRouter<App>, app: App) -> Router {
    let inner = axum::Router::from(routes)
        .fallback(|| async { Error::NotFound })
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed })
        .layer(middleware::from_fn(body::limit))
        .layer(middleware::from_fn(redirect_slash))
        // Inside CORS, so that a browser can read the responses to a time-out and to a panic.
        .layer(middleware::from_fn(within_deadline))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(panic_response));
    let shared = match cors(&app) {
        Some(cors) => inner.layer(cors),
        None => inner,
    };
    shared
        .layer(middleware::from_fn_with_state(app.clone(), frame))
        .with_state(app)
}

/// The response to a panic. The hook of [`crate::lambda::init_logs`] has logged the location; the message is dropped.
fn panic_response(_: Box<dyn std::any::Any + Send>) -> Response {
    Error::Internal("a handler panicked".to_owned()).into_response()
}

/// Responds before Lambda ends the call, even if a handler still waits: the gateway's own response would have no error
/// code.
async fn within_deadline(request: Request, next: Next) -> Response {
    let response = Deadline::current().with_grace(GRACE).timeout(next.run(request)).await;
    response.unwrap_or_else(|| Error::Unavailable("the handler took too long".to_owned()).into_response())
}

fn cors(app: &App) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = app
        .config
        .allowed_origins
        .iter()
        .filter_map(|origin| origin.parse().ok())
        .collect();
    if origins.is_empty() {
        return None;
    }
    let exposed = ["retry-after", "ratelimit", "ratelimit-policy", "etag", "x-request-id"];
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers([
                AUTHORIZATION,
                CONTENT_TYPE,
                HeaderName::from_static("idempotency-key"),
                axum::http::header::IF_MATCH,
            ])
            .expose_headers(exposed.map(HeaderName::from_static))
            .max_age(std::time::Duration::from_secs(600)),
    )
}

/// Redirects `/path/` to `/path`, except on the one route that ends in a slash. The target is a path, never a host.
async fn redirect_slash(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.len() > 1 && path.ends_with('/') && path != "/api/v1/workspaces/" {
        let target = path.trim_end_matches('/');
        // Browsers read a path that begins with two slashes as a host.
        if target.is_empty() || target.starts_with("//") || target.contains('\\') {
            return Error::NotFound.into_response();
        }
        let location = match request.uri().query() {
            Some(query) => format!("{target}?{query}"),
            None => target.to_owned(),
        };
        return match HeaderValue::try_from(location) {
            Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response(),
            Err(_) => Error::NotFound.into_response(),
        };
    }
    next.run(request).await
}

/// The outermost layer: opens the request's span, sets its deadline, completes the response and logs it.
async fn frame(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = app.now();
    let mut gateway = request.extensions_mut().remove::<Gateway>().unwrap_or_default();
    if gateway.request_id.is_empty() {
        gateway.request_id = crate::ids::uuid_v7(started).to_string();
    }
    let request_id = gateway.request_id.clone();
    let span = telemetry::request_span(&app.config.function, &request_id);
    let method = request.method().clone();
    // The log has the route's pattern, because the path of a request may hold any text.
    let route = request
        .extensions()
        .get::<axum::extract::MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |matched| matched.as_str().to_owned());
    request.extensions_mut().insert(gateway);
    let deadline = request.extensions_mut().remove::<Deadline>();
    let deadline = deadline.unwrap_or_else(Deadline::current);
    let responding = async {
        let mut response = deadline.scope(next.run(request)).await;
        let error = response.extensions_mut().remove::<Error>();
        if let Some(error) = &error {
            response = problem::write(error, response, &request_id);
        }
        set_headers(&mut response, &request_id);
        let duration_ms = app.now().since(started).as_millis();
        log_response(&method, &route, response.status().as_u16(), duration_ms, error.as_ref());
        response
    };
    responding.instrument(span).await
}

/// Sets the headers of every response.
fn set_headers(response: &mut Response, request_id: &str) {
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert(X_REQUEST_ID, id);
    }
}

/// Logs a response as one line: an error if the function failed, information otherwise.
fn log_response(method: &Method, route: &str, status: u16, duration_ms: u128, error: Option<&Error>) {
    let duration_ms = u64::try_from(duration_ms).unwrap_or(u64::MAX);
    match error {
        Some(error @ (Error::Internal(_) | Error::Unavailable(_) | Error::Stale)) => {
            tracing::error!(%method, route, status, duration_ms, %error, "request failed");
        }
        Some(error) => {
            let code = error.row().code.as_str();
            tracing::info!(%method, route, status, duration_ms, code, "request completed");
        }
        None => tracing::info!(%method, route, status, duration_ms, "request completed"),
    }
}

impl IntoResponse for Error {
    /// The status and the rate-limit headers, with the error attached. The outermost layer writes the body, because it
    /// knows the request's id.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.row().status;
        if let Self::RateLimited(limited) = &self {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(limited.retry_after_s));
            let policy = format!("\"default\";q={};w={}", limited.limit, limited.window_s);
            let state = format!("\"default\";r=0;t={}", limited.retry_after_s);
            for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
                if let Ok(value) = HeaderValue::try_from(value) {
                    headers.insert(HeaderName::from_static(name), value);
                }
            }
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Authenticates the caller by the bearer token; none without an `Authorization` header.
async fn bearer(parts: &Parts, app: &App) -> Result<Option<Caller>, Error> {
    let mut headers = parts.headers.get_all(AUTHORIZATION).into_iter();
    let Some(header) = headers.next() else { return Ok(None) };
    if headers.next().is_some() {
        return Err(Error::TokenInvalid);
    }
    let (scheme, token) = header
        .to_str()
        .ok()
        .and_then(|header| header.split_once(' '))
        .ok_or(Error::TokenInvalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::TokenInvalid);
    }
    app.authenticate(token.trim()).await.map(Some)
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        bearer(parts, app).await?.ok_or(Error::TokenMissing)
    }
}

impl OptionalFromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, Error> {
        bearer(parts, app).await
    }
}
