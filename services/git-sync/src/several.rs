//! Asks the servers of a repository in turn, each in a child of its own, until one shows what counts. They share one
//! deadline: who hangs has half of what is left, and the others the rest.

use crate::{errand::Errands, glance::Shown, health::now_usec, place::Place, quiet::Quiet, remotes::Remotes};
use host::lanes::{Place as Lane, Silent};
use interfaces::git_sync::{Error, Fetch, Fetched, Looked};
use model::{Remote, RemoteState, RepositoryUrl, Revision, repository::Server};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// One server that is asked for a call's reference.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// The whole call; its `url` is the first server's.
    pub(crate) call: Fetch,
    /// Who is asked.
    pub(crate) from: Source,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    /// The repository's own address.
    First,
    /// A mirror, which may be behind.
    Mirror(RepositoryUrl),
    /// What the host was initialised with, which is as old as that.
    Seed { url: RepositoryUrl, reference: String },
}

/// One of them, and whether it rests for having failed.
struct Turn {
    source: Source,
    rests: bool,
}

impl Attempt {
    /// Where that is.
    pub(crate) fn url(&self) -> &RepositoryUrl {
        match &self.from {
            Source::First => &self.call.url,
            Source::Mirror(url) | Source::Seed { url, .. } => url,
        }
    }

    /// What the reference is called there.
    pub(crate) fn reference(&self) -> &str {
        match &self.from {
            Source::First | Source::Mirror(_) => self.call.reference.as_str(),
            Source::Seed { reference, .. } => reference,
        }
    }

    pub(crate) fn unreachable(&self, reason: String, silent: bool) -> Error {
        Error::RepositoryUnreachable { repository: self.call.repository.clone(), reason, silent }
    }

    /// Whether another one's state counts for more than an older one that is shown here.
    pub(crate) fn stands_in(&self) -> bool {
        self.from != Source::First
    }
}

/// What a server shows that is none of what is refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Tried {
    /// What counts from now on.
    Fetched(Fetched),
    /// A commit older than what has to be in the history or is held; and what is held, if anything is.
    Behind { revision: Revision, held: Option<Fetched> },
}

/// What was learnt from those who showed nothing that counts.
#[derive(Default)]
struct Answers {
    first_behind: Option<Revision>,
    held: Option<Fetched>,
    refusal: Option<Error>,
    absent: Option<Error>,
    /// Why the others are no help, by their addresses.
    away: Vec<(RepositoryUrl, String)>,
    /// Whether one of those said anything.
    spoke: bool,
}

impl Errands {
    /// Fetches from the first server that has what counts. Time runs while there is a place with one. What is `quiet` goes
    /// on unless the mirror is touched, which it is not if nothing was pushed.
    pub(crate) async fn fetch(&self, call: Fetch, quiet: &Quiet) -> Result<Fetched, Error> {
        let turns = self.turns(&call);
        let mut attempt = Attempt { call, from: Source::First };
        let (mut answers, mut left) = (Answers::default(), self.patience);
        for (asked, turn) in turns.iter().enumerate() {
            // Who rests is not asked only because somebody is behind.
            if turn.rests && answers.held.is_some() && answers.first_behind.is_none() {
                break;
            }
            attempt.from = turn.source.clone();
            let is_last = asked + 1 == turns.len();
            let place = self.lane(&attempt, is_last).await;
            let begun = Instant::now();
            let tried = match place {
                Ok(place) => self.fetch_from(&attempt, &place, begun + share(left, is_last), quiet).await,
                Err(Silent) => Err(attempt.unreachable(Silent.to_string(), true)),
            };
            left = left.saturating_sub(begun.elapsed());
            match tried {
                Ok(Tried::Fetched(fetched)) => {
                    return Ok(Fetched { remotes: self.used(&attempt).await, ..fetched });
                }
                Ok(Tried::Behind { revision, held }) => {
                    let reason = format!("it shows {}, an older state", revision.short());
                    self.told(&attempt, RemoteState::Behind, &reason);
                    answers.away.push((attempt.url().clone(), reason));
                    answers.spoke = true;
                    if !attempt.stands_in() {
                        answers.first_behind = Some(revision);
                    }
                    answers.held = answers.held.or(held);
                }
                Err(Error::RepositoryUnreachable { reason, silent, .. }) => {
                    self.told(&attempt, RemoteState::Away, &reason);
                    answers.away.push((attempt.url().clone(), reason));
                    answers.spoke |= !silent;
                }
                Err(absent @ Error::NoSuchReference { .. }) => {
                    self.told(&attempt, RemoteState::Away, &format!("it has no {}", attempt.reference()));
                    answers.absent.get_or_insert(absent);
                }
                Err(
                    refusal
                    @ (Error::NotTrusted { .. } | Error::HistoryRewritten { .. } | Error::RefusedContent { .. }),
                ) => {
                    self.told(&attempt, RemoteState::Refused, &refusal.to_string());
                    // What the repository itself says is not to be had otherwise from another server.
                    if !attempt.stands_in() {
                        return Err(refusal);
                    }
                    answers.refusal.get_or_insert(refusal);
                }
                Err(
                    fault @ (Error::Failed { .. }
                    | Error::NoSuchRepository { .. }
                    | Error::NoSuchRevision { .. }
                    | Error::NotPushed { .. }
                    | Error::RefusedBundle { .. }),
                ) => return Err(fault),
            }
        }
        answers.verdict(&attempt.call).map(|held| Fetched { remotes: self.remotes(&attempt), ..held })
    }

    /// Looks for the first server that answers, and does nothing else.
    pub(crate) async fn look(&self, call: Fetch) -> Looked {
        let turns = self.turns(&call);
        let mut attempt = Attempt { call, from: Source::First };
        let (mut away, mut left) = (Vec::new(), self.patience);
        let mut seen = None;
        for (asked, turn) in turns.iter().enumerate() {
            attempt.from = turn.source.clone();
            let is_last = asked + 1 == turns.len();
            let place = self.lane(&attempt, is_last).await;
            let begun = Instant::now();
            let shown = match place {
                Ok(place) => self.show(&attempt, &place, share(left, is_last)).await,
                Err(Silent) => Shown::Silent(Silent.to_string()),
            };
            left = left.saturating_sub(begun.elapsed());
            match shown {
                Shown::Silent(reason) | Shown::Away(reason) => {
                    self.told(&attempt, RemoteState::Away, &reason);
                    away.push((attempt.url().clone(), reason));
                }
                Shown::Known(Fetched { revision, .. }) => {
                    seen = Some(revision);
                    break;
                }
                // It takes a fetch, which asks this one again.
                Shown::Nothing | Shown::Unsure => {
                    away.clear();
                    break;
                }
            }
        }
        let remotes = if seen.is_some() { self.used(&attempt).await } else { self.remotes(&attempt) };
        let repository = attempt.call.repository;
        let checkout = |revision| Place::new(&self.root, &repository).checkout(revision).display().to_string();
        let path = seen.as_ref().map(checkout);
        let unreachable = (seen.is_none() && !away.is_empty()).then(|| in_one(&away));
        Looked { path, revision: seen, unreachable, repository, remotes }
    }

    /// Who is asked, in this order. What the host was initialised with comes last, as old as it is.
    fn turns(&self, call: &Fetch) -> Vec<Turn> {
        let place = Place::new(&self.root, &call.repository);
        let seed = self.seeds.source(&self.root, call);
        if call.addresses().nth(1).is_none() && seed.is_none() {
            self.health.forget(&place, &call.repository);
            return vec![Turn { source: Source::First, rests: false }];
        }
        let order = self.health.learn(&place, call, |_, _| {}).order(now_usec());
        let turn = |(url, rests)| {
            let source = if url == call.url { Source::First } else { Source::Mirror(url) };
            Turn { source, rests }
        };
        let seed = seed.map(|source| Turn { source, rests: false });
        order.into_iter().map(turn).chain(seed).collect()
    }

    /// A place with the server. Who can ask another instead does not wait for one that answers nobody.
    async fn lane(&self, attempt: &Attempt, is_last: bool) -> Result<Lane<Server>, Silent> {
        let server = attempt.url().server();
        if is_last { self.servers.enter(&server).await } else { self.servers.enter_or_pass(&server).await }
    }

    fn told(&self, attempt: &Attempt, state: RemoteState, reason: &str) {
        self.learn(attempt, |remotes, now| remotes.told(attempt.url(), state, Some(reason.to_owned()), now));
    }

    async fn used(&self, attempt: &Attempt) -> Vec<Remote> {
        let remotes = self.learn(attempt, |remotes, now| remotes.used(attempt.url(), now));
        if !matches!(attempt.from, Source::Seed { .. }) {
            self.seeds.answered(&self.root, &attempt.call.repository).await;
        }
        remotes
    }

    fn remotes(&self, attempt: &Attempt) -> Vec<Remote> {
        self.learn(attempt, |_, _| {})
    }

    /// How the servers are doing after this was learnt; none if there is but one, and nothing that stands in for it.
    fn learn(&self, Attempt { call, .. }: &Attempt, what: impl FnOnce(&mut Remotes, u64)) -> Vec<Remote> {
        if call.addresses().nth(1).is_none() && !self.seeds.wait(&self.root, &call.repository) {
            return Vec::new();
        }
        self.health.learn(&Place::new(&self.root, &call.repository), call, what).shown()
    }
}

/// How much of the time that is left one server may have.
fn share(left: Duration, is_last: bool) -> Duration {
    if is_last { left } else { left / 2 }
}

impl Answers {
    /// What follows when nobody showed what counts. A repository that shows itself older than it was is refused; a mirror
    /// that does so while the repository is away changes nothing.
    fn verdict(self, call: &Fetch) -> Result<Fetched, Error> {
        if let Some(revision) = self.first_behind {
            // Nobody is behind nothing.
            let floor = call.floor.clone().unwrap_or_else(|| revision.clone());
            return Err(Error::HistoryRewritten { repository: call.repository.clone(), revision, floor });
        }
        if let Some(held) = self.held {
            return Ok(held);
        }
        Err(self.refusal.or(self.absent).unwrap_or_else(|| Error::RepositoryUnreachable {
            repository: call.repository.clone(),
            reason: in_one(&self.away),
            silent: !self.spoke,
        }))
    }
}

/// Why nobody is any help. The address is not said where there is but one.
fn in_one(away: &[(RepositoryUrl, String)]) -> String {
    match away {
        [(_, reason)] => reason.clone(),
        _ => away.iter().map(|(url, reason)| format!("{url}: {reason}")).collect::<Vec<_>>().join("; "),
    }
}
