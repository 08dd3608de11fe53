//! The ledger: in memory to read, on disk before anything that follows from it is done.

use host::files::{self, FileError};
use model::{
    Mirrors, Noticing, PushUrl, Reference, RepositoryUrl, Revision, TenantName, notification::Target,
    registry::Registration, signer::Trust,
};
use planner::{BackOff, TenantLedger};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// What is remembered of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HostLedger {
    /// The system repository.
    pub(crate) url: Option<RepositoryUrl>,
    /// Where else it is.
    pub(crate) mirrors: Mirrors,
    /// Where each commit that is followed is pushed to.
    pub(crate) push_mirror: Option<PushUrl>,
    /// Which of its references counts.
    pub(crate) reference: Option<Reference>,
    /// The commit that the reference names.
    pub(crate) wanted: Option<Revision>,
    /// The commit that is followed.
    pub(crate) revision: Option<Revision>,
    /// Who has to have signed it; nobody if nothing was said at its initialisation.
    pub(crate) trust: Option<Trust>,
    /// What the next commit has to have in its history although nothing is followed: a copy outlived the ledger.
    pub(crate) floor: Option<Revision>,
    /// Whether the ledger was lost, and every copy of that with it. Said until another commit is followed.
    pub(crate) floor_lost: bool,
    /// Whether the next commit may have another history than the one that is followed: the host was told to follow another
    /// repository or reference.
    pub(crate) any_history: bool,
    /// The commit that was refused last because what is followed is not in its history, as long as the repository names it.
    pub(crate) strayed: Option<Revision>,
    /// The commit that may have another history: somebody accepted it, and nothing but it.
    pub(crate) accepted: Option<Revision>,
    /// The boot during which it was last changed.
    pub(crate) boot_id: Option<String>,
    /// Its registry.
    pub(crate) registry: Vec<Registration>,
    /// How its new commits are noticed.
    pub(crate) noticing: Noticing,
    /// Who is told what becomes of commits.
    pub(crate) notifications: Vec<Target>,
    /// Whether somebody is told, or the service that does it has not heard yet that nobody is any more.
    pub(crate) tells: bool,
    /// The fields of its config.yaml that are valid and have no effect here.
    pub(crate) not_in_effect: Vec<String>,
    /// Why the wanted commit is not followed.
    pub(crate) reason: Option<String>,
    /// Why the repository could not be fetched.
    pub(crate) unreachable: Option<String>,
    /// How long it is left alone for that.
    pub(crate) back_off: BackOff,
}

impl HostLedger {
    /// What the next commit has to have in its history.
    pub(crate) fn bound(&self) -> Option<&Revision> {
        self.revision.as_ref().or(self.floor.as_ref()).filter(|_| !self.any_history)
    }

    /// The same of the next fetch: nothing but what was accepted, if something was.
    pub(crate) fn asked_bound(&self) -> Option<&Revision> {
        self.accepted.as_ref().or(self.bound())
    }

    /// The repository names this commit: one that was accepted before is not what it is about any more.
    pub(crate) fn shows(&mut self, revision: &Revision) {
        self.strayed = None;
        self.accepted = self.accepted.take().filter(|accepted| accepted == revision);
        self.wanted = Some(revision.clone());
    }

    /// This commit may have another history, or if none is named, the one that is refused for that. Returns which, and whether
    /// that changes anything; nothing if none is.
    pub(crate) fn accept(&mut self, revision: Option<Revision>) -> Option<(Revision, bool)> {
        let revision = revision.or_else(|| self.strayed.clone())?;
        let before = self.accepted.replace(revision.clone());
        Some((revision.clone(), before != Some(revision)))
    }

    /// The server answered: with a commit, or with why there is none.
    pub(crate) fn reached(&mut self, without: Option<String>) {
        self.unreachable = without;
        self.back_off.reached();
    }
}

/// Everything that is remembered.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) host: HostLedger,
    pub(crate) tenants: BTreeMap<TenantName, TenantLedger>,
    /// Who is in the registry.
    pub(crate) registered: BTreeSet<TenantName>,
    /// Another number after each change.
    pub(crate) version: u64,
    /// The tenants of whom the disk has something older.
    unwritten: BTreeSet<TenantName>,
}

/// The ledger and its files: host.json and tenants/NAME.json.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    memory: Mutex<Memory>,
}

impl Store {
    /// Reads what is remembered in `directory`. A file that cannot be understood is set aside as NAME.spoiled and said: one
    /// spoiled file does not keep the others' tenants from being looked after, and its tenant keeps what it runs with.
    /// Without host.json no repository is followed until the host is initialised again; the tenants go on.
    ///
    /// # Errors
    /// The directory or a file cannot be read or made, or a spoiled file cannot be set aside.
    pub fn open(directory: &Path) -> Result<Self, FileError> {
        let tenants = directory.join("tenants");
        fs::create_dir_all(&tenants).map_err(FileError::new("create", &tenants))?;
        let host = match read(&directory.join("host.json"))? {
            Content::Understood(host) => host,
            Content::Absent => HostLedger::default(),
            Content::Spoiled(reason) => {
                tracing::error!("{reason}; no system repository is followed until: bitbuilder init --repository URL");
                HostLedger::default()
            }
        };
        let mut memory = Memory { registered: names(&host), host, ..Memory::default() };
        for entry in fs::read_dir(&tenants).map_err(FileError::new("list", &tenants))? {
            let entry = entry.map_err(FileError::new("list", &tenants))?;
            let name =
                entry.file_name().to_str().and_then(|file| file.strip_suffix(".json")?.parse::<TenantName>().ok());
            let Some(name) = name else { continue };
            match read(&entry.path())? {
                Content::Understood(ledger) => drop(memory.tenants.insert(name, TenantLedger::upgrade(ledger))),
                Content::Absent => {}
                Content::Spoiled(reason) => {
                    tracing::warn!(tenant = %name, "{reason}; it is looked at as if it were new");
                }
            }
        }
        Ok(Self { directory: directory.to_owned(), memory: Mutex::new(memory) })
    }

    /// Where the files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What is remembered now.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of one tenant.
    pub(crate) fn tenant(&self, tenant: &TenantName) -> Option<TenantLedger> {
        self.memory().tenants.get(tenant).cloned()
    }

    /// Changes what is remembered of one tenant; `change` sees everything else. On disk when this returns. Nothing if the
    /// tenant is not known or nothing changed.
    ///
    /// # Errors
    /// It cannot be written; what is in memory holds, and is written with the next change.
    pub(crate) fn change<R>(
        &self,
        tenant: &TenantName,
        change: impl FnOnce(&mut TenantLedger, &Memory) -> R,
    ) -> Result<Option<Changed<R>>, FileError> {
        let mut memory = self.memory();
        let changed = memory.change(tenant, change);
        self.write_out(&mut memory, tenant)?;
        Ok(changed)
    }

    /// The same, in memory only: for what nothing follows from before the next change, which is written with it, or
    /// [`Store::flush`].
    pub(crate) fn change_unwritten<R>(
        &self,
        tenant: &TenantName,
        change: impl FnOnce(&mut TenantLedger, &Memory) -> R,
    ) -> Option<Changed<R>> {
        self.memory().change(tenant, change)
    }

    /// Writes what is remembered of one tenant, if the disk has something older.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn flush(&self, tenant: &TenantName) -> Result<(), FileError> {
        self.write_out(&mut self.memory(), tenant)
    }

    fn write_out(&self, memory: &mut Memory, tenant: &TenantName) -> Result<(), FileError> {
        if let Some(ledger) = memory.tenants.get(tenant)
            && memory.unwritten.contains(tenant)
        {
            write(&self.directory.join(format!("tenants/{tenant}.json")), ledger)?;
            memory.unwritten.remove(tenant);
        }
        Ok(())
    }

    /// Remembers a tenant that was not known.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn remember(&self, tenant: &TenantName, ledger: TenantLedger) -> Result<(), FileError> {
        write(&self.directory.join(format!("tenants/{tenant}.json")), &ledger)?;
        let mut memory = self.memory();
        memory.version += 1;
        memory.tenants.insert(tenant.clone(), ledger);
        Ok(())
    }

    /// Changes what is remembered of the host. On disk when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn change_host<R>(&self, change: impl FnOnce(&mut HostLedger) -> R) -> Result<R, FileError> {
        let mut memory = self.memory();
        let mut after = memory.host.clone();
        let result = change(&mut after);
        if after != memory.host {
            write(&self.directory.join("host.json"), &after)?;
            memory.registered = names(&after);
            memory.version += 1;
            memory.host = after;
        }
        Ok(result)
    }
}

fn names(host: &HostLedger) -> BTreeSet<TenantName> {
    host.registry.iter().map(|entry| entry.name.clone()).collect()
}

impl Memory {
    fn change<R>(
        &mut self,
        tenant: &TenantName,
        change: impl FnOnce(&mut TenantLedger, &Self) -> R,
    ) -> Option<Changed<R>> {
        let before = self.tenants.get(tenant)?.clone();
        let mut ledger = before.clone();
        let result = change(&mut ledger, self);
        let changed = before != ledger;
        if changed {
            self.version += 1;
            self.tenants.insert(tenant.clone(), ledger.clone());
            self.unwritten.insert(tenant.clone());
        }
        Some(Changed { result, before, ledger, changed })
    }
}

/// What a change made.
pub(crate) struct Changed<R> {
    pub(crate) result: R,
    pub(crate) before: TenantLedger,
    pub(crate) ledger: TenantLedger,
    pub(crate) changed: bool,
}

/// What a file says.
enum Content<T> {
    Understood(T),
    Absent,
    /// It was set aside, for this reason.
    Spoiled(String),
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Content<T>, FileError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Content::Absent),
        Err(cause) => return Err(FileError::new("read", path)(cause)),
    };
    match serde_json::from_slice(&bytes) {
        Ok(content) => Ok(Content::Understood(content)),
        Err(cause) => {
            let aside = path.with_extension("spoiled");
            fs::rename(path, &aside).map_err(FileError::new("set aside", path))?;
            Ok(Content::Spoiled(format!("{} is spoiled and now {}: {cause}", path.display(), aside.display())))
        }
    }
}

fn write<T: Serialize>(path: &Path, content: &T) -> Result<(), FileError> {
    let bytes = serde_json::to_vec_pretty(content).map_err(|cause| FileError::new("serialise", path)(cause.into()))?;
    files::write_atomically(path, &bytes, 0o640).map(drop)
}

/// Microseconds since 1970.
pub(crate) fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> TenantName {
        "web".parse().unwrap()
    }

    fn open(directory: &Path) -> Store {
        Store::open(directory).unwrap()
    }

    fn generation(directory: &Path) -> u64 {
        open(directory).tenant(&name()).unwrap().generation
    }

    #[test]
    fn what_was_not_written_is_written_with_the_next_change_even_if_that_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.remember(&name(), TenantLedger::new(1)).unwrap();
        assert!(store.change_unwritten(&name(), |ledger, _| ledger.generation = 2).unwrap().changed);
        assert_eq!(generation(directory.path()), 0);
        assert!(!store.change(&name(), |_, _| ()).unwrap().unwrap().changed);
        assert_eq!(generation(directory.path()), 2);
        store.change_unwritten(&name(), |ledger, _| ledger.generation = 3).unwrap();
        store.flush(&name()).unwrap();
        assert_eq!(generation(directory.path()), 3);
        assert!(store.change_unwritten(&"mail".parse().unwrap(), |_, _| ()).is_none());
    }

    #[test]
    fn what_could_not_be_written_is_written_as_soon_as_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.remember(&name(), TenantLedger::new(1)).unwrap();
        let (tenants, aside) = (directory.path().join("tenants"), directory.path().join("aside"));
        fs::rename(&tenants, &aside).unwrap();
        assert!(store.change(&name(), |ledger, _| ledger.generation = 2).is_err());
        fs::rename(&aside, &tenants).unwrap();
        store.flush(&name()).unwrap();
        assert_eq!(generation(directory.path()), 2);
    }

    #[test]
    fn a_spoiled_tenant_is_set_aside_and_the_others_are_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let mail: TenantName = "mail".parse().unwrap();
        store.change_host(|host| host.reference = Some(Reference::main())).unwrap();
        for tenant in [&name(), &mail] {
            store.remember(tenant, TenantLedger::new(1)).unwrap();
        }
        let tenants = directory.path().join("tenants");
        fs::write(tenants.join("web.json"), "{ \"slot\": ").unwrap();
        let again = open(directory.path());
        assert!(again.tenant(&name()).is_none() && again.tenant(&mail).is_some());
        assert_eq!(again.memory().host.reference, Some(Reference::main()));
        assert_eq!(fs::read_to_string(tenants.join("web.spoiled")).unwrap(), "{ \"slot\": ");
        again.remember(&name(), TenantLedger::new(2)).unwrap();
        assert_eq!(open(directory.path()).tenant(&name()).unwrap().since_usec, 2);
    }

    #[test]
    fn a_spoiled_host_ledger_is_set_aside_and_the_tenants_are_still_known() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.remember(&name(), TenantLedger::new(1)).unwrap();
        fs::write(directory.path().join("host.json"), [0; 64]).unwrap();
        let again = open(directory.path());
        assert_eq!(again.memory().host, HostLedger::default());
        assert!(again.tenant(&name()).unwrap().registered);
        assert!(directory.path().join("host.spoiled").exists() && !directory.path().join("host.json").exists());
    }
}
