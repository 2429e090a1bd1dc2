//! The definition of the table. The local stack and the tests create the table from it, and a test compares
//! `template.yaml` with it.

use aws_sdk_dynamodb::Client;
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
    let invalid = |error: aws_sdk_dynamodb::error::BuildError| Error::Internal(format!("table definition: {error}"));
    let unavailable = |error: String| Error::Unavailable(format!("creating the table: {error}"));
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .map_err(invalid)
    };
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .map_err(invalid)
    };
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .key_schema(key(INDEX_PK, KeyType::Hash)?)
        .key_schema(key(INDEX_SK, KeyType::Range)?)
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::Include)
                .set_non_key_attributes(Some(INDEX_PROJECTION.map(str::to_owned).to_vec()))
                .build(),
        )
        .build()
        .map_err(invalid)?;
    let created = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(PK)?)
        .attribute_definitions(attribute(SK)?)
        .attribute_definitions(attribute(INDEX_PK)?)
        .attribute_definitions(attribute(INDEX_SK)?)
        .key_schema(key(PK, KeyType::Hash)?)
        .key_schema(key(SK, KeyType::Range)?)
        .global_secondary_indexes(index)
        .send()
        .await;
    match created {
        Ok(_) => {}
        Err(error)
            if error
                .as_service_error()
                .is_some_and(CreateTableError::is_resource_in_use_exception) =>
        {
            return Ok(());
        }
        Err(error) => return Err(unavailable(describe(&error))),
    }
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
        .map_err(|error| unavailable(describe(&error)))?;
    Ok(())
}
