//! Writes of single items, and the transactions that are built from them.

mod commit;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update};
use serde::Serialize;

use super::{ENTITY, Item, Key, LAST_WRITE, key_item, table};
use crate::clock::Time;
use crate::error::Error;

pub(super) use commit::UpdateError;

/// One write of a transaction. Expressions name attributes as `#name` and values as `:name`; [`Write::bind`] sets the values.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    key: Key,
    kind: Kind,
    condition: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    invalid: Option<String>,
    skips_read_back: bool,
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
            invalid: None,
            skips_read_back: false,
        }
    }

    /// Puts `value` under `key`, replacing an item that exists.
    #[must_use]
    pub(crate) fn put(entity: &str, key: Key, value: &impl Serialize) -> Self {
        let (mut item, invalid) = match serde_dynamo::to_item::<_, Item>(value) {
            Ok(item) => (item, None),
            Err(error) => (Item::new(), Some(format!("{entity}: {error}"))),
        };
        item.retain(|_, value| !value.is_null());
        item.extend(key_item(&key));
        item.insert(ENTITY.to_owned(), AttributeValue::S(entity.to_owned()));
        Self {
            invalid,
            ..Self::new(key, Kind::Put(item))
        }
    }

    /// Puts `value` under `key`, which must not exist.
    #[must_use]
    pub(crate) fn create(entity: &str, key: Key, value: &impl Serialize) -> Self {
        Self::put(entity, key, value).when("attribute_not_exists(#pk)")
    }

    /// Updates the item of `key`, which must exist.
    #[must_use]
    pub(crate) fn update(key: Key, expression: &str) -> Self {
        Self::upsert(key, expression).when("attribute_exists(#pk)")
    }

    /// Updates the item of `key`, creating it if it does not exist.
    #[must_use]
    pub(crate) fn upsert(key: Key, expression: &str) -> Self {
        let mut write = Self::new(key, Kind::Update(expression.to_owned()));
        write.name_all(expression);
        write
    }

    /// Deletes the item of `key`, which must exist.
    #[must_use]
    pub(crate) fn delete(key: Key) -> Self {
        Self::new(key, Kind::Delete).when("attribute_exists(#pk)")
    }

    /// Writes nothing. The transaction fails unless the item of `key` meets `condition`.
    #[must_use]
    pub(crate) fn check(key: Key, condition: &str) -> Self {
        Self::new(key, Kind::Check).when(condition)
    }

    /// Adds a condition. All conditions of a write must hold.
    #[must_use]
    pub(crate) fn when(mut self, condition: &str) -> Self {
        self.name_all(condition);
        self.condition.push(format!("({condition})"));
        self
    }

    /// Adds assignments to an update whose expression starts with `SET`.
    #[must_use]
    pub(super) fn also_set(mut self, assignments: &str) -> Self {
        self.name_all(assignments);
        if let Kind::Update(expression) = &mut self.kind {
            let rest = expression.strip_prefix("SET ").unwrap_or(expression);
            *expression = format!("SET {assignments}, {rest}");
        }
        self
    }

    /// Skips the read back when the outcome of the write is unknown. This is for a write whose trigger repeats it, in a
    /// function that has no permission to read the item.
    #[must_use]
    pub(super) fn without_read_back(mut self) -> Self {
        self.skips_read_back = true;
        self
    }

    /// Sets `last_write` of the item to `id`, which shows later that the write was applied.
    fn stamped(mut self, id: &str) -> Self {
        let stamp = AttributeValue::S(id.to_owned());
        match &mut self.kind {
            Kind::Put(item) => {
                item.insert(LAST_WRITE.to_owned(), stamp);
                self
            }
            Kind::Update(expression) => {
                let set = format!("SET #{LAST_WRITE} = :write_id");
                *expression = match expression.strip_prefix("SET ") {
                    Some(rest) => format!("{set}, {rest}"),
                    None => format!("{set} {expression}"),
                };
                self.name_all(&format!("#{LAST_WRITE}"));
                self.bind_raw(":write_id", stamp)
            }
            Kind::Delete | Kind::Check => self,
        }
    }

    /// As [`Write::stamped`], for an update outside of a transaction. The condition keeps a second attempt from applying the
    /// update again when the response to the first one was lost.
    fn stamped_once(self, id: &str) -> Self {
        self.stamped(id).when(&format!(
            "attribute_not_exists(#{LAST_WRITE}) OR #{LAST_WRITE} <> :write_id"
        ))
    }

    /// Sets the value of a `:name`.
    #[must_use]
    pub(crate) fn bind(self, name: &str, value: impl Serialize) -> Self {
        self.bind_value(name, serde_dynamo::to_attribute_value(value))
    }

    /// As [`Write::bind`], with the result of a conversion.
    #[must_use]
    pub(super) fn bind_value(mut self, name: &str, value: Result<AttributeValue, serde_dynamo::Error>) -> Self {
        match value {
            Ok(value) => {
                self.values.insert(name.to_owned(), value);
            }
            Err(error) => self.invalid = Some(format!("{name}: {error}")),
        }
        self
    }

    /// As [`Write::bind`], with a value in DynamoDB's form.
    #[must_use]
    pub(super) fn bind_raw(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// Sets the attribute of a `#placeholder` whose name is data, such as the key of a map.
    #[must_use]
    pub(crate) fn name(mut self, placeholder: &str, attribute: impl Into<String>) -> Self {
        self.names.insert(placeholder.to_owned(), attribute.into());
        self
    }

    /// Adds an index key to an item that is put.
    #[must_use]
    pub(crate) fn with(mut self, attribute: &str, value: impl Into<String>) -> Self {
        if let Kind::Put(item) = &mut self.kind {
            item.insert(attribute.to_owned(), AttributeValue::S(value.into()));
        }
        self
    }

    /// Adds an attribute in DynamoDB's form to an item that is put.
    #[must_use]
    pub(super) fn set(mut self, attribute: &str, value: AttributeValue) -> Self {
        if let Kind::Put(item) = &mut self.kind {
            item.insert(attribute.to_owned(), value);
        }
        self
    }

    /// Sets the TTL of an item that is put. DynamoDB deletes the item some time after `at`.
    #[must_use]
    pub(crate) fn expiring(mut self, at: Time) -> Self {
        if let Kind::Put(item) = &mut self.kind {
            item.insert(table::TTL.to_owned(), AttributeValue::N(at.as_seconds().to_string()));
        }
        self
    }

    /// The item of a put.
    #[cfg(test)]
    pub(super) fn item(self) -> Option<Item> {
        match self.kind {
            Kind::Put(item) => Some(item),
            Kind::Update(_) | Kind::Delete | Kind::Check => None,
        }
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
        if let Some(reason) = self.invalid {
            return Err(Error::Internal(format!("a value could not be written: {reason}")));
        }
        let (condition, names, values) = (self.condition(), self.names(), self.values());
        let build_failed =
            |error: aws_sdk_dynamodb::error::BuildError| Error::Internal(format!("transaction: {error}"));
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
                    .map_err(build_failed)?,
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
                    .map_err(build_failed)?,
            ),
            Kind::Delete => item.delete(
                Delete::builder()
                    .table_name(table)
                    .set_key(Some(key_item(&self.key)))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(build_failed)?,
            ),
            Kind::Check => item.condition_check(
                ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(key_item(&self.key)))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(build_failed)?,
            ),
        };
        Ok(item.build())
    }
}

/// The names that occur as `#name` in an expression.
fn placeholders(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split('#')
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
        .filter(|name| !name.is_empty())
}

/// The writes of one transaction: at most 100, each on a different item.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    writes: Vec<Write>,
    /// The index of the write whose item shows that the transaction was applied.
    witness: Option<usize>,
}

impl Writes {
    /// A transaction without writes.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a write.
    #[must_use]
    pub(crate) fn and(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Adds a write, if there is one.
    #[must_use]
    pub(crate) fn maybe(mut self, write: Option<Write>) -> Self {
        self.writes.extend(write);
        self
    }

    /// Adds several writes.
    #[must_use]
    pub(crate) fn all(mut self, writes: impl IntoIterator<Item = Write>) -> Self {
        self.writes.extend(writes);
        self
    }

    /// Makes the last write, a put or an update, the witness of the transaction: its item gets the transaction's id, which
    /// shows that the whole transaction was applied. The function must have the permission to read the item, and
    /// concurrent writes to it should be rare.
    #[must_use]
    pub(crate) fn witnessed(mut self) -> Self {
        self.witness = self.writes.len().checked_sub(1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_in_paths_and_functions_of_expressions() {
        let found: Vec<_> = placeholders("SET #a.#b_2 = if_not_exists(#c, :v) REMOVE #d").collect();
        assert_eq!(found, ["a", "b_2", "c", "d"]);
    }
}
