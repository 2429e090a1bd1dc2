//! Every key of the table. This is the only file that writes a `#`.
//!
//! What a person chose stands at the end of a key, behind a prefix that nobody chooses, or is hashed; so no input can
//! name another item than its own.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Time;
use crate::ids::{InvitationId, RecordId, UserId, WorkspaceId};
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

    /// Whether this is the key of a notice.
    #[must_use]
    pub fn is_notice(&self) -> bool {
        self.pk.starts_with(NOTICE)
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

    /// That somebody's request on a route was done under an idempotency key. All three are hashed, each preceded by its
    /// length: the key is whatever somebody sent.
    #[must_use]
    pub fn idempotency(user: UserId, route: &str, key: &str) -> Self {
        let digest = sha256(&[user.as_bytes(), route.as_bytes(), key.as_bytes()]);
        Self::new(format!("IDEMPOTENCY#{digest}"), "IDEMPOTENCY")
    }

    /// The public keys.
    #[must_use]
    pub fn jwks() -> Self {
        Self::new("KEYS".to_owned(), "JWKS")
    }

    /// A workspace's usage of a UTC month, `2026-01`.
    #[must_use]
    pub fn usage_month(workspace: WorkspaceId, month: &str) -> Self {
        Self::new(usage_partition(workspace), format!("{USAGE_MONTH}{month}"))
    }

    /// A workspace's usage of a UTC day, `2026-01-02`: it sorts behind its month's own item.
    #[must_use]
    pub fn usage_day(workspace: WorkspaceId, day: &str) -> Self {
        let month = day.get(..7).unwrap_or_default();
        Self::new(usage_partition(workspace), format!("{USAGE_MONTH}{month}#DAY#{day}"))
    }

    /// One of the counters of a workspace's UTC hour, `2026-01-02T03`.
    #[must_use]
    pub fn usage_hour(workspace: WorkspaceId, hour: &str, split: u8) -> Self {
        Self::new(usage_partition(workspace), format!("{USAGE_HOUR}{hour}#{split}"))
    }

    /// What makes a usage record count once.
    #[must_use]
    pub fn usage_record(workspace: WorkspaceId, record: RecordId) -> Self {
        Self::new(format!("RECORD#{workspace}#{record}"), "RECORD")
    }

    /// That a workspace has usage which is not aggregated yet, in one of its splits.
    #[must_use]
    pub fn usage_dirty_marker(workspace: WorkspaceId, split: u8) -> Self {
        Self::new(dirty_partition(shard_of(workspace)), format!("{workspace}#{split}"))
    }

    /// When a shard was last aggregated as a whole.
    #[must_use]
    pub fn usage_run(shard: u8) -> Self {
        Self::new(format!("RUN#{shard:02}"), "RUN")
    }

    /// A notice to a workspace's owners that a share of their tier's limit is used up.
    #[must_use]
    pub fn usage_notice(workspace: WorkspaceId, month: &str, tier: &str, percent: u8) -> Self {
        Self::new(
            format!("NOTICE#{workspace}"),
            format!("NOTICE#{month}#{tier}#{percent}"),
        )
    }
}

/// SHA-256 of `parts` in base64url, each part preceded by its length, so that no two lists of parts have one digest.
pub(super) fn sha256(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}

/// Shards that the news of all workspaces are spread over.
pub const SHARDS: u8 = 64;
/// Counters that an hour's usage is spread over, so that batches of one workspace do not meet on one item.
pub const SPLITS: u8 = 4;
/// What parts a key.
pub const SEPARATOR: char = '#';
/// The prefix of months', and of their days', sort keys.
pub const USAGE_MONTH: &str = "MONTH#";
/// The prefix of hours' sort keys.
pub const USAGE_HOUR: &str = "HOUR#";

/// The shard of a workspace's news. The random bits of its id (UUID v7: the last ones) spread evenly.
#[must_use]
pub fn shard_of(workspace: WorkspaceId) -> u8 {
    workspace.as_bytes()[15] % SHARDS
}

/// The partition of a workspace's usage.
#[must_use]
pub fn usage_partition(workspace: WorkspaceId) -> String {
    format!("USAGE#{workspace}")
}

/// The partition of a shard's news.
#[must_use]
pub fn dirty_partition(shard: u8) -> String {
    format!("DIRTY#{shard:02}")
}

/// The prefix of notices' partitions and sort keys.
const NOTICE: &str = "NOTICE#";
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

/// A notice's place in that list.
#[must_use]
pub fn notice_due_in_index(due_at: Time, notice: &Key) -> String {
    format!("{due_at}#{}#{}", notice.pk, notice.sk)
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
    fn a_month_sorts_before_its_days_and_apart_from_the_next() {
        let workspace = WorkspaceId::from_bytes([1; 16]);
        let month = |text| Key::usage_month(workspace, text).sk;
        let day = Key::usage_day(workspace, "2026-01-31").sk;
        assert!(month("2026-01") < day && day < month("2026-02"));
        assert!(day.starts_with(&month("2026-01")));
    }

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
        fn an_idempotency_key_is_its_user_s_and_its_route_s(a in "[ -~]{1,40}", b in "[ -~]{1,40}", user in 0u8..2) {
            let key = |user, route: &str, key: &str| Key::idempotency(UserId::from_bytes([user; 16]), route, key);
            prop_assert_eq!(a == b, key(0, "route", &a) == key(0, "route", &b));
            prop_assert_eq!(user == 0, key(0, "route", &a) == key(user, "route", &a));
            prop_assert_eq!(a == b, key(0, &a, &b) == key(0, &b, &a));
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
