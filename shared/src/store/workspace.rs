//! Workspaces.

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
use super::{Key, Store, WithinDeadline, Write, Writes, account, keys, parse, table};
use crate::auth::access::{Access, Tenant};
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

/// Sessions that revoking all of a workspace's counts at most.
pub const SESSIONS_COUNTED_MAX: usize = 10_000;

#[derive(Serialize, Deserialize)]
struct SlugRecord {
    workspace_id: WorkspaceId,
}

/// A new workspace. When the slug of its name is taken, six random hexadecimal digits make it its own.
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

/// The membership of a workspace's owner_membership, a user of `user_epoch`.
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

/// Puts a new workspace, its owner_membership's row and its slug. The slug stays as it is result: it can witness the making.
pub(super) fn workspace_create_writes(founder_user: &User, workspace: &Workspace) -> [Write; 3] {
    let member = Member::of(founder_user, &owner_membership(workspace, founder_user.epoch));
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
    /// Makes an account with its own workspace. [`Error::Stale`] when the e-mail or the slug was taken meanwhile.
    pub async fn account_register(&self, user: &User, workspace: &Workspace) -> Result<(), Error> {
        let writes = Writes::new()
            .all(account::account_create_writes(user, 0))
            .all(workspace_create_writes(user, workspace))
            .witnessed();
        self.commit(writes).await
    }

    /// Makes a workspace of a user who is in none. [`Error::Stale`] when the user or the slug is no longer free, or when
    /// the request was done meanwhile.
    pub async fn workspace_create(&self, user: &User, workspace: &Workspace, admitted: &Admitted) -> Result<(), Error> {
        let now = admitted.at();
        let stored = StoredResult::complete(CreatedWorkspace::from(workspace));
        let writes = Writes::new()
            .all(admitted.writes(stored))
            .all(workspace_create_writes(user, workspace))
            .witnessed()
            .and(account::seat(user, &owner_membership(workspace, user.epoch), now))
            .and(account::email_membership_set(user, workspace.id));
        self.commit(writes).await
    }

    /// Updates a workspace's fields and answers it as it is then. `change` is meant for the version that was read, and for no
    /// other: [`Error::Stale`] when somebody was faster. Made again without that condition, it could undo what somebody
    /// who had seen it made of it.
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
            // A try whose answer was lost was applied: what the next one meets is its own effect.
            Err(UpdateError::Condition(Some(item))) => Some(parse(item)?)
                .filter(|stood: &Workspace| stood.changes.contains(change))
                .ok_or(Error::Stale),
            other => other.map_err(Error::from),
        }
    }

    /// The id of the workspace that has this slug.
    pub async fn workspace_of_slug(&self, slug: &str) -> Result<Option<WorkspaceId>, Error> {
        let key = Key::slug(slug);
        let record: Option<SlugRecord> = self.get(vec![key.clone()]).await?.take(&key)?;
        Ok(record.map(|record| record.workspace_id))
    }

    /// Puts a workspace on a tier: an operator's deed, for which there is no route. [`Error::Stale`] when there is no
    /// such workspace.
    pub async fn workspace_set_tier(&self, id: WorkspaceId, tier: Tier) -> Result<Workspace, Error> {
        let write = Write::update(Key::workspace(id), "SET #tier = :tier").bind(":tier", tier);
        self.update_one(write).await.map_err(Error::from)
    }

    /// Deletes a workspace whose only member is its owner, and with it its pending invitations: at most [`CLEARED_MAX`],
    /// and all that it has. [`Error::Stale`] when either changed.
    ///
    /// [`CLEARED_MAX`]: super::invitation::CLEARED_MAX
    pub async fn workspace_delete(&self, access: &Access, pending: &[Pending], now: Time) -> Result<(), Error> {
        let (user, workspace) = (access.user(), access.workspace());
        let invitations = pending
            .iter()
            .flat_map(|row| invitation::ended(workspace.id, row.id, &row.email, Status::Revoked, None, now));
        // A session from before a revocation of all sessions must not wake up when its workspace is gone.
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

    /// Ends all sessions of all members, counting the call against its limit. [`Error::Stale`] when the workspace's
    /// members or epoch changed since it was read, so that what the caller is told is exact.
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

    /// The sessions of a workspace's members, each with its member's place, from the index: at most
    /// [`SESSIONS_COUNTED_MAX`] are looked at.
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

/// An update expression that grows field by field.
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
