//! What a repository's servers may cost the others: a place among so many, and one deadline for all that is asked of it.

use crate::{
    engine::Engine,
    sync::{CheckedOut, Unusable},
};
use host::lanes::Silent;
use interfaces::git_sync;
use model::{RepositoryUrl, Revision};
use std::time::Duration;
use tokio::time::timeout;

/// How long the whole of it may take: looking, fetching and checking out.
const PATIENCE: Duration = Duration::from_secs(60);

impl Engine {
    /// Fetches. If a commit was `accepted` that is not what the repository names any more, it is judged by the floor, as ever.
    pub(crate) async fn fetch_accepted(
        &self,
        fetch: git_sync::Fetch,
        accepted: Option<(Revision, Option<Revision>)>,
    ) -> Result<CheckedOut, Unusable> {
        let Some((accepted, floor)) = accepted else { return self.fetch_in_lane(fetch).await };
        let as_ever = git_sync::Fetch { floor, ..fetch.clone() };
        match self.fetch_in_lane(fetch).await {
            Ok(CheckedOut { revision, .. }) | Err(Unusable::Strayed(revision, _)) if revision != accepted => {
                self.fetch_in_lane(as_ever).await
            }
            fetched => fetched,
        }
    }

    /// Fetches and checks out when there is a place with the repository's servers.
    pub(crate) async fn fetch_in_lane(&self, fetch: git_sync::Fetch) -> Result<CheckedOut, Unusable> {
        let place = self.servers.enter(&fetch.addresses().map(RepositoryUrl::server).collect()).await;
        let place = place.map_err(|silent: Silent| Unusable::Silent(silent.to_string()))?;
        let too_late = || Unusable::Silent(format!("it was not fetched within {} s", PATIENCE.as_secs()));
        let fetched = timeout(PATIENCE, self.fetch(fetch)).await.unwrap_or_else(|_| Err(too_late()));
        match &fetched {
            Err(Unusable::Silent(_)) => place.unanswered(),
            Ok(_) | Err(_) => place.answered(),
        }
        fetched
    }
}
