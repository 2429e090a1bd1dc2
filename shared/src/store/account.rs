//! Accounts and sessions: the user item, and the e-mail item that makes the address unique.

use serde::{Deserialize, Serialize};

use super::write::UpdateError;
use super::{Items, Key, Store, Unproven, Write, keys};
use crate::auth::access::Identity;
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{SessionId, UserId, WorkspaceId};
use crate::models::email::EmailAddress;
use crate::models::user::{Membership, SESSIONS_MAX, Session, User};
use crate::models::workspace::Workspace;

/// The item of an e-mail address that has an account. It changes in the same transaction as the user item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmailRecord {
    /// The account.
    pub user_id: UserId,
    /// The workspace that the account is in.
    pub workspace_id: Option<WorkspaceId>,
    /// Grows when the account accepts an invitation. That ends older invitations to the address.
    pub invite_epoch: u64,
}

/// The writes of a new account and its e-mail item.
pub(super) fn account_create_writes(user: &User, invite_epoch: u64) -> [Write; 2] {
    let record = EmailRecord {
        user_id: user.id,
        workspace_id: user.membership.as_ref().map(|membership| membership.workspace_id),
        invite_epoch,
    };
    let mut item = Write::create("user", Key::user(user.id), user);
    if let Some(membership) = &user.membership {
        item = item
            .with(super::table::INDEX_PK, keys::users_of(membership.workspace_id))
            .with(super::table::INDEX_SK, keys::user_in_index(user.id));
    }
    [item, Write::create("email", Key::email(&user.email), &record)]
}

/// Sets the membership of an account that is in no workspace.
pub(super) fn membership_set(user: &User, membership: &Membership, now: Time) -> Write {
    Write::update(
        Key::user(user.id),
        "SET #membership = :membership, #gsi1pk = :users_of, #gsi1sk = :user, #updated_at = :now",
    )
    .when("attribute_not_exists(#membership) AND #epoch = :epoch")
    .bind(":membership", membership)
    .bind(":users_of", keys::users_of(membership.workspace_id))
    .bind(":user", keys::user_in_index(user.id))
    .bind(":now", now)
    .bind(":epoch", user.epoch)
}

/// Sets the workspace of the e-mail item, in the transaction that sets the membership.
pub(super) fn email_membership_set(user: &User, workspace: WorkspaceId) -> Write {
    Write::update(Key::email(&user.email), "SET #workspace_id = :workspace")
        .when("attribute_not_exists(#workspace_id)")
        .bind(":workspace", workspace)
}

/// Clears the workspace of the e-mail item, in the transaction that clears the membership.
pub(super) fn email_membership_clear(email: &EmailAddress, workspace: WorkspaceId) -> Write {
    Write::update(Key::email(email), "REMOVE #workspace_id")
        .when("#workspace_id = :workspace")
        .bind(":workspace", workspace)
}

impl Store {
    /// Ends all sessions and tokens of the caller's account. A concurrent logout has the same effect and is a success.
    pub async fn account_logout(&self, identity: &Identity, now: Time) -> Result<(), Error> {
        let user = identity.user();
        let write = Write::update(
            Key::user(user.id),
            "SET #epoch = :next, #sessions = :none, #updated_at = :now",
        )
        .when("#epoch = :epoch")
        .bind(":next", user.epoch + 1)
        .bind(":epoch", user.epoch)
        .bind(":none", std::collections::BTreeMap::<String, Session>::new())
        .bind(":now", now);
        match self.update_one::<User>(write).await {
            Ok(_) | Err(UpdateError::Condition(Some(_))) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Unproven<'_> {
    /// The key of the e-mail item.
    #[must_use]
    pub fn email_key(email: &EmailAddress) -> Key {
        Key::email(email)
    }

    /// The e-mail item, from items that were read with [`Unproven::email_key`]; none for an address without an account.
    pub fn email_record(items: &Items, email: &EmailAddress) -> Result<Option<EmailRecord>, Error> {
        items.peek(&Key::email(email))
    }

    /// Reads an account.
    pub async fn account(self, id: UserId) -> Result<Option<User>, Error> {
        let key = Key::user(id);
        self.store.get(vec![key.clone()]).await?.take(&key)
    }

    /// Reads an account and its workspace. `expected` is the workspace that the account is probably in: it is read in the same
    /// round trip. When the account is in another workspace, that one is read next. [`Error::Stale`] when the workspace
    /// was deleted between the reads.
    pub async fn account_with_workspace(
        self,
        id: UserId,
        expected: Option<WorkspaceId>,
    ) -> Result<Option<(User, Option<Workspace>)>, Error> {
        let key = Key::user(id);
        let keys = expected.map(Key::workspace).into_iter().chain([key.clone()]).collect();
        let mut items = self.store.get(keys).await?;
        let Some(user): Option<User> = items.take(&key)? else {
            return Ok(None);
        };
        let Some(workspace_id) = user.membership.as_ref().map(|membership| membership.workspace_id) else {
            return Ok(Some((user, None)));
        };
        let key = Key::workspace(workspace_id);
        if expected != Some(workspace_id) {
            items = self.store.get(vec![key.clone()]).await?;
        }
        let workspace = items.take(&key)?.ok_or(Error::Stale)?;
        Ok(Some((user, Some(workspace))))
    }

    /// Adds a session and ends those in `evicted`. [`Error::Stale`] when the account's tokens were ended after `user` was
    /// read, or when concurrent sign-ins left no room for the session.
    pub async fn session_add(
        self,
        user: &User,
        id: SessionId,
        session: &Session,
        evicted: &[SessionId],
    ) -> Result<(), Error> {
        let removed: Vec<String> = (0..evicted.len()).map(|n| format!("#sessions.#evicted{n}")).collect();
        let mut expression = "SET #sessions.#session = :session".to_owned();
        if !removed.is_empty() {
            expression = format!("{expression} REMOVE {}", removed.join(", "));
        }
        let evicted_exist: String = (0..evicted.len())
            .map(|n| format!(" AND attribute_exists(#sessions.#evicted{n})"))
            .collect();
        // An attempt whose earlier attempt was applied finds its own session.
        let room = format!("attribute_exists(#sessions.#session) OR (size(#sessions) < :room{evicted_exist})");
        let mut write = Write::update(Key::user(user.id), &expression)
            .when("#epoch = :epoch")
            .when(&room)
            .name("#session", id.to_string())
            .bind(":session", session)
            .bind(":room", SESSIONS_MAX + evicted.len())
            .bind(":epoch", user.epoch);
        for (n, evicted) in evicted.iter().enumerate() {
            write = write.name(&format!("#evicted{n}"), evicted.to_string());
        }
        self.store.update_one::<User>(write).await?;
        Ok(())
    }

    /// Replaces a session by its next generation. [`Error::Stale`] when a concurrent refresh replaced it, or the account's
    /// tokens were ended, after `user` was read.
    pub async fn session_rotate(self, user: &User, id: SessionId, next: &Session) -> Result<(), Error> {
        let write = Write::update(Key::user(user.id), "SET #sessions.#session = :next")
            .when("#epoch = :epoch AND #sessions.#session.#generation = :generation")
            .name("#session", id.to_string())
            .bind(":next", next)
            .bind(":epoch", user.epoch)
            .bind(":generation", next.generation.saturating_sub(1));
        self.store.update_one::<User>(write).await?;
        Ok(())
    }

    /// Ends one session. A session that has already ended is a success.
    pub async fn session_end(self, user: UserId, id: SessionId) -> Result<(), Error> {
        let write = Write::update(Key::user(user), "REMOVE #sessions.#session").name("#session", id.to_string());
        match self.store.update_one::<User>(write).await {
            Ok(_) | Err(UpdateError::Condition(_)) => Ok(()),
            Err(UpdateError::Other(error)) => Err(error),
        }
    }
}
