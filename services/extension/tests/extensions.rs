//! The layers of several tenants in a temporary directory, with mounts that are directories.

#![allow(clippy::unwrap_used, reason = "the assertions of tests")]

use extension::{
    ExtensionError, Extensions, Paths,
    images::Image,
    mounts::{MountError, Mounts},
};
use host::files::FileError;
use model::{ExtensionSpec, TenantName};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Where the release file of an image begins, after its superblock.
const CONTENT: usize = 1028;

/// Mounts an image by unpacking the one file that it holds.
#[derive(Debug, Clone)]
struct Unpacked(PathBuf);

impl Mounts for Unpacked {
    fn mounted(&self) -> Result<BTreeSet<String>, FileError> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        Ok(entries.filter(|name| !name.starts_with('.')).collect())
    }

    async fn mount(&self, image: &Image) -> Result<(), MountError> {
        let bytes = fs::read(&image.path).unwrap();
        let (name, _digest) = image.layer.rsplit_once('-').unwrap();
        let directory = self.0.join(&image.layer).join("usr/lib/extension-release.d");
        fs::create_dir_all(&directory).unwrap();
        match &bytes[CONTENT..] {
            b"" => {}
            b"link" => symlink("/etc/os-release", directory.join(format!("extension-release.{name}"))).unwrap(),
            release => fs::write(directory.join(format!("extension-release.{name}")), release).unwrap(),
        }
        Ok(())
    }

    async fn unmount(&self, layer: &str) -> Result<(), MountError> {
        fs::remove_dir_all(self.0.join(layer)).unwrap();
        Ok(())
    }
}

struct World {
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        for name in ["images", "mounts"] {
            fs::create_dir(world.below(name)).unwrap();
        }
        for tenant in ["web", "mail"] {
            let top = world.below("tenants").join(tenant);
            fs::create_dir_all(top.join("extensions/sysext")).unwrap();
            fs::create_dir_all(top.join("root/usr/lib")).unwrap();
            fs::create_dir_all(top.join("root/etc")).unwrap();
            fs::write(top.join("root/usr/lib/os-release"), "ID=debian\nVERSION_ID=13\n").unwrap();
            symlink("../usr/lib/os-release", top.join("root/etc/os-release")).unwrap();
        }
        world
    }

    fn below(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn image(&self, name: &str, release: &str) {
        let mut bytes = vec![0; 1024];
        bytes.extend(0xE0F5_E1E2_u32.to_le_bytes());
        bytes.extend(release.as_bytes());
        fs::write(self.below("images").join(format!("{name}.raw")), bytes).unwrap();
    }

    fn extensions(&self) -> Extensions<Unpacked> {
        let paths = Paths {
            tenants: self.below("tenants"),
            images: vec![self.below("images")],
            mounts: self.below("mounts"),
            records: self.below("records"),
        };
        Extensions::new(paths, Unpacked(self.below("mounts")))
    }

    async fn ensure(&self, tenant: &str, generation: u64, names: &[&str]) -> Result<bool, ExtensionError> {
        self.extensions().ensure(&name(tenant), generation, &spec(names)).await
    }

    async fn intact(&self, tenant: &str) -> bool {
        self.extensions().list(Some(name(tenant))).await.unwrap()[0].intact
    }

    fn links(&self, tenant: &str) -> Vec<String> {
        listed(&self.below("tenants").join(tenant).join("extensions/sysext"))
    }

    fn mounted(&self) -> Vec<String> {
        Unpacked(self.below("mounts")).mounted().unwrap().into_iter().collect()
    }
}

fn name(tenant: &str) -> TenantName {
    tenant.parse().unwrap()
}

fn spec(names: &[&str]) -> ExtensionSpec {
    ExtensionSpec { sysext: names.iter().map(|name| name.parse().unwrap()).collect() }
}

fn listed(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn tenants_share_mounts_and_each_has_its_own_order() {
    let world = World::new();
    world.image("a", "ID=_any\n");
    world.image("b", "ID=debian\nVERSION_ID=13\n");
    assert!(world.ensure("web", 1, &["a", "b"]).await.unwrap());
    assert!(world.ensure("mail", 1, &["b"]).await.unwrap());
    assert!(!world.ensure("web", 2, &["a", "b"]).await.unwrap());
    assert_eq!(world.links("web"), ["00-a", "01-b"]);
    assert_eq!(world.links("mail"), ["00-b"]);
    assert_eq!(world.mounted().len(), 2);
    assert!(world.intact("web").await && world.intact("mail").await);

    assert!(world.ensure("web", 3, &["b", "a"]).await.unwrap());
    assert_eq!(world.links("web"), ["00-b", "01-a"]);
    assert!(world.ensure("web", 4, &["b"]).await.unwrap());
    assert_eq!(world.mounted().len(), 1, "nobody has a");
    assert!(world.ensure("web", 5, &[]).await.unwrap());
    assert_eq!(world.mounted().len(), 1, "mail has b");
    assert!(world.ensure("mail", 2, &[]).await.unwrap());
    assert!(world.mounted().is_empty());
    let stale = world.ensure("web", 4, &["a"]).await.unwrap_err();
    assert!(matches!(stale, ExtensionError::Stale(stale) if stale.current == 5));
}

#[tokio::test]
async fn what_does_not_fit_changes_nothing_and_leaves_nothing() {
    let world = World::new();
    world.image("good", "ID=_any\n");
    for (image, release) in [
        ("old", "ID=debian\nVERSION_ID=12\n"),
        ("foreign", "ID=_any\nARCHITECTURE=alpha\n"),
        ("silent", "VERSION_ID=13\n"),
        ("without", ""),
        ("linked", "link"),
        ("broken", "ID=$(reboot)\n"),
    ] {
        world.image(image, release);
    }
    fs::write(world.below("images/text.raw"), "not a file system\n".repeat(100)).unwrap();
    assert!(world.ensure("web", 1, &["good"]).await.unwrap());
    for (image, expected) in [
        (
            "old",
            "the extension old does not fit: it was made for ID=debian VERSION_ID=12, and the tenant is ID=debian VERSION_ID=13",
        ),
        ("foreign", "the extension foreign does not fit"),
        ("silent", "its release file has no ID="),
        ("without", "/usr/lib/extension-release.d/extension-release.without: it is not there"),
        ("linked", "/usr/lib/extension-release.d/extension-release.linked"),
        ("broken", "line 1 is not KEY=VALUE"),
        ("text", "neither a squashfs nor an EROFS"),
        ("absent", "there is no extension image absent"),
        ("good", "good is there twice"),
    ] {
        let refused = runtime::chain(&world.ensure("web", 2, &["good", image]).await.unwrap_err());
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(world.links("web"), ["00-good"]);
        assert_eq!(world.mounted().len(), 1, "{image} stayed mounted");
    }
    assert_eq!(world.extensions().list(None).await.unwrap()[0].generation, 1);
    assert!(world.intact("web").await);
}

#[tokio::test]
async fn whatever_happened_to_the_host_is_seen_and_repaired() {
    let world = World::new();
    world.image("a", "ID=debian\nVERSION_ID=13\n");
    world.ensure("web", 1, &["a"]).await.unwrap();
    // A reboot takes the mounts away.
    let layer = world.mounted().remove(0);
    fs::remove_dir_all(world.below("mounts").join(&layer)).unwrap();
    assert!(!world.intact("web").await);
    assert!(world.ensure("web", 1, &["a"]).await.unwrap());
    assert!(world.intact("web").await);
    // A kill between making a link and putting it in its place, or between mounting and linking.
    let links = world.below("tenants/web/extensions/sysext");
    symlink("/nowhere", links.join(".new")).unwrap();
    fs::create_dir(world.below("mounts/b-0000000000000000")).unwrap();
    assert!(!world.intact("web").await);
    assert!(world.ensure("web", 1, &["a"]).await.unwrap());
    assert_eq!((world.links("web"), world.mounted()), (vec!["00-a".to_owned()], vec![layer.clone()]));
    // Another content under the same name; none at all still works.
    world.image("a", "ID=_any\n");
    assert!(!world.intact("web").await);
    assert!(world.ensure("web", 1, &["a"]).await.unwrap());
    assert_ne!(world.mounted(), [layer]);
    fs::remove_file(world.below("images/a.raw")).unwrap();
    assert!(world.intact("web").await);
    // The tenant became another system.
    world.image("a", "ID=debian\nVERSION_ID=13\n");
    world.ensure("web", 2, &["a"]).await.unwrap();
    fs::write(world.below("tenants/web/root/usr/lib/os-release"), "ID=debian\nVERSION_ID=14\n").unwrap();
    assert!(!world.intact("web").await);
    assert!(matches!(world.ensure("web", 2, &["a"]).await.unwrap_err(), ExtensionError::Incompatible { .. }));
}
