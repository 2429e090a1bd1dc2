//! The settings of a deployment. No other module reads the environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::models::email::EmailAddress;
use crate::secret::Secret;

/// The settings that differ between deployments. One error reports all invalid variables, by name.
#[derive(Clone, Debug)]
pub struct Config {
    /// `AWS_LAMBDA_FUNCTION_NAME`: the function's name in the log; the binary's name when unset.
    pub function: String,
    /// `TABLE_NAME`: the DynamoDB table.
    pub table_name: String,
    /// `TOKEN_ISSUER`: the `iss` of tokens.
    pub token_issuer: String,
    /// `TOKEN_AUDIENCE`: the `aud` of tokens.
    pub token_audience: String,
    /// `ALLOWED_ORIGINS`: origins that browsers may call from, separated by commas; none when unset.
    pub allowed_origins: Vec<String>,
    /// `PUBLIC_URL`: the origin of invitation links; the gateway's domain name when unset.
    pub public_url: Option<Url>,
    /// `INVITE_URL`: a front end's own page for invitation links, instead of `/invite`.
    pub invite_url: Option<Url>,
    /// `INVITE_TTL_HOURS`: how long an invitation is valid; 168 when unset, at most 2,160.
    pub invite_ttl: Duration,
    /// `MAIL_FROM`: the sender of mails.
    pub mail_from: EmailAddress,
    /// `MAIL_CONFIGURATION_SET`: the SES configuration set, if any.
    pub mail_configuration_set: Option<String>,
    /// `SIGNING_SECRET` or `SIGNING_SECRET_ARN`: the seed of the signing key; only `auth` has it.
    pub signing_secret: Option<SecretSource>,
    /// `INVITATION_SECRET` or `INVITATION_SECRET_ARN`: the key of invitation tokens.
    pub invitation_secret: Option<SecretSource>,
    /// The region, the credentials and the endpoints of AWS.
    pub aws: Aws,
}

/// The source of a secret.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// The value itself, where there is no Secrets Manager.
    Value(Secret),
    /// The ARN of a secret that is read once, at cold start.
    Arn(String),
}

/// The region, the credentials and the endpoints of AWS.
#[derive(Clone, Debug)]
pub struct Aws {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`, which Lambda sets.
    pub session_token: Option<Secret>,
    /// `AWS_ENDPOINT_URL_DYNAMODB`: an endpoint to use instead of AWS's own.
    pub dynamodb_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_SESV2`: an endpoint to use instead of AWS's own.
    pub ses_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`: an endpoint to use instead of AWS's own.
    pub secrets_endpoint: Option<String>,
}

/// The errors of the environment, one text for each variable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not complete: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

/// The variables that the backend reads.
pub const VARIABLES: [&str; 21] = [
    "ALLOWED_ORIGINS",
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SESV2",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "INVITATION_SECRET",
    "INVITATION_SECRET_ARN",
    "INVITE_TTL_HOURS",
    "INVITE_URL",
    "MAIL_CONFIGURATION_SET",
    "MAIL_FROM",
    "PUBLIC_URL",
    "SIGNING_SECRET",
    "SIGNING_SECRET_ARN",
    "TABLE_NAME",
    "TOKEN_AUDIENCE",
    "TOKEN_ISSUER",
];

impl Config {
    /// Reads the process's environment.
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the other code takes its settings from this module"
        )]
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads the variables through `lookup`, which returns the value of a variable.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            lookup,
            errors: Vec::new(),
        };
        let config = Self {
            function: reader.optional("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(binary_name),
            table_name: reader.required("TABLE_NAME"),
            token_issuer: reader.required("TOKEN_ISSUER"),
            token_audience: reader.required("TOKEN_AUDIENCE"),
            allowed_origins: reader.origins("ALLOWED_ORIGINS"),
            public_url: reader.url("PUBLIC_URL"),
            invite_url: reader.url("INVITE_URL"),
            invite_ttl: reader.hours("INVITE_TTL_HOURS", 168, 2160),
            mail_from: reader.email("MAIL_FROM"),
            mail_configuration_set: reader.optional("MAIL_CONFIGURATION_SET"),
            signing_secret: reader.secret("SIGNING_SECRET", "SIGNING_SECRET_ARN"),
            invitation_secret: reader.secret("INVITATION_SECRET", "INVITATION_SECRET_ARN"),
            aws: Aws {
                region: reader.required("AWS_REGION"),
                access_key_id: reader.required("AWS_ACCESS_KEY_ID"),
                secret_access_key: Secret::new(reader.required("AWS_SECRET_ACCESS_KEY")),
                session_token: reader.optional("AWS_SESSION_TOKEN").map(Secret::new),
                dynamodb_endpoint: reader.optional("AWS_ENDPOINT_URL_DYNAMODB"),
                ses_endpoint: reader.optional("AWS_ENDPOINT_URL_SESV2"),
                secrets_endpoint: reader.optional("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            },
        };
        if reader.errors.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(reader.errors))
        }
    }

    /// The settings of the local stack: its own engine and mailbox, and secrets that no deployment uses.
    #[must_use]
    pub fn local(dynamodb_endpoint: String, ses_endpoint: String, table_name: String) -> Self {
        Self {
            function: "local".to_owned(),
            table_name,
            token_issuer: "https://workspaces.local".to_owned(),
            token_audience: "workspaces".to_owned(),
            allowed_origins: Vec::new(),
            public_url: None,
            invite_url: None,
            invite_ttl: Duration::from_secs(168 * 3600),
            mail_from: EmailAddress::local_sender(),
            mail_configuration_set: None,
            signing_secret: Some(SecretSource::Value(Secret::new("a signing seed for this machine only"))),
            invitation_secret: Some(SecretSource::Value(Secret::new(
                "an invitation key for this machine only",
            ))),
            aws: Aws {
                region: "us-east-1".to_owned(),
                access_key_id: "local".to_owned(),
                secret_access_key: Secret::new("local"),
                session_token: None,
                dynamodb_endpoint: Some(dynamodb_endpoint),
                ses_endpoint: Some(ses_endpoint),
                secrets_endpoint: None,
            },
        }
    }
}

/// The name of the running binary.
fn binary_name() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    let name = path.as_deref().and_then(Path::file_stem);
    name.map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

struct Reader<L> {
    lookup: L,
    errors: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.errors.push(format!("{name} is not set"));
            String::new()
        })
    }

    fn url(&mut self, name: &str) -> Option<Url> {
        let value = self.optional(name)?;
        match Url::parse(&value) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            _ => {
                self.errors.push(format!("{name} is no http or https URL"));
                None
            }
        }
    }

    fn origins(&mut self, name: &str) -> Vec<String> {
        let value = self.optional(name).unwrap_or_default();
        let origins = value.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        let mut parsed = Vec::new();
        for origin in origins {
            match Url::parse(origin) {
                Ok(url) if url.origin().is_tuple() => parsed.push(url.origin().ascii_serialization()),
                _ => self.errors.push(format!("{name} has an entry that is no origin")),
            }
        }
        parsed
    }

    fn hours(&mut self, name: &str, default: u64, max: u64) -> Duration {
        let hours = match self.optional(name).map(|value| value.parse::<u64>()) {
            None => default,
            Some(Ok(hours)) if (1..=max).contains(&hours) => hours,
            Some(_) => {
                self.errors.push(format!("{name} is no whole number from 1 to {max}"));
                default
            }
        };
        Duration::from_secs(hours * 3600)
    }

    fn email(&mut self, name: &str) -> EmailAddress {
        let value = self.required(name);
        EmailAddress::parse(&value).unwrap_or_else(|_| {
            if !value.is_empty() {
                self.errors.push(format!("{name} is no e-mail address"));
            }
            EmailAddress::local_sender()
        })
    }

    fn secret(&mut self, value: &str, arn: &str) -> Option<SecretSource> {
        match (self.optional(value), self.optional(arn)) {
            (Some(_), Some(_)) => {
                self.errors.push(format!("{value} and {arn} are both set; set one"));
                None
            }
            (Some(text), None) => Some(SecretSource::Value(Secret::new(text))),
            (None, Some(text)) => Some(SecretSource::Arn(text)),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(name: &str) -> Option<String> {
        let value = match name {
            "TABLE_NAME" => "t",
            "TOKEN_ISSUER" => "https://issuer.example",
            "TOKEN_AUDIENCE" => "workspaces",
            "MAIL_FROM" => "no-reply@example.com",
            "AWS_REGION" => "eu-central-1",
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "x",
            "ALLOWED_ORIGINS" => "https://a.example, http://localhost:5173",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn a_complete_environment_is_valid() {
        let config = Config::read(complete).unwrap();
        assert_eq!(config.allowed_origins, ["https://a.example", "http://localhost:5173"]);
        assert_eq!(config.invite_ttl, Duration::from_secs(168 * 3600));
    }

    #[test]
    fn one_error_names_every_invalid_variable() {
        let ConfigError(errors) = Config::read(|name| match name {
            "INVITE_TTL_HOURS" => Some("never".into()),
            "PUBLIC_URL" => Some("ftp://x".into()),
            "MAIL_FROM" => Some("nobody".into()),
            "SIGNING_SECRET" | "SIGNING_SECRET_ARN" => Some("x".into()),
            _ => None,
        })
        .unwrap_err();
        for name in [
            "TABLE_NAME",
            "TOKEN_ISSUER",
            "AWS_REGION",
            "INVITE_TTL_HOURS",
            "PUBLIC_URL",
            "MAIL_FROM",
            "SIGNING_SECRET",
        ] {
            assert_eq!(
                errors.iter().filter(|fault| fault.starts_with(name)).count(),
                1,
                "{name} in {errors:?}"
            );
        }
    }

    #[test]
    fn the_list_has_the_variables_that_are_read() {
        let read = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let _ = Config::read(|name| {
            read.borrow_mut().insert(name.to_owned());
            complete(name)
        });
        assert!(read.borrow().iter().map(String::as_str).eq(VARIABLES));
    }
}
