//! The library that every function of Workspaces is built on.
//!
//! ```text
//!   functions/*, local                     handlers, triggers, the local stack
//!           │
//!   lambda,       notices,  operation      the Lambda runtime; mails about usage; the order of checks
//!     │              │         │
//!   http, event,  outbox,  authorize       requests, triggers, due mails, proofs of access
//!     └──────────────┼─────────┘
//!                   app                    the state that is built at cold start
//!                 ┌──┴───┐
//!              store,  mailer              the only callers of DynamoDB and SES
//!              │   └─┬──┘
//!            auth,  aws                    tokens, passwords, types of proofs; the AWS clients
//!              │     │
//!              │   config                  settings
//!              └──┬──┘
//!               models                     the rules of the product
//!                 │
//!       telemetry, secret, ids             spans and log lines, secrets, identifiers
//!                 │
//!       error, clock, deadline             errors, the time, the time that a call may take
//! ```
//!
//! A module imports only modules below it, or to the right of it on the same line.
//!
//! | module | content |
//! | --- | --- |
//! | [`lambda`] | Runs a function in Lambda. No other module uses the Lambda runtime. |
//! | [`operation`] | The order of checks of an operation that is limited or takes an `Idempotency-Key`. |
//! | [`http`] | Turns requests into the arguments of handlers, and errors into responses. |
//! | [`event`] | Calls a trigger (queue, schedule, event bus) with a raw event and a deadline. |
//! | [`outbox`], [`notices`] | Send the mails that are due according to the table. |
//! | [`authorize`] | Authenticates callers and proves that they may act in a workspace. |
//! | [`app`] | [`App`]: the store, the mailer, the keys and the settings. |
//! | [`store`] | Every read and write of the table. Tenant operations require a proof of access. |
//! | [`mailer`] | Writes and sends mails through SES. |
//! | [`auth`] | Tokens, signing keys, passwords, and the types that are proofs of access. |
//! | [`aws`] | Builds the AWS clients and describes their errors. |
//! | [`models`] | The rules of the product. They use neither axum nor AWS, and take the time as an argument. |
//! | [`config`], [`secret`], [`ids`] | Settings from the environment, secrets that are never printed, identifiers. |
//! | [`telemetry`] | The spans of requests, and the JSON lines of the log. |
//! | [`error`](mod@error), [`clock`], [`deadline`] | [`Error`] and its codes, the time, and how long a call may take. |

pub mod app;
pub mod auth;
pub mod authorize;
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
pub mod telemetry;

pub use app::App;
pub use error::{Code, Error};
