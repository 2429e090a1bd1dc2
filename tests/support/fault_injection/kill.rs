//! Processes that end: whoever calls the table is gone at one of their calls, before it is sent, while it is under way, or
//! when it was answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a call that outlives its process has to leave it.
const TO_LEAVE: Duration = Duration::from_millis(100);

/// When a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing is sent.
    Before,
    /// A write is sent and applied later; a read is not sent.
    During,
    /// It was applied and answered.
    After,
}

/// The end of a process: at its call of this number, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    pub call: usize,
    pub moment: Moment,
}

#[derive(Debug)]
struct Doom {
    kill: Kill,
    begun: AtomicUsize,
    is_dead: AtomicBool,
    died: Notify,
}

tokio::task_local! {
    static DOOM: Arc<Doom>;
}

/// What `work` comes to, unless its process ends at `kill`.
pub async fn killed<T>(kill: Option<Kill>, work: impl Future<Output = T>) -> Option<T> {
    let Some(kill) = kill else { return Some(work.await) };
    let doom = Arc::new(Doom {
        kill,
        begun: AtomicUsize::new(0),
        is_dead: AtomicBool::new(false),
        died: Notify::new(),
    });
    let dying = async {
        doom.died.notified().await;
        if kill.moment == Moment::During {
            tokio::time::sleep(TO_LEAVE).await;
        }
    };
    tokio::select! {
        biased;
        () = dying => None,
        // What a process does in its last moment nobody hears of.
        done = DOOM.scope(Arc::clone(&doom), work) => (!doom.is_dead.load(Ordering::SeqCst)).then_some(done),
    }
}

fn dies(doom: &Doom) {
    doom.is_dead.store(true, Ordering::SeqCst);
    doom.died.notify_one();
}

/// A call begins: at which moment its process ends, if at this one.
pub fn begins() -> Option<Moment> {
    let doomed = DOOM.try_with(|doom| {
        if doom.is_dead.load(Ordering::SeqCst) {
            return Some(Moment::Before);
        }
        let is_last = doom.begun.fetch_add(1, Ordering::SeqCst) == doom.kill.call;
        if is_last && doom.kill.moment != Moment::After {
            dies(doom);
        }
        is_last.then_some(doom.kill.moment)
    });
    doomed.ok().flatten()
}

/// A call that was the last was answered.
pub fn was_answered() {
    let _ = DOOM.try_with(|doom| dies(doom));
}
