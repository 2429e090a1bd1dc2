//! A process that freezes before one of its calls to the table, sleeps through what happens meanwhile, and goes on with
//! what it knew: what Lambda may do to any of them, and the one place between a read and a write where a race is decided.

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

/// Which call a process freezes before.
#[derive(Clone, Copy, Debug)]
pub enum PauseBefore {
    /// So many calls later, beginning with 1.
    Call(usize),
    /// The first one of an operation.
    First(&'static str),
}

#[derive(Debug)]
struct Freezer {
    before: PauseBefore,
    /// Calls until then.
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
        // It wraps, and is 1 no second time.
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let frozen = self.frozen.lock().unwrap().take().unwrap();
            assert!(frozen.send(()).is_ok(), "nobody waits for the process to freeze");
            // Whoever froze it lets go of it, even when failing.
            let _ = self.thawed.lock().unwrap().recv();
        }
        Ok(())
    }
}

/// Does `work` in a process of its own on the world's table, frozen `before` one of its calls while `meanwhile` runs. What
/// the work came to, and whether it came to that call.
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
    let (told, freezing) = oneshot::channel();
    let (thaw, thawed) = mpsc::channel();
    let freezer = Freezer {
        before,
        left: AtomicUsize::new(match before {
            PauseBefore::Call(number) => number,
            PauseBefore::First(_) => 1,
        }),
        frozen: Mutex::new(Some(told)),
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
