//! A process that pauses before one of its calls to the table and continues with its old reads, as Lambda may freeze
//! any process. The pause between a read and a write is the point at which a race is decided.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, SharedInterceptor};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use shared::app::{App, RequiredSecrets};
use tokio::sync::oneshot;

use crate::support::harness::World;

/// The call before which a process pauses.
#[derive(Clone, Copy, Debug)]
pub enum PauseBefore {
    /// The call with this number, beginning with 1.
    Call(usize),
    /// The first call of an operation.
    First(&'static str),
}

#[derive(Debug)]
struct Freezer {
    before: PauseBefore,
    /// Remaining calls before the pause.
    left: AtomicUsize,
    frozen: Mutex<Option<oneshot::Sender<()>>>,
    thawed: Mutex<mpsc::Receiver<()>>,
}

impl Intercept for Freezer {
    fn name(&self) -> &'static str {
        "Freezer"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = cfg.load::<Metadata>().map_or("", |metadata| metadata.name());
        if matches!(self.before, PauseBefore::First(first) if first != operation) {
            return Ok(());
        }
        // The counter wraps and therefore reaches 1 only once.
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let frozen = self.frozen.lock().unwrap().take().unwrap();
            assert!(frozen.send(()).is_ok(), "the test does not wait for the pause");
            // The sender is dropped to resume the process, even when the test fails.
            let _ = self.thawed.lock().unwrap().recv();
        }
        Ok(())
    }
}

/// Runs `work` in a process of its own on the same table, paused `before` one of its calls while `meanwhile` runs.
/// Returns the result of `work`, and whether `work` reached that call.
pub async fn run_paused<T, F>(
    world: &World,
    before: PauseBefore,
    work: impl FnOnce(App) -> F + Send + 'static,
    meanwhile: impl Future<Output = ()>,
) -> (T, bool)
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (frozen, freezing) = oneshot::channel();
    let (thaw, thawed) = mpsc::channel();
    let freezer = Freezer {
        before,
        left: AtomicUsize::new(match before {
            PauseBefore::Call(number) => number,
            PauseBefore::First(_) => 1,
        }),
        frozen: Mutex::new(Some(frozen)),
        thawed: Mutex::new(thawed),
    };
    let (config, clock) = ((*world.app.config).clone(), world.clock.clone());
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let freezer = SharedInterceptor::new(freezer);
            let app = App::start(config, clock, RequiredSecrets::ALL, Some(freezer))
                .await
                .unwrap();
            work(app).await
        })
    });
    let was_frozen = freezing.await.is_ok();
    meanwhile.await;
    drop(thaw);
    let came_to = tokio::task::spawn_blocking(|| process.join()).await.unwrap();
    (came_to.unwrap(), was_frozen)
}
