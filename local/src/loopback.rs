//! Servers on the loopback interface: bound to 127.0.0.1 only, stopped gracefully.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

/// How long a request that is still running may hold up the end.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Binds `port` on 127.0.0.1; 0 takes any free one. Fails when the port is taken.
pub(crate) async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Serves `router` on `listener` until the answer's [`Serving::stop`] or its drop.
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

/// A server that runs in the background; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Spawns the server that `run` makes; the future it is given resolves when the server has to stop.
    pub(crate) fn start<F>(address: SocketAddr, run: impl FnOnce(Stopped) -> F) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let server = run(Box::pin(async move {
            // A dropped sender stops the server like a sent word does.
            stopped.await.ok();
        }));
        let task = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%address, error, "a local server ended");
            }
        });
        Self { address, stop, task }
    }

    /// `http://127.0.0.1:<port>`, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no further connection and returns when the running requests are done, or a second later.
    pub(crate) async fn stop(self) {
        self.stop.send(()).ok();
        let abort = self.task.abort_handle();
        if timeout(STOP_TIMEOUT, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Resolves when a server has to stop.
pub(crate) type Stopped = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
