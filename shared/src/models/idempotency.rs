//! Idempotency keys: the name that a client gives to one request, however often it sends it
//! (draft-ietf-httpapi-idempotency-key-header).

use std::time::Duration;

/// How long a request is remembered under its key.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Characters that a key has at most.
const CHARACTERS_MAX: usize = 255;

/// A key, between 1 and 255 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The value is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 printable ASCII characters, bare or as a quoted string")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// Parses a header's value. The draft has a quoted string there (RFC 9651 §3.3.3); clients also send the bare text. Both
    /// are one key.
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

    /// The key itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text of a quoted string, of which `rest` follows the opening quote: up to the closing one, which must be the end.
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
    fn a_key_is_the_same_bare_and_quoted() {
        let key = |value: &str| IdempotencyKey::parse(value.as_bytes());
        assert_eq!(key("8e03978e-40d5"), key("\"8e03978e-40d5\""));
        assert_eq!(key(" a b\t").unwrap().as_str(), "a b");
        assert_eq!(key(r#""a\"b\\c""#).unwrap().as_str(), r#"a"b\c"#);
        assert!(key(&"k".repeat(255)).is_ok());
        assert!(key(&format!("\"{}\"", "k".repeat(255))).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused() {
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
        fn every_printable_text_can_be_quoted(text in "[ -~]{1,255}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let key = IdempotencyKey::parse(quoted.as_bytes()).unwrap();
            prop_assert_eq!(key.as_str(), text);
        }

        #[test]
        fn no_bytes_are_too_strange(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(key) = IdempotencyKey::parse(&value) {
                prop_assert!((1..=255).contains(&key.as_str().len()));
            }
        }
    }
}
