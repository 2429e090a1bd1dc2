//! What the caller's workspace used, as last aggregated.

use axum::extract::State;
use axum::{Json, Router};
use serde::{Serialize, Serializer};
use shared::auth::access::Caller;
use shared::clock::Time;
use shared::models::role::Action;
use shared::models::usage::{Period, Tier, Usage, periods};
use shared::models::workspace::Workspace;
use shared::store::usage;
use shared::{App, Code, Error};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The codes particular to each operation.
pub const ERRORS: &[(&str, &str, &[Code])] = &[("get", "/api/v1/workspaces/usage", &[Code::WorkspaceNotFound])];

/// The function's routes.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_usage))
}

/// The function as a router.
pub fn router(app: App) -> Router {
    shared::http::finish(routes(), app)
}

/// The workspace's usage of the current UTC day and month.
#[utoipa::path(
    get,
    path = "/api/v1/workspaces/usage",
    tag = "usage",
    security(("bearer" = [])),
    responses((status = 200, description = "Usage as last aggregated", body = UsageResponse))
)]
async fn get_usage(State(app): State<App>, caller: Caller) -> Result<Json<UsageResponse>, Error> {
    let now = app.now();
    let (access, mut items) = app
        .authorize_with(&caller, Action::Read, |tenant| usage::keys(tenant, now))
        .await?;
    let (day, month) = usage::take(&mut items, access.tenant(), now)?;
    let (today, this_month) = periods(now).ok_or_else(|| Error::Internal(format!("no calendar covers {now}")))?;
    Ok(Json(UsageResponse {
        day: PeriodUsage::new(day, today),
        tier: access.workspace().tier,
        tier_limit: access.workspace().tier.limit(),
        as_of: as_of(day, month, access.workspace()),
        month: PeriodUsage::new(month, this_month),
    }))
}

/// When usage was last aggregated; before the first time, all there is of it is that the workspace was made.
fn as_of(day: Usage, month: Usage, workspace: &Workspace) -> Time {
    day.as_of.max(month.as_of).unwrap_or(workspace.created_at)
}

/// The usage of the current day and month, as last aggregated.
#[derive(Debug, Serialize, ToSchema)]
struct UsageResponse {
    /// The current UTC day.
    #[serde(flatten)]
    day: PeriodUsage,
    /// The plan.
    tier: Tier,
    /// Units a month that the plan includes; null is unlimited.
    #[schema(required = true)]
    tier_limit: Option<u64>,
    /// When it was last aggregated.
    #[schema(value_type = String, format = DateTime)]
    as_of: Time,
    /// The current UTC month.
    month: PeriodUsage,
}

/// The usage of a period.
#[derive(Debug, Serialize, ToSchema)]
struct PeriodUsage {
    /// Location events, one unit each.
    location_events: u64,
    /// Action deliveries, half a unit each.
    action_deliveries: u64,
    /// The units of both.
    #[schema(value_type = f64, minimum = 0)]
    event_units: Units,
    /// The period's first moment.
    #[schema(value_type = String, format = DateTime)]
    period_start: Time,
    /// The start of the period's last second.
    #[schema(value_type = String, format = DateTime)]
    period_end: Time,
}

impl PeriodUsage {
    fn new(usage: Usage, period: Period) -> Self {
        Self {
            location_events: usage.location_events,
            action_deliveries: usage.action_deliveries,
            event_units: Units {
                halves: usage.half_units(),
            },
            period_start: period.start,
            period_end: period.end,
        }
    }
}

/// Units, counted in halves: a JSON number, with a fraction only when there is one.
#[derive(Clone, Copy, Debug)]
struct Units {
    halves: u64,
}

impl Serialize for Units {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.halves.is_multiple_of(2) {
            serializer.serialize_u64(self.halves / 2)
        } else {
            #[expect(clippy::cast_precision_loss, reason = "exact up to four quadrillion units")]
            serializer.serialize_f64(self.halves as f64 / 2.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_a_fraction_only_when_there_is_one() {
        let written = |halves| serde_json::to_string(&Units { halves }).unwrap();
        assert_eq!(written(0), "0");
        assert_eq!(written(25_000), "12500");
        assert_eq!(written(25_001), "12500.5");
    }
}
