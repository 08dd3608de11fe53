//! Calls of io.bitbuilder.Storage, answered by the volumes.

use crate::{
    instances::Instances,
    volumes::{VolumeError, Volumes},
};
use interfaces::{
    Method,
    storage::{
        Archive, Archived, Archives, Changed, Describe, Ensure, Error, Import, Imported, List, ListArchives, Listed,
        Remove, Volumes as Shown,
    },
};
use model::TenantName;
use runtime::{Answer, Call};
use std::os::fd::OwnedFd;

/// One caller's conversation.
#[derive(Debug, Clone)]
pub struct Session<I> {
    volumes: Volumes<I>,
}

impl<I: Instances> Session<I> {
    /// A conversation about these volumes.
    #[must_use]
    pub fn new(volumes: Volumes<I>) -> Self {
        Self { volumes }
    }

    async fn ensure(&self, Ensure { tenant, generation, spec }: Ensure) -> Result<Changed, Error> {
        let changed = self.volumes.ensure(&tenant, generation, &spec).await;
        changed
            .map(|changed| Changed { changed })
            .map_err(|error| refuse(&tenant, format!("make the storage of {tenant}"), error))
    }

    async fn archive(&self, Archive { tenant, generation, manifest }: Archive) -> Result<Archived, Error> {
        let archived = self.volumes.archive(&tenant, generation, &manifest).await;
        archived
            .map(|(path, changed)| Archived { changed, path: path.display().to_string() })
            .map_err(|error| refuse(&tenant, format!("archive the data of {tenant}"), error))
    }

    async fn remove(&self, Remove { tenant, generation }: Remove) -> Result<Changed, Error> {
        let changed = self.volumes.remove(&tenant, generation).await;
        changed
            .map(|changed| Changed { changed })
            .map_err(|error| refuse(&tenant, format!("remove the storage of {tenant}"), error))
    }

    async fn import(&self, wanted: Import, from: Option<OwnedFd>) -> Result<Imported, Error> {
        let Import { tenant, sha256, force, .. } = wanted;
        let reason = "no such file descriptor came with the call".to_owned();
        let from = from.ok_or(Error::RefusedArchive { reason })?;
        let sha256 = sha256.as_ref().map(AsRef::as_ref);
        let imported = self.volumes.import(&tenant, from.into(), sha256, force == Some(true)).await;
        imported
            .map(|(path, manifest)| Imported { path: path.display().to_string(), manifest })
            .map_err(|error| refuse(&tenant, format!("import the data of {tenant}"), error))
    }

    async fn list(&self, List { tenant }: List) -> Result<Vec<Shown>, Error> {
        let action = format!("look at the storage of {}", tenant.as_ref().map_or("all tenants", TenantName::as_str));
        self.volumes.list(tenant).await.map_err(|error| failed(action, &error))
    }
}

fn failed(action: String, error: &VolumeError) -> Error {
    Error::Failed { action, reason: runtime::chain(error) }
}

fn refuse(tenant: &TenantName, action: String, error: VolumeError) -> Error {
    match error {
        VolumeError::NoSuchImage(image) => Error::NoSuchImage { image },
        VolumeError::Stale(stale) => Error::StaleGeneration { generation: stale.generation, current: stale.current },
        VolumeError::InUse(tenant) => Error::InUse { tenant },
        VolumeError::NotOwned { tenant, path } => Error::NotOwned { tenant, path: path.display().to_string() },
        VolumeError::NoRoom { needed, free } => Error::NoRoom { needed, free },
        VolumeError::DataThere => Error::DataThere { tenant: tenant.clone() },
        VolumeError::RefusedArchive(reason) => Error::RefusedArchive { reason },
        VolumeError::Pack(_)
        | VolumeError::Obstacle(_)
        | VolumeError::Backend(_)
        | VolumeError::File(_)
        | VolumeError::Unknown { .. }
        | VolumeError::Task(_) => failed(action, &error),
    }
}

impl<I: Instances> runtime::Session for Session<I> {
    async fn call(&self, mut call: Call) -> Answer {
        let descriptors = std::mem::take(&mut call.descriptors);
        let descriptor = |index: u32| usize::try_from(index).ok().and_then(|index| descriptors.into_iter().nth(index));
        match call.name() {
            Archive::NAME => call.answer(|parameters: Archive| self.archive(parameters)).await,
            Remove::NAME => call.answer(|parameters: Remove| self.remove(parameters)).await,
            Import::NAME => {
                call.answer(|wanted: Import| {
                    let from = descriptor(wanted.file_descriptor_index);
                    self.import(wanted, from)
                })
                .await
            }
            ListArchives::NAME => {
                let list = |wanted: ListArchives| async move {
                    let listed = self.volumes.archives(wanted.tenant.as_ref());
                    listed.map_err(|error| failed("list the archives".to_owned(), &error))
                };
                call.list(list, |archives| Archives { archives }).await
            }
            Ensure::NAME => call.answer(|parameters: Ensure| self.ensure(parameters)).await,
            List::NAME => call.list(|parameters: List| self.list(parameters), |volumes| Listed { volumes }).await,
            Describe::NAME => {
                let shown = |error| failed("look at the images".to_owned(), &error);
                call.answer(|_: Describe| async { self.volumes.describe().await.map_err(shown) }).await
            }
            _ => call.not_served(),
        }
    }
}
