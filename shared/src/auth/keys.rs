//! The keys that sign access tokens, and their public keys, published as a JWK Set (RFC 7517, RFC 8037).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::error::Error;
use crate::secret::{DerivedKey, Secret};

/// The shortest time between two reads of the published keys because of an unknown key id.
const RELOAD_EVERY: Duration = Duration::from_secs(60);

/// A key pair that signs access tokens.
pub struct SigningKey {
    kid: String,
    jwk: Jwk,
    encoding: EncodingKey,
}

/// An Ed25519 public key as a JWK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    kid: String,
    alg: String,
    #[serde(rename = "use")]
    usage: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

impl SigningKey {
    /// Derives the key pair of `seed`. The same seed always yields the same key pair.
    pub fn from_seed(seed: &Secret) -> Result<Self, Error> {
        let failed = |what: &str| Error::Internal(format!("signing key: {what}"));
        let derived = DerivedKey::derive(seed, "access-token-signing");
        let pair = Ed25519KeyPair::from_seed_unchecked(derived.as_bytes()).map_err(|_| failed("seed"))?;
        let der = pair.to_pkcs8().map_err(|_| failed("encoding"))?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        // The JWK thumbprint of RFC 7638: the SHA-256 of the required members in this order.
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()));
        Ok(Self {
            jwk: Jwk {
                kty: "OKP".to_owned(),
                crv: "Ed25519".to_owned(),
                x,
                kid: kid.clone(),
                alg: "EdDSA".to_owned(),
                usage: "sig".to_owned(),
            },
            kid,
            encoding: EncodingKey::from_ed_der(der.as_ref()),
        })
    }

    /// The `kid` of the key pair.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The private key in the form that `jsonwebtoken` signs with.
    #[must_use]
    pub fn encoding_key(&self) -> &EncodingKey {
        &self.encoding
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

/// Serializes the public halves of `keys` as a JWK Set.
pub fn jwks(keys: &[SigningKey]) -> Result<String, Error> {
    let set = JwkSet {
        keys: keys.iter().map(|key| key.jwk.clone()).collect(),
    };
    serde_json::to_string(&set).map_err(|error| Error::Internal(format!("JWK Set: {error}")))
}

/// The public keys that verify access tokens. They are loaded from the table at cold start and again when a token names
/// an unknown key, at most once a minute. [`crate::authorize`] loads them.
#[derive(Clone, Default)]
pub struct KeyRing {
    inner: Arc<RwLock<Loaded>>,
}

#[derive(Default)]
struct Loaded {
    keys: HashMap<String, DecodingKey>,
    at: Option<Time>,
}

impl KeyRing {
    /// The key `kid`, if it is loaded.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<DecodingKey> {
        let loaded = self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        loaded.keys.get(kid).cloned()
    }

    /// Replaces the keys by those of a JWK Set, or by none when no set is published.
    pub(crate) fn load(&self, jwks: Option<&str>, now: Time) -> Result<(), Error> {
        let set: JwkSet = match jwks {
            Some(jwks) => serde_json::from_str(jwks).map_err(|error| Error::Internal(format!("JWK Set: {error}")))?,
            None => JwkSet::default(),
        };
        let keys = set
            .keys
            .into_iter()
            .filter(|jwk| jwk.kty == "OKP" && jwk.crv == "Ed25519" && jwk.alg == "EdDSA")
            .filter_map(|jwk| Some((jwk.kid, DecodingKey::from_ed_components(&jwk.x).ok()?)))
            .collect();
        let mut loaded = self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *loaded = Loaded { keys, at: Some(now) };
        Ok(())
    }

    /// Whether the published keys may be read again because of an unknown key id. A clock that was set back permits it.
    pub(crate) fn may_reload(&self, now: Time) -> bool {
        let loaded = self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        loaded.at.is_none_or(|at| now.since(at) >= RELOAD_EVERY || now < at)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}
