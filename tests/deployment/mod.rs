//! What is deployed: the stack template, sample events, round trips, and conventions of the code.

pub mod conventions;
pub mod events;
pub mod function_roles;
pub mod gateway_routes;
pub mod log_lines;
pub mod malformed_events;
pub mod proofs;
pub mod response_schema;
pub mod round_trip_requests;
pub mod round_trips;
pub mod stack_template;
pub mod worked_example;
