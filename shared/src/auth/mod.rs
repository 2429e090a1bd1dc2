//! Authentication: tokens, their keys, passwords, and the types that are proofs of access.

pub mod access;
pub mod invite;
pub mod keys;
pub mod password;
pub mod refresh;
pub mod token;
