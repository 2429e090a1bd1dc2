//! The table: reading items, writing them in transactions, deciding again when somebody else was faster.
//!
//! One file an entity holds that entity's accesses; `docs/table.md` lists them all.

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

pub(crate) use attempts::describe;
pub use keys::Key;
pub use write::{Write, Writes};

/// An item as the table holds it.
pub type Item = HashMap<String, AttributeValue>;

/// The table.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    /// As `client`, without retries of the SDK's own.
    writer: Client,
    table: String,
}

impl Store {
    /// The table `table`, reached through `client`.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        let once = client.config().to_builder().retry_config(RetryConfig::disabled());
        Self {
            writer: Client::from_conf(once.build()),
            client,
            table,
        }
    }

    /// The client, for tools that look at the table.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The table's name.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Opens the connection with one cheap read, so that the first request does not wait for it.
    pub async fn warm(&self) -> Result<(), Error> {
        self.get(vec![Key::jwks()]).await.map(|_| ())
    }

    /// Reads up to 100 items in one strongly consistent call. Keys the table left unprocessed are asked for again;
    /// when some stay so, the answer is [`Error::Unavailable`], never a partial one.
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
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, request)
                .send()
                .within_deadline("BatchGetItem")
                .await?;
            for item in answer
                .responses
                .unwrap_or_default()
                .remove(&self.table)
                .unwrap_or_default()
            {
                if let Some(key) = key_of(&item) {
                    found.insert(key, item);
                }
            }
            wanted = answer
                .unprocessed_keys
                .unwrap_or_default()
                .remove(&self.table)
                .map(|rest| rest.keys)
                .unwrap_or_default();
        }
        Err(Error::Unavailable("BatchGetItem left keys unprocessed".to_owned()))
    }
}

/// Items that were read together.
#[derive(Debug, Default)]
pub struct Items(HashMap<Key, Item>);

impl Items {
    /// The item of `key`, as `T`; none when there is none.
    pub fn take<T: DeserializeOwned>(&mut self, key: &Key) -> Result<Option<T>, Error> {
        self.0.remove(key).map(|item| parse(item)).transpose()
    }

    /// As [`Items::take`], leaving the item for another reader.
    pub fn peek<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Error> {
        self.0.get(key).cloned().map(parse).transpose()
    }

    /// Whether there is an item of `key`.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// Adds what was read elsewhere.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// Reads an item as `T`; an item that is not one is a fault of this program, not of the request.
pub(crate) fn parse<T: DeserializeOwned>(mut item: Item) -> Result<T, Error> {
    for own in [
        table::PK,
        table::SK,
        table::INDEX_PK,
        table::INDEX_SK,
        table::TTL,
        ENTITY,
        LAST_WRITE,
    ] {
        item.remove(own);
    }
    serde_dynamo::from_item(item).map_err(|error| Error::Internal(format!("an item is not what it should be: {error}")))
}

/// The attribute that says what an item is.
pub const ENTITY: &str = "entity";
/// The attribute by which an update of one item knows that it was applied before.
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

/// Decides, and decides again from a fresh read for as long as the answer is [`Error::Stale`] and the request's deadline
/// is not reached: somebody changed what was read before the write came. The rule gives the good message, the condition
/// the truth.
pub async fn retry_on_conflict<T, F: Future<Output = Result<T, Error>>>(
    mut decide: impl FnMut() -> F,
) -> Result<T, Error> {
    let deadline = Deadline::current();
    let mut attempt = 0;
    loop {
        match decide().await {
            Err(Error::Stale) => {}
            settled => return settled,
        }
        attempt += 1;
        pause(attempt, deadline).await?;
    }
}
