//! Workspaces, their settings, and updates to them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::Name;
use super::usage::Tier;
use crate::clock::Time;
use crate::ids::WorkspaceId;

/// The units in which distances are displayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnitSystem {
    /// Miles and feet.
    #[default]
    Imperial,
    /// Kilometres and metres.
    Metric,
}

/// A workspace, as stored in its item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// The workspace's id.
    pub id: WorkspaceId,
    /// The workspace's name.
    pub name: Name,
    /// The slug: unique among workspaces, and never changed.
    pub slug: String,
    /// The settings that members may change.
    #[serde(flatten)]
    pub settings: Settings,
    /// The plan.
    pub tier: Tier,
    /// The workspace's epoch. Raising it ends all sessions of all members.
    pub epoch: u64,
    /// The number of updates. The entity tag is derived from it.
    pub version: u64,
    /// The ids of the last conditional updates, the newest last. A retry finds its own id here if it was already
    /// applied.
    #[serde(default)]
    pub changes: Vec<ChangeId>,
    /// The key that signs the cursors of the workspace's lists, in base64url.
    pub cursor_key: String,
    /// The number of owners.
    pub owner_count: u64,
    /// The number of members, owners included.
    pub member_count: u64,
    /// The number of pending invitations, including expired ones that are not deleted yet.
    pub pending_count: u64,
    /// When the workspace was created.
    pub created_at: Time,
    /// When the name or a setting last changed.
    pub updated_at: Time,
}

/// The settings that members may change, apart from the workspace's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// An http or https URL.
    pub logo_url: Option<String>,
    /// An http or https URL.
    pub website: Option<String>,
    /// An e-mail address.
    pub billing_email: Option<String>,
    /// At most 2,000 characters.
    pub description: Option<String>,
    /// An IANA time zone.
    pub timezone: String,
    /// An e-mail address.
    pub support_email: Option<String>,
    /// An http or https URL.
    pub slack_connect_url: Option<String>,
    /// The units in which distances are displayed.
    pub unit_system: UnitSystem,
    /// Where the service runs the workspace. No route of the API sets it.
    pub lane: Option<String>,
    /// A JSON object as text.
    pub map_home: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            logo_url: None,
            website: None,
            billing_email: None,
            description: None,
            timezone: "UTC".to_owned(),
            support_email: None,
            slack_connect_url: None,
            unit_system: UnitSystem::default(),
            lane: None,
            map_home: None,
        }
    }
}

impl Workspace {
    /// A new workspace whose only member is its owner.
    #[must_use]
    pub fn new(id: WorkspaceId, name: Name, slug: String, cursor_key: String, now: Time) -> Self {
        Self {
            id,
            name,
            slug,
            settings: Settings::default(),
            tier: Tier::Developer,
            epoch: 0,
            version: 0,
            changes: Vec::new(),
            cursor_key,
            owner_count: 1,
            member_count: 1,
            pending_count: 0,
            created_at: now,
            updated_at: now,
        }
    }
}

impl Workspace {
    /// The strong entity tag of the workspace's representation, with its quotes.
    #[must_use]
    pub fn entity_tag(&self) -> String {
        format!("\"{}.{}\"", self.id, self.version)
    }

    /// The value of `changes` after the update `change`.
    #[must_use]
    pub(crate) fn changes_with(&self, change: &ChangeId) -> Vec<ChangeId> {
        let dropped = self.changes.len().saturating_sub(CHANGES_MAX - 1);
        self.changes.iter().skip(dropped).chain([change]).cloned().collect()
    }
}

/// How many update ids a workspace keeps. A retry still recognizes its own update after three later updates.
const CHANGES_MAX: usize = 4;

/// The id of one request's update, the same for every attempt to write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(String);

impl ChangeId {
    /// An id made of random bytes.
    #[must_use]
    pub fn new(random: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(random).to_string())
    }
}

/// The attributes in which new workspaces differ. All other attributes of a new workspace have default values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedWorkspace {
    /// The workspace's id.
    pub id: WorkspaceId,
    /// The workspace's name.
    pub name: Name,
    /// The workspace's slug.
    pub slug: String,
    /// When the workspace was created.
    pub created_at: Time,
}

impl From<&Workspace> for CreatedWorkspace {
    fn from(workspace: &Workspace) -> Self {
        Self {
            id: workspace.id,
            name: workspace.name.clone(),
            slug: workspace.slug.clone(),
            created_at: workspace.created_at,
        }
    }
}

impl CreatedWorkspace {
    /// The workspace as it was when it was created, but with an empty `cursor_key`.
    #[must_use]
    pub fn workspace(self) -> Workspace {
        Workspace::new(self.id, self.name, self.slug, String::new(), self.created_at)
    }
}

/// The change that an update makes to one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// The field keeps its value.
    #[default]
    Keep,
    /// The field becomes unset.
    Clear,
    /// The field gets a new value.
    Set(T),
}

impl<T> Change<T> {
    /// Borrows the value.
    #[must_use]
    pub fn as_ref(&self) -> Change<&T> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(value),
        }
    }

    /// Replaces `Clear` by setting `default`, for a field that always has a value.
    #[must_use]
    pub fn or_default(self, default: T) -> Self {
        match self {
            Self::Clear => Self::Set(default),
            other => other,
        }
    }
}

/// An update of a workspace. A field that is absent from the request keeps its value, and a null clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Settings")]
pub struct WorkspaceUpdate {
    pub name: Option<Name>,
    pub logo_url: Change<String>,
    pub website: Change<String>,
    pub billing_email: Change<String>,
    pub description: Change<String>,
    pub timezone: Change<String>,
    pub support_email: Change<String>,
    pub slack_connect_url: Change<String>,
    pub unit_system: Change<UnitSystem>,
    pub map_home: Change<String>,
}

/// Derives a slug from a name: lower-case ASCII letters, digits and single hyphens, 1 to 60 characters.
#[must_use]
pub fn slug_of(name: &Name) -> String {
    let mut slug = slug::slugify(name.as_str());
    slug.truncate(60);
    let slug = slug.trim_matches('-');
    if slug.is_empty() {
        "workspace".to_owned()
    } else {
        slug.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkspaceId;
    use proptest::prelude::*;

    fn workspace() -> Workspace {
        let (id, name, now) = (
            WorkspaceId::from_bytes([7; 16]),
            Name::parse("Acme").unwrap(),
            Time::from_millis(0),
        );
        Workspace::new(id, name, "acme".to_owned(), "key".to_owned(), now)
    }

    #[test]
    fn the_last_four_update_ids_are_kept() {
        let mut workspace = workspace();
        for number in 0..9_u64 {
            let change = ChangeId::new(number.to_be_bytes());
            workspace.changes = workspace.changes_with(&change);
            assert_eq!(workspace.changes.last(), Some(&change));
        }
        let expected: Vec<_> = (5..9_u64).map(|number| ChangeId::new(number.to_be_bytes())).collect();
        assert_eq!(workspace.changes, expected);
    }

    #[test]
    fn a_created_workspace_restores_all_attributes_except_the_cursor_key() {
        let new = workspace();
        let restored = CreatedWorkspace::from(&new).workspace();
        assert_eq!(restored.entity_tag(), new.entity_tag());
        assert_eq!(
            restored,
            Workspace {
                cursor_key: String::new(),
                ..new
            }
        );
    }

    proptest! {
        #[test]
        fn a_slug_has_only_safe_characters_and_a_limited_length(text in "\\PC{1,255}") {
            if let Ok(name) = Name::parse(&text) {
                let slug = slug_of(&name);
                prop_assert!(!slug.is_empty() && slug.len() <= 60);
                prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", slug);
            }
        }
    }
}
