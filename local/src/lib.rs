//! The local stack: every function on one loopback port, an embedded DynamoDB engine and a mailbox in one process.
//!
//! The functions' code is the deployed code; only endpoints and keys differ. [`stack::Stack`] is all of it. Tests start
//! the parts they need: [`engine::Engine`] for a table store, [`mailbox::Mailbox`] for what would have been mailed,
//! [`stack::api`] for the routes in process, [`functions::call`] for a function as Lambda calls it.

pub mod cli;
pub mod demo;
pub mod engine;
pub mod functions;
pub mod mailbox;
pub mod operator;
pub mod remote;
pub mod stack;
pub mod usage_demo;

mod control;
mod invoke;
mod loopback;
mod origin_check;
mod page;
mod prose;
mod reference;
mod schedule;
#[cfg(test)]
mod testing;
