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

mod gates;
mod kill;
mod kinds;
mod pages;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut, FinalizerInterceptorContextMut,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use self::gates::{LATE_NUMBER, depart, gates, is_under_way};
pub use self::kill::{Kill, Moment, killed};
pub use self::kinds::{Fault, Keys, Loss, Throttle};
pub use self::pages::Lag;
use self::pages::{Remembered, index_partition, lag, nothing_yet, withheld, withhold};

/// The operations that write.
pub const WRITES: &[&str] = &["UpdateItem", "TransactWriteItems", "PutItem", "DeleteItem"];
/// The operations that read.
pub const READS: &[&str] = &["BatchGetItem", "GetItem", "Query", "TransactGetItems"];
/// As many attempts as there are.
pub const FOREVER: usize = usize::MAX;

/// Of a hundred queries of the index, how many meet one that lags, where anything goes wrong at all.
const LAGS: u32 = 30;

/// The faults of a world: none, until a test asks for some.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    plans: Vec<Plan>,
    seeded: Option<(StdRng, u32)>,
    injected: BTreeMap<&'static str, usize>,
    is_paused: bool,
    /// Late attempts, by number.
    late: Vec<u64>,
    /// What the index answered last.
    indexed: Remembered,
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

    /// Whether a late write may be applied still.
    pub fn are_writes_under_way(&self) -> bool {
        let mut state = self.0.lock().unwrap();
        state.late.retain(|number| is_under_way(*number));
        !state.late.is_empty()
    }

    /// Waits until every late write was applied.
    pub async fn landed(&self) {
        while self.are_writes_under_way() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn draw(&self, operation: &str, is_indexed: bool) -> Option<Fault> {
        if !WRITES.contains(&operation) && !READS.contains(&operation) || SPARED.try_with(|()| ()).is_ok() {
            return None;
        }
        let mut state = self.0.lock().unwrap();
        if state.is_paused {
            return None;
        }
        let fault = state
            .planned(operation)
            .or_else(|| state.drawn(operation, is_indexed))?;
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
        let request = context.request_mut();
        let index_partition = match operation {
            "Query" => index_partition(&body_of(request)?),
            _ => None,
        };
        let last = SPARED.try_with(|()| ()).is_err().then(kill::begins).flatten();
        let is_write = WRITES.contains(&operation);
        let fault = match last {
            Some(Moment::During) if is_write => Some(Fault::Late),
            Some(Moment::Before | Moment::During) => Some(Fault::TimedOut),
            Some(Moment::After) => None,
            None => self.draw(operation, index_partition.is_some()),
        };
        if fault == Some(Fault::Late) {
            let number = depart();
            request.headers_mut().insert(LATE_NUMBER, number.to_string());
            self.0.lock().unwrap().late.push(number);
        }
        let suffered = fault.map(|fault| suffer(fault, operation, request)).transpose()?;
        cfg.interceptor_state().store_put(Attempt {
            suffered,
            index_partition,
            is_last: last == Some(Moment::After),
        });
        Ok(())
    }

    /// When an answer came.
    pub fn answer(context: &mut BeforeDeserializationInterceptorContextMut<'_>, cfg: &ConfigBag) {
        let Some(attempt) = cfg.load::<Attempt>() else { return };
        if attempt.is_last {
            kill::was_answered();
        }
        let Some(suffered) = &attempt.suffered else { return };
        if let Some(answer) = suffered.fault.answer(suffered) {
            *context.response_mut() = answer;
        }
    }

    /// When an answer was read.
    pub fn read(&self, context: &mut FinalizerInterceptorContextMut<'_>, cfg: &ConfigBag) {
        let Some(attempt) = cfg.load::<Attempt>() else { return };
        let Some(Ok(output)) = context.output_or_error_mut() else {
            return;
        };
        if let Some((partition, output)) = attempt.index_partition.as_ref().zip(output.downcast_mut()) {
            let lagging = attempt.suffered.as_ref().and_then(|suffered| match suffered.fault {
                Fault::Stale(how) => Some(how),
                _ => None,
            });
            lag(output, lagging, partition, &mut self.0.lock().unwrap().indexed);
        }
        let Some(suffered) = &attempt.suffered else { return };
        if let Some(output) = output.downcast_mut::<BatchGetItemOutput>() {
            withhold(output, &suffered.withheld);
            if let Fault::Overlooked(beginning) = suffered.fault {
                for items in output.responses.iter_mut().flat_map(HashMap::values_mut) {
                    items.retain(|item| !item["pk"].as_s().unwrap().starts_with(beginning));
                }
            }
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

    fn drawn(&mut self, operation: &str, is_indexed: bool) -> Option<Fault> {
        let (random, percent) = self.seeded.as_mut()?;
        if is_indexed && *percent > 0 && random.random_range(0..100) < LAGS {
            return Some(Fault::Stale(if random.random() { Lag::Behind } else { Lag::Patchy }));
        }
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
            "Query" => kinds.extend([
                Fault::Short(1),
                Fault::Short(2),
                Fault::Short(3),
                Fault::Empty,
                Fault::Empty,
            ]),
            "BatchGetItem" => kinds.extend([Fault::Unprocessed(Keys::All), Fault::Unprocessed(Keys::Some)]),
            "TransactWriteItems" => kinds.extend([Fault::Conflict, Fault::Conflict, Fault::InProgress]),
            "UpdateItem" | "PutItem" | "DeleteItem" => kinds.extend([Fault::Conflict, Fault::Conflict]),
            _ => {}
        }
        // Seldom, as they take an attempt's whole time.
        if random.random_range(0..10) == 0 {
            kinds = vec![Fault::TimedOut, Fault::Lost(Loss::TimedOut)];
            if WRITES.contains(&operation) {
                kinds.extend([Fault::Late; 2]);
            }
        }
        Some(kinds[random.random_range(0..kinds.len())])
    }
}

/// What the attempt under way suffers.
#[derive(Debug)]
struct Attempt {
    suffered: Option<Suffered>,
    /// The partition of the index that it asks.
    index_partition: Option<String>,
    /// Whether its process ends when it is answered.
    is_last: bool,
}

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
    /// The page that is answered in place of another.
    page: String,
}

fn body_of(request: &HttpRequest) -> Result<Value, BoxError> {
    Ok(serde_json::from_slice(request.body().bytes().unwrap_or_default())?)
}

fn suffer(fault: Fault, operation: &str, request: &mut HttpRequest) -> Result<Suffered, BoxError> {
    if let Some(way) = fault.way() {
        request.set_uri(format!("http://127.0.0.1:{}/", gates()[&way]))?;
    }
    let mut body = body_of(request)?;
    if let Fault::Short(most) = fault {
        body["Limit"] = json!(most);
        let text = body.to_string();
        request.headers_mut().insert("content-length", text.len().to_string());
        *request.body_mut() = SdkBody::from(text);
    }
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
        page: nothing_yet(&body).to_string(),
    })
}

tokio::task_local! {
    static SPARED: ();
}

/// Lets a test look at the table itself, without faults.
pub async fn spared<T>(looking: impl Future<Output = T>) -> T {
    SPARED.scope((), looking).await
}
