//! The verbs on a machine in memory: idempotent, repairing, and convergent from wherever a failure left off.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use interfaces::network::{Ensure, List, Remove};
use model::{
    Forward, NetworkSpec, Protocol, TenantName,
    identity::Slot,
    network::{LinkName, Port},
};
use network::{
    error::{MachineError, NetworkError},
    links::{Link, Links},
    machine::Machine,
    network::Network,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// A machine whose systemd-networkd makes what the files say when it is told to reload.
#[derive(Clone, Default)]
struct Fake {
    networkd: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    links: Links,
    table: Option<String>,
    /// After how many more calls one fails.
    fails_after: Option<usize>,
}

impl Fake {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn step(&self) -> Result<(), MachineError> {
        let mut state = self.state();
        match state.fails_after {
            Some(0) => Err(MachineError::Vanished),
            left => {
                state.fails_after = left.map(|left| left - 1);
                Ok(())
            }
        }
    }

    fn value(text: &str, key: &str) -> String {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap().to_owned()
    }
}

impl Machine for Fake {
    async fn links(&self) -> Result<Links, MachineError> {
        self.step()?;
        Ok(self.state().links.clone())
    }

    async fn converge(&self, _spec: &NetworkSpec) -> Result<(), MachineError> {
        self.reload().await
    }

    async fn reload(&self) -> Result<(), MachineError> {
        self.step()?;
        for entry in fs::read_dir(&self.networkd).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "netdev") {
                let name = Self::value(&fs::read_to_string(&path).unwrap(), "Name");
                let network = fs::read_to_string(path.with_extension("network")).unwrap();
                let address = Self::value(&network, "Address");
                let (address, prefix_length) = address.split_once('/').unwrap();
                let addresses = vec![(address.parse().unwrap(), prefix_length.parse().unwrap())];
                self.state().links.0.insert(name, Link { index: 1, up: true, addresses });
            }
        }
        Ok(())
    }

    async fn delete(&self, bridge: &LinkName) -> Result<bool, MachineError> {
        self.step()?;
        Ok(self.state().links.0.remove(bridge.as_str()).is_some())
    }

    async fn table(&self) -> Result<Option<Value>, MachineError> {
        self.step()?;
        Ok(self.state().table.as_ref().map(|rules| json!({ "nftables": [{ "chain": { "rules": rules } }] })))
    }

    async fn load(&self, rules: &str) -> Result<(), MachineError> {
        self.step()?;
        self.state().table = rules.contains("chain").then(|| rules.to_owned());
        Ok(())
    }
}

struct Host {
    directory: tempfile::TempDir,
    fake: Fake,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let networkd = directory.path().join("networkd");
        fs::create_dir(&networkd).unwrap();
        fs::create_dir(directory.path().join("records")).unwrap();
        fs::create_dir(directory.path().join("boot")).unwrap();
        Self { fake: Fake { networkd, state: Arc::default() }, directory }
    }

    fn records(&self) -> PathBuf {
        self.directory.path().join("records")
    }

    fn this_boot(&self) -> PathBuf {
        self.directory.path().join("boot")
    }

    /// Takes away what a boot takes away.
    fn reboot(&self) {
        for directory in [self.this_boot(), self.fake.networkd.clone()] {
            fs::remove_dir_all(&directory).unwrap();
            fs::create_dir(&directory).unwrap();
        }
        *self.fake.state() = State::default();
    }

    /// The service as it starts.
    fn service(&self) -> Network<Fake> {
        Network::new(&self.records(), &self.this_boot(), &self.fake.networkd, self.fake.clone())
    }

    async fn ensure(&self, tenant: &str, generation: u64, spec: &NetworkSpec) -> Result<bool, NetworkError> {
        let call = Ensure { tenant: name(tenant), generation, spec: spec.clone() };
        self.service().ensure(&call).await.map(|reply| reply.changed)
    }

    async fn remove(&self, tenant: &str, generation: u64) -> Result<bool, NetworkError> {
        self.service().remove(&Remove { tenant: name(tenant), generation }).await.map(|reply| reply.changed)
    }

    /// Each tenant with whether it is intact.
    async fn list(&self) -> Vec<(String, bool)> {
        let listed = self.service().list(&List { tenant: None }).await.unwrap();
        listed.into_iter().map(|held| (held.tenant.to_string(), held.intact)).collect()
    }

    fn is_bare(&self) -> bool {
        let empty = |path: &Path| fs::read_dir(path).unwrap().next().is_none();
        let state = self.fake.state();
        state.links.0.is_empty()
            && state.table.is_none()
            && empty(&self.records())
            && empty(&self.this_boot())
            && empty(&self.fake.networkd)
    }
}

fn name(text: &str) -> TenantName {
    text.parse().unwrap()
}

fn place(slot: u16, host_port: i64) -> NetworkSpec {
    let slot = Slot::new(slot).unwrap();
    let port = |number| Port::try_from(number).unwrap();
    NetworkSpec {
        bridge: slot.bridge(),
        gateway: slot.gateway(),
        prefix_length: model::identity::PREFIX_LENGTH,
        address: slot.address(),
        mac: slot.mac(),
        forwards: vec![Forward { host: port(host_port), tenant: port(80), protocol: Protocol::Tcp }],
        on_demand: false,
    }
}

fn intact(tenants: &[&str]) -> Vec<(String, bool)> {
    tenants.iter().map(|tenant| ((*tenant).to_owned(), true)).collect()
}

#[tokio::test]
async fn calling_again_changes_nothing() {
    let host = Host::new();
    assert!(!host.remove("web", 1).await.unwrap());
    assert!(host.is_bare());
    assert!(host.ensure("web", 1, &place(0, 80)).await.unwrap());
    assert!(!host.ensure("web", 1, &place(0, 80)).await.unwrap());
    assert!(!host.ensure("web", 2, &place(0, 80)).await.unwrap());
    assert_eq!(host.list().await, intact(&["web"]));
    assert!(host.ensure("web", 2, &place(0, 81)).await.unwrap());
    assert!(matches!(host.ensure("web", 1, &place(0, 80)).await, Err(NetworkError::Stale(_))));
    assert!(matches!(host.remove("web", 1).await, Err(NetworkError::Stale(_))));
    assert!(host.remove("web", 3).await.unwrap());
    assert!(!host.remove("web", 3).await.unwrap());
    assert!(host.is_bare());
}

/// Which ports wake a tenant is no rule, and is known all the same.
#[tokio::test]
async fn ports_that_wake_a_tenant_may_change() {
    let host = Host::new();
    for (generation, port) in [(1, 80), (2, 81)] {
        let woken = NetworkSpec { on_demand: true, ..place(0, port) };
        assert!(host.ensure("web", generation, &woken).await.unwrap());
        assert!(!host.ensure("web", generation, &woken).await.unwrap());
        assert_eq!(host.list().await, intact(&["web"]));
    }
}

#[tokio::test]
async fn what_somebody_else_did_is_noticed_and_repaired() {
    let host = Host::new();
    let file = host.fake.networkd.join("50-bitbuilder-web.network");
    let tamper: [&dyn Fn(); 5] = [
        &|| host.fake.state().table = None,
        &|| host.fake.state().table = Some("chain".to_owned()),
        &|| host.fake.state().links.0.clear(),
        &|| host.fake.state().links.0.values_mut().for_each(|link| link.addresses.clear()),
        &|| fs::remove_file(&file).unwrap(),
    ];
    host.ensure("web", 1, &place(0, 80)).await.unwrap();
    for (index, tamper) in tamper.iter().enumerate() {
        tamper();
        assert_eq!(host.list().await, [("web".to_owned(), false)], "{index}");
        assert!(host.ensure("web", 1, &place(0, 80)).await.unwrap(), "{index}");
        assert_eq!(host.list().await, intact(&["web"]), "{index}");
    }
}

#[tokio::test]
async fn one_tenant_is_nothing_to_another() {
    let host = Host::new();
    host.ensure("web", 1, &place(0, 80)).await.unwrap();
    host.ensure("web-2", 1, &place(1, 81)).await.unwrap();
    assert!(!host.ensure("web", 1, &place(0, 80)).await.unwrap());
    let taken = host.ensure("web-2", 2, &place(1, 80)).await;
    assert!(matches!(taken, Err(NetworkError::Conflict(conflict)) if conflict.tenant == name("web")));
    assert_eq!(host.list().await, intact(&["web", "web-2"]));
    host.remove("web", 1).await.unwrap();
    assert_eq!(host.list().await, intact(&["web-2"]));
    // What a tenant gave back is free.
    host.ensure("web-2", 2, &place(1, 80)).await.unwrap();
    host.remove("web-2", 2).await.unwrap();
    assert!(host.is_bare());
}

#[tokio::test]
async fn whatever_fails_the_next_call_finishes_it() {
    let (former, wanted) = (place(0, 80), place(1, 80));
    for fails_after in 0.. {
        let host = Host::new();
        host.ensure("other", 1, &place(2, 82)).await.unwrap();
        host.ensure("web", 1, &former).await.unwrap();
        host.fake.state().fails_after = Some(fails_after);
        let failed = host.ensure("web", 2, &wanted).await.is_err();
        host.fake.state().fails_after = None;
        // The one table is everybody's: while it is not known to be sound, nobody is intact. Nobody is lost either.
        assert_eq!(host.list().await.len(), 2, "{fails_after}");
        host.ensure("web", 2, &wanted).await.unwrap();
        assert_eq!(host.list().await, intact(&["other", "web"]), "{fails_after}");
        let links: Vec<_> = host.fake.state().links.0.keys().cloned().collect();
        assert!(!links.contains(&former.bridge.to_string()), "{fails_after}: {links:?}");

        host.fake.state().fails_after = Some(fails_after);
        let remove_failed = host.remove("web", 3).await.is_err();
        host.fake.state().fails_after = None;
        // It is either listed, so that it is removed again, or gone.
        let seen = host.list().await;
        assert_eq!(seen.iter().any(|(tenant, _)| tenant == "web"), remove_failed, "{fails_after}");
        host.remove("web", 3).await.unwrap();
        assert_eq!(host.list().await, intact(&["other"]), "{fails_after}");
        host.remove("other", 3).await.unwrap();
        assert!(host.is_bare(), "{fails_after}");
        if !failed && !remove_failed {
            assert!(fails_after > 3, "the verbs were not reached");
            break;
        }
    }
}

#[tokio::test]
async fn a_boot_takes_nothing_away_for_long() {
    let host = Host::new();
    host.ensure("web", 1, &place(0, 80)).await.unwrap();
    host.ensure("mail", 4, &place(1, 25)).await.unwrap();
    host.ensure("spoiled", 1, &place(2, 81)).await.unwrap();
    fs::write(host.records().join("spoiled.json"), "{").unwrap();
    // What cannot be had beside what comes before it.
    let other = serde_json::json!({ "generation": 1, "spec": place(0, 82) });
    fs::write(host.records().join("zoo.json"), other.to_string()).unwrap();
    host.reboot();
    host.service().restore().await.unwrap();
    let all = host.list().await;
    assert_eq!(all, [("mail".to_owned(), true), ("web".to_owned(), true), ("zoo".to_owned(), false)]);
    assert_eq!(host.fake.state().links.0.len(), 2);
    // Once in each boot: what somebody takes away later is not this call's.
    host.fake.state().links.0.clear();
    host.service().restore().await.unwrap();
    assert!(host.fake.state().links.0.is_empty());
    assert!(host.ensure("spoiled", 1, &place(2, 81)).await.unwrap(), "it can be written again");
}

#[tokio::test]
async fn without_rules_nobody_gets_a_bridge() {
    let host = Host::new();
    host.ensure("web", 1, &place(0, 80)).await.unwrap();
    host.reboot();
    host.fake.state().fails_after = Some(0);
    host.service().restore().await.unwrap_err();
    assert!(host.fake.state().links.0.is_empty());
    assert!(fs::read_dir(&host.fake.networkd).unwrap().next().is_none());
    host.fake.state().fails_after = None;
    host.service().restore().await.unwrap();
    assert_eq!(host.list().await, intact(&["web"]));
}
