//! Cursors: the position after which the next page of a list starts. A cursor is opaque, and a MAC under a key of the
//! workspace binds it to one list of the workspace.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Time;
use crate::error::Error;
use crate::models::workspace::Workspace;
use crate::secret::DerivedKey;

/// A list that has cursors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The members of the workspace.
    Members,
    /// The pending invitations of the workspace.
    Invitations,
}

impl List {
    /// The name that the MAC covers.
    fn name(self) -> &'static [u8] {
        match self {
            Self::Members => b"members",
            Self::Invitations => b"invitations",
        }
    }
}

/// The last row of a page, named by its time and its id. A position contains no key of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The time of the row's creation.
    pub at: Time,
    /// The id of the row.
    pub id: [u8; 16],
}

const TAG_BYTES: usize = 16;
const POSITION_BYTES: usize = 8 + 16;

impl Position {
    fn to_bytes(self) -> [u8; POSITION_BYTES] {
        let mut bytes = [0; POSITION_BYTES];
        let (at, id) = bytes.split_at_mut(8);
        at.copy_from_slice(&self.at.as_millis().to_be_bytes());
        id.copy_from_slice(&self.id);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, id) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            at: Time::from_millis(i64::from_be_bytes(*at)),
            id: id.try_into().ok()?,
        })
    }
}

/// Makes the cursor of the page that starts after `position`.
pub fn seal(workspace: &Workspace, list: List, position: Position) -> Result<String, Error> {
    let key = DerivedKey::from_base64url(&workspace.cursor_key)
        .ok_or_else(|| Error::Internal("the cursor key of a workspace is invalid".to_owned()))?;
    let sealed: Vec<u8> = tag(&key, list, position)
        .into_iter()
        .chain(position.to_bytes())
        .collect();
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

/// A cursor as a client sent it, with a MAC that is verified after the workspace was read. To read from the claimed position
/// before that is safe, because the read is confined to the caller's workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimedCursor {
    tag: [u8; TAG_BYTES],
    position: Position,
}

impl ClaimedCursor {
    /// Parses a cursor; none when the text does not have the form of a cursor.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > (TAG_BYTES + POSITION_BYTES) * 2 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (tag, position) = bytes.split_first_chunk::<TAG_BYTES>()?;
        Some(Self {
            tag: *tag,
            position: Position::from_bytes(position)?,
        })
    }

    /// The position that the cursor claims.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether the cursor was made by [`seal`] for this workspace and this list.
    #[must_use]
    pub fn is_of(&self, workspace: &Workspace, list: List) -> bool {
        DerivedKey::from_base64url(&workspace.cursor_key).is_some_and(|key| {
            aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag, &tag(&key, list, self.position)).is_ok()
        })
    }
}

fn tag(key: &DerivedKey, list: List, position: Position) -> [u8; TAG_BYTES] {
    let whole = key.tag(&[list.name(), &position.to_bytes()]);
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&whole[..TAG_BYTES]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{WorkspaceId, random_bytes};
    use crate::models::text::Name;
    use proptest::prelude::*;

    fn workspace() -> Workspace {
        let key = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
        let name = Name::parse("Acme").unwrap();
        Workspace::new(
            WorkspaceId::from_bytes([1; 16]),
            name,
            "acme".into(),
            key,
            Time::from_millis(0),
        )
    }

    proptest! {
        #[test]
        fn a_cursor_is_valid_only_unaltered_in_its_workspace_and_list(at in 0..4_000_000_000_000_i64, id in any::<[u8; 16]>(), flip in any::<prop::sample::Index>()) {
            let position = Position { at: Time::from_millis(at), id };
            let (own, other) = (workspace(), workspace());
            let cursor = seal(&own, List::Members, position).unwrap();
            let claimed = ClaimedCursor::parse(&cursor).unwrap();
            prop_assert_eq!(claimed.position(), position);
            prop_assert!(claimed.is_of(&own, List::Members));
            prop_assert!(!claimed.is_of(&own, List::Invitations));
            prop_assert!(!claimed.is_of(&other, List::Members));
            let mut altered = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
            let at = flip.index(altered.len());
            altered[at] ^= 1;
            let altered = ClaimedCursor::parse(&URL_SAFE_NO_PAD.encode(altered));
            prop_assert!(altered.is_none_or(|altered| !altered.is_of(&own, List::Members)));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,600}") {
            let _ = ClaimedCursor::parse(&text);
        }
    }
}
