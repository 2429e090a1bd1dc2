//! The functions as separate deployments: each with the environment, secrets and routes of the template, with a record
//! of its accesses to the table, restricted to its role.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, SharedInterceptor};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use axum::Router;
use axum::extract::Request;
use local::functions::FUNCTIONS;
use serde_json::Value;
use shared::app::{App, RequiredSecrets};
use shared::config::Config;
use shared::event::EventError;
use tower::ServiceExt;

use crate::support::harness::World;
use crate::support::template::{self, Access, Declared};

/// The variables that Lambda itself sets.
pub const SET_BY_LAMBDA: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// The origin that browsers may call from.
pub const ORIGIN: &str = "https://app.example.com";

/// Every function of the template in operation.
#[derive(Debug)]
pub struct Deployment {
    functions: BTreeMap<&'static str, (App, Accesses)>,
}

impl Deployment {
    /// Starts the functions on the table and the mailbox of `world`.
    pub async fn of(world: &World) -> Self {
        let mut running = BTreeMap::new();
        // The functions start in alphabetical order, so `auth` publishes the keys before the others read them.
        let mut functions = template::functions();
        functions.sort_by_key(|function| function.name);
        for function in functions {
            let accesses = Accesses::default();
            let interceptor = SharedInterceptor::new(accesses.clone());
            let config = environment(&function, world);
            let app = App::start(config, world.clock.clone(), needs(function.name), Some(interceptor))
                .await
                .unwrap_or_else(|error| panic!("{} does not start: {error}", function.name));
            app.warm().await.unwrap();
            running.insert(function.name, (app, accesses));
        }
        Self { functions: running }
    }

    /// Calls a function with a raw event, as Lambda does.
    pub async fn call(&self, function: &str, event: &[u8]) -> Result<Value, EventError> {
        let (app, _) = &self.functions[function];
        let response = local::functions::call(app.clone(), function, event).await.unwrap();
        response.map(|response| serde_json::from_slice(&response).unwrap())
    }

    /// The functions behind the routes of their gateway.
    pub fn gateway(&self) -> Router {
        let routers: BTreeMap<&str, Router> = FUNCTIONS
            .iter()
            .map(|function| {
                let (app, _) = &self.functions[function.name];
                (function.name, (function.router)(app.clone()))
            })
            .collect();
        Router::new().fallback(async move |request: Request| {
            let route = template::route(request.method().as_str(), request.uri().path());
            routers[route.function].clone().oneshot(request).await
        })
    }

    /// The accesses of each function to the table.
    pub fn accesses(&self) -> BTreeMap<&'static str, BTreeSet<Access>> {
        self.functions
            .iter()
            .map(|(name, (_, accesses))| (*name, accesses.0.lock().unwrap().clone()))
            .collect()
    }
}

/// The secrets that a function's `main.rs` requires at its start.
pub fn needs(function: &str) -> RequiredSecrets {
    let path = format!("../functions/{function}/src/main.rs");
    let main = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (_, rest) = main.split_once("RequiredSecrets::").unwrap();
    match rest.split(',').next().unwrap() {
        "NONE" => RequiredSecrets::NONE,
        "SIGNING" => RequiredSecrets::SIGNING,
        "INVITATION" => RequiredSecrets::INVITATION,
        "ALL" => RequiredSecrets::ALL,
        other => panic!("functions/{function} needs {other}"),
    }
}

/// The configuration of a function, read from the environment of the template. A secret is given by its value, because
/// the tests have no Secrets Manager.
fn environment(function: &Declared, world: &World) -> Config {
    let given = function.environment();
    let config = &world.app.config;
    let value = |name: &str| match name {
        "AWS_LAMBDA_FUNCTION_NAME" => Some(function.name.to_owned()),
        _ if SET_BY_LAMBDA.contains(&name) => Some("local".to_owned()),
        "SIGNING_SECRET" | "INVITATION_SECRET" => given
            .contains_key(format!("{name}_ARN").as_str())
            .then(|| format!("{name} of a deployment")),
        "SIGNING_SECRET_ARN" | "INVITATION_SECRET_ARN" => None,
        _ if !given.contains_key(name) => None,
        "TABLE_NAME" => Some(config.table_name.clone()),
        "TOKEN_ISSUER" => Some("workspaces".to_owned()),
        "TOKEN_AUDIENCE" => Some("workspaces/api".to_owned()),
        "MAIL_FROM" => Some(config.mail_from.to_string()),
        "ALLOWED_ORIGINS" => Some(ORIGIN.to_owned()),
        "AWS_ENDPOINT_URL_DYNAMODB" => config.aws.dynamodb_endpoint.clone(),
        "AWS_ENDPOINT_URL_SESV2" => config.aws.ses_endpoint.clone(),
        // The other parameters are empty by default.
        _ => Some(String::new()),
    };
    Config::read(value).unwrap_or_else(|error| panic!("{}: {error}", function.name))
}

/// The distinct accesses of a function.
#[derive(Clone, Debug, Default)]
pub struct Accesses(Arc<Mutex<BTreeSet<Access>>>);

impl Intercept for Accesses {
    fn name(&self) -> &'static str {
        "Accesses"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.lock().unwrap().extend(accesses_of(context.request()));
        Ok(())
    }
}

tokio::task_local! {
    /// The function that runs, and the accesses that its role refuses.
    static RUNNING: (&'static str, Arc<Mutex<Vec<Access>>>);
}

/// Runs a call of `function` and fails when its role refuses an access to the table.
pub async fn in_role<T>(function: &'static str, call: impl Future<Output = T>) -> T {
    let refused = Arc::default();
    let response = RUNNING.scope((function, Arc::clone(&refused)), call).await;
    let refused = refused.lock().unwrap();
    assert!(refused.is_empty(), "the role of {function} refuses {refused:?}");
    response
}

/// Records the accesses of a call that the role of the running function refuses.
pub fn hold_to_role(request: &HttpRequest) {
    let held = RUNNING.try_with(|(function, refused)| {
        let declared = template::functions();
        let declared = declared.iter().find(|declared| declared.name == *function).unwrap();
        let statements = declared.statements();
        let allowed = |access: &Access| statements.iter().any(|statement| statement.allows(access));
        let too_much = accesses_of(request).into_iter().filter(|access| !allowed(access));
        refused.lock().unwrap().extend(too_much);
    });
    // A test's own calls have no role.
    held.unwrap_or_default();
}

/// What IAM checks for a request to DynamoDB.
fn accesses_of(request: &HttpRequest) -> Vec<Access> {
    let target = request.headers().get("x-amz-target").unwrap();
    let (_, operation) = target.split_once('.').unwrap();
    let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
    accesses(operation, &body)
}

/// The accesses of an operation: one per item of a transaction, otherwise one.
fn accesses(operation: &str, body: &Value) -> Vec<Access> {
    let access = |action: &str, keys: Vec<&Value>| Access {
        action: format!("dynamodb:{action}"),
        keys: keys
            .into_iter()
            .map(beginning)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        of_index: body.get("IndexName").is_some(),
    };
    match operation {
        "TransactWriteItems" => {
            let items = body["TransactItems"].as_array().unwrap().iter();
            let items = items.flat_map(|item| item.as_object().unwrap());
            items
                .map(|(kind, item)| match kind.as_str() {
                    "Put" => access("PutItem", vec![&item["Item"]["pk"]]),
                    "ConditionCheck" => access("ConditionCheckItem", vec![&item["Key"]["pk"]]),
                    kind => access(&format!("{kind}Item"), vec![&item["Key"]["pk"]]),
                })
                .collect()
        }
        "TransactGetItems" => {
            let items = body["TransactItems"].as_array().unwrap().iter();
            items
                .map(|item| access("GetItem", vec![&item["Get"]["Key"]["pk"]]))
                .collect()
        }
        "BatchGetItem" => {
            let tables = body["RequestItems"].as_object().unwrap().values();
            let keys = tables.flat_map(|table| table["Keys"].as_array().unwrap());
            vec![access(operation, keys.map(|key| &key["pk"]).collect())]
        }
        "Query" => vec![access(operation, vec![partition(body)])],
        "PutItem" => vec![access(operation, vec![&body["Item"]["pk"]])],
        _ => vec![access(operation, vec![&body["Key"]["pk"]])],
    }
}

/// The partition that a query reads.
fn partition(body: &Value) -> &Value {
    let condition = body["KeyConditionExpression"].as_str().unwrap();
    let names = &body["ExpressionAttributeNames"];
    let equalities = condition.split(" AND ").filter_map(|part| part.split_once('='));
    let found = equalities
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(name, _)| matches!(names[name].as_str().unwrap_or(name), "pk" | "gsi1pk"));
    let (_, value) = found.unwrap_or_else(|| panic!("no partition in {condition}"));
    &body["ExpressionAttributeValues"][value]
}

/// The prefix of a key up to its `#`, which names the kind of the item.
fn beginning(key: &Value) -> String {
    let key = key["S"].as_str().unwrap();
    match key.split_once('#') {
        Some((kind, _)) => format!("{kind}#"),
        None => key.to_owned(),
    }
}
