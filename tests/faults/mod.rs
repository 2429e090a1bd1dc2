//! Failing dependencies and malformed input.

pub mod faults;
pub mod fuzz;
pub mod hostile;
pub mod hostile_paths;
pub mod hostile_tokens;
pub mod tokens;
pub mod trigger_faults;
