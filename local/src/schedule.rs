//! What AWS calls by the clock, called by the stack's clock.

use std::{sync::Arc, time::Duration};

use shared::{App, clock::Time};
use tokio::{sync::Mutex, task::JoinSet};

use crate::functions;

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A function that is called at every full `period_s` of the clock.
struct Schedule {
    function: &'static str,
    period_s: i64,
    event: &'static str,
}

/// Every schedule of the template.
const SCHEDULES: [Schedule; 2] = [
    Schedule {
        function: "mail-retry",
        period_s: 60,
        event: "{}",
    },
    Schedule {
        function: "usage-aggregator",
        period_s: 3600,
        event: "{}",
    },
];

impl Schedule {
    /// Whether a call is due `now`, the last look having been at `before`. However many were missed, it is one.
    fn is_due(&self, before: Time, now: Time) -> bool {
        now.as_seconds().div_euclid(self.period_s) > before.as_seconds().div_euclid(self.period_s)
    }
}

/// The schedules of one stack. Clones share when they last looked.
#[derive(Clone)]
pub(crate) struct Schedules {
    app: App,
    looked_at: Arc<Mutex<Time>>,
}

impl Schedules {
    /// The schedules from now on.
    pub(crate) fn new(app: App) -> Self {
        let now = app.now();
        Self {
            app,
            looked_at: Arc::new(Mutex::new(now)),
        }
    }

    /// Calls what became due since the last look, one after the other; whoever looks meanwhile waits.
    pub(crate) async fn catch_up(&self) {
        let mut looked_at = self.looked_at.lock().await;
        let now = self.app.now();
        for schedule in SCHEDULES.iter().filter(|schedule| schedule.is_due(*looked_at, now)) {
            let called = functions::call(self.app.clone(), schedule.function, schedule.event.as_bytes()).await;
            if let Some(Err(error)) = called {
                tracing::warn!(%error, function = schedule.function, "a scheduled call failed");
            }
        }
        *looked_at = now;
    }

    /// Looks at the clock for as long as what this answers is kept.
    pub(crate) fn start(self) -> JoinSet<()> {
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                self.catch_up().await;
            }
        });
        task
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_due_once_a_period_whatever_was_missed() {
        let hourly = &SCHEDULES[1];
        let at = |seconds: i64| Time::from_millis(seconds * 1000);
        assert!(!hourly.is_due(at(0), at(3599)));
        assert!(hourly.is_due(at(3599), at(3600)));
        assert!(!hourly.is_due(at(3600), at(3600)));
        assert!(hourly.is_due(at(3600), at(36_000)));
    }

    #[test]
    fn each_schedule_is_of_a_function() {
        for schedule in &SCHEDULES {
            assert!(functions::names().contains(&schedule.function), "{}", schedule.function);
        }
    }
}
