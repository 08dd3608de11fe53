//! `git-sync REPOSITORY`: what the timers run. It asks the orchestrator, through which every push goes.

use interfaces::orchestrator::{Error, Sync};
use model::{names::RepositoryName, text::InvalidText};
use runtime::{Client, client::CallError};
use std::time::Duration;
use thiserror::Error;
use tracing::info;

/// The orchestrator only takes the request down.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a repository was not synced.
#[derive(Debug, Error)]
pub enum SyncError {
    /// There cannot be such a repository.
    #[error(transparent)]
    Name(#[from] InvalidText),
    /// The orchestrator did not take the request.
    #[error("cannot sync {repository}")]
    Call {
        /// Which repository.
        repository: RepositoryName,
        /// What it said.
        #[source]
        cause: Box<CallError<Error>>,
    },
}

/// Asks the orchestrator to fetch a repository and to apply what is new.
///
/// # Errors
/// The orchestrator does not answer, or refuses.
pub async fn sync(repository: &str) -> Result<(), SyncError> {
    let repository: RepositoryName = repository.parse()?;
    let call = Sync { tenant: Some(repository.clone()), wait: Some(false), poll: Some(true) };
    match Client::default().waiting(PATIENCE).call(&call).await {
        Ok(_) => info!("{repository}: asked to sync"),
        Err(cause) => return Err(SyncError::Call { repository, cause: Box::new(cause) }),
    }
    Ok(())
}
