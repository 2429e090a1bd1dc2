//! Every key of the table. This is the only file that writes a `#`.
//!
//! What a person chose stands at the end of a key, behind a prefix that nobody chooses, or is hashed; so no input can
//! name another item than its own.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Time;
use crate::ids::{InvitationId, UserId, WorkspaceId};
use crate::models::email::EmailAddress;

/// An item's primary key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    /// An account.
    #[must_use]
    pub fn user(id: UserId) -> Self {
        Self::new(format!("USER#{id}"), "USER")
    }

    /// What makes an e-mail address unique.
    #[must_use]
    pub fn email(email: &EmailAddress) -> Self {
        Self::new(email_partition(email), "EMAIL")
    }

    /// The one pending invitation of an address in a workspace.
    #[must_use]
    pub fn guard(email: &EmailAddress, workspace: WorkspaceId) -> Self {
        Self::new(email_partition(email), format!("{GUARD}{workspace}"))
    }

    /// A workspace.
    #[must_use]
    pub fn workspace(id: WorkspaceId) -> Self {
        Self::new(workspace_partition(id), "WS")
    }

    /// What makes a slug unique.
    #[must_use]
    pub fn slug(slug: &str) -> Self {
        Self::new(format!("SLUG#{slug}"), "SLUG")
    }

    /// A member's row in its workspace's list, ordered by the time of joining.
    #[must_use]
    pub fn member(workspace: WorkspaceId, joined_at: Time, user: UserId) -> Self {
        Self::new(workspace_partition(workspace), format!("{MEMBER}{joined_at}#{user}"))
    }

    /// A pending invitation's row in its workspace's list, ordered by the time of its making.
    #[must_use]
    pub fn pending(workspace: WorkspaceId, id: InvitationId) -> Self {
        Self::new(workspace_partition(workspace), format!("{PENDING}{id}"))
    }

    /// The workspace and the invitation that this key is the pending row of, if it is one.
    #[must_use]
    pub fn as_pending(&self) -> Option<(WorkspaceId, InvitationId)> {
        let workspace = self.pk.strip_prefix(WORKSPACE)?.parse().ok()?;
        let invitation = self.sk.strip_prefix(PENDING)?.parse().ok()?;
        Some((workspace, invitation))
    }

    /// An invitation, found by its id alone.
    #[must_use]
    pub fn invitation(id: InvitationId) -> Self {
        Self::new(format!("INVITE#{id}"), "INVITE")
    }

    /// A rate limit. The subject is hashed: it may be anything that somebody sent.
    #[must_use]
    pub fn limit(rule: &str, subject: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, subject.as_bytes());
        Self::new(format!("LIMIT#{rule}#{}", URL_SAFE_NO_PAD.encode(digest)), "LIMIT")
    }

    /// The public keys.
    #[must_use]
    pub fn jwks() -> Self {
        Self::new("KEYS".to_owned(), "JWKS")
    }

    /// A workspace's usage of a UTC day, `2026-01-02`.
    #[must_use]
    pub fn usage_day(workspace: WorkspaceId, now: Time) -> Self {
        Self::new(format!("USAGE#{workspace}"), format!("DAY#{}", now.date()))
    }

    /// A workspace's usage of a UTC month, `2026-01`.
    #[must_use]
    pub fn usage_month(workspace: WorkspaceId, now: Time) -> Self {
        Self::new(format!("USAGE#{workspace}"), format!("MONTH#{}", now.month()))
    }
}

/// The prefix of workspaces' partitions.
const WORKSPACE: &str = "WS#";
/// The prefix of members' sort keys.
pub const MEMBER: &str = "MEMBER#";
/// The prefix of pending invitations' sort keys.
pub const PENDING: &str = "PENDING#";
/// The prefix of guards' sort keys.
pub const GUARD: &str = "GUARD#";

/// The partition of an e-mail address.
#[must_use]
pub fn email_partition(email: &EmailAddress) -> String {
    format!("EMAIL#{email}")
}

/// The partition of a workspace.
#[must_use]
pub fn workspace_partition(id: WorkspaceId) -> String {
    format!("{WORKSPACE}{id}")
}

/// Where the index `gsi1` lists the users of a workspace.
#[must_use]
pub fn users_of(workspace: WorkspaceId) -> String {
    format!("WS#{workspace}")
}

/// A user's place in that list.
#[must_use]
pub fn user_in_index(user: UserId) -> String {
    format!("USER#{user}")
}

/// Where the index `gsi1` lists what has a mail that is due.
pub const DUE: &str = "DUE";

/// An invitation's place in that list.
#[must_use]
pub fn due_in_index(due_at: Time, id: InvitationId) -> String {
    format!("{due_at}#{id}")
}

/// The end of that list's part that is due `now`: behind every place of this very millisecond.
#[must_use]
pub fn due_until(now: Time) -> String {
    format!("{now}$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn member_keys_sort_by_the_time_of_joining() {
        let workspace = WorkspaceId::from_bytes([1; 16]);
        let key = |millis, user| Key::member(workspace, Time::from_millis(millis), UserId::from_bytes([user; 16])).sk;
        assert!(key(1_000, 9) < key(1_001, 1));
        assert!(key(1_000, 1) < key(1_000, 2));
    }

    #[test]
    fn what_is_due_now_lies_before_the_end_of_what_is_due() {
        let now = Time::from_millis(1_000);
        let place = |millis| due_in_index(Time::from_millis(millis), InvitationId::from_bytes([0xff; 16]));
        assert!(place(1_000) < due_until(now));
        assert!(place(1_001) > due_until(now));
    }

    #[test]
    fn a_pending_row_s_key_tells_whose_it_is() {
        let (workspace, id) = (WorkspaceId::from_bytes([1; 16]), InvitationId::from_bytes([2; 16]));
        assert_eq!(Key::pending(workspace, id).as_pending(), Some((workspace, id)));
        for other in [Key::workspace(workspace), Key::invitation(id), Key::jwks()] {
            assert_eq!(other.as_pending(), None);
        }
    }

    proptest! {
        #[test]
        fn no_two_inputs_share_a_key(a in "[ -~]{0,40}", b in "[ -~]{0,40}") {
            prop_assert_eq!(a == b, Key::limit("rule", &a) == Key::limit("rule", &b));
            if let (Ok(x), Ok(y)) = (EmailAddress::parse(&a), EmailAddress::parse(&b)) {
                prop_assert_eq!(x == y, Key::email(&x) == Key::email(&y));
            }
        }

        #[test]
        fn an_address_with_hashes_names_only_its_own_partition(local in "[a-z#]{1,20}") {
            if let Ok(email) = EmailAddress::parse(&format!("{local}@example.com")) {
                let key = Key::email(&email);
                prop_assert_eq!(key.pk.strip_prefix("EMAIL#"), Some(email.as_str()));
                prop_assert_eq!(key.sk, "EMAIL");
            }
        }
    }
}
