//! Servers on the loopback interface. They listen on 127.0.0.1 only and shut down gracefully.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

/// How long a shutdown waits for running requests.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Binds `port` on 127.0.0.1; 0 chooses a free port. Fails when the port is in use.
pub(crate) async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Serves `router` on `listener` until the returned value is stopped or dropped.
pub(crate) fn serve(listener: TcpListener, router: axum::Router) -> io::Result<Serving> {
    let address = listener.local_addr()?;
    Ok(Serving::start(address, |stopped| async move {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service)
            .with_graceful_shutdown(stopped)
            .await
            .map_err(|error| error.to_string())
    }))
}

/// A server that runs in the background. Dropping the value stops the server.
#[derive(Debug)]
pub(crate) struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Spawns the server that `run` returns. The future passed to `run` resolves when the server must stop.
    pub(crate) fn start<F>(address: SocketAddr, run: impl FnOnce(Stopped) -> F) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let server = run(Box::pin(async move {
            // Dropping the sender also resolves this future, so an error means the same as a message.
            stopped.await.ok();
        }));
        let task = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%address, error, "a local server failed");
            }
        });
        Self { address, stop, task }
    }

    /// `http://127.0.0.1:<port>`, without a trailing slash.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Accepts no more connections, and returns when the running requests have finished or [`STOP_TIMEOUT`] has passed.
    pub(crate) async fn stop(self) {
        self.stop.send(()).ok();
        let abort = self.task.abort_handle();
        if timeout(STOP_TIMEOUT, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// A future that resolves when a server must stop.
pub(crate) type Stopped = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
