//! What every handler has at hand: built once, at cold start.

use std::sync::Arc;

use aws_smithy_runtime_api::client::interceptors::SharedInterceptor;
use futures::future::BoxFuture;

use crate::auth::invite::InvitationKey;
use crate::auth::keys::{KeyRing, SigningKey, jwks};
use crate::auth::password::Passwords;
use crate::auth::refresh::RefreshKeys;
use crate::auth::token::{self, TokenParties};
use crate::aws::Connection;
use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::error::Error;
use crate::ids::SessionId;
use crate::mailer::Mailer;
use crate::models::user::User;
use crate::models::workspace::Workspace;
use crate::secret::Secret;
use crate::store::Store;

/// The state of every router.
#[derive(Clone, Debug)]
pub struct App {
    /// The table.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
    /// What differs between deployments.
    pub config: Arc<Config>,
    /// The public keys that tokens are verified with.
    pub keys: KeyRing,
    /// Who issues tokens, and for whom.
    pub parties: TokenParties,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Sends mails.
    pub mailer: Mailer,
    issuer: Option<Arc<TokenIssuer>>,
    invitation_key: Option<Arc<InvitationKey>>,
}

/// The secrets that a function cannot start without, each as what reads it: a function that needs none does not carry
/// the client of Secrets Manager.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequiredSecrets {
    /// The seed of the signing key.
    pub signing: Option<ReadSecret>,
    /// The key of invitation tokens.
    pub invitation: Option<ReadSecret>,
}

/// Reads a secret from where the environment says it is.
pub type ReadSecret = for<'a> fn(&'a Connection, &'a Config) -> BoxFuture<'a, Result<Secret, Error>>;

const SIGNING: ReadSecret = |aws, config| Box::pin(aws.secret(config.signing_secret.as_ref(), "SIGNING_SECRET"));
const INVITATION: ReadSecret =
    |aws, config| Box::pin(aws.secret(config.invitation_secret.as_ref(), "INVITATION_SECRET"));

impl RequiredSecrets {
    /// No secret.
    pub const NONE: Self = Self {
        signing: None,
        invitation: None,
    };
    /// The seed of the signing key.
    pub const SIGNING: Self = Self {
        signing: Some(SIGNING),
        invitation: None,
    };
    /// The key of invitation tokens.
    pub const INVITATION: Self = Self {
        signing: None,
        invitation: Some(INVITATION),
    };
    /// Both: the local stack is every function at once.
    pub const ALL: Self = Self {
        signing: Some(SIGNING),
        invitation: Some(INVITATION),
    };
}

/// What issues tokens; `auth` alone has it.
#[derive(Debug)]
pub struct TokenIssuer {
    parties: TokenParties,
    signing: Vec<SigningKey>,
    /// Makes and verifies refresh tokens.
    pub refresh: RefreshKeys,
}

impl TokenIssuer {
    /// Signs under the first of `seeds`; what the others signed stays valid.
    fn new(parties: TokenParties, seeds: &[Secret]) -> Result<Self, Error> {
        Ok(Self {
            parties,
            signing: seeds.iter().map(SigningKey::from_seed).collect::<Result<_, _>>()?,
            refresh: RefreshKeys::new(seeds),
        })
    }

    /// An access token.
    pub fn access_token(
        &self,
        user: &User,
        workspace: Option<&Workspace>,
        session: SessionId,
        now: Time,
    ) -> Result<String, Error> {
        let key = self
            .signing
            .first()
            .ok_or_else(|| Error::Internal("no signing key".to_owned()))?;
        token::issue(&self.parties, key, user, workspace, session, now)
    }

    /// The public keys as a JWK Set.
    pub fn jwks(&self) -> Result<String, Error> {
        jwks(&self.signing)
    }
}

impl App {
    /// Builds the app and reads the secrets that `needs` names. An interceptor sees every DynamoDB call; the tests
    /// count them with it.
    pub async fn start(
        config: Config,
        clock: Clock,
        needs: RequiredSecrets,
        interceptor: Option<SharedInterceptor>,
    ) -> Result<Self, Error> {
        let aws = Arc::new(Connection::new(&config)?);
        let parties = TokenParties {
            issuer: config.token_issuer.clone(),
            audience: config.token_audience.clone(),
        };
        let issuer = match needs.signing {
            Some(read) => {
                let secret = read(&aws, &config).await?;
                Some(Arc::new(TokenIssuer::new(parties.clone(), &seeds(&secret))?))
            }
            None => None,
        };
        let invitation_key = match needs.invitation {
            Some(read) => Some(Arc::new(InvitationKey::new(&read(&aws, &config).await?))),
            None => None,
        };
        Ok(Self {
            store: Store::new(aws.dynamodb(interceptor), config.table_name.clone()),
            mailer: Mailer::new(aws, &config),
            config: Arc::new(config),
            keys: KeyRing::default(),
            passwords: Passwords::default(),
            clock,
            parties,
            issuer,
            invitation_key,
        })
    }

    /// Opens the connection, reads the public keys, and publishes this function's own when it has some. A cold start
    /// goes on when this fails: the first request tries again.
    pub async fn warm(&self) -> Result<(), Error> {
        let published = self.store.jwks().await?;
        let Some(issuer) = &self.issuer else {
            return self
                .keys
                .load(published.as_deref().unwrap_or(r#"{"keys":[]}"#), self.now());
        };
        let own = issuer.jwks()?;
        if published.as_deref() != Some(&own) {
            self.store.jwks_publish(&own).await?;
        }
        self.keys.load(&own, self.now())
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// What issues tokens.
    pub fn issuer(&self) -> Result<&TokenIssuer, Error> {
        self.issuer
            .as_deref()
            .ok_or_else(|| Error::Internal("this function has no signing key".to_owned()))
    }

    /// What makes invitation tokens.
    pub fn invitation_key(&self) -> Result<&InvitationKey, Error> {
        self.invitation_key
            .as_deref()
            .ok_or_else(|| Error::Internal("this function has no invitation key".to_owned()))
    }
}

/// The seeds of a secret: the current one, then earlier ones that still verify, separated by line breaks.
fn seeds(secret: &Secret) -> Vec<Secret> {
    secret
        .expose()
        .lines()
        .map(str::trim)
        .filter(|seed| !seed.is_empty())
        .map(Secret::new)
        .collect()
}
