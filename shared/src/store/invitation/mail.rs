//! The mail of a pending invitation: claimed, its fate recorded and moved on.

use super::super::keys::due_in_index;
use super::super::write::UpdateError;
use super::super::{Key, Unproven, Write, parse};
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{InvitationId, WorkspaceId};
use crate::models::delivery::{Delivery, DeliveryStatus};
use crate::models::invitation::Pending;

impl Unproven<'_> {
    /// Takes a due mail for this caller alone until `held_until`: the pending part, or none when it ended, its mail is due
    /// no more, or another call took it since `place` was read.
    pub async fn invitation_mail_claim(
        self,
        workspace: WorkspaceId,
        id: InvitationId,
        index_key: &str,
        held_until: Time,
    ) -> Result<Option<Pending>, Error> {
        let write = Write::update(Key::pending(workspace, id), "SET #gsi1sk = :held")
            .when("#gsi1sk = :read AND #delivery.#status = :queued")
            .bind(":held", due_in_index(held_until, id))
            .bind(":read", index_key)
            .bind(":queued", DeliveryStatus::Queued);
        match self.store.update_one(write).await {
            Ok(pending) => Ok(Some(pending)),
            Err(UpdateError::Condition(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Records what became of a mail that the caller held until `held_until`, and when it is due again, if it is. Answers
    /// the fate that stands then: it may have been recorded before, from what the mail service told, or by another
    /// caller, should the hold have ended; none when the invitation ended.
    pub async fn invitation_delivery_record(
        self,
        workspace: WorkspaceId,
        id: InvitationId,
        held_until: Time,
        delivery: &Delivery,
        due_again: Option<Time>,
    ) -> Result<Option<Delivery>, Error> {
        let key = Key::pending(workspace, id);
        let write = match due_again {
            Some(at) => {
                Write::update(key, "SET #delivery = :delivery, #gsi1sk = :due").bind(":due", due_in_index(at, id))
            }
            None => Write::update(key, "SET #delivery = :delivery REMOVE #gsi1pk, #gsi1sk"),
        };
        let write = write
            .when("#delivery.#status = :queued")
            .bind(":delivery", delivery)
            .bind(":queued", DeliveryStatus::Queued);
        // That it left is true whoever holds it now.
        let write = if delivery.status == DeliveryStatus::Sent {
            write
        } else {
            write
                .when("#gsi1sk = :held")
                .bind(":held", due_in_index(held_until, id))
        };
        match self.store.update_one::<Pending>(write).await {
            Ok(pending) => Ok(Some(pending.delivery)),
            Err(UpdateError::Condition(None)) => Ok(None),
            Err(UpdateError::Condition(Some(item))) => Ok(Some(parse::<Pending>(item)?.delivery)),
            Err(error) => Err(error.into()),
        }
    }

    /// The fate of a pending invitation's mail; none when it ended.
    pub async fn invitation_delivery(
        self,
        workspace: WorkspaceId,
        id: InvitationId,
    ) -> Result<Option<Delivery>, Error> {
        let key = Key::pending(workspace, id);
        let pending: Option<Pending> = self.store.get(vec![key.clone()]).await?.take(&key)?;
        Ok(pending.map(|pending| pending.delivery))
    }

    /// Moves the fate of a pending invitation's mail from `read` to one in which it is due no more. [`Error::Stale`] when
    /// it moved or the invitation ended meanwhile.
    pub async fn invitation_delivery_move(
        self,
        workspace: WorkspaceId,
        id: InvitationId,
        read: &Delivery,
        to: &Delivery,
    ) -> Result<(), Error> {
        let write = Write::update(
            Key::pending(workspace, id),
            "SET #delivery = :delivery REMOVE #gsi1pk, #gsi1sk",
        )
        .when("#delivery = :read")
        .bind(":delivery", to)
        .bind(":read", read);
        self.store
            .update_one::<Pending>(write)
            .await
            .map(|_| ())
            .map_err(Error::from)
    }
}
