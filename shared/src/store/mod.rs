//! The table: reads of items, and writes that are committed in transactions.
//!
//! Each entity has one file with its reads and writes; `docs/table.md` lists them all.
//!
//! # Proof of access
//!
//! An operation on a tenant's items takes a proof of access ([`Access`], [`Tenant`], [`Identity`], or an
//! [`InvitationContext`](invitation::InvitationContext) for the holder of an invitation's link). Outside of this crate, the
//! [`Key`] of a tenant's item is made from a [`Tenant`], too. The operations that need no proof are the methods of
//! [`Unproven`], and [`unproven`] lists them.
//!
//! [`Access`]: crate::auth::access::Access
//! [`Tenant`]: crate::auth::access::Tenant
//! [`Identity`]: crate::auth::access::Identity

pub mod account;
pub mod admitted;
mod attempts;
pub mod cursor;
pub mod due;
pub mod idempotency;
pub mod invitation;
pub mod jwks;
pub mod keys;
pub mod limit;
pub mod member;
pub mod notice;
pub mod table;
pub mod unproven;
pub mod usage;
pub mod workspace;
mod write;

use std::collections::HashMap;
use std::future::Future;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use serde::de::DeserializeOwned;

use crate::deadline::Deadline;
use crate::error::Error;
use attempts::{ATTEMPTS_MAX, WithinDeadline, pause};

pub use keys::Key;
pub use unproven::Unproven;
pub(crate) use write::{Write, Writes};

/// An item in DynamoDB's form.
pub type Item = HashMap<String, AttributeValue>;

/// The DynamoDB table.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    /// The same client without the SDK's retries.
    writer: Client,
    table: String,
}

impl Store {
    /// The table that is named `table`, called through `client`.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        let without_retries = client.config().to_builder().retry_config(RetryConfig::disabled());
        Self {
            writer: Client::from_conf(without_retries.build()),
            client,
            table,
        }
    }

    /// The client, for tests and for the local stack. Functions must not use it: it bypasses the proofs of access.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The name of the table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Reads up to 100 items in one strongly consistent call. A key is the permission to read its item. Keys that the table
    /// left unprocessed are requested again; when keys remain unprocessed, the result is [`Error::Unavailable`] and never
    /// a part of the items. The items are not a snapshot: a concurrent transaction can be visible in some of them only.
    pub async fn get(&self, mut keys: Vec<Key>) -> Result<Items, Error> {
        keys.sort();
        keys.dedup();
        let mut found = HashMap::with_capacity(keys.len());
        let mut wanted: Vec<Item> = keys.iter().map(key_item).collect();
        let deadline = Deadline::current();
        for attempt in 0..ATTEMPTS_MAX {
            if wanted.is_empty() {
                return Ok(Items(found));
            }
            if attempt > 0 {
                pause(attempt, deadline).await?;
            }
            let request = KeysAndAttributes::builder()
                .set_keys(Some(wanted))
                .consistent_read(true)
                .build()
                .map_err(|error| Error::Internal(format!("BatchGetItem: {error}")))?;
            let response = self
                .client
                .batch_get_item()
                .request_items(&self.table, request)
                .send()
                .within_deadline("BatchGetItem")
                .await?;
            for item in response
                .responses
                .unwrap_or_default()
                .remove(&self.table)
                .unwrap_or_default()
            {
                if let Some(key) = key_of(&item) {
                    found.insert(key, item);
                }
            }
            wanted = response
                .unprocessed_keys
                .unwrap_or_default()
                .remove(&self.table)
                .map(|rest| rest.keys)
                .unwrap_or_default();
        }
        Err(Error::Unavailable("BatchGetItem left keys unprocessed".to_owned()))
    }
}

/// The items of one batch read.
#[derive(Debug, Default)]
pub struct Items(HashMap<Key, Item>);

impl Items {
    /// Removes the item of `key` and parses it; none when the table has no such item.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &Key) -> Result<Option<T>, Error> {
        self.0.remove(key).map(|item| parse(item)).transpose()
    }

    /// Parses the item of `key` and keeps it; none when the table has no such item.
    pub(crate) fn peek<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Error> {
        self.0.get(key).cloned().map(parse).transpose()
    }

    /// Whether the table has an item of `key`.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// Adds the items of another read. Those of `other` replace items of the same keys.
    #[must_use]
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// Parses an item. A failure is a fault of this program and not of the request.
pub(crate) fn parse<T: DeserializeOwned>(mut item: Item) -> Result<T, Error> {
    for attribute in [
        table::PK,
        table::SK,
        table::INDEX_PK,
        table::INDEX_SK,
        table::TTL,
        ENTITY,
        LAST_WRITE,
    ] {
        item.remove(attribute);
    }
    serde_dynamo::from_item(item).map_err(|error| Error::Internal(format!("an item has an unexpected form: {error}")))
}

/// The attribute that names the entity of an item.
const ENTITY: &str = "entity";
/// The attribute that holds the id of the last write, by which an attempt recognizes an earlier attempt of the same write.
const LAST_WRITE: &str = "last_write";

fn key_item(key: &Key) -> Item {
    HashMap::from([
        (table::PK.to_owned(), AttributeValue::S(key.pk.clone())),
        (table::SK.to_owned(), AttributeValue::S(key.sk.clone())),
    ])
}

fn key_of(item: &Item) -> Option<Key> {
    let text = |name: &str| item.get(name)?.as_s().ok().cloned();
    Some(Key {
        pk: text(table::PK)?,
        sk: text(table::SK)?,
    })
}

/// Runs `decide` again from a fresh read while it fails with [`Error::Stale`], until the request's deadline. A write is
/// stale when a concurrent write changed what the decision was based on. The rules in [`crate::models`] yield the precise
/// error; the condition of the write keeps the rule true under concurrency.
pub async fn retry_on_conflict<T, F: Future<Output = Result<T, Error>>>(
    mut decide: impl FnMut() -> F,
) -> Result<T, Error> {
    let deadline = Deadline::current();
    let mut attempt = 0;
    loop {
        match decide().await {
            Err(Error::Stale) => {}
            result => return result,
        }
        attempt += 1;
        pause(attempt, deadline).await?;
    }
}
