//! The scheduled functions, invoked by the stack's clock instead of the scheduler of AWS.

use std::{sync::Arc, time::Duration};

use shared::{App, clock::Time};
use tokio::{sync::Mutex, task::JoinSet};

use crate::functions;

/// How often the schedules are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A function that is invoked whenever the clock reaches a multiple of `period_s`.
struct Schedule {
    function: &'static str,
    period_s: i64,
    event: &'static str,
}

/// The schedules of the template.
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
    /// Whether an invocation became due after `last_check` and until `now`. Several missed invocations count as one.
    fn is_due(&self, last_check: Time, now: Time) -> bool {
        now.as_seconds().div_euclid(self.period_s) > last_check.as_seconds().div_euclid(self.period_s)
    }
}

/// The schedules of one stack. Clones share the time of the last check.
#[derive(Clone)]
pub(crate) struct Schedules {
    app: App,
    last_check: Arc<Mutex<Time>>,
}

impl Schedules {
    /// Starts the schedules' time now. Earlier invocations are not made up for.
    pub(crate) fn new(app: App) -> Self {
        let now = app.now();
        Self {
            app,
            last_check: Arc::new(Mutex::new(now)),
        }
    }

    /// Invokes the functions that became due since the last check, one after the other. A concurrent check waits.
    pub(crate) async fn run_due(&self) {
        let mut last_check = self.last_check.lock().await;
        let now = self.app.now();
        for schedule in SCHEDULES.iter().filter(|schedule| schedule.is_due(*last_check, now)) {
            let result = functions::call(self.app.clone(), schedule.function, schedule.event.as_bytes()).await;
            if let Some(Err(error)) = result {
                tracing::warn!(%error, function = schedule.function, "a scheduled invocation failed");
            }
        }
        *last_check = now;
    }

    /// Checks the schedules in the background until the returned task set is dropped.
    pub(crate) fn start(self) -> JoinSet<()> {
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut interval = tokio::time::interval(CHECK_INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                self.run_due().await;
            }
        });
        task
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_is_due_once_however_many_periods_have_passed() {
        let hourly = &SCHEDULES[1];
        let at = |seconds: i64| Time::from_millis(seconds * 1000);
        assert!(!hourly.is_due(at(0), at(3599)));
        assert!(hourly.is_due(at(3599), at(3600)));
        assert!(!hourly.is_due(at(3600), at(3600)));
        assert!(hourly.is_due(at(3600), at(36_000)));
    }

    #[test]
    fn each_schedule_names_an_existing_function() {
        for schedule in &SCHEDULES {
            assert!(functions::names().contains(&schedule.function), "{}", schedule.function);
        }
    }
}
