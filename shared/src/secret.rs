//! Text that must not be shown, and the keys derived from it.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret: it is wiped when dropped and never shows itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one use it is meant for.
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
    /// The key of `purpose`; two purposes never share one.
    #[must_use]
    pub fn derive(secret: &Secret, purpose: &str) -> Self {
        let mut key = [0; 32];
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"workspaces");
        let info = [purpose.as_bytes()];
        // Neither call can fail for 32 bytes of output (RFC 5869 allows 8,160); were it to, an all-zero key must not
        // be used, so the purpose's key stays random and nothing verifies.
        let filled = salt
            .extract(secret.expose().as_bytes())
            .expand(&info, Len32)
            .and_then(|okm| okm.fill(&mut key));
        if filled.is_err() {
            key = crate::ids::random_bytes();
        }
        Self(key)
    }

    /// A key as stored, 32 bytes in base64url.
    #[must_use]
    pub fn from_base64url(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The bytes, for a key pair made from this seed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA-256 of `parts`, each preceded by its length, so that no two lists of parts have one tag.
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

/// The SHA-256 of a secret, in base64url: what may be stored of it. It does not show itself either, and has no `==`:
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

    /// Whether this is the hash of `secret`; takes the same time whatever the answer.
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
    fn nothing_secret_shows_itself() {
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
    fn a_hash_knows_its_secret() {
        let hash = SecretHash::of(&Secret::new("one"));
        assert!(hash.matches(&Secret::new("one")));
        assert!(!hash.matches(&Secret::new("two")));
    }
}
