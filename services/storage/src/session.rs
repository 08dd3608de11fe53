//! Calls of io.bitbuilder.Storage, answered by the volumes.

use crate::{
    instances::Instances,
    volumes::{VolumeError, Volumes},
};
use interfaces::{
    Method,
    storage::{Changed, Describe, Ensure, Error, List, Listed, Volumes as Shown},
};
use model::TenantName;
use runtime::{Answer, Call};

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
            .map_err(|error| refuse(format!("make the storage of {tenant}"), error))
    }

    async fn list(&self, List { tenant }: List) -> Result<Vec<Shown>, Error> {
        let action = format!("look at the storage of {}", tenant.as_ref().map_or("all tenants", TenantName::as_str));
        self.volumes.list(tenant).map_err(|error| refuse(action, error))
    }
}

fn refuse(action: String, error: VolumeError) -> Error {
    match error {
        VolumeError::NoSuchImage(image) => Error::NoSuchImage { image },
        VolumeError::Stale(stale) => Error::StaleGeneration { generation: stale.generation, current: stale.current },
        VolumeError::InUse(tenant) => Error::InUse { tenant },
        VolumeError::Obstacle(_)
        | VolumeError::Backend(_)
        | VolumeError::File(_)
        | VolumeError::Unknown { .. }
        | VolumeError::Task(_) => Error::Failed { action, reason: runtime::chain(&error) },
    }
}

impl<I: Instances> runtime::Session for Session<I> {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            Ensure::NAME => call.answer(|parameters: Ensure| self.ensure(parameters)).await,
            List::NAME => call.list(|parameters: List| self.list(parameters), |volumes| Listed { volumes }).await,
            Describe::NAME => {
                let shown = |error| refuse("look at the images".to_owned(), error);
                call.answer(|_: Describe| async { self.volumes.describe().await.map_err(shown) }).await
            }
            _ => call.not_served(),
        }
    }
}
