//! The embedded DynamoDB engine: `dynoxide`, which stores tables in `SQLite` and speaks DynamoDB's wire protocol.

use std::{io, path::PathBuf};

use dynoxide::Database;

use crate::loopback::{self, Serving};

/// Where the engine keeps its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In memory, until the engine stops.
    #[default]
    Memory,
    /// In this `SQLite` file, which is created if it does not exist.
    File(PathBuf),
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The data file cannot be opened, or was not written by the engine.
    #[error("the data file {} cannot be used: {reason}; choose another file with --data", path.display())]
    Data {
        /// The data file.
        path: PathBuf,
        /// The engine's error message.
        reason: String,
    },
    /// The engine failed.
    #[error("the DynamoDB engine failed: {0}")]
    Engine(String),
    /// No loopback port was available.
    #[error("the DynamoDB engine cannot listen on 127.0.0.1: {0}")]
    Listen(#[from] io::Error),
}

/// A running engine on its own loopback port. Dropping the value stops the engine.
#[derive(Debug)]
pub struct Engine {
    /// `http://127.0.0.1:<port>`, the endpoint URL for AWS clients. Any credentials and any region are accepted.
    pub endpoint: String,
    serving: Serving,
}

impl Engine {
    /// Opens the storage and serves it on a free loopback port.
    ///
    /// # Errors
    /// When the file cannot be used or no port is available.
    pub async fn start(storage: &Storage) -> Result<Self, EngineError> {
        let database = open(storage)?;
        let listener = loopback::bind(0).await?;
        let serving = Serving::start(listener.local_addr()?, |stopped| {
            dynoxide::server::serve_with_shutdown(listener, database, stopped)
        });
        Ok(Self {
            endpoint: serving.url(),
            serving,
        })
    }

    /// Stops the engine. Running requests have one second to finish.
    pub async fn stop(self) {
        self.serving.stop().await;
    }
}

fn open(storage: &Storage) -> Result<Database, EngineError> {
    match storage {
        Storage::Memory => Database::memory().map_err(|error| EngineError::Engine(error.to_string())),
        Storage::File(path) => {
            let unusable = |reason: String| EngineError::Data {
                path: path.clone(),
                reason,
            };
            let name = path
                .to_str()
                .ok_or_else(|| unusable("its name is not UTF-8".to_owned()))?;
            Database::new(name).map_err(|error| unusable(error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::{
        Client,
        error::ProvideErrorMetadata,
        types::{
            AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, ScalarAttributeType,
            TransactWriteItem,
        },
    };

    use super::*;
    use crate::testing;

    fn text(value: &str) -> AttributeValue {
        AttributeValue::S(value.to_owned())
    }

    async fn client_with_table(engine: &Engine) -> Client {
        let client = testing::dynamodb(&engine.endpoint);
        client
            .create_table()
            .table_name("items")
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(
                AttributeDefinition::builder()
                    .attribute_name("pk")
                    .attribute_type(ScalarAttributeType::S)
                    .build()
                    .unwrap(),
            )
            .key_schema(
                KeySchemaElement::builder()
                    .attribute_name("pk")
                    .key_type(KeyType::Hash)
                    .build()
                    .unwrap(),
            )
            .send()
            .await
            .unwrap();
        client
    }

    fn create_item(key: &str) -> TransactWriteItem {
        let put = Put::builder()
            .table_name("items")
            .item("pk", text(key))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .unwrap();
        TransactWriteItem::builder().put(put).build()
    }

    #[tokio::test]
    async fn a_transaction_repeated_with_its_client_request_token_is_applied_once() {
        let engine = Engine::start(&Storage::Memory).await.unwrap();
        let client = client_with_table(&engine).await;
        let send = |key: &'static str, token: &'static str| {
            let write = client.transact_write_items().transact_items(create_item(key));
            write.client_request_token(token).send()
        };
        send("a", "first").await.unwrap();
        send("a", "first").await.unwrap();
        let other = send("a", "second").await.unwrap_err().into_service_error();
        assert!(other.is_transaction_canceled_exception(), "{other}");
        let changed = send("b", "first").await.unwrap_err().into_service_error();
        assert!(changed.is_idempotent_parameter_mismatch_exception(), "{changed}");
        engine.stop().await;
    }

    #[tokio::test]
    async fn a_cancelled_transaction_writes_nothing_and_names_the_failed_condition() {
        let engine = Engine::start(&Storage::Memory).await.unwrap();
        let client = client_with_table(&engine).await;
        client
            .put_item()
            .table_name("items")
            .item("pk", text("taken"))
            .send()
            .await
            .unwrap();

        let refused = client
            .transact_write_items()
            .transact_items(create_item("new"))
            .transact_items(create_item("taken"))
            .send()
            .await
            .unwrap_err()
            .into_service_error();

        assert_eq!(refused.code(), Some("TransactionCanceledException"));
        let codes: Vec<_> = match &refused {
            aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
                cancelled,
            ) => cancelled.cancellation_reasons().iter().map(|reason| reason.code()).collect(),
            _ => Vec::new(),
        };
        assert_eq!(codes, [Some("None"), Some("ConditionalCheckFailed")]);
        let new = client
            .get_item()
            .table_name("items")
            .key("pk", text("new"))
            .send()
            .await
            .unwrap();
        assert!(new.item().is_none());
        engine.stop().await;
    }

    #[tokio::test]
    async fn a_data_file_keeps_items_between_runs() {
        let path = std::env::temp_dir().join(format!(
            "engine-{}.db",
            uuid::Uuid::from_bytes(shared::ids::random_bytes())
        ));
        let storage = Storage::File(path.clone());

        let engine = Engine::start(&storage).await.unwrap();
        let client = client_with_table(&engine).await;
        client
            .put_item()
            .table_name("items")
            .item("pk", text("kept"))
            .send()
            .await
            .unwrap();
        engine.stop().await;
        drop(client);

        let engine = Engine::start(&storage).await.unwrap();
        let client = testing::dynamodb(&engine.endpoint);
        let kept = client
            .get_item()
            .table_name("items")
            .key("pk", text("kept"))
            .send()
            .await
            .unwrap();
        assert!(kept.item().is_some());
        engine.stop().await;
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(format!("{}{suffix}", path.display())).ok();
        }
    }

    #[tokio::test]
    async fn the_error_names_a_data_file_that_cannot_be_used() {
        let storage = Storage::File("/nowhere/at/all.db".into());
        let error = Engine::start(&storage).await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all.db"), "{error}");
    }

    #[tokio::test]
    async fn the_engine_listens_on_loopback_until_it_is_stopped() {
        let engine = Engine::start(&Storage::Memory).await.unwrap();
        let endpoint = engine.endpoint.clone();
        let address = endpoint.strip_prefix("http://").unwrap();
        assert!(address.starts_with("127.0.0.1:"));
        tokio::net::TcpStream::connect(address).await.unwrap();
        engine.stop().await;
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}
