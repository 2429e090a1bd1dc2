//! The operator's command `tier`, which changes a running stack.

use shared::{
    App, Error,
    app::RequiredSecrets,
    clock::Clock,
    config::Config,
    ids::WorkspaceId,
    models::{usage::Tier, workspace::Workspace},
};

use crate::{
    remote::{Remote, RemoteError},
    stack::TABLE,
};

/// Why the tier was not changed.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// The stack did not respond as expected.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The workspace does not exist.
    #[error("the workspace {0:?} does not exist; name it by its slug or its id with --workspace")]
    Unknown(String),
    /// The table could not be read or written.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Changes the tier of a workspace in the stack at `url`. `workspace` is the workspace's slug or id.
pub async fn set_tier(url: String, workspace: &str, tier: Tier) -> Result<Workspace, TierError> {
    let database = Remote::new(url).get("/_local/dynamodb", None)?;
    let endpoint = database["endpoint"].as_str().unwrap_or_default().to_owned();
    let config = Config::local(endpoint.clone(), endpoint, TABLE.to_owned());
    let app = App::start(config, Clock::system(), RequiredSecrets::NONE, None).await?;
    let id = match workspace.parse::<WorkspaceId>() {
        Ok(id) => Some(id),
        Err(_) => app.store.unproven().workspace_of_slug(workspace).await?,
    };
    let unknown = || TierError::Unknown(workspace.to_owned());
    match app
        .store
        .unproven()
        .workspace_set_tier(id.ok_or_else(unknown)?, tier)
        .await
    {
        Err(Error::Stale) => Err(unknown()),
        changed => Ok(changed?),
    }
}
