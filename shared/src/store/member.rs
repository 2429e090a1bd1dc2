//! Members: the rows of the workspace's list, and changes of memberships.

use aws_sdk_dynamodb::types::AttributeValue;

use super::cursor::Position;
use super::keys::{MEMBER, workspace_partition};
use super::{Items, Key, Store, Unproven, WithinDeadline, Write, Writes, account, key_item, parse};
use crate::auth::access::{Access, Tenant};
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{UserId, WorkspaceId};
use crate::models::member::Member;
use crate::models::role::{Role, RoleChange};
use crate::models::user::{Membership, Session, User};

/// The largest number of members in one response.
pub const PAGE_MAX: usize = 500;

/// A page of members, in the order of joining.
#[derive(Debug)]
pub struct MemberPage {
    /// The members.
    pub members: Vec<Member>,
    /// Whether members follow this page.
    pub more: bool,
}

/// The member that an operation changes, as read from the user item. Only [`Target::of`] makes one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Target {
    /// The member's account.
    pub user: User,
    /// The member's membership of the caller's workspace.
    pub membership: Membership,
}

impl Target {
    /// The key of the user item of a possible member of `tenant`. Only [`Target::of`] returns the item.
    #[must_use]
    pub fn key(_tenant: Tenant, user: UserId) -> Key {
        Key::user(user)
    }

    /// The member `user`, from items that were read with [`Target::key`]; none when the workspace of `access` has no such
    /// member.
    pub fn of(access: &Access, items: &Items, user: UserId) -> Result<Option<Self>, Error> {
        let user: Option<User> = items.peek(&Key::user(user))?;
        Ok(user.and_then(|user| {
            let membership = user
                .membership
                .clone()
                .filter(|membership| membership.workspace_id == access.workspace().id)?;
            Some(Self { user, membership })
        }))
    }
}

/// The position of `member` in the list, for a cursor that continues after it.
#[must_use]
pub fn position(member: &Member) -> Position {
    Position {
        at: member.joined_at,
        id: *member.id.as_bytes(),
    }
}

impl Store {
    /// Reads up to `limit` members after `position`, or from the first member.
    pub async fn member_page(
        &self,
        tenant: Tenant,
        position: Option<Position>,
        limit: usize,
    ) -> Result<MemberPage, Error> {
        self.unproven().members_of(tenant.workspace_id(), position, limit).await
    }

    /// Changes a member's role. A downgrade ends the member's sessions and tokens. [`Error::Stale`] when the membership of the
    /// caller or of the member, or the number of owners, changed after it was read.
    pub async fn member_change_role(
        &self,
        access: &Access,
        target: &Target,
        role: Role,
        change: RoleChange,
        now: Time,
    ) -> Result<(), Error> {
        let workspace = access.workspace().id;
        let user = if change == RoleChange::Downgrade {
            let lost = match (target.membership.role, role) {
                (Role::Owner, Role::Manager) => "#membership.#lost_owner = #epoch + :one, ",
                (Role::Owner, _) => {
                    "#membership.#lost_owner = #epoch + :one, #membership.#lost_manager = #epoch + :one, "
                }
                (Role::Manager, _) => "#membership.#lost_manager = #epoch + :one, ",
                _ => "",
            };
            let set = "#membership.#role = :role, #epoch = #epoch + :one, #sessions = :none, #updated_at = :now";
            ending_tokens(Write::update(Key::user(target.user.id), &format!("SET {lost}{set}")))
        } else {
            Write::update(
                Key::user(target.user.id),
                "SET #membership.#role = :role, #updated_at = :now",
            )
        };
        let owners = i64::from(role == Role::Owner) - i64::from(target.membership.role == Role::Owner);
        let writes = Writes::new()
            .and(
                with_membership_condition(user, &target.membership)
                    .bind(":role", role)
                    .bind(":now", now),
            )
            .and(
                Write::update(
                    Key::member(workspace, target.membership.joined_at, target.user.id),
                    "SET #role = :role",
                )
                .bind(":role", role),
            )
            .witnessed()
            .maybe((owners != 0).then(|| count(access, "ADD #owner_count :owners", owners)))
            .maybe(caller_unchanged(access, target));
        self.commit(writes).await
    }

    /// Removes a member and ends the member's sessions and tokens. [`Error::Stale`] as in [`Store::member_change_role`].
    pub async fn member_remove(&self, access: &Access, target: &Target, now: Time) -> Result<(), Error> {
        let workspace = access.workspace().id;
        let user = ending_tokens(Write::update(
            Key::user(target.user.id),
            "SET #epoch = #epoch + :one, #sessions = :none, #updated_at = :now REMOVE #membership, #gsi1pk, #gsi1sk",
        ));
        let owners = -i64::from(target.membership.role == Role::Owner);
        let writes = Writes::new()
            .and(with_membership_condition(user, &target.membership).bind(":now", now))
            .witnessed()
            .and(account::email_membership_clear(&target.user.email, workspace))
            .and(Write::delete(Key::member(
                workspace,
                target.membership.joined_at,
                target.user.id,
            )))
            .and(count(access, "ADD #owner_count :owners, #member_count :minus", owners).bind(":minus", -1))
            .maybe(caller_unchanged(access, target));
        self.commit(writes).await
    }
}

impl Unproven<'_> {
    /// As [`Store::member_page`], for mails to the owners, which have no caller.
    pub(super) async fn members_of(
        self,
        workspace: WorkspaceId,
        position: Option<Position>,
        limit: usize,
    ) -> Result<MemberPage, Error> {
        let partition = workspace_partition(workspace);
        let mut start = position.map(|after| key_item(&Key::member(workspace, after.at, UserId::from_bytes(after.id))));
        let mut members: Vec<Member> = Vec::new();
        loop {
            let wanted = limit + 1 - members.len();
            let page = self
                .store
                .client
                .query()
                .table_name(&self.store.table)
                .consistent_read(true)
                .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
                .expression_attribute_names("#pk", super::table::PK)
                .expression_attribute_names("#sk", super::table::SK)
                .expression_attribute_values(":pk", AttributeValue::S(partition.clone()))
                .expression_attribute_values(":prefix", AttributeValue::S(MEMBER.to_owned()))
                .limit(i32::try_from(wanted).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .within_deadline("Query")
                .await?;
            for item in page.items.unwrap_or_default() {
                members.push(parse(item)?);
            }
            start = page.last_evaluated_key;
            if start.is_none() || members.len() > limit {
                let more = members.len() > limit;
                members.truncate(limit);
                return Ok(MemberPage { members, more });
            }
        }
    }
}

/// Changes the workspace's counters. The condition keeps the last owner.
fn count(access: &Access, expression: &str, owners: i64) -> Write {
    let write = Write::update(Key::workspace(access.workspace().id), expression).bind(":owners", owners);
    if owners < 0 {
        write.when("#owner_count > :last").bind(":last", 1)
    } else {
        write
    }
}

/// Adds the condition that a membership is as it was read.
fn with_membership_condition(write: Write, membership: &Membership) -> Write {
    write
        .when("#membership.#workspace_id = :workspace AND #membership.#role = :read")
        .bind(":workspace", membership.workspace_id)
        .bind(":read", membership.role)
}

/// Binds the values of the updates that end a user's sessions and tokens.
fn ending_tokens(write: Write) -> Write {
    write
        .bind(":one", 1)
        .bind(":none", std::collections::BTreeMap::<String, Session>::new())
}

/// The condition that the caller still has the role that permits the change. A caller who changes the own membership needs
/// none, because the write on the same item has the condition.
fn caller_unchanged(access: &Access, target: &Target) -> Option<Write> {
    let caller = access.user();
    (caller.id != target.user.id).then(|| {
        with_membership_condition(
            Write::check(Key::user(caller.id), "#epoch = :epoch"),
            access.membership(),
        )
        .bind(":epoch", caller.epoch)
    })
}
