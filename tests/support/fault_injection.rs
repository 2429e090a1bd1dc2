//! Faults between the SDK and the table, for each *attempt* of a DynamoDB call that the product makes.
//!
//! - `world.faults.next(on, times, fault)` injects `fault` into the next `times` attempts of the operations `on`, such
//!   as `next(&["UpdateItem"], 3, Fault::Conflict)` or `next(WRITES, FOREVER, Fault::Failed)`;
//!   `after(skip, on, times, fault)` lets `skip` attempts pass first.
//! - `world.faults.seed(seed, percent)`, or `World::faulty(Faults::seeded(seed, percent))`, injects faults into a
//!   percentage of the attempts; the seed selects the attempts and the kinds of faults.
//! - `world.faults.stop()` ends the faults. `world.faults.injected()` returns the number of faults by kind.
//!
//! A test's own calls have no faults if they are a `Scan` or run within [`without_faults`].

mod kill;
mod kinds;
mod pages;
mod proxies;
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

pub use self::kill::{Kill, Moment, killed};
pub use self::kinds::{Fault, Keys, Loss, Throttle};
pub use self::pages::Lag;
use self::pages::{LastIndexPages, empty_page, index_partition, lag, withheld, withhold};
use self::proxies::{LATE_NUMBER, is_under_way, proxy_ports, register_late_request};

/// The operations that write.
pub const WRITES: &[&str] = &["UpdateItem", "TransactWriteItems", "PutItem", "DeleteItem"];
/// The operations that read.
pub const READS: &[&str] = &["BatchGetItem", "GetItem", "Query", "TransactGetItems"];
/// A number of attempts without an end.
pub const FOREVER: usize = usize::MAX;

/// Percentage of queries of the index that lag, if the seeded percentage is above zero.
const LAG_PERCENT: u32 = 30;

/// The faults of a world; none by default.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    plans: Vec<Plan>,
    seeded: Option<(StdRng, u32)>,
    injected: BTreeMap<&'static str, usize>,
    is_paused: bool,
    /// Numbers of the attempts that are late.
    late: Vec<u64>,
    /// The last pages of the index.
    indexed: LastIndexPages,
}

#[derive(Debug)]
struct Plan {
    skip: usize,
    on: &'static [&'static str],
    times: usize,
    fault: Fault,
}

impl Faults {
    /// Injects faults into `percent` of the attempts, drawn from `seed`.
    pub fn seeded(seed: u64, percent: u32) -> Self {
        let faults = Self::default();
        faults.seed(seed, percent);
        faults
    }

    /// Injects faults into `percent` of the following attempts, drawn from `seed`.
    pub fn seed(&self, seed: u64, percent: u32) {
        self.0.lock().unwrap().seeded = Some((StdRng::seed_from_u64(seed), percent));
    }

    /// Injects `fault` into the next `times` attempts of the operations `on`.
    pub fn next(&self, on: &'static [&'static str], times: usize, fault: Fault) {
        self.after(0, on, times, fault);
    }

    /// Does the same as [`Faults::next`] after `skip` attempts without a fault.
    pub fn after(&self, skip: usize, on: &'static [&'static str], times: usize, fault: Fault) {
        self.0.lock().unwrap().plans.push(Plan { skip, on, times, fault });
    }

    /// Ends all faults.
    pub fn stop(&self) {
        let mut state = self.0.lock().unwrap();
        state.plans.clear();
        state.seeded = None;
    }

    /// Suspends the faults while `paused`; planned faults remain planned.
    pub fn pause(&self, paused: bool) {
        self.0.lock().unwrap().is_paused = paused;
    }

    /// The number of injected faults by kind.
    pub fn injected(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap().injected.clone()
    }

    /// Whether a late write may still be applied.
    pub fn are_writes_under_way(&self) -> bool {
        let mut state = self.0.lock().unwrap();
        state.late.retain(|number| is_under_way(*number));
        !state.late.is_empty()
    }

    /// Waits until every late write was applied.
    pub async fn wait_for_late_writes(&self) {
        while self.are_writes_under_way() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn draw(&self, operation: &str, is_indexed: bool) -> Option<Fault> {
        if !WRITES.contains(&operation) && !READS.contains(&operation) || WITHOUT_FAULTS.try_with(|()| ()).is_ok() {
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

    /// Injects the fault of a request before it is sent.
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
        let last = WITHOUT_FAULTS
            .try_with(|()| ())
            .is_err()
            .then(kill::call_begins)
            .flatten();
        let is_write = WRITES.contains(&operation);
        let fault = match last {
            Some(Moment::During) if is_write => Some(Fault::Late),
            Some(Moment::Before | Moment::During) => Some(Fault::TimedOut),
            Some(Moment::After) => None,
            None => self.draw(operation, index_partition.is_some()),
        };
        if fault == Some(Fault::Late) {
            let number = register_late_request();
            request.headers_mut().insert(LATE_NUMBER, number.to_string());
            self.0.lock().unwrap().late.push(number);
        }
        let injected_fault = fault.map(|fault| inject(fault, operation, request)).transpose()?;
        cfg.interceptor_state().store_put(Attempt {
            injected_fault,
            index_partition,
            ends_process: last == Some(Moment::After),
        });
        Ok(())
    }

    /// Replaces the response if the fault says so.
    pub fn replace_response(context: &mut BeforeDeserializationInterceptorContextMut<'_>, cfg: &ConfigBag) {
        let Some(attempt) = cfg.load::<Attempt>() else { return };
        if attempt.ends_process {
            kill::response_received();
        }
        let Some(injected_fault) = &attempt.injected_fault else {
            return;
        };
        if let Some(response) = injected_fault.fault.replacement(injected_fault) {
            *context.response_mut() = response;
        }
    }

    /// Changes the output if the fault says so.
    pub fn read(&self, context: &mut FinalizerInterceptorContextMut<'_>, cfg: &ConfigBag) {
        let Some(attempt) = cfg.load::<Attempt>() else { return };
        let Some(Ok(output)) = context.output_or_error_mut() else {
            return;
        };
        if let Some((partition, output)) = attempt.index_partition.as_ref().zip(output.downcast_mut()) {
            let lagging = attempt
                .injected_fault
                .as_ref()
                .and_then(|injected_fault| match injected_fault.fault {
                    Fault::Stale(how) => Some(how),
                    _ => None,
                });
            lag(output, lagging, partition, &mut self.0.lock().unwrap().indexed);
        }
        let Some(injected_fault) = &attempt.injected_fault else {
            return;
        };
        if let Some(output) = output.downcast_mut::<BatchGetItemOutput>() {
            withhold(output, &injected_fault.withheld);
            if let Fault::Overlooked(beginning) = injected_fault.fault {
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
        if is_indexed && *percent > 0 && random.random_range(0..100) < LAG_PERCENT {
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
        // These kinds are rare, because they take the whole time of an attempt.
        if random.random_range(0..10) == 0 {
            kinds = vec![Fault::TimedOut, Fault::Lost(Loss::TimedOut)];
            if WRITES.contains(&operation) {
                kinds.extend([Fault::Late; 2]);
            }
        }
        Some(kinds[random.random_range(0..kinds.len())])
    }
}

/// The fault of the current attempt.
#[derive(Debug)]
struct Attempt {
    injected_fault: Option<Injected>,
    /// The partition of the index that the attempt queries.
    index_partition: Option<String>,
    /// Whether the process ends after the response.
    ends_process: bool,
}

impl Storable for Attempt {
    type Storer = StoreReplace<Self>;
}

#[derive(Debug)]
struct Injected {
    fault: Fault,
    operation: String,
    /// Number of items of a transaction.
    items: usize,
    withheld: Vec<(String, HashMap<String, AttributeValue>)>,
    /// The page that replaces the page of the service.
    page: String,
}

fn body_of(request: &HttpRequest) -> Result<Value, BoxError> {
    Ok(serde_json::from_slice(request.body().bytes().unwrap_or_default())?)
}

fn inject(fault: Fault, operation: &str, request: &mut HttpRequest) -> Result<Injected, BoxError> {
    if let Some(mode) = fault.proxy_mode() {
        request.set_uri(format!("http://127.0.0.1:{}/", proxy_ports()[&mode]))?;
    }
    let mut body = body_of(request)?;
    if let Fault::Short(most) = fault {
        body["Limit"] = json!(most);
        let text = body.to_string();
        request.headers_mut().insert("content-length", text.len().to_string());
        *request.body_mut() = SdkBody::from(text);
    }
    if fault.refuses() {
        // The service rejects the unknown operation and applies nothing.
        request
            .headers_mut()
            .insert("x-amz-target", "DynamoDB_20120810.Nothing");
    }
    let withheld = match fault {
        Fault::Unprocessed(which) => withheld(&body, which),
        _ => Vec::new(),
    };
    Ok(Injected {
        fault,
        operation: operation.to_owned(),
        items: body["TransactItems"].as_array().map_or(0, Vec::len),
        withheld,
        page: empty_page(&body).to_string(),
    })
}

tokio::task_local! {
    static WITHOUT_FAULTS: ();
}

/// Runs `work`, a call of the test itself, without faults.
pub async fn without_faults<T>(work: impl Future<Output = T>) -> T {
    WITHOUT_FAULTS.scope((), work).await
}
