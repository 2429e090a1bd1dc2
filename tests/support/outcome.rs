//! The lasting effect of a call, for the comparison with the effect in another world.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::clock::Time;

use crate::support::harness::World;
use crate::support::invariants;

/// The mails by recipient and subject, and the items by key.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub mails: Vec<String>,
    pub items: BTreeMap<String, Value>,
}

impl Outcome {
    pub async fn of(world: &World) -> Self {
        let table = invariants::read(world).await;
        invariants::assert_hold(&table);
        let mut items = BTreeMap::new();
        for ((pk, sk), item) in table {
            let item = lasting(item);
            match item["entity"].as_str().unwrap() {
                // The split of a counter is random.
                "usage-hour" | "usage-dirty-marker" => {
                    let (hour, _) = sk.rsplit_once('#').unwrap();
                    let so_far = items.remove(&format!("{pk} {hour}"));
                    items.insert(format!("{pk} {hour}"), together(so_far, item));
                }
                _ => {
                    items.insert(format!("{pk} {sk}"), item);
                }
            }
        }
        let mails = world.mailbox.mails().into_iter();
        let mut mails: Vec<String> = mails.map(|mail| format!("{}: {}", mail.to, mail.subject)).collect();
        mails.sort();
        Self { mails, items }
    }

    /// Describes the differences.
    pub fn differs(&self, other: &Self) -> Option<String> {
        let keys: BTreeSet<_> = self.items.keys().chain(other.items.keys()).collect();
        let items = keys.into_iter().filter_map(|key| {
            let (here, there) = (self.items.get(key), other.items.get(key));
            (here != there).then(|| format!("{key}: {here:?}, not {there:?}"))
        });
        let mails = (self.mails != other.mails).then(|| format!("mails {:?}, not {:?}", self.mails, other.mails));
        let all: Vec<String> = items.chain(mails).collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }
}

/// An item without its random and time-dependent values.
fn lasting(mut item: Value) -> Value {
    let fields = item.as_object_mut().unwrap();
    for random in ["last_write", "version", "revision", "pk", "sk", "ttl"] {
        fields.remove(random);
    }
    for value in fields.values_mut() {
        still(value);
    }
    item
}

fn still(value: &mut Value) {
    match value {
        Value::String(text) => {
            // A sort key of the due mails begins with a time.
            let beginning = text.split('#').next().unwrap_or_default();
            if beginning.parse::<Time>().is_ok() {
                *text = text.replacen(beginning, "then", 1);
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(still),
        _ => {}
    }
}

/// Merges two splits of one counter, or two dirty markers of one workspace.
fn together(so_far: Option<Value>, item: Value) -> Value {
    let Some(mut sum) = so_far else { return item };
    for name in ["location_events", "action_deliveries"] {
        if let (Some(one), Some(other)) = (sum[name].as_u64(), item[name].as_u64()) {
            sum[name] = json!(one + other);
        }
    }
    if let (Some(one), Some(other)) = (sum["days"].as_array(), item["days"].as_array()) {
        let days: BTreeSet<&str> = one.iter().chain(other).filter_map(Value::as_str).collect();
        sum["days"] = json!(days);
    }
    sum
}
