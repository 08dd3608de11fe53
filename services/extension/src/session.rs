//! Calls of io.bitbuilder.Extension, answered by the layers.

use crate::{
    extensions::{ExtensionError, Extensions},
    mounts::Mounts,
};
use interfaces::{
    Method,
    extension::{Changed, Ensure, Error, Layers, List, Listed, Remove},
};
use model::TenantName;
use runtime::{Answer, Call};

/// One caller's conversation.
#[derive(Debug, Clone)]
pub struct Session<M> {
    extensions: Extensions<M>,
}

impl<M: Mounts> Session<M> {
    /// A conversation about these layers.
    #[must_use]
    pub fn new(extensions: Extensions<M>) -> Self {
        Self { extensions }
    }

    async fn ensure(&self, Ensure { tenant, generation, spec }: Ensure) -> Result<Changed, Error> {
        let changed = self.extensions.ensure(&tenant, generation, &spec).await;
        changed
            .map(|changed| Changed { changed })
            .map_err(|error| refuse(format!("make the layers of {tenant}"), error))
    }

    async fn remove(&self, Remove { tenant, generation }: Remove) -> Result<Changed, Error> {
        let changed = self.extensions.remove(&tenant, generation).await;
        changed
            .map(|changed| Changed { changed })
            .map_err(|error| refuse(format!("remove the layers of {tenant}"), error))
    }

    async fn list(&self, List { tenant }: List) -> Result<Vec<Layers>, Error> {
        let action = format!("look at the layers of {}", tenant.as_ref().map_or("all tenants", TenantName::as_str));
        self.extensions.list(tenant).await.map_err(|error| refuse(action, error))
    }
}

fn refuse(action: String, error: ExtensionError) -> Error {
    match error {
        ExtensionError::NoSuchExtension(name) => Error::NoSuchExtension { name },
        ExtensionError::InvalidImage { name, reason } => Error::InvalidImage { name, reason },
        ExtensionError::Incompatible { name, mismatch } => {
            Error::Incompatible { name, wants: mismatch.wants, tenant: mismatch.tenant }
        }
        ExtensionError::Stale(stale) => Error::StaleGeneration { generation: stale.generation, current: stale.current },
        ExtensionError::TooMany
        | ExtensionError::Twice(_)
        | ExtensionError::System(_)
        | ExtensionError::Links(_)
        | ExtensionError::Mount { .. }
        | ExtensionError::File(_)
        | ExtensionError::Task(_) => Error::Failed { action, reason: runtime::chain(&error) },
    }
}

impl<M: Mounts> runtime::Session for Session<M> {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            Ensure::NAME => call.answer(|parameters: Ensure| self.ensure(parameters)).await,
            Remove::NAME => call.answer(|parameters: Remove| self.remove(parameters)).await,
            List::NAME => call.list(|parameters: List| self.list(parameters), |layers| Listed { layers }).await,
            _ => call.not_served(),
        }
    }
}
