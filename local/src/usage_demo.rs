//! The command `usage-demo`: sends a day of usage records, aggregates them, and reads the usage from the API.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use shared::{
    clock::Time,
    ids::{WorkspaceId, random_bytes},
};

use crate::remote::{Remote, RemoteError};

/// The number of queue messages in one invocation.
const BATCH: usize = 100;
/// One record in this many is sent twice.
const REPEAT_INTERVAL: usize = 20;

/// The result of the demonstration.
#[derive(Debug)]
pub struct Demo {
    records: u32,
    /// The number of records that were sent twice.
    repeated: usize,
    /// The usage that the API returned.
    usage: Value,
}

/// Whether a stack responds at `url`.
#[must_use]
pub fn is_running(url: String) -> bool {
    Remote::new(url).is_running()
}

/// Sends `records` records of the last 24 hours to the demo workspace of the stack at `url`, some of them twice, and
/// runs the aggregation.
pub fn run(url: String, records: u32) -> Result<Demo, RemoteError> {
    let stack = Remote::new(url);
    let token = stack.log_in()?;
    let workspace = stack.get("/api/v1/workspaces/", Some(&token))?["id"].clone();
    let now = stack.post("/_local/clock", &json!({"advance_seconds": 0}))?["now"].clone();
    let now: Time = now
        .as_str()
        .and_then(|now| now.parse().ok())
        .unwrap_or(Time::from_millis(0));

    let mut messages: Vec<Value> = (0..records)
        .map(|number| message(&workspace, now, number, records))
        .collect();
    let repeated: Vec<Value> = messages.iter().step_by(REPEAT_INTERVAL).cloned().collect();
    let repeated_count = repeated.len();
    messages.extend(repeated);

    let progress = ProgressBar::new(messages.len() as u64).with_style(
        ProgressStyle::with_template("{wide_bar} {pos}/{len} records, {per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    for batch in messages.chunks(BATCH) {
        let response = stack.post("/_local/invoke/usage-ingest", &json!({"Records": batch}))?;
        if response["batchItemFailures"]
            .as_array()
            .is_none_or(|failures| !failures.is_empty())
        {
            return Err(RemoteError::UnexpectedResponse {
                path: "usage-ingest".to_owned(),
                status: 200,
                body: response.to_string(),
            });
        }
        progress.inc(batch.len() as u64);
    }
    progress.finish();
    stack.post(
        "/_local/invoke/usage-aggregator",
        &json!({"source": "aws.scheduler", "time": now}),
    )?;
    Ok(Demo {
        records,
        repeated: repeated_count,
        usage: stack.get("/api/v1/workspaces/usage", Some(&token))?,
    })
}

/// The queue message of record `number` of `total`. The records are spread evenly over the 24 hours before `now`.
fn message(workspace: &Value, now: Time, number: u32, total: u32) -> Value {
    let day_s = 24 * 3600;
    let ago_s = day_s * u64::from(total - number) / u64::from(total.max(1));
    let [random] = random_bytes();
    let kind = if random.is_multiple_of(3) {
        "action_delivery"
    } else {
        "location_event"
    };
    let record = json!({
        "id": WorkspaceId::from_bytes(random_bytes()).to_string(),
        "workspace_id": workspace,
        "kind": kind,
        "count": u64::from(random) + 1,
        "occurred_at": now.minus(std::time::Duration::from_secs(ago_s)),
    });
    json!({
        "messageId": WorkspaceId::from_bytes(random_bytes()).to_string(),
        "receiptHandle": "local",
        "body": record.to_string(),
        "attributes": {},
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:usage",
        "awsRegion": "us-east-1",
    })
}

impl Demo {
    /// The result as a text table.
    #[must_use]
    pub fn table(&self) -> String {
        let usage = &self.usage;
        let row = |period: &str, counts: &Value, limit: String| {
            let number = |name: &str| thousands(&counts[name]);
            let from = counts["period_start"].as_str().unwrap_or_default();
            vec![
                format!("{period} ({})", from.get(..10).unwrap_or_default()),
                number("location_events"),
                number("action_deliveries"),
                number("event_units"),
                limit,
            ]
        };
        let mut table = Table::new();
        table
            .load_style(UTF8_FULL_CONDENSED)
            .set_header([
                "UTC period (start)",
                "location events",
                "action deliveries",
                "event units",
                "limit",
            ])
            .add_row(row("day", usage, String::new()))
            .add_row(row("month", &usage["month"], thousands(&usage["tier_limit"])));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!(
            "Sent {} records, {} of them twice. Each record is counted once.\n\
             The day includes only records since midnight UTC.\n\n{table}\nTier {}, last aggregated at {}.",
            self.records,
            self.repeated,
            usage["tier"].as_str().unwrap_or_default(),
            usage["as_of"].as_str().unwrap_or_default(),
        )
    }
}

/// A number with thousands separators, or `unlimited` for null.
fn thousands(number: &Value) -> String {
    if number.is_null() {
        return "unlimited".to_owned();
    }
    let text = number.to_string();
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut separated = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            separated.push(',');
        }
        separated.push(digit);
    }
    fraction.map_or(separated.clone(), |fraction| format!("{separated}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_thousands_separators() {
        assert_eq!(thousands(&json!(0)), "0");
        assert_eq!(thousands(&json!(1_234_567)), "1,234,567");
        assert_eq!(thousands(&json!(1234.5)), "1,234.5");
        assert_eq!(thousands(&Value::Null), "unlimited");
    }

    #[test]
    fn all_records_occurred_within_the_last_24_hours() {
        let now = Time::from_millis(1_759_305_600_000);
        for number in [0, 1, 99] {
            let body = message(&json!("w"), now, number, 100)["body"]
                .as_str()
                .unwrap()
                .to_owned();
            let record: Value = serde_json::from_str(&body).unwrap();
            let at: Time = record["occurred_at"].as_str().unwrap().parse().unwrap();
            assert!(now.since(at).as_secs() <= 24 * 3600 && at < now, "{record}");
        }
    }
}
