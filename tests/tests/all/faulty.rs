//! Faults between the SDK and the table, for each *attempt* of a DynamoDB call that the product makes.
//!
//! - `world.faults.next(on, times, fault)`: the next `times` attempts of the operations `on` suffer `fault`, such as
//!   `next(&["UpdateItem"], 3, Fault::Conflict)` or `next(WRITES, FOREVER, Fault::Failed)`; `after(skip, on, times, fault)`
//!   lets `skip` attempts pass first.
//! - `world.faults.seed(seed, percent)`, or `World::faulty(Faults::seeded(seed, percent))`: so many of a hundred attempts
//!   suffer a fault that their operation can suffer, drawn from the seed.
//! - `world.faults.stop()`: no more faults. `world.faults.injected()`: how many there were, by kind.
//!
//! What a test itself reads by `Scan`, or within [`spared`], suffers none.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut, FinalizerInterceptorContextMut,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness;

/// The operations that write.
pub const WRITES: &[&str] = &["UpdateItem", "TransactWriteItems", "PutItem", "DeleteItem"];
/// The operations that read.
pub const READS: &[&str] = &["BatchGetItem", "GetItem", "Query", "TransactGetItems"];
/// As many attempts as there are.
pub const FOREVER: usize = usize::MAX;

/// How long a slow call is held up, well within an attempt's time-out.
const SLOW: Duration = Duration::from_millis(150);
/// How long a late call is held up, beyond an attempt's time-out.
const LATE: Duration = Duration::from_millis(2500);

/// Where nobody listens.
const NOBODYS_PORT: u16 = 1;

/// What an attempt suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The connection is refused: nothing is sent.
    Refused,
    /// Nothing is applied, and no answer comes.
    TimedOut,
    /// It is applied and answered, but not at once.
    Slow,
    /// It is applied when the attempt has timed out long since.
    Late,
    /// It is applied at once, and the answer is lost.
    Lost(Loss),
    /// 500; nothing is applied.
    Failed,
    /// The service refuses for now; nothing is applied.
    Throttled(Throttle),
    /// The write meets another transaction; nothing is applied.
    Conflict,
    /// A transaction of the same token is under way, as the service says; nothing is applied.
    InProgress,
    /// The token was used for another transaction, as the service says; nothing is applied.
    Mismatch,
    /// A batch's keys are left unprocessed.
    Unprocessed(Keys),
}

/// How an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// 500 comes in its place.
    Failed,
    /// 200 and no JSON come in its place.
    Garbage,
    /// The connection is cut.
    Cut,
    /// Nothing comes.
    TimedOut,
}

/// How a throttle is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Throttle {
    Table,
    Service,
    Account,
}

/// Which keys of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keys {
    All,
    /// Every second one.
    Some,
    /// Those whose partition begins so.
    Of(&'static str),
}

impl Fault {
    /// What it is called in counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::Slow => "slow",
            Self::Late => "late",
            Self::Lost(Loss::Failed) => "lost to 500",
            Self::Lost(Loss::Garbage) => "lost to garbage",
            Self::Lost(Loss::Cut) => "lost to a cut",
            Self::Lost(Loss::TimedOut) => "lost to a time-out",
            Self::Failed => "failed",
            Self::Throttled(_) => "throttled",
            Self::Conflict => "conflict",
            Self::InProgress => "in progress",
            Self::Mismatch => "mismatch",
            Self::Unprocessed(_) => "unprocessed",
        }
    }

    /// The way that a request takes in place of the direct one.
    fn way(self) -> Option<Way> {
        match self {
            Self::Refused => Some(Way::Closed),
            Self::TimedOut => Some(Way::Never),
            Self::Slow => Some(Way::Slow),
            Self::Late => Some(Way::Late),
            Self::Lost(Loss::Cut) => Some(Way::Cut),
            Self::Lost(Loss::TimedOut) => Some(Way::Mute),
            _ => None,
        }
    }

    /// Whether the service must not do what it is asked for.
    fn refuses(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Throttled(_) | Self::Conflict | Self::InProgress | Self::Mismatch
        )
    }

    /// The answer that comes in place of the service's.
    fn answer(self, operation: &str, items: usize) -> Option<HttpResponse> {
        let answer = match self {
            Self::Failed | Self::Lost(Loss::Failed) => service_error(500, "InternalServerError", &json!({})),
            Self::Lost(Loss::Garbage) => response(200, "<html>It works!</html>".to_owned()),
            Self::Throttled(throttle) => {
                let code = match throttle {
                    Throttle::Table => "ProvisionedThroughputExceededException",
                    Throttle::Service => "ThrottlingException",
                    Throttle::Account => "RequestLimitExceeded",
                };
                service_error(400, code, &json!({}))
            }
            Self::Conflict if operation == "TransactWriteItems" => {
                let mut reasons = vec![json!({"Code": "None"}); items];
                reasons[0] = json!({"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"});
                let reasons = json!({"CancellationReasons": reasons});
                service_error(400, "TransactionCanceledException", &reasons)
            }
            Self::Conflict => service_error(400, "TransactionConflictException", &json!({})),
            Self::InProgress => service_error(400, "TransactionInProgressException", &json!({})),
            Self::Mismatch => service_error(400, "IdempotentParameterMismatchException", &json!({})),
            _ => return None,
        };
        Some(answer)
    }
}

fn service_error(status: u16, code: &str, more: &Value) -> HttpResponse {
    let mut body = more.clone();
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{code}"));
    body["message"] = json!("injected");
    body["Message"] = json!("injected");
    response(status, body.to_string())
}

fn response(status: u16, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    response
        .headers_mut()
        .insert("content-type", "application/x-amz-json-1.0");
    response
}

/// The faults of a world: none, until a test asks for some.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    plans: Vec<Plan>,
    seeded: Option<(StdRng, u32)>,
    injected: BTreeMap<&'static str, usize>,
    is_paused: bool,
}

#[derive(Debug)]
struct Plan {
    skip: usize,
    on: &'static [&'static str],
    times: usize,
    fault: Fault,
}

impl Faults {
    /// Faults of so many of a hundred attempts, drawn from `seed`.
    pub fn seeded(seed: u64, percent: u32) -> Self {
        let faults = Self::default();
        faults.seed(seed, percent);
        faults
    }

    /// From now on so many of a hundred attempts suffer a fault, drawn from `seed`.
    pub fn seed(&self, seed: u64, percent: u32) {
        self.0.lock().unwrap().seeded = Some((StdRng::seed_from_u64(seed), percent));
    }

    /// The next `times` attempts of the operations `on` suffer `fault`.
    pub fn next(&self, on: &'static [&'static str], times: usize, fault: Fault) {
        self.after(0, on, times, fault);
    }

    /// As [`Faults::next`], once `skip` attempts have passed.
    pub fn after(&self, skip: usize, on: &'static [&'static str], times: usize, fault: Fault) {
        self.0.lock().unwrap().plans.push(Plan { skip, on, times, fault });
    }

    /// No more faults.
    pub fn stop(&self) {
        let mut state = self.0.lock().unwrap();
        state.plans.clear();
        state.seeded = None;
    }

    /// Lets no fault happen while `paused`; what is planned stays planned.
    pub fn pause(&self, paused: bool) {
        self.0.lock().unwrap().is_paused = paused;
    }

    /// How many faults there were, by kind.
    pub fn injected(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap().injected.clone()
    }

    fn draw(&self, operation: &str) -> Option<Fault> {
        if !WRITES.contains(&operation) && !READS.contains(&operation) || SPARED.try_with(|()| ()).is_ok() {
            return None;
        }
        let mut state = self.0.lock().unwrap();
        if state.is_paused {
            return None;
        }
        let fault = state.planned(operation).or_else(|| state.drawn(operation))?;
        *state.injected.entry(fault.name()).or_default() += 1;
        Some(fault)
    }

    /// Before a request is sent.
    pub fn before(
        &self,
        operation: &str,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let fault = self.draw(operation);
        let request = context.request_mut();
        let suffered = fault.map(|fault| suffer(fault, operation, request)).transpose()?;
        cfg.interceptor_state().store_put(Attempt(suffered));
        Ok(())
    }

    /// When an answer came.
    pub fn answer(context: &mut BeforeDeserializationInterceptorContextMut<'_>, cfg: &ConfigBag) {
        let Some(suffered) = cfg.load::<Attempt>().and_then(|attempt| attempt.0.as_ref()) else {
            return;
        };
        if let Some(answer) = suffered.fault.answer(&suffered.operation, suffered.items) {
            *context.response_mut() = answer;
        }
    }

    /// When an answer was read.
    pub fn read(context: &mut FinalizerInterceptorContextMut<'_>, cfg: &ConfigBag) {
        let Some(suffered) = cfg.load::<Attempt>().and_then(|attempt| attempt.0.as_ref()) else {
            return;
        };
        let Some(Ok(output)) = context.output_or_error_mut() else {
            return;
        };
        if let Some(output) = output.downcast_mut::<BatchGetItemOutput>() {
            withhold(output, &suffered.withheld);
        }
    }
}

impl State {
    fn planned(&mut self, operation: &str) -> Option<Fault> {
        for plan in self.plans.iter_mut().filter(|plan| plan.on.contains(&operation)) {
            if plan.skip > 0 {
                plan.skip -= 1;
            } else if plan.times > 0 {
                plan.times = plan.times.saturating_sub(usize::from(plan.times != FOREVER));
                return Some(plan.fault);
            }
        }
        None
    }

    fn drawn(&mut self, operation: &str) -> Option<Fault> {
        let (random, percent) = self.seeded.as_mut()?;
        if random.random_range(0..100) >= *percent {
            return None;
        }
        let mut kinds = vec![
            Fault::Refused,
            Fault::Slow,
            Fault::Failed,
            Fault::Lost(Loss::Failed),
            Fault::Lost(Loss::Garbage),
            Fault::Lost(Loss::Cut),
            Fault::Throttled(Throttle::Table),
            Fault::Throttled(Throttle::Service),
            Fault::Throttled(Throttle::Account),
        ];
        match operation {
            "BatchGetItem" => kinds.extend([Fault::Unprocessed(Keys::All), Fault::Unprocessed(Keys::Some)]),
            "TransactWriteItems" => kinds.extend([Fault::Conflict, Fault::Conflict, Fault::InProgress]),
            "UpdateItem" | "PutItem" | "DeleteItem" => kinds.extend([Fault::Conflict, Fault::Conflict]),
            _ => {}
        }
        // Seldom, as they take an attempt's whole time.
        if random.random_range(0..10) == 0 {
            kinds = vec![Fault::TimedOut, Fault::Lost(Loss::TimedOut)];
        }
        Some(kinds[random.random_range(0..kinds.len())])
    }
}

/// What the attempt under way suffers.
#[derive(Debug)]
struct Attempt(Option<Suffered>);

impl Storable for Attempt {
    type Storer = StoreReplace<Self>;
}

#[derive(Debug)]
struct Suffered {
    fault: Fault,
    operation: String,
    /// The items of a transaction.
    items: usize,
    withheld: Vec<(String, HashMap<String, AttributeValue>)>,
}

fn suffer(fault: Fault, operation: &str, request: &mut HttpRequest) -> Result<Suffered, BoxError> {
    if let Some(way) = fault.way() {
        request.set_uri(format!("http://127.0.0.1:{}/", gates()[&way]))?;
    }
    let body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default())?;
    if fault.refuses() {
        // The service knows no such operation, and does nothing.
        request
            .headers_mut()
            .insert("x-amz-target", "DynamoDB_20120810.Nothing");
    }
    let withheld = match fault {
        Fault::Unprocessed(which) => withheld(&body, which),
        _ => Vec::new(),
    };
    Ok(Suffered {
        fault,
        operation: operation.to_owned(),
        items: body["TransactItems"].as_array().map_or(0, Vec::len),
        withheld,
    })
}

fn withheld(body: &Value, which: Keys) -> Vec<(String, HashMap<String, AttributeValue>)> {
    let mut keys = Vec::new();
    for (table, asked) in body["RequestItems"].as_object().unwrap() {
        for (place, key) in asked["Keys"].as_array().unwrap().iter().enumerate() {
            let is_withheld = match which {
                Keys::All => true,
                Keys::Some => place % 2 == 0,
                Keys::Of(beginning) => key["pk"]["S"].as_str().unwrap().starts_with(beginning),
            };
            if is_withheld {
                let text = |value: &Value| AttributeValue::S(value["S"].as_str().unwrap().to_owned());
                let key = key.as_object().unwrap().iter();
                keys.push((
                    table.clone(),
                    key.map(|(name, value)| (name.clone(), text(value))).collect(),
                ));
            }
        }
    }
    keys
}

fn withhold(output: &mut BatchGetItemOutput, withheld: &[(String, HashMap<String, AttributeValue>)]) {
    for (table, key) in withheld {
        let answered = output
            .responses
            .get_or_insert_default()
            .entry(table.clone())
            .or_default();
        answered.retain(|item| key.iter().any(|(name, value)| item.get(name) != Some(value)));
        let left = output.unprocessed_keys.get_or_insert_default();
        let keys = left.remove(table).map(|left| left.keys).unwrap_or_default();
        let keys = keys.into_iter().chain([key.clone()]).collect();
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
        left.insert(table.clone(), keys.build().unwrap());
    }
}

tokio::task_local! {
    static SPARED: ();
}

/// Lets a test look at the table itself, without faults.
pub async fn spared<T>(looking: impl Future<Output = T>) -> T {
    SPARED.scope((), looking).await
}

/// What becomes of a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// Nobody listens.
    Closed,
    /// It is taken and forgotten.
    Never,
    /// It is passed on after [`SLOW`].
    Slow,
    /// It is passed on after [`LATE`].
    Late,
    /// It is passed on; the connection is cut when the answer comes.
    Cut,
    /// It is passed on; the answer is not.
    Mute,
}

/// A port for each way, on a thread of their own.
fn gates() -> &'static HashMap<Way, u16> {
    static GATES: OnceLock<HashMap<Way, u16>> = OnceLock::new();
    GATES.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut ports = HashMap::new();
                for way in [Way::Never, Way::Slow, Way::Late, Way::Cut, Way::Mute] {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    ports.insert(way, listener.local_addr().unwrap().port());
                    tokio::spawn(serve(listener, way));
                }
                ports.insert(Way::Closed, NOBODYS_PORT);
                sender.send(ports).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().unwrap()
    })
}

async fn serve(listener: TcpListener, way: Way) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A connection that breaks is what this is for.
            let _ = pass(client, way).await;
        });
    }
}

async fn pass(client: TcpStream, way: Way) -> std::io::Result<()> {
    let upstream = harness::engine().trim_start_matches("http://").trim_end_matches('/');
    let (mut client_in, mut client_out) = client.into_split();
    let (mut engine_in, mut engine_out) = TcpStream::connect(upstream).await?.into_split();
    let asking = async {
        let mut bytes = vec![0; 1 << 20];
        loop {
            let read = client_in.read(&mut bytes).await?;
            if read == 0 {
                // What was passed on is still to be applied, though nobody waits for the answer.
                tokio::time::sleep(LATE).await;
                return Ok::<(), std::io::Error>(());
            }
            match way {
                Way::Never | Way::Closed => continue,
                Way::Slow => tokio::time::sleep(SLOW).await,
                Way::Late => tokio::time::sleep(LATE).await,
                Way::Cut | Way::Mute => {}
            }
            engine_out.write_all(&bytes[..read]).await?;
        }
    };
    let answering = async {
        let mut bytes = vec![0; 1 << 20];
        loop {
            let read = engine_in.read(&mut bytes).await?;
            if read == 0 || way == Way::Cut {
                return Ok(());
            }
            if way == Way::Slow {
                client_out.write_all(&bytes[..read]).await?;
            }
        }
    };
    tokio::select! {
        asked = asking => asked,
        answered = answering => answered,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
    use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
    use futures::future::join_all;

    use super::*;
    use crate::harness::World;

    const PLAIN: &str = "UpdateItem";
    const TRANSACTION: &str = "TransactWriteItems";

    /// Whatever goes wrong, in a word.
    fn told<T, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> String {
        match result {
            Ok(_) => "done".to_owned(),
            Err(SdkError::TimeoutError(_)) => "time-out".to_owned(),
            Err(SdkError::DispatchFailure(_)) => "connection".to_owned(),
            Err(SdkError::ResponseError(_)) => "unreadable".to_owned(),
            Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("unreadable").to_owned(),
            Err(_) => "something else".to_owned(),
        }
    }

    fn text(value: &str) -> AttributeValue {
        AttributeValue::S(value.to_owned())
    }

    fn key() -> HashMap<String, AttributeValue> {
        HashMap::from([("pk".to_owned(), text("COUNTER")), ("sk".to_owned(), text("COUNTER"))])
    }

    /// Adds one to a counter, in one attempt; what the SDK says of it.
    async fn count(world: &World, operation: &str) -> String {
        let (client, table) = (world.app.store.client(), world.app.store.table());
        let single_attempt = aws_sdk_dynamodb::config::Builder::new()
            .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled());
        let one = AttributeValue::N("1".to_owned());
        if operation == PLAIN {
            let update = client.update_item().table_name(table).set_key(Some(key()));
            let update = update
                .update_expression("ADD n :one")
                .expression_attribute_values(":one", one);
            told(update.customize().config_override(single_attempt).send().await)
        } else {
            let update = Update::builder().table_name(table).set_key(Some(key()));
            let update = update
                .update_expression("ADD n :one")
                .expression_attribute_values(":one", one);
            let item = TransactWriteItem::builder().update(update.build().unwrap()).build();
            let write = client.transact_write_items().transact_items(item);
            told(write.customize().config_override(single_attempt).send().await)
        }
    }

    async fn counted(world: &World) -> usize {
        world.rows(&["COUNTER", r#""n": N("1")"#]).await.len()
    }

    #[tokio::test]
    async fn each_fault_of_a_write_is_what_it_says() {
        let busy = |throttle| Fault::Throttled(throttle);
        let cases = [
            (PLAIN, Fault::Refused, "connection", 0),
            (PLAIN, Fault::TimedOut, "time-out", 0),
            (PLAIN, Fault::Slow, "done", 1),
            (PLAIN, Fault::Lost(Loss::Failed), "InternalServerError", 1),
            (PLAIN, Fault::Lost(Loss::Garbage), "unreadable", 1),
            (PLAIN, Fault::Lost(Loss::Cut), "connection", 1),
            (PLAIN, Fault::Lost(Loss::TimedOut), "time-out", 1),
            (PLAIN, Fault::Failed, "InternalServerError", 0),
            (
                PLAIN,
                busy(Throttle::Table),
                "ProvisionedThroughputExceededException",
                0,
            ),
            (PLAIN, busy(Throttle::Service), "ThrottlingException", 0),
            (PLAIN, busy(Throttle::Account), "RequestLimitExceeded", 0),
            (PLAIN, Fault::Conflict, "TransactionConflictException", 0),
            (TRANSACTION, Fault::Conflict, "TransactionCanceledException", 0),
            (TRANSACTION, Fault::InProgress, "TransactionInProgressException", 0),
            (TRANSACTION, Fault::Mismatch, "IdempotentParameterMismatchException", 0),
            (TRANSACTION, Fault::Lost(Loss::Cut), "connection", 1),
        ];
        join_all(cases.map(async |(operation, fault, seen, applied)| {
            let world = World::new().await;
            let on: &[&str] = if operation == PLAIN { &[PLAIN] } else { &[TRANSACTION] };
            world.faults.after(0, on, 1, fault);
            let told = count(&world, operation).await;
            assert_eq!((told.as_str(), counted(&world).await), (seen, applied), "{fault:?}");
            assert_eq!(world.faults.injected(), BTreeMap::from([(fault.name(), 1)]));
            if applied == 0 {
                assert_eq!(count(&world, operation).await, "done", "after {fault:?}");
                assert_eq!(counted(&world).await, 1);
            }
        }))
        .await;
    }

    #[tokio::test]
    async fn a_late_write_is_applied_when_nobody_waits_for_it() {
        let world = World::new().await;
        world.faults.next(WRITES, 1, Fault::Late);
        assert_eq!(
            (count(&world, PLAIN).await.as_str(), counted(&world).await),
            ("time-out", 0)
        );
        tokio::time::sleep(LATE).await;
        assert_eq!(counted(&world).await, 1);
    }

    #[tokio::test]
    async fn keys_are_left_unprocessed_and_nothing_is_said_of_their_items() {
        let world = World::new().await;
        assert_eq!(count(&world, PLAIN).await, "done");
        for (which, left) in [
            (Keys::All, 2),
            (Keys::Some, 1),
            (Keys::Of("COUNT"), 1),
            (Keys::Of("KEYS"), 1),
        ] {
            world.faults.next(&["BatchGetItem"], 1, Fault::Unprocessed(which));
            let jwks = HashMap::from([("pk".to_owned(), text("KEYS")), ("sk".to_owned(), text("JWKS"))]);
            let keys = KeysAndAttributes::builder().keys(key()).keys(jwks).build().unwrap();
            let (client, table) = (world.app.store.client(), world.app.store.table());
            let answer = client.batch_get_item().request_items(table, keys).send().await.unwrap();
            assert_eq!(
                answer.unprocessed_keys().unwrap()[table].keys().len(),
                left,
                "{which:?}"
            );
            assert_eq!(answer.responses().unwrap()[table].len(), 2 - left, "{which:?}");
        }
    }

    #[tokio::test]
    async fn a_seed_says_which_faults_there_are_and_a_test_looks_without_any() {
        let drawn = |seed| {
            let faults = Faults::seeded(seed, 40);
            (0..200).map(|_| faults.draw("UpdateItem")).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let suffered = drawn(7).iter().flatten().count();
        assert!((60..100).contains(&suffered), "{suffered} of 200");

        let world = World::faulty(Faults::seeded(7, 100)).await;
        assert_eq!(counted(&world).await, 0);
        assert_eq!(spared(count(&world, PLAIN)).await, "done");
        assert_eq!(world.faults.injected(), BTreeMap::new());
        world.faults.stop();
        world.faults.after(1, WRITES, 1, Fault::Failed);
        let mut told = Vec::new();
        for _ in 0..3 {
            told.push(count(&world, PLAIN).await);
        }
        assert_eq!(told, ["done", "InternalServerError", "done"]);
    }
}
