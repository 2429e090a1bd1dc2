//! Takes usage records from the queue, each once.

use serde_json::Value;
use shared::event::Deadline;
use shared::{App, Error};

/// Takes a call.
pub async fn handle(_app: App, _event: Value, _deadline: Deadline) -> Result<Value, Error> {
    Ok(Value::Null)
}
