//! Idempotency keys: a client sends the same key with every attempt of one request
//! (draft-ietf-httpapi-idempotency-key-header).

use std::time::Duration;

/// How long an idempotency record is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The longest key, in characters.
const CHARACTERS_MAX: usize = 255;

/// A key of 1 to 255 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Error: the header's value is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 printable ASCII characters, bare or as a quoted string")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// Parses the header's value. The draft prescribes a quoted string (RFC 9651 §3.3.3), but some clients send the
    /// text without quotes. Both forms yield the same key.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidKey> {
        let text = std::str::from_utf8(value).map_err(|_| InvalidKey)?;
        let text = text.trim_matches([' ', '\t']);
        let key = match text.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or(InvalidKey)?,
            None => text.to_owned(),
        };
        let is_printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if is_printable && (1..=CHARACTERS_MAX).contains(&key.len()) {
            Ok(Self(key))
        } else {
            Err(InvalidKey)
        }
    }

    /// The key as text, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The unescaped text of a quoted string, where `rest` is the part after the opening quote. The closing quote must be
/// the last character.
fn unquoted(rest: &str) -> Option<String> {
    let mut text = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(text),
            '\\' => text.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bare_key_equals_the_same_key_in_quotes() {
        let key = |value: &str| IdempotencyKey::parse(value.as_bytes());
        assert_eq!(key("8e03978e-40d5"), key("\"8e03978e-40d5\""));
        assert_eq!(key(" a b\t").unwrap().as_str(), "a b");
        assert_eq!(key(r#""a\"b\\c""#).unwrap().as_str(), r#"a"b\c"#);
        assert!(key(&"k".repeat(255)).is_ok());
        assert!(key(&format!("\"{}\"", "k".repeat(255))).is_ok());
    }

    #[test]
    fn an_invalid_key_is_rejected() {
        let long = "k".repeat(256);
        for value in [
            "",
            " ",
            "\"\"",
            "\"",
            "\"a",
            "\"a\"b",
            "\"a\\b\"",
            "\"a\\",
            "a\tb",
            "a\u{7f}",
            "schlüssel",
            &long,
        ] {
            assert_eq!(IdempotencyKey::parse(value.as_bytes()), Err(InvalidKey), "{value:?}");
        }
        assert_eq!(IdempotencyKey::parse(b"a\xff"), Err(InvalidKey));
    }

    proptest! {
        #[test]
        fn every_printable_text_can_be_sent_as_a_quoted_key(text in "[ -~]{1,255}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let key = IdempotencyKey::parse(quoted.as_bytes()).unwrap();
            prop_assert_eq!(key.as_str(), text);
        }

        #[test]
        fn parsing_any_bytes_never_panics_and_respects_the_length_limit(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(key) = IdempotencyKey::parse(&value) {
                prop_assert!((1..=255).contains(&key.as_str().len()));
            }
        }
    }
}
