//! Due entries: the entries of a sparse index that lists the mails to be sent. The index lags behind the table, so the
//! claim on the item itself decides whether a mail is sent.

use aws_sdk_dynamodb::types::AttributeValue;

use super::keys::{DUE, due_until};
use super::{Item, Key, Unproven, WithinDeadline, key_of, table};
use crate::clock::Time;
use crate::error::Error;

/// The entries of one page.
const PAGE_MAX: i32 = 100;

/// A due entry.
#[derive(Clone, Debug)]
pub struct Due {
    /// The item whose mail is due.
    pub key: Key,
    /// The sort key in the index. A different sort key on the item means that a concurrent worker claimed the mail.
    pub index_key: String,
}

/// A page of due entries, the oldest first.
#[derive(Debug)]
pub struct DuePage {
    /// The entries.
    pub entries: Vec<Due>,
    /// The position of the next page, if there is one.
    pub next: Option<DuePosition>,
}

/// The position at which a page starts.
#[derive(Clone, Debug)]
pub struct DuePosition(Item);

impl Unproven<'_> {
    /// Reads a page of the entries that are due at `now`.
    pub async fn due_page(self, now: Time, from: Option<DuePosition>) -> Result<DuePage, Error> {
        let page = self
            .store
            .client
            .query()
            .table_name(&self.store.table)
            .index_name(table::INDEX)
            .key_condition_expression("#pk = :due AND #sk < :until")
            .expression_attribute_names("#pk", table::INDEX_PK)
            .expression_attribute_names("#sk", table::INDEX_SK)
            .expression_attribute_values(":due", AttributeValue::S(DUE.to_owned()))
            .expression_attribute_values(":until", AttributeValue::S(due_until(now)))
            .set_exclusive_start_key(from.map(|DuePosition(start)| start))
            .limit(PAGE_MAX)
            .send()
            .within_deadline("Query")
            .await?;
        let entry = |item: &Item| {
            Some(Due {
                key: key_of(item)?,
                index_key: item.get(table::INDEX_SK)?.as_s().ok()?.clone(),
            })
        };
        Ok(DuePage {
            entries: page.items.unwrap_or_default().iter().filter_map(entry).collect(),
            next: page.last_evaluated_key.map(DuePosition),
        })
    }
}
