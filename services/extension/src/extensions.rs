//! Making tenants' layers match what was asked for. One change at a time for all tenants: they share the mounts, and what is
//! mounted and not linked yet must not be taken for what nobody needs.

use crate::{
    images::{self, Image, ImageError, Images},
    links::{self, NotALink},
    mounts::{MountError, Mounts},
    release::{self, Architecture, InvalidRelease, Mismatch, Release, Unfit},
};
use host::{
    files::{self, FileError},
    records::{Record, Records, StaleGeneration},
};
use interfaces::extension::Layers;
use model::{ExtensionName, ExtensionSpec, TenantName};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::{info, warn};

/// Where the links are, below a tenant's directory.
const LINKS: &str = "extensions/sysext";
/// Where digests are kept, beside the mounts. No extension's name begins with a dot.
const DIGESTS: &str = ".digests.json";
/// There once the layers of this boot are made, and gone with it like them.
const RESTORED: &str = ".restored";
/// Where a system says what it is, in the order of os-release(5).
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// Why layers could not be made.
#[derive(Debug, Error)]
pub enum ExtensionError {
    /// There is no such image.
    #[error("there is no extension image {0}")]
    NoSuchExtension(ExtensionName),
    /// The image cannot be used.
    #[error("the extension image {name} cannot be used: {reason}")]
    InvalidImage {
        /// Which.
        name: ExtensionName,
        /// In words.
        reason: String,
    },
    /// The image is for another system.
    #[error("the extension {name} does not fit")]
    Incompatible {
        /// Which.
        name: ExtensionName,
        /// How.
        #[source]
        mismatch: Mismatch,
    },
    /// The call is an old one.
    #[error(transparent)]
    Stale(#[from] StaleGeneration),
    /// More than can be kept in order.
    #[error("there are more than {} layers", links::MOST_LAYERS)]
    TooMany,
    /// An overlay cannot have a layer twice.
    #[error("{0} is there twice")]
    Twice(ExtensionName),
    /// What the tenant is cannot be told.
    #[error("the tenant's os-release cannot be read")]
    System(#[source] InvalidRelease),
    /// Something is where the links should be.
    #[error("something is in the way")]
    Links(#[from] NotALink),
    /// A layer cannot be mounted.
    #[error("cannot mount {name}")]
    Mount {
        /// Which.
        name: ExtensionName,
        /// Why.
        #[source]
        cause: MountError,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A thread of this process failed.
    #[error("a task failed")]
    Task(#[from] tokio::task::JoinError),
}

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The tenants' trees.
    pub tenants: PathBuf,
    /// Where images are, in order.
    pub images: Vec<PathBuf>,
    /// Below what they are mounted.
    pub mounts: PathBuf,
    /// The records.
    pub records: PathBuf,
}

/// The tenants' layers.
#[derive(Debug, Clone)]
pub struct Extensions<M> {
    paths: Paths,
    images: Images,
    records: Records<ExtensionSpec>,
    mounts: M,
    turn: Arc<Mutex<()>>,
}

impl<M: Mounts> Extensions<M> {
    /// The layers at these places.
    #[must_use]
    pub fn new(paths: Paths, mounts: M) -> Self {
        let images = Images::in_places(paths.images.clone(), paths.mounts.join(DIGESTS));
        let records = Records::swept(&paths.records);
        Self { paths, images, records, mounts, turn: Arc::default() }
    }

    /// Makes a tenant's layers match. Returns whether anything had to change.
    ///
    /// # Errors
    /// See [`ExtensionError`]. Calling again goes on where this call ended.
    pub async fn ensure(
        &self,
        tenant: &TenantName,
        generation: u64,
        spec: &ExtensionSpec,
    ) -> Result<bool, ExtensionError> {
        let _turn = self.turn.lock().await;
        let made = self.make(tenant, generation, spec).await;
        // Also after a refusal: to look into an image it has to be mounted.
        self.collect_garbage().await;
        let changes = made?;
        if changes > 0 {
            info!(%tenant, generation, layers = spec.sysext.len(), changes, "the tenant's layers are as asked");
        }
        Ok(changes > 0)
    }

    /// Makes the layers of all tenants as recorded, once in each boot: what was mounted is not any more. A tenant whose layers
    /// cannot be mounted is not started.
    ///
    /// # Errors
    /// The records cannot be listed.
    pub async fn restore(&self) -> Result<(), ExtensionError> {
        let done = self.paths.mounts.join(RESTORED);
        if done.exists() {
            return Ok(());
        }
        for tenant in self.records.tenants()? {
            let restored = async {
                match self.records.read(&tenant)? {
                    Some(Record { generation, spec }) if !spec.sysext.is_empty() => {
                        self.ensure(&tenant, generation, &spec).await
                    }
                    Some(_) | None => Ok(false),
                }
            };
            if let Err(fault) = restored.await {
                warn!(%tenant, "its layers are not restored: {}", runtime::chain(&fault));
            }
        }
        files::write_atomically(&done, b"", 0o644)?;
        Ok(())
    }

    /// Removes a tenant's layers. Returns whether there were any.
    ///
    /// # Errors
    /// See [`ExtensionError`]. Calling again goes on where this call ended.
    pub async fn remove(&self, tenant: &TenantName, generation: u64) -> Result<bool, ExtensionError> {
        let _turn = self.turn.lock().await;
        Record::accept(self.records.read(tenant)?.as_ref(), generation)?;
        let directory = self.links_of(tenant);
        for step in links::difference(&BTreeMap::new(), &links::read(&directory)?)? {
            links::apply(&directory, &step)?;
        }
        let removed = self.records.remove(tenant)?;
        self.collect_garbage().await;
        if removed {
            info!(%tenant, generation, "the tenant's layers are gone");
        }
        Ok(removed)
    }

    async fn make(&self, tenant: &TenantName, generation: u64, spec: &ExtensionSpec) -> Result<usize, ExtensionError> {
        let held = self.records.read(tenant)?;
        Record::accept(held.as_ref(), generation)?;
        check_order(spec)?;
        let directory = self.links_of(tenant);
        let (mut wanted, mut changes) = (BTreeMap::new(), 0);
        if !spec.sysext.is_empty() {
            let system = self.system_of(tenant)?;
            for (index, name) in spec.sysext.iter().enumerate() {
                let image = self.find(name).await?;
                changes += usize::from(self.mount(name, &image).await?);
                let layer = self.paths.mounts.join(&image.layer);
                check(name, &layer, &system)?;
                wanted.insert(links::name(index, name), layer);
            }
        }
        let steps = links::difference(&wanted, &links::read(&directory)?)?;
        changes += steps.len() + usize::from(held.is_none_or(|held| held.spec != *spec));
        // Before the first link: a call that was overtaken must not be accepted again after a kill.
        self.records.write(tenant, &Record { generation, spec: spec.clone() })?;
        for step in &steps {
            links::apply(&directory, step)?;
        }
        Ok(changes)
    }

    async fn find(&self, name: &ExtensionName) -> Result<Image, ExtensionError> {
        let (images, wanted) = (self.images.clone(), name.clone());
        // Reading a large image takes long.
        let found = tokio::task::spawn_blocking(move || images.find(&wanted)).await?;
        found.map_err(|cause| match cause {
            ImageError::Absent => ExtensionError::NoSuchExtension(name.clone()),
            ImageError::UnknownKind => invalid(name, &cause),
            ImageError::File(cause) => cause.into(),
        })
    }

    async fn mount(&self, name: &ExtensionName, image: &Image) -> Result<bool, ExtensionError> {
        if self.mounts.mounted()?.contains(&image.layer) {
            return Ok(false);
        }
        self.mounts.mount(image).await.map_err(|cause| match cause {
            MountError::Refused { .. } | MountError::NameTooLong => invalid(name, &cause),
            MountError::Systemd(_) | MountError::File(_) => ExtensionError::Mount { name: name.clone(), cause },
        })?;
        if image.is_unchanged() {
            return Ok(true);
        }
        // Otherwise this content would pass for the other one as long as it is mounted.
        let unmounted = self.mounts.unmount(&image.layer).await;
        unmounted.map_err(|cause| ExtensionError::Mount { name: name.clone(), cause })?;
        Err(invalid(name, &"it was replaced while it was being mounted; try again"))
    }

    /// What the tenant is. A link is not followed in a tree that belongs to the tenant: where it should lead is looked at
    /// next anyway.
    fn system_of(&self, tenant: &TenantName) -> Result<Release, ExtensionError> {
        let root = self.paths.tenants.join(tenant.as_str()).join("root");
        let [first, second] = OS_RELEASE.map(|path| files::read_beneath(&root, Path::new(path), release::LARGEST));
        Release::parse(&first.or(second)?).map_err(ExtensionError::System)
    }

    fn links_of(&self, tenant: &TenantName) -> PathBuf {
        self.paths.tenants.join(tenant.as_str()).join(LINKS)
    }

    /// Unmounts what no tenant's links name. That some of it stays is no fault of the call: the next one tries again.
    async fn collect_garbage(&self) {
        let needless = match self.needless() {
            Ok(needless) => needless,
            Err(cause) => return warn!("cannot tell which layers nobody needs: {}", runtime::chain(&cause)),
        };
        for layer in needless {
            match self.mounts.unmount(&layer).await {
                Ok(()) => info!(layer, "no tenant has this layer any more"),
                Err(cause) => warn!(layer, "cannot unmount a layer that nobody needs: {}", runtime::chain(&cause)),
            }
        }
    }

    fn needless(&self) -> Result<BTreeSet<String>, FileError> {
        let mut mounted = self.mounts.mounted()?;
        let list = || -> io::Result<Vec<PathBuf>> {
            fs::read_dir(&self.paths.tenants)?.map(|entry| Ok(entry?.path())).collect()
        };
        for tenant in list().map_err(FileError::new("list", &self.paths.tenants))? {
            for target in links::read(&tenant.join(LINKS))?.into_values().flatten() {
                if let Ok(layer) = target.strip_prefix(&self.paths.mounts) {
                    mounted.remove(layer.to_string_lossy().as_ref());
                }
            }
        }
        Ok(mounted)
    }

    /// What is held for one tenant or for all, as it is found now.
    ///
    /// # Errors
    /// A record cannot be read.
    pub async fn list(&self, tenant: Option<TenantName>) -> Result<Vec<Layers>, ExtensionError> {
        // A layer that is being looked into could not be unmounted.
        let _turn = self.turn.lock().await;
        let tenants = match tenant {
            Some(tenant) => vec![tenant],
            None => self.records.tenants()?,
        };
        let mounted = self.mounts.mounted()?;
        let mut held = Vec::new();
        for tenant in tenants {
            let Some(Record { generation, spec }) = self.records.read(&tenant)? else { continue };
            let intact = self.intact(&tenant, &spec, &mounted).await.unwrap_or(false);
            held.push(Layers { tenant, generation, spec, intact });
        }
        Ok(held)
    }

    /// Whether the links are the right ones, lead to mounts, and what is mounted fits the tenant as it is now.
    async fn intact(
        &self,
        tenant: &TenantName,
        spec: &ExtensionSpec,
        mounted: &BTreeSet<String>,
    ) -> Result<bool, ExtensionError> {
        let found = links::read(&self.links_of(tenant))?;
        if found.len() != spec.sysext.len() {
            return Ok(false);
        }
        for (index, name) in spec.sysext.iter().enumerate() {
            let Some(Some(target)) = found.get(&links::name(index, name)) else { return Ok(false) };
            let Ok(layer) = target.strip_prefix(&self.paths.mounts) else { return Ok(false) };
            let current = match self.find(name).await {
                Ok(image) => layer == Path::new(&image.layer),
                // What is mounted still works without its file.
                Err(ExtensionError::NoSuchExtension(_)) => images::is_layer_of(name, layer),
                Err(cause) => return Err(cause),
            };
            if !current || !mounted.contains(layer.to_string_lossy().as_ref()) {
                return Ok(false);
            }
            check(name, target, &self.system_of(tenant)?)?;
        }
        Ok(true)
    }
}

fn check_order(spec: &ExtensionSpec) -> Result<(), ExtensionError> {
    if spec.sysext.len() > links::MOST_LAYERS {
        return Err(ExtensionError::TooMany);
    }
    let mut seen = BTreeSet::new();
    let twice = spec.sysext.iter().find(|name| !seen.insert(*name));
    twice.map_or(Ok(()), |name| Err(ExtensionError::Twice(name.clone())))
}

/// Looks into a mounted layer and compares what it extends with the tenant's system.
fn check(name: &ExtensionName, layer: &Path, system: &Release) -> Result<(), ExtensionError> {
    // systemd-sysext(8) refuses it too: the extension would change what it was checked against.
    match files::read_beneath(layer, Path::new("usr/lib/os-release"), 0) {
        Err(absent) if absent.is_absent() => {}
        Ok(_) | Err(_) => return Err(invalid(name, &"it has an os-release of its own")),
    }
    let path = format!("usr/lib/extension-release.d/extension-release.{name}");
    let bytes = files::read_beneath(layer, Path::new(&path), release::LARGEST).map_err(|cause| {
        let reason = if cause.is_absent() { "it is not there".to_owned() } else { cause.cause.to_string() };
        invalid(name, &format_args!("/{path}: {reason}"))
    })?;
    let extension = Release::parse(&bytes).map_err(|cause| invalid(name, &format_args!("/{path}: {cause}")))?;
    release::fits(&extension, system, Architecture::native()).map_err(|unfit| match unfit {
        Unfit::SaysNothing => invalid(name, &unfit),
        Unfit::Mismatch(mismatch) => ExtensionError::Incompatible { name: name.clone(), mismatch },
    })
}

fn invalid(name: &ExtensionName, reason: &dyn std::fmt::Display) -> ExtensionError {
    ExtensionError::InvalidImage { name: name.clone(), reason: reason.to_string() }
}
