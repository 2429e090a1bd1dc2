//! The fate of an invitation's mail: how far it came, what may change that, and when it is tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Time;

/// How long a mail that was not taken waits at least.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// How long a mail that was not taken waits at most.
const RETRY_MOST: Duration = Duration::from_secs(3600);
/// How long after its making a mail that is still not taken is given up.
pub const RETRY_END: Duration = Duration::from_secs(24 * 3600);

/// Why a mail was withheld.
const WITHHELD: &str = "The mail was withheld: this address gets no more invitation mails for now. Pass the link on yourself, or resend the invitation a day later.";

/// The fate of an invitation's mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// How far it came.
    pub status: DeliveryStatus,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Time,
    /// Why it came no further, in words that hold no internals.
    pub reason: Option<String>,
}

/// How far a mail came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// It is to be sent.
    Queued,
    /// The mail service took it.
    Sent,
    /// The recipient's server took it.
    Delivered,
    /// The recipient's server refused it.
    Bounced,
    /// The recipient called it spam.
    Complained,
    /// It was given up, or withheld.
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

    /// How far along it is. A mail that was given up may have left all the same, when the answer to its sending was
    /// lost: what comes back from the recipient's side is the truth.
    fn step(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Sent => 1,
            Self::Failed => 2,
            Self::Delivered => 3,
            Self::Bounced | Self::Complained => 4,
        }
    }
}

/// What the mail service tells of a mail. It tells it late, twice, and in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEvent {
    /// It took the mail.
    Sent,
    /// It found the mail unfit after taking it.
    Rejected,
    /// The recipient's server took the mail.
    Delivered,
    /// The recipient's server refused the mail for good.
    Bounced,
    /// The address is known to bounce or to complain, so the mail was not sent on.
    Suppressed,
    /// The recipient's server did not take the mail, for a cause that may pass.
    BouncedForNow,
    /// The recipient called the mail spam.
    Complained,
}

impl DeliveryEvent {
    fn says(self) -> (DeliveryStatus, Option<&'static str>) {
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
    /// A mail that is to be sent.
    #[must_use]
    pub fn queued(now: Time) -> Self {
        Self {
            status: DeliveryStatus::Queued,
            updated_at: now,
            reason: None,
        }
    }

    /// A mail that is not sent, as its recipient's budget is spent.
    #[must_use]
    pub fn withheld(now: Time) -> Self {
        Self {
            status: DeliveryStatus::Failed,
            updated_at: now,
            reason: Some(WITHHELD.to_owned()),
        }
    }

    /// What `event` makes of it; none when that is nothing new. It only moves forward.
    #[must_use]
    pub fn after(&self, event: DeliveryEvent, now: Time) -> Option<Self> {
        let (status, reason) = event.says();
        let tells_why = status == self.status && reason.is_some() && reason != self.reason.as_deref();
        (status.step() > self.status.step() || tells_why).then(|| Self {
            status,
            updated_at: now,
            reason: reason.map(str::to_owned),
        })
    }
}

/// When a mail made at `created_at` that was not taken `now` is tried again: after as long as it has waited already,
/// which doubles the wait, less up to a quarter by `jitter`, so that mails which failed together part. None when it has
/// waited for long enough.
#[must_use]
pub fn retry_at(created_at: Time, now: Time, jitter: u8) -> Option<Time> {
    let age = now.since(created_at);
    let wait = age.clamp(RETRY_FIRST, RETRY_MOST);
    let less = wait / 4 * u32::from(jitter) / 256;
    (age < RETRY_END).then(|| now.plus(wait.saturating_sub(less)))
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
    fn a_bounce_before_the_sent_mark_stays() {
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
    fn a_passing_bounce_stays_sent_and_tells_why() {
        let sent = Delivery::queued(at(0)).after(DeliveryEvent::Sent, at(1)).unwrap();
        let told = sent.after(DeliveryEvent::BouncedForNow, at(2)).unwrap();
        assert_eq!(told.status, DeliveryStatus::Sent);
        assert!(told.reason.is_some());
        assert_eq!(told.after(DeliveryEvent::Sent, at(3)), None);
        assert_eq!(told.after(DeliveryEvent::BouncedForNow, at(3)), None);
        assert_eq!(told.after(DeliveryEvent::Delivered, at(3)).unwrap().reason, None);
    }

    #[test]
    fn waits_double_from_a_minute_to_an_hour_and_end_after_a_day() {
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
        fn news_in_any_order_only_moves_forward(order in prop::collection::vec(0usize..ALL.len(), 0..20)) {
            let mut delivery = Delivery::queued(at(0));
            for index in order {
                if let Some(next) = delivery.after(ALL[index], at(1)) {
                    prop_assert!(next.status.step() >= delivery.status.step());
                    prop_assert_eq!(next.after(ALL[index], at(2)), None);
                    delivery = next;
                }
            }
        }

        #[test]
        fn a_wait_is_never_under_three_quarters(age_s in 0u64..86_400, jitter in any::<u8>()) {
            let now = at(0).plus(Duration::from_secs(age_s));
            let wait = retry_at(at(0), now, jitter).unwrap().since(now).as_secs();
            prop_assert!((45..=3600).contains(&wait));
            prop_assert!(wait >= age_s.min(3600) * 3 / 4);
        }
    }
}
