//! Records what the mail service tells of mails: that it took them, that they were delivered, bounced, or called spam.
//! It tells at least once, in any order, and of mails whose invitation ended long ago.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::event::Deadline;
use shared::ids::InvitationId;
use shared::models::delivery::{DeliveryEvent, DeliveryStatus};
use shared::store::retry_on_conflict;
use shared::{App, Error};

/// An event of SES, as `EventBridge` brings it.
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
    /// Opened, clicked, and what else there may come: the configuration set asks for none of it.
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Mail {
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
    /// What it tells, and of which mail.
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
    /// The invitation that it was for; mails of another kind have none.
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

/// What an event changed.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The invitation, if the event was about one.
    invitation: Option<InvitationId>,
    /// The new fate of its mail; none when the event told nothing new.
    delivery: Option<DeliveryStatus>,
}

/// Takes a call.
pub async fn handle(app: App, event: Event, _deadline: Deadline) -> Result<Report, Error> {
    let about = event.detail.event();
    let about = about.and_then(|(mail, event)| Some((mail.invitation()?, event)));
    let Some((id, event)) = about else {
        tracing::info!("an event tells nothing of an invitation's mail");
        return Ok(Report::default());
    };
    Ok(Report {
        invitation: Some(id),
        delivery: record(&app, id, event).await?,
    })
}

/// Records `event` of an invitation's mail, unless it is old or the invitation ended.
async fn record(app: &App, id: InvitationId, event: DeliveryEvent) -> Result<Option<DeliveryStatus>, Error> {
    let invitation = app.store.unproven().invitation(id).await?;
    let Some(invitation) = invitation.filter(|invitation| invitation.end.is_none()) else {
        tracing::info!(invitation = %id, ?event, "an event tells of an invitation that ended");
        return Ok(None);
    };
    retry_on_conflict(async || {
        let read = app
            .store
            .unproven()
            .invitation_delivery(invitation.workspace_id, id)
            .await?;
        let Some((read, next)) = read.and_then(|read| read.after(event, app.now()).map(|next| (read, next))) else {
            tracing::info!(invitation = %id, ?event, "an event tells nothing new");
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
