//! Runs several people who perform allowed and forbidden operations, alone and concurrently, while the clock moves and
//! calls fail. After every batch of operations, the whole table is compared with the invariants and with the responses.
//!
//! `SIMULATION_SEED=7 SIMULATION_FAULTS=20 cargo test -p tests --test all simulation` replays one seed;
//! `SIMULATION_SEEDS=1000` runs more of them, `SIMULATION_FROM=5000` others.

mod checker;
mod conditions;
mod counters;
mod disclosure;
mod idempotency;
mod ledger;
mod operations;
mod oracle;
mod perform;
mod plan;
mod probes;
mod reconcile;
mod run;
mod scripts;
mod selection;
mod self_test;
mod snapshot;
mod usage;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use conditions::Conditions;
use counters::Counters;
use run::run_seed;

use crate::support::logs::Logs;

/// Percentage of calls to the table that meet a fault; the number of the seed selects the level.
const LEVELS: [u32; 3] = [0, 5, 20];
/// Number of seeds of an ordinary run.
const SEEDS: u64 = 24;
/// Seeds that run concurrently: under faults, a seed mostly waits.
const CONCURRENT_SEEDS: usize = 6;

fn environment_number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the environment selects the seeds")]
    let value = std::env::var(name).ok();
    value.and_then(|value| value.parse().ok())
}

fn level(seed: u64) -> u32 {
    let percent = environment_number("SIMULATION_FAULTS").and_then(|percent| u32::try_from(percent).ok());
    percent.unwrap_or(LEVELS[usize::try_from(seed % 3).unwrap()])
}

/// Runs a seed on this thread and records its log.
fn run_seed_on_thread(seed: u64) -> Counters {
    let logs = Logs::default();
    let _kept = logs.keep();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let percent = level(seed);
    let conditions = Conditions {
        percent,
        has_clock_skew: seed / 3 % 2 == 1,
    };
    let counters = runtime.block_on(run_seed(seed, conditions, logs));
    if !counters.findings.faults.is_empty() {
        println!(
            "seed {seed} at {percent} %:\n  {}\n{}\nreplay with: SIMULATION_SEED={seed} SIMULATION_FAULTS={percent} cargo test -p tests --test all simulation\n",
            counters.recent_operations.join("\n  "),
            counters.findings.faults.join("\n")
        );
    }
    counters
}

#[test]
fn invariants_hold_under_faults() {
    let from = environment_number("SIMULATION_FROM").unwrap_or(0);
    let seeds = match environment_number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => from..from + environment_number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let next = AtomicU64::new(seeds.start);
    let (total, failed) = (Mutex::new(Counters::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CONCURRENT_SEEDS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        return;
                    }
                    let counters = run_seed_on_thread(seed);
                    if !counters.findings.faults.is_empty() {
                        failed.lock().unwrap().push(seed);
                    }
                    total.lock().unwrap().add(counters);
                }
            });
        }
    });
    let (total, failed) = (total.into_inner().unwrap(), failed.into_inner().unwrap());
    println!("{total}");
    assert!(failed.is_empty(), "seeds {failed:?} broke an invariant");
}
