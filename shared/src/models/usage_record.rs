//! Usage records: parsing them, and deciding whether they are accepted.

use std::time::Duration;

use serde::Deserialize;

use super::usage::Usage;
use crate::clock::Time;
use crate::ids::{RecordId, WorkspaceId};

/// The oldest usage that a record may report.
pub(crate) const LATE_MAX: Duration = Duration::from_secs(35 * 24 * 3600);
/// How far in the future a record's time may be, to tolerate clocks that differ.
pub(crate) const AHEAD_MAX: Duration = Duration::from_secs(300);
/// How long the id of an accepted record is kept: longer than [`LATE_MAX`], so that a repeated record is never counted
/// twice.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(36 * 24 * 3600);

/// The kind of usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A location event, one unit.
    LocationEvent,
    /// An action delivery, half a unit.
    ActionDelivery,
}

/// A usage record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    /// The record's id. Records with the same id are counted once.
    pub id: RecordId,
    /// The workspace that the usage belongs to.
    pub workspace_id: WorkspaceId,
    /// The kind of usage.
    pub kind: Kind,
    /// The number of events; at least 1.
    pub count: u64,
    /// When the usage occurred.
    pub occurred_at: Time,
}

/// Why a record is refused. A retry would be refused again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text is not a JSON object with the required fields.
    #[error("it is no usage record")]
    Malformed,
    /// The count is 0.
    #[error("its count is 0")]
    ZeroCount,
    /// The usage occurred too long ago.
    #[error("it occurred more than 35 days ago")]
    Late,
    /// The usage occurred too far in the future.
    #[error("it occurred more than 5 minutes ahead")]
    Ahead,
    /// The workspace does not exist.
    #[error("its workspace does not exist")]
    UnknownWorkspace,
}

/// A refused record, as it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The record's id, if it could be read.
    pub id: Option<RecordId>,
    /// Why the record is refused.
    pub reason: Refusal,
}

/// The id of a record whose other fields may be invalid.
#[derive(Deserialize)]
struct OnlyId {
    id: String,
}

/// A record before its fields are parsed. Unknown fields are ignored.
#[derive(Deserialize)]
struct RawRecord {
    id: String,
    workspace_id: String,
    kind: Kind,
    count: u64,
    occurred_at: String,
}

impl UsageRecord {
    /// Parses a record and checks its count and time.
    pub fn parse(text: &str, now: Time) -> Result<Self, Refused> {
        Self::read(text, now).map_err(|reason| Refused {
            id: id_of(text),
            reason,
        })
    }

    fn read(text: &str, now: Time) -> Result<Self, Refusal> {
        // serde would also accept a JSON array, and read its values as the fields in order.
        if !text.trim_start().starts_with('{') {
            return Err(Refusal::Malformed);
        }
        let raw: RawRecord = serde_json::from_str(text).map_err(|_| Refusal::Malformed)?;
        let record = Self {
            id: raw.id.parse().map_err(|_| Refusal::Malformed)?,
            workspace_id: raw.workspace_id.parse().map_err(|_| Refusal::Malformed)?,
            kind: raw.kind,
            count: raw.count,
            occurred_at: raw.occurred_at.parse().map_err(|_| Refusal::Malformed)?,
        };
        if record.count == 0 {
            return Err(Refusal::ZeroCount);
        }
        if now.since(record.occurred_at) > LATE_MAX {
            return Err(Refusal::Late);
        }
        if record.occurred_at.since(now) > AHEAD_MAX {
            return Err(Refusal::Ahead);
        }
        Ok(record)
    }

    /// The usage that the record adds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let count = u128::from(self.count);
        match self.kind {
            Kind::LocationEvent => Usage {
                location_events: count,
                action_deliveries: 0,
            },
            Kind::ActionDelivery => Usage {
                location_events: 0,
                action_deliveries: count,
            },
        }
    }
}

/// The id in a text that may otherwise not be a record. The id must be a UUID, so that no other part of the text is
/// logged.
fn id_of(text: &str) -> Option<RecordId> {
    let object = Some(text).filter(|text| text.trim_start().starts_with('{'))?;
    let OnlyId { id } = serde_json::from_str(object).ok()?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "0190d6c0-1e00-7000-8000-00000000000a";

    fn now() -> Time {
        "2026-03-31T12:00:00Z".parse().unwrap()
    }

    fn parsed(field: &str, value: &serde_json::Value) -> Result<UsageRecord, Refusal> {
        let mut record = json!({
            "id": ID, "workspace_id": ID, "kind": "location_event", "count": 1,
            "occurred_at": "2026-03-31T11:00:00Z", "more": [1],
        });
        record[field] = value.clone();
        UsageRecord::parse(&record.to_string(), now()).map_err(|refused| refused.reason)
    }

    #[test]
    fn an_upper_case_id_and_a_time_with_an_offset_are_normalized() {
        let plain = parsed("id", &json!(ID)).unwrap();
        assert_eq!(parsed("id", &json!(ID.to_uppercase())).unwrap(), plain);
        assert_eq!(
            parsed("occurred_at", &json!("2026-03-31T13:30:00+02:30")).unwrap(),
            plain
        );
    }

    #[test]
    fn a_text_that_is_not_a_record_is_malformed() {
        let wrong = [
            ("id", json!("7")),
            ("id", json!(format!("{{{ID}}}"))),
            ("workspace_id", json!(null)),
            ("kind", json!("other")),
            ("count", json!(-1)),
            ("count", json!(1.0)),
            ("count", json!("1")),
            ("count", json!(1e30)),
            ("occurred_at", json!("2026-02-30T00:00:00Z")),
            ("occurred_at", json!(1_774_958_400)),
        ];
        for (field, value) in wrong {
            assert_eq!(parsed(field, &value), Err(Refusal::Malformed), "{field}: {value}");
        }
        let list = json!([ID, ID, "location_event", 1, "2026-03-31T11:00:00Z"]).to_string();
        for text in ["", "{", "[]", "null", "7", "{}", "\u{0}", &list] {
            let refused = UsageRecord::parse(text, now()).unwrap_err();
            assert_eq!((refused.id, refused.reason), (None, Refusal::Malformed), "{text}");
        }
    }

    #[test]
    fn a_count_may_be_any_whole_number_except_0() {
        assert_eq!(parsed("count", &json!(0)), Err(Refusal::ZeroCount));
        assert_eq!(
            parsed("count", &json!(u64::MAX)).unwrap().usage().location_events,
            u128::from(u64::MAX)
        );
    }

    #[test]
    fn a_record_is_accepted_from_35_days_in_the_past_to_5_minutes_in_the_future() {
        let at = |time: Time| parsed("occurred_at", &json!(time)).map(|_| ());
        let millisecond = Duration::from_millis(1);
        assert_eq!(at(now().minus(LATE_MAX)), Ok(()));
        assert_eq!(at(now().minus(LATE_MAX).minus(millisecond)), Err(Refusal::Late));
        assert_eq!(at(now().plus(AHEAD_MAX)), Ok(()));
        assert_eq!(at(now().plus(AHEAD_MAX).plus(millisecond)), Err(Refusal::Ahead));
    }
}
