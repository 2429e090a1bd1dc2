//! Refresh tokens: the ids of the user and the session, the generation of the token, and a MAC over them.
//!
//! No token is stored. The session holds the current generation. For a short time, a token
//! of the previous generation returns the current token again, because the first response may have been lost. After that,
//! and for older tokens, the use of a replaced token shows that a copy exists, and the session ends.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::{SessionId, UserId, WorkspaceId};
use crate::secret::{DerivedKey, Secret};

const PAYLOAD_BYTES: usize = 16 * 3 + 8;
const TAG_BYTES: usize = 32;

/// The content of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// The user.
    pub user_id: UserId,
    /// The session.
    pub session_id: SessionId,
    /// The workspace of the session when the token was made. It selects the keys of the first read and proves nothing.
    pub workspace_id: Option<WorkspaceId>,
    /// The number of the token in its session: 0 at sign-in, one more after each refresh.
    pub generation: u64,
}

/// Seals and opens refresh tokens with keys that are derived from the signing seeds.
#[derive(Clone, Debug)]
pub struct RefreshKeys(Vec<DerivedKey>);

impl RefreshKeys {
    /// Derives a key from each seed. The first one seals; every one opens.
    #[must_use]
    pub fn new(seeds: &[Secret]) -> Self {
        Self(
            seeds
                .iter()
                .map(|seed| DerivedKey::derive(seed, "refresh-token"))
                .collect(),
        )
    }

    /// Serializes the token with its MAC.
    #[must_use]
    pub fn seal(&self, token: &RefreshToken) -> Secret {
        let payload = payload(token);
        let tag = self
            .0
            .first()
            .map_or_else(crate::ids::random_bytes, |key| key.tag(&[&payload]));
        Secret::new(URL_SAFE_NO_PAD.encode([payload.as_slice(), &tag].concat()))
    }

    /// Parses a token and verifies its MAC; none when no key of this ring made it.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<RefreshToken> {
        if text.len() > (PAYLOAD_BYTES + TAG_BYTES) * 2 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (payload, tag) = bytes.split_at_checked(PAYLOAD_BYTES)?;
        let genuine = self
            .0
            .iter()
            .any(|key| aws_lc_rs::constant_time::verify_slices_are_equal(&key.tag(&[payload]), tag).is_ok());
        if !genuine {
            return None;
        }
        let id = |at: usize| -> Option<[u8; 16]> { payload.get(at..at + 16)?.try_into().ok() };
        let workspace = id(32)?;
        Some(RefreshToken {
            user_id: UserId::from_bytes(id(0)?),
            session_id: SessionId::from_bytes(id(16)?),
            workspace_id: (workspace != [0; 16]).then(|| WorkspaceId::from_bytes(workspace)),
            generation: u64::from_be_bytes(payload.get(48..56)?.try_into().ok()?),
        })
    }
}

fn payload(token: &RefreshToken) -> Vec<u8> {
    [
        token.user_id.as_bytes().as_slice(),
        token.session_id.as_bytes(),
        token
            .workspace_id
            .as_ref()
            .map_or(&[0; 16], WorkspaceId::as_bytes)
            .as_slice(),
        &token.generation.to_be_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(seed: &str) -> RefreshKeys {
        RefreshKeys::new(&[Secret::new(seed)])
    }

    proptest! {
        #[test]
        fn only_what_was_sealed_opens(generation in any::<u64>(), flip in any::<prop::sample::Index>()) {
            let token = RefreshToken {
                user_id: UserId::from_bytes([1; 16]),
                session_id: SessionId::from_bytes([2; 16]),
                workspace_id: (generation % 2 == 0).then(|| WorkspaceId::from_bytes([3; 16])),
                generation,
            };
            let sealed = keys("a").seal(&token);
            prop_assert_eq!(keys("a").open(sealed.expose()), Some(token));
            prop_assert_eq!(keys("b").open(sealed.expose()), None);
            prop_assert_eq!(RefreshKeys::new(&[Secret::new("b"), Secret::new("a")]).open(sealed.expose()), Some(token));
            let mut bytes = URL_SAFE_NO_PAD.decode(sealed.expose()).unwrap();
            let at = flip.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert_eq!(keys("a").open(&URL_SAFE_NO_PAD.encode(bytes)), None);
        }

        #[test]
        fn opening_never_panics(text in "\\PC{0,300}") {
            prop_assert_eq!(keys("a").open(&text), None);
        }
    }
}
