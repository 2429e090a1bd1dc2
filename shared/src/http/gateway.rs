//! The data of a request that API Gateway supplies. None of it comes from a header that a client sets.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use url::Url;

use crate::config::Config;
use crate::error::Error;

/// The data of a request that API Gateway supplies.
#[derive(Clone, Debug, Default)]
pub struct Gateway {
    /// The request's id.
    pub request_id: String,
    /// The client's IP address.
    pub source_ip: Option<IpAddr>,
    /// The domain name that the client called.
    pub domain_name: Option<String>,
}

impl Gateway {
    /// Returns the subject of limits per address. An IPv6 customer has a /64 network, which counts as one
    /// address.
    #[must_use]
    pub fn address(&self) -> String {
        match self.source_ip.map(|ip| ip.to_canonical()) {
            None => "unknown".to_owned(),
            Some(IpAddr::V4(ip)) => ip.to_string(),
            Some(IpAddr::V6(ip)) => ip.segments()[..4]
                .iter()
                .map(|segment| format!("{segment:x}:"))
                .collect(),
        }
    }

    /// Returns the origin for links to this API.
    pub fn origin(&self, config: &Config) -> Result<Url, Error> {
        if let Some(url) = &config.public_url {
            return Ok(url.clone());
        }
        let name = self
            .domain_name
            .as_deref()
            .ok_or_else(|| Error::Internal("neither PUBLIC_URL nor the gateway's domain name is known".to_owned()))?;
        let loopback = name.starts_with("127.0.0.1") || name.starts_with("localhost");
        let scheme = if loopback { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{name}/"))
            .map_err(|error| Error::Internal(format!("the gateway's domain name is invalid: {error}")))
    }
}

impl<S: Sync> FromRequestParts<S> for Gateway {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let address = |ip: &str| {
            Gateway {
                source_ip: ip.parse().ok(),
                ..Gateway::default()
            }
            .address()
        };
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
