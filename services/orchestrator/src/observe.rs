//! Asks the services what there is. One that does not answer makes its part unknown.

use crate::fault::{Blame, Fault};
use interfaces::{Method, extension, network, storage, tenant};
use model::{
    TenantName,
    observed::{Held, Known, ObservedInstance, ObservedTenant},
};
use runtime::Client;

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
        }),
    }
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
