//! The mail of a pending invitation: its claim and its delivery status.

use super::super::keys::due_in_index;
use super::super::write::UpdateError;
use super::super::{Key, Unproven, Write, parse};
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{InvitationId, WorkspaceId};
use crate::models::delivery::{Delivery, DeliveryStatus};
use crate::models::invitation::Pending;

impl Unproven<'_> {
    /// Claims a due mail until `held_until`. Returns the pending row; none when the invitation ended, the mail is not due any
    /// more, or a concurrent worker claimed it after `index_key` was read.
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

    /// Records the delivery status of a mail that the caller claimed until `held_until`, and when the mail is due again.
    /// Returns the status that the row has afterwards, which a delivery event or, after the lease, another worker may have
    /// recorded before; none when the invitation ended.
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
        // A mail that was sent stays sent, even when another worker holds the claim now.
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

    /// The delivery status of the mail of a pending invitation; none when the invitation ended.
    pub async fn invitation_delivery(
        self,
        workspace: WorkspaceId,
        id: InvitationId,
    ) -> Result<Option<Delivery>, Error> {
        let key = Key::pending(workspace, id);
        let pending: Option<Pending> = self.store.get(vec![key.clone()]).await?.take(&key)?;
        Ok(pending.map(|pending| pending.delivery))
    }

    /// Changes the delivery status from `read` to `to`, after which the mail is not due any more. [`Error::Stale`] when the
    /// status changed or the invitation ended after the read.
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
