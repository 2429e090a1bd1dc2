//! AWS clients, built explicitly: the default chain reads files, asks services, and builds clients nobody needs.

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

/// The roots that AWS's own endpoints chain to (Amazon Trust Services). Parsing a system's whole store takes longer
/// than the rest of a cold start.
const ROOTS: [&str; 5] = [
    include_str!("roots/Amazon_Root_CA_1.pem"),
    include_str!("roots/Amazon_Root_CA_2.pem"),
    include_str!("roots/Amazon_Root_CA_3.pem"),
    include_str!("roots/Amazon_Root_CA_4.pem"),
    include_str!("roots/Starfield_Services_Root_CA_G2.pem"),
];

/// The clients of the services that functions call.
#[derive(Clone, Debug)]
pub struct Clients {
    /// DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// SES.
    pub ses: aws_sdk_sesv2::Client,
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

/// Time-outs that leave room for another attempt within a function's own 10 s.
fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(1000))
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

impl Clients {
    /// The clients that `config` describes. `interceptor` sees every DynamoDB call.
    pub fn new(config: &Config, interceptor: Option<SharedInterceptor>) -> Result<Self, Error> {
        let http = http_client()?;
        let mut dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.aws.region.clone()))
            .credentials_provider(credentials(&config.aws))
            .http_client(http.clone())
            .timeout_config(timeouts(Duration::from_millis(1500), Duration::from_millis(4500)))
            // Of reads; the store tries writes itself.
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(3)
                    .with_initial_backoff(Duration::from_millis(30))
                    .with_max_backoff(Duration::from_millis(300)),
            )
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        dynamodb.set_endpoint_url(config.aws.dynamodb_endpoint.clone());
        if let Some(interceptor) = interceptor {
            dynamodb.push_interceptor(interceptor);
        }
        let mut ses = aws_sdk_sesv2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.aws.region.clone()))
            .credentials_provider(credentials(&config.aws))
            .http_client(http.clone())
            // One attempt: a mail whose fate is unknown must not be sent again at once.
            .timeout_config(timeouts(Duration::from_millis(2500), Duration::from_millis(2500)))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        ses.set_endpoint_url(config.aws.ses_endpoint.clone());
        Ok(Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            ses: aws_sdk_sesv2::Client::from_conf(ses.build()),
            http,
        })
    }

    /// The secret of `source`, which the environment names as `variable`.
    pub async fn secret(
        &self,
        config: &Config,
        source: Option<&SecretSource>,
        variable: &str,
    ) -> Result<Secret, Error> {
        let arn = match source {
            None => return Err(Error::Internal(format!("neither {variable} nor {variable}_ARN is set"))),
            Some(SecretSource::Value(secret)) => return Ok(secret.clone()),
            Some(SecretSource::Arn(arn)) => arn,
        };
        let mut manager = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.aws.region.clone()))
            .credentials_provider(credentials(&config.aws))
            .http_client(self.http.clone())
            .timeout_config(timeouts(Duration::from_millis(1500), Duration::from_millis(4500)));
        manager.set_endpoint_url(config.aws.secrets_endpoint.clone());
        let answer = aws_sdk_secretsmanager::Client::from_conf(manager.build())
            .get_secret_value()
            .secret_id(arn)
            .send()
            .await
            .map_err(|error| Error::Unavailable(format!("{variable}_ARN: {}", crate::store::describe(&error))))?;
        answer
            .secret_string
            .filter(|secret| !secret.is_empty())
            .map(Secret::new)
            .ok_or_else(|| Error::Internal(format!("{variable}_ARN names a secret without text")))
    }
}
