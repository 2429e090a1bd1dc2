//! Notices to a workspace's owners that usage reached a threshold of the tier's limit.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::usage::Tier;
use crate::clock::Time;
use crate::ids::{UserId, WorkspaceId};

/// How long a claim on a notice lasts: longer than [`SEND_BATCH_MAX`] and the last step of a batch together.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// How long one worker goes on sending a notice's mails before it releases the notice. The next batch notifies the
/// remaining owners. The last step of a batch sends one mail (2.5 s at most) and makes two writes (one step of a call
/// each), so a batch ends well before its claim's lease.
pub(crate) const SEND_BATCH_MAX: Duration = Duration::from_secs(10);
/// Age at which a notice is given up.
pub(crate) const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A notice. It exists from the transaction that found the threshold reached until every owner is notified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The workspace whose usage reached the threshold.
    pub workspace_id: WorkspaceId,
    /// The UTC month, such as `2026-01`.
    pub month: String,
    /// The tier whose limit the threshold is a share of.
    pub tier: Tier,
    /// The threshold, in percent of the limit.
    pub percent: u8,
    /// When the threshold was found to be reached.
    pub created_at: Time,
    /// The owners who were notified.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub notified: BTreeSet<UserId>,
}

impl Notice {
    /// A notice about a threshold that was found to be reached `now`.
    #[must_use]
    pub fn new(workspace_id: WorkspaceId, month: String, tier: Tier, percent: u8, now: Time) -> Self {
        Self {
            workspace_id,
            month,
            tier,
            percent,
            created_at: now,
            notified: BTreeSet::new(),
        }
    }

    /// Whether the notice is too old to be sent.
    #[must_use]
    pub(crate) fn is_given_up(&self, now: Time) -> bool {
        now.since(self.created_at) > GIVEN_UP_AFTER
    }
}
