//! Usage records: what one says, and whether it is taken.

use std::time::Duration;

use serde::Deserialize;

use super::usage::Usage;
use crate::clock::Time;
use crate::ids::{RecordId, WorkspaceId};

/// How late a record may come.
pub const LATE_MAX: Duration = Duration::from_secs(35 * 24 * 3600);
/// How far ahead of this clock a record's own may be.
pub const AHEAD_MAX: Duration = Duration::from_secs(300);
/// How long a taken record is remembered: longer than it could be taken again.
pub const REMEMBERED: Duration = Duration::from_secs(36 * 24 * 3600);

/// What was used.
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
    /// Its id: a record counts once however often it comes.
    pub id: RecordId,
    /// Whose usage it is.
    pub workspace_id: WorkspaceId,
    /// What was used.
    pub kind: Kind,
    /// How often; at least once.
    pub count: u64,
    /// When.
    pub occurred_at: Time,
}

/// Why a record is not taken. Sending it again changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no JSON object of the fields it must have.
    #[error("it is no usage record")]
    Malformed,
    /// It says nothing.
    #[error("its count is 0")]
    Nothing,
    /// It comes too late.
    #[error("it occurred more than 35 days ago")]
    Late,
    /// It has not happened yet.
    #[error("it occurred more than 5 minutes ahead")]
    Ahead,
    /// There is no such workspace.
    #[error("its workspace does not exist")]
    UnknownWorkspace,
}

/// A record that is not taken, as the log tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its id, where that could be read.
    pub id: Option<RecordId>,
    /// Why.
    pub reason: Refusal,
}

/// What is left of a record whose other fields are not as they must be.
#[derive(Deserialize)]
struct Named {
    id: String,
}

/// A record as it is sent. Unknown fields are ignored.
#[derive(Deserialize)]
struct Sent {
    id: String,
    workspace_id: String,
    kind: Kind,
    count: u64,
    occurred_at: String,
}

impl UsageRecord {
    /// Reads a record, and decides whether it is in time.
    pub fn parse(text: &str, now: Time) -> Result<Self, Refused> {
        Self::read(text, now).map_err(|reason| Refused {
            id: id_of(text),
            reason,
        })
    }

    fn read(text: &str, now: Time) -> Result<Self, Refusal> {
        // A list of the same values would be read as the fields in their order.
        if !text.trim_start().starts_with('{') {
            return Err(Refusal::Malformed);
        }
        let sent: Sent = serde_json::from_str(text).map_err(|_| Refusal::Malformed)?;
        let record = Self {
            id: sent.id.parse().map_err(|_| Refusal::Malformed)?,
            workspace_id: sent.workspace_id.parse().map_err(|_| Refusal::Malformed)?,
            kind: sent.kind,
            count: sent.count,
            occurred_at: sent.occurred_at.parse().map_err(|_| Refusal::Malformed)?,
        };
        if record.count == 0 {
            return Err(Refusal::Nothing);
        }
        if now.since(record.occurred_at) > LATE_MAX {
            return Err(Refusal::Late);
        }
        if record.occurred_at.since(now) > AHEAD_MAX {
            return Err(Refusal::Ahead);
        }
        Ok(record)
    }

    /// What it adds.
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

/// The id of what may be no record otherwise. It is a UUID, so that nothing else of the text comes along.
fn id_of(text: &str) -> Option<RecordId> {
    let object = Some(text).filter(|text| text.trim_start().starts_with('{'))?;
    let Named { id } = serde_json::from_str(object).ok()?;
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
    fn an_id_in_capitals_and_a_time_with_an_offset_are_the_same_record() {
        let plain = parsed("id", &json!(ID)).unwrap();
        assert_eq!(parsed("id", &json!(ID.to_uppercase())).unwrap(), plain);
        assert_eq!(
            parsed("occurred_at", &json!("2026-03-31T13:30:00+02:30")).unwrap(),
            plain
        );
    }

    #[test]
    fn what_is_no_record_is_malformed() {
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
    fn a_count_is_any_whole_number_from_one() {
        assert_eq!(parsed("count", &json!(0)), Err(Refusal::Nothing));
        assert_eq!(
            parsed("count", &json!(u64::MAX)).unwrap().usage().location_events,
            u128::from(u64::MAX)
        );
    }

    #[test]
    fn a_record_is_taken_from_35_days_back_to_5_minutes_ahead() {
        let at = |time: Time| parsed("occurred_at", &json!(time)).map(|_| ());
        let millisecond = Duration::from_millis(1);
        assert_eq!(at(now().minus(LATE_MAX)), Ok(()));
        assert_eq!(at(now().minus(LATE_MAX).minus(millisecond)), Err(Refusal::Late));
        assert_eq!(at(now().plus(AHEAD_MAX)), Ok(()));
        assert_eq!(at(now().plus(AHEAD_MAX).plus(millisecond)), Err(Refusal::Ahead));
    }
}
