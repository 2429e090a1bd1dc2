//! What must hold of the whole table whatever happened (docs/architecture.md), checked by a reader that shares no code with
//! the store: it knows the table from `docs/table.md` alone.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};

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

/// The table without rate limits, which refused requests count against too.
pub async fn read_without_limits(world: &World) -> Table {
    let mut table = read(world).await;
    table.retain(|_, item| item["entity"] != "limit");
    table
}

/// Fails with every invariant that does not hold.
#[track_caller]
pub fn assert_hold(table: &Table) {
    let faults = faults(table);
    assert!(
        faults.is_empty(),
        "the table is not as it must be:\n{}",
        faults.join("\n")
    );
}

/// Reads the table and fails with every invariant that does not hold.
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
        other => panic!("nothing writes this: {other:?}"),
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// What was looked at, how often, and what was found wrong.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Checks by the invariant that they belong to.
    pub checks: BTreeMap<&'static str, u64>,
    /// What did not hold.
    pub faults: Vec<String>,
}

impl Findings {
    /// Counts a check of `rule`, and notes its fault if it does not hold.
    pub fn expect(&mut self, rule: &'static str, holds: bool, fault: impl FnOnce() -> String) {
        *self.checks.entry(rule).or_default() += 1;
        if !holds {
            self.faults.push(format!("{rule}: {}", fault()));
        }
    }
}

/// Everything about `table` that must not be.
pub fn faults(table: &Table) -> Vec<String> {
    examine(table).faults
}

/// The invariant that an item of this kind is held to. Its key is held to I12.
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

/// Holds every item of `table` against the others.
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

    /// The id of the write that last left it: an update of the item alone, or a transaction that the item witnesses. Some
    /// witness every transaction that writes them.
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

    fn user(&mut self, at: &str, user: &Value) {
        let (id, address) = (text(user, "id"), text(user, "email"));
        self.expect(at == format!("USER#{id} USER"), || format!("{at}: is {id}"));
        let sessions = user["sessions"].as_object().map_or(0, Map::len);
        self.expect(sessions <= 16, || format!("{at}: {sessions} sessions"));
        let email = self
            .get(&format!("EMAIL#{address}"), "EMAIL")
            .cloned()
            .unwrap_or_default();
        self.expect(text(&email, "user_id") == id, || {
            format!("{at}: the e-mail's record is {email}")
        });
        let place = &user["membership"];
        let workspace = text(place, "workspace_id");
        self.expect(text(&email, "workspace_id") == workspace, || {
            format!(
                "{at}: in {workspace:?}, its e-mail's record in {}",
                email["workspace_id"]
            )
        });
        if place.is_null() {
            self.expect(user["gsi1pk"].is_null() && user["gsi1sk"].is_null(), || {
                format!("{at}: in no workspace, but in the index")
            });
            return;
        }
        self.expect(
            user["gsi1pk"] == format!("WS#{workspace}") && user["gsi1sk"] == format!("USER#{id}"),
            || format!("{at}: in the index at {} {}", user["gsi1pk"], user["gsi1sk"]),
        );
        self.expect(self.get(&format!("WS#{workspace}"), "WS").is_some(), || {
            format!("{at}: in workspace {workspace}, which is none")
        });
        let row = format!("MEMBER#{}#{id}", text(place, "joined_at"));
        let member = self.get(&format!("WS#{workspace}"), &row).cloned().unwrap_or_default();
        for field in ["id", "email", "name"] {
            self.expect(member[field] == user[field], || {
                format!("{at}: the member's {field} is {}", member[field])
            });
        }
        for field in ["role", "joined_at"] {
            self.expect(member[field] == place[field], || {
                format!("{at}: the member's {field} is {}", member[field])
            });
        }
    }

    fn email(&mut self, at: &str, email: &Value, pk: &str) {
        let user = self
            .get(&format!("USER#{}", text(email, "user_id")), "USER")
            .cloned()
            .unwrap_or_default();
        self.expect(pk == format!("EMAIL#{}", text(&user, "email")), || {
            format!("{at}: of the user {user}")
        });
    }

    fn workspace(&mut self, at: &str, workspace: &Value) {
        let pk = format!("WS#{}", text(workspace, "id"));
        let members = self.rows(&pk, "MEMBER#");
        let owners = members.iter().filter(|member| member["role"] == "owner").count();
        let counts = [
            ("owner_count", owners),
            ("member_count", members.len()),
            ("pending_count", self.rows(&pk, "PENDING#").len()),
        ];
        for (counter, rows) in counts {
            self.expect(workspace[counter] == rows, || {
                format!("{at}: {counter} is {}, rows are {rows}", workspace[counter])
            });
        }
        self.expect(owners > 0, || format!("{at}: nobody owns it"));
        let slug = self
            .get(&format!("SLUG#{}", text(workspace, "slug")), "SLUG")
            .cloned()
            .unwrap_or_default();
        self.expect(slug["workspace_id"] == workspace["id"], || {
            format!("{at}: its slug is of {slug}")
        });
    }

    fn slug(&mut self, at: &str, slug: &Value, pk: &str) {
        let workspace = self
            .get(&format!("WS#{}", text(slug, "workspace_id")), "WS")
            .cloned()
            .unwrap_or_default();
        self.expect(pk == format!("SLUG#{}", text(&workspace, "slug")), || {
            format!("{at}: of {workspace}")
        });
    }

    fn member(&mut self, at: &str, member: &Value, pk: &str) {
        let user = self
            .get(&format!("USER#{}", text(member, "id")), "USER")
            .cloned()
            .unwrap_or_default();
        let place = &user["membership"];
        let here = pk == format!("WS#{}", text(place, "workspace_id")) && place["joined_at"] == member["joined_at"];
        self.expect(here, || format!("{at}: the user's place is {place}"));
        self.expect(self.get(pk, "WS").is_some(), || {
            format!("{at}: there is no such workspace")
        });
    }

    fn pending(&mut self, at: &str, pending: &Value, pk: &str) {
        let id = text(pending, "id");
        let workspace = pk.strip_prefix("WS#").unwrap_or_default();
        self.expect(self.get(pk, "WS").is_some(), || {
            format!("{at}: there is no such workspace")
        });
        let invitation = self.get(&format!("INVITE#{id}"), "INVITE").cloned().unwrap_or_default();
        self.expect(invitation["workspace_id"] == workspace, || {
            format!("{at}: of {}", invitation["workspace_id"])
        });
        self.expect(invitation["end"].is_null(), || {
            format!("{at}: pending, and ended: {}", invitation["end"])
        });
        for field in ["email", "role", "invited_by", "created_at"] {
            self.expect(invitation[field] == pending[field], || {
                format!("{at}: {field} is {}", invitation[field])
            });
        }
        let guard = self
            .get(
                &format!("EMAIL#{}", text(pending, "email")),
                &format!("GUARD#{workspace}"),
            )
            .cloned();
        let guarded = guard
            .as_ref()
            .is_some_and(|guard| guard["invitation_id"] == id.as_str());
        self.expect(guarded, || format!("{at}: its e-mail's guard is another: {guard:?}"));
        let due = pending["gsi1pk"] == "DUE";
        self.expect(due == (pending["delivery"]["status"] == "queued"), || {
            format!("{at}: its mail is due: {due}, and {}", pending["delivery"]["status"])
        });
        let spent = !pending["recipient_budget"]["spent"].is_null();
        let withheld = text(&pending["delivery"], "reason").contains("withheld");
        self.expect(spent == withheld && !(spent && due), || {
            format!("{at}: the budget gave {}, due: {due}", pending["recipient_budget"])
        });
        let place = text(pending, "gsi1sk");
        self.expect(due == place.ends_with(&format!("Z#{id}")), || {
            format!("{at}: its mail is due: {due}, at {place:?}")
        });
    }

    fn guard(&mut self, at: &str, guard: &Value, pk: &str) {
        let workspace = text(guard, "workspace_id");
        let row = format!("PENDING#{}", text(guard, "invitation_id"));
        let pending = self.get(&format!("WS#{workspace}"), &row).cloned().unwrap_or_default();
        self.expect(pk == format!("EMAIL#{}", text(&pending, "email")), || {
            format!("{at}: guards {pending}")
        });
        self.expect(at.ends_with(&format!(" GUARD#{workspace}")), || {
            format!("{at}: of workspace {workspace}")
        });
    }

    fn invitation(&mut self, at: &str, invitation: &Value) {
        let (id, workspace) = (text(invitation, "id"), text(invitation, "workspace_id"));
        let is_pending = self.get(&format!("WS#{workspace}"), &format!("PENDING#{id}")).is_some();
        let end = &invitation["end"];
        if end.is_null() {
            self.expect(is_pending, || format!("{at}: neither pending nor ended"));
            return;
        }
        self.expect(!is_pending, || format!("{at}: pending and ended"));
        self.expect(invitation["ttl"].is_u64(), || format!("{at}: ended, and kept for ever"));
        let by = text(end, "accepted_by");
        let known = match text(end, "status").as_str() {
            "accepted" => self
                .get(&format!("USER#{by}"), "USER")
                .is_some_and(|user| user["email"] == invitation["email"]),
            "revoked" => by.is_empty(),
            _ => false,
        };
        self.expect(known, || format!("{at}: ended as {end}"));
    }

    /// What is remembered is of one request for a day, and holds no secret.
    fn idempotency(&mut self, at: &str, item: &Value) {
        self.expires(at, item);
        let fields: Vec<&str> = item["result"]
            .as_object()
            .map_or_else(Vec::new, |made| made.keys().map(String::as_str).collect());
        let of_workspace = ["created_at", "id", "name", "slug"];
        let of_invitation = [
            "created_at",
            "delivery",
            "email",
            "expires_at",
            "id",
            "invited_by",
            "invited_by_email",
            "link_page",
            "recipient_budget",
            "role",
        ];
        let is_invitation = fields == of_invitation;
        self.expect(is_invitation || fields == of_workspace, || {
            format!("{at}: remembers {fields:?}")
        });
        let workspace = text(item, "workspace_id");
        self.expect(is_invitation != workspace.is_empty(), || {
            format!("{at}: of workspace {workspace:?}")
        });
        self.expect(text(item, "fingerprint").len() == 43, || format!("{at}: of no request"));
        if is_invitation {
            let invitation = self
                .get(&format!("INVITE#{}", text(&item["result"], "id")), "INVITE")
                .cloned();
            let invitation = invitation.unwrap_or_default();
            self.expect(
                invitation["workspace_id"] == workspace.as_str() && invitation["email"] == item["result"]["email"],
                || format!("{at}: remembers what was not made: {invitation}"),
            );
        }
        self.expect(item["is_final"] == true || is_invitation, || {
            format!("{at}: is never answered")
        });
    }

    fn expires(&mut self, at: &str, item: &Value) {
        self.expect(item["ttl"].is_u64(), || format!("{at}: kept for ever"));
    }

    /// A day is the sum of its hours, or there are news of it.
    fn usage_hour(&mut self, at: &str, hour: &Value, pk: &str, sk: &str) {
        self.expires(at, hour);
        let day = sk.get(5..15).unwrap_or_default();
        let hours = counts(&self.rows(pk, &format!("HOUR#{day}")));
        let month = day.get(..7).unwrap_or_default();
        let rolled_up = counts(&self.rows(pk, &format!("MONTH#{month}#DAY#{day}")));
        let workspace = pk.strip_prefix("USAGE#").unwrap_or_default();
        let is_news = self.table.iter().any(|((pk, sk), news)| {
            let mut days = news["days"].as_array().into_iter().flatten();
            pk.starts_with("DIRTY#") && sk.starts_with(workspace) && days.any(|told| told == day)
        });
        self.expect(is_news || hours == rolled_up, || {
            format!("{at}: its day's hours are {hours:?}, the day {rolled_up:?}, and nothing is news")
        });
        self.expect(rolled_up[0] <= hours[0] && rolled_up[1] <= hours[1], || {
            format!("{at}: its day has more than its hours")
        });
    }

    fn usage_day(&mut self, at: &str, pk: &str, sk: &str) {
        let (month, day) = sk.split_once("#DAY#").unwrap_or_default();
        self.expect(day.starts_with(month.trim_start_matches("MONTH#")), || {
            format!("{at}: in another month")
        });
        self.expect(self.get(pk, month).is_some(), || format!("{at}: of no month"));
    }

    fn usage_month(&mut self, at: &str, month: &Value, pk: &str, sk: &str) {
        let (sum, days) = (counts(&[month]), counts(&self.rows(pk, &format!("{sk}#DAY#"))));
        self.expect(sum == days, || format!("{at}: is {sum:?}, its days are {days:?}"));
        self.expect(month["revision"].is_string(), || format!("{at}: has no revision"));
    }

    fn usage_dirty_markers(&mut self, at: &str, news: &Value, sk: &str) {
        let workspace = sk.split('#').next().unwrap_or_default();
        self.expect(news["version"].is_string(), || format!("{at}: has no version"));
        let days = news["days"].as_array().cloned().unwrap_or_default();
        self.expect(!days.is_empty(), || format!("{at}: of no day"));
        for day in days {
            let hours = format!("HOUR#{}", day.as_str().unwrap_or_default());
            self.expect(!self.rows(&format!("USAGE#{workspace}"), &hours).is_empty(), || {
                format!("{at}: of {day}, which has no hours")
            });
        }
    }

    fn usage_run(&mut self, at: &str, run: &Value, pk: &str) {
        let shard = pk.strip_prefix("RUN#").and_then(|shard| shard.parse::<u8>().ok());
        self.expect(shard.is_some_and(|shard| shard < 64), || format!("{at}: of no shard"));
        self.expect(run["as_of"].is_string(), || format!("{at}: at no time"));
    }

    fn notice(&mut self, at: &str, notice: &Value, pk: &str, sk: &str) {
        let [month, tier] = ["month", "tier"].map(|name| text(notice, name));
        let percent = notice["percent"].as_u64().unwrap_or_default();
        self.expect(sk == format!("NOTICE#{month}#{tier}#{percent}"), || {
            format!("{at}: is {notice}")
        });
        self.expect(pk == format!("NOTICE#{}", text(notice, "workspace_id")), || {
            format!("{at}: is {notice}")
        });
        if !notice["gsi1pk"].is_null() {
            let place = text(notice, "gsi1sk");
            let is_of_it = place.ends_with(&format!("Z#{pk}#{sk}"));
            self.expect(notice["gsi1pk"] == "DUE" && is_of_it, || {
                format!("{at}: due at {} {}", notice["gsi1pk"], notice["gsi1sk"])
            });
        }
        let units = match tier.as_str() {
            "developer" => 500_000,
            "pro" => 5_000_000,
            _ => u64::MAX,
        };
        let usage = format!("USAGE#{}", text(notice, "workspace_id"));
        let month = self.get(&usage, &format!("MONTH#{month}")).cloned().unwrap_or_default();
        let [events, deliveries] = counts(&[&month]);
        self.expect((2 * events + deliveries) * 50 >= units.saturating_mul(percent), || {
            format!("{at}: {events} events and {deliveries} deliveries are not so much")
        });
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
        self.expect(limit["ttl"].is_u64(), || format!("{at}: kept for ever"));
    }
}

/// Events and deliveries of items together.
fn counts(items: &[&Value]) -> [u64; 2] {
    ["location_events", "action_deliveries"].map(|name| items.iter().filter_map(|item| item[name].as_u64()).sum())
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
    assert!(entities.len() >= 12, "docs/table.md is not read rightly: {entities:?}");
    rows
}

/// Whether `key` is of the form of `pattern`, in which `<words>` stand for what differs.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::usage_support;

    #[test]
    fn a_key_is_of_its_pattern() {
        assert!(matches("USER#<user>", "USER#1"));
        assert!(matches("MEMBER#<joined_at>#<user>", "MEMBER#2026#1"));
        for key in ["USER#", "USERS#1", "1"] {
            assert!(!matches("USER#<user>", key), "{key}");
        }
        assert!(!matches("MEMBER#<joined_at>#<user>", "MEMBER#2026"));
        assert!(!matches("WS", "WS#1"));
    }

    #[tokio::test]
    async fn the_checker_sees_wrong_usage() {
        let world = World::new().await;
        let workspace = world.owner("ann").await.workspace().await.id();
        let now = world.clock.now().to_string();
        let used = async || {
            let records = [usage_support::record(&workspace, "location_event", 400_000, &now)];
            usage_support::ingest_records(&world, &records).await;
        };
        used().await;
        usage_support::roll_up(&world, &workspace).await;
        used().await;
        let table = read(&world).await;
        assert_hold(&table);
        let breaks = |entity: &str, change: fn(&mut Value)| {
            let mut broken = table.clone();
            let item = broken.values_mut().find(|item| item["entity"] == entity).unwrap();
            change(item);
            assert!(!faults(&broken).is_empty(), "nobody sees a wrong {entity}");
        };
        for entity in ["usage-day", "usage-month", "usage-dirty-marker"] {
            let mut broken = table.clone();
            broken.retain(|_, item| item["entity"] != entity);
            assert!(!faults(&broken).is_empty(), "nobody misses {entity}");
        }
        breaks("usage-record", |item| item["ttl"] = Value::Null);
        breaks("usage-hour", |item| item["ttl"] = Value::Null);
        breaks("usage-day", |item| item["location_events"] = Value::from(1));
        breaks("usage-month", |item| item["action_deliveries"] = Value::from(1));
        breaks("usage-dirty-marker", |item| {
            item["days"] = Value::from(vec!["2001-01-01"]);
        });
        breaks("usage-run", |item| item["as_of"] = Value::Null);
        breaks("notice", |item| item["percent"] = Value::from(100));
    }

    #[tokio::test]
    async fn the_checker_sees_what_is_wrong() {
        let world = World::new().await;
        let ann = world.owner("ann").await;
        ann.invite("ben@example.com", "member").await.expect(201);
        let table = read(&world).await;
        assert_hold(&table);
        for key in table.keys().filter(|(pk, _)| !pk.starts_with("LIMIT#") && pk != "KEYS") {
            let mut broken = table.clone();
            broken.remove(key);
            assert!(!faults(&broken).is_empty(), "nobody misses {key:?}");
        }
        for (key, counter) in table
            .iter()
            .filter(|(_, item)| item["entity"] == "workspace")
            .flat_map(|(key, _)| ["owner_count", "member_count", "pending_count"].map(|counter| (key, counter)))
        {
            let mut broken = table.clone();
            broken.get_mut(key).unwrap()[counter] = Value::from(7);
            assert!(!faults(&broken).is_empty(), "nobody counts {counter}");
        }
        for (entity, by) in [
            ("invitation", Value::from("nobody")),
            ("user", Value::from("nobody")),
            ("invitation", Value::Null),
            ("slug", Value::Null),
            ("guard", Value::from("0123456789abcdef")),
        ] {
            let mut broken = table.clone();
            let item = broken.values_mut().find(|item| item["entity"] == entity).unwrap();
            item["last_write"] = by;
            assert!(!faults(&broken).is_empty(), "nobody sees who wrote the {entity}");
        }
    }
}
