//! What the functions log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// With everything that our own crates have to say.
const FILTER: &str = "info,auth=trace,invitations=trace,members=trace,sessions=trace,shared=trace,usage=trace,workspaces=trace,\
    aws_config=warn,aws_smithy_runtime=warn,hyper=warn";

/// Keeps what is logged.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Keeps what this thread logs until the guard is dropped.
    pub fn keep(&self) -> tracing::subscriber::DefaultGuard {
        tracing_subscriber::fmt()
            .json()
            .with_env_filter(EnvFilter::new(FILTER))
            .with_writer(self.clone())
            .set_default()
    }

    /// What was logged.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// What was logged since it was last taken.
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
