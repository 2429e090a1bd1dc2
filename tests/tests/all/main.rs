//! The whole, tested from outside. One binary: a harness, then one file a group of routes and one a concern.

mod harness;
mod invariants;

mod accounts;
mod budget;
mod hostile;
mod house;
mod invitations;
mod members;
mod races;
mod roles;
mod secrets;
mod tenants;
mod usage;
mod workspaces;
