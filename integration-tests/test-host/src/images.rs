//! What hosts are made of: a Debian tree for the host, one for its tenants, and layers with more of Debian and with our package installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::{Cache, key};
use crate::{apt, command};

const SUITE: &str = "forky";
const BUILD_IMAGE: &str = include_str!("../scripts/build-image.sh");
const BUILD_LAYER: &str = include_str!("../scripts/build-layer.sh");
const BUILD_PACKAGES: &str = include_str!("../scripts/build-packages.sh");
pub(crate) const HOST_PACKAGES: &str = include_str!("../scripts/host.packages");
const TENANT_PACKAGES: &str = include_str!("../scripts/tenant.packages");

/// The trees of one kind of host, in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    /// The lower layers of its root as overlayfs wants them: uppermost first.
    pub(crate) lower: String,
    /// The tree that becomes its tenant image.
    pub(crate) tenant: PathBuf,
}

impl Images {
    /// Builds what is missing. Without a package of ours the host is plain Debian, with `more` of Debian's packages.
    pub(crate) fn ensure(cache: &Cache, package: Option<&Path>, more: &[String]) -> Result<Self> {
        let mut plain = text(&image(cache, "host", HOST_PACKAGES)?)?.to_owned();
        if !more.is_empty() {
            plain = format!("{}:{plain}", text(&more_packages(cache, &plain, more)?)?);
        }
        Self::over(cache, plain, package)
    }

    /// The same over these layers of plain Debian.
    pub(crate) fn over(cache: &Cache, plain: String, package: Option<&Path>) -> Result<Self> {
        let tenant = image(cache, "tenant", TENANT_PACKAGES)?;
        let lower = match package {
            None => plain,
            Some(package) => format!("{}:{plain}", layer(cache, &plain, package)?.display()),
        };
        Ok(Self { lower, tenant })
    }
}

/// A Debian tree of this kind with these packages.
pub(crate) fn image(cache: &Cache, kind: &str, packages: &str) -> Result<PathBuf> {
    let packages = self::packages(packages).join(",");
    cache.ensure(kind, &key([kind, SUITE, &packages, BUILD_IMAGE]), |new| {
        apt::require(apt::FOR_IMAGES)?;
        command::build(BUILD_IMAGE, &[kind, text(new)?, SUITE, &packages])
    })
}

/// The layer that Debian's packages of these names are over others.
fn more_packages(cache: &Cache, lower: &str, names: &[String]) -> Result<PathBuf> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let parts = [&[lower, BUILD_PACKAGES], names.as_slice()].concat();
    cache.ensure("packages", &key(&parts), |new| {
        command::build(BUILD_PACKAGES, &[&[text(new)?, lower], names.as_slice()].concat())
    })
}

/// The names in a list of packages.
pub(crate) fn packages(list: &str) -> Vec<&str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

fn layer(cache: &Cache, base: &str, package: &Path) -> Result<PathBuf> {
    let content = fs::read(package).with_context(|| format!("reading the package {}", package.display()))?;
    let key = key([base.as_bytes(), &content, BUILD_LAYER.as_bytes()]);
    cache.ensure("package", &key, |new| command::build(BUILD_LAYER, &[text(new)?, base, text(package)?]))
}

/// A path as the text that scripts and mount options take.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not valid UTF-8", path.display()))
}

/// Builds every image that hosts in namespaces with this package, or without one, are made of.
pub fn build_images(package: Option<&Path>) -> Result<()> {
    Images::ensure(&Cache::open()?, package, &[]).map(drop)
}
