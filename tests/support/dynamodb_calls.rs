//! An interceptor that records the DynamoDB calls of a world and injects its faults.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut, FinalizerInterceptorContextMut,
    FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Layer, Storable, StoreReplace};

use crate::support::deployed;
use crate::support::fault_injection::Faults;

/// Records the DynamoDB calls with their begin and end. Each attempt is checked against its function's role before its
/// fault is injected.
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
    pub fn new(faults: Faults) -> Self {
        Self {
            made: Arc::default(),
            faults,
        }
    }

    pub fn forget(&self) {
        self.made.lock().unwrap().clear();
    }

    /// The names of the called operations, sorted.
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

    /// Sequential round trips: the longest chain of calls in which each began after the previous one had ended.
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
        Faults::replace_response(context, cfg);
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
