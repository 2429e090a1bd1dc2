//! Response bodies that more than one function returns.

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Time;
use crate::ids::{UserId, WorkspaceId};
use crate::models::email::EmailAddress;
use crate::models::role::Role;
use crate::models::text::Name;
use crate::models::usage::Tier;
use crate::models::user::User;
use crate::models::workspace::{UnitSystem, Workspace};

/// A workspace. Fields that are not set are null.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "the fields are those of Workspace and of its Settings")]
pub struct WorkspaceOut {
    #[schema(value_type = String, format = "uuid")]
    pub id: WorkspaceId,
    #[schema(value_type = String)]
    pub name: Name,
    pub slug: String,
    #[schema(required = true)]
    pub logo_url: Option<String>,
    #[schema(required = true)]
    pub website: Option<String>,
    #[schema(required = true)]
    pub billing_email: Option<String>,
    #[schema(required = true)]
    pub description: Option<String>,
    pub timezone: String,
    #[schema(required = true)]
    pub support_email: Option<String>,
    #[schema(required = true)]
    pub slack_connect_url: Option<String>,
    pub unit_system: UnitSystem,
    #[schema(required = true)]
    pub lane: Option<String>,
    #[schema(required = true, value_type = Option<Object>)]
    pub map_home: Option<serde_json::Value>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Time,
}

impl From<&Workspace> for WorkspaceOut {
    fn from(workspace: &Workspace) -> Self {
        let settings = workspace.settings.clone();
        Self {
            id: workspace.id,
            name: workspace.name.clone(),
            slug: workspace.slug.clone(),
            logo_url: settings.logo_url,
            website: settings.website,
            billing_email: settings.billing_email,
            description: settings.description,
            timezone: settings.timezone,
            support_email: settings.support_email,
            slack_connect_url: settings.slack_connect_url,
            unit_system: settings.unit_system,
            lane: settings.lane,
            map_home: settings.map_home.and_then(|text| serde_json::from_str(&text).ok()),
            created_at: workspace.created_at,
            updated_at: workspace.updated_at,
        }
    }
}

/// An account, with its membership of a workspace.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the SDKs read each of them")]
pub struct UserOut {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: UserId,
    /// Its e-mail address.
    #[schema(value_type = String, format = Email)]
    pub email: EmailAddress,
    /// Its name, or the local part of its e-mail address for an account without a name: the SDKs need a name.
    pub name: String,
    /// `workspace_role`, or `member` without a workspace.
    pub role: Role,
    /// Whether the person has proved to receive mail at the e-mail address.
    pub email_verified: bool,
    /// The plan of its workspace.
    pub selected_plan: Tier,
    /// The company given at registration.
    #[schema(required = true, value_type = Option<String>)]
    pub company: Option<Name>,
    /// Always `en`.
    pub language_preference: &'static str,
    /// The time of its creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// The time of its last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Time,
    /// Always false.
    pub is_superuser: bool,
    /// Always false.
    pub is_staff: bool,
    /// The id of its workspace.
    #[schema(required = true, value_type = Option<String>, format = "uuid")]
    pub workspace_id: Option<WorkspaceId>,
    /// That workspace's slug.
    #[schema(required = true)]
    pub workspace_slug: Option<String>,
    /// Its role there.
    #[schema(required = true)]
    pub workspace_role: Option<Role>,
    /// `email_verified`, as SDK 0.2.0 reads it.
    #[serde(rename = "emailVerified")]
    pub email_verified_twin: bool,
    /// `language_preference`, as SDK 0.2.0 reads it.
    #[serde(rename = "languagePreference")]
    pub language_preference_twin: &'static str,
    /// `created_at`, as SDK 0.2.0 reads it.
    #[serde(rename = "createdAt")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at_twin: Time,
    /// `updated_at`, as SDK 0.2.0 reads it.
    #[serde(rename = "updatedAt")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at_twin: Time,
}

const LANGUAGE: &str = "en";

impl UserOut {
    /// Describes `user`, who is in `workspace`.
    #[must_use]
    pub fn new(user: &User, workspace: Option<&Workspace>) -> Self {
        let role = user.membership.as_ref().map(|membership| membership.role);
        Self {
            id: user.id,
            email: user.email.clone(),
            name: user.display_name().to_owned(),
            role: role.unwrap_or(Role::Member),
            email_verified: user.email_verified,
            selected_plan: workspace.map_or(Tier::Developer, |workspace| workspace.tier),
            company: user.company.clone(),
            language_preference: LANGUAGE,
            created_at: user.created_at,
            updated_at: user.updated_at,
            is_superuser: false,
            is_staff: false,
            workspace_id: workspace.map(|workspace| workspace.id),
            workspace_slug: workspace.map(|workspace| workspace.slug.clone()),
            workspace_role: role,
            email_verified_twin: user.email_verified,
            language_preference_twin: LANGUAGE,
            created_at_twin: user.created_at,
            updated_at_twin: user.updated_at,
        }
    }
}
