//! Asks the services what there is. One that does not answer makes its part unknown.

use crate::fault::{Blame, Fault};
use interfaces::{
    Method, extension, network, storage,
    tenant::{self, Instance},
};
use model::{
    ExtensionSpec, NetworkSpec, StorageSpec, TenantName,
    observed::{Held, Known, ObservedInstance, ObservedTenant},
};
use runtime::Client;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How old a look at everything may be for who asks next.
const FRESH: Duration = Duration::from_secs(1);

/// Looks at everything of one tenant, all parts at once.
pub(crate) async fn tenant(services: &Client, tenant: &TenantName) -> ObservedTenant {
    let name = || Some(tenant.clone());
    let (storage, network, extensions, instance) = tokio::join!(
        ask(services, storage::List { tenant: name() }),
        ask(services, network::List { tenant: name() }),
        ask(services, extension::List { tenant: name() }),
        ask(services, tenant::List { tenant: name() }),
    );
    ObservedTenant {
        storage: first(storage.map(|reply| reply.volumes), |held| Held {
            generation: held.generation,
            spec: held.spec,
            intact: held.intact,
        }),
        network: first(network.map(|reply| reply.attachments), |held| Held {
            generation: held.generation,
            spec: held.spec,
            intact: held.intact,
        }),
        extensions: first(extensions.map(|reply| reply.layers), |held| Held {
            generation: held.generation,
            spec: held.spec,
            intact: held.intact,
        }),
        instance: first(instance.map(|reply| reply.instances), |held| ObservedInstance {
            generation: held.generation,
            spec: held.spec,
            state: held.state,
            running: held.running,
            listening: held.listening,
        }),
    }
}

/// Everything of every tenant, asked for once.
#[derive(Debug)]
pub(crate) struct Everything {
    storage: Known<HashMap<TenantName, Held<StorageSpec>>>,
    network: Known<HashMap<TenantName, Held<NetworkSpec>>>,
    extensions: Known<HashMap<TenantName, Held<ExtensionSpec>>>,
    instance: Known<HashMap<TenantName, ObservedInstance>>,
    at: Instant,
}

/// Looks at every tenant, all parts at once.
pub(crate) async fn everything(services: &Client) -> Everything {
    let at = Instant::now();
    let (storage, network, extensions, instance) = tokio::join!(
        ask(services, storage::List { tenant: None }),
        ask(services, network::List { tenant: None }),
        ask(services, extension::List { tenant: None }),
        ask(services, tenant::List { tenant: None }),
    );
    Everything {
        storage: each(storage.map(|reply| reply.volumes), |held| {
            (held.tenant, Held { generation: held.generation, spec: held.spec, intact: held.intact })
        }),
        network: each(network.map(|reply| reply.attachments), |held| {
            (held.tenant, Held { generation: held.generation, spec: held.spec, intact: held.intact })
        }),
        extensions: each(extensions.map(|reply| reply.layers), |held| {
            (held.tenant, Held { generation: held.generation, spec: held.spec, intact: held.intact })
        }),
        instance: each(instance.map(|reply| reply.instances), |held| {
            let Instance { tenant, generation, spec, state, running, listening } = held;
            (tenant, ObservedInstance { generation, spec, state, running, listening })
        }),
        at,
    }
}

/// The last look at everything, for many tenants at a time: one look serves all who ask at about the same time.
#[derive(Debug, Default)]
pub(crate) struct Overview(tokio::sync::Mutex<Option<Arc<Everything>>>);

impl Overview {
    /// Everything as it was at most a second ago.
    pub(crate) async fn look(&self, services: &Client) -> Arc<Everything> {
        let mut last = self.0.lock().await;
        if let Some(everything) = last.as_ref().filter(|everything| everything.at.elapsed() < FRESH) {
            return Arc::clone(everything);
        }
        let everything = Arc::new(everything(services).await);
        *last = Some(Arc::clone(&everything));
        everything
    }

    /// Forgets it: nobody asks for some time.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

impl Everything {
    /// What was seen of one tenant, and when looking began.
    pub(crate) fn of(&self, tenant: &TenantName) -> (Instant, ObservedTenant) {
        fn part<T: Clone>(part: &Known<HashMap<TenantName, T>>, tenant: &TenantName) -> Known<Option<T>> {
            match part {
                Known::Known(held) => Known::Known(held.get(tenant).cloned()),
                Known::Unknown => Known::Unknown,
            }
        }
        let observed = ObservedTenant {
            storage: part(&self.storage, tenant),
            network: part(&self.network, tenant),
            extensions: part(&self.extensions, tenant),
            instance: part(&self.instance, tenant),
        };
        (self.at, observed)
    }
}

fn each<T, U>(reply: Option<Vec<T>>, held: impl Fn(T) -> (TenantName, U)) -> Known<HashMap<TenantName, U>> {
    reply.map_or(Known::Unknown, |items| Known::Known(items.into_iter().map(held).collect()))
}

async fn ask<M: Method>(services: &Client, list: M) -> Option<M::Reply>
where
    M::Error: Blame,
{
    match services.call(&list).await {
        Ok(reply) => Some(reply),
        Err(error) => {
            let fault = Fault::from(error);
            tracing::warn!(interface = M::CONTRACT.name, "not observed: {}", fault.reason());
            None
        }
    }
}

/// A service asked about one tenant answers with that one or none.
fn first<T, U>(reply: Option<Vec<T>>, held: impl FnOnce(T) -> U) -> Known<Option<U>> {
    reply.map_or(Known::Unknown, |items| Known::Known(items.into_iter().next().map(held)))
}
