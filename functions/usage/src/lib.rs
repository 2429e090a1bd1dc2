//! The usage of the caller's workspace, as last aggregated.

use axum::extract::State;
use axum::{Json, Router};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use shared::auth::access::Caller;
use shared::clock::Time;
use shared::error::refusal::WorkspaceNotFound;
use shared::http::openapi::Refusals;
use shared::models::role::Action;
use shared::models::usage::{Period, Tier, Usage, periods};
use shared::models::workspace::Workspace;
use shared::store::usage;
use shared::{App, Error};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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
    responses(
        (status = 200, description = "Usage as last aggregated", body = UsageOut),
        Refusals<(WorkspaceNotFound,)>
    )
)]
async fn get_usage(State(app): State<App>, caller: Caller) -> Result<Json<UsageOut>, Error> {
    let now = app.now();
    let (access, mut items) = app
        .authorize_with(&caller, Action::Read, |tenant| usage::usage_keys(tenant, now))
        .await?;
    let used = usage::usage_take(&mut items, access.tenant(), now)?;
    let (today, this_month) = periods(now).ok_or_else(|| Error::Internal(format!("no calendar covers {now}")))?;
    Ok(Json(UsageOut {
        day: PeriodUsageOut::new(used.day, today),
        tier: access.workspace().tier,
        tier_limit: access.workspace().tier.limit(),
        as_of: as_of(used.as_of, access.workspace()),
        month: PeriodUsageOut::new(used.month, this_month),
    }))
}

/// When usage was last aggregated, but never earlier than the workspace's creation.
fn as_of(last_run: Option<Time>, workspace: &Workspace) -> Time {
    last_run.map_or(workspace.created_at, |last_run| last_run.max(workspace.created_at))
}

/// The usage of the current day and month, as last aggregated.
#[derive(Debug, Serialize, ToSchema)]
struct UsageOut {
    /// The current UTC day.
    #[serde(flatten)]
    day: PeriodUsageOut,
    /// The plan.
    tier: Tier,
    /// Units per month that the plan includes; null means unlimited.
    #[schema(required = true)]
    tier_limit: Option<u64>,
    /// When usage was last aggregated.
    #[schema(value_type = String, format = DateTime)]
    as_of: Time,
    /// The current UTC month.
    month: PeriodUsageOut,
}

/// The usage of a period.
#[derive(Debug, Serialize, ToSchema)]
struct PeriodUsageOut {
    /// Location events, one unit each.
    #[schema(value_type = u64)]
    location_events: u128,
    /// Action deliveries, half a unit each.
    #[schema(value_type = u64)]
    action_deliveries: u128,
    /// The units of both kinds of events together.
    #[schema(value_type = f64, minimum = 0)]
    event_units: Units,
    /// The start of the period.
    #[schema(value_type = String, format = DateTime)]
    period_start: Time,
    /// The start of the period's last second.
    #[schema(value_type = String, format = DateTime)]
    period_end: Time,
}

impl PeriodUsageOut {
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

/// Units, stored as a number of half units. In JSON they are a number, with a fraction only when it is not zero.
#[derive(Clone, Copy, Debug)]
struct Units {
    halves: u128,
}

impl Serialize for Units {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.halves / 2;
        if self.halves.is_multiple_of(2) {
            return serializer.serialize_u128(whole);
        }
        // Written as text, because a float would round a large number.
        let exact = RawValue::from_string(format!("{whole}.5")).map_err(S::Error::custom)?;
        exact.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_a_fraction_only_when_it_is_not_zero() {
        let json = |halves| serde_json::to_string(&Units { halves }).unwrap();
        assert_eq!(json(0), "0");
        assert_eq!(json(25_000), "12500");
        assert_eq!(json(25_001), "12500.5");
        assert_eq!(json(u128::from(u64::MAX)), "9223372036854775807.5");
    }
}
