//! What the parts of the orchestrator share, and what it begins by itself: convergence towards what is remembered at
//! start, and another try after a host that failed.

use crate::{
    due::Due,
    floors::{Floor, Floors},
    history::History,
    manager::Boot,
    observe::Overview,
    polling::Polling,
    push::Pushes,
    record::is_final,
    remotes::Remotes,
    status,
    store::{Changed, Memory, Store, now_usec},
};
use futures_util::{FutureExt, future::BoxFuture, future::Shared};
use host::{
    files::FileError,
    lanes::{self, Lanes},
    turns::Turns,
};
use interfaces::orchestrator::TenantStatus;
use model::{Revision, TenantName, names::RepositoryName, repository::Server};
use planner::TenantLedger;
use runtime::Client;
use std::{
    collections::HashMap,
    ops::Deref,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, Semaphore, broadcast};

/// Tenants that are worked on at a time for each processor core: half of what that takes is waiting.
const PER_CORE: usize = 4;
/// What a tenant may take while it boots, in bytes.
const MEMORY_EACH: u64 = 256 << 20;
/// Changes of state that a slow watcher may lag behind.
const WATCH_BACKLOG: usize = 1024;
/// How long to wait before the host is asked again, and the longest that doubling makes of it.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// The orchestrator. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Common>);

/// What every clone shares.
#[derive(Debug)]
pub struct Common {
    pub(crate) services: Client,
    pub(crate) store: Store,
    pub(crate) history: History,
    pub(crate) floors: Floors,
    pub(crate) unwritten: Due,
    pub(crate) untold: Due,
    /// Somebody's deadline is another.
    pub(crate) deadlines: Notify,
    pub(crate) remotes: Remotes,
    pub(crate) pushes: Pushes,
    pub(crate) turns: Turns,
    pub(crate) system_turn: tokio::sync::Mutex<()>,
    pub(crate) parallel: Semaphore,
    /// A lane is for the servers of a repository together: each of them has a lane of its own where it is asked.
    pub(crate) servers: Lanes<Vec<Server>>,
    pub(crate) overview: Overview,
    /// The version of the memory that each tenant's target was last judged by.
    pub(crate) judged: Mutex<HashMap<TenantName, u64>>,
    changes: broadcast::Sender<TenantStatus>,
    failures: Mutex<HashMap<TenantName, Failures>>,
    /// The commits to which the checkouts of each repository were cut down; none if all that was held of it went.
    pub(crate) pruned: Mutex<HashMap<RepositoryName, Vec<Revision>>>,
    looks: Mutex<HashMap<RepositoryName, (Look, Cause)>>,
    pub(crate) polling: Polling,
    stopping: AtomicBool,
}

/// How often in a row the host has failed a tenant, and whether another try waits for its time.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    waiting: bool,
}

/// Why a repository is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// It was time to. A server that could not be reached is left alone for a while.
    Polled,
    /// Somebody asked, or something changed.
    Asked,
}

impl Cause {
    /// Whether the repository is not fetched for this.
    pub(crate) fn waits(self, back_off: planner::BackOff) -> bool {
        self == Self::Polled && back_off.holds(now_usec())
    }
}

/// A look at a repository that was asked for and has not begun. Whoever asks in the meantime waits for the same one.
pub(crate) type Look = Shared<BoxFuture<'static, Vec<TenantName>>>;

impl Deref for Engine {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.0
    }
}

impl Engine {
    /// An orchestrator that remembers `store`, keeps a second copy of the floors in `floors`, and asks `services`.
    #[must_use]
    pub fn new(store: Store, floors: &Path, services: Client) -> Self {
        Self(Arc::new(Common {
            services,
            history: History::in_directory(store.directory().join("history")),
            store,
            floors: Floors::in_directory(floors),
            unwritten: Due::default(),
            untold: Due::default(),
            deadlines: Notify::new(),
            remotes: Remotes::default(),
            pushes: Pushes::default(),
            turns: Turns::default(),
            system_turn: tokio::sync::Mutex::default(),
            parallel: Semaphore::new(host::capacity::side_by_side(PER_CORE, MEMORY_EACH)),
            servers: Lanes::new(lanes::AT_A_TIME, lanes::WITH_ONE_SERVER),
            overview: Overview::default(),
            judged: Mutex::default(),
            changes: broadcast::channel(WATCH_BACKLOG).0,
            failures: Mutex::default(),
            pruned: Mutex::default(),
            looks: Mutex::default(),
            polling: Polling::default(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Begins to converge: first towards what is remembered, which needs no network, then towards what Git says. After a
    /// boot, what was verified comes before what was under way.
    pub fn start(&self, boot: &Boot) {
        let booted = self.store.change_host(|host| {
            let (identity, booted) = boot.after(host.boot_id.as_deref());
            host.boot_id = Some(identity);
            booted
        });
        let booted = booted.unwrap_or_else(|error| {
            tracing::warn!("{}", runtime::chain(&error));
            true
        });
        tokio::spawn(self.clone().record_forever());
        tokio::spawn(self.clone().tell_forever());
        let engine = self.clone();
        if engine.store.memory().host.url.is_some() {
            // Not after the tenants were made to run: that may take long.
            tokio::spawn(async move { engine.poll().await });
        }
        let engine = self.clone();
        tokio::spawn(async move {
            // A kill may have come after the registry was written and before what follows from it was.
            engine.register();
            let known: Vec<TenantName> = engine.store.memory().tenants.keys().cloned().collect();
            engine.keep_floors(&known);
            if booted {
                known.iter().for_each(|tenant| engine.remember(tenant, TenantLedger::boot));
            }
            // Not after they all were looked at: one may be over.
            tokio::spawn(engine.clone().keep_deadlines());
            engine.reconcile_all(known).await;
            engine.keep_all_in_step();
            let sync = async {
                if engine.store.memory().host.url.is_some() {
                    // Who restarts this service is no reason to ask a server again that is left alone; who boots the host is.
                    engine.sync_all(if booted { Cause::Asked } else { Cause::Polled }).await;
                }
            };
            tokio::join!(engine.let_go_of_checkouts(), sync);
        });
    }

    /// The process is about to end: what fails from now on says nothing of any commit.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the process is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Looks at a repository soon: at most one look goes on at a time and one waits, however many ask. A look that waits
    /// sees every push up to its beginning, and is polled for only if nobody asked for it.
    pub(crate) fn look<F>(&self, name: RepositoryName, cause: Cause, begin: impl FnOnce(Self, Begun) -> F) -> Look
    where
        F: Future<Output = Vec<TenantName>> + Send + 'static,
    {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((waiting, causes)) = looks.get_mut(&name) {
            *causes = cause.max(*causes);
            return waiting.clone();
        }
        let begun = Begun { engine: self.clone(), name: name.clone() };
        let look = begin(self.clone(), begun).boxed().shared();
        looks.insert(name, (look.clone(), cause));
        // It goes on when nobody waits for it any more.
        tokio::spawn(look.clone());
        look
    }

    /// Does something for each tenant, side by side.
    pub(crate) async fn each<F: Future<Output = ()> + Send + 'static>(
        &self,
        tenants: Vec<TenantName>,
        work: impl Fn(Engine, TenantName) -> F,
    ) {
        let mut tasks = tokio::task::JoinSet::new();
        for tenant in tenants {
            tasks.spawn(work(self.clone(), tenant));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(cause) = ended {
                tracing::error!("a convergence ended by itself: {cause}");
            }
        }
    }

    /// Tries again later, and later still each time. One try waits at most, however many looks have failed meanwhile.
    pub(crate) fn retry(&self, tenant: &TenantName) {
        let count = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let failures = failures.entry(tenant.clone()).or_default();
            failures.count = failures.count.saturating_add(1);
            if std::mem::replace(&mut failures.waiting, true) {
                return;
            }
            failures.count
        };
        let (shortest, longest) = RETRY;
        let pause = shortest.saturating_mul(1 << count.min(16)).min(longest);
        let (engine, tenant) = (self.clone(), tenant.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(failures) = engine.failures.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&tenant) {
                failures.waiting = false;
            }
            engine.reconcile(&tenant).await;
        });
    }

    /// How often in a row the host has failed a tenant.
    pub(crate) fn failures(&self, tenant: &TenantName) -> u32 {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).map_or(0, |failures| failures.count)
    }

    /// The host did not fail this time.
    pub(crate) fn recovered(&self, tenant: &TenantName) {
        if let Some(failures) = self.failures.lock().unwrap_or_else(PoisonError::into_inner).get_mut(tenant) {
            failures.count = 0;
        }
    }
}

/// A look that waits for its turn.
pub(crate) struct Begun {
    engine: Engine,
    name: RepositoryName,
}

impl Begun {
    /// Its turn has come: who asks from now on wants another. Gives why it was asked for.
    pub(crate) fn now(self) -> Cause {
        let waiting = self.engine.looks.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        waiting.map_or(Cause::Asked, |(_, cause)| cause)
    }
}

impl Common {
    /// Changes what is remembered of a tenant, and tells those who watch.
    pub(crate) fn change<R>(
        &self,
        tenant: &TenantName,
        change: impl FnOnce(&mut TenantLedger, &Memory) -> R,
    ) -> Result<Option<R>, FileError> {
        Ok(self.store.change(tenant, change)?.map(|changed| self.tell(tenant, changed)))
    }

    /// The same, in memory only; see [`Store::change_unwritten`].
    pub(crate) fn change_unwritten<R>(
        &self,
        tenant: &TenantName,
        change: impl FnOnce(&mut TenantLedger, &Memory) -> R,
    ) -> Option<R> {
        self.store.change_unwritten(tenant, change).map(|changed| self.tell(tenant, changed))
    }

    fn tell<R>(&self, tenant: &TenantName, Changed { result, before, ledger, changed }: Changed<R>) -> R {
        if before.deadline() != ledger.deadline() {
            self.deadlines.notify_one();
        }
        if before.bound() != ledger.bound() {
            self.keep_floors(std::slice::from_ref(tenant));
        }
        if changed {
            self.note(&RepositoryName::from(tenant), &planner::history::events(&before, &ledger, now_usec()));
            // Nobody may be watching.
            let status = {
                let memory = self.store.memory();
                let entry = memory.host.registry.iter().find(|entry| entry.name == *tenant);
                status::tenant(tenant, &ledger, entry, self.servers_of(tenant))
            };
            let _unheard = self.changes.send(status);
        }
        result
    }

    /// Keeps a second copy of how far the system repository and these tenants' have come.
    pub(crate) fn keep_floors(&self, tenants: &[TenantName]) {
        let floors: Vec<(RepositoryName, Floor)> = {
            let memory = self.store.memory();
            let host = &memory.host;
            let system = host.url.clone().zip(host.reference.clone()).zip(host.revision.clone());
            let system = system.filter(|_| !host.any_history).map(|((url, reference), revision)| {
                (RepositoryName::system(), Floor { url, reference, revision, imported: false })
            });
            let registered = host.registry.iter().filter(|entry| tenants.contains(&entry.name));
            let tenants = registered.filter_map(|entry| {
                let revision = memory.tenants.get(&entry.name)?.bound()?.clone();
                let (url, reference) = (entry.repository.clone(), entry.reference.clone());
                Some((RepositoryName::from(&entry.name), Floor { url, reference, revision, imported: false }))
            });
            system.into_iter().chain(tenants).collect()
        };
        for (repository, floor) in floors {
            if let Err(error) = self.floors.keep(&repository, floor) {
                tracing::warn!(%repository, "{}", runtime::chain(&error));
            }
        }
    }

    /// Adds to a repository's history, which nothing depends on.
    pub(crate) fn note(&self, repository: &RepositoryName, events: &[planner::Event]) {
        if let Err(error) = self.history.append(repository, events) {
            tracing::warn!(%repository, "{}", runtime::chain(&error));
        }
        if events.iter().any(|event| is_final(event.kind)) {
            self.unwritten.insert(repository);
        }
        if !events.is_empty() {
            self.untold.insert(repository);
        }
    }

    /// Each change of a tenant from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<TenantStatus> {
        self.changes.subscribe()
    }

    /// What is remembered of these tenants, as callers see it: of those that are registered, and of those that leave.
    pub(crate) fn statuses(&self, concerns: impl Fn(&TenantName) -> bool) -> Vec<TenantStatus> {
        let memory = self.store.memory();
        let shown =
            memory.tenants.iter().filter(|(name, ledger)| (ledger.registered || ledger.is_leaving()) && concerns(name));
        let entries: HashMap<&TenantName, _> = memory.host.registry.iter().map(|entry| (&entry.name, entry)).collect();
        let status = |(name, ledger): (&TenantName, &TenantLedger)| {
            status::tenant(name, ledger, entries.get(name).copied(), self.servers_of(name))
        };
        shown.map(status).collect()
    }
}
