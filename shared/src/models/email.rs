//! E-mail addresses in the normalized form in which they are stored and compared.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An address that mail can be sent to, trimmed and in lower case, so that two spellings of one address compare equal.
///
/// Only ASCII addresses are accepted, because SES delivers to no others (an internationalised domain has its `xn--`
/// form). ASCII also rules out look-alike characters and differing Unicode normal forms.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EmailAddress(String);

/// Error: the text is not an e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address")]
pub struct InvalidEmail;

/// RFC 5321 §4.5.3.1.3: a path has at most 256 octets, and its angle brackets take two of them.
const LENGTH_MAX: usize = 254;

impl EmailAddress {
    /// Parses an address that a person typed.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        if text.len() > LENGTH_MAX || !text.is_ascii() || text.contains(['"', '<', '>', '\\', '(', ')', '[']) {
            return Err(InvalidEmail);
        }
        let options = email_address::Options::default()
            .with_required_tld()
            .without_display_text()
            .without_domain_literal();
        email_address::EmailAddress::parse_with_options(text, options).map_err(|_| InvalidEmail)?;
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The sender of the local stack's mails.
    #[must_use]
    pub(crate) fn local_sender() -> Self {
        Self("invitations@workspaces.example".to_owned())
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.0
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = InvalidEmail;

    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_and_surrounding_space_are_ignored() {
        let address = EmailAddress::parse("  Ann.O'Hara+Test@Example.COM ").unwrap();
        assert_eq!(address.as_str(), "ann.o'hara+test@example.com");
    }

    #[test]
    fn an_address_that_mail_cannot_be_sent_to_is_rejected() {
        let long = format!("{}@example.com", "a".repeat(250));
        for text in [
            "",
            "@",
            "ann",
            "ann@",
            "@example.com",
            "ann@localhost",
            "ann@[127.0.0.1]",
            "a b@example.com",
            "ann@example.com\r\nBcc: eve@example.com",
            "ann@exa\0mple.com",
            "\"a b\"@example.com",
            "ann@example..com",
            "Ann <ann@example.com>",
            "änn@example.com",
            "ann@exämple.com",
            "ann@example.com,bob@example.com",
            &long,
        ] {
            assert_eq!(EmailAddress::parse(text), Err(InvalidEmail), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in "\\PC{0,80}") {
            if let Ok(address) = EmailAddress::parse(&text) {
                prop_assert_eq!(EmailAddress::parse(address.as_str()), Ok(address.clone()));
                prop_assert!(!address.as_str().chars().any(char::is_whitespace));
            }
        }
    }
}
