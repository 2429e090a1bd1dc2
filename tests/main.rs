//! The whole, tested from outside. One binary: a harness, then one file a group of routes and one a concern.

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
