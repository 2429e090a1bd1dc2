//! The domain: parsed types and pure rules. Nothing here reads a clock, a network or a table.

pub mod delivery;
pub mod email;
pub mod idempotency;
pub mod invitation;
pub mod limit;
pub mod member;
pub mod notice;
pub mod role;
pub mod text;
pub mod usage;
pub mod usage_record;
pub mod user;
pub mod workspace;
