//! The check whether an e-mail address can be invited.

use shared::Error;
use shared::auth::access::Access;
use shared::ids::InvitationId;
use shared::models::email::EmailAddress;
use shared::models::invitation::{InviteFacts, may_invite};
use shared::models::role::Role;
use shared::store::Items;
use shared::store::account::EmailRecord;
use shared::store::invitation::invitee_take;

use crate::wire::InvitationCreateIn;

/// An invitee who passed the rules, with the items that the decision was based on.
pub(crate) struct Invitee {
    pub(crate) email: EmailAddress,
    pub(crate) role: Role,
    pub(crate) record: Option<EmailRecord>,
    pub(crate) replaced: Option<InvitationId>,
}

impl Invitee {
    /// Checks the invitee of `body` against the rules.
    pub(crate) fn of(access: &Access, body: &InvitationCreateIn, items: &Items) -> Result<Self, Error> {
        let (email, role) = (body.email()?, body.role()?);
        let workspace = access.workspace();
        let (record, guard) = invitee_take(items, access.tenant(), &email)?;
        let facts = InviteFacts {
            inviter: &access.user().email,
            inviter_role: access.membership().role,
            replaced_role: guard.as_ref().map(|guard| guard.role),
            workspace: workspace.id,
            invitee_workspace: record.as_ref().and_then(|record| record.workspace_id),
            pending_after: workspace.pending_count + u64::from(guard.is_none()),
        };
        may_invite(facts, &email)?;
        Ok(Self {
            email,
            role,
            record,
            replaced: guard.map(|guard| guard.invitation_id),
        })
    }

    /// The invite epoch of the e-mail address; 0 for an address without an account.
    pub(crate) fn epoch(&self) -> u64 {
        self.record.as_ref().map_or(0, |record| record.invite_epoch)
    }
}
