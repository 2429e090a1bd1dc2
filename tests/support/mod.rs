//! Shared support of the tests: the stack under test, people, injected faults, and invariants of the whole table.

pub mod api_operations;
pub mod api_response;
pub mod deployed;
pub mod documented;
pub mod dynamodb_calls;
pub mod fault_injection;
pub mod harness;
pub mod invariants;
pub mod logs;
pub mod outcome;
pub mod paused;
pub mod person;
pub mod template;
pub mod usage_support;
