//! Where something on this host comes from: whose it is, and the line of the commit that asks for it.

mod find;
mod meaning;

use crate::engine::Engine;
use find::{Found, Spot};
use host::worktree::WorkTree;
use interfaces::{
    git_sync,
    orchestrator::{Error, Origin},
};
use model::{
    Revision,
    claim::Claim,
    document::{Document, Step},
    manifest::{self, Manifest},
    names::RepositoryName,
    path, registry,
    tree::Tree,
};
use std::path::Path;

impl Engine {
    /// Where what `what` names comes from: an answer for each thing that it can mean.
    pub(crate) async fn trace(&self, what: &str) -> Result<Vec<Origin>, Error> {
        let found = {
            let memory = self.store.memory();
            meaning::meanings(what).iter().flat_map(|meaning| find::find(&memory, meaning)).collect::<Vec<Found>>()
        };
        let mut origins: Vec<Origin> = Vec::new();
        for found in found {
            let origin = self.origin(found).await;
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        if origins.is_empty() { Err(Error::NoSuchObject { what: what.to_owned() }) } else { Ok(origins) }
    }

    async fn origin(&self, found: Found) -> Origin {
        let place = self.place(&found).await;
        let memory = self.store.memory();
        let Found { tenant, what, revision, .. } = found;
        let entry = tenant.as_ref().and_then(|tenant| memory.host.registry.iter().find(|entry| entry.name == *tenant));
        let repository = match &tenant {
            Some(_) => entry.map(|entry| entry.repository.clone()),
            None => memory.host.url.clone(),
        };
        let system_revision = memory.host.revision.clone();
        Origin {
            what,
            repository,
            revision,
            place,
            registered: entry.map(|entry| entry.place.clone()),
            tenant,
            system_revision,
        }
    }

    /// The line in the commit's own files, which do not change once they are checked out. Of a commit that trust or policy
    /// refused nothing is checked out, whoever asks.
    async fn place(&self, found: &Found) -> Option<String> {
        if !find::is_admitted(&self.store.memory(), found) {
            return None;
        }
        let repository = found.tenant.as_ref().map_or_else(RepositoryName::system, RepositoryName::from);
        let revision = found.revision.clone()?;
        let checkout = git_sync::Checkout { repository: repository.clone(), revision };
        match self.services.call(&checkout).await {
            Ok(made) => place(&repository, &WorkTree::at(Path::new(&made.path)), &found.spot),
            Err(error) => {
                tracing::info!(%repository, "a place is not known: {}", runtime::chain(&error));
                None
            }
        }
    }
}

/// `repository:path:line` of a spot in these files.
fn place(repository: &RepositoryName, files: &dyn Tree, spot: &Spot) -> Option<String> {
    if let Spot::Registry = spot {
        return Some(format!("{repository}:{}:1", registry::PATH));
    }
    if let Spot::UnitFile(unit) = spot {
        let shipped = unit.shipped_as().into_iter().map(|file| format!("units/{file}")).find(|path| files.has(path))?;
        return Some(format!("{repository}:{shipped}:1"));
    }
    let bytes = files.read(manifest::PATH).ok()??;
    let manifest: Document<Manifest> = Document::json(&format!("{repository}:{}", manifest::PATH), &bytes).ok()?;
    let way: Vec<Step<'static>> = match spot {
        Spot::Name => path!["tenant", "name"].to_vec(),
        Spot::Network => path!["network"].to_vec(),
        Spot::Claim(claim) => Claim::of(&manifest.content).into_iter().find(|(own, _)| own == claim)?.1,
        Spot::Service(unit) => {
            let index = manifest.content.services.systemd.iter().position(|own| own == unit)?;
            path!["services", "systemd", index].to_vec()
        }
        Spot::Registry | Spot::UnitFile(_) => return None,
    };
    Some(manifest.place(&way))
}

/// The short form of a commit for people.
fn short(revision: &Revision) -> &str {
    revision.short()
}

#[cfg(test)]
mod tests;
