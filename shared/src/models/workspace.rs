//! A workspace.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::Name;
use super::usage::Tier;
use crate::clock::Time;
use crate::ids::WorkspaceId;

/// Units for display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnitSystem {
    /// Miles, feet.
    #[default]
    Imperial,
    /// Kilometres, metres.
    Metric,
}

/// A workspace, as its item holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: Name,
    /// Unique among workspaces, and stable.
    pub slug: String,
    /// What members may set.
    #[serde(flatten)]
    pub settings: Settings,
    /// The plan it is on.
    pub tier: Tier,
    /// Raised to end all sessions of all members.
    pub epoch: u64,
    /// Raised by each update, which is what changes the representation.
    pub version: u64,
    /// The last updates that were meant for one version, the newest last: a repeated write knows its own effect.
    #[serde(default)]
    pub changes: Vec<ChangeId>,
    /// Signs the cursors of its lists, in base64url.
    pub cursor_key: String,
    /// Members whose role is owner.
    pub owner_count: u64,
    /// Members.
    pub member_count: u64,
    /// Pending invitations, expired ones that were not yet cleaned up included.
    pub pending_count: u64,
    /// When it was made.
    pub created_at: Time,
    /// When one of its settings last changed.
    pub updated_at: Time,
}

/// What members may set of a workspace besides its name.
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
    /// Units for display.
    pub unit_system: UnitSystem,
    /// Where the service runs; nobody sets it through the API.
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
    /// A new workspace with one member, its owner.
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
    /// The strong entity tag of its representation, quotes included.
    #[must_use]
    pub fn entity_tag(&self) -> String {
        format!("\"{}.{}\"", self.id, self.version)
    }

    /// The updates that it remembers once `change` is the newest of them.
    #[must_use]
    pub fn changes_with(&self, change: &ChangeId) -> Vec<ChangeId> {
        let kept = self.changes.len().saturating_sub(CHANGES_KEPT - 1);
        self.changes.iter().skip(kept).chain([change]).cloned().collect()
    }
}

/// Updates that a workspace remembers: as many may follow one whose answer was lost before its repetition comes.
const CHANGES_KEPT: usize = 4;

/// One request's update, whichever of its tries comes through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(String);

impl ChangeId {
    /// The change of `random` bits.
    #[must_use]
    pub fn new(random: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(random).to_string())
    }
}

/// What a new workspace is made of; everything else of it is as in every new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedWorkspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: Name,
    /// Its slug.
    pub slug: String,
    /// When it was made.
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
    /// The workspace as it was when it was new, without the key of its cursors.
    #[must_use]
    pub fn workspace(self) -> Workspace {
        Workspace::new(self.id, self.name, self.slug, String::new(), self.created_at)
    }
}

/// What becomes of one field in an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// The field keeps its value.
    #[default]
    Keep,
    /// The field goes back to being unset.
    Clear,
    /// The field takes a value.
    Set(T),
}

impl<T> Change<T> {
    /// A view of the change.
    #[must_use]
    pub fn as_ref(&self) -> Change<&T> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(value),
        }
    }

    /// The change of a field that is never unset: clearing it sets `default`.
    #[must_use]
    pub fn or_default(self, default: T) -> Self {
        match self {
            Self::Clear => Self::Set(default),
            other => other,
        }
    }
}

/// An update: absent fields keep their value, null ones are cleared.
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

/// The slug of a name: lower-case ASCII letters, digits and single hyphens, at most 60 characters, never empty.
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
    fn the_last_four_changes_are_remembered() {
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
    fn a_founding_makes_the_new_workspace_but_for_its_key() {
        let new = workspace();
        let again = CreatedWorkspace::from(&new).workspace();
        assert_eq!(again.entity_tag(), new.entity_tag());
        assert_eq!(
            again,
            Workspace {
                cursor_key: String::new(),
                ..new
            }
        );
    }

    proptest! {
        #[test]
        fn slugs_are_safe(text in "\\PC{1,255}") {
            if let Ok(name) = Name::parse(&text) {
                let slug = slug_of(&name);
                prop_assert!(!slug.is_empty() && slug.len() <= 60);
                prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", slug);
            }
        }
    }
}
