//! The state that every handler and trigger uses. It is built once, at cold start.

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
    /// The DynamoDB table.
    pub store: Store,
    /// The clock; tests set it.
    pub clock: Clock,
    /// The settings of this deployment.
    pub config: Arc<Config>,
    /// The public keys that verify access tokens.
    pub keys: KeyRing,
    /// The issuer and the audience of access tokens.
    pub parties: TokenParties,
    /// The hashing of passwords, with its limit on concurrent hashes.
    pub passwords: Passwords,
    /// The mail service.
    pub mailer: Mailer,
    issuer: Option<Arc<TokenIssuer>>,
    invitation_key: Option<Arc<InvitationKey>>,
}

/// The secrets that a function needs to start. Each is given as the function that reads it, so that a function without
/// secrets does not contain the client of Secrets Manager.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequiredSecrets {
    /// The reader of the signing key's seeds.
    pub signing: Option<ReadSecret>,
    /// The reader of the secret that invitation tokens are derived from.
    pub invitation: Option<ReadSecret>,
}

/// Reads a secret from the environment or from Secrets Manager.
pub type ReadSecret = for<'a> fn(&'a Connection, &'a Config) -> BoxFuture<'a, Result<Secret, Error>>;

const SIGNING: ReadSecret = |aws, config| Box::pin(aws.secret(config.signing_secret.as_ref(), "SIGNING_SECRET"));
const INVITATION: ReadSecret =
    |aws, config| Box::pin(aws.secret(config.invitation_secret.as_ref(), "INVITATION_SECRET"));

impl RequiredSecrets {
    /// No secret is read.
    pub const NONE: Self = Self {
        signing: None,
        invitation: None,
    };
    /// The function issues tokens.
    pub const SIGNING: Self = Self {
        signing: Some(SIGNING),
        invitation: None,
    };
    /// The function makes links of invitations.
    pub const INVITATION: Self = Self {
        signing: None,
        invitation: Some(INVITATION),
    };
    /// Both secrets, for the local stack, which contains every function.
    pub const ALL: Self = Self {
        signing: Some(SIGNING),
        invitation: Some(INVITATION),
    };
}

/// Signs access tokens and seals refresh tokens. Only the function `auth` has one.
#[derive(Debug)]
pub struct TokenIssuer {
    parties: TokenParties,
    signing: Vec<SigningKey>,
    /// The keys of refresh tokens.
    pub refresh: RefreshKeys,
}

impl TokenIssuer {
    /// Signs with the first of `seeds`. Tokens that were signed with the others stay valid.
    fn new(parties: TokenParties, seeds: &[Secret]) -> Result<Self, Error> {
        Ok(Self {
            parties,
            signing: seeds.iter().map(SigningKey::from_seed).collect::<Result<_, _>>()?,
            refresh: RefreshKeys::new(seeds),
        })
    }

    /// Issues an access token of `session`, for `user` in `workspace`.
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

    /// The public keys of all seeds, as a JWK Set.
    pub fn jwks(&self) -> Result<String, Error> {
        jwks(&self.signing)
    }
}

impl App {
    /// Builds the app and reads the required secrets. The interceptor sees every DynamoDB call, so that tests can count
    /// and disturb the calls.
    pub async fn start(
        config: Config,
        clock: Clock,
        secrets: RequiredSecrets,
        interceptor: Option<SharedInterceptor>,
    ) -> Result<Self, Error> {
        let aws = Arc::new(Connection::new(&config)?);
        let parties = TokenParties {
            issuer: config.token_issuer.clone(),
            audience: config.token_audience.clone(),
        };
        let issuer = match secrets.signing {
            Some(read) => {
                let secret = read(&aws, &config).await?;
                Some(Arc::new(TokenIssuer::new(parties.clone(), &seeds(&secret))?))
            }
            None => None,
        };
        let invitation_key = match secrets.invitation {
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

    /// Opens the connection to the table, loads the published public keys, and publishes this function's own keys when
    /// it has a signing key. A cold start continues when this fails: the first request with an unknown key id loads the
    /// keys again.
    pub async fn warm(&self) -> Result<(), Error> {
        let store = self.store.unproven();
        let published = store.jwks().await?;
        let Some(issuer) = &self.issuer else {
            return self.keys.load(published.as_deref(), self.now());
        };
        let own = issuer.jwks()?;
        if published.as_deref() != Some(&own) {
            store.jwks_publish(&own).await?;
        }
        self.keys.load(Some(&own), self.now())
    }

    /// This app as `function` of a process that contains several functions.
    #[must_use]
    pub fn in_function(&self, function: &str) -> Self {
        let config = Config {
            function: function.to_owned(),
            ..(*self.config).clone()
        };
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// The clock's current time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The issuer of tokens; [`Error::Internal`] in a function that started without a signing key.
    pub fn issuer(&self) -> Result<&TokenIssuer, Error> {
        self.issuer
            .as_deref()
            .ok_or_else(|| Error::Internal("this function has no signing key".to_owned()))
    }

    /// The key of invitation tokens; [`Error::Internal`] in a function that started without it.
    pub fn invitation_key(&self) -> Result<&InvitationKey, Error> {
        self.invitation_key
            .as_deref()
            .ok_or_else(|| Error::Internal("this function has no invitation key".to_owned()))
    }
}

/// Splits a secret into its seeds, one a line: the current seed first, then earlier seeds that still verify.
fn seeds(secret: &Secret) -> Vec<Secret> {
    secret
        .expose()
        .lines()
        .map(str::trim)
        .filter(|seed| !seed.is_empty())
        .map(Secret::new)
        .collect()
}
