//! Proxies in front of the engine: each port discards, delays or cuts what it receives.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::harness;

/// Delay of a slow call, well within an attempt's time-out.
const SLOW: Duration = Duration::from_millis(150);
/// Delay of a late call, beyond an attempt's time-out.
pub const LATE: Duration = Duration::from_millis(2500);

/// A port that nothing listens on.
const CLOSED_PORT: u16 = 1;

/// The header with the number of a late request.
pub const LATE_NUMBER: &str = "x-late-number";

/// Longest time from sending a late request to its arrival at the proxy; an aborted request never arrives.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(5);

/// The state of a late request.
#[derive(Clone, Copy, Debug)]
enum LateRequestState {
    /// Sent at this time, and not at the proxy yet.
    Sent(Instant),
    /// At the proxy, or forwarded without a response yet.
    Arrived,
}

/// Late requests that may still be applied, by number.
static UNDER_WAY: Mutex<BTreeMap<u64, LateRequestState>> = Mutex::new(BTreeMap::new());

/// Registers a late request and returns its number.
pub fn register_late_request() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let index = LateRequestState::Sent(Instant::now());
    UNDER_WAY.lock().unwrap().insert(number, index);
    number
}

/// Whether the request with this number may still be applied; otherwise it was applied or never will be.
pub fn is_under_way(number: u64) -> bool {
    let mut under_way = UNDER_WAY.lock().unwrap();
    match under_way.get(&number) {
        Some(LateRequestState::Sent(since)) if since.elapsed() > ARRIVAL_LIMIT => {
            under_way.remove(&number);
            false
        }
        index => index.is_some(),
    }
}

/// Marks a late request as completed, at the latest when it is dropped.
#[derive(Default)]
struct LateRequest(Mutex<Option<u64>>);

impl LateRequest {
    /// Reads the number of a request; returns whether to forward the request.
    fn arrived(&self, request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request);
        let number = text.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case(LATE_NUMBER) {
                value.trim().parse().ok()
            } else {
                None
            }
        });
        let Some(number) = number else { return true };
        let mut under_way = UNDER_WAY.lock().unwrap();
        let is_awaited = under_way.contains_key(&number);
        if is_awaited {
            under_way.insert(number, LateRequestState::Arrived);
            *self.0.lock().unwrap() = Some(number);
        }
        is_awaited
    }

    fn completed(&self) {
        if let Some(number) = self.0.lock().unwrap().take() {
            UNDER_WAY.lock().unwrap().remove(&number);
        }
    }
}

impl Drop for LateRequest {
    fn drop(&mut self) {
        self.completed();
    }
}

/// What a proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyMode {
    /// Refuses the connection.
    Closed,
    /// Discards the request.
    Discard,
    /// Forwards the request after [`SLOW`].
    Slow,
    /// Forwards the request after [`LATE`].
    Late,
    /// Forwards the request, and cuts the connection when the response comes.
    Cut,
    /// Forwards the request, and withholds the response.
    WithholdResponse,
}

/// The port of each proxy; the proxies run on a thread of their own.
pub fn proxy_ports() -> &'static HashMap<ProxyMode, u16> {
    static PROXY_PORTS: OnceLock<HashMap<ProxyMode, u16>> = OnceLock::new();
    PROXY_PORTS.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut ports = HashMap::new();
                for mode in [
                    ProxyMode::Discard,
                    ProxyMode::Slow,
                    ProxyMode::Late,
                    ProxyMode::Cut,
                    ProxyMode::WithholdResponse,
                ] {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    ports.insert(mode, listener.local_addr().unwrap().port());
                    tokio::spawn(serve(listener, mode));
                }
                ports.insert(ProxyMode::Closed, CLOSED_PORT);
                sender.send(ports).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().unwrap()
    })
}

async fn serve(listener: TcpListener, mode: ProxyMode) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(async move {
            // An I/O error is expected, because a fault breaks the connection.
            let _ = pass(client, mode).await;
        });
    }
}

async fn pass(client: TcpStream, mode: ProxyMode) -> std::io::Result<()> {
    let upstream = harness::engine().trim_start_matches("http://").trim_end_matches('/');
    let (mut client_in, mut client_out) = client.into_split();
    let (mut engine_in, mut engine_out) = TcpStream::connect(upstream).await?.into_split();
    let late_request = LateRequest::default();
    let forward_request = async {
        let mut bytes = vec![0; 1 << 20];
        loop {
            let read = client_in.read(&mut bytes).await?;
            if read == 0 {
                // The engine must still apply the forwarded request, although the client has closed the connection.
                tokio::time::sleep(LATE).await;
                return Ok::<(), std::io::Error>(());
            }
            if !late_request.arrived(&bytes[..read]) {
                return Ok(());
            }
            match mode {
                ProxyMode::Discard | ProxyMode::Closed => continue,
                ProxyMode::Slow => tokio::time::sleep(SLOW).await,
                ProxyMode::Late => tokio::time::sleep(LATE).await,
                ProxyMode::Cut | ProxyMode::WithholdResponse => {}
            }
            engine_out.write_all(&bytes[..read]).await?;
        }
    };
    let forward_response = async {
        let mut bytes = vec![0; 1 << 20];
        loop {
            let read = engine_in.read(&mut bytes).await?;
            late_request.completed();
            if read == 0 || mode == ProxyMode::Cut {
                return Ok(());
            }
            if mode == ProxyMode::Slow {
                client_out.write_all(&bytes[..read]).await?;
            }
        }
    };
    tokio::select! {
        requested = forward_request => requested,
        responded = forward_response => responded,
    }
}
