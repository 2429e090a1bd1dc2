//! What every function of Workspaces stands on.
//!
//! `models` holds pure rules and knows neither axum nor AWS; `store` and `mailer` alone call AWS services; `outbox`
//! sends what the table says is due; `http`
//! turns requests into handlers' arguments and errors into answers; `auth` proves who may do what; `event` is
//! what calls by triggers share; `deadline` says how long anything may wait; `lambda` alone knows the Lambda runtime.

pub mod app;
pub mod auth;
pub mod aws;
pub mod clock;
pub mod config;
pub mod deadline;
pub mod error;
pub mod event;
pub mod http;
pub mod ids;
pub mod lambda;
pub mod mailer;
pub mod models;
pub mod notices;
pub mod operation;
pub mod outbox;
pub mod secret;
pub mod store;

pub use app::App;
pub use error::{Code, Error};
