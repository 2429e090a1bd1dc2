//! Invitations. Each has three items: the pending row in the workspace's list, the item that is found by the id alone, and
//! the guard, which allows one pending invitation for an e-mail address and workspace. One transaction creates the three,
//! and one transaction ends them.

mod link;
mod mail;
mod read;

use serde::{Deserialize, Serialize};

use super::account::{EmailRecord, account_create_writes, membership_set};
use super::admitted::Admitted;
use super::idempotency::StoredResult;
use super::keys::due_in_index;
use super::limit::Slot;
use super::{Items, Key, Store, Write, Writes, table};
use crate::auth::access::{Access, Tenant};
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{InvitationId, SessionId, UserId, WorkspaceId};
use crate::models::email::EmailAddress;
use crate::models::invitation::{ENDED_KEPT, End, Invitation, InvitationState, PENDING_MAX, Pending, Status};
use crate::models::member::Member;
use crate::models::role::Role;
use crate::models::user::{Membership, Session, User};

pub use link::{InvitationLink, LinkedInvitation};
pub use read::InvitationContext;

/// The guard item: the one pending invitation of an e-mail address in a workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Guard {
    /// The pending invitation.
    pub invitation_id: InvitationId,
    /// The workspace that the invitation is for.
    pub workspace_id: WorkspaceId,
    /// The role of the invitation. Replacing an invitation requires the same rank as cancelling it.
    pub role: Role,
}

/// Sibling invitations that one accepting transaction ends. Each takes four of the hundred writes.
pub const SIBLINGS_MAX: usize = 20;
/// Rounds in which the remaining siblings are ended. Siblings that are left after them are invalid, and only their rows
/// remain.
const CLEARING_ROUNDS_MAX: usize = 10;
/// Invitations that one transaction revokes, alone or with their workspace. Each takes three of the hundred writes.
pub const CLEARED_MAX: usize = 30;

/// The keys of an invitation of the caller's workspace.
#[must_use]
pub fn invitation_keys(tenant: Tenant, id: InvitationId) -> Vec<Key> {
    vec![Key::invitation(id), Key::pending(tenant.workspace_id(), id)]
}

/// An invitation of the caller's workspace, from items that were read with [`invitation_keys`]; none for an invitation of
/// another workspace.
pub fn invitation_take(items: &mut Items, tenant: Tenant, id: InvitationId) -> Result<Option<InvitationState>, Error> {
    let invitation: Option<Invitation> = items.take(&Key::invitation(id))?;
    let pending = items.take(&Key::pending(tenant.workspace_id(), id))?;
    Ok(invitation
        .filter(|invitation| invitation.workspace_id == tenant.workspace_id())
        .map(|invitation| InvitationState { invitation, pending }))
}

/// The keys of the items that decide whether an e-mail address can be invited to the caller's workspace.
#[must_use]
pub fn invitee_keys(tenant: Tenant, email: &EmailAddress) -> [Key; 2] {
    [Key::email(email), Key::guard(email, tenant.workspace_id())]
}

/// The e-mail item and the guard, from items that were read with [`invitee_keys`].
pub fn invitee_take(
    items: &Items,
    tenant: Tenant,
    email: &EmailAddress,
) -> Result<(Option<EmailRecord>, Option<Guard>), Error> {
    let [record, guard] = invitee_keys(tenant, email);
    Ok((items.peek(&record)?, items.peek(&guard)?))
}

/// A new invitation, and the state that it was decided on.
#[derive(Debug)]
pub struct NewInvitation<'a> {
    /// The invitation.
    pub invitation: &'a Invitation,
    /// The pending row.
    pub pending: &'a Pending,
    /// The pending invitation that it replaces.
    pub replaced: Option<InvitationId>,
    /// The mail; none when it is withheld.
    pub mail: Option<NewMail<'a>>,
    /// The admission of the operation that creates it.
    pub admitted: &'a Admitted,
}

/// The mail of a new invitation.
#[derive(Debug)]
pub struct NewMail<'a> {
    /// The time at which the mail is due again when the function ends before it records the delivery status.
    pub due_at: Time,
    /// The slot of the recipient's budget that the mail takes.
    pub slot: &'a Slot,
}

impl Store {
    /// Creates an invitation, revokes the one that it replaces, and marks its mail as due, unless the mail is withheld.
    /// `email` is the e-mail item as read; none when there was no item. [`Error::Stale`] when the e-mail item, the guard,
    /// the number of pending invitations or a slot has changed since the read.
    pub async fn invitation_create(
        &self,
        access: &Access,
        new: NewInvitation<'_>,
        email: Option<&EmailRecord>,
    ) -> Result<(), Error> {
        let now = new.invitation.created_at;
        let check = match email {
            None => Write::check(Key::email(&new.invitation.email), "attribute_not_exists(#pk)"),
            Some(record) => Write::check(
                Key::email(&new.invitation.email),
                "#invite_epoch = :invite_epoch AND attribute_not_exists(#workspace_id)",
            )
            .bind(":invite_epoch", record.invite_epoch),
        };
        self.commit(created(access, &new, now).and(check)).await
    }

    /// Creates a new invitation that replaces `new.replaced`. Unlike [`Store::invitation_create`], it does not require that
    /// the invitee is in no workspace.
    pub async fn invitation_resend(&self, access: &Access, new: NewInvitation<'_>) -> Result<(), Error> {
        let now = new.invitation.created_at;
        let check = Write::check(
            Key::email(&new.invitation.email),
            "attribute_not_exists(#pk) OR #invite_epoch = :invite_epoch",
        )
        .bind(":invite_epoch", new.invitation.invite_epoch);
        self.commit(created(access, &new, now).and(check)).await
    }

    /// Changes the expiry of `pending`. [`Error::Stale`] when the invitation ended, or its expiry changed, after the read.
    pub async fn invitation_extend(&self, access: &Access, pending: &Pending, to: Time) -> Result<Pending, Error> {
        let key = Key::pending(access.workspace().id, pending.id);
        let write = Write::update(key, "SET #expires_at = :expires_at")
            .when("#expires_at = :read")
            .bind(":read", pending.expires_at)
            .bind(":expires_at", to);
        self.update_one(write).await.map_err(Error::from)
    }

    /// Cancels a pending invitation of the caller's workspace. [`Error::Stale`] when it ended after it was read.
    pub async fn invitation_cancel(&self, access: &Access, invitation: &Invitation, now: Time) -> Result<(), Error> {
        self.commit(revoked(access.workspace().id, invitation, now)).await
    }

    /// Declines a pending invitation for the holder of its link. [`Error::Stale`] when it ended after it was read.
    pub async fn invitation_decline(&self, context: &InvitationContext, now: Time) -> Result<(), Error> {
        let invitation = &context.state.invitation;
        self.commit(revoked(invitation.workspace_id, invitation, now)).await
    }

    /// Revokes the pending invitations `rows` of the caller's workspace, in several transactions.
    pub async fn invitation_clear(&self, access: &Access, rows: &[Pending], now: Time) -> Result<(), Error> {
        for chunk in rows.chunks(CLEARED_MAX) {
            let workspace_id = access.workspace().id;
            let writes = chunk.iter().fold(Writes::new(), |writes, row| {
                writes.all(ended(workspace_id, row.id, &row.email, Status::Revoked, None, now))
            });
            let writes = writes.and(fewer_pending(workspace_id, chunk.len())).witnessed();
            self.commit(writes).await?;
        }
        Ok(())
    }

    /// Ends the sibling invitations of an accepted invitation that the accepting transaction left over.
    pub async fn invitation_siblings_end(&self, accepted: &InvitationContext, now: Time) -> Result<(), Error> {
        let email = &accepted.state.invitation.email;
        for _ in 0..CLEARING_ROUNDS_MAX {
            let (_, guards) = self.email_guards(email).await?;
            if guards.is_empty() {
                break;
            }
            let writes = guards.iter().take(SIBLINGS_MAX).fold(Writes::new(), |writes, guard| {
                writes.all(sibling_ended(guard, email, now))
            });
            self.commit(writes.witnessed()).await?;
        }
        Ok(())
    }

    /// Accepts an invitation in one transaction: ends the invitation, creates the member, sets the user's workspace, changes
    /// the counters, and ends sibling invitations. [`Error::Stale`] when the state that the decision was based on changed.
    pub async fn invitation_accept(
        &self,
        context: &InvitationContext,
        accepting: Accepting<'_>,
        now: Time,
    ) -> Result<Membership, Error> {
        let (pending, workspace, inviter) = context.open()?;
        let invitation = &context.state.invitation;
        let user = accepting.user;
        let membership = Membership::new(workspace.id, invitation.role, now, workspace.epoch, user.epoch);
        let [pending_end, guard_end, invitation_end] = ended(
            workspace.id,
            invitation.id,
            &invitation.email,
            Status::Accepted,
            Some(user.id),
            now,
        );
        let pending_end = pending_end
            .when("#expires_at = :expires_at")
            .bind(":expires_at", pending.expires_at);
        let owners = i64::from(invitation.role == Role::Owner);
        let counted = Write::update(
            Key::workspace(workspace.id),
            "ADD #member_count :one, #owner_count :owners, #pending_count :minus",
        )
        .when("#epoch = :epoch")
        .bind(":one", 1)
        .bind(":minus", -1)
        .bind(":owners", owners)
        .bind(":epoch", workspace.epoch);
        let inviter_unchanged =
            Write::check(Key::user(inviter.id), "#membership = :membership").bind(":membership", &inviter.membership);
        let account_writes = accepting.writes(&membership, context.email.as_ref(), now);
        let writes = Writes::new()
            .and(pending_end)
            .and(guard_end)
            .and(invitation_end)
            .and(counted)
            .and(inviter_unchanged)
            .and(Write::create(
                "member",
                Key::member(workspace.id, now, user.id),
                &Member::of(user, &membership),
            ))
            .witnessed()
            .all(account_writes)
            .all(
                context
                    .siblings
                    .iter()
                    .flat_map(|guard| sibling_ended(guard, &invitation.email, now)),
            );
        self.commit(writes).await?;
        Ok(membership)
    }
}

/// The account that accepts, and its new session.
#[derive(Debug)]
pub struct Accepting<'a> {
    /// The account. A new account has the e-mail address of the invitation, and no item yet.
    pub user: &'a User,
    /// The session's id.
    pub session_id: SessionId,
    /// The session.
    pub session: &'a Session,
    /// The sessions that end to make room for the new one.
    pub evicted: &'a [SessionId],
}

impl Accepting<'_> {
    fn writes(&self, membership: &Membership, email: Option<&EmailRecord>, now: Time) -> Vec<Write> {
        let Some(record) = email else {
            let mut user = self.user.clone();
            user.membership = Some(membership.clone());
            user.sessions.insert(self.session_id, self.session.clone());
            return account_create_writes(&user, 1).to_vec();
        };
        let mut sessions = self.user.sessions.clone();
        sessions.retain(|id, _| !self.evicted.contains(id));
        sessions.insert(self.session_id, self.session.clone());
        let user = membership_set(self.user, membership, now)
            .also_set("#sessions = :sessions")
            .when("#sessions = :read")
            .bind(":sessions", sessions)
            .bind(":read", &self.user.sessions);
        let moved = Write::update(
            Key::email(&self.user.email),
            "SET #workspace_id = :workspace, #invite_epoch = :next",
        )
        .when("attribute_not_exists(#workspace_id) AND #invite_epoch = :read")
        .bind(":workspace", membership.workspace_id)
        .bind(":next", record.invite_epoch + 1)
        .bind(":read", record.invite_epoch);
        vec![user, moved]
    }
}

/// The writes of a new invitation.
fn created(access: &Access, new: &NewInvitation<'_>, now: Time) -> Writes {
    let (invitation, pending) = (new.invitation, new.pending);
    let workspace = access.workspace().id;
    let guard = Guard {
        invitation_id: invitation.id,
        workspace_id: workspace,
        role: invitation.role,
    };
    let guard_write = Write::put("guard", Key::guard(&invitation.email, workspace), &guard);
    let pending_write = Write::create("pending", Key::pending(workspace, invitation.id), pending);
    let pending_write = match &new.mail {
        Some(mail) => pending_write
            .with(table::INDEX_PK, super::keys::DUE)
            .with(table::INDEX_SK, due_in_index(mail.due_at, invitation.id)),
        None => pending_write,
    };
    let stored = StoredResult {
        result: pending,
        is_final: new.mail.is_none(),
    };
    let writes = Writes::new()
        .all(new.admitted.writes(stored))
        .and(Write::create("invitation", Key::invitation(invitation.id), invitation))
        .witnessed()
        .and(pending_write)
        .all(new.mail.iter().map(|mail| mail.slot.write()));
    match new.replaced {
        Some(old) => {
            let [pending_end, _, invitation_end] = ended(workspace, old, &invitation.email, Status::Revoked, None, now);
            writes
                .and(guard_write.when("#invitation_id = :old").bind(":old", old))
                .and(pending_end)
                .and(invitation_end)
                .and(Write::check(Key::workspace(workspace), "attribute_exists(#pk)"))
        }
        None => writes.and(guard_write.when("attribute_not_exists(#pk)")).and(
            Write::update(Key::workspace(workspace), "ADD #pending_count :one")
                .when("#pending_count < :most")
                .bind(":one", 1)
                .bind(":most", PENDING_MAX),
        ),
    }
}

/// The writes that end a pending invitation: its pending row, its guard and, last, its end. The end is written only once, so
/// that it can be the witness of the transaction.
pub(super) fn ended(
    workspace: WorkspaceId,
    id: InvitationId,
    email: &EmailAddress,
    status: Status,
    by: Option<UserId>,
    now: Time,
) -> [Write; 3] {
    let end = End {
        status,
        at: now,
        accepted_by: by,
    };
    [
        Write::delete(Key::pending(workspace, id)),
        Write::delete(Key::guard(email, workspace))
            .when("#invitation_id = :invitation")
            .bind(":invitation", id),
        Write::update(Key::invitation(id), "SET #end = :end, #ttl = :ttl")
            .when("attribute_not_exists(#end)")
            .bind(":end", end)
            .bind(":ttl", now.plus(ENDED_KEPT).as_seconds()),
    ]
}

/// The writes that end a pending invitation without acceptance.
fn revoked(workspace: WorkspaceId, invitation: &Invitation, now: Time) -> Writes {
    Writes::new()
        .all(ended(
            workspace,
            invitation.id,
            &invitation.email,
            Status::Revoked,
            None,
            now,
        ))
        .witnessed()
        .and(fewer_pending(workspace, 1))
}

fn sibling_ended(guard: &Guard, email: &EmailAddress, now: Time) -> Vec<Write> {
    let mut writes = ended(
        guard.workspace_id,
        guard.invitation_id,
        email,
        Status::Revoked,
        None,
        now,
    )
    .to_vec();
    writes.push(fewer_pending(guard.workspace_id, 1));
    writes
}

fn fewer_pending(workspace: WorkspaceId, by: usize) -> Write {
    let by = i64::try_from(by).unwrap_or(i64::MAX);
    Write::update(Key::workspace(workspace), "ADD #pending_count :minus").bind(":minus", -by)
}
