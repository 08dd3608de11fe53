//! Who is connected, and when nobody has been for long enough.

use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

/// How many may be connected to a tenant at a time; the others wait.
const MOST: usize = 1024;

/// The connections to a tenant. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    state: Arc<watch::Sender<State>>,
    places: Arc<Semaphore>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    open: usize,
    /// How many ever were.
    entered: u64,
    /// The last that was tried found nobody there.
    given_up: bool,
}

/// A connection that counts as long as it is not dropped.
#[derive(Debug)]
pub(crate) struct Open {
    connections: Connections,
    _place: OwnedSemaphorePermit,
}

impl Default for Connections {
    fn default() -> Self {
        Self { state: Arc::new(watch::Sender::default()), places: Arc::new(Semaphore::new(MOST)) }
    }
}

impl Connections {
    /// A place for another one, as soon as there is one.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Somebody is connected, who had such a place.
    pub(crate) fn enter(&self, place: OwnedSemaphorePermit) -> Open {
        self.state.send_modify(|state| {
            state.open += 1;
            state.entered += 1;
        });
        Open { connections: self.clone(), _place: place }
    }

    pub(crate) fn are_none(&self) -> bool {
        self.state.borrow().open == 0
    }

    /// Whether the last who came found nobody.
    pub(crate) fn found_nobody(&self) -> bool {
        self.state.borrow().given_up
    }

    /// Returns when nobody has been connected for so long, or nobody is connected and the tenant is not there.
    pub(crate) async fn idle_for(&self, time: Duration) {
        let mut state = self.state.subscribe();
        // The sender is ours: there is always one.
        while let Ok(now) = state.wait_for(|state| state.open == 0).await.map(|now| *now) {
            let over =
                now.given_up || timeout(time, state.wait_for(|state| state.entered > now.entered)).await.is_err();
            if over {
                return;
            }
        }
    }
}

impl Open {
    /// Notes whether the tenant was found.
    pub(crate) fn found(&self, found: bool) {
        self.connections.state.send_modify(|state| state.given_up = !found);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.state.send_modify(|state| state.open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn the_time_begins_when_the_last_has_left() {
        let connections = Connections::default();
        let begun = Instant::now();
        let minute = Duration::from_secs(60);
        let open = connections.enter(connections.place().await.unwrap());
        let other = connections.clone();
        tokio::spawn(async move {
            tokio::time::sleep(minute * 3).await;
            drop(open);
            tokio::time::sleep(minute / 2).await;
            drop(other.enter(other.place().await.unwrap()));
        });
        connections.idle_for(minute).await;
        assert_eq!(begun.elapsed().as_secs(), 270);
        assert!(connections.are_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_who_is_not_there() {
        let connections = Connections::default();
        let begun = Instant::now();
        let [first, second] = [connections.place().await.unwrap(), connections.place().await.unwrap()]
            .map(|place| connections.enter(place));
        first.found(true);
        second.found(false);
        drop((first, second));
        connections.idle_for(Duration::from_secs(60)).await;
        assert!(begun.elapsed().as_secs() == 0 && connections.found_nobody());
    }
}
