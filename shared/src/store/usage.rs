//! Usage as last aggregated.

use super::{Items, Key};
use crate::auth::access::Tenant;
use crate::clock::Time;
use crate::error::Error;
use crate::models::usage::Usage;

/// The items of the current day and month, to be read beside others.
#[must_use]
pub fn keys(tenant: Tenant, now: Time) -> Vec<Key> {
    let workspace = tenant.workspace_id();
    vec![Key::usage_day(workspace, now), Key::usage_month(workspace, now)]
}

/// The current day's and month's usage from items read with [`keys`]; zero where nothing was aggregated yet.
pub fn take(items: &mut Items, tenant: Tenant, now: Time) -> Result<(Usage, Usage), Error> {
    let workspace = tenant.workspace_id();
    let day = items.take(&Key::usage_day(workspace, now))?.unwrap_or_default();
    let month = items.take(&Key::usage_month(workspace, now))?.unwrap_or_default();
    Ok((day, month))
}
