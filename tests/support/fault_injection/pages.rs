//! Incomplete responses: unprocessed keys, short pages and a lagging index.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use serde_json::{Value, json};
use shared::store::table;

use super::Keys;

/// The last page of a query on the index, by partition.
pub type LastIndexPages = HashMap<String, Vec<HashMap<String, AttributeValue>>>;

/// The kind of lag of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lag {
    /// The query returns the page of the previous query.
    Behind,
    /// Some items are missing.
    Patchy,
}

/// The partition of a query on the index.
pub fn index_partition(body: &Value) -> Option<String> {
    body["IndexName"].as_str()?;
    let mut values = body["ExpressionAttributeValues"].as_object()?.iter();
    let (_, partition) = values.find(|(name, _)| *name != ":until")?;
    partition["S"].as_str().map(str::to_owned)
}

/// The response to a query whose page ended before its first item.
pub fn empty_page(body: &Value) -> Value {
    json!({"Items": [], "Count": 0, "ScannedCount": 0, "LastEvaluatedKey": start_key(body)})
}

/// A start key before the first item of the range of a query.
fn start_key(body: &Value) -> Value {
    if body["ExclusiveStartKey"].is_object() {
        return body["ExclusiveStartKey"].clone();
    }
    let values = &body["ExpressionAttributeValues"];
    let prefix = values[":prefix"]["S"].as_str();
    let edge = match (prefix, body["ScanIndexForward"] == false) {
        (Some(prefix), true) => format!("{prefix}\u{10ffff}"),
        (Some(prefix), false) => prefix.to_owned(),
        (None, true) => "\u{10ffff}".to_owned(),
        (None, false) => " ".to_owned(),
    };
    match index_partition(body) {
        Some(partition) => json!({
            table::PK: {"S": " "}, table::SK: {"S": " "},
            table::INDEX_PK: {"S": partition}, table::INDEX_SK: {"S": edge},
        }),
        None => json!({table::PK: values[":pk"], table::SK: {"S": edge}}),
    }
}

/// Makes the output of an index query lag, and updates `last_pages`.
pub fn lag(output: &mut QueryOutput, lag: Option<Lag>, partition: &str, last_pages: &mut LastIndexPages) {
    let is_whole = output.last_evaluated_key.is_none();
    let items = output.items.get_or_insert_default();
    match lag {
        Some(Lag::Behind) if is_whole => {
            *items = last_pages
                .insert(partition.to_owned(), items.clone())
                .unwrap_or_default();
        }
        Some(_) => {
            let mut index = 0;
            items.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
        None if is_whole => {
            last_pages.insert(partition.to_owned(), items.clone());
        }
        None => {}
    }
    output.count = i32::try_from(items.len()).unwrap();
}

pub fn withheld(body: &Value, which: Keys) -> Vec<(String, HashMap<String, AttributeValue>)> {
    let mut keys = Vec::new();
    for (table, asked) in body["RequestItems"].as_object().unwrap() {
        for (index, key) in asked["Keys"].as_array().unwrap().iter().enumerate() {
            let is_withheld = match which {
                Keys::All => true,
                Keys::Some => index % 2 == 0,
                Keys::Of(beginning) => key["pk"]["S"].as_str().unwrap().starts_with(beginning),
            };
            if is_withheld {
                let text = |value: &Value| AttributeValue::S(value["S"].as_str().unwrap().to_owned());
                let key = key.as_object().unwrap().iter();
                keys.push((
                    table.clone(),
                    key.map(|(name, value)| (name.clone(), text(value))).collect(),
                ));
            }
        }
    }
    keys
}

pub fn withhold(output: &mut BatchGetItemOutput, withheld: &[(String, HashMap<String, AttributeValue>)]) {
    for (table, key) in withheld {
        let returned = output
            .responses
            .get_or_insert_default()
            .entry(table.clone())
            .or_default();
        returned.retain(|item| key.iter().any(|(name, value)| item.get(name) != Some(value)));
        let left = output.unprocessed_keys.get_or_insert_default();
        let keys = left.remove(table).map(|left| left.keys).unwrap_or_default();
        let keys = keys.into_iter().chain([key.clone()]).collect();
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
        left.insert(table.clone(), keys.build().unwrap());
    }
}
