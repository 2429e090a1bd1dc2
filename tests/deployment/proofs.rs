//! The store's operations take a proof of access, except those that `shared/src/store/unproven.rs` lists.
//!
//! The compiler keeps code without a proof from calling these operations. These tests keep the operations themselves from
//! losing their proof.

use std::collections::BTreeSet;

use super::conventions::{code, files, read, shown};

/// A function of the store that code outside of the store can call.
struct Operation {
    file: String,
    /// The type whose `impl` block has the function; empty for a free function.
    owner: String,
    name: String,
    signature: String,
}

fn operations() -> Vec<Operation> {
    let mut found = Vec::new();
    for path in files("shared/src/store", ".rs") {
        let lines = code(&path);
        let mut owner = String::new();
        for (index, line) in lines.iter().enumerate() {
            if let Some(header) = line.strip_prefix("impl") {
                owner = owner_of(header);
            } else if line == "}" {
                owner.clear();
            }
            let is_visible = ["pub ", "pub(crate) "]
                .iter()
                .chain(owner.eq("Unproven").then_some(&"pub(super) "))
                .any(|prefix| line.trim_start().starts_with(prefix));
            let Some((_, rest)) = line.split_once("fn ").filter(|_| is_visible) else {
                continue;
            };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let last = lines[index..].iter().position(|line| line.ends_with('{')).unwrap();
            found.push(Operation {
                file: shown(&path),
                owner: owner.clone(),
                name,
                signature: lines[index..=index + last].join(" "),
            });
        }
    }
    assert!(found.len() > 50, "the store's functions are not found");
    found
}

/// The type of an `impl` header, without its generics.
fn owner_of(header: &str) -> String {
    let header = header.split(" for ").last().unwrap();
    let start = header.trim_start_matches(|c: char| c != ' ').trim_start();
    start.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn the_operations_without_a_proof_are_those_that_are_listed() {
    let page = read("shared/src/store/unproven.rs");
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .flat_map(|row| {
            let (names, _) = row.split_once('|').unwrap();
            names
                .split(',')
                .map(|name| name.trim().trim_matches('`').to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    let unproven: BTreeSet<String> = operations()
        .into_iter()
        .filter(|operation| operation.owner == "Unproven")
        .map(|operation| operation.name)
        .collect();
    assert_eq!(listed, unproven);
}

#[test]
fn every_other_operation_of_the_store_takes_a_proof() {
    // A limit and an idempotency record have no data of a tenant: their subjects are the caller, an address or an e-mail.
    const PROOFS: [&str; 8] = [
        "Access",
        "Identity",
        "InvitationContext",
        "LinkedInvitation",
        "Tenant",
        "IdempotentRequest",
        "Limit",
        "Slot",
    ];
    // `get` reads the items of keys, and a key is the permission to read its item.
    const WITHOUT: [&str; 5] = ["new", "client", "table", "get", "unproven"];
    let mut checked = 0;
    for operation in operations() {
        if operation.owner != "Store" || WITHOUT.contains(&operation.name.as_str()) {
            continue;
        }
        let words: Vec<&str> = operation.signature.split(|c: char| !c.is_alphanumeric()).collect();
        assert!(
            PROOFS.iter().any(|proof| words.contains(proof)),
            "{}: `{}` takes no proof of access",
            operation.file,
            operation.name
        );
        checked += 1;
    }
    assert!(checked > 15, "only {checked} operations are checked");
}

#[test]
fn the_key_of_a_tenants_item_needs_a_tenant() {
    // An own limit, an own idempotency record, and an invitation that is returned only for its token.
    const WITHOUT: [&str; 3] = ["Limit", "IdempotentRequest", "InvitationLink"];
    for operation in operations() {
        let Some((_, result)) = operation.signature.split_once("->") else {
            continue;
        };
        let makes_key = result.contains("Key") || operation.owner == "Key" && result.contains("Self");
        // Authorization alone uses the two constructors that this crate can see outside of the store.
        let is_internal = operation.signature.contains("pub(crate)");
        let is_listed = operation.owner == "Unproven" || WITHOUT.contains(&operation.owner.as_str());
        assert!(
            !makes_key || is_internal || is_listed || operation.signature.contains("Tenant"),
            "{}: `{}` makes a key without a tenant",
            operation.file,
            operation.name
        );
    }
}

#[test]
fn functions_do_not_bypass_the_store() {
    for path in files("functions", ".rs") {
        for line in code(&path) {
            let bypasses = line.contains(".client()") || line.contains(".table()");
            assert!(!bypasses, "{} uses the client of the table: {line}", shown(&path));
        }
    }
}
