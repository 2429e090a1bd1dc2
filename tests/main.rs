//! Tests of the whole product from outside, in one binary: support, then one folder per concern.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers end the test, as the test itself does"
)]
#![expect(unreachable_pub, reason = "a binary of tests has no outside to reach")]

mod deployment;
mod faults;
mod races;
mod routes;
mod simulation;
mod support;
