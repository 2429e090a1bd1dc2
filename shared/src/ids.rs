//! Identifiers, and the one place that makes what must not be guessed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Time;

/// The text is no UUID in its 36-character form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID")]
pub struct InvalidId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id (UUID v7: ids made later sort later).
            #[must_use]
            pub fn new(now: Time) -> Self {
                Self(uuid_v7(now))
            }

            /// From the 16 bytes of a UUID.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes of the UUID.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }
    };
}

id!(
    /// A user.
    UserId
);
id!(
    /// A workspace.
    WorkspaceId
);
id!(
    /// An invitation.
    InvitationId
);
id!(
    /// A usage record.
    RecordId
);
id!(
    /// A session: one login, however often it is refreshed.
    SessionId
);

/// `N` bytes from the operating system's generator.
///
/// # Panics
///
/// When the system has no randomness: nothing safe can be done then.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "without randomness no token is safe; ending is the only right answer"
    )]
    getrandom::fill(&mut bytes).expect("the system provides randomness");
    bytes
}

/// A UUID v7 for things that are no entity, such as a request.
#[must_use]
pub fn uuid_v7(now: Time) -> Uuid {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let id = UserId::new(Time::from_millis(1_700_000_000_000));
        assert_eq!(id.to_string().parse::<UserId>(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse::<UserId>(), Ok(id));
        for text in [
            "",
            "x",
            "urn:uuid:00000000-0000-0000-0000-000000000000",
            "{00000000-0000-0000-0000-000000000000}",
        ] {
            assert_eq!(text.parse::<UserId>(), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn ids_made_later_sort_later() {
        let earlier = UserId::new(Time::from_millis(1_700_000_000_000));
        let later = UserId::new(Time::from_millis(1_700_000_000_001));
        assert!(earlier.to_string() < later.to_string());
    }
}
