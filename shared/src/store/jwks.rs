//! The public keys' item. Only `auth` may write it.

use serde::{Deserialize, Serialize};

use super::{Key, Store, Write, Writes};
use crate::error::Error;

#[derive(Serialize, Deserialize)]
struct JwksRecord {
    jwks: String,
}

impl Store {
    /// The published JWK Set (RFC 7517) as JSON, if there is one.
    pub async fn jwks(&self) -> Result<Option<String>, Error> {
        let key = Key::jwks();
        let record: Option<JwksRecord> = self.get(vec![key.clone()]).await?.take(&key)?;
        Ok(record.map(|record| record.jwks))
    }

    /// Publishes a JWK Set.
    pub async fn jwks_publish(&self, jwks: &str) -> Result<(), Error> {
        let record = JwksRecord { jwks: jwks.to_owned() };
        let writes = Writes::new().and(Write::put("keys", Key::jwks(), &record)).witnessed();
        self.commit(writes).await
    }
}
