//! What an operator does to a stack that runs: `tier`.

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

/// Why the tier is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// The stack does not answer.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// There is no such workspace.
    #[error("there is no workspace {0:?}")]
    Unknown(String),
    /// The table could not be written.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Changes the tier of a workspace, named by its slug or its id, in the stack at `url`.
pub async fn set_tier(url: String, workspace: &str, tier: Tier) -> Result<Workspace, TierError> {
    let known = Remote::new(url).get("/_local/dynamodb", None)?;
    let endpoint = known["endpoint"].as_str().unwrap_or_default().to_owned();
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
