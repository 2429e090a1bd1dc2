//! Secrets, their hashes, and the keys that are derived from them. None of them prints its value.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret text. It is wiped when it is dropped, and `Debug` does not print it.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the purpose of the secret only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A 32-byte key for one purpose, derived from a secret with HKDF-SHA-256 (RFC 5869).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DerivedKey([u8; 32]);

struct Len32;

impl hkdf::KeyType for Len32 {
    fn len(&self) -> usize {
        32
    }
}

impl DerivedKey {
    /// Derives the key of `purpose`. Two purposes never share a key.
    #[must_use]
    pub fn derive(secret: &Secret, purpose: &str) -> Self {
        let mut key = [0; 32];
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"workspaces");
        let info = [purpose.as_bytes()];
        // Neither call fails for 32 bytes of output (RFC 5869 allows 8,160). If one did, a random key would replace the
        // all-zero key, and nothing would verify.
        let filled = salt
            .extract(secret.expose().as_bytes())
            .expand(&info, Len32)
            .and_then(|okm| okm.fill(&mut key));
        if filled.is_err() {
            key = crate::ids::random_bytes();
        }
        Self(key)
    }

    /// Decodes a stored key: 32 bytes in base64url.
    #[must_use]
    pub(crate) fn from_base64url(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The bytes, as the seed of a key pair.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The HMAC-SHA-256 of `parts`. Each part is preceded by its length, so that two lists of parts never share a tag.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

/// The SHA-256 of a secret, in base64url, which may be stored. `Debug` does not print it, and there is no `==`, because
/// [`SecretHash::matches`] compares in constant time.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(String);

impl SecretHash {
    /// Hashes `secret`.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        Self(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, secret.expose().as_bytes())))
    }

    /// Whether this is the hash of `secret`. The comparison takes the same time in both cases.
    #[must_use]
    pub fn matches(&self, secret: &Secret) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), Self::of(secret).0.as_bytes()).is_ok()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_secret() {
        let secret = Secret::new("hunter2");
        let shown = format!(
            "{secret:?} {:?} {:?}",
            DerivedKey::derive(&secret, "a"),
            SecretHash::of(&secret)
        );
        assert_eq!(shown, "[secret] [key] [hash]");
    }

    #[test]
    fn purposes_and_part_boundaries_give_different_tags() {
        let secret = Secret::new("seed");
        let (a, b) = (DerivedKey::derive(&secret, "a"), DerivedKey::derive(&secret, "b"));
        assert_ne!(a.as_bytes(), b.as_bytes());
        assert_ne!(a.tag(&[b"ab", b"c"]), a.tag(&[b"a", b"bc"]));
        assert_eq!(a.tag(&[b"ab"]), DerivedKey::derive(&secret, "a").tag(&[b"ab"]));
    }

    #[test]
    fn a_hash_matches_only_its_secret() {
        let hash = SecretHash::of(&Secret::new("one"));
        assert!(hash.matches(&Secret::new("one")));
        assert!(!hash.matches(&Secret::new("two")));
    }
}
