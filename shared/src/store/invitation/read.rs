//! Reads of invitations: by link, and as the workspace's list.

use aws_sdk_dynamodb::types::AttributeValue;

use super::super::account::EmailRecord;
use super::super::keys::{GUARD, PENDING, email_partition, workspace_partition};
use super::super::{Key, Store, Unproven, WithinDeadline, parse, table};
use super::{Guard, LinkedInvitation, SIBLINGS_MAX};
use crate::auth::access::{Access, Tenant};
use crate::clock::Time;
use crate::error::Error;
use crate::ids::InvitationId;
use crate::models::email::EmailAddress;
use crate::models::invitation::{Invitation, InvitationState, Pending, Status};
use crate::models::user::User;
use crate::models::workspace::Workspace;

/// An invitation and the items that decide whether it can be accepted. Only two reads create it: the read for the holder
/// of the link, and the read for the invitation's due mail.
#[derive(Debug)]
#[non_exhaustive]
pub struct InvitationContext {
    /// The invitation.
    pub state: InvitationState,
    /// The workspace; none when it was deleted.
    pub workspace: Option<Workspace>,
    /// The inviter; none when the account was deleted.
    pub inviter: Option<User>,
    /// The account that accepted; none when the invitation was not accepted.
    pub accepted_by: Option<User>,
    /// The e-mail item; none when the address has no account.
    pub email: Option<EmailRecord>,
    /// The sibling invitations that end when this invitation is accepted.
    pub siblings: Vec<Guard>,
}

impl InvitationContext {
    /// Checks whether the invitation can still be accepted, apart from its expiry: it has not ended, its invitee has not
    /// accepted another invitation since, and its inviter still has the right to send it.
    pub fn open(&self) -> Result<(&Pending, &Workspace, &User), Error> {
        let pending = self.state.open()?;
        let invitation = &self.state.invitation;
        let joined_since = self
            .email
            .as_ref()
            .is_some_and(|email| email.invite_epoch > invitation.invite_epoch);
        let (Some(workspace), Some(inviter), false) = (&self.workspace, &self.inviter, joined_since) else {
            return Err(Error::InvitationRevoked);
        };
        let may_still = inviter.membership.as_ref().is_some_and(|membership| {
            membership.workspace_id == invitation.workspace_id
                && membership.could_invite_since(invitation.role, invitation.inviter_epoch)
        });
        if may_still {
            Ok((pending, workspace, inviter))
        } else {
            Err(Error::InvitationRevoked)
        }
    }

    /// The status of the invitation at `now`. [`Error::Stale`] when the items are from before and after a change.
    pub fn status(&self, now: Time) -> Result<Status, Error> {
        match self.open() {
            Ok((pending, ..)) => Ok(pending.status(now)),
            Err(Error::InvitationUsed) => Ok(Status::Accepted),
            Err(Error::InvitationRevoked) => Ok(Status::Revoked),
            Err(error) => Err(error),
        }
    }
}

impl Store {
    /// Reads the context of an invitation for the holder of its link: one round trip, two concurrent calls.
    /// [`Error::Stale`] when the invitation ended between them.
    pub async fn invitation_context(&self, invitation: LinkedInvitation) -> Result<InvitationContext, Error> {
        self.unproven().invitation_mail_context(invitation.0).await
    }

    /// Whether an invitation of the caller's workspace has ended.
    pub async fn invitation_is_ended(&self, access: &Access, id: InvitationId) -> Result<bool, Error> {
        let invitation = self.unproven().invitation(id).await?;
        let own = invitation.filter(|invitation| invitation.workspace_id == access.workspace().id);
        Ok(own.is_none_or(|invitation| invitation.end.is_some()))
    }

    /// Whether the invitee of the caller's invitation has accepted another invitation since.
    pub async fn invitation_is_superseded(&self, _access: &Access, invitation: &Invitation) -> Result<bool, Error> {
        let key = Key::email(&invitation.email);
        let record: Option<EmailRecord> = self.get(vec![key.clone()]).await?.take(&key)?;
        Ok(record.is_some_and(|record| record.invite_epoch > invitation.invite_epoch))
    }

    /// The e-mail item and a bounded number of guards of an address.
    pub(super) async fn email_guards(&self, email: &EmailAddress) -> Result<(Option<EmailRecord>, Vec<Guard>), Error> {
        let (mut record, mut guards) = (None, Vec::new());
        let (mut left, mut start) = (SIBLINGS_MAX + 2, None);
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("#pk = :pk")
                .expression_attribute_names("#pk", table::PK)
                .expression_attribute_values(":pk", AttributeValue::S(email_partition(email)))
                // The e-mail item sorts before the guards. The guards may include that of the invitation itself.
                .limit(i32::try_from(left).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .within_deadline("Query")
                .await?;
            let items = page.items.unwrap_or_default();
            left = left.saturating_sub(items.len());
            for item in items {
                let is_guard = item
                    .get(table::SK)
                    .and_then(|sk| sk.as_s().ok())
                    .is_some_and(|sk| sk.starts_with(GUARD));
                if is_guard {
                    guards.push(parse(item)?);
                } else {
                    record = Some(parse(item)?);
                }
            }
            // A page may end early, even before its first item.
            start = page.last_evaluated_key;
            if start.is_none() || left == 0 {
                return Ok((record, guards));
            }
        }
    }

    /// All pending invitations of a workspace, including expired ones, newest first: at most
    /// `PENDING_MAX` rows.
    pub async fn invitation_list(&self, tenant: Tenant) -> Result<Vec<Pending>, Error> {
        let mut rows = Vec::new();
        let mut start = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .scan_index_forward(false)
                .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
                .expression_attribute_names("#pk", table::PK)
                .expression_attribute_names("#sk", table::SK)
                .expression_attribute_values(":pk", AttributeValue::S(workspace_partition(tenant.workspace_id())))
                .expression_attribute_values(":prefix", AttributeValue::S(PENDING.to_owned()))
                .set_exclusive_start_key(start)
                .send()
                .within_deadline("Query")
                .await?;
            for item in page.items.unwrap_or_default() {
                rows.push(parse(item)?);
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(rows);
            }
        }
    }
}

impl Unproven<'_> {
    /// Finds an invitation by its id alone.
    pub async fn invitation(self, id: InvitationId) -> Result<Option<Invitation>, Error> {
        let key = Key::invitation(id);
        self.store.get(vec![key.clone()]).await?.take(&key)
    }

    /// Reads the context of an invitation, like [`Store::invitation_context`], but for the invitation's mail.
    pub(crate) async fn invitation_mail_context(self, invitation: Invitation) -> Result<InvitationContext, Error> {
        let pending = Key::pending(invitation.workspace_id, invitation.id);
        let workspace = Key::workspace(invitation.workspace_id);
        let inviter = Key::user(invitation.invited_by);
        let accepted_by = invitation.end.as_ref().and_then(|end| end.accepted_by).map(Key::user);
        let keys = [&pending, &workspace, &inviter]
            .into_iter()
            .chain(&accepted_by)
            .cloned()
            .collect();
        let (items, (email, guards)) =
            futures::try_join!(self.store.get(keys), self.store.email_guards(&invitation.email))?;
        let siblings = guards
            .into_iter()
            .filter(|guard| guard.workspace_id != invitation.workspace_id)
            .take(SIBLINGS_MAX)
            .collect();
        let mut items = items;
        let context = InvitationContext {
            workspace: items.take(&workspace)?,
            inviter: items.peek(&inviter)?,
            accepted_by: accepted_by.map_or(Ok(None), |key| items.take(&key))?,
            email,
            siblings,
            state: InvitationState {
                pending: items.take(&pending)?,
                invitation,
            },
        };
        // The refusal may be the effect of an acceptance between the reads. The acceptance writes the invitation's end in the
        // same transaction, so a later read of the invitation shows it.
        let id = context.state.invitation.id;
        let is_dead = context.state.invitation.end.is_none() && matches!(context.open(), Err(Error::InvitationRevoked));
        if is_dead && self.invitation(id).await?.is_none_or(|again| again.end.is_some()) {
            return Err(Error::Stale);
        }
        Ok(context)
    }
}
