//! What a client sees, route by route.

pub mod accounts;
pub mod idempotency;
pub mod invitation_life;
pub mod invitation_list;
pub mod invitation_mails;
pub mod invitations;
pub mod invitees;
pub mod mail;
pub mod mail_abuse;
pub mod members;
pub mod preconditions;
pub mod roles;
pub mod secrets;
pub mod sessions;
pub mod tenants;
pub mod usage;
pub mod usage_aggregation;
pub mod usage_ingest;
pub mod usage_model;
pub mod workspaces;
