//! Every key of the table. This is the only file that writes a `#`.
//!
//! A key is the permission to read its item. The constructors are private to the store, or to this crate where
//! authorization needs them. Functions get keys from typed requests: those for a tenant's items take a
//! [`Tenant`](crate::auth::access::Tenant), and the others are listed in [`super::unproven`] or concern a limit or an
//! idempotency record.
//!
//! Text that a person chose is hashed or stands at the end of a key, behind a prefix that no person chooses. Therefore no
//! input can name an item of another entity or of another owner.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Time;
use crate::ids::{InvitationId, RecordId, UserId, WorkspaceId};
use crate::models::email::EmailAddress;

/// The primary key of an item, and the permission to read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The partition key.
    pub(super) pk: String,
    /// The sort key.
    pub(super) sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    /// The user item of an account.
    #[must_use]
    pub(crate) fn user(id: UserId) -> Self {
        Self::new(format!("USER#{id}"), "USER")
    }

    /// The item that makes an e-mail address unique.
    #[must_use]
    pub(super) fn email(email: &EmailAddress) -> Self {
        Self::new(email_partition(email), "EMAIL")
    }

    /// The guard of an e-mail address in a workspace: at most one invitation is pending.
    #[must_use]
    pub(super) fn guard(email: &EmailAddress, workspace: WorkspaceId) -> Self {
        Self::new(email_partition(email), format!("{GUARD}{workspace}"))
    }

    /// The workspace item.
    #[must_use]
    pub(crate) fn workspace(id: WorkspaceId) -> Self {
        Self::new(workspace_partition(id), "WS")
    }

    /// The item that makes a slug unique.
    #[must_use]
    pub(super) fn slug(slug: &str) -> Self {
        Self::new(format!("SLUG#{slug}"), "SLUG")
    }

    /// The row of a member in the workspace's list, which is ordered by the time of joining.
    #[must_use]
    pub(super) fn member(workspace: WorkspaceId, joined_at: Time, user: UserId) -> Self {
        Self::new(workspace_partition(workspace), format!("{MEMBER}{joined_at}#{user}"))
    }

    /// The row of a pending invitation in the workspace's list, which is ordered by the time of creation.
    #[must_use]
    pub(super) fn pending(workspace: WorkspaceId, id: InvitationId) -> Self {
        Self::new(workspace_partition(workspace), format!("{PENDING}{id}"))
    }

    /// The workspace and the invitation of this key, if it is the key of a pending row.
    #[must_use]
    pub fn as_pending(&self) -> Option<(WorkspaceId, InvitationId)> {
        let workspace = self.pk.strip_prefix(WORKSPACE)?.parse().ok()?;
        let invitation = self.sk.strip_prefix(PENDING)?.parse().ok()?;
        Some((workspace, invitation))
    }

    /// Whether this key belongs to a notice.
    #[must_use]
    pub fn is_notice(&self) -> bool {
        self.pk.starts_with(NOTICE)
    }

    /// The item of an invitation, which is found by the id alone.
    #[must_use]
    pub(super) fn invitation(id: InvitationId) -> Self {
        Self::new(format!("INVITE#{id}"), "INVITE")
    }

    /// The slots of a limit rule for one subject. The subject is hashed because it may be any text of a request.
    #[must_use]
    pub(super) fn limit(rule: &str, subject: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, subject.as_bytes());
        Self::new(format!("LIMIT#{rule}#{}", URL_SAFE_NO_PAD.encode(digest)), "LIMIT")
    }

    /// The idempotency record of a user's request on a route under an idempotency key. The three parts are hashed together,
    /// each preceded by its length, because the idempotency key may be any text.
    #[must_use]
    pub(super) fn idempotency(user: UserId, route: &str, key: &str) -> Self {
        let digest = sha256(&[user.as_bytes(), route.as_bytes(), key.as_bytes()]);
        Self::new(format!("IDEMPOTENCY#{digest}"), "IDEMPOTENCY")
    }

    /// The published public keys.
    #[must_use]
    pub(super) fn jwks() -> Self {
        Self::new("KEYS".to_owned(), "JWKS")
    }

    /// The usage of a workspace in a UTC month, `2026-01`.
    #[must_use]
    pub(super) fn usage_month(workspace: WorkspaceId, month: &str) -> Self {
        Self::new(usage_partition(workspace), format!("{USAGE_MONTH}{month}"))
    }

    /// The usage of a workspace on a UTC day, `2026-01-02`. The day sorts after the item of its month.
    #[must_use]
    pub(super) fn usage_day(workspace: WorkspaceId, day: &str) -> Self {
        let month = day.get(..7).unwrap_or_default();
        Self::new(usage_partition(workspace), format!("{USAGE_MONTH}{month}#DAY#{day}"))
    }

    /// One counter of a workspace's usage in a UTC hour, `2026-01-02T03`. An hour has [`SPLITS`] counters.
    #[must_use]
    pub(super) fn usage_hour(workspace: WorkspaceId, hour: &str, split: u8) -> Self {
        Self::new(usage_partition(workspace), format!("{USAGE_HOUR}{hour}#{split}"))
    }

    /// The item that makes a usage record count only once.
    #[must_use]
    pub(super) fn usage_record(workspace: WorkspaceId, record: RecordId) -> Self {
        Self::new(format!("RECORD#{workspace}#{record}"), "RECORD")
    }

    /// The dirty marker of a workspace whose usage is not rolled up yet, for one split.
    #[must_use]
    pub(super) fn usage_dirty_marker(workspace: WorkspaceId, split: u8) -> Self {
        Self::new(dirty_partition(shard_of(workspace)), format!("{workspace}#{split}"))
    }

    /// The time of the last complete run over a shard.
    #[must_use]
    pub(super) fn usage_run(shard: u8) -> Self {
        Self::new(format!("RUN#{shard:02}"), "RUN")
    }

    /// The notice to the owners of a workspace that a share of the tier's limit is used up.
    #[must_use]
    pub(super) fn usage_notice(workspace: WorkspaceId, month: &str, tier: &str, percent: u8) -> Self {
        Self::new(
            format!("NOTICE#{workspace}"),
            format!("NOTICE#{month}#{tier}#{percent}"),
        )
    }
}

/// The SHA-256 of `parts` in base64url. Each part is preceded by its length, so that different lists of parts have
/// different digests.
pub(super) fn sha256(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}

/// The number of shards that the dirty markers of all workspaces are distributed over.
pub const SHARDS: u8 = 64;
/// The number of counters that an hour's usage is distributed over, so that concurrent batches of one workspace rarely
/// write the same item.
pub(super) const SPLITS: u8 = 4;
/// The separator of the parts of a key.
pub(super) const SEPARATOR: char = '#';
/// The prefix of the sort keys of months and days.
pub(super) const USAGE_MONTH: &str = "MONTH#";
/// The prefix of the sort keys of hours.
pub(super) const USAGE_HOUR: &str = "HOUR#";

/// The shard of a workspace's dirty markers. The last bits of a UUID v7 are random, so that the shards are equally large.
#[must_use]
pub fn shard_of(workspace: WorkspaceId) -> u8 {
    workspace.as_bytes()[15] % SHARDS
}

/// The partition of a workspace's usage items.
#[must_use]
pub(super) fn usage_partition(workspace: WorkspaceId) -> String {
    format!("USAGE#{workspace}")
}

/// The partition of a shard's dirty markers.
#[must_use]
pub(super) fn dirty_partition(shard: u8) -> String {
    format!("DIRTY#{shard:02}")
}

/// The prefix of the partitions and the sort keys of notices.
const NOTICE: &str = "NOTICE#";
/// The prefix of the partitions of workspaces.
const WORKSPACE: &str = "WS#";
/// The prefix of the sort keys of members.
pub(super) const MEMBER: &str = "MEMBER#";
/// The prefix of the sort keys of pending rows.
pub(super) const PENDING: &str = "PENDING#";
/// The prefix of the sort keys of guards.
pub(super) const GUARD: &str = "GUARD#";

/// The partition of an e-mail address: its record and its guards.
#[must_use]
pub(super) fn email_partition(email: &EmailAddress) -> String {
    format!("EMAIL#{email}")
}

/// The partition of a workspace: the workspace item, its members and its pending rows.
#[must_use]
pub(super) fn workspace_partition(id: WorkspaceId) -> String {
    format!("{WORKSPACE}{id}")
}

/// The partition of index `gsi1` that lists the users of a workspace.
#[must_use]
pub(super) fn users_of(workspace: WorkspaceId) -> String {
    format!("WS#{workspace}")
}

/// The sort key of a user in that partition.
#[must_use]
pub(super) fn user_in_index(user: UserId) -> String {
    format!("USER#{user}")
}

/// The partition of index `gsi1` that lists the due mails.
pub(super) const DUE: &str = "DUE";

/// The sort key of an invitation's due entry.
#[must_use]
pub(super) fn due_in_index(due_at: Time, id: InvitationId) -> String {
    format!("{due_at}#{id}")
}

/// The sort key of a notice's due entry.
#[must_use]
pub(super) fn notice_due_in_index(due_at: Time, notice: &Key) -> String {
    format!("{due_at}#{}#{}", notice.pk, notice.sk)
}

/// The exclusive end of the entries that are due at `now`. It sorts after every entry of the same millisecond.
#[must_use]
pub(super) fn due_until(now: Time) -> String {
    format!("{now}$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_month_sorts_before_its_days_and_they_sort_before_the_next_month() {
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
    fn the_end_of_the_due_entries_sorts_after_the_current_millisecond() {
        let now = Time::from_millis(1_000);
        let entry = |millis| due_in_index(Time::from_millis(millis), InvitationId::from_bytes([0xff; 16]));
        assert!(entry(1_000) < due_until(now));
        assert!(entry(1_001) > due_until(now));
    }

    #[test]
    fn the_key_of_a_pending_row_names_the_workspace_and_the_invitation() {
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
        fn an_idempotency_key_belongs_to_one_user_and_one_route(a in "[ -~]{1,40}", b in "[ -~]{1,40}", user in 0u8..2) {
            let key = |user, route: &str, key: &str| Key::idempotency(UserId::from_bytes([user; 16]), route, key);
            prop_assert_eq!(a == b, key(0, "route", &a) == key(0, "route", &b));
            prop_assert_eq!(user == 0, key(0, "route", &a) == key(user, "route", &a));
            prop_assert_eq!(a == b, key(0, &a, &b) == key(0, &b, &a));
        }

        #[test]
        fn an_address_with_a_number_sign_names_only_its_own_partition(local in "[a-z#]{1,20}") {
            if let Ok(email) = EmailAddress::parse(&format!("{local}@example.com")) {
                let key = Key::email(&email);
                prop_assert_eq!(key.pk.strip_prefix("EMAIL#"), Some(email.as_str()));
                prop_assert_eq!(key.sk, "EMAIL");
            }
        }
    }
}
