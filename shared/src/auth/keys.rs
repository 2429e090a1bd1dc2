//! Signing keys and their public half, the JWK Set (RFC 7517, RFC 8037).

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

use crate::clock::{Clock, Time};
use crate::error::Error;
use crate::secret::{DerivedKey, Secret};
use crate::store::Store;

/// How often an unknown key id may make a function read the published keys again.
const RELOAD_EVERY: Duration = Duration::from_secs(60);

/// A key that signs access tokens.
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
    /// The key pair that `seed` stands for; the same seed always gives the same one.
    pub fn from_seed(seed: &Secret) -> Result<Self, Error> {
        let failed = |what: &str| Error::Internal(format!("signing key: {what}"));
        let derived = DerivedKey::derive(seed, "access-token-signing");
        let pair = Ed25519KeyPair::from_seed_unchecked(derived.as_bytes()).map_err(|_| failed("seed"))?;
        let der = pair.to_pkcs8().map_err(|_| failed("encoding"))?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        // RFC 7638: the SHA-256 of the required members, in this order.
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

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key, for signing.
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

/// The JWK Set that publishes `keys`.
pub fn jwks(keys: &[SigningKey]) -> Result<String, Error> {
    let set = JwkSet {
        keys: keys.iter().map(|key| key.jwk.clone()).collect(),
    };
    serde_json::to_string(&set).map_err(|error| Error::Internal(format!("JWK Set: {error}")))
}

/// The public keys that tokens are verified with. Read from the table when the function warms up, and again, at most
/// once a minute, when a token names a key that is not known.
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
    /// The key `kid`. [`Error::TokenInvalid`] when there is none, [`Error::Unavailable`] when that cannot be told.
    pub async fn key(&self, kid: &str, store: &Store, clock: &Clock) -> Result<DecodingKey, Error> {
        if let Some(key) = self.known(kid) {
            return Ok(key);
        }
        if self.may_reload(clock.now()) {
            self.reload(store, clock).await?;
        }
        self.known(kid).ok_or(Error::TokenInvalid)
    }

    /// Reads the published keys.
    pub async fn reload(&self, store: &Store, clock: &Clock) -> Result<(), Error> {
        let jwks = store.jwks().await?;
        self.load(jwks.as_deref().unwrap_or(r#"{"keys":[]}"#), clock.now())
    }

    /// Takes over a JWK Set.
    pub fn load(&self, jwks: &str, now: Time) -> Result<(), Error> {
        let set: JwkSet = serde_json::from_str(jwks).map_err(|error| Error::Internal(format!("JWK Set: {error}")))?;
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

    fn known(&self, kid: &str) -> Option<DecodingKey> {
        let loaded = self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        loaded.keys.get(kid).cloned()
    }

    fn may_reload(&self, now: Time) -> bool {
        let loaded = self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        loaded.at.is_none_or(|at| now.since(at) >= RELOAD_EVERY || now < at)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}
