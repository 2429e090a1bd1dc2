//! How writes reach the table, and how it is found out what became of them.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;

use super::super::attempts::WriteAttempts;
use super::super::{Item, Key, LAST_WRITE, Store, key_item, parse};
use super::{Kind, Write, Writes};
use crate::error::Error;

impl Store {
    /// Commits a transaction. [`Error::Stale`] when a condition did not hold.
    ///
    /// Every try carries one client request token, so that trying again tells what became of a try whose answer was
    /// lost: was it applied, the table answers success and applies nothing twice, even when a condition would not hold
    /// any more ("multiple identical calls have the same effect as one single call", for 10 minutes; API reference of
    /// `TransactWriteItems`, `ClientRequestToken`). So a failed condition always means that none of the tries was applied.
    /// When no try is answered, its witness is read: the token stands there once it was applied.
    pub async fn commit(&self, writes: Writes) -> Result<(), Error> {
        match self.commit_or_failed(writes).await?.as_slice() {
            [] => Ok(()),
            _ => Err(Error::Stale),
        }
    }

    /// As [`Store::commit`], but answers the places of the writes whose conditions did not hold; none when it is
    /// committed.
    pub(in crate::store) async fn commit_or_failed(&self, writes: Writes) -> Result<Vec<usize>, Error> {
        let Writes { mut writes, witness } = writes;
        let id = write_id();
        let witness = witness.and_then(|place| {
            let write = writes.get_mut(place)?;
            *write = write.clone().stamped(&id);
            Some(write.key.clone())
        });
        let items = writes
            .into_iter()
            .map(|write| write.into_transact_item(&self.table))
            .collect::<Result<Vec<_>, _>>()?;
        let mut tries = WriteAttempts::of("TransactWriteItems");
        loop {
            let sending = self
                .writer
                .transact_write_items()
                .set_transact_items(Some(items.clone()))
                .client_request_token(&id)
                .send();
            let end = match tries.attempt(sending).await {
                Ok(Ok(_)) => return Ok(Vec::new()),
                Ok(Err(error)) => {
                    let failed = failed_conditions(&error)?;
                    if !failed.is_empty() {
                        return Ok(failed);
                    }
                    tries.again(&error).await.err()
                }
                Err(error) => Some(error),
            };
            let reading = self.written(witness.as_ref(), &id);
            if tries.look(end.is_some(), reading).await.is_some() {
                return Ok(Vec::new());
            }
            if let Some(error) = end {
                return Err(error);
            }
        }
    }

    /// Updates one item and answers it as it is then; where a condition did not hold, the item as it stood.
    ///
    /// The update leaves an id of its own on the item. A try that finds it there was applied before, its answer being
    /// lost, and is not applied again; when no try is answered, it is read. Only another update meanwhile hides it; so
    /// updates say in their condition what they were decided on.
    pub async fn update_one<T: DeserializeOwned>(&self, write: Write) -> Result<T, UpdateError> {
        let id = write_id();
        let write = write.stamped_once(&id);
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
        let witness = (!write.skips_read_back).then_some(&write.key);
        let mut tries = WriteAttempts::of("UpdateItem");
        loop {
            let end = match tries.attempt(update.clone().send()).await {
                Ok(Ok(answer)) => return Ok(parse(answer.attributes.unwrap_or_default())?),
                Ok(Err(error)) => {
                    if let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() {
                        return match &failed.item {
                            Some(item) if bears(item, &id) => Ok(parse(item.clone())?),
                            item => Err(UpdateError::Condition(item.clone())),
                        };
                    }
                    tries.again(&error).await.err()
                }
                Err(error) => Some(error),
            };
            if let Some(item) = tries.look(end.is_some(), self.written(witness, &id)).await {
                return Ok(parse(item)?);
            }
            if let Some(error) = end {
                return Err(error.into());
            }
        }
    }

    /// The item of `witness`, if the write `id` was the last to leave its id there.
    async fn written(&self, witness: Option<&Key>, id: &str) -> Result<Option<Item>, Error> {
        let Some(key) = witness else { return Ok(None) };
        let item = self.get(vec![key.clone()]).await?.0.remove(key);
        Ok(item.filter(|item| bears(item, id)))
    }
}

/// A name for one write, whichever of its tries comes through.
fn write_id() -> String {
    URL_SAFE_NO_PAD.encode(crate::ids::random_bytes::<12>())
}

fn bears(item: &Item, id: &str) -> bool {
    item.get(LAST_WRITE)
        .and_then(|stamp| stamp.as_s().ok())
        .is_some_and(|stamp| stamp == id)
}

/// The places of the writes whose conditions did not hold; none when something else kept the transaction from happening.
fn failed_conditions(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> Result<Vec<usize>, Error> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return Ok(Vec::new());
    };
    let codes: Vec<&str> = cancelled
        .cancellation_reasons()
        .iter()
        .map(|reason| reason.code().unwrap_or_default())
        .collect();
    let failed: Vec<usize> = (0..codes.len())
        .filter(|place| codes[*place] == "ConditionalCheckFailed")
        .collect();
    let is_invalid = codes.contains(&"ValidationError") || codes.contains(&"ItemCollectionSizeLimitExceeded");
    if failed.is_empty() && is_invalid {
        return Err(Error::Internal("TransactWriteItems: an item was not valid".to_owned()));
    }
    Ok(failed)
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
