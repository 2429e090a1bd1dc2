//! The roles of the functions in `template.yaml`: each allows exactly what its function does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use shared::models::role::Role;

use crate::deployment::events;
use crate::routes::roles;
use crate::support::deployed::Deployment;
use crate::support::harness::World;
use crate::support::template::{Access, Statement, functions, is_like};

/// Rights that a role allows although neither the scenario of `events/` nor the role matrix uses them: function, statement,
/// action or partition key, and the reason.
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

/// The reason for the unused rights of `mail-retry`.
const NOTHING_DUE: &str = "in the scenario of the events every mail leaves at once";

#[test]
fn a_role_allows_named_actions_on_named_keys_of_one_table() {
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
            let is_too_wide = statement
                .actions
                .iter()
                .any(|action| action.contains('*') || action.ends_with(":Scan"));
            assert!(!is_too_wide, "{sid} of {name} allows {:?}", statement.actions);
            if !statement.is_of_table() {
                continue;
            }
            let resource = &statement.text["Resource"];
            assert!(
                resource == &table || resource == &index,
                "{sid} of {name} allows access to {resource}"
            );
            let patterns = statement.leading_keys.as_deref().unwrap_or_default();
            assert!(!patterns.is_empty(), "{sid} of {name} does not restrict the keys");
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

/// The actions that only read.
const READS: [&str; 4] = [
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:GetItem",
    "dynamodb:Query",
];

#[tokio::test]
async fn a_role_allows_exactly_what_its_function_does() {
    let mut accesses_made: BTreeMap<&str, BTreeSet<Access>> = BTreeMap::new();
    let world = World::new().await;
    let deployment = Deployment::of(&world).await;
    events::run_scenario(&deployment, &world).await;
    let mut deployments = vec![deployment];
    let matrix_runs = Role::ALL
        .map(Role::as_str)
        .into_iter()
        .chain(["none"])
        .map(async |role| {
            let mut world = World::new().await;
            let deployment = Deployment::of(&world).await;
            world.router = deployment.gateway();
            (roles::failing_rows(&world, role).await, deployment)
        });
    for (failing, deployment) in futures::future::join_all(matrix_runs).await {
        assert!(
            failing.is_empty(),
            "rows of the matrix do not hold behind the gateway:\n{}",
            failing.join("\n")
        );
        deployments.push(deployment);
    }
    for deployment in &deployments {
        for (name, accesses) in deployment.accesses() {
            accesses_made.entry(name).or_default().extend(accesses);
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
        let accesses = &accesses_made[function.name];
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
                let mut keys = used.iter().flat_map(|access| &access.keys);
                !keys.any(|key| is_like(pattern, key))
            });
            unused.extend(actions.chain(keys).map(|right| (function.name, statement.sid, *right)));
        }
    }
    assert!(
        refused.is_empty(),
        "roles refuse what their functions do:\n{}",
        refused.join("\n")
    );
    let known: BTreeSet<_> = UNUSED
        .iter()
        .map(|(name, sid, right, _)| (*name, *sid, *right))
        .collect();
    let unexpected: Vec<_> = unused.difference(&known).collect();
    let used: Vec<_> = known.difference(&unused).collect();
    assert!(
        unexpected.is_empty() && used.is_empty(),
        "allowed and not used: {unexpected:#?}\nin UNUSED, but used: {used:#?}"
    );
}
