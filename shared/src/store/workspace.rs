//! Workspaces: the workspace item, its slug, and the sessions of its members.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::Serialize;

use super::admitted::Admitted;
use super::idempotency::StoredResult;
use super::invitation;
use super::limit::Slot;
use super::write::UpdateError;
use super::{Key, Store, Unproven, WithinDeadline, Write, Writes, account, keys, parse, table};
use crate::auth::access::{Access, Identity, Tenant};
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{SessionId, WorkspaceId, random_bytes};
use crate::models::invitation::{Pending, Status};
use crate::models::member::Member;
use crate::models::role::Role;
use crate::models::text::Name;
use crate::models::usage::Tier;
use crate::models::user::{Membership, Session, User};
use crate::models::workspace::{Change, ChangeId, CreatedWorkspace, UnitSystem, Workspace, WorkspaceUpdate, slug_of};

/// The largest number of sessions that the revocation of all sessions counts.
pub const SESSIONS_COUNTED_MAX: usize = 10_000;

#[derive(Serialize, Deserialize)]
struct SlugRecord {
    workspace_id: WorkspaceId,
}

/// Drafts a workspace. When the slug of its name is taken, six random hexadecimal digits make the slug unique.
#[must_use]
pub fn workspace_draft(name: Name, slug_taken: bool, now: Time) -> Workspace {
    let mut slug = slug_of(&name);
    if slug_taken {
        let [a, b, c] = random_bytes();
        slug = format!("{slug}-{a:02x}{b:02x}{c:02x}");
    }
    let cursor_key = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
    Workspace::new(WorkspaceId::new(now), name, slug, cursor_key, now)
}

/// The membership of the user who creates `workspace`. `user_epoch` is the user's epoch.
#[must_use]
pub fn owner_membership(workspace: &Workspace, user_epoch: u64) -> Membership {
    Membership::new(
        workspace.id,
        Role::Owner,
        workspace.created_at,
        workspace.epoch,
        user_epoch,
    )
}

/// The writes of a new workspace, its owner's member row and its slug. No later write changes the slug item, so that it can be
/// the witness of the transaction.
pub(super) fn workspace_create_writes(owner: &User, workspace: &Workspace) -> [Write; 3] {
    let member = Member::of(owner, &owner_membership(workspace, owner.epoch));
    [
        Write::create("workspace", Key::workspace(workspace.id), workspace),
        Write::create(
            "member",
            Key::member(workspace.id, member.joined_at, member.id),
            &member,
        ),
        Write::create(
            "slug",
            Key::slug(&workspace.slug),
            &SlugRecord {
                workspace_id: workspace.id,
            },
        ),
    ]
}

impl Store {
    /// Creates a workspace for a caller who is in none. [`Error::Stale`] when the caller has joined a workspace, the slug was
    /// taken, or the same request was completed, after the read.
    pub async fn workspace_create(
        &self,
        identity: &Identity,
        workspace: &Workspace,
        admitted: &Admitted,
    ) -> Result<(), Error> {
        let user = identity.user();
        let now = admitted.at();
        let stored = StoredResult::complete(CreatedWorkspace::from(workspace));
        let writes = Writes::new()
            .all(admitted.writes(stored))
            .all(workspace_create_writes(user, workspace))
            .witnessed()
            .and(account::membership_set(
                user,
                &owner_membership(workspace, user.epoch),
                now,
            ))
            .and(account::email_membership_set(user, workspace.id));
        self.commit(writes).await
    }

    /// Updates the fields of the workspace and returns the updated workspace. The update applies to the version that was read
    /// and to no other, so that a retry cannot undo a later update. [`Error::Stale`] when a concurrent update came first.
    pub async fn workspace_update(
        &self,
        access: &Access,
        update: &WorkspaceUpdate,
        change: &ChangeId,
        now: Time,
    ) -> Result<Workspace, Error> {
        let mut expression = FieldUpdate::new();
        expression.field("name", update.name.as_ref().map_or(Change::Keep, Change::Set));
        expression.field("logo_url", update.logo_url.as_ref());
        expression.field("website", update.website.as_ref());
        expression.field("billing_email", update.billing_email.as_ref());
        expression.field("description", update.description.as_ref());
        expression.field(
            "timezone",
            update.timezone.clone().or_default("UTC".to_owned()).as_ref(),
        );
        expression.field("support_email", update.support_email.as_ref());
        expression.field("slack_connect_url", update.slack_connect_url.as_ref());
        expression.field(
            "unit_system",
            update.unit_system.or_default(UnitSystem::default()).as_ref(),
        );
        expression.field("map_home", update.map_home.as_ref());
        let key = Key::workspace(access.workspace().id);
        expression.field("changes", Change::Set(&access.workspace().changes_with(change)));
        let write = expression
            .into_write(key.clone(), now)
            .when("#version = :read")
            .bind(":read", access.workspace().version);
        match self.update_one(write).await {
            // An earlier attempt whose response was lost was applied: the workspace contains this change already.
            Err(UpdateError::Condition(Some(item))) => Some(parse(item)?)
                .filter(|current: &Workspace| current.changes.contains(change))
                .ok_or(Error::Stale),
            other => other.map_err(Error::from),
        }
    }

    /// Deletes a workspace whose only member is the caller, with all of its pending invitations. `pending` has all of them, at
    /// most [`CLEARED_MAX`]. [`Error::Stale`] when the members or the invitations changed after the read.
    ///
    /// [`CLEARED_MAX`]: super::invitation::CLEARED_MAX
    pub async fn workspace_delete(&self, access: &Access, pending: &[Pending], now: Time) -> Result<(), Error> {
        let (user, workspace) = (access.user(), access.workspace());
        let invitations = pending
            .iter()
            .flat_map(|row| invitation::ended(workspace.id, row.id, &row.email, Status::Revoked, None, now));
        // Sessions that were ended by a revocation of all sessions must not become valid again without the workspace.
        let live: std::collections::BTreeMap<SessionId, Session> = user
            .sessions
            .iter()
            .filter(|(_, session)| !session.is_revoked(access.membership(), workspace.epoch))
            .map(|(id, session)| (*id, session.clone()))
            .collect();
        let writes = Writes::new()
            .and(
                Write::delete(Key::workspace(workspace.id))
                    .when("#member_count = :one AND #pending_count = :pending AND #epoch = :epoch AND #version = :version")
                    .bind(":one", 1)
                    .bind(":pending", pending.len())
                    .bind(":epoch", workspace.epoch)
                    .bind(":version", workspace.version),
            )
            .and(Write::delete(Key::slug(&workspace.slug)))
            .and(Write::delete(Key::member(
                workspace.id,
                access.membership().joined_at,
                user.id,
            )))
            .and(
                Write::update(
                    Key::user(user.id),
                    "SET #sessions = :live, #updated_at = :now REMOVE #membership, #gsi1pk, #gsi1sk",
                )
                .when("#epoch = :epoch AND #membership.#workspace_id = :workspace AND #sessions = :read")
                .bind(":live", live)
                .bind(":read", &user.sessions)
                .bind(":now", now)
                .bind(":epoch", user.epoch)
                .bind(":workspace", workspace.id),
            )
            .witnessed()
            .and(account::email_membership_clear(&user.email, workspace.id))
            .all(invitations);
        self.commit(writes).await
    }

    /// Ends all sessions of all members and takes the slot of the limit. [`Error::Stale`] when the number of members or the
    /// epoch of the workspace changed after it was read, so that the counts in the response are exact.
    pub async fn sessions_revoke(&self, access: &Access, slot: &Slot) -> Result<(), Error> {
        let workspace = access.workspace();
        let writes = Writes::new()
            .and(
                Write::update(Key::workspace(workspace.id), "SET #epoch = :next")
                    .when("#epoch = :epoch AND #member_count = :members")
                    .bind(":next", workspace.epoch + 1)
                    .bind(":epoch", workspace.epoch)
                    .bind(":members", workspace.member_count),
            )
            .and(slot.write())
            .witnessed();
        self.commit(writes).await
    }

    /// Reads the sessions of the workspace's members from the index, each with its member's membership. It stops after
    /// [`SESSIONS_COUNTED_MAX`] sessions.
    pub async fn sessions_of(&self, tenant: Tenant) -> Result<Vec<(Membership, Session)>, Error> {
        #[derive(Deserialize)]
        struct Row {
            membership: Membership,
            #[serde(default)]
            sessions: std::collections::BTreeMap<SessionId, Session>,
        }
        let mut sessions = Vec::new();
        let mut start = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(table::INDEX)
                .key_condition_expression("#pk = :users_of")
                .expression_attribute_names("#pk", table::INDEX_PK)
                .expression_attribute_values(":users_of", AttributeValue::S(keys::users_of(tenant.workspace_id())))
                .set_exclusive_start_key(start)
                .send()
                .within_deadline("Query")
                .await?;
            for item in page.items.unwrap_or_default() {
                let row: Row = parse(item)?;
                sessions.extend(
                    row.sessions
                        .into_values()
                        .map(|session| (row.membership.clone(), session)),
                );
            }
            start = page.last_evaluated_key;
            if start.is_none() || sessions.len() >= SESSIONS_COUNTED_MAX {
                return Ok(sessions);
            }
        }
    }
}

impl Unproven<'_> {
    /// The key of the item that makes a slug unique. It shows whether the slug is taken.
    #[must_use]
    pub fn slug_key(slug: &str) -> Key {
        Key::slug(slug)
    }

    /// Creates an account with its own workspace. [`Error::Stale`] when the e-mail address or the slug was taken after the
    /// read.
    pub async fn account_register(self, user: &User, workspace: &Workspace) -> Result<(), Error> {
        let writes = Writes::new()
            .all(account::account_create_writes(user, 0))
            .all(workspace_create_writes(user, workspace))
            .witnessed();
        self.store.commit(writes).await
    }

    /// The id of the workspace that has the slug.
    pub async fn workspace_of_slug(self, slug: &str) -> Result<Option<WorkspaceId>, Error> {
        let key = Key::slug(slug);
        let record: Option<SlugRecord> = self.store.get(vec![key.clone()]).await?.take(&key)?;
        Ok(record.map(|record| record.workspace_id))
    }

    /// Sets the tier of a workspace. No route does this; an operator does. [`Error::Stale`] when the workspace does not
    /// exist.
    pub async fn workspace_set_tier(self, id: WorkspaceId, tier: Tier) -> Result<Workspace, Error> {
        let write = Write::update(Key::workspace(id), "SET #tier = :tier").bind(":tier", tier);
        self.store.update_one(write).await.map_err(Error::from)
    }
}

/// An update expression that is built field by field.
struct FieldUpdate {
    set: Vec<String>,
    remove: Vec<String>,
    bind: Vec<(String, Result<AttributeValue, serde_dynamo::Error>)>,
}

impl FieldUpdate {
    fn new() -> Self {
        Self {
            set: vec!["#updated_at = :now".to_owned()],
            remove: Vec::new(),
            bind: Vec::new(),
        }
    }

    fn field(&mut self, name: &str, change: Change<&impl Serialize>) {
        match change {
            Change::Keep => {}
            Change::Clear => self.remove.push(format!("#{name}")),
            Change::Set(value) => {
                self.set.push(format!("#{name} = :{name}"));
                self.bind
                    .push((format!(":{name}"), serde_dynamo::to_attribute_value(value)));
            }
        }
    }

    fn into_write(self, key: Key, now: Time) -> Write {
        let mut expression = format!("SET {} ADD #version :one", self.set.join(", "));
        if !self.remove.is_empty() {
            expression = format!("{expression} REMOVE {}", self.remove.join(", "));
        }
        let write = Write::update(key, &expression).bind(":now", now).bind(":one", 1);
        self.bind
            .into_iter()
            .fold(write, |write, (name, value)| write.bind_value(&name, value))
    }
}
