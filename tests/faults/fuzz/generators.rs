//! Generators of texts, JSON values and bodies.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

/// A change of a text.
#[derive(Clone, Debug)]
pub enum Edit {
    Replace(Index, char),
    Insert(Index, char),
    Delete(Index),
    Cut(Index),
    Double(Index),
    Swap(Index, Index),
    Append(String),
}

pub fn edits() -> impl Strategy<Value = Vec<Edit>> {
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

pub fn edited(text: &str, edits: &[Edit]) -> String {
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

/// A text, percent-encoded for a query or a path.
pub fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// JSON values of every type.
pub fn json_value() -> impl Strategy<Value = Value> {
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

/// Texts of every kind, among them values that some field accepts.
pub fn text() -> impl Strategy<Value = String> {
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

/// Bodies for an operation with these fields.
pub fn body(fields: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    let object = {
        let fields = fields.clone();
        prop::collection::vec(json_value(), fields.len()).prop_map(move |values| {
            let pairs = fields.iter().cloned().zip(values);
            Value::from(pairs.collect::<Map<_, _>>()).to_string()
        })
    };
    // What `Value` cannot represent: a repeated name, a number out of range, a lone surrogate, or too much depth.
    let unusual = select(
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
    let written = prop::collection::vec((select(fields), prop_oneof![unusual, deep]), 1..6).prop_map(|pairs| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
        format!("{{{}}}", pairs.join(","))
    });
    let whole = prop_oneof![4 => object, 2 => written, 2 => json_value().prop_map(|value| value.to_string())];
    prop_oneof![
        6 => whole.clone().prop_map(String::into_bytes),
        2 => (whole, edits()).prop_map(|(body, edits)| edited(&body, &edits).into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}
