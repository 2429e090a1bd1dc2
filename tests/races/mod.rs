//! Concurrent requests, paused processes and differing clocks.

pub mod accounts;
pub mod clocks;
pub mod invitations;
pub mod members;
pub mod paused;
pub mod sessions;
pub mod setup;
