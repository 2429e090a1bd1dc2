//! Accounts and sessions: the user's item, and the item that makes its e-mail unique.

use serde::{Deserialize, Serialize};

use super::write::UpdateError;
use super::{Key, Store, Write, keys};
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{SessionId, UserId, WorkspaceId};
use crate::models::email::EmailAddress;
use crate::models::user::{Membership, SESSIONS_MAX, Session, User};

/// Who an e-mail address belongs to. It moves in one transaction with the user's item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmailRecord {
    /// The account.
    pub user_id: UserId,
    /// The workspace the account is in.
    pub workspace_id: Option<WorkspaceId>,
    /// Raised when the account accepts an invitation: older invitations to it are dead.
    pub invite_epoch: u64,
}

/// Puts a new account and its e-mail's record.
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

/// Seats an account that is in no workspace.
pub(super) fn seat(user: &User, membership: &Membership, now: Time) -> Write {
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

/// Moves the e-mail's record with a seat that is taken.
pub(super) fn email_membership_set(user: &User, workspace: WorkspaceId) -> Write {
    Write::update(Key::email(&user.email), "SET #workspace_id = :workspace")
        .when("attribute_not_exists(#workspace_id)")
        .bind(":workspace", workspace)
}

/// Moves the e-mail's record with a seat that is left.
pub(super) fn email_membership_clear(email: &EmailAddress, workspace: WorkspaceId) -> Write {
    Write::update(Key::email(email), "REMOVE #workspace_id")
        .when("#workspace_id = :workspace")
        .bind(":workspace", workspace)
}

impl Store {
    /// Reads an account.
    pub async fn account(&self, id: UserId) -> Result<Option<User>, Error> {
        let key = Key::user(id);
        self.get(vec![key.clone()]).await?.take(&key)
    }

    /// Adds a session, ending those in `evicted`. [`Error::Stale`] when the account's tokens were ended since `user`
    /// was read, or when other sessions that began meanwhile left no room.
    pub async fn session_add(
        &self,
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
        let still_there: String = (0..evicted.len())
            .map(|n| format!(" AND attribute_exists(#sessions.#evicted{n})"))
            .collect();
        // A retry whose first try was applied finds its own session there.
        let room = format!("attribute_exists(#sessions.#session) OR (size(#sessions) < :room{still_there})");
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
        self.update_one::<User>(write).await?;
        Ok(())
    }

    /// Puts the next generation of a session in its place. [`Error::Stale`] when somebody else did, or the account's
    /// tokens were ended, since `user` was read.
    pub async fn session_rotate(&self, user: &User, id: SessionId, next: &Session) -> Result<(), Error> {
        let write = Write::update(Key::user(user.id), "SET #sessions.#session = :next")
            .when("#epoch = :epoch AND #sessions.#session.#generation = :generation")
            .name("#session", id.to_string())
            .bind(":next", next)
            .bind(":epoch", user.epoch)
            .bind(":generation", next.generation.saturating_sub(1));
        self.update_one::<User>(write).await?;
        Ok(())
    }

    /// Ends one session. It is no fault when it has ended already.
    pub async fn session_end(&self, user: UserId, id: SessionId) -> Result<(), Error> {
        let write = Write::update(Key::user(user), "REMOVE #sessions.#session").name("#session", id.to_string());
        match self.update_one::<User>(write).await {
            Ok(_) | Err(UpdateError::Condition(_)) => Ok(()),
            Err(UpdateError::Other(error)) => Err(error),
        }
    }

    /// Ends all sessions and tokens of an account. When somebody else did so since `user` was read, that is as good.
    pub async fn account_logout(&self, user: &User, now: Time) -> Result<(), Error> {
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
