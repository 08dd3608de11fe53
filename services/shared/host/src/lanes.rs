//! Places for work with servers: so many at a time in all and so many with one server, each server with a queue of its own.
//! Who waits for a server that answers nobody is told so at once, and such servers have few places.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use thiserror::Error;
use tokio::sync::oneshot;

/// Repositories that are worked on at a time, by who asks for it and by who does it.
pub const AT_A_TIME: usize = 32;
/// How many of them may be on one server: `git daemon` has 32 connections for everybody, sshd 10 without a login.
pub const WITH_ONE_SERVER: usize = 8;
/// Servers that answered nobody have this part of all places together, and one place each.
const PART_OF_SILENT: usize = 4;
/// How many servers are remembered that answered nobody.
const MOST_SILENT: usize = 1024;

/// The server answers nobody: who waited for a place need not wait longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the server has not answered others either")]
pub struct Silent;

/// Who works with which server. Cheap to clone.
#[derive(Debug)]
pub struct Lanes<K: Clone + Eq + Hash>(Arc<Shared<K>>);

impl<K: Clone + Eq + Hash> Clone for Lanes<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shared<K: Clone + Eq + Hash> {
    in_all: usize,
    each: usize,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K: Clone + Eq + Hash> {
    held: usize,
    tickets: u64,
    lanes: HashMap<K, Lane<K>>,
}

#[derive(Debug)]
struct Lane<K: Clone + Eq + Hash> {
    held: usize,
    silent: bool,
    answered: Option<Instant>,
    waiting: VecDeque<(u64, oneshot::Sender<Place<K>>)>,
}

impl<K: Clone + Eq + Hash> Default for Lane<K> {
    fn default() -> Self {
        Self { held: 0, silent: false, answered: None, waiting: VecDeque::new() }
    }
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Place<K: Clone + Eq + Hash> {
    lanes: Lanes<K>,
    server: K,
    since: Instant,
}

impl<K: Clone + Eq + Hash> Lanes<K> {
    /// So many places in all, and so many `each` server may have.
    #[must_use]
    pub fn new(in_all: usize, each: usize) -> Self {
        let state = State { held: 0, tickets: 0, lanes: HashMap::new() };
        Self(Arc::new(Shared { in_all, each, state: Mutex::new(state) }))
    }

    /// Waits for a place with a server.
    ///
    /// # Errors
    /// Somebody else found meanwhile that the server answers nobody.
    pub async fn enter(&self, server: &K) -> Result<Place<K>, Silent> {
        let waiting = {
            let mut state = self.state();
            let lane = state.lanes.entry(server.clone()).or_default();
            while lane.waiting.front().is_some_and(|(_, give)| give.is_closed()) {
                lane.waiting.pop_front();
            }
            if lane.waiting.is_empty() && self.0.has_room(&state, server) {
                return Ok(self.admit(&mut state, server));
            }
            let (give, wait) = oneshot::channel();
            state.tickets += 1;
            let ticket = state.tickets;
            state.lanes.entry(server.clone()).or_default().waiting.push_back((ticket, give));
            wait
        };
        waiting.await.map_err(|_| Silent)
    }

    /// The same for who can do without this server: who cannot have a place at once with one that answers nobody does not
    /// wait for one.
    ///
    /// # Errors
    /// The server answers nobody, as far as is known.
    pub async fn enter_or_pass(&self, server: &K) -> Result<Place<K>, Silent> {
        let is_silent = {
            let state = self.state();
            state.lanes.get(server).is_some_and(|lane| lane.silent) && !self.0.has_room(&state, server)
        };
        if is_silent { Err(Silent) } else { self.enter(server).await }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, state: &mut State<K>, server: &K) -> Place<K> {
        state.held += 1;
        state.lanes.entry(server.clone()).or_default().held += 1;
        Place { lanes: self.clone(), server: server.clone(), since: Instant::now() }
    }

    /// Lets those in who may, in the order in which they came.
    fn let_in(&self) {
        // A place that its taker has given up is given back, which takes the lock.
        let mut given_up = Vec::new();
        let mut state = self.state();
        while state.held < self.0.in_all {
            let first = |lane: &Lane<K>| lane.waiting.front().map(|(ticket, _)| *ticket);
            let next = state
                .lanes
                .iter()
                .filter_map(|(server, lane)| Some((first(lane)?, server)))
                .filter(|(_, server)| self.0.has_room(&state, server))
                .min_by_key(|(ticket, _)| *ticket)
                .map(|(_, server)| server.clone());
            let Some(server) = next else { break };
            let waiting = state.lanes.get_mut(&server).and_then(|lane| lane.waiting.pop_front());
            let place = self.admit(&mut state, &server);
            if let Some((_, give)) = waiting {
                given_up.extend(give.send(place).err());
            }
        }
        drop(state);
    }
}

impl<K: Clone + Eq + Hash> Shared<K> {
    fn has_room(&self, state: &State<K>, server: &K) -> bool {
        let Some(lane) = state.lanes.get(server) else { return state.held < self.in_all };
        let lane_has = if lane.silent {
            let silent: usize = state.lanes.values().filter(|lane| lane.silent).map(|lane| lane.held).sum();
            lane.held == 0 && silent < (self.in_all / PART_OF_SILENT).max(1)
        } else {
            lane.held < self.each
        };
        lane_has && state.held < self.in_all
    }
}

impl<K: Clone + Eq + Hash> Place<K> {
    /// The server answered, whatever it said.
    pub fn answered(&self) {
        let was_silent = {
            let mut state = self.lanes.state();
            let lane = state.lanes.entry(self.server.clone()).or_default();
            lane.answered = Some(Instant::now());
            std::mem::take(&mut lane.silent)
        };
        if was_silent {
            self.lanes.let_in();
        }
    }

    /// The server did not answer. If it has answered nobody else meanwhile either, those who wait for it are told so.
    pub fn unanswered(&self) {
        let mut state = self.lanes.state();
        let lane = state.lanes.entry(self.server.clone()).or_default();
        if lane.answered.is_none_or(|answered| answered < self.since) {
            lane.silent = true;
            lane.waiting.clear();
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        {
            let mut state = self.lanes.state();
            state.held -= 1;
            let many = state.lanes.len() > MOST_SILENT;
            if let Some(lane) = state.lanes.get_mut(&self.server) {
                lane.held -= 1;
                if lane.held == 0 && lane.waiting.is_empty() && (many || !lane.silent) {
                    state.lanes.remove(&self.server);
                }
            }
        }
        self.lanes.let_in();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::Future, pin::pin, task::Poll};

    /// Whether it is done when it is looked at once.
    async fn is_ready<F: Future>(future: F) -> bool {
        let mut future = pin!(future);
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn who_waits_for_one_server_delays_nobody_with_another() {
        let lanes = Lanes::new(4, 2);
        let (first, second) = (lanes.enter(&"a").await.unwrap(), lanes.enter(&"a").await.unwrap());
        let third = tokio::spawn({
            let lanes = lanes.clone();
            async move { lanes.enter(&"a").await }
        });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        let others = [lanes.enter(&"b").await.unwrap(), lanes.enter(&"b").await.unwrap()];
        assert!(!is_ready(lanes.enter(&"c")).await, "there are more than four");
        drop(first);
        let third = third.await.unwrap().unwrap();
        drop((second, third, others));
        let all = [lanes.enter(&"c").await.unwrap(), lanes.enter(&"c").await.unwrap()];
        drop(all);
        assert!(lanes.state().lanes.is_empty() && lanes.state().held == 0);
    }

    #[tokio::test]
    async fn who_waits_for_a_server_that_answers_nobody_is_told_so() {
        let lanes = Lanes::new(8, 2);
        let held = [lanes.enter(&"dead").await.unwrap(), lanes.enter(&"dead").await.unwrap()];
        let waiting = tokio::spawn({
            let lanes = lanes.clone();
            async move { lanes.enter(&"dead").await.map(drop) }
        });
        tokio::task::yield_now().await;
        held[0].unanswered();
        assert_eq!(waiting.await.unwrap(), Err(Silent));
        drop(held);
        let one = lanes.enter(&"dead").await.unwrap();
        assert!(!is_ready(lanes.enter(&"dead")).await, "two at a time ask a server that answers nobody");
        assert_eq!(lanes.enter_or_pass(&"dead").await.map(drop), Err(Silent), "who has another server waits");
        assert!(is_ready(lanes.enter_or_pass(&"alive")).await);
        one.answered();
        assert!(is_ready(lanes.enter(&"dead")).await);
    }

    #[tokio::test]
    async fn a_server_that_answers_others_is_not_silent_for_one_that_it_leaves_waiting() {
        let lanes = Lanes::new(8, 2);
        let hung = lanes.enter(&"busy").await.unwrap();
        lanes.enter(&"busy").await.unwrap().answered();
        hung.unanswered();
        assert!(is_ready(lanes.enter(&"busy")).await);
    }

    #[tokio::test]
    async fn silent_servers_have_a_quarter_of_all_places_together() {
        let lanes = Lanes::new(8, 8);
        for server in ["a", "b", "c"] {
            lanes.enter(&server).await.unwrap().unanswered();
        }
        let held = [lanes.enter(&"a").await.unwrap(), lanes.enter(&"b").await.unwrap()];
        assert!(!is_ready(lanes.enter(&"c")).await);
        assert!(is_ready(lanes.enter(&"well")).await);
        drop(held);
        assert!(is_ready(lanes.enter(&"c")).await);
    }
}
