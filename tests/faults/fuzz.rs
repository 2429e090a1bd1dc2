//! Generated input: whatever is sent, the answer is one of the contract's, and what is no proof opens nothing.
//!
//! `PROPTEST_CASES` says how many cases a target gets, where a target that costs more gets fewer of them. `just fuzz`
//! runs many, and says how many there were.

use std::cell::Cell;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use shared::models::email::EmailAddress;
use tokio::runtime::Runtime;

use crate::faults::hostile::proper;
use crate::support::harness::{Operation, Person, World, operations, proof};
use crate::support::invariants;

/// Acts after which a person signs in again: long before their token ends, on a slow machine too.
const ACTS_A_SESSION: u32 = 500;

/// Runs `test` on generated cases, and says on how many. `cost` is how much one costs, in those of a pure parser.
fn fuzz<S: Strategy>(target: &str, cost: u32, strategy: &S, test: impl Fn(S::Value)) {
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    config.cases = config.cases.div_ceil(cost);
    let cases = Cell::new(0_u64);
    let ended = TestRunner::new(config).run(strategy, |value| {
        cases.set(cases.get() + 1);
        test(value);
        Ok(())
    });
    println!("\nfuzz {target}: {} cases", cases.get());
    if let Err(failure) = ended {
        panic!("{target}: {failure}");
    }
}

/// A world, and the runtime in which its people act.
struct Stage {
    runtime: Runtime,
    world: World,
}

impl Stage {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let world = runtime.block_on(World::new());
        Self { runtime, world }
    }

    fn run<T>(&self, deed: impl Future<Output = T>) -> T {
        self.runtime.block_on(deed)
    }

    fn owner(&self) -> Player<'_> {
        Player {
            stage: self,
            person: self.run(self.world.owner("owner")).into(),
            acts: Cell::new(0),
        }
    }

    /// What every generated case may have written.
    fn is_sound(&self) {
        self.run(invariants::check(&self.world));
    }
}

/// An owner who acts often: signed in anew from time to time, and never from an address that is limited.
struct Player<'w> {
    stage: &'w Stage,
    person: std::cell::RefCell<Person<'w>>,
    acts: Cell<u32>,
}

impl<'w> Player<'w> {
    fn act(&self) -> Person<'w> {
        let acts = self.acts.get() + 1;
        self.acts.set(acts);
        let mut person = self.person.borrow_mut();
        person.address = IpAddr::from(Ipv4Addr::from(0x0b00_0000 + acts));
        if acts.is_multiple_of(ACTS_A_SESSION) {
            // Logins are limited by the minute.
            self.stage.world.pass(60);
            self.stage.run(person.log_in());
        }
        person.clone()
    }
}

/// One change of a text.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, char),
    Insert(Index, char),
    Delete(Index),
    Cut(Index),
    Double(Index),
    Swap(Index, Index),
    Append(String),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let letter = || {
        prop_oneof![
            4 => proptest::char::range('!', '~'),
            1 => select(vec!['.', '=', '-', '_', ' ', '\0', '\u{202e}', 'é'])
        ]
    };
    let edit = prop_oneof![
        (any::<Index>(), letter()).prop_map(|(at, new)| Edit::Replace(at, new)),
        (any::<Index>(), letter()).prop_map(|(at, new)| Edit::Insert(at, new)),
        any::<Index>().prop_map(Edit::Delete),
        any::<Index>().prop_map(Edit::Cut),
        any::<Index>().prop_map(Edit::Double),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Edit::Swap(one, other)),
        "[!-~]{1,20}".prop_map(Edit::Append),
    ];
    prop::collection::vec(edit, 1..4)
}

fn edited(text: &str, edits: &[Edit]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for edit in edits {
        if chars.is_empty() {
            chars.push('x');
        }
        let length = chars.len();
        match edit {
            Edit::Replace(at, new) => chars[at.index(length)] = *new,
            Edit::Insert(at, new) => chars.insert(at.index(length + 1), *new),
            Edit::Delete(at) => drop(chars.remove(at.index(length))),
            Edit::Cut(at) => chars.truncate(at.index(length)),
            Edit::Double(at) => {
                let tail = chars[at.index(length)..].to_vec();
                chars.extend(tail);
            }
            Edit::Swap(one, other) => chars.swap(one.index(length), other.index(length)),
            Edit::Append(more) => chars.extend(more.chars()),
        }
    }
    chars.into_iter().collect()
}

/// A text as it stands in a query or a path.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// JSON of every kind.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// Texts of every kind, those that some field takes among them.
fn text() -> impl Strategy<Value = String> {
    let known = [
        "owner@example.com",
        "guest@example.com",
        "member",
        "owner",
        "Europe/Berlin",
        "metric",
        "https://example.com/a?b#c",
        "2030-01-01T00:00:00Z",
        "correct horse",
        "00000000-0000-7000-8000-000000000000",
        "USER#1",
    ];
    prop_oneof![
        3 => any::<String>(),
        3 => select(known.map(str::to_owned).to_vec()),
        1 => (select(known.map(str::to_owned).to_vec()), edits()).prop_map(|(known, edits)| edited(&known, &edits)),
        1 => "[a-z \\u{0}\\u{ad}\\u{200b}\\u{2028}\\u{feff}\\u{1f4a5}]{0,300}",
    ]
}

/// A body for an operation with these fields, as bytes.
fn body(fields: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    let object = {
        let fields = fields.clone();
        prop::collection::vec(anything(), fields.len()).prop_map(move |values| {
            let pairs = fields.iter().cloned().zip(values);
            Value::from(pairs.collect::<Map<_, _>>()).to_string()
        })
    };
    // What `Value` cannot hold: a name twice, a number beyond every type, half a character, more depth than is read.
    let odd = select(
        [
            "1e400",
            "-1e400",
            "1E-400",
            "-0",
            "99999999999999999999999999999999",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"\\u0000\"",
            "NaN",
            "01",
            "'x'",
            "{\"a\":1,\"a\":2}",
        ]
        .map(str::to_owned)
        .to_vec(),
    );
    let deep = (1_usize..400, any::<bool>()).prop_map(|(depth, closed)| {
        let end = if closed { "]".repeat(depth) } else { String::new() };
        format!("{}{end}", "[".repeat(depth))
    });
    let written = prop::collection::vec((select(fields), prop_oneof![odd, deep]), 1..6).prop_map(|pairs| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
        format!("{{{}}}", pairs.join(","))
    });
    let whole = prop_oneof![4 => object, 2 => written, 2 => anything().prop_map(|value| value.to_string())];
    prop_oneof![
        6 => whole.clone().prop_map(String::into_bytes),
        2 => (whole, edits()).prop_map(|(body, edits)| edited(&body, &edits).into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

#[test]
fn no_text_but_a_token_of_ours_authenticates() {
    let stage = Stage::new();
    let owner = stage.owner();
    let token = owner.act().access.unwrap();
    let bearer = prop_oneof![
        3 => edits().prop_map(Err),
        1 => "[ -~]{0,200}".prop_map(Ok),
        1 => "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}".prop_map(Ok),
        1 => prop::collection::vec(proptest::char::range('\u{80}', '\u{ff}'), 1..40).prop_map(|text| Ok(text.into_iter().collect())),
    ];
    fuzz("access tokens", 4, &bearer, |sent| {
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(&token, &edits));
        let Ok(header) = format!("Bearer {sent}").parse::<axum::http::HeaderValue>() else {
            return;
        };
        if sent.trim() == token {
            return;
        }
        let request = Request::get("/api/v1/auth/me").header("authorization", header);
        let answer = stage.run(
            stage
                .world
                .send(request.body(Body::empty()).unwrap(), owner.act().address),
        );
        proper(answer).refused(401, "TOKEN_INVALID");
    });
}

#[test]
fn no_text_but_a_refresh_token_of_ours_refreshes() {
    let stage = Stage::new();
    let owner = stage.owner();
    let token = owner.act().refresh;
    let sent = prop_oneof![3 => edits().prop_map(Err), 1 => any::<String>().prop_map(Ok)];
    fuzz("refresh tokens", 4, &sent, |sent| {
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(&token, &edits));
        if sent == token {
            return;
        }
        let stranger = owner.act().signed_out();
        let answer = stage.run(stranger.post("/auth/refresh", json!({"refresh_token": sent})));
        proper(answer).refused(401, "TOKEN_INVALID");
    });
    let kept = Person {
        refresh: token,
        ..owner.act()
    };
    stage.run(kept.refresh()).expect(200);
}

#[test]
fn no_text_but_a_cursor_of_the_list_pages_on() {
    let stage = Stage::new();
    let owner = stage.owner();
    let cursors = stage.run(async {
        let person = owner.act();
        stage.world.joins(&person, "member", "member").await;
        for name in ["one", "two"] {
            person
                .invite(&format!("{name}@example.com"), "member")
                .await
                .expect(201);
        }
        let mut cursors = Vec::new();
        for path in ["/workspaces/members", "/workspaces/invitations"] {
            let page = person.get(&format!("{path}?limit=1")).await.expect(200);
            cursors.push((path, page.body["next_cursor"].as_str().unwrap().to_owned()));
        }
        cursors
    });
    let sent = prop_oneof![3 => edits().prop_map(Err), 1 => any::<String>().prop_map(Ok)];
    fuzz("cursors", 4, &(select(cursors), sent), |((path, cursor), sent)| {
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(&cursor, &edits));
        if sent == cursor {
            return;
        }
        let path = format!("{path}?limit=1&cursor={}", escaped(&sent));
        let faults = proper(stage.run(owner.act().get(&path)).expect(422)).invalid_fields();
        assert_eq!(faults, ["query.cursor"]);
    });
}

#[test]
fn no_text_but_an_id_finds_anything() {
    let stage = Stage::new();
    let owner = stage.owner();
    let id = owner.act().id;
    let about: Vec<Operation> = operations()
        .into_iter()
        .filter(|operation| operation.path.contains('{'))
        .collect();
    let sent = prop_oneof![1 => edits().prop_map(Err), 1 => any::<String>().prop_map(Ok)];
    let body = json!({"role": "member", "expires_at": "2030-01-01T00:00:00Z"});
    fuzz("ids", 8, &(select(about), sent), |(operation, sent)| {
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(&id, &edits));
        let same = uuid::Uuid::try_parse(&sent).is_ok_and(|sent| sent.to_string() == id);
        if sent.is_empty() || same {
            return;
        }
        let path = operation.about(&escaped(&sent));
        let answer = stage.run(owner.act().call(&operation.method, &path, Some(body.clone())));
        let limited = operation.path.ends_with("/resend") && answer.status == 429;
        assert!(limited || answer.status == 404, "{path}: {}", answer.text);
        proper(answer);
    });
    stage.is_sound();
}

#[test]
fn every_body_is_answered_as_the_contract_says() {
    let stage = Stage::new();
    let owner = stage.owner();
    let (member, invitation) = stage.run(async {
        let person = owner.act();
        let member = stage.world.joins(&person, "member", "member").await;
        (
            member.id,
            person.invite("guest@example.com", "member").await.expect(201).id(),
        )
    });
    let taking: Vec<Operation> = operations()
        .into_iter()
        .filter(|operation| operation.fields.is_some())
        .collect();
    assert!(taking.len() > 8, "the document is not read rightly");
    let case = select(taking).prop_flat_map(|operation| {
        let fields = operation.fields.clone().unwrap_or_default();
        (Just(operation), body(fields))
    });
    fuzz("bodies", 1, &case, |(operation, body)| {
        let about = if operation.path.contains("{user_id}") {
            &member
        } else {
            &invitation
        };
        let person = owner.act();
        let person = if operation.open { person.signed_out() } else { person };
        let answer = stage.run(person.raw(&operation.method, &operation.about(about), body));
        assert!(
            operation.open || answer.status != 401,
            "{}: {}",
            operation.name(),
            answer.text
        );
        proper(answer);
    });
    stage.is_sound();
}

#[test]
fn no_link_but_the_mailed_one_opens_an_invitation() {
    let stage = Stage::new();
    let owner = stage.owner();
    let issued = stage.run(owner.act().invite("guest@example.com", "member")).expect(201);
    let link = proof(&issued, json!({}));
    let routes = vec!["/auth/invitation", "/auth/accept-invite", "/auth/decline-invite"];
    let sent = prop_oneof![3 => edits().prop_map(Err), 1 => any::<String>().prop_map(Ok)];
    let case = (select(routes), select(vec!["invite_id", "token"]), sent);
    fuzz("invitation links", 4, &case, |(route, field, sent)| {
        let genuine = link[field].as_str().unwrap();
        let sent = sent.unwrap_or_else(|edits: Vec<Edit>| edited(genuine, &edits));
        let same_id = uuid::Uuid::try_parse(&sent).is_ok_and(|sent| sent.to_string() == genuine);
        if sent == genuine || same_id {
            return;
        }
        let mut body = link.clone();
        body["password"] = json!("correct horse");
        body[field] = json!(sent);
        let answer = stage.run(owner.act().signed_out().post(route, body));
        proper(answer).refused(404, "INVITATION_NOT_FOUND");
    });
    let status = stage.run(owner.act().signed_out().preview(&issued)).expect(200).body["status"].clone();
    assert_eq!(status, "pending");
}

#[test]
fn a_workspace_keeps_what_it_took_and_took_nothing_in_part() {
    let stage = Stage::new();
    let owner = stage.owner();
    let fields = [
        "name",
        "logo_url",
        "website",
        "billing_email",
        "description",
        "timezone",
        "support_email",
        "slack_connect_url",
        "unit_system",
        "map_home",
    ];
    let value = prop_oneof![3 => text().prop_map(Value::from), 1 => anything()];
    let changes = prop::collection::vec((select(fields.to_vec()), value), 1..4);
    fuzz("workspace fields", 8, &changes, |changes| {
        let changes: Map<String, Value> = changes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let person = owner.act();
        let before = stage.run(person.workspace()).expect(200).body;
        let answer = proper(stage.run(person.patch("/workspaces/", changes.clone().into())));
        let after = stage.run(person.workspace()).expect(200).body;
        if answer.status == 422 {
            assert_eq!(after, before);
            return;
        }
        assert_eq!(answer.expect(200).body, after);
        // What it has become is what it would become again, and nothing else has changed.
        let again: Map<String, Value> = changes.keys().map(|name| (name.clone(), after[name].clone())).collect();
        let repeated = stage.run(person.patch("/workspaces/", again.into())).expect(200).body;
        for field in fields {
            assert_eq!(repeated[field], after[field], "{field}");
            assert!(changes.contains_key(field) || after[field] == before[field], "{field}");
        }
    });
    stage.is_sound();
}

#[test]
fn an_address_that_is_taken_fits_into_a_mails_header() {
    let label = "[a-zA-Z0-9-]{0,12}";
    let near = (
        "[ \\t]{0,2}",
        "[ -~éß\\r\\n\\x00]{0,20}",
        "@{0,2}",
        prop::collection::vec(label, 0..4),
        "[ \\t\\r\\n]{0,2}",
    )
        .prop_map(|(before, local, at, labels, behind)| format!("{before}{local}{at}{}{behind}", labels.join(".")));
    let typed = prop_oneof![
        4 => near,
        2 => edits().prop_map(|edits| edited("Ann.O'Hara+Test@Example.co.uk", &edits)),
        1 => any::<String>(),
    ];
    let taken = Cell::new(0);
    fuzz("e-mail addresses", 1, &typed, |typed| {
        let Ok(address) = EmailAddress::parse(&typed) else {
            return;
        };
        taken.set(taken.get() + 1);
        let text = address.as_str();
        assert_eq!(EmailAddress::parse(text), Ok(address.clone()), "{text:?}");
        assert_eq!(
            EmailAddress::parse(&text.to_uppercase()),
            Ok(address.clone()),
            "{text:?}"
        );
        assert_eq!(
            EmailAddress::parse(&format!(" {text}\r\n")),
            Ok(address.clone()),
            "{text:?}"
        );
        assert!(text.len() <= 254 && text.matches('@').count() == 1, "{text:?}");
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\"(),:;<>[\\]".contains(&byte)),
            "{text:?}"
        );
    });
    assert!(taken.get() > 0, "no generated address was one");
}

/// A change of an event: one of its values, or its text.
#[derive(Clone, Debug)]
enum Change {
    Value(Index, Value),
    Gone(Index),
    Text(Vec<Edit>),
}

/// Where the values of a JSON value are, as JSON pointers.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                pointers(
                    value,
                    &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
                    all,
                );
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}

fn changed(event: &Value, changes: &[Change]) -> String {
    let mut event = event.clone();
    for change in changes {
        let mut all = Vec::new();
        pointers(&event, "", &mut all);
        match change {
            Change::Value(at, new) => {
                if let Some(value) = event.pointer_mut(at.get::<String>(&all)) {
                    *value = new.clone();
                }
            }
            Change::Gone(at) => {
                let pointer: &String = at.get(&all);
                let parent = pointer
                    .rsplit_once('/')
                    .and_then(|(parent, name)| Some((event.pointer_mut(parent)?, name)));
                if let Some((Value::Object(fields), name)) = parent {
                    fields.remove(&name.replace("~1", "/").replace("~0", "~"));
                }
            }
            Change::Text(edits) => return edited(&event.to_string(), edits),
        }
    }
    event.to_string()
}

#[test]
fn no_event_makes_a_function_panic() {
    let stage = Stage::new();
    let owner = stage.owner();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let mut events = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let event: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        events.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), event));
    }
    events.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(events.len() > 20, "the events are not where they were");
    let names = local::functions::names();
    let change = prop_oneof![
        4 => (any::<Index>(), anything()).prop_map(|(at, new)| Change::Value(at, new)),
        2 => any::<Index>().prop_map(Change::Gone),
        1 => edits().prop_map(Change::Text),
    ];
    let case = (
        select(events),
        select(names.clone()),
        prop::bool::weighted(0.8),
        prop::collection::vec(change, 1..4),
    );
    fuzz("events", 1, &case, |((file, event), any_name, own, changes)| {
        // An event's file begins with the name of its function.
        let own_name = names
            .iter()
            .copied()
            .filter(|name| file.starts_with(name))
            .max_by_key(|name| name.len());
        let name = own_name.filter(|_| own).unwrap_or(any_name);
        let person = owner.act();
        let event = changed(&event, &changes).replace("{{token}}", person.access.as_deref().unwrap_or_default());
        let app = stage.world.app.clone();
        let called = stage.run(local::functions::call(app, name, event.as_bytes())).unwrap();
        let text = match called {
            Ok(answer) => String::from_utf8(answer).unwrap(),
            Err(refused) => {
                let text = refused.to_string();
                assert!(!text.contains("panicked"), "{name}: {text}");
                return;
            }
        };
        let answer: Value = serde_json::from_str(&text).unwrap();
        let own_status = answer["statusCode"].as_u64();
        assert!(own_status.is_none_or(|status| status < 500), "{name}: {text}");
    });
    stage.is_sound();
}

/// A check that cannot fail would pass everything above.
#[test]
fn a_target_finds_what_is_rare() {
    let found =
        std::panic::catch_unwind(|| fuzz("a rule that breaks", 1, &any::<u8>(), |number| assert!(number < 250)));
    assert!(found.is_err());
}
