//! Requests that run at the same time.

pub mod clocks;
pub mod frozen_races;
pub mod races;
