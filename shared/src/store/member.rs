//! Members of a workspace.

use aws_sdk_dynamodb::types::AttributeValue;

use super::cursor::Position;
use super::keys::{MEMBER, workspace_partition};
use super::{Key, Store, WithinDeadline, Write, Writes, account, key_item, parse};
use crate::auth::access::{Access, Tenant};
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{UserId, WorkspaceId};
use crate::models::member::Member;
use crate::models::role::{Role, RoleChange};
use crate::models::user::{Membership, Session, User};

/// Members that one answer holds at most.
pub const PAGE_MAX: usize = 500;

/// Some members, in the order in which they joined.
#[derive(Debug)]
pub struct MemberPage {
    /// The members.
    pub members: Vec<Member>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// A member somebody acts on, as the user's own item tells.
#[derive(Debug)]
pub struct Target {
    /// The user.
    pub user: User,
    /// Their place in the caller's workspace.
    pub membership: Membership,
}

impl Target {
    /// `user` as a member of the workspace of `access`; none when they are not.
    #[must_use]
    pub fn of(access: &Access, user: Option<User>) -> Option<Self> {
        let user = user?;
        let membership = user
            .membership
            .clone()
            .filter(|membership| membership.workspace_id == access.workspace().id)?;
        Some(Self { user, membership })
    }
}

/// Where a list goes on after `member`.
#[must_use]
pub fn position(member: &Member) -> Position {
    Position {
        at: member.joined_at,
        id: *member.id.as_bytes(),
    }
}

impl Store {
    /// Reads up to `limit` members behind `position`, or from the first.
    pub async fn member_page(
        &self,
        tenant: Tenant,
        position: Option<Position>,
        limit: usize,
    ) -> Result<MemberPage, Error> {
        self.members_of(tenant.workspace_id(), position, limit).await
    }

    /// As [`Store::member_page`], for what acts on nobody's behalf.
    pub(super) async fn members_of(
        &self,
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
                .client
                .query()
                .table_name(&self.table)
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

    /// Changes a member's role; a downgrade ends their tokens. [`Error::Stale`] when the caller's or the member's
    /// place, or the number of owners, is no longer what was read.
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

    /// Removes a member and ends their tokens. [`Error::Stale`] as for a change of role.
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

/// Moves the workspace's counters; an owner less leaves another one.
fn count(access: &Access, expression: &str, owners: i64) -> Write {
    let write = Write::update(Key::workspace(access.workspace().id), expression).bind(":owners", owners);
    if owners < 0 {
        write.when("#owner_count > :last").bind(":last", 1)
    } else {
        write
    }
}

/// The condition that a member still has the place that was read.
fn with_membership_condition(write: Write, membership: &Membership) -> Write {
    write
        .when("#membership.#workspace_id = :workspace AND #membership.#role = :read")
        .bind(":workspace", membership.workspace_id)
        .bind(":read", membership.role)
}

fn ending_tokens(write: Write) -> Write {
    write
        .bind(":one", 1)
        .bind(":none", std::collections::BTreeMap::<String, Session>::new())
}

/// The condition that the caller still has the role that permits this; a caller who acts on themselves is covered by
/// the write on their own item.
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
