//! The bodies of the requests and responses.

use deserr::Deserr;
use serde::Serialize;
use shared::Error;
use shared::http::body::{FieldErrors, Payload};
use shared::models::email::EmailAddress;
use shared::models::text::{self, Invalid, Name};
use shared::models::workspace::{Change, UnitSystem, WorkspaceUpdate};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A new workspace.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct WorkspaceCreateIn {
    /// The name: trimmed, 1–255 characters.
    #[deserr(try_from(&String) = Name::parse -> Invalid)]
    pub(crate) name: Name,
}

/// A change of a workspace. An absent field keeps its value; null clears it.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = FieldErrors)]
pub(crate) struct WorkspacePatchIn {
    /// The name: trimmed, 1–255 characters. It cannot be cleared.
    #[deserr(default, try_from(&String) = self::renamed -> Invalid)]
    #[schema(value_type = Name, required = false)]
    name: Option<Name>,
    /// An http or https URL.
    #[deserr(default, try_from(Option<String>) = self::web_url -> Invalid)]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    logo_url: Change<String>,
    /// An http or https URL.
    #[deserr(default, try_from(Option<String>) = self::web_url -> Invalid)]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    website: Change<String>,
    /// An e-mail address.
    #[deserr(default, try_from(Option<String>) = self::email -> Invalid)]
    #[schema(value_type = Option<String>, format = Email, max_length = 254)]
    billing_email: Change<String>,
    /// At most 2,000 characters.
    #[deserr(default, try_from(Option<String>) = self::description -> Invalid)]
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Change<String>,
    /// A time zone of the IANA database; UTC when cleared.
    #[deserr(default, try_from(Option<String>) = self::timezone -> Invalid)]
    #[schema(value_type = Option<String>, format = "time-zone", min_length = 1)]
    timezone: Change<String>,
    /// An e-mail address.
    #[deserr(default, try_from(Option<String>) = self::email -> Invalid)]
    #[schema(value_type = Option<String>, format = Email, max_length = 254)]
    support_email: Change<String>,
    /// An http or https URL.
    #[deserr(default, try_from(Option<String>) = self::web_url -> Invalid)]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    slack_connect_url: Change<String>,
    /// Units for display; imperial when cleared.
    #[deserr(default, try_from(Option<String>) = self::unit_system -> Invalid)]
    #[schema(value_type = Option<UnitSystem>)]
    unit_system: Change<UnitSystem>,
    /// A JSON object of at most 4 KiB.
    #[deserr(default, try_from(Option<serde_json::Value>) = self::map_home -> Invalid)]
    #[schema(value_type = Option<Object>)]
    map_home: Change<String>,
}

/// The required name of a PUT. The other fields are those of [`WorkspacePatchIn`], read from the same body.
#[derive(Debug, Deserr)]
#[deserr(error = FieldErrors)]
pub(crate) struct WorkspacePutIn {
    #[deserr(try_from(&String) = Name::parse -> Invalid)]
    name: Name,
}

impl PartialSchema for WorkspacePutIn {
    fn schema() -> RefOr<Schema> {
        let named = ObjectBuilder::new().required("name").build();
        Schema::from(AllOfBuilder::new().item(WorkspacePatchIn::schema()).item(named)).into()
    }
}

impl ToSchema for WorkspacePutIn {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        WorkspacePatchIn::schemas(schemas);
    }
}

/// The confirmation of a deletion.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkspaceDeletedOut {
    /// A sentence for people.
    message: &'static str,
}

impl WorkspaceDeletedOut {
    pub(crate) const NEW: Self = Self {
        message: "The workspace has been deleted.",
    };
}

impl From<WorkspacePatchIn> for WorkspaceUpdate {
    fn from(patch: WorkspacePatchIn) -> Self {
        Self {
            name: patch.name,
            logo_url: patch.logo_url,
            website: patch.website,
            billing_email: patch.billing_email,
            description: patch.description,
            timezone: patch.timezone,
            support_email: patch.support_email,
            slack_connect_url: patch.slack_connect_url,
            unit_system: patch.unit_system,
            map_home: patch.map_home,
        }
    }
}

/// Parses the update of a PATCH.
pub(crate) fn parse_patch(payload: &Payload) -> Result<WorkspaceUpdate, Error> {
    payload.parse::<WorkspacePatchIn>().map(WorkspaceUpdate::from)
}

/// Parses the update of a PUT: a PATCH with a name. The result lists every field error once.
pub(crate) fn parse_put(payload: &Payload) -> Result<WorkspaceUpdate, Error> {
    match (payload.parse::<WorkspacePutIn>(), parse_patch(payload)) {
        (Ok(put), Ok(update)) => Ok(WorkspaceUpdate {
            name: Some(put.name),
            ..update
        }),
        (Err(Error::Validation(mut errors)), Err(Error::Validation(others))) => {
            let new: Vec<_> = others.into_iter().filter(|error| !errors.contains(error)).collect();
            errors.extend(new);
            Err(Error::Validation(errors))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn change<V, T>(value: Option<V>, parse: impl FnOnce(V) -> Result<T, Invalid>) -> Result<Change<T>, Invalid> {
    value.map_or(Ok(Change::Clear), |value| parse(value).map(Change::Set))
}

fn renamed(text: &str) -> Result<Option<Name>, Invalid> {
    Name::parse(text).map(Some)
}

fn web_url(text: Option<String>) -> Result<Change<String>, Invalid> {
    change(text, |text| text::web_url(&text))
}

fn email(text: Option<String>) -> Result<Change<String>, Invalid> {
    change(text, |text| {
        EmailAddress::parse(&text)
            .map(String::from)
            .map_err(|_| Invalid("must be an e-mail address"))
    })
}

fn description(text: Option<String>) -> Result<Change<String>, Invalid> {
    change(text, |text| text::description(&text))
}

fn timezone(text: Option<String>) -> Result<Change<String>, Invalid> {
    change(text, |text| text::timezone(&text))
}

fn unit_system(text: Option<String>) -> Result<Change<UnitSystem>, Invalid> {
    change(text, |text| match text.as_str() {
        "imperial" => Ok(UnitSystem::Imperial),
        "metric" => Ok(UnitSystem::Metric),
        _ => Err(Invalid("must be imperial or metric")),
    })
}

fn map_home(value: Option<serde_json::Value>) -> Result<Change<String>, Invalid> {
    change(value, |value| text::json_object(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::extract::{FromRequest, Request};

    async fn payload(body: &'static str) -> Payload {
        Payload::from_request(Request::new(Body::from(body)), &())
            .await
            .unwrap()
    }

    fn at(refused: Result<WorkspaceUpdate, Error>) -> Vec<String> {
        let Err(Error::Validation(faults)) = refused else {
            panic!("{refused:?}")
        };
        let mut at: Vec<_> = faults.iter().map(|fault| fault.loc.join(".")).collect();
        at.sort();
        at
    }

    #[tokio::test]
    async fn an_absent_field_is_kept_null_clears_and_a_value_sets() {
        let body =
            r#"{"website":null,"timezone":"europe/berlin","billing_email":" Ann@Example.com ","map_home":{"z":1}}"#;
        let update = parse_patch(&payload(body).await).unwrap();
        let expected = WorkspaceUpdate {
            website: Change::Clear,
            timezone: Change::Set("Europe/Berlin".into()),
            billing_email: Change::Set("ann@example.com".into()),
            map_home: Change::Set(r#"{"z":1}"#.into()),
            ..WorkspaceUpdate::default()
        };
        assert_eq!(update, expected);
        assert_eq!(parse_patch(&payload("{}").await).unwrap(), WorkspaceUpdate::default());
    }

    #[tokio::test]
    async fn a_put_lists_every_field_error_once() {
        let body = payload(r#"{"website":"ftp://x","unit_system":5,"map_home":[]}"#).await;
        assert_eq!(
            at(parse_put(&body)),
            ["body.map_home", "body.name", "body.unit_system", "body.website"]
        );
        assert_eq!(at(parse_put(&payload(r#"{"name":" "}"#).await)), ["body.name"]);
        assert_eq!(at(parse_put(&payload("[]").await)), ["body"]);
        assert_eq!(at(parse_put(&payload("").await)), ["body"]);
    }

    #[tokio::test]
    async fn a_name_cannot_be_cleared() {
        let body = payload(r#"{"name":null}"#).await;
        assert_eq!(at(parse_put(&body)), ["body.name"]);
        assert_eq!(at(parse_patch(&body)), ["body.name"]);
    }
}
