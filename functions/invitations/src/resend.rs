//! A new invitation in the place of a pending one.

use std::sync::OnceLock;

use axum::Json;
use axum::extract::State;
use shared::auth::access::Caller;
use shared::http::gateway::Gateway;
use shared::http::idempotency::Keyed;
use shared::http::path::Id;
use shared::models::limit::Rule;
use shared::store::limit::Limit;
use shared::store::{Key, retry_on_conflict};
use shared::{App, Error};

use crate::draft::{InvitationDraft, Recipient, recipient_budget};
use crate::replay::CreateOutcome;
use crate::wire::InvitationIssuedOut;
use crate::{authorize, charged_refusal, once, target};

/// Makes a new invitation, with a new link and a new mail, in the place of a pending one.
#[utoipa::path(
    post,
    path = "/api/v1/workspaces/invitations/{id}/resend",
    tag = "invitations",
    security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid", description = "The invitation"), Keyed),
    responses((status = 200, description = "The new invitation", body = InvitationIssuedOut))
)]
pub(crate) async fn resend_invitation(
    State(app): State<App>,
    caller: Caller,
    gateway: Gateway,
    Keyed(key): Keyed,
    Id(id): Id,
) -> Result<Json<InvitationIssuedOut>, Error> {
    let once = once(&caller, "resend-invitation", &key, id.to_ascii_lowercase().as_bytes());
    let id = id.parse().ok();
    let limit = Limit::new(Rule::INVITATION_RESEND, &caller.user_id());
    // Whose budget it is is known once the invitation was read.
    let budget = OnceLock::new();
    let issued = retry_on_conflict(async || {
        let now = app.now();
        let limits = [&limit].into_iter().chain(budget.get()).map(Limit::key);
        let beside: Vec<Key> = limits.chain(once.key()).collect();
        let (access, mut items) = authorize(&app, &caller, id, &beside).await?;
        key.as_ref().map_err(Clone::clone)?;
        if let Some(before) = CreateOutcome::before(&once, &items, &access, now)? {
            return Ok(before);
        }
        let invited = match target(&access, &mut items, id) {
            Err(refusal) => return Err(charged_refusal(&app, &limit, &items, refusal).await),
            Ok(invited) => invited,
        };
        let fit = limit
            .slot(&items, now)
            .and_then(|maker| Ok((maker, invited.live(now)?.recipient_budget)));
        let (maker, last) = match fit {
            Ok(fit) => fit,
            // Read on both sides of somebody's deed.
            Err(Error::Stale) => return Err(Error::Stale),
            Err(_) if app.store.idempotency_completed(&once, now).await? => return Err(Error::Stale),
            Err(refusal) => {
                app.store.limit_charge(&limit, &items, now).await?;
                return Err(refusal);
            }
        };
        // A first guess saves reading the budget; the transaction knows whether it holds.
        let (turn, is_guess) = if let Some(budget) = budget.get() {
            (budget.budget_state(&items, now), false)
        } else {
            let budget = budget.get_or_init(|| recipient_budget(&invited.invitation.email));
            (budget.budget_state_after(last, now), true)
        };
        let old = invited.invitation;
        let to = Recipient {
            email: old.email,
            role: old.role,
            invite_epoch: old.invite_epoch,
            turn,
        };
        let issue = InvitationDraft::new(&app, &gateway, &access, to, maker, now)?;
        let new = issue.new_invitation(Some(old.id), &once);
        match app.store.invitation_resend(&access, new).await {
            // Its e-mail joined somewhere: by this very invitation, which the next look tells, or by another.
            Err(Error::Stale)
                if !is_guess
                    && issue.is_dead(&app, &access).await?
                    && !app.store.invitation_is_ended(&access, old.id).await? =>
            {
                app.store.limit_charge(&limit, &items, now).await?;
                Err(Error::InvitationRevoked)
            }
            other => other.map(|()| CreateOutcome::now(access, issue)),
        }
    })
    .await?;
    Ok(Json(issued.answer(&app, &once).await?))
}
