//! Behaviour of the API and of the functions that triggers call, route by route.

pub mod account_enumeration;
pub mod auth_accept_invite;
pub mod auth_accounts;
pub mod auth_invitation;
pub mod auth_sessions;
pub mod idempotency;
pub mod idempotency_concurrency;
pub mod idempotency_header;
pub mod invitations_cancel;
pub mod invitations_create;
pub mod invitations_extend;
pub mod invitations_limits;
pub mod invitations_list;
pub mod invitations_mail;
pub mod invitations_resend;
pub mod mail_budget;
pub mod mail_events;
pub mod mail_injection;
pub mod mail_retry;
pub mod members;
pub mod members_list;
pub mod roles;
pub mod secrets;
pub mod sessions;
pub mod tenants;
pub mod usage;
pub mod usage_aggregation;
pub mod usage_ingest;
pub mod usage_model;
pub mod usage_notices;
pub mod workspaces;
pub mod workspaces_preconditions;
pub mod workspaces_update;

use shared::clock::Time;

use crate::support::harness::World;

/// Sets the clock back to `time`, to the second. Without it, the outcome of a test with many requests in a time window
/// would depend on the speed of the machine.
pub fn set_clock_back(world: &World, time: Time) {
    let passed_s = world.clock.now().since(time).as_secs();
    world.pass(-i64::try_from(passed_s).unwrap());
}
