//! Holds a request against everything that can refuse it: the registry, the other tenants, the machine, and what its own
//! repository allows a commit to disturb. The same for a commit that was pushed and for one that may be.

use crate::{manager, slots, store::Memory};
use interfaces::storage;
use model::{
    DesiredTenant, Diagnostic, ImageName, Revision, Size, TenantName,
    admission::{self, Host, Machine},
    identity::Slot,
    observed::{Known, ObservedTenant},
    registry::Registration,
    security::SecurityModules,
    tree::Request,
};
use planner::strategy::exceeded;
use runtime::Client;

/// What the machine has for a root that is not made yet.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    described: storage::Described,
    systemd: Option<u32>,
}

impl Ground {
    /// Nothing if the storage manager does not answer: what is not known refuses nobody.
    async fn look(services: &Client) -> Option<Self> {
        let (described, systemd) = tokio::join!(services.call(&storage::Describe {}), manager::version());
        match described {
            Ok(described) => Some(Self { described, systemd }),
            Err(error) => {
                tracing::warn!("the machine is not known: {}", runtime::chain(&error));
                None
            }
        }
    }

    /// The machine for who may need a root: nothing if the image that `held` last is the one that is asked for. Before that
    /// is known (`None`), only for who never held. `looked` is not looked for again.
    pub(crate) async fn for_image(
        services: &Client,
        asked: Option<&ImageName>,
        held: Option<&ImageName>,
        looked: Option<Self>,
    ) -> Option<Self> {
        let new_root = held.is_none_or(|held| asked.is_some_and(|asked| asked != held));
        match looked {
            Some(ground) => Some(ground),
            None if new_root => Self::look(services).await,
            None => None,
        }
    }

    /// The machine as a new root of `image` finds it.
    fn machine(&self, image: &ImageName) -> Option<Machine> {
        let images = &self.described.images;
        let found = images.iter().find(|held| held.name == *image);
        Some(Machine {
            images: images.iter().map(|held| held.name.clone()).collect(),
            free: Size::from_bytes(self.described.free)?,
            shares_images: found.is_some_and(|held| held.shared),
            image_size: found.and_then(|held| held.size).and_then(Size::from_bytes),
            systemd: self.systemd,
        })
    }
}

/// Turns a request into what the tenant should be.
pub(crate) fn admit(
    memory: &Memory,
    registration: &Registration,
    request: &Request,
    revision: &Revision,
    ground: Option<&Ground>,
    observed: &ObservedTenant,
) -> Result<DesiredTenant, Vec<Diagnostic>> {
    let tenant = &registration.name;
    let others = others(memory, tenant);
    let image = &request.manifest.content.image;
    let machine = ground.filter(|_| needs_root(observed, image)).and_then(|ground| ground.machine(image));
    let host =
        Host { others: &others, registered: &memory.registered, machine: machine.as_ref(), modules: Some(modules()) };
    let desired = admission::admit(request, registration, revision, &host)?;
    let ledger = memory.tenants.get(tenant);
    // What was admitted once is not refused for what the host makes of it since.
    let is_admitted = ledger.is_some_and(|ledger| ledger.target.as_ref() == Some(&desired));
    let slot = ledger.and_then(|ledger| ledger.slot).or_else(|| Slot::new(0));
    let exceeded = slot.filter(|_| !is_admitted).and_then(|slot| exceeded(request, &desired, slot, observed));
    exceeded.map_or(Ok(desired), |fault| Err(vec![fault]))
}

/// The security modules that this kernel runs. Where they are missing, what asks for them is said to have no effect.
fn modules() -> SecurityModules {
    SecurityModules { selinux: host::confinement::has_selinux(), apparmor: host::confinement::has_apparmor() }
}

/// What is wrong with a request of a tenant that cannot have uids of its own.
pub(crate) fn no_range(request: &Request) -> Diagnostic {
    Diagnostic::of_file(request.manifest.origin(), slots::NONE_FREE)
}

/// What the other tenants are made into, and what they go back to: until a commit has held, what the one before it had to
/// itself is nobody else's.
fn others<'a>(memory: &'a Memory, tenant: &TenantName) -> Vec<&'a DesiredTenant> {
    let others = memory.tenants.iter().filter(|(name, other)| *name != tenant && other.registered);
    others.flat_map(|(_, other)| [&other.target, &other.verified]).flatten().collect()
}

/// Whether a root of this image has yet to be made. If nobody says whether there is one, that refuses nobody.
fn needs_root(observed: &ObservedTenant, image: &ImageName) -> bool {
    match &observed.storage {
        Known::Known(Some(held)) => !held.intact || held.spec.image != *image,
        Known::Known(None) => true,
        Known::Unknown => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use model::tree::Tree;
    use planner::TenantLedger;

    /// The files of a tenant that asks for this port of the host's, or for none.
    pub(crate) struct Files(pub(crate) &'static str, pub(crate) Option<u16>);

    impl Tree for Files {
        fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
            let Self(name, port) = self;
            let forward = port.map_or(String::new(), |port| format!(r#"{{"host":{port},"tenant":80}}"#));
            let text = format!(
                r#"{{"version":"1.0","tenant":{{"name":"{name}","type":"container"}},"image":"debian","network":{{"forward":[{forward}]}}}}"#
            );
            Ok((path == "metadata.json").then(|| text.into_bytes()))
        }

        fn has(&self, _: &str) -> bool {
            false
        }
    }

    fn judged(
        memory: &Memory,
        name: &'static str,
        digit: char,
        port: Option<u16>,
    ) -> Result<DesiredTenant, Vec<Diagnostic>> {
        let mut entry = Registration::unregistered(name.parse().unwrap(), "git://h/r".parse().unwrap());
        entry.policy.ports.most = vec!["8000-8999".parse().unwrap()];
        let request = Request::read(name, &Files(name, port)).unwrap();
        let revision = digit.to_string().repeat(40).parse().unwrap();
        admit(memory, &entry, &request, &revision, None, &ObservedTenant::absent())
    }

    #[test]
    fn a_service_manager_that_does_not_say_its_version_leaves_the_other_checks() {
        let described = storage::Described { images: Vec::new(), free: 1 << 40 };
        let ground = Ground { described, systemd: None };
        let entry = Registration::unregistered("web".parse().unwrap(), "git://h/r".parse().unwrap());
        let request = Request::read("web", &Files("web", None)).unwrap();
        let judged =
            admit(&Memory::default(), &entry, &request, &Revision::unborn(), Some(&ground), &ObservedTenant::absent());
        let faults = judged.unwrap_err();
        assert!(faults.len() == 1 && faults[0].message.contains("this host has no image debian"), "{faults:?}");
    }

    #[test]
    fn what_a_tenant_may_go_back_to_is_held_until_its_next_commit_held() {
        let mut memory = Memory::default();
        let mut web = TenantLedger::new(0);
        web.admit(judged(&memory, "web", 'a', Some(8080)).unwrap());
        web.settle(1);
        web.admit(judged(&memory, "web", 'b', None).unwrap());
        memory.tenants.insert("web".parse().unwrap(), web.clone());
        let refused = judged(&memory, "mail", 'c', Some(8080)).unwrap_err();
        assert!(refused[0].message.contains("belongs to another tenant"), "{refused:?}");
        assert!(judged(&memory, "web", 'c', Some(8080)).is_ok(), "its own port is another's");
        web.settle(2);
        memory.tenants.insert("web".parse().unwrap(), web.clone());
        assert!(judged(&memory, "mail", 'c', Some(8080)).is_ok());
        web.admit(judged(&memory, "web", 'd', Some(8080)).unwrap());
        memory.tenants.insert("web".parse().unwrap(), web.clone());
        assert!(judged(&memory, "mail", 'c', Some(8080)).is_err());
        web.register(false, 2);
        memory.tenants.insert("web".parse().unwrap(), web);
        assert!(judged(&memory, "mail", 'c', Some(8080)).is_ok(), "who left holds nothing");
    }
}
