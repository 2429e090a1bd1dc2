//! Invitation tokens and links.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use crate::ids::InvitationId;
use crate::secret::{DerivedKey, Secret};

/// Derives invitation tokens: 256 bits that only this key makes of an invitation's id, so that a mail that is sent
/// again carries the same link though nothing secret is stored.
#[derive(Clone, Debug)]
pub struct InvitationKey(DerivedKey);

impl InvitationKey {
    /// The key of a secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(DerivedKey::derive(secret, "invitation-token"))
    }

    /// The token of an invitation.
    #[must_use]
    pub fn token(&self, id: InvitationId) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(self.0.tag(&[id.as_bytes()])))
    }
}

/// The link of an invitation: `page`, with id and token in the fragment, which reaches no server's log.
#[must_use]
pub fn link(page: &Url, id: InvitationId, token: &Secret) -> String {
    let mut link = page.clone();
    link.set_fragment(Some(&format!("invite_id={id}&token={}", token.expose())));
    link.to_string()
}
