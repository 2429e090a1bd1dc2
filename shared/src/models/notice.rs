//! Notices to a workspace's owners that a share of their tier's limit is used up.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::usage::Tier;
use crate::clock::Time;
use crate::ids::{UserId, WorkspaceId};

/// How long a claim on sending holds: longer than a turn and the step in which it ends.
pub const LEASE: Duration = Duration::from_secs(60);
/// How long a turn of telling owners goes on; who is left is told in the next one. The step in which it ends (a mail, that it
/// was told, that all were told) takes 2.5 s and twice a step of a call at most, so that a turn is over long before its claim.
pub const SEND_BATCH_MAX: Duration = Duration::from_secs(10);
/// After which a notice is given up.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A notice, from the transaction that found the threshold crossed until every owner was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whose usage it is.
    pub workspace_id: WorkspaceId,
    /// The UTC month, `2026-01`.
    pub month: String,
    /// The tier whose limit it is about.
    pub tier: Tier,
    /// The share of the limit, in percent.
    pub percent: u8,
    /// When the threshold was found crossed.
    pub created_at: Time,
    /// The owners who were told.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub notified: BTreeSet<UserId>,
}

impl Notice {
    /// A notice of a threshold that is found crossed `now`.
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

    /// Whether it is no longer worth sending.
    #[must_use]
    pub fn is_given_up(&self, now: Time) -> bool {
        now.since(self.created_at) > GIVEN_UP_AFTER
    }
}
