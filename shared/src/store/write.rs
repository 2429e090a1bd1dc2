//! Writes and transactions.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    Update,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tries::Tries;
use super::{ENTITY, Item, Key, LAST_WRITE, Store, key_item, parse, table};
use crate::clock::Time;
use crate::error::Error;

/// One write of a transaction. Expressions name attributes as `#name`; [`Write::bind`] gives the values.
#[derive(Clone, Debug)]
pub struct Write {
    key: Key,
    kind: Kind,
    condition: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    fault: Option<String>,
}

#[derive(Clone, Debug)]
enum Kind {
    Put(Item),
    Update(String),
    Delete,
    Check,
}

impl Write {
    fn new(key: Key, kind: Kind) -> Self {
        Self {
            key,
            kind,
            condition: Vec::new(),
            names: HashMap::new(),
            values: HashMap::new(),
            fault: None,
        }
    }

    /// Puts `value` under `key`.
    #[must_use]
    pub fn put(entity: &str, key: Key, value: &impl Serialize) -> Self {
        let (mut item, fault) = match serde_dynamo::to_item::<_, Item>(value) {
            Ok(item) => (item, None),
            Err(error) => (Item::new(), Some(format!("{entity}: {error}"))),
        };
        item.retain(|_, value| !value.is_null());
        item.extend(key_item(&key));
        item.insert(ENTITY.to_owned(), AttributeValue::S(entity.to_owned()));
        Self {
            fault,
            ..Self::new(key, Kind::Put(item))
        }
    }

    /// Puts `value` under `key`, which must be free.
    #[must_use]
    pub fn create(entity: &str, key: Key, value: &impl Serialize) -> Self {
        Self::put(entity, key, value).when("attribute_not_exists(#pk)")
    }

    /// Updates the item of `key`, which must exist.
    #[must_use]
    pub fn update(key: Key, expression: &str) -> Self {
        Self::upsert(key, expression).when("attribute_exists(#pk)")
    }

    /// Updates the item of `key`, or makes it.
    #[must_use]
    pub fn upsert(key: Key, expression: &str) -> Self {
        let mut write = Self::new(key, Kind::Update(expression.to_owned()));
        write.name_all(expression);
        write
    }

    /// Deletes the item of `key`, which must exist.
    #[must_use]
    pub fn delete(key: Key) -> Self {
        Self::new(key, Kind::Delete).when("attribute_exists(#pk)")
    }

    /// Writes nothing; the transaction holds only when the item of `key` meets `condition`.
    #[must_use]
    pub fn check(key: Key, condition: &str) -> Self {
        Self::new(key, Kind::Check).when(condition)
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, condition: &str) -> Self {
        self.name_all(condition);
        self.condition.push(format!("({condition})"));
        self
    }

    /// Adds assignments to an update whose expression begins with `SET`.
    #[must_use]
    pub(super) fn also_set(mut self, assignments: &str) -> Self {
        self.name_all(assignments);
        if let Kind::Update(expression) = &mut self.kind {
            let rest = expression.strip_prefix("SET ").unwrap_or(expression);
            *expression = format!("SET {assignments}, {rest}");
        }
        self
    }

    /// Lets an update of one item leave `id` on it, so that a try whose answer was lost is known by it and not made again.
    fn stamped(mut self, id: &str) -> Self {
        if let Kind::Update(expression) = &mut self.kind {
            let set = format!("SET #{LAST_WRITE} = :write_id");
            *expression = match expression.strip_prefix("SET ") {
                Some(rest) => format!("{set}, {rest}"),
                None => format!("{set} {expression}"),
            };
        }
        self.name_all(&format!("#{LAST_WRITE}"));
        self.when(&format!(
            "attribute_not_exists(#{LAST_WRITE}) OR #{LAST_WRITE} <> :write_id"
        ))
        .bind_raw(":write_id", AttributeValue::S(id.to_owned()))
    }

    /// Gives the value of a `:name`.
    #[must_use]
    pub fn bind(self, name: &str, value: impl Serialize) -> Self {
        self.bind_value(name, serde_dynamo::to_attribute_value(value))
    }

    /// As [`Write::bind`], with a value that was converted before.
    #[must_use]
    pub(super) fn bind_value(mut self, name: &str, value: Result<AttributeValue, serde_dynamo::Error>) -> Self {
        match value {
            Ok(value) => {
                self.values.insert(name.to_owned(), value);
            }
            Err(error) => self.fault = Some(format!("{name}: {error}")),
        }
        self
    }

    /// As [`Write::bind`], with a value as the table holds it.
    #[must_use]
    pub(super) fn bind_raw(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// Lets `#placeholder` stand for an attribute whose name is data, such as a map's key.
    #[must_use]
    pub fn name(mut self, placeholder: &str, attribute: impl Into<String>) -> Self {
        self.names.insert(placeholder.to_owned(), attribute.into());
        self
    }

    /// Adds an attribute of the table's own (an index key) to an item that is put.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl Into<String>) -> Self {
        if let Kind::Put(item) = &mut self.kind {
            item.insert(attribute.to_owned(), AttributeValue::S(value.into()));
        }
        self
    }

    /// Adds an attribute to an item that is put, as the table holds it.
    #[must_use]
    pub(super) fn set(mut self, attribute: &str, value: AttributeValue) -> Self {
        if let Kind::Put(item) = &mut self.kind {
            item.insert(attribute.to_owned(), value);
        }
        self
    }

    /// Lets the table remove the item some time after `at`.
    #[must_use]
    pub fn expiring(mut self, at: Time) -> Self {
        if let Kind::Put(item) = &mut self.kind {
            item.insert(table::TTL.to_owned(), AttributeValue::N(at.as_seconds().to_string()));
        }
        self
    }

    fn name_all(&mut self, expression: &str) {
        for placeholder in placeholders(expression) {
            self.names
                .entry(format!("#{placeholder}"))
                .or_insert_with(|| placeholder.to_owned());
        }
    }

    fn condition(&self) -> Option<String> {
        (!self.condition.is_empty()).then(|| self.condition.join(" AND "))
    }

    fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    fn into_transact_item(self, table: &str) -> Result<TransactWriteItem, Error> {
        if let Some(fault) = self.fault {
            return Err(Error::Internal(format!("a value could not be written: {fault}")));
        }
        let (condition, names, values) = (self.condition(), self.names(), self.values());
        let invalid = |error: aws_sdk_dynamodb::error::BuildError| Error::Internal(format!("transaction: {error}"));
        let item = TransactWriteItem::builder();
        let item = match self.kind {
            Kind::Put(value) => item.put(
                Put::builder()
                    .table_name(table)
                    .set_item(Some(value))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(invalid)?,
            ),
            Kind::Update(expression) => item.update(
                Update::builder()
                    .table_name(table)
                    .set_key(Some(key_item(&self.key)))
                    .update_expression(expression)
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(invalid)?,
            ),
            Kind::Delete => item.delete(
                Delete::builder()
                    .table_name(table)
                    .set_key(Some(key_item(&self.key)))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(invalid)?,
            ),
            Kind::Check => item.condition_check(
                ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(key_item(&self.key)))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(invalid)?,
            ),
        };
        Ok(item.build())
    }
}

/// The `name`s that stand as `#name` in an expression.
fn placeholders(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split('#')
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
        .filter(|name| !name.is_empty())
}

/// Writes that happen together or not at all: at most 100, each on another item.
#[derive(Debug, Default)]
pub struct Writes(Vec<Write>);

impl Writes {
    /// No writes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write.
    #[must_use]
    pub fn and(mut self, write: Write) -> Self {
        self.0.push(write);
        self
    }

    /// Adds a write, if there is one.
    #[must_use]
    pub fn maybe(mut self, write: Option<Write>) -> Self {
        self.0.extend(write);
        self
    }

    /// Adds several writes.
    #[must_use]
    pub fn all(mut self, writes: impl IntoIterator<Item = Write>) -> Self {
        self.0.extend(writes);
        self
    }
}

impl Store {
    /// Commits a transaction. [`Error::Stale`] when a condition did not hold.
    ///
    /// Every try carries one client request token, so that trying again tells what became of a try whose answer was
    /// lost: was it applied, the table answers success and applies nothing twice, even when a condition would not hold
    /// any more ("multiple identical calls have the same effect as one single call", for 10 minutes; API reference of
    /// `TransactWriteItems`, `ClientRequestToken`). So a failed condition always means that none of the tries was applied.
    pub async fn commit(&self, writes: Writes) -> Result<(), Error> {
        match self.commit_or_failed(writes).await?.as_slice() {
            [] => Ok(()),
            _ => Err(Error::Stale),
        }
    }

    /// As [`Store::commit`], but answers the places of the writes whose conditions did not hold; none when it is
    /// committed.
    pub(super) async fn commit_or_failed(&self, writes: Writes) -> Result<Vec<usize>, Error> {
        let items = writes
            .0
            .into_iter()
            .map(|write| write.into_transact_item(&self.table))
            .collect::<Result<Vec<_>, _>>()?;
        let token = uuid::Uuid::from_bytes(crate::ids::random_bytes()).to_string();
        let mut tries = Tries::of("TransactWriteItems");
        loop {
            let sending = self
                .writer
                .transact_write_items()
                .set_transact_items(Some(items.clone()))
                .client_request_token(&token)
                .send();
            let Err(error) = tries.attempt(sending).await? else {
                return Ok(Vec::new());
            };
            if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
                let codes: Vec<&str> = cancelled
                    .cancellation_reasons()
                    .iter()
                    .map(|reason| reason.code().unwrap_or_default())
                    .collect();
                let failed: Vec<usize> = (0..codes.len())
                    .filter(|place| codes[*place] == "ConditionalCheckFailed")
                    .collect();
                if !failed.is_empty() {
                    return Ok(failed);
                }
                if codes.contains(&"ValidationError") || codes.contains(&"ItemCollectionSizeLimitExceeded") {
                    return Err(Error::Internal("TransactWriteItems: an item was not valid".to_owned()));
                }
            }
            tries.again(&error).await?;
        }
    }

    /// Updates one item and answers it as it is then; where a condition did not hold, the item as it stood.
    ///
    /// The update leaves an id of its own on the item. A try that finds it there was applied before, its answer being
    /// lost, and is not applied again. Only another update between the two tries hides it; so updates say in
    /// their condition what they were decided on.
    pub async fn update_one<T: DeserializeOwned>(&self, write: Write) -> Result<T, UpdateError> {
        let id = URL_SAFE_NO_PAD.encode(crate::ids::random_bytes::<12>());
        let write = write.stamped(&id);
        let Kind::Update(expression) = &write.kind else {
            return Err(Error::Internal("update_one takes an update".to_owned()).into());
        };
        if let Some(fault) = &write.fault {
            return Err(Error::Internal(format!("a value could not be written: {fault}")).into());
        }
        let update = self
            .writer
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key_item(&write.key)))
            .update_expression(expression)
            .set_condition_expression(write.condition())
            .set_expression_attribute_names(write.names())
            .set_expression_attribute_values(write.values())
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut tries = Tries::of("UpdateItem");
        loop {
            let error = match tries.attempt(update.clone().send()).await? {
                Ok(answer) => return Ok(parse(answer.attributes.unwrap_or_default())?),
                Err(error) => error,
            };
            if let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() {
                return match &failed.item {
                    Some(item) if item.get(LAST_WRITE) == Some(&AttributeValue::S(id)) => Ok(parse(item.clone())?),
                    item => Err(UpdateError::Condition(item.clone())),
                };
            }
            tries.again(&error).await?;
        }
    }
}

/// Why one update did not happen.
#[derive(Debug)]
pub enum UpdateError {
    /// The condition did not hold; the item as it stood, if there was one.
    Condition(Option<Item>),
    /// Something else.
    Other(Error),
}

impl From<Error> for UpdateError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<UpdateError> for Error {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Condition(_) => Self::Stale,
            UpdateError::Other(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_in_paths_and_functions() {
        let found: Vec<_> = placeholders("SET #a.#b_2 = if_not_exists(#c, :v) REMOVE #d").collect();
        assert_eq!(found, ["a", "b_2", "c", "d"]);
    }
}
