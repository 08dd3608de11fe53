//! What the services say there is. A service that does not answer makes its part unknown, which is never the same as
//! absent.

use crate::{
    desired::{ExtensionSpec, InstanceSpec, StorageSpec},
    network::NetworkSpec,
};
use serde::{Deserialize, Serialize};

/// Something that was looked at, or could not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known<T> {
    /// The owner answered.
    Known(T),
    /// The owner did not answer.
    Unknown,
}

/// Everything that is known of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedTenant {
    /// Its tree and root.
    pub storage: Known<Option<Held<StorageSpec>>>,
    /// Its bridge, addresses and forwards.
    pub network: Known<Option<Held<NetworkSpec>>>,
    /// Its layers.
    pub extensions: Known<Option<Held<ExtensionSpec>>>,
    /// Its processes.
    pub instance: Known<Option<ObservedInstance>>,
}

/// What a service holds for a tenant, and since which generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<T> {
    /// The generation of the call that made it so.
    pub generation: u64,
    /// What it holds.
    pub spec: T,
    /// Whether the machine still is as the service left it.
    pub intact: bool,
}

/// A tenant's unit and what it was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedInstance {
    /// The generation of the call that wrote `spec`.
    pub generation: u64,
    /// What the next start would run.
    pub spec: InstanceSpec,
    /// What the unit is doing.
    pub state: InstanceState,
    /// What is running, while something is.
    pub running: Option<InstanceSpec>,
    /// Whether it is listened for.
    pub listening: Listening,
}

/// The unit's ActiveState (systemd's D-Bus interface, org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Not started, or ended in order.
    Inactive,
    /// On its way up.
    Activating,
    /// Up and ready.
    Active,
    /// On its way down.
    Deactivating,
    /// Ended in failure.
    Failed,
}

/// Whether somebody listens on the ports that wake a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listening {
    /// Nobody.
    No,
    /// As is written down for it.
    AsWritten,
    /// On other ports, or for another time.
    Otherwise,
}

impl ObservedTenant {
    /// Nothing of the tenant exists.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            storage: Known::Known(None),
            network: Known::Known(None),
            extensions: Known::Known(None),
            instance: Known::Known(None),
        }
    }

    /// Whether it is one that is woken and does not run.
    #[must_use]
    pub fn sleeps(&self) -> bool {
        match &self.instance {
            Known::Known(Some(held)) => {
                held.spec.wake.is_some() && !matches!(held.state, InstanceState::Active | InstanceState::Activating)
            }
            Known::Known(None) | Known::Unknown => false,
        }
    }

    /// The highest generation that any owner has seen.
    #[must_use]
    pub fn generation(&self) -> u64 {
        fn of<T>(part: &Known<Option<T>>, generation: impl Fn(&T) -> u64) -> u64 {
            match part {
                Known::Known(Some(held)) => generation(held),
                Known::Known(None) | Known::Unknown => 0,
            }
        }
        of(&self.storage, |held| held.generation)
            .max(of(&self.network, |held| held.generation))
            .max(of(&self.extensions, |held| held.generation))
            .max(of(&self.instance, |held| held.generation))
    }
}
