//! The whole, tested from outside. One binary: a harness, then one file a group of routes and one a concern.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers end the test, as the test itself does"
)]
#![expect(unreachable_pub, reason = "a binary of tests has no outside to reach")]

mod deployed;
mod documented;
mod faulty;
mod harness;
mod invariants;
mod logs;
mod meter;
mod template;

mod accounts;
mod budget;
mod clocks;
mod deployment;
mod events;
mod faults;
mod fuzz;
mod hostile;
mod house;
mod idempotency;
mod invitations;
mod mail;
mod mail_abuse;
mod members;
mod preconditions;
mod races;
mod roles;
mod secrets;
mod simulation;
mod tenants;
mod tokens;
mod usage;
mod usage_aggregation;
mod usage_ingest;
mod usage_model;
mod workspaces;
