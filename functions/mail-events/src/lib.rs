//! Records delivery events of the mail service: that it accepted a mail, and that the mail was delivered, bounced or
//! marked as spam. Events arrive at least once, in any order, and also for invitations that ended long ago.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::event::Deadline;
use shared::ids::InvitationId;
use shared::models::delivery::{DeliveryEvent, DeliveryStatus};
use shared::store::retry_on_conflict;
use shared::{App, Error, telemetry};
use tracing::Instrument;

/// An event of SES, as `EventBridge` delivers it.
#[derive(Debug, Deserialize)]
pub struct Event {
    detail: Detail,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "eventType")]
enum Detail {
    Send {
        mail: Mail,
    },
    Reject {
        mail: Mail,
    },
    Delivery {
        mail: Mail,
    },
    Bounce {
        mail: Mail,
        bounce: Bounce,
    },
    Complaint {
        mail: Mail,
    },
    /// Any other event, such as an opened mail. The configuration set asks for none of them.
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Mail {
    #[serde(default, rename = "messageId")]
    message_id: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: String,
    #[serde(default)]
    bounce_sub_type: String,
}

impl Detail {
    /// The mail and what happened to it; none for an event that is not recorded.
    fn event(&self) -> Option<(&Mail, DeliveryEvent)> {
        match self {
            Self::Send { mail } => Some((mail, DeliveryEvent::Sent)),
            Self::Reject { mail } => Some((mail, DeliveryEvent::Rejected)),
            Self::Delivery { mail } => Some((mail, DeliveryEvent::Delivered)),
            Self::Bounce { mail, bounce } => Some((mail, bounce.event())),
            Self::Complaint { mail } => Some((mail, DeliveryEvent::Complained)),
            Self::Other => None,
        }
    }
}

impl Mail {
    /// The mail's invitation; none for a notice.
    fn invitation(&self) -> Option<InvitationId> {
        self.tags.get("invitation")?.first()?.parse().ok()
    }
}

impl Bounce {
    fn event(&self) -> DeliveryEvent {
        match (self.bounce_type.as_str(), self.bounce_sub_type.as_str()) {
            ("Permanent", "Suppressed" | "OnAccountSuppressionList") => DeliveryEvent::Suppressed,
            ("Permanent", _) => DeliveryEvent::Bounced,
            _ => DeliveryEvent::BouncedForNow,
        }
    }
}

/// The change that an event made.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The invitation, if the event was about one.
    invitation: Option<InvitationId>,
    /// The new delivery status of its mail; none when the event changed nothing.
    delivery: Option<DeliveryStatus>,
}

/// Handles a call.
pub async fn handle(app: App, event: Event, _deadline: Deadline) -> Result<Report, Error> {
    let recorded = event.detail.event();
    let recorded = recorded.and_then(|(mail, event)| Some((mail, mail.invitation()?, event)));
    let Some((mail, id, event)) = recorded else {
        tracing::info!("mail event ignored: it is not about an invitation's mail");
        return Ok(Report::default());
    };
    let span = telemetry::item_span(None, Some(id), mail.message_id.as_deref());
    Ok(Report {
        invitation: Some(id),
        delivery: record(&app, id, event).instrument(span).await?,
    })
}

/// Records `event` of an invitation's mail, unless the event is older than the delivery status or the invitation ended.
async fn record(app: &App, id: InvitationId, event: DeliveryEvent) -> Result<Option<DeliveryStatus>, Error> {
    let invitation = app.store.unproven().invitation(id).await?;
    if let Some(invitation) = &invitation {
        telemetry::record_workspace(invitation.workspace_id);
    }
    let Some(invitation) = invitation.filter(|invitation| invitation.end.is_none()) else {
        tracing::info!(?event, "mail event ignored: the invitation ended");
        return Ok(None);
    };
    retry_on_conflict(async || {
        let read = app
            .store
            .unproven()
            .invitation_delivery(invitation.workspace_id, id)
            .await?;
        let Some((read, next)) = read.and_then(|read| read.after(event, app.now()).map(|next| (read, next))) else {
            tracing::info!(?event, "mail event ignored: the delivery status is newer");
            return Ok(None);
        };
        app.store
            .unproven()
            .invitation_delivery_move(invitation.workspace_id, id, &read, &next)
            .await?;
        Ok(Some(next.status))
    })
    .await
}
