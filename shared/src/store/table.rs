//! The definition of the table. The local stack and the tests create the table from it, and a test compares
//! `template.yaml` with it.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TimeToLiveSpecification,
};

use crate::aws::describe;
use crate::error::Error;

/// The attribute of the partition key.
pub const PK: &str = "pk";
/// The attribute of the sort key.
pub const SK: &str = "sk";
/// The name of the index. It is sparse: an item without the index keys is not in it.
pub const INDEX: &str = "gsi1";
/// The attribute of the index's partition key.
pub const INDEX_PK: &str = "gsi1pk";
/// The attribute of the index's sort key.
pub const INDEX_SK: &str = "gsi1sk";
/// The attributes that the index contains besides the keys.
pub(crate) const INDEX_PROJECTION: [&str; 2] = ["membership", "sessions"];
/// The TTL attribute, in seconds since the Unix epoch.
pub const TTL: &str = "ttl";

/// Creates the table and enables its TTL. An existing table is left as it is.
pub async fn create(client: &Client, name: &str) -> Result<(), Error> {
    let created = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(vec![
            attribute(PK)?,
            attribute(SK)?,
            attribute(INDEX_PK)?,
            attribute(INDEX_SK)?,
        ]))
        .key_schema(key(PK, KeyType::Hash)?)
        .key_schema(key(SK, KeyType::Range)?)
        .global_secondary_indexes(index()?)
        .send()
        .await;
    match created {
        Ok(_) => enable_ttl(client, name).await,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(CreateTableError::is_resource_in_use_exception) =>
        {
            Ok(())
        }
        Err(error) => Err(unavailable(&describe(&error))),
    }
}

async fn enable_ttl(client: &Client, name: &str) -> Result<(), Error> {
    let ttl = TimeToLiveSpecification::builder()
        .attribute_name(TTL)
        .enabled(true)
        .build()
        .map_err(invalid)?;
    client
        .update_time_to_live()
        .table_name(name)
        .time_to_live_specification(ttl)
        .send()
        .await
        .map_err(|error| unavailable(&describe(&error)))?;
    Ok(())
}

fn attribute(name: &str) -> Result<AttributeDefinition, Error> {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .map_err(invalid)
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, Error> {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()
        .map_err(invalid)
}

fn index() -> Result<GlobalSecondaryIndex, Error> {
    let projection = Projection::builder()
        .projection_type(ProjectionType::Include)
        .set_non_key_attributes(Some(INDEX_PROJECTION.map(str::to_owned).to_vec()))
        .build();
    GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .key_schema(key(INDEX_PK, KeyType::Hash)?)
        .key_schema(key(INDEX_SK, KeyType::Range)?)
        .projection(projection)
        .build()
        .map_err(invalid)
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn invalid(error: BuildError) -> Error {
    Error::Internal(format!("table definition: {error}"))
}

fn unavailable(error: &str) -> Error {
    Error::Unavailable(format!("creating the table: {error}"))
}
