//! People, in a world of their own: production code on an embedded engine, one table a world, a mailbox, a clock.
//!
//! `TEST_DYNAMODB_ENDPOINT` names another engine, such as the real DynamoDB Local.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut, FinalizerInterceptorContextMut,
    FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, SharedInterceptor};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Layer, Storable, StoreReplace};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use local::engine::{Engine, Storage};
use local::mailbox::{Mailbox, MailboxServer};
use serde_json::{Value, json};
use shared::app::{App, RequiredSecrets};
use shared::clock::Clock;
use shared::config::Config;
use shared::deadline::Deadline;
use shared::http::gateway::Gateway;
use tower::ServiceExt;

use crate::support::fault_injection::Faults;
use crate::support::{deployed, documented, template};

pub const PASSWORD: &str = "correct horse";

/// The engine of this process. It lives on a thread of its own, as each test's runtime ends with its test.
pub fn engine() -> &'static str {
    static ENDPOINT: OnceLock<String> = OnceLock::new();
    ENDPOINT.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "which engine to test against is the tester's to say"
        )]
        if let Ok(endpoint) = std::env::var("TEST_DYNAMODB_ENDPOINT") {
            return endpoint;
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let engine = Engine::start(&Storage::Memory).await.unwrap();
                sender.send(engine.endpoint.clone()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().unwrap()
    })
}

/// Shows what a test's requests failed of, should the test fail.
fn log_faults() {
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::ERROR);
    // Another test of this process has set it up before.
    let _ = subscriber.with_test_writer().without_time().try_init();
}

/// Everything there is, for one test.
pub struct World {
    pub app: App,
    pub clock: Clock,
    pub mailbox: Mailbox,
    pub calls: Calls,
    /// What DynamoDB calls suffer.
    pub faults: Faults,
    /// How long a request may take: more than Lambda gives it, as tests share a machine.
    pub request_time_limit: Duration,
    /// What answers requests.
    pub router: Router,
    people: AtomicU32,
    _mailbox_server: Option<MailboxServer>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::with_faults(configure, Faults::default()).await
    }

    /// A world whose DynamoDB calls suffer `faults`, once it is there.
    pub async fn faulty(faults: Faults) -> Self {
        Self::with_faults(|_| {}, faults).await
    }

    async fn with_faults(configure: impl FnOnce(&mut Config), faults: Faults) -> Self {
        log_faults();
        faults.pause(true);
        let clock = Clock::system();
        let mailbox = Mailbox::new(clock.clone());
        let server = mailbox.start().await.unwrap();
        let table = format!("t-{}", uuid::Uuid::from_bytes(shared::ids::random_bytes()));
        let mut config = Config::local(engine().to_owned(), server.endpoint.clone(), table.clone());
        configure(&mut config);
        let calls = Calls {
            made: Arc::default(),
            faults: faults.clone(),
        };
        let interceptor = SharedInterceptor::new(calls.clone());
        let app = App::start(config, clock.clone(), RequiredSecrets::ALL, Some(interceptor))
            .await
            .unwrap();
        shared::store::table::create(app.store.client(), &table).await.unwrap();
        app.warm().await.unwrap();
        faults.pause(false);
        Self {
            router: local::stack::api(app.clone()),
            app,
            clock,
            mailbox,
            calls,
            faults,
            request_time_limit: Duration::from_secs(60),
            people: AtomicU32::new(0),
            _mailbox_server: Some(server),
        }
    }

    /// Another environment over the same table and mailbox, whose clock is `seconds` ahead of this one's.
    pub async fn environment_ahead(&self, seconds: i64) -> Self {
        let clock = Clock::system();
        let passed_ms = self.clock.now().as_millis() - clock.now().as_millis();
        let _ = clock.advance((passed_ms + 500).div_euclid(1000) + seconds);
        let interceptor = SharedInterceptor::new(self.calls.clone());
        let config = (*self.app.config).clone();
        let app = App::start(config, clock.clone(), RequiredSecrets::ALL, Some(interceptor))
            .await
            .unwrap();
        crate::support::fault_injection::spared(app.warm()).await.unwrap();
        Self {
            router: local::stack::api(app.clone()),
            app,
            clock,
            mailbox: self.mailbox.clone(),
            calls: self.calls.clone(),
            faults: self.faults.clone(),
            request_time_limit: self.request_time_limit,
            people: AtomicU32::new(0),
            _mailbox_server: None,
        }
    }

    /// Somebody without an account.
    pub fn stranger(&self, name: &str) -> Person<'_> {
        let number = self.people.fetch_add(1, Ordering::SeqCst);
        let [_, a, b, c] = number.to_be_bytes();
        Person {
            world: self,
            name: name.to_owned(),
            email: format!("{name}@example.com"),
            id: String::new(),
            access: None,
            refresh: String::new(),
            address: IpAddr::from([10, a, b, c]),
        }
    }

    /// Somebody who registered and logged in, and so owns a workspace.
    pub async fn owner(&self, name: &str) -> Person<'_> {
        let mut person = self.stranger(name);
        let company = format!("{name} and company");
        let registered = person
            .post(
                "/auth/register",
                json!({"email": person.email, "password": PASSWORD, "name": name, "company": company}),
            )
            .await;
        registered.expect(201);
        person.log_in().await;
        person
    }

    /// Somebody who joined the workspace of `inviter` as `role`, by invitation and acceptance.
    pub async fn joins(&self, inviter: &Person<'_>, name: &str, role: &str) -> Person<'_> {
        let invitation = inviter.invite(&format!("{name}@example.com"), role).await.expect(201);
        let mut person = self.stranger(name);
        let accepted = person
            .accept(&invitation, json!({"password": PASSWORD, "name": name}))
            .await
            .expect(200);
        person.take_tokens(&accepted);
        person
    }

    /// Moves the clock on.
    pub fn pass(&self, seconds: i64) {
        let _ = self.clock.advance(seconds);
    }

    /// Every item of the table, as text, sorted: two dumps are equal when nothing changed.
    pub async fn dump(&self) -> Vec<String> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let scan = self.app.store.client().scan().table_name(self.app.store.table());
            let page = scan
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .unwrap();
            items.extend(page.items.unwrap_or_default().iter().map(item_text));
            start = page.last_evaluated_key;
            if start.is_none() {
                items.sort();
                return items;
            }
        }
    }

    /// The items whose text has all of `needles`.
    pub async fn rows(&self, needles: &[&str]) -> Vec<String> {
        let mut rows = self.dump().await;
        rows.retain(|row| needles.iter().all(|needle| row.contains(needle)));
        rows
    }

    /// Every item but those that only count calls.
    pub async fn dump_without_limits(&self) -> Vec<String> {
        let mut rows = self.dump().await;
        rows.retain(|row| !row.contains(r#""entity": S("limit")"#));
        rows
    }

    /// What is answered to a request; whoever answers is held to the role that the template gives its function, and what
    /// is answered to the OpenAPI document.
    pub async fn send(&self, request: Request<Body>, address: IpAddr) -> ApiResponse {
        let mut request = request;
        request.extensions_mut().insert(Gateway {
            request_id: String::new(),
            source_ip: Some(address),
            domain_name: Some("api.example.com".to_owned()),
        });
        request
            .extensions_mut()
            .insert(Deadline::after(self.request_time_limit));
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let function = template::route(&method, &path).function;
        let answering = self.router.clone().oneshot(request);
        let answer = ApiResponse::read(deployed::in_role(function, answering).await.unwrap()).await;
        documented::hold(&method, &path, &answer);
        answer
    }
}

/// An item as `Debug` writes it, but with its names in order.
fn item_text(item: &HashMap<String, AttributeValue>) -> String {
    let value = |value: &AttributeValue| match value {
        AttributeValue::M(map) => format!("M({})", item_text(map)),
        other => format!("{other:?}"),
    };
    let sorted: BTreeMap<_, _> = item.iter().collect();
    let pairs: Vec<_> = sorted
        .into_iter()
        .map(|(name, held)| format!("{name:?}: {}", value(held)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

/// The names of an object's fields, sorted.
#[track_caller]
pub fn names(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Somebody, with or without tokens.
#[derive(Clone)]
pub struct Person<'w> {
    pub world: &'w World,
    pub name: String,
    pub email: String,
    pub id: String,
    pub access: Option<String>,
    pub refresh: String,
    pub address: IpAddr,
}

impl Person<'_> {
    pub fn take_tokens(&mut self, answer: &ApiResponse) {
        self.access = Some(answer.body["access_token"].as_str().unwrap().to_owned());
        answer.body["refresh_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.refresh);
        answer.body["user"]["id"].as_str().unwrap().clone_into(&mut self.id);
    }

    pub async fn log_in(&mut self) {
        let answer = self
            .post("/auth/login", json!({"email": self.email, "password": PASSWORD}))
            .await
            .expect(200);
        self.take_tokens(&answer);
    }

    pub fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let path = if path.starts_with("/api") || path.starts_with("/.") || path.starts_with("/invite") {
            path.to_owned()
        } else {
            format!("/api/v1{path}")
        };
        let builder = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        match &self.access {
            Some(token) => builder.header("authorization", format!("Bearer {token}")),
            None => builder,
        }
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> ApiResponse {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.world
            .send(self.request(method, path).body(body).unwrap(), self.address)
            .await
    }

    pub async fn raw(&self, method: &str, path: &str, body: impl Into<Body>) -> ApiResponse {
        self.world
            .send(self.request(method, path).body(body.into()).unwrap(), self.address)
            .await
    }

    pub async fn get(&self, path: &str) -> ApiResponse {
        self.call("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> ApiResponse {
        self.call("POST", path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> ApiResponse {
        self.call("PUT", path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> ApiResponse {
        self.call("PATCH", path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> ApiResponse {
        self.call("DELETE", path, None).await
    }

    pub async fn workspace(&self) -> ApiResponse {
        self.get("/workspaces/").await
    }

    pub async fn members(&self) -> ApiResponse {
        self.get("/workspaces/members").await
    }

    pub async fn invitations(&self) -> ApiResponse {
        self.get("/workspaces/invitations").await
    }

    pub async fn invite(&self, email: &str, role: &str) -> ApiResponse {
        self.post("/workspaces/invitations", json!({"email": email, "role": role}))
            .await
    }

    pub async fn cancel(&self, invitation: &str) -> ApiResponse {
        self.delete(&format!("/workspaces/invitations/{invitation}")).await
    }

    pub async fn resend(&self, invitation: &str) -> ApiResponse {
        self.call("POST", &format!("/workspaces/invitations/{invitation}/resend"), None)
            .await
    }

    pub async fn extend(&self, invitation: &str, expires_at: &str) -> ApiResponse {
        self.patch(
            &format!("/workspaces/invitations/{invitation}"),
            json!({"expires_at": expires_at}),
        )
        .await
    }

    pub async fn change_role(&self, of: &str, role: &str) -> ApiResponse {
        self.patch(&format!("/workspaces/members/{of}"), json!({"role": role}))
            .await
    }

    pub async fn remove(&self, who: &str) -> ApiResponse {
        self.delete(&format!("/workspaces/members/{who}")).await
    }

    pub async fn revoke_all(&self) -> ApiResponse {
        self.call("POST", "/workspaces/revoke-all-sessions", None).await
    }

    /// Accepts the invitation that `issued` (an answer of create or resend) holds the link of.
    pub async fn accept(&self, issued: &ApiResponse, more: Value) -> ApiResponse {
        self.post("/auth/accept-invite", proof(issued, more)).await
    }

    pub async fn preview(&self, issued: &ApiResponse) -> ApiResponse {
        self.post("/auth/invitation", proof(issued, json!({}))).await
    }

    pub async fn decline(&self, issued: &ApiResponse) -> ApiResponse {
        self.post("/auth/decline-invite", proof(issued, json!({}))).await
    }

    pub async fn refresh(&self) -> ApiResponse {
        self.post("/auth/refresh", json!({"refresh_token": self.refresh})).await
    }

    /// This person without tokens.
    pub fn signed_out(&self) -> Self {
        Self {
            access: None,
            ..self.clone()
        }
    }
}

/// `invite_id` and `token` of an issued invitation's link, with `more` fields.
pub fn proof(issued: &ApiResponse, more: Value) -> Value {
    let link = issued.body["invite_link"].as_str().unwrap();
    let (_, fragment) = link.split_once('#').unwrap();
    let mut body = more;
    for pair in fragment.split('&') {
        let (name, value) = pair.split_once('=').unwrap();
        body[name] = json!(value);
    }
    body
}

/// What came back.
#[derive(Clone, Debug)]
pub struct ApiResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl ApiResponse {
    /// A response, read to its end.
    pub async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    /// The answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// The answer, which must be this error, in the one shape of errors.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!(
            (self.status.as_u16(), self.body["error_code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("/errors#{}", code.to_lowercase()));
        assert_eq!(self.body["request_id"].as_str(), self.header("x-request-id"));
        assert_eq!(self.body["detail"].is_array(), status == 422, "{}", self.text);
        assert_eq!(self.headers.contains_key("www-authenticate"), status == 401);
        self
    }

    /// The fields that a 422 complains of.
    #[track_caller]
    pub fn invalid_fields(self) -> Vec<String> {
        let answer = self.refused(422, "VALIDATION_ERROR");
        let path = |fault: &Value| {
            let loc = fault["loc"].as_array().unwrap().iter();
            loc.map(|part| part.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join(".")
        };
        let mut faults: Vec<String> = answer.body["detail"].as_array().unwrap().iter().map(path).collect();
        faults.sort();
        faults
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[track_caller]
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap().to_owned()
    }
}

/// An operation, as the OpenAPI document has it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub method: String,
    pub path: String,
    /// Whether it answers without a token too.
    pub open: bool,
    /// The fields of its body; none when it takes no body.
    pub fields: Option<Vec<String>>,
}

impl Operation {
    /// Its method and path, such as `GET /api/v1/workspaces/usage`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Its path, about `id` where it is about one.
    pub fn about(&self, id: &str) -> String {
        self.path.replace("{user_id}", id).replace("{id}", id)
    }
}

/// Every operation of the API.
pub fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(local::stack::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "patch", "delete"] {
            let Some(operation) = item.get(method) else { continue };
            let security = operation["security"].as_array();
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                open: security.is_none_or(|ways| ways.iter().any(|way| way == &json!({}))),
                fields: (!schema.is_null()).then(|| fields(&document, schema)),
            });
        }
    }
    assert!(operations.len() > 20, "the document is not read rightly");
    operations
}

fn fields(document: &Value, schema: &Value) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return fields(document, document.pointer(name.strip_prefix('#').unwrap()).unwrap());
    }
    let parts = schema["allOf"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|part| fields(document, part));
    let own = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|own| own.keys().cloned());
    parts.chain(own).collect()
}

/// The DynamoDB calls that were made, with when they began and ended; each attempt is held to its function's role, then
/// suffers its fault.
#[derive(Clone, Debug)]
pub struct Calls {
    made: Arc<Mutex<Vec<Call>>>,
    faults: Faults,
}

#[derive(Clone, Debug)]
struct Call {
    operation: String,
    began: Instant,
    ended: Instant,
}

#[derive(Clone, Debug)]
struct Began(Instant);

impl Storable for Began {
    type Storer = StoreReplace<Self>;
}

impl Calls {
    pub fn forget(&self) {
        self.made.lock().unwrap().clear();
    }

    /// The operations called, sorted.
    pub fn operations(&self) -> Vec<String> {
        let mut operations: Vec<_> = self
            .made
            .lock()
            .unwrap()
            .iter()
            .map(|call| call.operation.clone())
            .collect();
        operations.sort();
        operations
    }

    /// Sequential round trips: the longest chain of calls of which each began after the one before had ended.
    pub fn round_trips(&self) -> usize {
        let mut calls = self.made.lock().unwrap().clone();
        calls.sort_by_key(|call| call.ended);
        let mut last: Option<Instant> = None;
        let mut trips = 0;
        for call in calls {
            if last.is_none_or(|ended| call.began >= ended) {
                last = Some(call.ended);
                trips += 1;
            }
        }
        trips
    }
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        deployed::hold_to_role(context.request());
        let mut layer = Layer::new("calls");
        layer.store_put(Began(Instant::now()));
        cfg.push_layer(layer);
        self.faults.before(&operation(cfg), context, cfg)
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        Faults::answer(context, cfg);
        Ok(())
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.faults.read(context, cfg);
        Ok(())
    }

    fn read_after_execution(
        &self,
        _: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = operation(cfg);
        let ended = Instant::now();
        let began = cfg.load::<Began>().map_or(ended, |began| began.0);
        self.made.lock().unwrap().push(Call {
            operation,
            began,
            ended,
        });
        Ok(())
    }
}

fn operation(cfg: &ConfigBag) -> String {
    cfg.load::<Metadata>()
        .map_or_else(String::new, |metadata| metadata.name().to_owned())
}
