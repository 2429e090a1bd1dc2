//! The whole stack: the functions on one port, and the database and the mailbox that they call.

use std::{io, net::SocketAddr, sync::LazyLock};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use serde_json::Value;
use shared::{App, Error, app::RequiredSecrets, clock::Clock, config::Config, http::gateway::Gateway, store::table};
use tokio::task::JoinSet;
use url::Url;
use utoipa::openapi::OpenApi;

use crate::{
    control, demo,
    engine::{Engine, EngineError, Storage},
    functions,
    loopback::{self, Serving},
    mailbox::{Mailbox, MailboxServer},
    origin_check, page, reference,
    schedule::Schedules,
};

/// The table's name in the stack's database.
pub(crate) const TABLE: &str = "workspaces";

/// The configuration of a stack.
#[derive(Clone, Debug, Default)]
pub struct StackConfig {
    /// Where the data is kept.
    pub storage: Storage,
    /// The port on 127.0.0.1; 0 chooses a free port.
    pub port: u16,
    /// Whether to create the demo workspace.
    pub seed: bool,
    /// The origins of web pages that may call the API (CORS).
    pub allowed_origins: Vec<Url>,
    /// The front end's page that invitation links open, instead of the stack's `/invite`.
    pub invite_url: Option<Url>,
}

/// Why a stack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Another program listens on the port.
    #[error("port {0} is in use; stop the program that listens on it, or choose another port with --port")]
    PortTaken(u16),
    /// Listening on the port failed for another reason.
    #[error("cannot listen on port {port}: {error}; choose another port with --port")]
    Listen {
        /// The port.
        port: u16,
        /// The operating system's error.
        error: io::Error,
    },
    /// The database did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The mailbox did not start.
    #[error("the mailbox cannot listen on 127.0.0.1: {0}")]
    Mailbox(io::Error),
    /// The functions did not start.
    #[error("the functions did not start: {0}")]
    App(#[from] Error),
}

/// A running stack. Dropping the value stops the stack.
#[derive(Debug)]
pub struct Stack {
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    /// The endpoint URL of the database.
    pub dynamodb: String,
    serving: Serving,
    mailbox: MailboxServer,
    engine: Engine,
    /// Invokes the scheduled functions. Dropping it ends its task.
    schedule: JoinSet<()>,
}

impl Stack {
    /// Starts all parts. The stack serves requests when this returns.
    ///
    /// # Errors
    /// When the port is in use or the data file cannot be used.
    pub async fn start(config: StackConfig) -> Result<Self, StackError> {
        // The port is bound first, because a port in use is the most likely error and the other parts take time to
        // start.
        let listener = loopback::bind(config.port).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => StackError::PortTaken(config.port),
            _ => StackError::Listen {
                port: config.port,
                error,
            },
        })?;
        let unusable = |error| StackError::Listen {
            port: config.port,
            error,
        };
        let port = listener.local_addr().map_err(unusable)?.port();

        let clock = Clock::system();
        let engine = Engine::start(&config.storage).await?;
        let mails = Mailbox::new(clock.clone());
        let mailbox = mails.start().await.map_err(StackError::Mailbox)?;
        let settings = Config {
            allowed_origins: config
                .allowed_origins
                .iter()
                .map(|url| url.origin().ascii_serialization())
                .collect(),
            public_url: Url::parse(&format!("http://{}", domain_name(port))).ok(),
            invite_url: config.invite_url,
            ..Config::local(engine.endpoint.clone(), mailbox.endpoint.clone(), TABLE.to_owned())
        };
        let app = App::start(settings, clock, RequiredSecrets::ALL, None).await?;
        table::create(app.store.client(), TABLE).await?;
        app.warm().await?;

        let schedules = Schedules::new(app.clone());
        let router = assemble(app, &mails, schedules.clone(), port);
        if config.seed
            && let Err(error) = demo::seed(&router).await
        {
            // An existing data file may conflict with the demo workspace. The stack works without it.
            tracing::warn!(%error, "the demo workspace could not be created");
        }
        Ok(Self {
            dynamodb: engine.endpoint.clone(),
            serving: loopback::serve(listener, router).map_err(unusable)?,
            url: format!("http://{}", domain_name(port)),
            mailbox,
            engine,
            schedule: schedules.start(),
        })
    }

    /// Stops the stack. The functions stop first, then the mailbox and the database that they call.
    pub async fn stop(mut self) {
        self.schedule.shutdown().await;
        self.serving.stop().await;
        self.mailbox.stop().await;
        self.engine.stop().await;
    }
}

/// The routes of all HTTP functions as one router.
pub fn api(app: App) -> Router {
    shared::http::finish(functions::routes(), app)
}

/// The OpenAPI 3.1 document of the API.
#[must_use]
pub fn openapi() -> OpenApi {
    shared::http::openapi::complete(functions::routes().into_openapi())
}

/// The router of all routes on `port`: the API with a simulated gateway, and the stack's own `/_local`, `/docs` and
/// `/openapi.json`. The router can be called in process, without a port.
fn assemble(app: App, mailbox: &Mailbox, schedules: Schedules, port: u16) -> Router {
    let gateway = middleware::from_fn(move |request, next| add_gateway_context(port, request, next));
    let local_routes = Router::new()
        .merge(mailbox.pages())
        .merge(control::router(app.clone(), mailbox.clone(), schedules))
        .merge(page::assets())
        .route(
            "/docs",
            get(async move || reference::respond(&DOCUMENT, &format!("http://{}", domain_name(port)))),
        )
        .route("/openapi.json", get(async || Json(&*DOCUMENT)))
        .layer(middleware::from_fn(origin_check::this_machine_only));
    api(app).layer(gateway).merge(local_routes)
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(openapi()).unwrap_or_default());

/// Middleware that adds the request context that API Gateway would add.
async fn add_gateway_context(port: u16, mut request: Request, next: Next) -> Response {
    let source = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let gateway = Gateway {
        request_id: String::new(),
        source_ip: source.map(|ConnectInfo(address)| address.ip()),
        domain_name: Some(domain_name(port)),
    };
    request.extensions_mut().insert(gateway);
    next.run(request).await
}

fn domain_name(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[cfg(test)]
mod tests {
    use crate::functions::FUNCTIONS;
    use axum::{
        body::{Body, to_bytes},
        http::{StatusCode, header::HOST, request::Builder},
    };
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;

    struct InProcess {
        router: Router,
        _mailbox: MailboxServer,
        _engine: Engine,
    }

    impl InProcess {
        async fn start() -> Self {
            let clock = Clock::system();
            let engine = Engine::start(&Storage::Memory).await.unwrap();
            let mails = Mailbox::new(clock.clone());
            let mailbox = mails.start().await.unwrap();
            let config = Config::local(engine.endpoint.clone(), mailbox.endpoint.clone(), TABLE.to_owned());
            let app = App::start(config, clock, RequiredSecrets::ALL, None).await.unwrap();
            table::create(app.store.client(), TABLE).await.unwrap();
            app.warm().await.unwrap();
            Self {
                router: assemble(app.clone(), &mails, Schedules::new(app), 3000),
                _mailbox: mailbox,
                _engine: engine,
            }
        }

        async fn call(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
            self.send(Request::builder().method(method).uri(path), body).await
        }

        async fn call_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("authorization", format!("Bearer {token}"));
            self.send(request, body).await.1
        }

        async fn send(&self, request: Builder, body: &Value) -> (StatusCode, Value) {
            let request = request.header(HOST, "localhost:3000");
            let request = request.header("content-type", "application/json");
            let response = self
                .router
                .clone()
                .oneshot(request.body(Body::from(body.to_string())).unwrap());
            let response = response.await.unwrap();
            let status = response.status();
            let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            (status, serde_json::from_slice(&bytes).unwrap_or_default())
        }
    }

    #[tokio::test]
    async fn the_demo_workspace_is_created_once_and_both_members_can_log_in() {
        let stack = InProcess::start().await;
        demo::seed(&stack.router).await.unwrap();
        demo::seed(&stack.router).await.unwrap();
        for email in [demo::OWNER, demo::MEMBER] {
            let login = json!({"email": email, "password": demo::PASSWORD});
            assert_eq!(stack.call("POST", "/api/v1/auth/login", &login).await.0, StatusCode::OK);
        }
        let (_, mails) = stack.call("GET", "/_local/mailbox.json", &Value::Null).await;
        assert_eq!(mails.as_array().map(Vec::len), Some(1), "{mails}");
        assert!(
            mails[0]["text"]
                .as_str()
                .unwrap()
                .contains("http://127.0.0.1:3000/invite#invite_id=")
        );
    }

    #[tokio::test]
    async fn the_clock_advances_and_refuses_to_go_back() {
        let stack = InProcess::start().await;
        let (_, before) = stack
            .call("POST", "/_local/clock", &json!({"advance_seconds": 0}))
            .await;
        let (_, after) = stack
            .call("POST", "/_local/clock", &json!({"advance_seconds": 3600}))
            .await;
        let time = |response: &Value| {
            response["now"]
                .as_str()
                .unwrap()
                .parse::<shared::clock::Time>()
                .unwrap()
        };
        assert!(time(&after).since(time(&before)).as_secs() >= 3600);
        for body in [json!({"advance_seconds": -1}), json!({}), Value::Null] {
            assert_eq!(
                stack.call("POST", "/_local/clock", &body).await.0,
                StatusCode::BAD_REQUEST,
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn a_refused_mail_is_retried_when_the_clock_advances_and_can_bounce() {
        let stack = InProcess::start().await;
        demo::seed(&stack.router).await.unwrap();
        let login = json!({"email": demo::OWNER, "password": demo::PASSWORD});
        let (_, session) = stack.call("POST", "/api/v1/auth/login", &login).await;
        let token = session["access_token"].as_str().unwrap();
        let refuse = json!({"mode": "refuse"});
        let fault = "/_local/mailbox/fault";
        assert_eq!(stack.call("POST", fault, &refuse).await.0, StatusCode::NO_CONTENT);
        let guest = json!({"email": "guest@example.com"});
        let invited = stack
            .call_as(token, "POST", "/api/v1/workspaces/invitations", &guest)
            .await;
        assert_eq!(invited["delivery"]["status"], "queued", "{invited}");
        stack.call("POST", fault, &json!({"mode": "none"})).await;
        stack
            .call("POST", "/_local/clock", &json!({"advance_seconds": 61}))
            .await;
        let (_, mails) = stack.call("GET", "/_local/mailbox.json", &Value::Null).await;
        assert_eq!(mails[0]["to"], "guest@example.com", "{mails}");
        let id = mails[0]["id"].as_str().unwrap();
        let (status, handled) = stack
            .call("POST", &format!("/_local/mailbox/{id}/bounce"), &Value::Null)
            .await;
        assert_eq!(
            (status, &handled["delivery"]),
            (StatusCode::OK, &json!("bounced")),
            "{handled}"
        );
        let list = stack
            .call_as(token, "GET", "/api/v1/workspaces/invitations", &Value::Null)
            .await;
        assert_eq!(list["invitations"][0]["delivery"]["status"], "bounced", "{list}");
        for path in ["/_local/mailbox/none/bounce", &format!("/_local/mailbox/{id}/other")] {
            assert_eq!(stack.call("POST", path, &Value::Null).await.0, StatusCode::NOT_FOUND);
        }
        for body in [json!({}), json!({"mode": "other"})] {
            assert_eq!(stack.call("POST", fault, &body).await.0, StatusCode::BAD_REQUEST);
        }
    }

    #[tokio::test]
    async fn every_function_can_be_invoked_with_an_event() {
        let stack = InProcess::start().await;
        for function in &FUNCTIONS {
            let event = json!({
                "version": "2.0", "routeKey": "$default", "rawPath": "/nowhere", "rawQueryString": "",
                "headers": {"host": "api.example.com"},
                "requestContext": {
                    "accountId": "0", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
                    "http": {"method": "GET", "path": "/nowhere", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": ""},
                    "requestId": "r", "routeKey": "$default", "stage": "$default", "time": "", "timeEpoch": 0
                },
                "isBase64Encoded": false
            });
            let (status, response) = stack
                .call("POST", &format!("/_local/invoke/{}", function.name), &event)
                .await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(response["statusCode"], 404, "{response}");
            assert!(response["body"].as_str().unwrap().contains("NOT_FOUND"), "{response}");
        }
        assert_eq!(
            stack.call("POST", "/_local/invoke/auth", &json!({})).await.0,
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            stack.call("POST", "/_local/invoke/other", &json!({})).await.0,
            StatusCode::NOT_FOUND
        );
    }

    #[tokio::test]
    async fn the_openapi_document_and_the_reference_are_served() {
        let stack = InProcess::start().await;
        let (status, document) = stack.call("GET", "/openapi.json", &Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            document["openapi"].as_str().unwrap().starts_with("3.1"),
            "{}",
            document["openapi"]
        );
        assert_eq!(stack.call("GET", "/docs", &Value::Null).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_error_names_a_port_in_use_and_stopping_frees_the_port() {
        let first = Stack::start(StackConfig::default()).await.unwrap();
        let port: u16 = first.url.rsplit(':').next().unwrap().parse().unwrap();
        let second = Stack::start(StackConfig {
            port,
            ..StackConfig::default()
        })
        .await;
        assert!(matches!(second, Err(StackError::PortTaken(taken)) if taken == port));
        first.stop().await;
        let restarted = Stack::start(StackConfig {
            port,
            ..StackConfig::default()
        })
        .await
        .unwrap();
        restarted.stop().await;
    }
}
