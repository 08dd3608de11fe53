//! Where things are on the host. Tenants' names and revisions are checked types, so no path leads out of its directory.

use model::{ImageName, Revision, TenantName};
use std::path::{Path, PathBuf};

/// The host's file system, or a directory that stands for it.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Paths below `root`, which is `/` but for tests.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What each tenant's start runs, for those that are started at boot.
    #[must_use]
    pub fn compiled(&self) -> PathBuf {
        self.root.join("var/lib/bitbuilder/boot")
    }

    /// The same for tenants that were told to stop. On the same file system, so that a record can be renamed over.
    #[must_use]
    pub fn stopped(&self) -> PathBuf {
        self.root.join("var/lib/bitbuilder/boot/stopped")
    }

    /// What each tenant was started with.
    #[must_use]
    pub fn running(&self) -> PathBuf {
        self.root.join("run/bitbuilder/instances")
    }

    /// Why a tenant was not shown what it should have.
    #[must_use]
    pub fn not_shown(&self, tenant: &TenantName) -> PathBuf {
        self.running().join(format!("{tenant}.not-shown"))
    }

    /// Why a hook of a tenant failed.
    #[must_use]
    pub fn hook_failure(&self, tenant: &TenantName) -> PathBuf {
        self.running().join(format!("{tenant}.hook-failure"))
    }

    /// What the roots that are about to be made are for.
    #[must_use]
    pub fn to_provision(&self) -> PathBuf {
        self.running().join("to-provision")
    }

    /// Where the sandbox of a tenant's hook is put together.
    #[must_use]
    pub fn sandbox(&self, tenant: &TenantName) -> PathBuf {
        self.root.join(format!("run/bitbuilder/sandboxes/{tenant}"))
    }

    /// A base image.
    #[must_use]
    pub fn image(&self, image: &ImageName) -> PathBuf {
        self.root.join(format!("var/lib/machines/{image}"))
    }

    /// The files of one commit of a tenant's repository. Whoever pushed chose everything below.
    #[must_use]
    pub fn checkout(&self, tenant: &TenantName, revision: &Revision) -> PathBuf {
        self.checkouts().join(format!("{tenant}/checkouts/{revision}"))
    }

    /// Where all tenants' checkouts are, filled by git-sync.
    #[must_use]
    pub fn checkouts(&self) -> PathBuf {
        self.root.join("var/lib/bitbuilder/git")
    }

    /// The tenant's root volume. The tenant chose everything below.
    #[must_use]
    pub fn tenant_root(&self, tenant: &TenantName) -> PathBuf {
        self.tenant(tenant).join("root")
    }

    /// The tenant's persistent data.
    #[must_use]
    pub fn data(&self, tenant: &TenantName) -> PathBuf {
        self.tenant(tenant).join("data")
    }

    /// The view of the checkout that the tenant's next start shows.
    #[must_use]
    pub fn config(&self, tenant: &TenantName) -> PathBuf {
        self.tenant(tenant).join("config")
    }

    /// What exists only while the tenant runs.
    #[must_use]
    pub fn runtime(&self, tenant: &TenantName) -> PathBuf {
        self.tenant(tenant).join("runtime")
    }

    /// The links to the tenant's system extensions, made by the extension service.
    #[must_use]
    pub fn extension_links(&self, tenant: &TenantName) -> PathBuf {
        self.tenant(tenant).join("extensions/sysext")
    }

    /// The only directory that those links may point into.
    #[must_use]
    pub fn extension_mounts(&self) -> PathBuf {
        self.root.join("run/bitbuilder/extensions")
    }

    /// The directory of the tenant's own socket.
    #[must_use]
    pub fn guest(&self, tenant: &TenantName) -> PathBuf {
        self.root.join(format!("run/bitbuilder/guest/{tenant}"))
    }

    /// Unit files that go with the next boot.
    #[must_use]
    pub fn units(&self) -> PathBuf {
        self.root.join("run/systemd/system")
    }

    /// Unit files that were made at boot.
    #[must_use]
    pub fn generated(&self) -> PathBuf {
        self.root.join("run/systemd/generator")
    }

    /// How often repositories are polled, for the next boot.
    #[must_use]
    pub fn polling(&self) -> PathBuf {
        self.compiled().join(boot::polling::FILE)
    }

    fn tenant(&self, tenant: &TenantName) -> PathBuf {
        self.root.join(format!("var/lib/tenants/{tenant}"))
    }
}
