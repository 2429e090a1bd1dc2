//! Idempotency records: the results of requests that were made under an `Idempotency-Key`. A record is written in the
//! transaction of its operation, so that either both exist or neither.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::sha256;
use super::{Items, Key, Store, Write};
use crate::auth::access::Tenant;
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{UserId, WorkspaceId};
use crate::models::delivery::Delivery;
use crate::models::idempotency::{IdempotencyKey, KEPT};

/// Seconds that a record outlives its expiry. A clock that runs behind must not remove the record early.
const CLOCKS_APART_S: u64 = 900;

/// A request that may carry an idempotency key. Without a key, nothing is read and nothing is stored.
#[derive(Clone, Debug)]
pub struct IdempotentRequest(Option<KeyedRequest>);

#[derive(Clone, Debug)]
struct KeyedRequest {
    key: Key,
    fingerprint: String,
}

/// What a response is built from, so that a replay returns the same response. It holds no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredResult<T> {
    /// What the operation created.
    pub result: T,
    /// Whether `result` is as the first response showed it. It is not while the mail of an invitation is being sent.
    pub is_final: bool,
}

impl<T> StoredResult<T> {
    /// A result that is final from the start.
    pub(super) fn complete(result: T) -> Self {
        Self { result, is_final: true }
    }
}

/// The idempotency record as the table holds it.
#[derive(Debug, Serialize)]
struct Record<T> {
    #[serde(flatten)]
    request: Request,
    #[serde(flatten)]
    stored: StoredResult<T>,
}

/// The part of a record that identifies its request. Every release can read this part, even where the stored result
/// was written by another release in a form that this release does not know.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    fingerprint: String,
    workspace_id: Option<WorkspaceId>,
    expires_at: Time,
}

impl IdempotentRequest {
    /// A request by `user` on `route`. `content` is what tells this request from others on the route.
    #[must_use]
    pub fn new(user: UserId, route: &str, key: Option<&IdempotencyKey>, content: &[u8]) -> Self {
        Self(key.map(|key| KeyedRequest {
            key: Key::idempotency(user, route, key.as_str()),
            fingerprint: sha256(&[content]),
        }))
    }

    /// The key of the record, to be read together with other items.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.0.as_ref().map(|keyed| keyed.key.clone())
    }

    /// The stored result of an earlier request under the same key, from items that were read with
    /// [`IdempotentRequest::key`].
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] when the key stands for another request, or for one in another workspace than
    /// `tenant`. [`Error::AlreadyDone`] when another release stored a result that this release cannot read: the operation
    /// must not run a second time.
    pub fn stored<T: DeserializeOwned>(
        &self,
        items: &Items,
        tenant: Option<Tenant>,
        now: Time,
    ) -> Result<Option<StoredResult<T>>, Error> {
        let Some(keyed) = &self.0 else { return Ok(None) };
        let request: Option<Request> = items.peek(&keyed.key)?;
        let Some(request) = request.filter(|request| now < request.expires_at) else {
            return Ok(None);
        };
        if request.fingerprint != keyed.fingerprint || request.workspace_id != tenant.map(Tenant::workspace_id) {
            return Err(Error::IdempotencyKeyReused);
        }
        items.peek(&keyed.key).map_err(|error| {
            tracing::warn!(%error, "idempotency record has an unknown form");
            Error::AlreadyDone
        })
    }

    /// The write of the record, for the operation's transaction. Its condition fails when a concurrent request under the
    /// same key was committed first.
    pub(super) fn record_write<T: Serialize>(
        &self,
        tenant: Option<Tenant>,
        stored: StoredResult<T>,
        now: Time,
    ) -> Option<Write> {
        let keyed = self.0.as_ref()?;
        let expires_at = now.plus(KEPT);
        let request = Request {
            fingerprint: keyed.fingerprint.clone(),
            workspace_id: tenant.map(Tenant::workspace_id),
            expires_at,
        };
        let record = Record { request, stored };
        let write = Write::put("idempotency", keyed.key.clone(), &record)
            .when("attribute_not_exists(#pk) OR #expires_at <= :now")
            .bind(":now", now)
            .expiring(expires_at.plus(std::time::Duration::from_secs(CLOCKS_APART_S)));
        Some(write)
    }
}

impl Store {
    /// Whether the request was completed since its record was read. A batch read is not atomic: the state that refuses a
    /// request may be the effect of the same request's first attempt, read before that attempt's record.
    pub(crate) async fn idempotency_completed(&self, request: &IdempotentRequest, now: Time) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Expiry {
            expires_at: Time,
        }
        let Some(key) = request.key() else { return Ok(false) };
        let found: Option<Expiry> = self.get(vec![key.clone()]).await?.take(&key)?;
        Ok(found.is_some_and(|record| now < record.expires_at))
    }

    /// Adds the delivery status of an invitation's mail to the stored result, which is final from then on.
    pub async fn idempotency_set_delivery(
        &self,
        request: &IdempotentRequest,
        delivery: &Delivery,
    ) -> Result<(), Error> {
        let Some(key) = request.key() else { return Ok(()) };
        let write = Write::update(key, "SET #result.#delivery = :delivery, #is_final = :yes")
            .bind(":delivery", delivery)
            .bind(":yes", true);
        self.update_one::<serde::de::IgnoredAny>(write).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Made {
        name: String,
    }

    fn now() -> Time {
        Time::from_millis(0)
    }

    fn request(content: &[u8]) -> IdempotentRequest {
        let key = IdempotencyKey::parse(b"key").unwrap();
        IdempotentRequest::new(UserId::from_bytes([1; 16]), "route", Some(&key), content)
    }

    /// The items that are read when `made` is the stored result.
    fn items(made: impl Serialize) -> Items {
        let request = request(b"content");
        let stored = StoredResult {
            result: made,
            is_final: true,
        };
        let put = request.record_write(None, stored, now()).unwrap();
        Items(HashMap::from([(request.key().unwrap(), put.item().unwrap())]))
    }

    #[test]
    fn a_result_that_this_release_cannot_read_is_already_done() {
        let made = || Made {
            name: "Acme".to_owned(),
        };
        let stored = |items: &Items, content: &[u8]| request(content).stored::<Made>(items, None, now());
        let found = stored(&items(made()), b"content").unwrap().unwrap();
        assert_eq!((found.result, found.is_final), (made(), true));
        // A later release adds a field: an earlier release ignores the field.
        let more = HashMap::from([("name", "Acme"), ("more", "x")]);
        assert_eq!(stored(&items(more), b"content").unwrap().unwrap().result, made());
        // A later release renames a field or changes its type: the request is still recognized by its fingerprint.
        for other in [HashMap::from([("title", "Acme")]), HashMap::new()] {
            let items = items(other);
            assert_eq!(stored(&items, b"content").unwrap_err(), Error::AlreadyDone);
            assert_eq!(stored(&items, b"other").unwrap_err(), Error::IdempotencyKeyReused);
            let later = now().plus(KEPT);
            assert!(
                request(b"content")
                    .stored::<Made>(&items, None, later)
                    .unwrap()
                    .is_none()
            );
        }
        let mut items = items(made());
        let item = items.0.values_mut().next().unwrap();
        item.insert("result".to_owned(), AttributeValue::S("Acme".to_owned()));
        assert_eq!(stored(&items, b"content").unwrap_err(), Error::AlreadyDone);
    }
}
