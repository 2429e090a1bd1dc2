//! Notices: created in the transaction that writes the usage, claimed before they are sent, and complete when every
//! owner is notified.

use aws_sdk_dynamodb::types::AttributeValue;

use super::write::UpdateError;
use super::{Key, Unproven, Write, keys, table};
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{UserId, WorkspaceId};
use crate::models::member::Member;
use crate::models::notice::{LEASE, Notice};
use crate::models::role::Role;
use crate::models::usage::Tier;
use crate::models::workspace::Workspace;
use crate::store::cursor::Position;

/// The members of one page when the owners are read.
const PAGE: usize = 500;

/// A notice's key.
#[must_use]
pub(crate) fn key(notice: &Notice) -> Key {
    Key::usage_notice(notice.workspace_id, &notice.month, notice.tier.as_str(), notice.percent)
}

/// The sort key of a new notice's due entry. The notice is due when the lease of its creator ends.
#[must_use]
pub(crate) fn due_sort_key(notice: &Notice) -> String {
    keys::notice_due_in_index(notice.created_at.plus(LEASE), &key(notice))
}

/// The write that creates a notice and its due entry.
#[must_use]
pub(super) fn create(notice: &Notice) -> Write {
    let key = key(notice);
    let index_key = due_sort_key(notice);
    Write::create("notice", key, notice)
        .with(table::INDEX_PK, keys::DUE)
        .with(table::INDEX_SK, index_key)
}

impl Unproven<'_> {
    /// Reads the workspace's tier, and which of the notices do not exist yet.
    pub(crate) async fn notices_not_yet_created(
        self,
        workspace: WorkspaceId,
        mut notices: Vec<Notice>,
    ) -> Result<(Option<Tier>, Vec<Notice>), Error> {
        let mut keys: Vec<Key> = notices.iter().map(key).collect();
        keys.push(Key::workspace(workspace));
        let mut items = self.store.get(keys).await?;
        notices.retain(|notice| !items.contains(&key(notice)));
        let workspace: Option<Workspace> = items.take(&Key::workspace(workspace))?;
        Ok((workspace.map(|workspace| workspace.tier), notices))
    }

    /// The workspace that a notice is about; none when it was deleted.
    pub(crate) async fn notice_workspace(self, notice: &Notice) -> Result<Option<Workspace>, Error> {
        let key = Key::workspace(notice.workspace_id);
        self.store.get(vec![key.clone()]).await?.take(&key)
    }

    /// Claims the notice of the due entry with sort key `index_key` until `until`. Returns none when a concurrent
    /// worker claimed it, or when it is complete.
    pub(crate) async fn notice_claim(self, key: Key, index_key: &str, until: Time) -> Result<Option<Notice>, Error> {
        let next = keys::notice_due_in_index(until, &key);
        let write = Write::update(key, "SET #gsi1sk = :next")
            .when("#gsi1sk = :index_key")
            .bind(":next", next)
            .bind(":index_key", index_key)
            .without_read_back();
        match self.store.update_one(write).await {
            Ok(claimed) => Ok(Some(claimed)),
            Err(UpdateError::Condition(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Records that an owner was notified.
    pub(crate) async fn notice_mark_notified(self, notice: &Notice, owner: UserId) -> Result<(), Error> {
        let write = Write::update(key(notice), "ADD #notified :owner")
            .bind_raw(":owner", AttributeValue::Ss(vec![owner.to_string()]))
            .without_read_back();
        self.store.update_one::<Notice>(write).await?;
        Ok(())
    }

    /// Removes the due entry of a notice, because no owner is left to notify.
    pub(crate) async fn notice_complete(self, notice: &Notice) -> Result<(), Error> {
        let write = Write::update(key(notice), "REMOVE #gsi1pk, #gsi1sk").without_read_back();
        self.store.update_one::<Notice>(write).await?;
        Ok(())
    }

    /// The owners of a workspace that has `count` of them.
    pub async fn owners(self, workspace: WorkspaceId, count: u64) -> Result<Vec<Member>, Error> {
        let (mut owners, mut position) = (Vec::new(), None::<Position>);
        loop {
            let page = self.members_of(workspace, position, PAGE).await?;
            position = page.members.last().map(super::member::position);
            owners.extend(page.members.into_iter().filter(|member| member.role == Role::Owner));
            if !page.more || owners.len() as u64 >= count {
                return Ok(owners);
            }
        }
    }
}
