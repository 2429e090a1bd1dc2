//! Counts what a run of the simulation did.

use std::collections::BTreeMap;
use std::fmt;

use crate::support::invariants::Findings;

#[derive(Debug, Default)]
pub struct Counters {
    pub seeds: u64,
    pub operations: BTreeMap<&'static str, u64>,
    pub responses: BTreeMap<u16, u64>,
    pub faults: BTreeMap<String, u64>,
    pub findings: Findings,
    /// The last operations of a seed in which a check failed.
    pub recent_operations: Vec<String>,
}

impl Counters {
    pub fn add(&mut self, other: Self) {
        fn sum<K: Ord>(into: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
            for (key, count) in from {
                *into.entry(key).or_default() += count;
            }
        }
        self.seeds += other.seeds;
        sum(&mut self.operations, other.operations);
        sum(&mut self.responses, other.responses);
        sum(&mut self.faults, other.faults);
        sum(&mut self.findings.checks, other.findings.checks);
        self.findings.faults.extend(other.findings.faults);
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn line<K: fmt::Display>(f: &mut fmt::Formatter<'_>, name: &str, counts: &BTreeMap<K, u64>) -> fmt::Result {
            let total: u64 = counts.values().sum();
            let each: Vec<String> = counts.iter().map(|(key, count)| format!("{key} {count}")).collect();
            writeln!(f, "{name}: {total} ({})", each.join(", "))
        }
        writeln!(f, "seeds: {}", self.seeds)?;
        line(f, "operations", &self.operations)?;
        line(f, "responses", &self.responses)?;
        line(f, "faults", &self.faults)?;
        line(f, "checks", &self.findings.checks)?;
        write!(f, "violations: {}", self.findings.faults.len())
    }
}
