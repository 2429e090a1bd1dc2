//! The invitation link, which proves that its holder may preview, accept or decline the invitation.

use super::super::{Items, Key};
use crate::error::Error;
use crate::ids::InvitationId;
use crate::models::email::EmailAddress;
use crate::models::invitation::Invitation;
use crate::secret::Secret;

/// The id and the token of a link, as a client sent them.
#[derive(Debug)]
pub struct InvitationLink {
    id: Option<InvitationId>,
    token: Secret,
}

/// An invitation whose link the client has. Only [`InvitationLink::invitation`] creates this proof.
#[derive(Clone, Debug)]
pub struct LinkedInvitation(pub(super) Invitation);

impl InvitationLink {
    /// The link of a request. A malformed id finds no invitation.
    #[must_use]
    pub fn new(id: &str, token: Secret) -> Self {
        Self {
            id: id.parse().ok(),
            token,
        }
    }

    /// The key of the invitation item. Only [`InvitationLink::invitation`] returns the item.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.id.map(Key::invitation)
    }

    /// The invitation, from items that were read with [`InvitationLink::key`]. `None` when the invitation does not
    /// exist or the token does not match.
    pub fn invitation(&self, items: &Items) -> Result<Option<LinkedInvitation>, Error> {
        let invitation: Option<Invitation> = self.key().map_or(Ok(None), |key| items.peek(&key))?;
        Ok(invitation
            .filter(|invitation| invitation.token_hash.matches(&self.token))
            .map(LinkedInvitation))
    }
}

impl LinkedInvitation {
    /// The invitee's e-mail address.
    #[must_use]
    pub fn email(&self) -> &EmailAddress {
        &self.0.email
    }
}
