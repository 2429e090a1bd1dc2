//! `template.yaml` and the code: functions, their environment, and the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use aws_sdk_dynamodb::types::{AttributeDefinition, KeySchemaElement};
use local::functions::FUNCTIONS;
use serde_json::{Value, json};
use shared::app::RequiredSecrets;
use shared::config::VARIABLES;
use shared::store::table;

use crate::support::deployed::{SET_BY_LAMBDA, needs};
use crate::support::harness::World;
use crate::support::template::{functions, resources, template};

#[test]
fn folder_crate_binary_and_function_have_the_same_name() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions")).unwrap();
    let folders: BTreeSet<String> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    let local: BTreeSet<String> = local::functions::names().into_iter().map(str::to_owned).collect();
    assert_eq!(folders, local, "folders of functions, and functions of the local stack");

    let declared: BTreeSet<String> = functions().iter().map(|function| function.name.to_owned()).collect();
    assert_eq!(declared, folders, "functions of the template, and folders of functions");

    for function in functions() {
        let name = function.name;
        let pascal: String = name
            .split('-')
            .map(|word| word[..1].to_uppercase() + &word[1..])
            .collect();
        assert_eq!(function.logical, pascal);
        assert_eq!(
            function.resource["Metadata"]["BuildMethod"], "rust-cargolambda",
            "{name}"
        );
        for (property, expected) in [
            ("CodeUri", json!(format!("functions/{name}"))),
            (
                "FunctionName",
                json!({"Fn::Sub": format!("${{AWS::StackName}}-{name}")}),
            ),
            ("Role", json!({"Fn::GetAtt": format!("{pascal}Role.Arn")})),
            ("Runtime", json!("provided.al2023")),
            ("Handler", json!("bootstrap")),
            ("Tracing", json!("Active")),
        ] {
            assert_eq!(function.property(property), &expected, "{property} of {name}");
        }
        assert_eq!(
            function.property("LoggingConfig")["LogGroup"],
            json!({"Ref": format!("{pascal}Logs")})
        );
    }
}

#[test]
fn functions_time_out_before_their_callers() {
    for function in functions() {
        let seconds = function.property("Timeout").as_u64().unwrap();
        // An HTTP function must respond before the gateway times out.
        let limit = if is_http(function.name) { 10 } else { 900 };
        assert!(seconds <= limit, "{} may take {seconds} s", function.name);
    }
}

fn is_http(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.name == name)
}

#[test]
fn each_function_gets_exactly_the_variables_that_it_reads() {
    for function in functions() {
        let given: BTreeSet<&str> = function.environment().into_keys().collect();
        let name = function.name;
        let unknown: Vec<_> = given.iter().filter(|variable| !VARIABLES.contains(variable)).collect();
        assert!(unknown.is_empty(), "{name} has {unknown:?}, which no code reads");
        let set_by_lambda: Vec<_> = given
            .iter()
            .filter(|variable| SET_BY_LAMBDA.contains(variable))
            .collect();
        assert!(
            set_by_lambda.is_empty(),
            "{name} has {set_by_lambda:?}, which Lambda sets itself"
        );

        // Only the functions that need a secret get its ARN, the endpoint of Secrets Manager, and the right to read it.
        let RequiredSecrets { signing, invitation } = needs(name);
        for (needed, variable, secret) in [
            (signing.is_some(), "SIGNING_SECRET_ARN", "SigningSecret"),
            (invitation.is_some(), "INVITATION_SECRET_ARN", "InvitationSecret"),
        ] {
            assert_eq!(given.contains(variable), needed, "{variable} of {name}");
            if needed {
                assert_eq!(function.environment()[variable], &json!({"Ref": secret}));
                assert!(given.contains("AWS_ENDPOINT_URL_SECRETS_MANAGER"), "{name}");
            }
            let may_read = function.statements().into_iter().any(|statement| {
                statement.actions == ["secretsmanager:GetSecretValue"]
                    && statement.text["Resource"] == json!({"Ref": secret})
            });
            assert_eq!(may_read, needed, "the right of {name} to read {secret}");
        }
        for plain in ["SIGNING_SECRET", "INVITATION_SECRET"] {
            assert!(
                !given.contains(plain),
                "{name} has {plain} in plain text in the template"
            );
        }
        let mails = function
            .statements()
            .iter()
            .any(|statement| statement.actions == ["ses:SendEmail"]);
        for variable in ["AWS_ENDPOINT_URL_SESV2", "MAIL_CONFIGURATION_SET"] {
            assert_eq!(given.contains(variable), mails, "{variable} of {name}");
        }
    }
}

#[test]
fn the_variables_of_local_sam_match_the_template() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../local/sam/env-vars.json");
    let text = fs::read_to_string(path).unwrap();
    let mut local: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&text).unwrap();
    local.remove("Parameters").unwrap();
    for function in functions() {
        let variables = local.remove(function.logical).unwrap_or_default();
        let given = function.environment();
        for variable in variables.keys() {
            // SAM ignores variables that the template does not have.
            assert!(
                given.contains_key(variable.as_str()),
                "{variable} of {}",
                function.logical
            );
        }
        for variable in given
            .keys()
            .filter(|variable| variable.starts_with("AWS_ENDPOINT_URL_"))
        {
            assert!(
                variables.contains_key(*variable),
                "{} would call AWS: env-vars.json lacks {variable}",
                function.logical
            );
        }
    }
    assert!(local.is_empty(), "env-vars.json has {:?}", local.keys());
}

fn key_schema(keys: &[KeySchemaElement]) -> Value {
    keys.iter()
        .map(|key| json!({"AttributeName": key.attribute_name, "KeyType": key.key_type.as_str()}))
        .collect()
}

/// Attribute definitions, sorted by name: their order has no meaning.
fn attributes(definitions: &[AttributeDefinition]) -> Value {
    let definitions: BTreeMap<_, _> = definitions
        .iter()
        .map(|attribute| (&attribute.attribute_name, attribute.attribute_type.as_str()))
        .collect();
    definitions
        .into_iter()
        .map(|(name, kind)| json!({"AttributeName": name, "AttributeType": kind}))
        .collect()
}

fn sorted(list: &Value, by: &str) -> Value {
    let mut items = list.as_array().unwrap().clone();
    items.sort_by_key(|item| item[by].to_string());
    items.into()
}

#[tokio::test]
async fn the_table_of_the_template_equals_the_table_that_the_code_creates() {
    let world = World::new().await;
    let (client, name) = (world.app.store.client(), world.app.store.table());
    let described = client
        .describe_table()
        .table_name(name)
        .send()
        .await
        .unwrap()
        .table
        .unwrap();
    let ttl = client.describe_time_to_live().table_name(name).send().await.unwrap();
    let ttl = ttl.time_to_live_description.unwrap();
    let tables = resources("AWS::DynamoDB::Table");
    assert_eq!(tables.keys().collect::<Vec<_>>(), [&"Table"], "one table");
    let mut declared = tables["Table"]["Properties"].clone();

    let definitions = declared["AttributeDefinitions"].take();
    assert_eq!(
        sorted(&definitions, "AttributeName"),
        attributes(described.attribute_definitions())
    );
    assert_eq!(declared["KeySchema"].take(), key_schema(described.key_schema()));

    let indexes = described.global_secondary_indexes();
    assert_eq!(indexes.len(), 1);
    let projection = indexes[0].projection.as_ref().unwrap();
    let expected = json!([{
        "IndexName": indexes[0].index_name,
        "KeySchema": key_schema(indexes[0].key_schema()),
        "Projection": {
            "ProjectionType": projection.projection_type.as_ref().unwrap().as_str(),
            "NonKeyAttributes": projection.non_key_attributes(),
        },
    }]);
    assert_eq!(declared["GlobalSecondaryIndexes"].take(), expected);
    assert_eq!(indexes[0].index_name.as_deref(), Some(table::INDEX));

    let billing = described.billing_mode_summary.unwrap().billing_mode.unwrap();
    assert_eq!(declared["BillingMode"].take(), billing.as_str());
    assert_eq!(ttl.time_to_live_status.unwrap().as_str(), "ENABLED");
    let ttl = json!({"AttributeName": ttl.attribute_name, "Enabled": true});
    assert_eq!(declared["TimeToLiveSpecification"].take(), ttl);

    // Properties that the local engine does not have.
    let remaining = json!({
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": true},
        "SSESpecification": {"SSEEnabled": true},
        "DeletionProtectionEnabled": {"Ref": "DeletionProtection"},
    });
    let declared = declared.as_object().unwrap().clone();
    let declared: serde_json::Map<_, _> = declared.into_iter().filter(|(_, value)| !value.is_null()).collect();
    assert_eq!(Value::Object(declared), remaining);
    assert_eq!(template()["Parameters"]["DeletionProtection"]["Default"], "true");
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        assert!(
            tables["Table"][policy].as_str().unwrap().starts_with("Retain"),
            "{policy}"
        );
    }
}
