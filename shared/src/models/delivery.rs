//! The delivery status of an invitation's mail: its states, its transitions, and the schedule of retries.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Time;

/// Shortest wait before a mail that the mail service did not accept is sent again.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// Longest wait before such a mail is sent again.
const RETRY_MOST: Duration = Duration::from_secs(3600);
/// Age at which a mail that the mail service has not accepted is given up.
pub(crate) const RETRY_END: Duration = Duration::from_secs(24 * 3600);

/// The `reason` of a withheld mail.
const WITHHELD: &str = "The mail was withheld: this address gets no more invitation mails for now. Pass the link on yourself, or resend the invitation a day later.";

/// The delivery status of an invitation's mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The current status.
    pub status: DeliveryStatus,
    /// When the status or its reason last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Time,
    /// Why the mail was not delivered, in words for people.
    pub reason: Option<String>,
}

/// How far the delivery of a mail has progressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// The mail waits to be sent.
    Queued,
    /// The mail service accepted the mail.
    Sent,
    /// The recipient's mail server accepted the mail.
    Delivered,
    /// The recipient's mail server refused the mail.
    Bounced,
    /// The recipient marked the mail as spam.
    Complained,
    /// The mail was given up, or withheld.
    Failed,
}

impl DeliveryStatus {
    /// The status's name in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::Failed => "failed",
        }
    }

    /// The status's rank: a mail moves to a higher rank only. `Failed` ranks below the statuses that the recipient's
    /// mail server reports: a mail that was given up may still have been sent, if the mail service's response was lost.
    fn rank(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Sent => 1,
            Self::Failed => 2,
            Self::Delivered => 3,
            Self::Bounced | Self::Complained => 4,
        }
    }
}

/// What the mail service reports about a mail. Reports arrive late, repeatedly, and in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEvent {
    /// The mail service accepted the mail.
    Sent,
    /// The mail service rejected the mail's content after accepting the mail.
    Rejected,
    /// The recipient's mail server accepted the mail.
    Delivered,
    /// The recipient's mail server refused the mail permanently.
    Bounced,
    /// The mail service did not send the mail, because earlier mails to the address bounced or were marked as spam.
    Suppressed,
    /// The recipient's mail server did not accept the mail for a temporary reason.
    BouncedForNow,
    /// The recipient marked the mail as spam.
    Complained,
}

impl DeliveryEvent {
    /// The status that the event reports, and its reason.
    fn outcome(self) -> (DeliveryStatus, Option<&'static str>) {
        match self {
            Self::Sent => (DeliveryStatus::Sent, None),
            Self::Rejected => (DeliveryStatus::Failed, Some("The mail service refused the mail.")),
            Self::Delivered => (DeliveryStatus::Delivered, None),
            Self::Bounced => (
                DeliveryStatus::Bounced,
                Some("The recipient's mail server refused the mail for good."),
            ),
            Self::Suppressed => (
                DeliveryStatus::Bounced,
                Some(
                    "The mail service sends nothing to this address, as earlier mails to it bounced or were called spam.",
                ),
            ),
            Self::BouncedForNow => (
                DeliveryStatus::Sent,
                Some("The recipient's mail server did not take the mail; the cause may pass."),
            ),
            Self::Complained => (
                DeliveryStatus::Complained,
                Some("The recipient marked the mail as spam."),
            ),
        }
    }
}

impl Delivery {
    /// The status of a mail that waits to be sent.
    #[must_use]
    pub fn queued(now: Time) -> Self {
        Self {
            status: DeliveryStatus::Queued,
            updated_at: now,
            reason: None,
        }
    }

    /// The status of a mail that is not sent because its recipient's budget is spent.
    #[must_use]
    pub fn withheld(now: Time) -> Self {
        Self {
            status: DeliveryStatus::Failed,
            updated_at: now,
            reason: Some(WITHHELD.to_owned()),
        }
    }

    /// The delivery status after `event`; `None` when the event changes nothing. The status never moves back.
    #[must_use]
    pub fn after(&self, event: DeliveryEvent, now: Time) -> Option<Self> {
        let (status, reason) = event.outcome();
        let adds_reason = status == self.status && reason.is_some() && reason != self.reason.as_deref();
        (status.rank() > self.status.rank() || adds_reason).then(|| Self {
            status,
            updated_at: now,
            reason: reason.map(str::to_owned),
        })
    }
}

/// The time of the next attempt for a mail that was created at `created_at` and failed `now`; `None` when the mail is
/// given up.
///
/// The wait is as long as the mail's age, so each wait doubles the age. `jitter` shortens the wait by up to a quarter,
/// so that mails which failed together are not sent again together.
#[must_use]
pub(crate) fn retry_at(created_at: Time, now: Time, jitter: u8) -> Option<Time> {
    let age = now.since(created_at);
    let wait = age.clamp(RETRY_FIRST, RETRY_MOST);
    let reduction = wait / 4 * u32::from(jitter) / 256;
    (age < RETRY_END).then(|| now.plus(wait.saturating_sub(reduction)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [DeliveryEvent; 7] = [
        DeliveryEvent::Sent,
        DeliveryEvent::Rejected,
        DeliveryEvent::Delivered,
        DeliveryEvent::Bounced,
        DeliveryEvent::Suppressed,
        DeliveryEvent::BouncedForNow,
        DeliveryEvent::Complained,
    ];

    fn at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn later_events_do_not_replace_a_bounce() {
        let bounced = Delivery::queued(at(0)).after(DeliveryEvent::Bounced, at(1)).unwrap();
        assert_eq!(bounced.status, DeliveryStatus::Bounced);
        for late in [
            DeliveryEvent::Sent,
            DeliveryEvent::BouncedForNow,
            DeliveryEvent::Delivered,
            DeliveryEvent::Rejected,
            DeliveryEvent::Bounced,
        ] {
            assert_eq!(bounced.after(late, at(2)), None, "{late:?}");
        }
    }

    #[test]
    fn a_temporary_bounce_keeps_the_status_sent_and_adds_a_reason() {
        let sent = Delivery::queued(at(0)).after(DeliveryEvent::Sent, at(1)).unwrap();
        let deferred = sent.after(DeliveryEvent::BouncedForNow, at(2)).unwrap();
        assert_eq!(deferred.status, DeliveryStatus::Sent);
        assert!(deferred.reason.is_some());
        assert_eq!(deferred.after(DeliveryEvent::Sent, at(3)), None);
        assert_eq!(deferred.after(DeliveryEvent::BouncedForNow, at(3)), None);
        assert_eq!(deferred.after(DeliveryEvent::Delivered, at(3)).unwrap().reason, None);
    }

    #[test]
    fn waits_double_from_one_minute_to_one_hour_and_end_after_a_day() {
        let (created, mut now) = (at(0), at(60_000));
        let mut waits = Vec::new();
        while let Some(next) = retry_at(created, now, 0) {
            waits.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(waits[..8], [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert!(now.since(created) >= RETRY_END && now.since(created) < RETRY_END + RETRY_MOST);
    }

    proptest! {
        #[test]
        fn events_in_any_order_never_move_the_status_back(order in prop::collection::vec(0usize..ALL.len(), 0..20)) {
            let mut delivery = Delivery::queued(at(0));
            for index in order {
                if let Some(next) = delivery.after(ALL[index], at(1)) {
                    prop_assert!(next.status.rank() >= delivery.status.rank());
                    prop_assert_eq!(next.after(ALL[index], at(2)), None);
                    delivery = next;
                }
            }
        }

        #[test]
        fn jitter_shortens_a_wait_by_a_quarter_at_most(age_s in 0u64..86_400, jitter in any::<u8>()) {
            let now = at(0).plus(Duration::from_secs(age_s));
            let wait = retry_at(at(0), now, jitter).unwrap().since(now).as_secs();
            prop_assert!((45..=3600).contains(&wait));
            prop_assert!(wait >= age_s.min(3600) * 3 / 4);
        }
    }
}
