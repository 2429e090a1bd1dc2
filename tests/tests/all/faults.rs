//! A table that answers badly: it does what it is told and the answer is lost, or it refuses.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, SharedInterceptor};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use serde_json::Value;
use shared::app::{App, Needs};

use crate::harness::World;

/// What is still to go wrong.
#[derive(Clone, Debug, Default)]
pub struct Losing(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Of this operation, so many answers are lost; what was asked is done.
    lost: (&'static str, u32),
    /// Of this operation, so many are not done.
    refused: (&'static str, u32),
    /// So many batches are read without the items of partitions that begin so.
    overlooked: (&'static str, u32),
}

impl Losing {
    pub fn lose(&self, operation: &'static str, answers: u32) {
        self.0.lock().unwrap().lost = (operation, answers);
    }

    /// Batches are no snapshots: so many read what partitions that begin with `partition` hold from before it was there.
    pub fn overlook(&self, partition: &'static str, batches: u32) {
        self.0.lock().unwrap().overlooked = (partition, batches);
    }

    pub fn refuse(&self, operation: &'static str, requests: u32) {
        self.0.lock().unwrap().refused = (operation, requests);
    }
}

/// A world whose table answers as `losing` says.
pub async fn world(losing: &Losing) -> World {
    let mut world = World::new().await;
    let (config, clock) = ((*world.app.config).clone(), world.clock.clone());
    let interceptor = SharedInterceptor::new(losing.clone());
    let app = App::start(config, clock, Needs::ALL, Some(interceptor)).await.unwrap();
    app.warm().await.unwrap();
    world.router = local::stack::api(app);
    world
}

fn is_due(fault: &mut (&'static str, u32), cfg: &ConfigBag) -> bool {
    let is_it = cfg
        .load::<Metadata>()
        .is_some_and(|metadata| metadata.name() == fault.0);
    let is_due = is_it && fault.1 > 0;
    if is_due {
        fault.1 -= 1;
    }
    is_due
}

impl Intercept for Losing {
    fn name(&self) -> &'static str {
        "Losing"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if is_due(&mut self.0.lock().unwrap().refused, cfg) {
            // Nobody listens there.
            context.request_mut().set_uri("http://127.0.0.1:9/")?;
        }
        let is_batch = cfg
            .load::<Metadata>()
            .is_some_and(|metadata| metadata.name() == "BatchGetItem");
        let (partition, left) = &mut self.0.lock().unwrap().overlooked;
        if is_batch && *left > 0 {
            *left -= 1;
            let mut body: Value = serde_json::from_slice(context.request().body().bytes().unwrap())?;
            for table in body["RequestItems"].as_object_mut().unwrap().values_mut() {
                let keys = table["Keys"].as_array_mut().unwrap();
                keys.retain(|key| !key["pk"]["S"].as_str().unwrap().starts_with(*partition));
            }
            let body = body.to_string();
            let request = context.request_mut();
            request.headers_mut().insert("content-length", body.len().to_string());
            *request.body_mut() = SdkBody::from(body);
        }
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if is_due(&mut self.0.lock().unwrap().lost, cfg) {
            let lost = r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#;
            *context.response_mut() = HttpResponse::new(StatusCode::try_from(500)?, SdkBody::from(lost));
        }
        Ok(())
    }
}
