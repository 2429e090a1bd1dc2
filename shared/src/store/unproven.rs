//! Reads and writes without a proof of access: the complete list.
//!
//! Everything else in the store takes a proof. An operation is here because its caller has no access token: a person who
//! signs in or opens a link, a trigger, or the operator. Each row names what the caller checks instead. A test compares
//! this list with the methods of [`Unproven`], and requires a proof of every other operation.
//!
//! | operation | caller | checked instead of a proof |
//! | --- | --- | --- |
//! | `email_key`, `email_record` | `auth`: register, login | a limit per source address, and the password |
//! | `slug_key` | `auth`: register; `workspaces`: create | nothing: it shows only whether a slug is taken |
//! | `account_register` | `auth`: register | a limit per source address |
//! | `account`, `account_with_workspace` | `auth`: login, refresh, accept | the password, or the MAC of the refresh token |
//! | `session_add` | `auth`: login, accept | the password |
//! | `session_rotate`, `session_end` | `auth`: refresh | the MAC and the generation of the refresh token |
//! | `jwks`, `jwks_publish` | cold starts | nothing: the keys are public, and only `auth` may write them |
//! | `invitation` | `mail-events`, `mail-retry` | the event bus or the schedule is the caller |
//! | `invitation_mail_context` | `mail-retry` | the claim on the due mail |
//! | `invitation_mail_claim` | `mail-retry` | the due entry as read |
//! | `invitation_delivery_record` | `mail-retry`; `invitations`: the mail of a new invitation | the claim on the due mail |
//! | `invitation_delivery`, `invitation_delivery_move` | `mail-events` | the event bus is the caller |
//! | `due_page` | `mail-retry` | the schedule is the caller |
//! | `notices_not_yet_created` | `usage-aggregator` | the schedule is the caller |
//! | `notice_claim`, `notice_workspace`, `owners`, `members_of` | `usage-aggregator`, `mail-retry` | the due entry as read |
//! | `notice_mark_notified`, `notice_complete` | `usage-aggregator`, `mail-retry` | the claim on the notice |
//! | `workspaces_known`, `usage_add` | `usage-ingest` | the queue is the caller |
//! | `usage_dirty_markers`, `usage_dirty_marker` | `usage-aggregator` | the schedule is the caller |
//! | `usage_month`, `usage_day_of_hours` | `usage-aggregator` | the schedule is the caller |
//! | `usage_roll_up`, `usage_run_complete` | `usage-aggregator` | the schedule is the caller |
//! | `workspace_of_slug`, `workspace_set_tier` | the operator, through `local` | no route leads here |

use super::Store;

/// The table without a proof of access. `store.unproven()` marks each use; the file of each entity has the methods.
#[derive(Clone, Copy, Debug)]
pub struct Unproven<'a> {
    pub(super) store: &'a Store,
}

impl Store {
    /// The reads and writes that need no proof of access.
    #[must_use]
    pub fn unproven(&self) -> Unproven<'_> {
        Unproven { store: self }
    }
}
