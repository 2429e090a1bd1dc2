//! Requests that were done under an idempotency key: each is remembered in the transaction of its deed, so that it is
//! either done and remembered or neither.

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

/// Seconds that an item outlives its time: a clock that is behind must not let it go early.
const CLOCKS_APART_S: u64 = 900;

/// A request that is to be done once. Without a key it is like any other: nothing is read, nothing is remembered.
#[derive(Clone, Debug)]
pub struct IdempotentRequest(Option<Keyed>);

#[derive(Clone, Debug)]
struct Keyed {
    key: Key,
    fingerprint: String,
}

/// What an answer was made of, to make it again: no secret among it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredResult<T> {
    /// What was made.
    pub result: T,
    /// Whether `made` is as it was answered; until then its mail is on the way.
    pub is_final: bool,
}

/// The item.
#[derive(Debug, Serialize)]
struct Record<T> {
    #[serde(flatten)]
    request: Request,
    #[serde(flatten)]
    done: StoredResult<T>,
}

/// Which request it was. This much every release reads, whatever another one remembers of an answer.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    fingerprint: String,
    workspace_id: Option<WorkspaceId>,
    expires_at: Time,
}

impl IdempotentRequest {
    /// A request by `user` on `route`, of which `content` tells it from others.
    #[must_use]
    pub fn new(user: UserId, route: &str, key: Option<&IdempotencyKey>, content: &[u8]) -> Self {
        Self(key.map(|key| Keyed {
            key: Key::idempotency(user, route, key.as_str()),
            fingerprint: sha256(&[content]),
        }))
    }

    /// Its item, to be read beside others.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.0.as_ref().map(|keyed| keyed.key.clone())
    }

    /// What was made when it was done before, from items that were read with [`IdempotentRequest::key`].
    /// [`Error::IdempotencyKeyReused`] when the key stands for another request, or for one in another workspace than
    /// `tenant`; [`Error::AlreadyDone`] when another release remembered it in a way that this one cannot read: it must not be
    /// done again, and what it came to can be looked up.
    pub fn done<T: DeserializeOwned>(
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
            tracing::warn!(%error, "what is remembered of a request is of another form");
            Error::AlreadyDone
        })
    }

    /// The write that remembers it, for the transaction of its deed; it fails when the request was done meanwhile.
    #[must_use]
    pub(crate) fn remember<T: Serialize>(
        &self,
        tenant: Option<Tenant>,
        done: StoredResult<T>,
        now: Time,
    ) -> Option<Write> {
        let keyed = self.0.as_ref()?;
        let expires_at = now.plus(KEPT);
        let request = Request {
            fingerprint: keyed.fingerprint.clone(),
            workspace_id: tenant.map(Tenant::workspace_id),
            expires_at,
        };
        let record = Record { request, done };
        let write = Write::put("idempotency", keyed.key.clone(), &record)
            .when("attribute_not_exists(#pk) OR #expires_at <= :now")
            .bind(":now", now)
            .expiring(expires_at.plus(std::time::Duration::from_secs(CLOCKS_APART_S)));
        Some(write)
    }
}

impl Store {
    /// Whether the request was done since its item was read. A batch is no snapshot: what refuses a request may be the
    /// effect of its own first try, read on the other side of it.
    pub async fn idempotency_completed(&self, once: &IdempotentRequest, now: Time) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Remembered {
            expires_at: Time,
        }
        let Some(key) = once.key() else { return Ok(false) };
        let found: Option<Remembered> = self.get(vec![key.clone()]).await?.take(&key)?;
        Ok(found.is_some_and(|remembered| now < remembered.expires_at))
    }

    /// Completes what is remembered of an invitation with what the answer says of its mail.
    pub async fn idempotency_set_delivery(&self, once: &IdempotentRequest, delivery: &Delivery) -> Result<(), Error> {
        let Some(key) = once.key() else { return Ok(()) };
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

    fn once(content: &[u8]) -> IdempotentRequest {
        let key = IdempotencyKey::parse(b"key").unwrap();
        IdempotentRequest::new(UserId::from_bytes([1; 16]), "route", Some(&key), content)
    }

    /// What is read when `made` was remembered.
    fn items(made: impl Serialize) -> Items {
        let once = once(b"content");
        let done = StoredResult {
            result: made,
            is_final: true,
        };
        let put = once.remember(None, done, now()).unwrap();
        Items(HashMap::from([(once.key().unwrap(), put.item().unwrap())]))
    }

    #[test]
    fn what_is_remembered_is_read_as_far_as_it_can_be() {
        let made = || Made {
            name: "Acme".to_owned(),
        };
        let told = |items: &Items, content: &[u8]| once(content).done::<Made>(items, None, now());
        let found = told(&items(made()), b"content").unwrap().unwrap();
        assert_eq!((found.result, found.is_final), (made(), true));
        // A later release adds a field: an earlier one reads on.
        let more = HashMap::from([("name", "Acme"), ("more", "x")]);
        assert_eq!(told(&items(more), b"content").unwrap().unwrap().result, made());
        // It renames one, or makes another thing of it: the request is known all the same, and what it was for.
        for other in [HashMap::from([("title", "Acme")]), HashMap::new()] {
            let items = items(other);
            assert_eq!(told(&items, b"content").unwrap_err(), Error::AlreadyDone);
            assert_eq!(told(&items, b"other").unwrap_err(), Error::IdempotencyKeyReused);
            let later = now().plus(KEPT);
            assert!(once(b"content").done::<Made>(&items, None, later).unwrap().is_none());
        }
        let mut items = items(made());
        let item = items.0.values_mut().next().unwrap();
        item.insert("result".to_owned(), AttributeValue::S("Acme".to_owned()));
        assert_eq!(told(&items, b"content").unwrap_err(), Error::AlreadyDone);
    }
}
