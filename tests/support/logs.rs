//! The log of the functions, in the form that they write it when deployed.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use shared::telemetry::JsonLines;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// All levels of the backend's own crates.
const FILTER: &str = "info,auth=trace,invitations=trace,mail_events=trace,mail_retry=trace,members=trace,sessions=trace,\
    shared=trace,usage=trace,usage_aggregator=trace,usage_ingest=trace,workspaces=trace,aws_config=warn,aws_smithy_runtime=warn,hyper=warn";

/// Captures log lines.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Captures the lines of this thread until the guard is dropped.
    pub fn keep(&self) -> tracing::subscriber::DefaultGuard {
        let lines = JsonLines::new(self.clone()).with_filter(EnvFilter::new(FILTER));
        tracing_subscriber::registry().with(lines).set_default()
    }

    /// The captured lines.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines that were captured since the last call.
    pub fn take(&self) -> String {
        let logged = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8_lossy(&logged).into_owned()
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Logs {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}
