//! Who is calling, and what they may do.

pub mod access;
pub mod invite;
pub mod keys;
pub mod password;
pub mod refresh;
pub mod token;
