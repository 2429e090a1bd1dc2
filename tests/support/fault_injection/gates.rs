//! The ways that requests take to the engine: ports of which each loses, holds up or cuts what comes.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::harness;

/// How long a slow call is held up, well within an attempt's time-out.
const SLOW: Duration = Duration::from_millis(150);
/// How long a late call is held up, beyond an attempt's time-out.
pub const LATE: Duration = Duration::from_millis(2500);

/// Where nobody listens.
const NOBODYS_PORT: u16 = 1;

/// The header that tells the gate which late request it holds.
pub const LATE_NUMBER: &str = "x-late-number";

/// How long a late request may take to its gate; one whose sender was gone before never gets there.
const TO_THE_GATE: Duration = Duration::from_secs(5);

/// Where a late request is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Not at the gate yet, since then.
    Departed(Instant),
    /// At the gate, or passed on and not answered yet.
    Arrived,
}

/// Late requests that are on their way still, by number.
static UNDER_WAY: Mutex<BTreeMap<u64, Place>> = Mutex::new(BTreeMap::new());

/// A number for a request that is sent late from now on.
pub fn depart() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let place = Place::Departed(Instant::now());
    UNDER_WAY.lock().unwrap().insert(number, place);
    number
}

/// Whether the request of this number is on its way still; when it is not, it was applied or never will be.
pub fn is_under_way(number: u64) -> bool {
    let mut under_way = UNDER_WAY.lock().unwrap();
    match under_way.get(&number) {
        Some(Place::Departed(since)) if since.elapsed() > TO_THE_GATE => {
            under_way.remove(&number);
            false
        }
        place => place.is_some(),
    }
}

/// Notes, when it is dropped at the latest, that a request has landed.
#[derive(Default)]
struct Landing(Mutex<Option<u64>>);

impl Landing {
    /// Takes the number of a request that came; whether it is to be passed on.
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
            under_way.insert(number, Place::Arrived);
            *self.0.lock().unwrap() = Some(number);
        }
        is_awaited
    }

    fn landed(&self) {
        if let Some(number) = self.0.lock().unwrap().take() {
            UNDER_WAY.lock().unwrap().remove(&number);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.landed();
    }
}

/// What becomes of a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Nobody listens.
    Closed,
    /// It is taken and forgotten.
    Never,
    /// It is passed on after [`SLOW`].
    Slow,
    /// It is passed on after [`LATE`].
    Late,
    /// It is passed on; the connection is cut when the answer comes.
    Cut,
    /// It is passed on; the answer is not.
    Mute,
}

/// A port for each way, on a thread of their own.
pub fn gates() -> &'static HashMap<Way, u16> {
    static GATES: OnceLock<HashMap<Way, u16>> = OnceLock::new();
    GATES.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut ports = HashMap::new();
                for way in [Way::Never, Way::Slow, Way::Late, Way::Cut, Way::Mute] {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    ports.insert(way, listener.local_addr().unwrap().port());
                    tokio::spawn(serve(listener, way));
                }
                ports.insert(Way::Closed, NOBODYS_PORT);
                sender.send(ports).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().unwrap()
    })
}

async fn serve(listener: TcpListener, way: Way) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A connection that breaks is what this is for.
            let _ = pass(client, way).await;
        });
    }
}

async fn pass(client: TcpStream, way: Way) -> std::io::Result<()> {
    let upstream = harness::engine().trim_start_matches("http://").trim_end_matches('/');
    let (mut client_in, mut client_out) = client.into_split();
    let (mut engine_in, mut engine_out) = TcpStream::connect(upstream).await?.into_split();
    let landing = Landing::default();
    let asking = async {
        let mut bytes = vec![0; 1 << 20];
        loop {
            let read = client_in.read(&mut bytes).await?;
            if read == 0 {
                // What was passed on is still to be applied, though nobody waits for the answer.
                tokio::time::sleep(LATE).await;
                return Ok::<(), std::io::Error>(());
            }
            if !landing.arrived(&bytes[..read]) {
                return Ok(());
            }
            match way {
                Way::Never | Way::Closed => continue,
                Way::Slow => tokio::time::sleep(SLOW).await,
                Way::Late => tokio::time::sleep(LATE).await,
                Way::Cut | Way::Mute => {}
            }
            engine_out.write_all(&bytes[..read]).await?;
        }
    };
    let answering = async {
        let mut bytes = vec![0; 1 << 20];
        loop {
            let read = engine_in.read(&mut bytes).await?;
            landing.landed();
            if read == 0 || way == Way::Cut {
                return Ok(());
            }
            if way == Way::Slow {
                client_out.write_all(&bytes[..read]).await?;
            }
        }
    };
    tokio::select! {
        asked = asking => asked,
        answered = answering => answered,
    }
}
