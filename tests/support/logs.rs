//! Captures the log of the functions.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// Includes every log line of our own crates.
const FILTER: &str = "info,auth=trace,invitations=trace,members=trace,sessions=trace,shared=trace,usage=trace,workspaces=trace,\
    aws_config=warn,aws_smithy_runtime=warn,hyper=warn";

/// The captured log.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Captures the log of this thread until the guard is dropped.
    pub fn keep(&self) -> tracing::subscriber::DefaultGuard {
        tracing_subscriber::fmt()
            .json()
            .with_env_filter(EnvFilter::new(FILTER))
            .with_writer(self.clone())
            .set_default()
    }

    /// The captured text.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The text that was captured since the last call.
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
