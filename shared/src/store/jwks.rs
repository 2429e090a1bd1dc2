//! The item with the published public keys. Only `auth` may write it.

use serde::{Deserialize, Serialize};

use super::{Key, Unproven, Write, Writes};
use crate::error::Error;

#[derive(Serialize, Deserialize)]
struct JwksRecord {
    jwks: String,
}

impl Unproven<'_> {
    /// The published JWK Set (RFC 7517) as JSON; none before the first cold start of `auth`.
    pub(crate) async fn jwks(self) -> Result<Option<String>, Error> {
        let key = Key::jwks();
        let record: Option<JwksRecord> = self.store.get(vec![key.clone()]).await?.take(&key)?;
        Ok(record.map(|record| record.jwks))
    }

    /// Replaces the published JWK Set.
    pub(crate) async fn jwks_publish(self, jwks: &str) -> Result<(), Error> {
        let record = JwksRecord { jwks: jwks.to_owned() };
        let writes = Writes::new().and(Write::put("keys", Key::jwks(), &record)).witnessed();
        self.store.commit(writes).await
    }
}
