//! The operation that replaces a pending invitation by a new one and mails it.

use std::sync::OnceLock;

use axum::Json;
use axum::extract::State;
use shared::auth::access::{Access, Caller, Tenant};
use shared::clock::Time;
use shared::error::refusal::{
    AlreadyDone, Forbidden, IdempotencyKeyReused, InvitationExpired, InvitationNotFound, InvitationRevoked,
    InvitationUsed, RateLimited, Validation, WorkspaceNotFound,
};
use shared::http::gateway::Gateway;
use shared::http::idempotency::IdempotencyKeyHeader;
use shared::http::openapi::Refusals;
use shared::http::path::Id;
use shared::ids::InvitationId;
use shared::models::invitation::{InvitationState, Pending};
use shared::models::limit::Rule;
use shared::operation::{Approved, IdempotencyHeader, Operation, perform};
use shared::store::idempotency::StoredResult;
use shared::store::limit::Limit;
use shared::store::{Items, Key};
use shared::{App, Error};

use crate::draft::{InvitationDraft, Recipient, recipient_budget};
use crate::replay::CreateOutcome;
use crate::wire::InvitationIssuedOut;
use crate::{authorize, target};

/// Makes a new invitation, with a new link and a new mail, in the place of a pending one.
#[utoipa::path(
    post,
    path = "/api/v1/workspaces/invitations/{id}/resend",
    tag = "invitations",
    security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid", description = "The invitation"), IdempotencyKeyHeader),
    responses(
        (status = 200, description = "The new invitation", body = InvitationIssuedOut),
        Refusals<(
            AlreadyDone,
            Forbidden,
            IdempotencyKeyReused,
            InvitationExpired,
            InvitationNotFound,
            InvitationRevoked,
            InvitationUsed,
            RateLimited,
            Validation,
            WorkspaceNotFound,
        )>
    )
)]
pub(crate) async fn resend_invitation(
    State(app): State<App>,
    caller: Caller,
    gateway: Gateway,
    header: IdempotencyKeyHeader,
    Id(id): Id,
) -> Result<Json<InvitationIssuedOut>, Error> {
    let content = id.to_ascii_lowercase();
    let operation = ResendInvitation {
        app: &app,
        caller: &caller,
        gateway: &gateway,
        id: id.parse().ok(),
        idempotency: IdempotencyHeader::new(&caller, "resend-invitation", &header, content.as_bytes()),
        budget: OnceLock::new(),
    };
    let outcome = perform(&app, &operation).await?;
    outcome.respond(&app, &operation.idempotency.request).await.map(Json)
}

/// One request to resend an invitation.
struct ResendInvitation<'a> {
    app: &'a App,
    caller: &'a Caller,
    gateway: &'a Gateway,
    id: Option<InvitationId>,
    idempotency: IdempotencyHeader,
    /// The recipient's budget. The recipient is known only once the invitation was read.
    budget: OnceLock<Limit>,
}

impl Operation for ResendInvitation<'_> {
    type Proof = Access;
    type Target = InvitationState;
    type Permit = InvitationState;
    type Stored = Pending;
    type Outcome = CreateOutcome;

    fn idempotency(&self) -> &IdempotencyHeader {
        &self.idempotency
    }

    fn limit(&self) -> Option<Limit> {
        Some(Limit::new(Rule::INVITATION_RESEND, &self.caller.user_id()))
    }

    async fn authorize(&self, keys: Vec<Key>) -> Result<(Access, Items), Error> {
        let budget = self.budget.get().map(Limit::key);
        let keys: Vec<Key> = keys.into_iter().chain(budget).collect();
        authorize(self.app, self.caller, self.id, &keys).await
    }

    fn tenant(&self, access: &Access) -> Option<Tenant> {
        Some(access.tenant())
    }

    fn replay(&self, access: Access, stored: StoredResult<Pending>) -> Result<CreateOutcome, Error> {
        CreateOutcome::replayed(access, stored)
    }

    fn target(&self, access: &Access, items: &mut Items) -> Result<InvitationState, Error> {
        target(access, items, self.id)
    }

    fn check_rules(
        &self,
        _: &Access,
        invitation: InvitationState,
        _: &Items,
        now: Time,
    ) -> Result<InvitationState, Error> {
        invitation.unexpired(now)?;
        Ok(invitation)
    }

    async fn commit(&self, approved: Approved<Self>) -> Result<CreateOutcome, Error> {
        let Approved {
            proof: access,
            permit: replaced,
            items,
            admitted,
        } = approved;
        let now = admitted.at();
        // The first attempt guesses the state of the budget, which saves a read. The transaction's condition decides.
        let (budget, is_guess) = if let Some(budget) = self.budget.get() {
            (budget.budget_state(&items, now), false)
        } else {
            let last = replaced.unexpired(now)?.recipient_budget;
            let budget = self.budget.get_or_init(|| recipient_budget(&replaced.invitation.email));
            (budget.budget_state_after(last, now), true)
        };
        let replaced = replaced.invitation;
        let recipient = Recipient {
            email: replaced.email,
            role: replaced.role,
            invite_epoch: replaced.invite_epoch,
            budget,
        };
        let draft = InvitationDraft::new(self.app, self.gateway, &access, recipient, now)?;
        let new = draft.new_invitation(Some(replaced.id), &admitted);
        let store = &self.app.store;
        match store.invitation_resend(&access, new).await {
            // The invitee joined a workspace: by this invitation, which the next read finds ended, or by another one.
            Err(Error::Stale)
                if !is_guess
                    && draft.is_superseded(self.app, &access).await?
                    && !store.invitation_is_ended(&access, replaced.id).await? =>
            {
                if let Some(limit) = self.limit() {
                    store.limit_charge(&limit, &items, now).await?;
                }
                Err(Error::InvitationRevoked)
            }
            other => other.map(|()| CreateOutcome::created(access, draft)),
        }
    }
}
