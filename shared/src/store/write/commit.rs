//! The sending of writes, and the detection whether a write with an unknown outcome was applied.

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
    /// All attempts carry the same client request token. If an attempt whose response was lost was applied, the next attempt
    /// succeeds and applies nothing again, even when a condition does not hold any more ("multiple identical calls have
    /// the same effect as one single call", for 10 minutes; API reference of `TransactWriteItems`, `ClientRequestToken`).
    /// Therefore a failed condition means that no attempt was applied. When no attempt gets a response, the witness is
    /// read back: it has the token if the transaction was applied.
    pub(in crate::store) async fn commit(&self, writes: Writes) -> Result<(), Error> {
        match self.commit_or_failed(writes).await?.as_slice() {
            [] => Ok(()),
            _ => Err(Error::Stale),
        }
    }

    /// As [`Store::commit`], but returns the indexes of the writes whose conditions did not hold; none when the transaction
    /// was committed.
    pub(in crate::store) async fn commit_or_failed(&self, writes: Writes) -> Result<Vec<usize>, Error> {
        let Writes { mut writes, witness } = writes;
        let id = write_id();
        let witness = witness.and_then(|index| {
            let write = writes.get_mut(index)?;
            *write = write.clone().stamped(&id);
            Some(write.key.clone())
        });
        let items = writes
            .into_iter()
            .map(|write| write.into_transact_item(&self.table))
            .collect::<Result<Vec<_>, _>>()?;
        let mut attempts = WriteAttempts::of("TransactWriteItems");
        loop {
            let sending = self
                .writer
                .transact_write_items()
                .set_transact_items(Some(items.clone()))
                .client_request_token(&id)
                .send();
            let end = match attempts.attempt(sending).await {
                Ok(Ok(_)) => return Ok(Vec::new()),
                Ok(Err(error)) => {
                    let failed = failed_conditions(&error)?;
                    if !failed.is_empty() {
                        return Ok(failed);
                    }
                    attempts.back_off(&error).await.err()
                }
                Err(error) => Some(error),
            };
            let reading = self.find_written(witness.as_ref(), &id);
            if attempts.read_back(end.is_some(), reading).await.is_some() {
                return Ok(Vec::new());
            }
            if let Some(error) = end {
                return Err(error);
            }
        }
    }

    /// Updates one item and returns the updated item. [`UpdateError::Condition`] has the unchanged item when a condition did
    /// not hold.
    ///
    /// The update sets its own id on the item. An attempt that finds the id was applied before, and its response was lost; it is
    /// not applied again. When no attempt gets a response, the item is read back. A concurrent update overwrites the id,
    /// so that every update needs a condition on what it was decided on.
    pub(in crate::store) async fn update_one<T: DeserializeOwned>(&self, write: Write) -> Result<T, UpdateError> {
        let id = write_id();
        let write = write.stamped_once(&id);
        let Kind::Update(expression) = &write.kind else {
            return Err(Error::Internal("update_one takes an update".to_owned()).into());
        };
        if let Some(reason) = &write.invalid {
            return Err(Error::Internal(format!("a value could not be written: {reason}")).into());
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
        let mut attempts = WriteAttempts::of("UpdateItem");
        loop {
            let end = match attempts.attempt(update.clone().send()).await {
                Ok(Ok(response)) => return Ok(parse(response.attributes.unwrap_or_default())?),
                Ok(Err(error)) => {
                    if let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() {
                        return match &failed.item {
                            Some(item) if has_id(item, &id) => Ok(parse(item.clone())?),
                            item => Err(UpdateError::Condition(item.clone())),
                        };
                    }
                    attempts.back_off(&error).await.err()
                }
                Err(error) => Some(error),
            };
            if let Some(item) = attempts.read_back(end.is_some(), self.find_written(witness, &id)).await {
                return Ok(parse(item)?);
            }
            if let Some(error) = end {
                return Err(error.into());
            }
        }
    }

    /// Reads back the item of `witness`; none unless the last write to it was the write `id`.
    async fn find_written(&self, witness: Option<&Key>, id: &str) -> Result<Option<Item>, Error> {
        let Some(key) = witness else { return Ok(None) };
        let item = self.get(vec![key.clone()]).await?.0.remove(key);
        Ok(item.filter(|item| has_id(item, id)))
    }
}

/// A random id that all attempts of one write share.
fn write_id() -> String {
    URL_SAFE_NO_PAD.encode(crate::ids::random_bytes::<12>())
}

fn has_id(item: &Item, id: &str) -> bool {
    item.get(LAST_WRITE)
        .and_then(|value| value.as_s().ok())
        .is_some_and(|last_write| last_write == id)
}

/// The indexes of the writes whose conditions did not hold; none when the transaction failed for another reason.
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
        .filter(|index| codes[*index] == "ConditionalCheckFailed")
        .collect();
    let is_invalid = codes.contains(&"ValidationError") || codes.contains(&"ItemCollectionSizeLimitExceeded");
    if failed.is_empty() && is_invalid {
        return Err(Error::Internal("TransactWriteItems: an item was not valid".to_owned()));
    }
    Ok(failed)
}

/// The reason why an update was not applied.
#[derive(Debug)]
pub(in crate::store) enum UpdateError {
    /// The condition did not hold. The item is the unchanged one, if it exists.
    Condition(Option<Item>),
    /// The call failed for another reason.
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
