//! Failing dependencies and malformed input.

pub mod forged_tokens;
pub mod fuzz;
pub mod http_operations;
pub mod http_reads;
pub mod http_writes;
pub mod malformed_bodies;
pub mod malformed_paths;
pub mod malformed_queries;
pub mod malformed_tokens;
pub mod refusals;
pub mod requests;
pub mod token_attacks;
pub mod token_forge;
pub mod trigger_calls;
pub mod trigger_writes;

use std::time::Duration;

/// Number of cases that run concurrently: they mostly wait.
const CONCURRENT_CASES: usize = 16;
/// Longest time between a response and the arrival of a late write.
const LATE_AT_MOST: Duration = Duration::from_millis(1500);
