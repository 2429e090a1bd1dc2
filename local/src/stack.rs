//! The whole stack: the functions behind one port, with the database and the mailbox they call.

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

/// The table's name in the stack's own database.
pub(crate) const TABLE: &str = "workspaces";

/// What a stack is started with.
#[derive(Clone, Debug, Default)]
pub struct StackConfig {
    /// Where the data is kept.
    pub storage: Storage,
    /// The port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// Whether the demo workspace is made.
    pub seed: bool,
    /// The origins whose pages a browser lets call the API.
    pub allowed_origins: Vec<Url>,
    /// A front end's own page for invitation links.
    pub invite_url: Option<Url>,
}

/// Why a stack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Something else listens there.
    #[error("port {0} is taken; stop what listens there, or choose another with --port")]
    PortTaken(u16),
    /// The port cannot be had for another reason.
    #[error("port {port} cannot be listened on: {error}")]
    Listen {
        /// The port.
        port: u16,
        /// The system's reason.
        error: io::Error,
    },
    /// The database did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The mailbox did not start.
    #[error("the mailbox cannot listen: {0}")]
    Mailbox(io::Error),
    /// The functions did not start.
    #[error("the functions did not start: {0}")]
    App(#[from] Error),
}

/// A running stack. Dropping it stops it.
#[derive(Debug)]
pub struct Stack {
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    /// The database's endpoint.
    pub dynamodb: String,
    serving: Serving,
    mailbox: MailboxServer,
    engine: Engine,
    /// Ends when it is dropped.
    schedule: JoinSet<()>,
}

impl Stack {
    /// Starts everything; when it answers, the stack takes requests.
    ///
    /// # Errors
    /// When the port is taken or the data file cannot be used.
    pub async fn start(config: StackConfig) -> Result<Self, StackError> {
        // The port first: it is what fails, and nobody waits for the rest to learn that.
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
            // With data of one's own the demo need not fit in; the stack is whole without it.
            tracing::warn!("{error}");
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

    /// Lets running requests finish and ends: the functions first, what they call after them.
    pub async fn stop(mut self) {
        self.schedule.shutdown().await;
        self.serving.stop().await;
        self.mailbox.stop().await;
        self.engine.stop().await;
    }
}

/// The six functions' routes as one API, as a gateway calls them.
pub fn api(app: App) -> Router {
    shared::http::finish(functions::routes(), app)
}

/// The API's description, OpenAPI 3.1.
#[must_use]
pub fn openapi() -> OpenApi {
    shared::http::openapi::complete(functions::routes().into_openapi())
}

/// Everything the stack answers on `port`: the API behind its gateway, and beside it `/_local`, `/docs` and
/// `/openapi.json`. It can be called in process, without any port.
fn assemble(app: App, mailbox: &Mailbox, schedules: Schedules, port: u16) -> Router {
    let gateway = middleware::from_fn(move |request, next| as_gateway(port, request, next));
    let own = Router::new()
        .merge(mailbox.pages())
        .merge(control::router(app.clone(), mailbox.clone(), schedules))
        .merge(page::assets())
        .route(
            "/docs",
            get(async move || reference::respond(&DOCUMENT, &format!("http://{}", domain_name(port)))),
        )
        .route("/openapi.json", get(async || Json(&*DOCUMENT)))
        .layer(middleware::from_fn(origin_check::this_machine_only));
    api(app).layer(gateway).merge(own)
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(openapi()).unwrap_or_default());

/// Says of a request what API Gateway would say.
async fn as_gateway(port: u16, mut request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let gateway = Gateway {
        request_id: String::new(),
        source_ip: caller.map(|ConnectInfo(address)| address.ip()),
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
    async fn the_demo_is_made_once_and_both_can_log_in() {
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
    async fn the_clock_moves_on_and_never_back() {
        let stack = InProcess::start().await;
        let (_, before) = stack
            .call("POST", "/_local/clock", &json!({"advance_seconds": 0}))
            .await;
        let (_, after) = stack
            .call("POST", "/_local/clock", &json!({"advance_seconds": 3600}))
            .await;
        let time = |answer: &Value| answer["now"].as_str().unwrap().parse::<shared::clock::Time>().unwrap();
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
    async fn a_mail_that_was_refused_leaves_when_the_clock_moves_on_and_can_bounce() {
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
        let (status, told) = stack
            .call("POST", &format!("/_local/mailbox/{id}/bounce"), &Value::Null)
            .await;
        assert_eq!(
            (status, &told["delivery"]),
            (StatusCode::OK, &json!("bounced")),
            "{told}"
        );
        let list = stack
            .call_as(token, "GET", "/api/v1/workspaces/invitations", &Value::Null)
            .await;
        assert_eq!(list["invitations"][0]["delivery"]["status"], "bounced", "{list}");
        for path in ["/_local/mailbox/none/bounce", &format!("/_local/mailbox/{id}/eaten")] {
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
            let (status, answer) = stack
                .call("POST", &format!("/_local/invoke/{}", function.name), &event)
                .await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(answer["statusCode"], 404, "{answer}");
            assert!(answer["body"].as_str().unwrap().contains("NOT_FOUND"), "{answer}");
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
    async fn the_description_is_served_and_shown() {
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
    async fn a_taken_port_is_named() {
        let first = Stack::start(StackConfig::default()).await.unwrap();
        let port: u16 = first.url.rsplit(':').next().unwrap().parse().unwrap();
        let second = Stack::start(StackConfig {
            port,
            ..StackConfig::default()
        })
        .await;
        assert!(matches!(second, Err(StackError::PortTaken(taken)) if taken == port));
        first.stop().await;
        let again = Stack::start(StackConfig {
            port,
            ..StackConfig::default()
        })
        .await
        .unwrap();
        again.stop().await;
    }
}
