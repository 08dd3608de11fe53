//! What a repository's servers may cost the others: a place among so many, and one deadline for all that is asked of it.

use crate::{
    engine::Engine,
    sync::{CheckedOut, Unusable},
};
use host::lanes::Silent;
use interfaces::git_sync;
use model::RepositoryUrl;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long the whole of it may take: looking, fetching and checking out.
const PATIENCE: Duration = Duration::from_secs(60);
/// A server that fails only after this long has not answered.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Fetches and checks out when there is a place with the repository's servers.
    pub(crate) async fn fetch_in_lane(&self, fetch: git_sync::Fetch) -> Result<CheckedOut, Unusable> {
        let place = self.servers.enter(&fetch.addresses().map(RepositoryUrl::server).collect()).await;
        let place = place.map_err(|silent: Silent| Unusable::Unreachable(silent.to_string()))?;
        let begun = Instant::now();
        let too_late = || Unusable::Unreachable(format!("it was not fetched within {} s", PATIENCE.as_secs()));
        let fetched = timeout(PATIENCE, self.fetch(fetch)).await.unwrap_or_else(|_| Err(too_late()));
        match &fetched {
            Err(Unusable::Unreachable(_)) if begun.elapsed() >= SILENCE => place.unanswered(),
            Ok(_) | Err(_) => place.answered(),
        }
        fetched
    }
}
