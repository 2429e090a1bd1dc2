//! Ends a process at one of its calls to the table: before the call is sent, while it is in flight, or after its
//! response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Time for a call to be sent although its process has ended.
const SEND_TIME: Duration = Duration::from_millis(100);

/// The moment at which a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the call: nothing is sent.
    Before,
    /// During the call: a write is sent and applied later; a read is not sent.
    During,
    /// After the call was applied and its response arrived.
    After,
}

/// The end of a process at the call with this number, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    pub call: usize,
    pub moment: Moment,
}

#[derive(Debug)]
struct ProcessEnd {
    kill: Kill,
    calls: AtomicUsize,
    has_ended: AtomicBool,
    ended: Notify,
}

tokio::task_local! {
    static PROCESS_END: Arc<ProcessEnd>;
}

/// Returns the result of `work`, or none if its process ends at `kill`.
pub async fn killed<T>(kill: Option<Kill>, work: impl Future<Output = T>) -> Option<T> {
    let Some(kill) = kill else { return Some(work.await) };
    let process_end = Arc::new(ProcessEnd {
        kill,
        calls: AtomicUsize::new(0),
        has_ended: AtomicBool::new(false),
        ended: Notify::new(),
    });
    let ending = async {
        process_end.ended.notified().await;
        if kill.moment == Moment::During {
            tokio::time::sleep(SEND_TIME).await;
        }
    };
    tokio::select! {
        biased;
        () = ending => None,
        // A result after the end of the process is discarded.
        done = PROCESS_END.scope(Arc::clone(&process_end), work) => (!process_end.has_ended.load(Ordering::SeqCst)).then_some(done),
    }
}

fn end_process(process_end: &ProcessEnd) {
    process_end.has_ended.store(true, Ordering::SeqCst);
    process_end.ended.notify_one();
}

/// Counts a call and returns the moment at which the process ends, if it ends at this call.
pub fn call_begins() -> Option<Moment> {
    let moment = PROCESS_END.try_with(|process_end| {
        if process_end.has_ended.load(Ordering::SeqCst) {
            return Some(Moment::Before);
        }
        let ends_process = process_end.calls.fetch_add(1, Ordering::SeqCst) == process_end.kill.call;
        if ends_process && process_end.kill.moment != Moment::After {
            end_process(process_end);
        }
        ends_process.then_some(process_end.kill.moment)
    });
    moment.ok().flatten()
}

/// Ends the process after the response of its last call.
pub fn response_received() {
    let _ = PROCESS_END.try_with(|process_end| end_process(process_end));
}
