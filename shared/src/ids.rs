//! Identifiers, and the random bytes of ids and secrets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Time;

/// The text is not a UUID in its form with 36 characters.
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
            /// Makes a new id, a UUID v7: later ids sort after earlier ones.
            #[must_use]
            pub fn new(now: Time) -> Self {
                Self(uuid_v7(now))
            }

            /// The id with these 16 bytes.
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
    /// The id of a user.
    UserId
);
id!(
    /// The id of a workspace.
    WorkspaceId
);
id!(
    /// The id of an invitation.
    InvitationId
);
id!(
    /// The id of a usage record.
    RecordId
);
id!(
    /// The id of a session, which stays the same when the session is refreshed.
    SessionId
);

/// Returns `N` bytes of the operating system's random generator.
///
/// # Panics
///
/// When the system provides no randomness.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness no token is safe")]
    getrandom::fill(&mut bytes).expect("the system provides randomness");
    bytes
}

/// Makes a UUID v7 for something that is not stored, such as a request.
#[must_use]
pub(crate) fn uuid_v7(now: Time) -> Uuid {
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
    fn later_ids_sort_after_earlier_ones() {
        let earlier = UserId::new(Time::from_millis(1_700_000_000_000));
        let later = UserId::new(Time::from_millis(1_700_000_000_001));
        assert!(earlier.to_string() < later.to_string());
    }
}
