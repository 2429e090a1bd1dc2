//! Makes genuine and forged access tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;
use shared::auth::keys::SigningKey;
use shared::config::SecretSource;
use shared::secret::Secret;

use crate::support::harness::{Person, World};

/// Header and claims of a token.
pub fn decoded(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let (header, claims) = (parts.next().unwrap(), parts.next().unwrap());
    (
        serde_json::from_slice(&header).unwrap(),
        serde_json::from_slice(&claims).unwrap(),
    )
}

/// A token without its signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

pub fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = unsigned(header, claims);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// `value` with some members replaced, or removed where the change is null.
pub fn with(value: &Value, changes: Value) -> Value {
    let mut value = value.clone();
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    for (name, change) in changes {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(&name);
        } else {
            value[name] = change;
        }
    }
    value
}

pub fn signing_key(world: &World) -> SigningKey {
    let Some(SecretSource::Value(seed)) = &world.app.config.signing_secret else {
        panic!("the signing secret has no value")
    };
    SigningKey::from_seed(seed).unwrap()
}

/// A key that is not ours.
fn foreign_key() -> SigningKey {
    SigningKey::from_seed(&Secret::new("a foreign seed")).unwrap()
}

/// Makes forged tokens from a genuine one, with our signing key and with a foreign one.
pub struct Forge {
    pub header: Value,
    pub claims: Value,
    pub key: SigningKey,
    foreign_key: SigningKey,
    pub now: i64,
}

impl Forge {
    pub fn new(world: &World, person: &Person<'_>) -> Self {
        let (header, claims) = decoded(person.access.as_ref().unwrap());
        Self {
            header,
            claims,
            key: signing_key(world),
            foreign_key: foreign_key(),
            now: world.clock.now().as_seconds(),
        }
    }

    /// A token with a changed header, signed with our key.
    pub fn with_header(&self, change: Value) -> String {
        let header = with(&self.header, change);
        signed(&header, &self.claims, self.key.encoding_key(), Algorithm::EdDSA)
    }

    /// A token with changed claims, signed with our key.
    pub fn with_claims(&self, change: Value) -> String {
        let claims = with(&self.claims, change);
        signed(&self.header, &claims, self.key.encoding_key(), Algorithm::EdDSA)
    }

    /// A token with a changed header, signed with the foreign key.
    pub fn with_foreign_signature(&self, change: Value) -> String {
        let header = with(&self.header, change);
        signed(&header, &self.claims, self.foreign_key.encoding_key(), Algorithm::EdDSA)
    }

    /// The foreign public key as a JWK.
    pub fn foreign_jwk(&self) -> Value {
        let key = foreign_key();
        assert_eq!(key.kid(), self.foreign_key.kid());
        let set: Value = serde_json::from_str(&shared::auth::keys::jwks(&[key]).unwrap()).unwrap();
        set["keys"][0].clone()
    }

    /// A token of the given header and claims as bytes, signed with our key.
    pub fn with_bytes(&self, header: &[u8], claims: &[u8]) -> String {
        self.sign(&format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        ))
    }

    /// A message, signed with our key.
    pub fn sign(&self, message: &str) -> String {
        let key = self.key.encoding_key();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }

    /// A token whose claims begin with `member`, so that one claim occurs twice.
    pub fn with_duplicate_claim(&self, member: &str) -> String {
        let claims = self.claims.to_string();
        self.with_bytes(
            self.header.to_string().as_bytes(),
            format!("{{{member},{}", &claims[1..]).as_bytes(),
        )
    }
}
