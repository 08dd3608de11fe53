//! The files of one commit, or of a working tree, and what a repository of either kind says in them.

use crate::{
    config::{self, Config, Owner},
    diagnostic::{self, Diagnostic},
    document::Document,
    hooks::HookSpec,
    manifest::{self, Manifest},
    names::TenantName,
    noticing::Noticing,
    notification::{self, Notifications, Target},
    policy::{PolicyFile, PolicyName},
    registry::{self, Registration, Registry},
    request,
    secrets::{self, SealedSecrets, SecretSpec},
    services::{self, Service},
    signer::{self, Signer, SignerName, Trust},
};
use std::collections::{BTreeMap, BTreeSet};

/// What files are called whose repository is not known by a name.
const NAMELESS: &str = "repository";

/// Files by their path from the repository's root.
pub trait Tree {
    /// What a file holds; nothing if there is none.
    ///
    /// # Errors
    /// Why it cannot be read, for the repository's owner: it is a directory, a link that leads out of the tree, too large.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String>;

    /// Whether there is such a file.
    fn has(&self, path: &str) -> bool;

    /// Whether there is a file that can be run, as far as that is known.
    ///
    /// # Errors
    /// Why it cannot be run, for the repository's owner.
    fn is_program(&self, path: &str) -> Result<(), String> {
        if self.has(path) { Ok(()) } else { Err(format!("the repository has no file {path}")) }
    }

    /// Shows each file at or below `path`, in the order of their paths: whether it may be executed, and what it holds. Nothing
    /// is shown if there is nothing.
    ///
    /// # Errors
    /// Why not all of them can be shown: one is a link, or they hold more than `most` bytes.
    fn each(&self, path: &str, most: usize, see: &mut dyn FnMut(&str, bool, &[u8])) -> Result<(), String> {
        let _ = (most, see);
        Err(format!("nobody looks for files below {path} here"))
    }
}

/// What a tenant's repository asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// metadata.json.
    pub manifest: Document<Manifest>,
    /// .gitops/config.yaml, if there is one.
    pub config: Option<Document<Config>>,
    /// secrets/sealed-secrets.yaml, if there is one.
    pub secrets: Option<Document<SealedSecrets>>,
    /// What each of its services is started with.
    pub services: Vec<Service>,
}

impl Request {
    /// Reads the files of `repository` (the empty name for a work tree) and checks what can be checked without a host.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn read(repository: &str, tree: &dyn Tree) -> Result<Self, Vec<Diagnostic>> {
        match Self::examine(repository, tree) {
            (Some(request), faults) if faults.is_empty() => Ok(request),
            (_, faults) => Err(faults),
        }
    }

    /// Reads the files of a tenant's repository, or without a name of the tenant's that metadata.json names.
    ///
    /// # Errors
    /// Every fault of every file, said of the repository by its tenant's name if that could be read.
    pub fn read_for(tenant: Option<&TenantName>, tree: &dyn Tree) -> Result<(TenantName, Self), Vec<Diagnostic>> {
        let named = match tenant {
            Some(tenant) => tenant.clone(),
            None => Self::read(NAMELESS, tree)?.manifest.content.tenant.name,
        };
        Self::read(named.as_str(), tree).map(|request| (named, request))
    }

    /// As [`Request::read`], for who wants to know all that is wrong: what could be read, and every fault so far.
    #[must_use]
    pub fn examine(repository: &str, tree: &dyn Tree) -> (Option<Self>, Vec<Diagnostic>) {
        let mut faults = Vec::new();
        let manifest = keep(
            &mut faults,
            required(repository, tree, manifest::PATH).and_then(|(origin, bytes)| Document::json(&origin, &bytes)),
        );
        let config = read_config(repository, tree, Owner::Tenant, &mut faults);
        let secrets = keep(&mut faults, sealed_secrets(repository, tree)).flatten();
        if let Some(manifest) = &manifest {
            faults.extend(request::check(manifest, config.as_ref(), tree));
        }
        let request = manifest.map(|manifest| {
            let sealed: Vec<SecretSpec> =
                secrets.iter().flat_map(|file| &file.content.secrets).map(Into::into).collect();
            let services = services::read(tree, &distinct(&manifest.content.services.systemd), &sealed);
            Self { manifest, config, secrets, services }
        });
        (request, diagnostic::in_order(faults))
    }

    /// How its new commits are noticed.
    #[must_use]
    pub fn noticing(&self) -> Noticing {
        noticing(self.config.as_ref())
    }

    /// Its scripts that run around changes.
    #[must_use]
    pub fn hooks(&self) -> Vec<HookSpec> {
        self.config.as_ref().map(|config| config.content.hooks.specs()).unwrap_or_default()
    }

    /// What its configuration says, or what holds if it says nothing.
    #[must_use]
    pub fn settings(&self) -> config::Verify {
        self.config.as_ref().map(|config| config.content.verify.clone()).unwrap_or_default()
    }
}

/// What the system repository says.
#[derive(Debug, Clone)]
pub struct System {
    /// Its tenants.
    pub registrations: Vec<Registration>,
    /// Who is told what becomes of commits.
    pub notifications: Vec<Target>,
    /// .gitops/config.yaml, if there is one.
    pub config: Option<Document<Config>>,
}

impl System {
    /// How its new commits are noticed.
    #[must_use]
    pub fn noticing(&self) -> Noticing {
        noticing(self.config.as_ref())
    }

    /// Reads the files of `repository` (the empty name for a work tree) and checks what can be checked without a host.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn read(repository: &str, tree: &dyn Tree) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let registry: Option<Document<Registry>> = keep(
            &mut faults,
            required(repository, tree, registry::PATH).and_then(|(origin, bytes)| Document::json(&origin, &bytes)),
        );
        let config = read_config(repository, tree, Owner::System, &mut faults);
        let registrations = registry.and_then(|registry| {
            let names = registry.content.tenants.iter().map(|entry| &entry.policy).chain([&registry.content.policy]);
            let names: BTreeSet<PolicyName> = names.flatten().cloned().collect();
            let (mut files, mut broken) = (BTreeMap::new(), BTreeSet::new());
            for name in names {
                match optional(repository, tree, &name.path()) {
                    Ok(None) => {}
                    Ok(Some((origin, bytes))) => match keep(&mut faults, Document::<PolicyFile>::json(&origin, &bytes))
                    {
                        Some(file) => drop(files.insert(name, file)),
                        None => drop(broken.insert(name)),
                    },
                    Err(fault) => {
                        faults.push(fault);
                        broken.insert(name);
                    }
                }
            }
            keep(&mut faults, registry::resolve(&registry, &files, |name| broken.contains(name)))
        });
        let registrations = registrations.map(|registrations| trusted(repository, tree, registrations, &mut faults));
        let notifications = read_notifications(repository, tree, registrations.as_deref(), &mut faults);
        match registrations {
            Some(registrations) if faults.is_empty() => Ok(Self { registrations, notifications, config }),
            Some(_) | None => Err(diagnostic::in_order(faults)),
        }
    }
}

fn noticing(config: Option<&Document<Config>>) -> Noticing {
    config.map(|config| Noticing::from(&config.content.sync)).unwrap_or_default()
}

/// Reads secrets/sealed-secrets.yaml of `repository`, if there is one.
///
/// # Errors
/// Every fault of it. None shows what it holds.
pub fn sealed_secrets(repository: &str, tree: &dyn Tree) -> Result<Option<Document<SealedSecrets>>, Vec<Diagnostic>> {
    let found = optional(repository, tree, secrets::PATH).map_err(|fault| vec![fault])?;
    let Some((origin, bytes)) = found else { return Ok(None) };
    let document = Document::yaml_unshown(&origin, &bytes)?;
    let faults = secrets::check(&document);
    if faults.is_empty() { Ok(Some(document)) } else { Err(faults) }
}

/// Who is told, of the tenants of a registry that could be read.
fn read_notifications(
    repository: &str,
    tree: &dyn Tree,
    registrations: Option<&[Registration]>,
    faults: &mut Vec<Diagnostic>,
) -> Vec<Target> {
    let document: Option<Document<Notifications>> = match optional(repository, tree, notification::PATH) {
        Ok(file) => file.and_then(|(origin, bytes)| keep(faults, Document::json(&origin, &bytes))),
        Err(fault) => {
            faults.push(fault);
            None
        }
    };
    document.and_then(|document| keep(faults, notification::resolve(&document, registrations))).unwrap_or_default()
}

/// Each registration with the keys of those who may sign.
fn trusted(
    repository: &str,
    tree: &dyn Tree,
    mut registrations: Vec<Registration>,
    faults: &mut Vec<Diagnostic>,
) -> Vec<Registration> {
    let mut known: BTreeMap<SignerName, Signer> = BTreeMap::new();
    let revoked = read_keys(repository, tree, signer::REVOKED, signer::ssh_keys, faults);
    for registration in &mut registrations {
        let limit = &registration.policy.signers;
        for name in &limit.most {
            if !known.contains_key(name) {
                known.insert(name.clone(), read_signer(repository, tree, name, &limit.place, faults));
            }
        }
        let signers: Vec<Signer> = limit.most.iter().filter_map(|name| known.get(name).cloned()).collect();
        if !signers.is_empty() {
            registration.trust = Some(Trust { signers, revoked: revoked.clone().unwrap_or_default() });
        }
    }
    registrations
}

fn read_signer(
    repository: &str,
    tree: &dyn Tree,
    name: &SignerName,
    place: &str,
    faults: &mut Vec<Diagnostic>,
) -> Signer {
    let before = faults.len();
    let [ssh, openpgp] = name.paths();
    let keys = read_keys(repository, tree, &ssh, signer::ssh_keys, faults);
    let certificate = read_keys(repository, tree, &openpgp, signer::certificate, faults);
    let signer =
        Signer { name: name.clone(), ssh: keys.unwrap_or_default(), openpgp: certificate.into_iter().collect() };
    if signer.ssh.is_empty() && signer.openpgp.is_empty() && faults.len() == before {
        let message = format!("{place} names {name}, and there is no key here nor in {openpgp}");
        faults.push(Diagnostic::of_file(&format!("{repository}:{ssh}"), &message));
    }
    signer
}

fn read_keys<T>(
    repository: &str,
    tree: &dyn Tree,
    path: &str,
    parse: fn(&str, &[u8]) -> Result<T, Vec<Diagnostic>>,
    faults: &mut Vec<Diagnostic>,
) -> Option<T> {
    match optional(repository, tree, path) {
        Ok(file) => file.and_then(|(origin, bytes)| keep(faults, parse(&origin, &bytes))),
        Err(fault) => {
            faults.push(fault);
            None
        }
    }
}

fn read_config(
    repository: &str,
    tree: &dyn Tree,
    owner: Owner,
    faults: &mut Vec<Diagnostic>,
) -> Option<Document<Config>> {
    match optional(repository, tree, config::PATH) {
        Ok(None) => None,
        Ok(Some((origin, bytes))) => {
            let document = keep(faults, Document::yaml(&origin, &bytes))?;
            faults.extend(config::check(&document, owner));
            Some(document)
        }
        Err(fault) => {
            faults.push(fault);
            None
        }
    }
}

/// Each once, where it stands first.
pub(crate) fn distinct<T: Clone + Ord>(items: &[T]) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.iter().filter(|item| seen.insert(*item)).cloned().collect()
}

/// `repository:path`, or the path alone of a work tree that has no name.
fn origin(repository: &str, path: &str) -> String {
    if repository.is_empty() { path.to_owned() } else { format!("{repository}:{path}") }
}

type File = (String, Vec<u8>);

fn optional(repository: &str, tree: &dyn Tree, path: &str) -> Result<Option<File>, Diagnostic> {
    let origin = origin(repository, path);
    match tree.read(path) {
        Ok(bytes) => Ok(bytes.map(|bytes| (origin, bytes))),
        Err(reason) => Err(Diagnostic::of_file(&origin, &reason)),
    }
}

fn required(repository: &str, tree: &dyn Tree, path: &str) -> Result<File, Vec<Diagnostic>> {
    let absent = || Diagnostic::of_file(&origin(repository, path), "there is no such file");
    optional(repository, tree, path).map_err(|fault| vec![fault])?.ok_or_else(|| vec![absent()])
}

fn keep<T>(faults: &mut Vec<Diagnostic>, read: Result<T, Vec<Diagnostic>>) -> Option<T> {
    read.map_err(|found| faults.extend(found)).ok()
}
