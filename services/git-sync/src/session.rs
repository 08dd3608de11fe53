//! The calls of io.bitbuilder.GitSync: one at a time per repository, different repositories side by side.

use crate::{
    errand::{Errands, Task},
    fault::file_error,
    forget, import,
    place::Place,
    quiet::Quiet,
};
use futures_util::Stream;
use host::{files::FileError, turns::Turns};
use interfaces::{
    Method,
    git_sync::{
        Changed, CheckedOut, Checkout, Error, Export, Exported, Fetch, Fetched, Forget, Import, Imported, List, Look,
        Prune, Push, Record, Repositories, Repository, Sight,
    },
};
use model::{export, names::RepositoryName};
use runtime::{Answer, Call, session::Continues};
use std::{fs::File, os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::info;

/// How long a reply to a look waits for others to go with it: each costs both sides as much as a look.
const TOGETHER: Duration = Duration::from_millis(20);
/// How many repositories one reply to a look shows at most.
const MOST_SIGHTS: usize = 64;

/// How long a bundle may take, each way.
const BUNDLE_PATIENCE: Duration = Duration::from_secs(600);
const NO_DESCRIPTOR: &str = "no such file descriptor came with the call";

/// What is held, and who is working on it.
#[derive(Debug, Clone)]
pub struct Session {
    errands: Errands,
    turns: Turns<RepositoryName>,
    quiet: Quiet,
    /// Pushes one at a time, and nobody who fetches waits for them.
    pushing: Turns<RepositoryName>,
    /// Held by the one who exports.
    exporting: Arc<Mutex<()>>,
}

impl Session {
    /// A session whose work is done by `errands`.
    #[must_use]
    pub fn new(errands: Errands) -> Self {
        Self {
            errands,
            turns: Turns::default(),
            quiet: Quiet::default(),
            pushing: Turns::default(),
            exporting: Arc::default(),
        }
    }

    /// Fetches a reference into the repository's mirror.
    ///
    /// # Errors
    /// The server, the reference, or this host.
    pub async fn fetch(&self, call: Fetch) -> Result<Fetched, Error> {
        let (repository, reference) = (call.repository.clone(), call.reference.clone());
        let _turn = self.turns.take(&repository).await;
        let fetched = self.errands.fetch(call, &self.quiet).await?;
        if fetched.changed {
            info!(%repository, %reference, revision = %fetched.revision, "fetched");
        } else {
            self.quiet.begin(&self.errands, &repository);
        }
        Ok(fetched)
    }

    /// Looks at many references, and shows what was seen as it comes.
    pub fn look(&self, call: Look) -> impl Stream<Item = Result<(Sight, Continues), Error>> + use<> {
        let mut looks = JoinSet::new();
        for wanted in call.repositories {
            let session = self.clone();
            looks.spawn(async move {
                let looked = session.errands.look(wanted).await;
                if looked.revision.is_some() {
                    session.quiet.begin(&session.errands, &looked.repository);
                }
                looked
            });
        }
        futures_util::stream::unfold(Some(looks), |looks| async {
            let mut looks = looks?;
            let mut repositories = Vec::new();
            let mut next = looks.join_next().await;
            let is_over = next.is_none();
            let until = Instant::now() + TOGETHER;
            while let Some(ended) = next {
                // One that ended by itself is not named: it takes a Fetch.
                repositories.extend(ended);
                let full = repositories.len() >= MOST_SIGHTS;
                next = if full { None } else { timeout_at(until, looks.join_next()).await.unwrap_or(None) };
            }
            let continues = if is_over { Continues::No } else { Continues::Yes };
            Some((Ok((Sight { repositories }, continues)), (!is_over).then_some(looks)))
        })
    }

    /// Makes a directory with the files of a commit.
    ///
    /// # Errors
    /// The commit is not there or holds what is refused, or this host failed.
    pub async fn checkout(&self, call: Checkout) -> Result<CheckedOut, Error> {
        let (repository, revision) = (call.repository.clone(), call.revision.clone());
        let _turn = self.turns.take(&repository).await;
        // A checkout is whole and on disk before it has its name.
        let there = Place::new(&self.errands.root, &repository).checkout(&revision);
        if there.is_dir() {
            return Ok(CheckedOut { path: there.display().to_string(), changed: false });
        }
        self.quiet.end(&self.errands, &repository, self.errands.patient()).await?;
        let checked_out: CheckedOut = self.errands.run_here(Task::Checkout(call)).await?;
        if checked_out.changed {
            info!(%repository, %revision, "checked out");
        }
        Ok(checked_out)
    }

    /// Removes the checkouts that are not to be kept.
    ///
    /// # Errors
    /// This host failed.
    pub async fn prune(&self, call: Prune) -> Result<Changed, Error> {
        let (repository, kept) = (call.repository.clone(), call.keep.len());
        let _turn = self.turns.take(&repository).await;
        self.quiet.end(&self.errands, &repository, self.errands.patient()).await?;
        let pruned: Changed = self.errands.run_here(Task::Prune(call)).await?;
        if pruned.changed {
            info!(%repository, kept, "removed checkouts");
        }
        self.quiet.begin(&self.errands, &repository);
        Ok(pruned)
    }

    /// Removes all that is held of a repository.
    ///
    /// # Errors
    /// It is the system repository, or this host failed.
    pub async fn forget(&self, Forget { repository }: Forget) -> Result<Changed, Error> {
        if repository == RepositoryName::system() {
            let (action, reason) = ("forget the system repository".to_owned(), "the host follows it".to_owned());
            return Err(Error::Failed { action, reason });
        }
        let _turn = self.turns.take(&repository).await;
        let _push = self.pushing.take(&repository).await;
        let place = Place::new(&self.errands.root, &repository);
        if !forget::is_there(&place) {
            return Ok(Changed { changed: false });
        }
        self.quiet.forget(&repository).await;
        let forgotten = self.errands.run_here(Task::Forget(repository.clone())).await?;
        self.errands.records.forget(&repository);
        self.errands.health.forget(&place, &repository);
        info!(%repository, "forgotten");
        Ok(forgotten)
    }

    /// Writes what became of commits into the repository's mirror.
    ///
    /// # Errors
    /// Nothing was fetched, or this host failed.
    pub async fn record(&self, call: Record) -> Result<Changed, Error> {
        let _turn = self.turns.take(&call.repository).await;
        let repository = call.repository.clone();
        self.quiet.end(&self.errands, &repository, self.errands.patient()).await?;
        let recorded = self.errands.run_here(Task::Record(call)).await?;
        self.quiet.begin(&self.errands, &repository);
        Ok(recorded)
    }

    /// Makes another server name a commit.
    ///
    /// # Errors
    /// The commit is not here, the server is away or refuses it, or this host failed.
    pub async fn push(&self, call: Push) -> Result<Changed, Error> {
        let (repository, revision) = (call.repository.clone(), call.revision.clone());
        let _turn = self.pushing.take(&repository).await;
        if Place::new(&self.errands.root, &repository).pushed().is_some_and(|pushed| pushed.is(&call)) {
            return Ok(Changed { changed: false });
        }
        let pushed = self.errands.push(call).await?;
        if pushed.changed {
            info!(%repository, %revision, "pushed");
        }
        Ok(pushed)
    }

    /// Writes a bundle of what is held of repositories.
    ///
    /// # Errors
    /// The document is none, nothing is held of the system repository, or this host failed.
    pub async fn export(&self, call: Export, into: Option<OwnedFd>) -> Result<Exported, Error> {
        let failed = |reason: String| Error::Failed { action: "export".to_owned(), reason };
        let into = into.ok_or_else(|| failed(NO_DESCRIPTOR.to_owned()))?;
        let export = export::Export::parse(call.document.as_bytes()).map_err(|cause| failed(cause.to_string()))?;
        let _alone = self.exporting.lock().await;
        let errands = self.errands.clone().within(BUNDLE_PATIENCE);
        let exported: Exported = errands.run_here(Task::Gather(export)).await?;
        errands.stream_here(Task::Stream, into).await?;
        info!(missing = exported.missing.len(), "exported");
        Ok(exported)
    }

    /// Keeps what another host exported in place of the repositories' servers.
    ///
    /// # Errors
    /// It is no such bundle, or this host failed.
    pub async fn import(&self, from: Option<OwnedFd>) -> Result<Imported, Error> {
        let failed = |reason: String| Error::Failed { action: "read the bundle".to_owned(), reason };
        let mut from = File::from(from.ok_or_else(|| failed(NO_DESCRIPTOR.to_owned()))?);
        let root = self.errands.root.clone();
        let import = async {
            let copied = tokio::task::spawn_blocking(move || import::take(&root, &mut from)).await;
            copied.map_err(|cause| failed(cause.to_string()))??;
            self.errands.clone().within(BUNDLE_PATIENCE).run_here(Task::Import).await
        };
        let imported: Imported = self.errands.seeds.changing(import).await?;
        info!("a bundle stands in for the repositories' servers until one of each answers");
        Ok(imported)
    }

    /// Shows what is on disk.
    ///
    /// # Errors
    /// Nothing is held of the repository asked for, or the disk cannot be read.
    pub async fn list(&self, call: List) -> Result<Vec<Repository>, Error> {
        let root = self.errands.root.clone();
        let names = match call.repository {
            Some(name) if Place::new(&root, &name).exists() => vec![name],
            Some(repository) => return Err(Error::NoSuchRepository { repository }),
            None => Place::all(&root).map_err(|cause| list_error(&cause))?,
        };
        names
            .into_iter()
            .map(|name| held(&Place::new(&root, &name), name).map_err(|cause| list_error(&cause)))
            .collect()
    }
}

fn list_error(cause: &FileError) -> Error {
    file_error("list the repositories", cause)
}

fn held(place: &Place, repository: RepositoryName) -> Result<Repository, FileError> {
    let checkouts = place.revisions()?;
    let (url, reference, revision) = place
        .record()
        .map(|record| (record.url, record.reference, record.revision))
        .map_or((None, None, None), |(url, reference, revision)| (Some(url), Some(reference), Some(revision)));
    let remotes = place.remotes().shown();
    Ok(Repository { repository, url, reference, revision, checkouts, remotes })
}

impl runtime::Session for Session {
    async fn call(&self, mut call: Call) -> Answer {
        let descriptors = std::mem::take(&mut call.descriptors);
        let descriptor = |index: u32| usize::try_from(index).ok().and_then(|index| descriptors.into_iter().nth(index));
        match call.name() {
            Fetch::NAME => call.answer(|parameters: Fetch| self.fetch(parameters)).await,
            Look::NAME => call.stream(|parameters: Look| async move { Ok(self.look(parameters)) }).await,
            Checkout::NAME => call.answer(|parameters: Checkout| self.checkout(parameters)).await,
            Prune::NAME => call.answer(|parameters: Prune| self.prune(parameters)).await,
            Forget::NAME => call.answer(|parameters: Forget| self.forget(parameters)).await,
            Record::NAME => call.answer(|parameters: Record| self.record(parameters)).await,
            Push::NAME => call.answer(|parameters: Push| self.push(parameters)).await,
            Export::NAME => {
                call.answer(|wanted: Export| {
                    let into = descriptor(wanted.file_descriptor_index);
                    self.export(wanted, into)
                })
                .await
            }
            Import::NAME => call.answer(|wanted: Import| self.import(descriptor(wanted.file_descriptor_index))).await,
            List::NAME => {
                call.list(|parameters: List| self.list(parameters), |repositories| Repositories { repositories }).await
            }
            _ => call.not_served(),
        }
    }
}
