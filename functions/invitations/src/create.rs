//! The operation that creates an invitation.

use shared::auth::access::{Access, Caller, Tenant};
use shared::clock::Time;
use shared::http::gateway::Gateway;
use shared::models::email::EmailAddress;
use shared::models::invitation::{Pending, Status};
use shared::models::limit::Rule;
use shared::models::role::Action;
use shared::operation::{Approved, IdempotencyHeader, Operation};
use shared::store::idempotency::StoredResult;
use shared::store::invitation::invitee_keys;
use shared::store::limit::Limit;
use shared::store::{Items, Key};
use shared::{App, Error};

use crate::draft::{InvitationDraft, Recipient, recipient_budget};
use crate::invitee::Invitee;
use crate::replay::CreateOutcome;
use crate::wire::InvitationCreateIn;

/// Expired invitations that one request removes at most when the workspace has no room for another invitation.
const CLEARED_MAX: usize = 300;

/// One request to create an invitation.
pub(crate) struct CreateInvitation<'a> {
    app: &'a App,
    caller: &'a Caller,
    gateway: &'a Gateway,
    body: Result<InvitationCreateIn, Error>,
    email: Option<EmailAddress>,
    idempotency: IdempotencyHeader,
}

impl<'a> CreateInvitation<'a> {
    pub(crate) fn new(
        app: &'a App,
        caller: &'a Caller,
        gateway: &'a Gateway,
        body: Result<InvitationCreateIn, Error>,
        idempotency: IdempotencyHeader,
    ) -> Self {
        let email = body.as_ref().ok().and_then(|body| body.email().ok());
        Self {
            app,
            caller,
            gateway,
            body,
            email,
            idempotency,
        }
    }

    fn body(&self) -> Result<&InvitationCreateIn, Error> {
        self.body.as_ref().map_err(Clone::clone)
    }

    /// The items that say whether the address can be invited, and whether its mail budget has room.
    fn address_keys(&self, tenant: Tenant) -> Vec<Key> {
        let keys = |email: &EmailAddress| {
            let budget = recipient_budget(email).key();
            invitee_keys(tenant, email).into_iter().chain([budget])
        };
        self.email.iter().flat_map(keys).collect()
    }
}

impl Operation for CreateInvitation<'_> {
    type Proof = Access;
    type Target = ();
    type Permit = Invitee;
    type Stored = Pending;
    type Outcome = CreateOutcome;

    fn idempotency(&self) -> &IdempotencyHeader {
        &self.idempotency
    }

    fn limit(&self) -> Option<Limit> {
        Some(Limit::new(Rule::INVITATION_CREATE, &self.caller.user_id()))
    }

    async fn authorize(&self, keys: Vec<Key>) -> Result<(Access, Items), Error> {
        let keys = |tenant| [keys.clone(), self.address_keys(tenant)].concat();
        self.app
            .authorize_with(self.caller, Action::ManageInvitations, keys)
            .await
    }

    fn tenant(&self, access: &Access) -> Option<Tenant> {
        Some(access.tenant())
    }

    fn check_form(&self, access: &Access) -> Result<(), Error> {
        let role = self.body()?.role();
        if role.is_ok_and(|role| !access.membership().role.may_invite(role)) {
            return Err(Error::Forbidden);
        }
        Ok(())
    }

    fn replay(&self, access: Access, stored: StoredResult<Pending>) -> Result<CreateOutcome, Error> {
        CreateOutcome::replayed(access, stored)
    }

    fn target(&self, _: &Access, _: &mut Items) -> Result<(), Error> {
        Ok(())
    }

    fn check_rules(&self, access: &Access, (): (), items: &Items, _: Time) -> Result<Invitee, Error> {
        Invitee::of(access, self.body()?, items)
    }

    /// Removes expired invitations of a workspace that has no room for another one.
    async fn remove_cause(&self, access: &Access, refusal: &Error) -> Result<bool, Error> {
        if *refusal != Error::TooManyPending {
            return Ok(false);
        }
        let now = self.app.now();
        let mut rows = self.app.store.invitation_list(access.tenant()).await?;
        rows.retain(|row| row.status(now) == Status::Expired);
        rows.truncate(CLEARED_MAX);
        self.app.store.invitation_clear(access, &rows, now).await?;
        Ok(!rows.is_empty())
    }

    async fn commit(&self, approved: Approved<Self>) -> Result<CreateOutcome, Error> {
        let Approved {
            proof: access,
            permit: invitee,
            items,
            admitted,
        } = approved;
        let now = admitted.at();
        let recipient = Recipient {
            invite_epoch: invitee.epoch(),
            budget: recipient_budget(&invitee.email).budget_state(&items, now),
            email: invitee.email,
            role: invitee.role,
        };
        let draft = InvitationDraft::new(self.app, self.gateway, &access, recipient, now)?;
        let new = draft.new_invitation(invitee.replaced, &admitted);
        self.app
            .store
            .invitation_create(&access, new, invitee.record.as_ref())
            .await?;
        Ok(CreateOutcome::created(access, draft))
    }
}
