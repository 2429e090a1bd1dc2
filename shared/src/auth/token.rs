//! Access tokens: JWTs (RFC 7519, RFC 9068) signed with Ed25519.

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::keys::SigningKey;
use crate::clock::Time;
use crate::error::Error;
use crate::ids::{SessionId, UserId, WorkspaceId, uuid_v7};
use crate::models::user::{ACCESS_TOKEN_TTL, User};
use crate::models::workspace::Workspace;

/// The tolerance for differences between clocks, applied to `exp`, `nbf` and `iat`. Revocation has no tolerance.
const LEEWAY_S: i64 = 5;
/// An own token has about 700 bytes. A much longer one is not parsed.
const TOKEN_BYTES_MAX: usize = 4096;
/// The `typ` of access tokens (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// The expiry, in seconds since the Unix epoch.
    pub exp: i64,
    /// The start of the validity, in seconds since the Unix epoch.
    pub nbf: i64,
    /// The time of issue, in seconds since the Unix epoch.
    pub iat: i64,
    /// The id of the token.
    pub jti: String,
    /// The session.
    pub sid: SessionId,
    /// The workspace of the user at the time of issue. It selects the keys of the first read and proves nothing.
    pub wid: Option<WorkspaceId>,
    /// The user's epoch at the time of issue.
    pub uep: u64,
    /// The workspace's epoch at the time of issue; 0 without a workspace.
    pub wep: u64,
}

/// The issuer and the audience that are written into tokens and required of them.
#[derive(Clone, Debug)]
pub struct TokenParties {
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`.
    pub audience: String,
}

/// Issues an access token for `user` in `session`, signed with `key`.
pub fn issue(
    parties: &TokenParties,
    key: &SigningKey,
    user: &User,
    workspace: Option<&Workspace>,
    session: SessionId,
    now: Time,
) -> Result<String, Error> {
    let claims = Claims {
        iss: parties.issuer.clone(),
        aud: parties.audience.clone(),
        sub: user.id,
        exp: now.plus(ACCESS_TOKEN_TTL).as_seconds(),
        nbf: now.as_seconds(),
        iat: now.as_seconds(),
        jti: uuid_v7(now).to_string(),
        sid: session,
        wid: workspace.map(|workspace| workspace.id),
        uep: user.epoch,
        wep: workspace.map_or(0, |workspace| workspace.epoch),
    };
    let header = Header {
        typ: Some(TYPE.to_owned()),
        kid: Some(key.kid().to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    jsonwebtoken::encode(&header, &claims, key.encoding_key())
        .map_err(|error| Error::Internal(format!("signing a token: {error}")))
}

/// The `kid` of a token whose header has the form of an own token; none when the token is invalid.
#[must_use]
pub(crate) fn key_id(token: &str) -> Option<String> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    let has_own_form = header.alg == Algorithm::EdDSA && header.typ.as_deref() == Some(TYPE) && header.crit.is_none();
    // A header must not choose the key that verifies it (RFC 8725 §3.10).
    let names_a_key = header.jwk.is_some()
        || header.jku.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some()
        || header.x5t.is_some()
        || header.x5t_s256.is_some();
    header.kid.filter(|_| has_own_form && !names_a_key)
}

/// Verifies a token's signature, parties and times.
pub fn verify(parties: &TokenParties, token: &str, key: &DecodingKey, now: Time) -> Result<Claims, Error> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[&parties.issuer]);
    validation.set_audience(&[&parties.audience]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    // The times are checked below, against the app's clock. `Claims` checks their types (CVE-2026-25537).
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
        .map_err(|_| Error::TokenInvalid)?
        .claims;
    let now = now.as_seconds();
    let in_time = claims.exp > now - LEEWAY_S && claims.nbf <= now + LEEWAY_S && claims.iat <= now + LEEWAY_S;
    if in_time { Ok(claims) } else { Err(Error::TokenInvalid) }
}
