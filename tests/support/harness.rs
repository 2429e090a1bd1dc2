//! Isolated worlds for tests: production code on an embedded engine, with a table, a mailbox and a clock per world.
//!
//! `TEST_DYNAMODB_ENDPOINT` names another engine, such as the real DynamoDB Local.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::interceptors::SharedInterceptor;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use local::engine::{Engine, Storage};
use local::mailbox::{Mailbox, MailboxServer};
use serde_json::{Value, json};
use shared::app::{App, RequiredSecrets};
use shared::clock::Clock;
use shared::config::Config;
use shared::deadline::Deadline;
use shared::http::gateway::Gateway;
use tower::ServiceExt;

pub use crate::support::api_operations::{Operation, operations};
pub use crate::support::api_response::ApiResponse;
pub use crate::support::dynamodb_calls::Calls;
use crate::support::fault_injection::Faults;
pub use crate::support::person::{Person, proof};
use crate::support::{deployed, documented, template};

pub const PASSWORD: &str = "correct horse";

/// The engine of this process. It has a thread of its own, because each test's runtime ends with its test.
pub fn engine() -> &'static str {
    static ENDPOINT: OnceLock<String> = OnceLock::new();
    ENDPOINT.get_or_init(|| {
        #[expect(clippy::disallowed_methods, reason = "the environment selects the engine")]
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

/// Logs errors, so that a failed test shows them.
fn log_faults() {
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::ERROR);
    // Another test of this process may have installed the subscriber.
    let _ = subscriber.with_test_writer().without_time().try_init();
}

/// The isolated environment of one test.
pub struct World {
    pub app: App,
    pub clock: Clock,
    pub mailbox: Mailbox,
    pub calls: Calls,
    /// The faults of the DynamoDB calls.
    pub faults: Faults,
    /// Time limit of a request: longer than in Lambda, because tests share a machine.
    pub request_time_limit: Duration,
    /// The router of the API.
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

    /// A world with `faults`, which begin after the set-up.
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
        let calls = Calls::new(faults.clone());
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

    /// A second environment with the same table and mailbox, whose clock is `seconds` ahead of this world's clock.
    pub async fn environment_ahead(&self, seconds: i64) -> Self {
        let clock = Clock::system();
        let passed_ms = self.clock.now().as_millis() - clock.now().as_millis();
        let _ = clock.advance((passed_ms + 500).div_euclid(1000) + seconds);
        let interceptor = SharedInterceptor::new(self.calls.clone());
        let config = (*self.app.config).clone();
        let app = App::start(config, clock.clone(), RequiredSecrets::ALL, Some(interceptor))
            .await
            .unwrap();
        crate::support::fault_injection::without_faults(app.warm())
            .await
            .unwrap();
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

    /// A person without an account.
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

    /// A person who registered and logged in, and therefore owns a workspace.
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

    /// A person who was invited by `inviter` as `role` and accepted.
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

    /// Advances the clock.
    pub fn pass(&self, seconds: i64) {
        let _ = self.clock.advance(seconds);
    }

    /// Every item of the table as sorted text: two dumps are equal when nothing changed.
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

    /// Every item except those of limits.
    pub async fn dump_without_limits(&self) -> Vec<String> {
        let mut rows = self.dump().await;
        rows.retain(|row| !row.contains(r#""entity": S("limit")"#));
        rows
    }

    /// Sends a request. Asserts that the role of its function permits the calls, and that the OpenAPI document has the
    /// response.
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
        let call = self.router.clone().oneshot(request);
        let response = ApiResponse::read(deployed::in_role(function, call).await.unwrap()).await;
        documented::hold(&method, &path, &response);
        response
    }
}

/// The `Debug` text of an item with sorted names.
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
