//! The delivery events that SES publishes about a mail, in the format in which `EventBridge` delivers them.

use serde_json::{Value, json};

use super::Mail;

/// A delivery event that the mailbox can simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SimulatedEvent {
    Deliver,
    Bounce,
    Complain,
}

impl SimulatedEvent {
    /// The event with this name in a route.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "deliver" => Some(Self::Deliver),
            "bounce" => Some(Self::Bounce),
            "complain" => Some(Self::Complain),
            _ => None,
        }
    }

    /// The event as JSON.
    pub(crate) fn event(self, mail: &Mail, now: &str) -> Value {
        let recipients = json!([{ "emailAddress": mail.to }]);
        let (detail_type, event_type, name, event_detail) = match self {
            Self::Deliver => (
                "Email Delivered",
                "Delivery",
                "delivery",
                json!({ "timestamp": now, "recipients": [mail.to], "smtpResponse": "250 ok" }),
            ),
            Self::Bounce => (
                "Email Bounced",
                "Bounce",
                "bounce",
                json!({
                    "bounceType": "Permanent", "bounceSubType": "General",
                    "bouncedRecipients": recipients, "timestamp": now,
                }),
            ),
            Self::Complain => (
                "Email Complaint Received",
                "Complaint",
                "complaint",
                json!({ "complainedRecipients": recipients, "timestamp": now }),
            ),
        };
        let tags = mail.tags.iter().map(|(name, value)| (name.clone(), json!([value])));
        let mut event = json!({
            "version": "0",
            "id": mail.id,
            "detail-type": detail_type,
            "source": "aws.ses",
            "time": now,
            "detail": {
                "eventType": event_type,
                "mail": {
                    "timestamp": mail.sent_at,
                    "source": mail.from,
                    "messageId": mail.id,
                    "destination": [mail.to],
                    "tags": tags.collect::<serde_json::Map<_, _>>(),
                },
            },
        });
        event["detail"][name] = event_detail;
        event
    }
}
