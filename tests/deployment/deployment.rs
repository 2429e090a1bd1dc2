//! What is deployed is what was built: `template.yaml` against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use aws_sdk_dynamodb::types::{AttributeDefinition, KeySchemaElement};
use local::functions::FUNCTIONS;
use serde_json::{Value, json};
use shared::app::RequiredSecrets;
use shared::config::VARIABLES;
use shared::models::role::Role;
use shared::store::table;

use crate::deployment::events;
use crate::routes::roles;
use crate::support::deployed::{Deployment, SET_BY_LAMBDA, needs};
use crate::support::harness::{World, operations};
use crate::support::template::{Access, Statement, functions, is_like, resources, route, routes, template};

/// What a role allows although neither the life of `events/` nor the role matrix uses it: function, statement, action
/// or partition key, and why.
const UNUSED: &[(&str, &str, &str, &str)] = &[
    ("mail-retry", "Read", "dynamodb:Query", NOTHING_DUE),
    ("mail-retry", "Read", "EMAIL#*", NOTHING_DUE),
    ("mail-retry", "Read", "INVITE#*", NOTHING_DUE),
    ("mail-retry", "Read", "USER#*", NOTHING_DUE),
    ("mail-retry", "Read", "WS#*", NOTHING_DUE),
    ("mail-retry", "Write", "dynamodb:UpdateItem", NOTHING_DUE),
    ("mail-retry", "Write", "NOTICE#*", NOTHING_DUE),
    ("mail-retry", "Write", "WS#*", NOTHING_DUE),
];

/// Why a right of `mail-retry` is not used there.
const NOTHING_DUE: &str = "in the life of the events every mail leaves at once";

#[test]
fn a_folder_a_crate_a_binary_and_a_function_share_one_name() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions")).unwrap();
    let folders: BTreeSet<String> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    let local: BTreeSet<String> = local::functions::names().into_iter().map(str::to_owned).collect();
    assert_eq!(folders, local, "functions, and what the local stack knows");

    let declared: BTreeSet<String> = functions().iter().map(|function| function.name.to_owned()).collect();
    assert_eq!(declared, folders, "functions of the template, and all");

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
fn a_request_is_answered_well_before_the_gateway_gives_up() {
    for function in functions() {
        let seconds = function.property("Timeout").as_u64().unwrap();
        let most = if is_http(function.name) { 10 } else { 900 };
        assert!(seconds <= most, "{} may take {seconds} s", function.name);
    }
}

fn is_http(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.name == name)
}

#[test]
fn every_operation_reaches_the_function_that_owns_it() {
    for function in &FUNCTIONS {
        let document = serde_json::to_value((function.routes)().into_openapi()).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            // As somebody sends it: with an id where the path has a variable.
            let sent = path.replace("{user_id}", "7").replace("{id}", "7");
            assert!(!sent.contains('{'), "{path} has a variable that is not known here");
            for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
                assert_eq!(route(&method, &sent).function, function.name, "{method} {path}");
                // What is no operation is the function's to answer: 404, 405 and the answer to a preflight.
                assert_eq!(route("OPTIONS", &sent).function, function.name, "OPTIONS {path}");
            }
        }
    }
    let reached: BTreeSet<&str> = operations()
        .iter()
        .map(|operation| route(&operation.method, &operation.about("7")).function)
        .collect();
    let http: BTreeSet<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(reached, http);
}

#[test]
fn what_has_no_route_reaches_workspaces() {
    for path in [
        "/",
        "/nowhere",
        "/api/v1/",
        "/api/v1/workspaces/",
        "/api/v1/workspaces/members/",
        "/invite/",
    ] {
        let route = route("GET", path);
        assert_eq!(
            (route.key.as_str(), route.function),
            ("$default", "workspaces"),
            "{path}"
        );
    }
}

#[test]
fn a_route_has_one_owner_takes_any_method_and_ends_in_no_slash() {
    let mut keys = BTreeSet::new();
    for route in routes() {
        assert!(keys.insert(&route.key), "{} has two owners", route.key);
        assert!(
            !route.key.ends_with('/'),
            "{} ends in a slash, which SAM drops",
            route.key
        );
        let any = route.key == "$default" || route.key.starts_with("ANY /");
        assert!(any, "{} makes the gateway answer 404 to other methods", route.key);
    }
}

#[test]
fn what_lies_below_a_group_is_its_functions_to_answer() {
    let groups: Vec<_> = routes()
        .iter()
        .filter(|route| route.key.starts_with("ANY /api/") && !route.key.contains('{'))
        // Below it lie the other groups, and what is left is $default's.
        .filter(|route| route.key != "ANY /api/v1/workspaces")
        .collect();
    assert!(groups.len() >= 5, "{groups:?}");
    for group in groups {
        let (_, path) = group.key.split_once(' ').unwrap();
        for below in ["/nowhere", "/no/where"] {
            let reached = route("GET", &format!("{path}{below}"));
            assert_eq!(reached.function, group.function, "{path}{below}");
            assert_eq!(reached.key, format!("ANY {path}/{{proxy+}}"));
        }
    }
}

#[test]
fn the_environment_is_what_the_code_reads() {
    for function in functions() {
        let given: BTreeSet<&str> = function.environment().into_keys().collect();
        let name = function.name;
        let unknown: Vec<_> = given.iter().filter(|variable| !VARIABLES.contains(variable)).collect();
        assert!(unknown.is_empty(), "{name} is given {unknown:?}, which nothing reads");
        let lambdas: Vec<_> = given
            .iter()
            .filter(|variable| SET_BY_LAMBDA.contains(variable))
            .collect();
        assert!(
            lambdas.is_empty(),
            "{name} is given {lambdas:?}, which Lambda sets itself"
        );

        // A secret goes to whoever needs it, with the endpoint to read it from and the right to, and to nobody else.
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
                "{name} has {plain} in the template's plain text"
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
fn sam_on_this_machine_knows_every_function_and_its_variables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../local/sam/env-vars.json");
    let text = fs::read_to_string(path).unwrap();
    let mut local: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&text).unwrap();
    local.remove("Parameters").unwrap();
    for function in functions() {
        let variables = local.remove(function.logical).unwrap_or_default();
        let given = function.environment();
        for variable in variables.keys() {
            // SAM drops what the template does not have.
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
                "{} would call AWS's own {variable}",
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

/// In the order of their names, which says nothing.
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
async fn the_table_is_the_one_that_the_code_creates() {
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

    // What an engine on this machine has no notion of.
    let rest = json!({
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": true},
        "SSESpecification": {"SSEEnabled": true},
        "DeletionProtectionEnabled": {"Ref": "DeletionProtection"},
    });
    let declared = declared.as_object().unwrap().clone();
    let declared: serde_json::Map<_, _> = declared.into_iter().filter(|(_, value)| !value.is_null()).collect();
    assert_eq!(Value::Object(declared), rest);
    assert_eq!(template()["Parameters"]["DeletionProtection"]["Default"], "true");
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        assert!(
            tables["Table"][policy].as_str().unwrap().starts_with("Retain"),
            "{policy}"
        );
    }
}

#[test]
fn a_role_reaches_one_table_and_names_what_it_does_there() {
    let arn = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${RestoredTableName}";
    let table = json!({"Fn::If": ["HasRestoredTable", {"Fn::Sub": arn}, {"Fn::GetAtt": "Table.Arn"}]});
    let index = json!({"Fn::If": [
        "HasRestoredTable", {"Fn::Sub": format!("{arn}/index/gsi1")}, {"Fn::Sub": "${Table.Arn}/index/gsi1"},
    ]});
    let mut roles = BTreeSet::new();
    for function in functions() {
        let name = function.name;
        assert!(
            roles.insert(function.property("Role").to_string()),
            "{name} shares its role"
        );
        for statement in function.statements() {
            let sid = statement.sid;
            assert_eq!(statement.text["Effect"], "Allow", "{sid} of {name}");
            let wide = statement
                .actions
                .iter()
                .any(|action| action.contains('*') || action.ends_with(":Scan"));
            assert!(!wide, "{sid} of {name} allows {:?}", statement.actions);
            if !statement.is_of_table() {
                continue;
            }
            let resource = &statement.text["Resource"];
            assert!(
                resource == &table || resource == &index,
                "{sid} of {name} is about {resource}"
            );
            let patterns = statement.leading_keys.as_deref().unwrap_or_default();
            assert!(!patterns.is_empty(), "{sid} of {name} does not say whose items");
            for pattern in patterns {
                assert!(
                    *pattern == "KEYS" || *pattern == "DUE" || pattern.ends_with("#*"),
                    "{pattern} of {name}"
                );
            }
            let writes = statement.actions.iter().any(|action| !READS.contains(action));
            let publishes = writes && patterns.contains(&"KEYS");
            assert!(!publishes || name == "auth", "{name} may replace the public keys");
        }
    }
}

/// The actions that change nothing.
const READS: [&str; 4] = [
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:GetItem",
    "dynamodb:Query",
];

#[tokio::test]
async fn a_role_allows_what_its_function_does_and_nothing_else() {
    let mut done: BTreeMap<&str, BTreeSet<Access>> = BTreeMap::new();
    let world = World::new().await;
    let deployment = Deployment::of(&world).await;
    events::live(&deployment, &world).await;
    let mut deployments = vec![deployment];
    let casts = Role::ALL
        .map(Role::as_str)
        .into_iter()
        .chain(["none"])
        .map(async |who| {
            let mut world = World::new().await;
            let deployment = Deployment::of(&world).await;
            world.router = deployment.gateway();
            (roles::broken_rows(&world, who).await, deployment)
        });
    for (broken, deployment) in futures::future::join_all(casts).await {
        assert!(
            broken.is_empty(),
            "rows of the matrix do not hold behind the gateway:\n{}",
            broken.join("\n")
        );
        deployments.push(deployment);
    }
    for deployment in &deployments {
        for (name, accesses) in deployment.accesses() {
            done.entry(name).or_default().extend(accesses);
        }
    }

    let mut refused = Vec::new();
    let mut unused = BTreeSet::new();
    for function in functions() {
        let statements: Vec<_> = function
            .statements()
            .into_iter()
            .filter(Statement::is_of_table)
            .collect();
        let accesses = &done[function.name];
        for access in accesses {
            if !statements.iter().any(|statement| statement.allows(access)) {
                refused.push(format!("{}: {access:?}", function.name));
            }
        }
        for statement in &statements {
            let used: Vec<&Access> = accesses.iter().filter(|access| statement.allows(access)).collect();
            let actions = statement
                .actions
                .iter()
                .filter(|action| !used.iter().any(|access| access.action == **action));
            let patterns = statement.leading_keys.as_deref().unwrap_or_default().iter();
            let keys = patterns.filter(|pattern| {
                let mut touched = used.iter().flat_map(|access| &access.keys);
                !touched.any(|key| is_like(pattern, key))
            });
            unused.extend(actions.chain(keys).map(|what| (function.name, statement.sid, *what)));
        }
    }
    assert!(
        refused.is_empty(),
        "roles refuse what their functions do:\n{}",
        refused.join("\n")
    );
    let known: BTreeSet<_> = UNUSED.iter().map(|(name, sid, what, _)| (*name, *sid, *what)).collect();
    let too_much: Vec<_> = unused.difference(&known).collect();
    let used_after_all: Vec<_> = known.difference(&unused).collect();
    assert!(
        too_much.is_empty() && used_after_all.is_empty(),
        "allowed and not used: {too_much:#?}\nin UNUSED, but used: {used_after_all:#?}"
    );
}
