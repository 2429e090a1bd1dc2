//! The invariants of the whole table (docs/architecture.md). The checks share no code with the store: their only source
//! is `docs/table.md`.

mod accounts;
mod invitations;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Number, Value};

use crate::support::harness::World;

/// The table's items by partition and sort key.
pub type Table = BTreeMap<(String, String), Value>;

/// Reads the whole table.
pub async fn read(world: &World) -> Table {
    let mut table = Table::new();
    let mut start = None;
    loop {
        let scan = world.app.store.client().scan().table_name(world.app.store.table());
        let page = scan
            .consistent_read(true)
            .set_exclusive_start_key(start)
            .send()
            .await
            .unwrap();
        for item in page.items.unwrap_or_default() {
            let item = json(&AttributeValue::M(item));
            table.insert((text(&item, "pk"), text(&item, "sk")), item);
        }
        start = page.last_evaluated_key;
        if start.is_none() {
            return table;
        }
    }
}

/// The table without limits, which also count refused requests.
pub async fn read_without_limits(world: &World) -> Table {
    let mut table = read(world).await;
    table.retain(|_, item| item["entity"] != "limit");
    table
}

/// Asserts every invariant.
#[track_caller]
pub fn assert_hold(table: &Table) {
    let faults = faults(table);
    assert!(
        faults.is_empty(),
        "the table violates invariants:\n{}",
        faults.join("\n")
    );
}

/// Reads the table and asserts every invariant.
pub async fn check(world: &World) {
    assert_hold(&read(world).await);
}

fn json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => Value::Number(number.parse::<Number>().unwrap()),
        AttributeValue::Bool(bool) => Value::Bool(*bool),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::L(list) => list.iter().map(json).collect(),
        AttributeValue::Ss(set) => set.iter().cloned().collect(),
        AttributeValue::M(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), json(value))).collect()),
        other => panic!("unexpected attribute type: {other:?}"),
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// The number of checks, and the faults that they found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Number of checks by invariant.
    pub checks: BTreeMap<&'static str, u64>,
    /// Violations of invariants.
    pub faults: Vec<String>,
}

impl Findings {
    /// Counts a check of `rule` and records a fault if it fails.
    pub fn expect(&mut self, rule: &'static str, holds: bool, fault: impl FnOnce() -> String) {
        *self.checks.entry(rule).or_default() += 1;
        if !holds {
            self.faults.push(format!("{rule}: {}", fault()));
        }
    }
}

/// The violated invariants of `table`.
pub fn faults(table: &Table) -> Vec<String> {
    examine(table).faults
}

/// The invariant that covers items of this entity; I12 covers their keys.
fn rule_of(entity: Option<&str>) -> &'static str {
    match entity {
        Some("workspace") => "I1",
        Some("user" | "email" | "member") => "I2",
        Some("invitation") => "I3",
        Some("pending" | "guard") => "I4",
        Some("limit") => "I10",
        Some(usage) if usage.starts_with("usage-") || usage == "notice" => "I8",
        _ => "I12",
    }
}

/// Checks every item of `table` against the others.
pub fn examine(table: &Table) -> Findings {
    let mut check = Checker {
        table,
        rule: "I12",
        findings: Findings::default(),
    };
    check.every_key_is_documented();
    for ((pk, sk), item) in table {
        let at = format!("{pk} {sk}");
        check.rule = rule_of(item["entity"].as_str());
        check.last_write(&at, item);
        match item["entity"].as_str() {
            Some("user") => check.user(&at, item),
            Some("email") => check.email(&at, item, pk),
            Some("workspace") => check.workspace(&at, item),
            Some("slug") => check.slug(&at, item, pk),
            Some("member") => check.member(&at, item, pk),
            Some("pending") => check.pending(&at, item, pk),
            Some("guard") => check.guard(&at, item, pk),
            Some("invitation") => check.invitation(&at, item),
            Some("limit") => check.limit(&at, item, pk),
            Some("idempotency") => check.idempotency(&at, item),
            Some("usage-record") => check.expires(&at, item),
            Some("usage-hour") => check.usage_hour(&at, item, pk, sk),
            Some("usage-day") => check.usage_day(&at, pk, sk),
            Some("usage-month") => check.usage_month(&at, item, pk, sk),
            Some("usage-dirty-marker") => check.usage_dirty_markers(&at, item, sk),
            Some("usage-run") => check.usage_run(&at, item, pk),
            Some("notice") => check.notice(&at, item, pk, sk),
            _ => {}
        }
    }
    check.findings
}

struct Checker<'t> {
    table: &'t Table,
    rule: &'static str,
    findings: Findings,
}

impl Checker<'_> {
    fn expect(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        self.findings.expect(self.rule, holds, fault);
    }

    fn get(&self, pk: &str, sk: &str) -> Option<&Value> {
        self.table.get(&(pk.to_owned(), sk.to_owned()))
    }

    /// Items of a partition whose sort key begins with `prefix`.
    fn rows(&self, pk: &str, prefix: &str) -> Vec<&Value> {
        let from = (pk.to_owned(), prefix.to_owned());
        let rows = self.table.range(from..);
        rows.take_while(|((p, s), _)| p == pk && s.starts_with(prefix))
            .map(|(_, item)| item)
            .collect()
    }

    fn every_key_is_documented(&mut self) {
        let documented = documented_keys();
        for ((pk, sk), item) in self.table {
            let entity = text(item, "entity");
            let known = documented
                .iter()
                .any(|(e, p, s)| *e == entity && matches(p, pk) && matches(s, sk));
            self.expect(known, || {
                format!("{pk} {sk}: docs/table.md has no such item of entity {entity:?}")
            });
        }
    }

    /// The id of the last write: an update of the item alone, or a transaction with the item as its witness. Some
    /// entities are a witness of every transaction that writes them.
    fn last_write(&mut self, at: &str, item: &Value) {
        let always = ["slug", "invitation", "keys"];
        let maybe = [
            "user",
            "workspace",
            "member",
            "pending",
            "limit",
            "usage-month",
            "usage-run",
            "notice",
            "idempotency",
        ];
        let entity = text(item, "entity");
        let is_fit = match &item["last_write"] {
            Value::Null => !always.contains(&entity.as_str()),
            Value::String(id) => id.len() == 16 && always.iter().chain(&maybe).any(|bears| *bears == entity),
            _ => false,
        };
        self.expect(is_fit, || format!("{at}: last written by {}", item["last_write"]));
    }

    fn expires(&mut self, at: &str, item: &Value) {
        self.expect(item["ttl"].is_u64(), || format!("{at}: has no ttl"));
    }

    fn limit(&mut self, at: &str, limit: &Value, pk: &str) {
        let rules = [
            ("invitation-create", 10),
            ("invitation-resend", 10),
            ("invitation-recipient", 5),
            ("revoke-all", 1),
            ("login-email", 15),
            ("login-address", 60),
            ("register", 60),
            ("preview", 60),
            ("accept", 60),
            ("decline", 60),
        ];
        let rule = pk.split('#').nth(1).unwrap_or_default();
        let most = rules
            .iter()
            .find(|(name, _)| *name == rule)
            .map_or(0, |(_, most)| *most);
        let slots = limit.as_object().unwrap().keys().filter(|name| {
            name.strip_prefix('s')
                .is_some_and(|index| index.parse::<usize>().is_ok())
        });
        let slots = slots.count();
        self.expect(slots <= most, || format!("{at}: {slots} slots, {most} are permitted"));
        self.expect(limit["ttl"].is_u64(), || format!("{at}: has no ttl"));
    }
}

/// Entity, partition key and sort key of every row under `## Items` in `docs/table.md`.
fn documented_keys() -> Vec<(String, String, String)> {
    let page = include_str!("../../docs/table.md");
    let (_, items) = page.split_once("## Items").unwrap();
    let (items, _) = items.split_once("\n## ").unwrap_or((items, ""));
    let rows = items.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, entity, pk, sk, ..] = cells.as_slice() else {
            return None;
        };
        let is_row = !matches!(*entity, "entity" | "") && !entity.starts_with('-');
        is_row.then(|| ((*entity).to_owned(), (*pk).to_owned(), (*sk).to_owned()))
    });
    let rows: Vec<_> = rows.collect();
    let entities: BTreeSet<_> = rows.iter().map(|(entity, ..)| entity).collect();
    assert!(entities.len() >= 12, "docs/table.md could not be parsed: {entities:?}");
    rows
}

/// Whether `key` matches `pattern`, in which `<words>` stand for variable parts.
fn matches(pattern: &str, key: &str) -> bool {
    let Some((literal, rest)) = pattern.split_once('<') else {
        return pattern == key;
    };
    let Some(key) = key.strip_prefix(literal) else {
        return false;
    };
    let (_, rest) = rest.split_once('>').unwrap();
    let next = rest.split('<').next().unwrap();
    if next.is_empty() {
        return !key.is_empty();
    }
    key.match_indices(next)
        .any(|(at, _)| at > 0 && matches(rest, &key[at..]))
}
