//! What is deployed: template, sample events, budgets, and conventions of the code.

pub mod budget;
pub mod deployment;
pub mod events;
pub mod house;
pub mod log_lines;
pub mod proofs;
