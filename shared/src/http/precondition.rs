//! Preconditions (RFC 9110 §13): a change applies only to the version that its sender has read.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::error::Error;

/// The header's name in the OpenAPI document.
const IF_MATCH_NAME: &str = "If-Match";

/// The header `If-Match` (RFC 9110 §13.1.1). The extractor never rejects a request: the handler evaluates the
/// header after its other checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// The request has no precondition.
    Absent,
    /// `*`: any version.
    Any,
    /// One of these strong entity tags, quotes included. A malformed list counts as an empty one.
    Tags(Vec<String>),
}

impl IfMatch {
    fn parse(value: &str) -> Self {
        if value.trim_matches([' ', '\t']) == "*" {
            return Self::Any;
        }
        Self::Tags(tags(value).unwrap_or_default())
    }

    /// Compares the header with `current`, the strong entity tag of the current representation.
    /// [`Error::PreconditionFailed`] when they do not match.
    pub fn check(&self, current: &str) -> Result<(), Error> {
        match self {
            Self::Absent | Self::Any => Ok(()),
            Self::Tags(tags) if tags.iter().any(|tag| tag == current) => Ok(()),
            Self::Tags(_) => Err(Error::PreconditionFailed),
        }
    }
}

/// Returns the strong tags of a list. Weak tags never match, so they are left out. None when the list is malformed.
fn tags(list: &str) -> Option<Vec<String>> {
    let mut strong = Vec::new();
    let mut rest = list.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let is_weak = rest.starts_with("W/");
        let opened = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (opaque, after) = opened.split_once('"')?;
        if opaque.chars().any(|c| c <= ' ' || c == '\u{7f}') {
            return None;
        }
        if !is_weak {
            strong.push(format!("\"{opaque}\""));
        }
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Some(strong)
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Several lines of the header are one list (RFC 9110 §5.3). A list with other than ASCII text matches nothing.
        let lines: Vec<_> = parts.headers.get_all(IF_MATCH).iter().collect();
        if lines.is_empty() {
            return Ok(Self::Absent);
        }
        let list: Option<Vec<&str>> = lines.into_iter().map(|line| line.to_str().ok()).collect();
        Ok(list.map_or_else(|| Self::Tags(Vec::new()), |list| Self::parse(&list.join(", "))))
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = ParameterBuilder::new()
            .name(IF_MATCH_NAME)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(
                "The `ETag` of the version that was read, a list of them, or `*`. Nothing changes when none matches.",
            ))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        vec![parameter.build()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_match_by_strong_comparison() {
        let meets = |value: &str| IfMatch::parse(value).check("\"a.1\"").is_ok();
        for met in [
            "*",
            " * ",
            "\"a.1\"",
            "\"b\", \"a.1\"",
            "\"b\",,\"a.1\" ,",
            "W/\"b\",\"a.1\"",
            "\"x,y\",\"a.1\"",
        ] {
            assert!(meets(met), "{met}");
        }
        for unmet in [
            "",
            "\"a.2\"",
            "W/\"a.1\"",
            "a.1",
            "\"a.1",
            "*, \"a.1\"",
            "\"a.1\" \"b\"",
            "\"a.1\"x",
            "\"A.1\"",
            "\"\"",
        ] {
            assert!(!meets(unmet), "{unmet}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_tag_itself_matches(value in "[ -~]{0,60}") {
            let met = IfMatch::parse(&value).check("\"0190b0a0-1111-7222-8333-444455556666.7\"").is_ok();
            prop_assert_eq!(met, value.trim() == "*");
        }
    }
}
