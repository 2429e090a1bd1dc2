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
mod frozen;
mod harness;
mod invariants;
mod logs;
mod meter;
mod outcome;
mod template;

mod accounts;
mod budget;
mod clocks;
mod deployment;
mod events;
mod faults;
mod frozen_races;
mod fuzz;
mod hostile;
mod hostile_paths;
mod hostile_tokens;
mod house;
mod idempotency;
mod invitation_life;
mod invitation_list;
mod invitation_mails;
mod invitations;
mod invitees;
mod mail;
mod mail_abuse;
mod members;
mod preconditions;
mod races;
mod roles;
mod secrets;
mod sessions;
mod simulation;
mod tenants;
mod tokens;
mod trigger_faults;
mod usage;
mod usage_aggregation;
mod usage_ingest;
mod usage_model;
mod workspaces;
