//! The tokens and the links of invitations.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use crate::ids::InvitationId;
use crate::secret::{DerivedKey, Secret};

/// Derives invitation tokens. A token is a MAC of 256 bits over the invitation's id, so that a repeated mail carries the
/// same link although no secret is stored.
#[derive(Clone, Debug)]
pub struct InvitationKey(DerivedKey);

impl InvitationKey {
    /// Derives the key from a secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(DerivedKey::derive(secret, "invitation-token"))
    }

    /// Derives the token of the invitation `id`.
    #[must_use]
    pub fn token(&self, id: InvitationId) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(self.0.tag(&[id.as_bytes()])))
    }
}

/// The link of an invitation: `page` with the id and the token in the fragment. Browsers do not send a fragment to the
/// server, so that no access log contains the token.
#[must_use]
pub fn link(page: &Url, id: InvitationId, token: &Secret) -> String {
    let mut link = page.clone();
    link.set_fragment(Some(&format!("invite_id={id}&token={}", token.expose())));
    link.to_string()
}
