//! The local stack: every function on one loopback port, an embedded DynamoDB engine and a mailbox, in one process.
//!
//! The functions run the code that is deployed; only endpoints and keys differ. [`stack::Stack`] starts everything.
//! Tests start only the parts that they need: [`engine::Engine`] for the database, [`mailbox::Mailbox`] for the mails,
//! [`stack::api`] for the routes in process, and [`functions::call`] to invoke a function as Lambda does.

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
