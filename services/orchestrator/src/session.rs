//! One caller's conversation with the orchestrator.

use crate::{
    engine::{Cause, Engine},
    export,
    floors::Floor,
    status,
};
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use host::files::FileError;
use interfaces::{
    Method,
    access::Role,
    orchestrator::{
        self, AcceptHistory, Accepted, Changed, Confirm, Describe, Error, Event, Events, Export, Exported, History,
        Host, Keep, List, Origins, Plan, Plans, Reject, Remove, Resume, Retry, SetRepository, Suspend, Sync,
        TenantStatus, Tenants, Trace, Try, Watch,
    },
};
use model::{Mirrors, PushUrl, Reference, RepositoryUrl, TenantName, names::RepositoryName};
use planner::Origin;
use runtime::{Answer, Call, session::Continues};
use tokio::sync::broadcast::error::RecvError;
use tracing::info;

/// A conversation.
#[derive(Debug, Clone)]
pub struct Session {
    engine: Engine,
}

impl Session {
    /// A conversation with this orchestrator.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }

    async fn set_repository(&self, wanted: SetRepository) -> Result<Changed, Error> {
        self.take_floors(&wanted)?;
        let reference = wanted.reference.unwrap_or_else(Reference::main);
        let (known, is_new) = {
            let memory = self.engine.store.memory();
            (!memory.tenants.is_empty(), memory.host.url.is_none())
        };
        // Whoever has tenants, or anything of them, has followed something, whatever the ledger says.
        let known = known || is_new && self.engine.was_a_host().await;
        let addresses = [&wanted.url].into_iter().chain(wanted.mirrors.iter().flat_map(Mirrors::as_slice));
        let copy = self.engine.floors.recall(&RepositoryName::system(), addresses, &reference);
        let kept = wanted.force != Some(true);
        let push_mirror = |before: &Option<PushUrl>| wanted.push_mirror.clone().or(before.clone().filter(|_| kept));
        let changed = self.engine.store.change_host(|host| match &host.url {
            Some(url)
                if *url == wanted.url
                    && host.reference.as_ref() == Some(&reference)
                    && host.trust == wanted.trust
                    && wanted.mirrors.as_ref().is_none_or(|mirrors| *mirrors == host.mirrors)
                    && push_mirror(&host.push_mirror) == host.push_mirror
                    && (host.revision.is_some() || host.floor == copy) =>
            {
                Ok(false)
            }
            // Whose signature counts is not given up by leaving it out.
            Some(url)
                if (*url != wanted.url || host.trust.is_some() && host.trust != wanted.trust)
                    && wanted.force != Some(true) =>
            {
                Err(Error::AlreadyInitialized { url: url.clone() })
            }
            Some(_) | None => {
                info!(url = %wanted.url, %reference, signed = wanted.trust.is_some(), "the host follows this system repository");
                let mirrors = wanted.mirrors.clone().unwrap_or_else(|| host.mirrors.clone());
                // What was a mirror has the same history, and what has to hold still has to.
                let at = |url: &RepositoryUrl, mirrors: &Mirrors| Origin {
                    repository: url.clone(),
                    mirrors: mirrors.clone(),
                    reference: reference.clone(),
                };
                let moved = |url| !at(url, &host.mirrors).moves_within(&at(&wanted.url, &mirrors));
                let another = host.url.as_ref().is_some_and(moved) || host.reference.as_ref() != Some(&reference);
                host.any_history = host.url.is_some() && (another || host.any_history);
                if another {
                    (host.strayed, host.accepted) = (None, None);
                }
                if host.revision.is_none() {
                    host.floor_lost = copy.is_none() && (known || host.floor_lost);
                    host.floor.clone_from(&copy);
                }
                host.url = Some(wanted.url.clone());
                host.mirrors = mirrors;
                host.push_mirror = push_mirror(&host.push_mirror);
                host.reference = Some(reference.clone());
                host.trust.clone_from(&wanted.trust);
                host.back_off.reached();
                Ok(true)
            }
        });
        match changed {
            Ok(Ok(changed)) => {
                let engine = self.engine.clone();
                tokio::spawn(async move { engine.sync_all(Cause::Asked).await });
                Ok(Changed { changed })
            }
            Ok(Err(refused)) => Err(refused),
            Err(error) => {
                Err(Error::Failed { action: "remember the repository".to_owned(), reason: runtime::chain(&error) })
            }
        }
    }

    /// Remembers how far histories had come on another host, but where this one knows better.
    fn take_floors(&self, wanted: &SetRepository) -> Result<(), Error> {
        let Some(floors) = &wanted.floors else { return Ok(()) };
        if let Some(url) = self.engine.store.memory().host.url.clone().filter(|_| wanted.force != Some(true)) {
            return Err(Error::AlreadyInitialized { url });
        }
        for orchestrator::Floor { repository, url, reference, revision } in floors {
            let (url, reference, revision) = (url.clone(), reference.clone(), revision.clone());
            let floor = Floor { url, reference, revision, imported: true };
            self.engine.floors.import(repository, floor).map_err(|cause| {
                let action = "remember how far histories have come".to_owned();
                Error::Failed { action, reason: runtime::chain(&cause) }
            })?;
        }
        Ok(())
    }

    /// Lets one commit of a repository have another history than what held.
    fn accept_history(&self, wanted: AcceptHistory) -> Result<Accepted, Error> {
        let failed = |error: &FileError| Error::Failed {
            action: "remember that another history is accepted".to_owned(),
            reason: runtime::chain(error),
        };
        let engine = self.engine.clone();
        let AcceptHistory { repository, revision } = wanted;
        let tenant = repository.as_str().parse::<TenantName>();
        let accepted = match &tenant {
            Ok(tenant) => {
                let accepted = self.engine.change(tenant, |ledger, _| ledger.accept(revision));
                accepted
                    .map_err(|error| failed(&error))?
                    .ok_or_else(|| Error::NoSuchTenant { tenant: tenant.clone() })?
            }
            // "system" is the one repository name that is no tenant's.
            Err(_) => self.engine.store.change_host(|host| host.accept(revision)).map_err(|error| failed(&error))?,
        };
        let Some((revision, changed)) = accepted else { return Err(Error::NothingStrayed { repository }) };
        info!(%repository, %revision, "accepted, whatever its history");
        match tenant {
            Ok(tenant) => drop(engine.look_at(&tenant, Cause::Asked)),
            Err(_) => drop(tokio::spawn(async move { engine.sync_registry(Cause::Asked).await })),
        }
        Ok(Accepted { changed, revision })
    }

    fn describe(&self) -> Host {
        let memory = self.engine.store.memory();
        let registered = memory.tenants.values().filter(|ledger| ledger.registered).count();
        Host { host: status::host(&memory.host, registered, self.engine.servers(&RepositoryName::system())) }
    }

    fn list(&self, wanted: &List) -> Result<Vec<TenantStatus>, Error> {
        let shown = self.engine.statuses(|name| wanted.tenant.as_ref().is_none_or(|only| only == name));
        match &wanted.tenant {
            Some(tenant) if shown.is_empty() => Err(Error::NoSuchTenant { tenant: tenant.clone() }),
            Some(_) | None => Ok(shown),
        }
    }

    fn history(&self, wanted: &History) -> Result<Vec<Event>, Error> {
        let repositories = {
            let memory = self.engine.store.memory();
            match &wanted.tenant {
                None => {
                    let tenants = memory.tenants.keys().map(RepositoryName::from);
                    tenants.chain([RepositoryName::system()]).collect()
                }
                Some(name) => match name.as_str().parse() {
                    Ok(tenant) if !memory.tenants.contains_key(&tenant) => return Err(Error::NoSuchTenant { tenant }),
                    // "system" is the one repository name that is no tenant's.
                    Ok(_) | Err(_) => vec![name.clone()],
                },
            }
        };
        let failed = |error| Error::Failed { action: "read the history".to_owned(), reason: runtime::chain(&error) };
        self.engine.history.of(&repositories, wanted).map_err(failed)
    }

    /// Begins to look at what `wanted` names. What is returned ends when everything concerned has settled or waits for the
    /// host; the work goes on without it.
    fn begin(&self, wanted: &Sync) -> Result<(Option<TenantName>, BoxFuture<'static, ()>), Error> {
        if self.engine.store.memory().host.url.is_none() {
            return Err(Error::NotInitialized {});
        }
        let cause = if wanted.poll == Some(true) { Cause::Polled } else { Cause::Asked };
        let engine = self.engine.clone();
        let Some(name) = &wanted.tenant else {
            return Ok((None, spawned(async move { engine.sync_all(cause).await })));
        };
        // "system" is the one repository name that is no tenant's.
        let Ok(tenant) = name.as_str().parse::<TenantName>() else {
            return Ok((None, spawned(async move { engine.sync_registry(cause).await })));
        };
        if engine.store.tenant(&tenant).is_none_or(|ledger| !ledger.registered) {
            return Err(Error::NoSuchTenant { tenant });
        }
        let look = engine.look_at(&tenant, cause).map(drop).boxed();
        Ok((Some(tenant), look))
    }

    async fn sync(&self, wanted: Sync) -> Result<Tenants, Error> {
        let (concerned, task) = self.begin(&wanted)?;
        if wanted.wait == Some(true) {
            task.await;
        }
        Ok(Tenants { tenants: self.concerned(concerned.as_ref()) })
    }

    /// What a webhook asks for: a look, unless the repository wants none for that. It is told nothing.
    fn hint(&self, wanted: &Sync) -> Result<Tenants, Error> {
        let heeded = wanted.tenant.as_ref().is_some_and(|repository| self.engine.noticing(repository).webhook);
        if heeded {
            // It goes on by itself.
            drop(self.begin(wanted)?);
        } else {
            let repository = wanted.tenant.as_ref().map_or("all", |repository| repository.as_str());
            info!(repository, "a webhook asked for a look, which the repository does not want");
        }
        Ok(Tenants { tenants: Vec::new() })
    }

    fn concerned(&self, only: Option<&TenantName>) -> Vec<TenantStatus> {
        self.engine.statuses(|name| only.is_none_or(|only| only == name))
    }

    /// Each change until everything concerned has settled, then all of it once more.
    fn sync_watching(
        &self,
        wanted: &Sync,
    ) -> Result<impl Stream<Item = Result<(Tenants, Continues), Error>> + use<>, Error> {
        let changes = self.engine.watch();
        let (concerned, task) = self.begin(wanted)?;
        let session = self.clone();
        Ok(futures_util::stream::unfold(Some((changes, task)), move |state| {
            let (session, concerned) = (session.clone(), concerned.clone());
            async move {
                let (mut changes, mut task) = state?;
                loop {
                    let change = tokio::select! {
                        biased;
                        change = changes.recv() => change,
                        _ = &mut task => {
                            let tenants = session.concerned(concerned.as_ref());
                            return Some((Ok((Tenants { tenants }, Continues::No)), None));
                        }
                    };
                    match change {
                        Ok(status) if concerned.as_ref().is_none_or(|only| *only == status.tenant) => {
                            return Some((
                                Ok((Tenants { tenants: vec![status] }, Continues::Yes)),
                                Some((changes, task)),
                            ));
                        }
                        // Another tenant's, or more than this caller kept up with: the last reply shows where all stand.
                        Ok(_) | Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return None,
                    }
                }
            }
        }))
    }

    fn watch(&self) -> impl Stream<Item = Result<(Tenants, Continues), Error>> + use<> {
        let changes = self.engine.watch();
        let now = Tenants { tenants: self.engine.statuses(|_| true) };
        let engine = self.engine.clone();
        let first = futures_util::stream::iter([Ok((now, Continues::Yes))]);
        first.chain(futures_util::stream::unfold(changes, move |mut changes| {
            let engine = engine.clone();
            async move {
                let tenants = match changes.recv().await {
                    Ok(status) => vec![status],
                    Err(RecvError::Lagged(_)) => engine.statuses(|_| true),
                    Err(RecvError::Closed) => return None,
                };
                Some((Ok((Tenants { tenants }, Continues::Yes)), changes))
            }
        }))
    }
}

fn spawned(work: impl Future<Output = ()> + Send + 'static) -> BoxFuture<'static, ()> {
    let task = tokio::spawn(work);
    async move {
        if let Err(cause) = task.await {
            tracing::error!("a look ended by itself: {cause}");
        }
    }
    .boxed()
}

impl runtime::Session for Session {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            AcceptHistory::NAME => {
                call.answer(|wanted: AcceptHistory| async move { self.accept_history(wanted) }).await
            }
            Export::NAME => {
                let export = || export::export(&self.engine.store.memory());
                call.answer(|_: Export| async move { export().map(|document| Exported { document }) }).await
            }
            SetRepository::NAME => call.answer(|wanted: SetRepository| self.set_repository(wanted)).await,
            Sync::NAME if call.caller.role == Role::Webhook => {
                call.answer(|wanted: Sync| async move { self.hint(&wanted) }).await
            }
            Sync::NAME if call.more => call.stream(|wanted: Sync| async move { self.sync_watching(&wanted) }).await,
            Sync::NAME => call.answer(|wanted: Sync| self.sync(wanted)).await,
            List::NAME => {
                call.list(|wanted: List| async move { self.list(&wanted) }, |tenants| Tenants { tenants }).await
            }
            Watch::NAME => call.stream(|_: Watch| async { Ok(self.watch()) }).await,
            Plan::NAME => call.list(|wanted: Plan| self.engine.preview(wanted), |plans| Plans { plans }).await,
            History::NAME => {
                call.list(|wanted: History| async move { self.history(&wanted) }, |events| Events { events }).await
            }
            Trace::NAME => {
                let trace = |wanted: Trace| async move {
                    self.engine.trace(&wanted.what).await.map(|origins| Origins { origins })
                };
                call.answer(trace).await
            }
            Suspend::NAME => call.answer(|wanted: Suspend| async move { self.engine.suspend(&wanted.tenant) }).await,
            Resume::NAME => call.answer(|wanted: Resume| async move { self.engine.resume(&wanted.tenant) }).await,
            Retry::NAME => {
                call.answer(|wanted: Retry| async move { self.engine.try_again(&wanted.tenant).await }).await
            }
            Try::NAME => {
                call.answer(|Try { tenant, time }| async move { self.engine.try_next(&tenant, time).await }).await
            }
            Confirm::NAME => {
                call.answer(
                    |wanted: Confirm| async move { self.engine.confirm(&wanted.tenant, wanted.revision.as_ref()) },
                )
                .await
            }
            Reject::NAME => {
                call.answer(
                    |wanted: Reject| async move { self.engine.reject(&wanted.tenant, wanted.revision.as_ref()) },
                )
                .await
            }
            Keep::NAME => call.answer(|wanted: Keep| async move { self.engine.keep(&wanted.tenant) }).await,
            Remove::NAME => call.answer(|wanted: Remove| async move { self.engine.remove(&wanted.tenant) }).await,
            Describe::NAME => call.answer(|_: Describe| async { Ok(self.describe()) }).await,
            _ => call.not_served(),
        }
    }
}
