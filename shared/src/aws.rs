//! The AWS clients. They are built explicitly: the SDK's default credential and region chains read files, call other
//! services and build clients that this backend does not use.

mod error;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::SharedInterceptor;

use crate::config::{Aws, Config, SecretSource};
use crate::error::Error;
use crate::secret::Secret;

pub(crate) use error::describe;

/// The root certificates of AWS's own endpoints (Amazon Trust Services). Parsing all root certificates of the operating
/// system takes longer than the rest of a cold start.
const ROOTS: [&str; 5] = [
    include_str!("roots/Amazon_Root_CA_1.pem"),
    include_str!("roots/Amazon_Root_CA_2.pem"),
    include_str!("roots/Amazon_Root_CA_3.pem"),
    include_str!("roots/Amazon_Root_CA_4.pem"),
    include_str!("roots/Starfield_Services_Root_CA_G2.pem"),
];

/// The HTTP client and the credentials that all AWS clients share. The client of a service is built where it is first
/// used, so that a function that does not call the service does not contain its client.
#[derive(Clone, Debug)]
pub struct Connection {
    aws: Aws,
    http: SharedHttpClient,
}

fn http_client() -> Result<SharedHttpClient, Error> {
    let store = ROOTS.into_iter().fold(
        TrustStore::empty().with_native_roots(false),
        TrustStore::with_pem_certificate,
    );
    let context = TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|error| Error::Internal(format!("TLS: {error}")))?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .tls_context(context)
        .build_https())
}

fn credentials(aws: &Aws) -> Credentials {
    Credentials::new(
        &aws.access_key_id,
        aws.secret_access_key.expose(),
        aws.session_token.as_ref().map(|token| token.expose().to_owned()),
        None,
        "environment",
    )
}

/// Time-outs that leave time for another attempt within the 10 s that a function may run.
fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(1000))
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

impl Connection {
    /// Builds the HTTP client for the account and endpoints of `config`.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            aws: config.aws.clone(),
            http: http_client()?,
        })
    }

    /// Builds a client of DynamoDB. `interceptor` sees every call.
    #[must_use]
    pub fn dynamodb(&self, interceptor: Option<SharedInterceptor>) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.aws.region.clone()))
            .credentials_provider(credentials(&self.aws))
            .http_client(self.http.clone())
            .timeout_config(timeouts(Duration::from_millis(1500), Duration::from_millis(4500)))
            // For reads only: the store retries writes itself.
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(3)
                    .with_initial_backoff(Duration::from_millis(30))
                    .with_max_backoff(Duration::from_millis(300)),
            )
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(self.aws.dynamodb_endpoint.clone());
        if let Some(interceptor) = interceptor {
            config.push_interceptor(interceptor);
        }
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// Builds a client of SES.
    #[must_use]
    pub fn ses(&self) -> aws_sdk_sesv2::Client {
        let mut config = aws_sdk_sesv2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.aws.region.clone()))
            .credentials_provider(credentials(&self.aws))
            .http_client(self.http.clone())
            // One attempt: a mail with an unknown outcome must not be sent again immediately.
            .timeout_config(timeouts(Duration::from_millis(2500), Duration::from_millis(2500)))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(self.aws.ses_endpoint.clone());
        aws_sdk_sesv2::Client::from_conf(config.build())
    }

    /// Returns the secret of `source`, reading it from Secrets Manager if `source` is an ARN. Errors name `variable`, the
    /// environment variable that `source` was read from.
    pub async fn secret(&self, source: Option<&SecretSource>, variable: &str) -> Result<Secret, Error> {
        let arn = match source {
            None => return Err(Error::Internal(format!("neither {variable} nor {variable}_ARN is set"))),
            Some(SecretSource::Value(secret)) => return Ok(secret.clone()),
            Some(SecretSource::Arn(arn)) => arn,
        };
        let mut manager = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.aws.region.clone()))
            .credentials_provider(credentials(&self.aws))
            .http_client(self.http.clone())
            .timeout_config(timeouts(Duration::from_millis(1500), Duration::from_millis(4500)));
        manager.set_endpoint_url(self.aws.secrets_endpoint.clone());
        let response = aws_sdk_secretsmanager::Client::from_conf(manager.build())
            .get_secret_value()
            .secret_id(arn)
            .send()
            .await
            .map_err(|error| Error::Unavailable(format!("{variable}_ARN: {}", describe(&error))))?;
        response
            .secret_string
            .filter(|secret| !secret.is_empty())
            .map(Secret::new)
            .ok_or_else(|| Error::Internal(format!("{variable}_ARN names a secret without text")))
    }
}
