//! The volumes on a real file system, whatever the temporary directory is on.

#![allow(clippy::unwrap_used, reason = "the assertions of tests")]
#![allow(clippy::disallowed_methods, reason = "tests run programs")]

use host::systemd::SystemdError;
use model::{StorageSpec, TenantName};
use rustix::fs::{AtFlags, CWD, XattrFlags, lgetxattr, lsetxattr, statat};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use storage::{Paths, VolumeError, Volumes, instances::Instances};
use tempfile::TempDir;

#[path = "volumes/removal.rs"]
mod removal;

const MARK: &str = "trusted.bitbuilder.image";

#[derive(Debug, Clone, Default)]
struct Fake(Arc<AtomicBool>);

impl Instances for Fake {
    async fn runs(&self, _tenant: &TenantName) -> Result<bool, SystemdError> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}

struct World {
    directory: TempDir,
    running: Fake,
    web: TenantName,
}

impl World {
    /// None where roots cannot be marked, which takes the host's root.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        if let Err(cause) = lsetxattr(directory.path(), MARK, b"a", XattrFlags::empty()) {
            eprintln!("SKIP: cannot set trusted extended attributes in {}: {cause}", directory.path().display());
            return None;
        }
        for (image, content) in [("a", "first"), ("b", "second")] {
            let etc = directory.path().join("images").join(image).join("etc");
            fs::create_dir_all(&etc).unwrap();
            fs::write(etc.join("made-of"), content).unwrap();
        }
        let machine_id = directory.path().join("images/a/etc/machine-id");
        fs::write(machine_id, "0123456789abcdef0123456789abcdef\n").unwrap();
        // Not a place to write to: the link leads out of the root.
        fs::write(directory.path().join("outside"), "kept").unwrap();
        symlink("../../../../outside", directory.path().join("images/b/etc/machine-id")).unwrap();
        Some(Self { directory, running: Fake::default(), web: "web".parse().unwrap() })
    }

    fn volumes(&self) -> Volumes<Fake> {
        let below = |name| self.directory.path().join(name);
        let paths = Paths {
            tenants: below("tenants"),
            images: below("images"),
            records: below("records"),
            archives: below("archive"),
        };
        fs::create_dir_all(&paths.tenants).unwrap();
        Volumes::new(paths, self.running.clone())
    }

    fn top(&self) -> PathBuf {
        self.directory.path().join("tenants/web")
    }

    async fn ensure(&self, generation: u64, image: &str) -> Result<bool, VolumeError> {
        self.volumes().ensure(&self.web, generation, &spec(image)).await
    }

    async fn intact(&self) -> bool {
        self.volumes().list(Some(self.web.clone())).await.unwrap()[0].intact
    }
}

fn spec(image: &str) -> StorageSpec {
    StorageSpec { image: image.parse().unwrap() }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_tenant_gets_its_tree_and_another_root_when_asked() {
    let Some(world) = World::new() else { return };
    assert!(world.volumes().list(None).await.unwrap().is_empty());
    assert!(world.ensure(1, "a").await.unwrap());
    assert!(!world.ensure(1, "a").await.unwrap());
    assert!(!world.ensure(2, "a").await.unwrap(), "a generation alone is no change");
    assert!(world.intact().await);
    let top = world.top();
    assert_eq!(fs::metadata(&top).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(top.join("data")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(statat(CWD, top.join("data"), AtFlags::empty()).unwrap().st_uid, rustix::process::getuid().as_raw());
    assert!(top.join("extensions/confext").is_dir());
    assert_eq!(read(&top.join("root/etc/made-of")), "first");
    assert_eq!(read(&top.join("root/etc/machine-id")), "");
    assert_eq!(read(&world.directory.path().join("images/a/etc/machine-id")).len(), 33, "the image is only read");

    fs::write(top.join("data/kept"), "by the tenant").unwrap();
    assert!(!top.join("config").exists(), "the tenant manager makes it");
    symlink("/checkout", top.join("config")).unwrap();
    assert!(world.ensure(3, "b").await.unwrap());
    assert_eq!(read(&top.join("root/etc/made-of")), "second");
    assert_eq!(read(&top.join("root/etc/machine-id")), "");
    assert!(top.join("root/etc/machine-id").symlink_metadata().unwrap().is_file());
    assert_eq!(read(&world.directory.path().join("outside")), "kept");
    assert_eq!(read(&top.join("data/kept")), "by the tenant");
    assert!(top.join("config").is_symlink());
    assert!(!top.join(".root.new").exists());
    assert!(world.intact().await);

    let older = world.ensure(2, "a").await.unwrap_err();
    assert!(matches!(older, VolumeError::Stale(stale) if stale.current == 3));
}

#[tokio::test]
async fn whatever_a_kill_left_is_cleared_up() {
    let Some(world) = World::new() else { return };
    let top = world.top();
    // In the middle of the first copy.
    world.ensure(1, "a").await.unwrap();
    fs::rename(top.join("root"), top.join(".root.new")).unwrap();
    lsetxattr(top.join(".root.new"), MARK, b"", XattrFlags::empty()).unwrap();
    fs::remove_dir_all(top.join(".root.new/etc")).unwrap();
    assert!(!world.intact().await);
    assert!(world.ensure(1, "a").await.unwrap());
    assert_eq!(read(&top.join("root/etc/made-of")), "first");
    // After the new root took its place, before the old one was removed and the call returned.
    fs::create_dir_all(top.join(".root.new/var")).unwrap();
    lsetxattr(top.join(".root.new"), MARK, b"b", XattrFlags::empty()).unwrap();
    assert!(!world.intact().await, "what lies aside stays when it starts again");
    fs::write(top.join("root/etc/written"), "by the tenant").unwrap();
    assert!(world.ensure(1, "a").await.unwrap());
    assert!(!top.join(".root.new").exists());
    assert_eq!(read(&top.join("root/etc/written")), "by the tenant", "the root was right and stays");
    // The other way: back to the old image after the new root took its place and before any record of it.
    lsetxattr(top.join("root"), MARK, b"b", XattrFlags::empty()).unwrap();
    assert!(world.ensure(2, "a").await.unwrap());
    let mut mark = [0_u8; 8];
    let length = lgetxattr(top.join("root"), MARK, &mut mark).unwrap();
    assert_eq!(&mark[..length], b"a");
    assert!(!top.join("root/etc/written").exists());
    // Somebody removed a directory.
    fs::remove_dir_all(top.join("services")).unwrap();
    assert!(!world.intact().await);
    assert!(world.ensure(2, "a").await.unwrap());
    assert!(world.intact().await);
}

#[tokio::test]
async fn what_cannot_be_done_changes_nothing() {
    let Some(world) = World::new() else { return };
    assert!(matches!(world.ensure(1, "absent").await.unwrap_err(), VolumeError::NoSuchImage(_)));
    assert!(world.volumes().list(None).await.unwrap().is_empty());
    assert!(!world.top().exists());

    world.ensure(1, "a").await.unwrap();
    world.running.0.store(true, Ordering::Relaxed);
    assert!(matches!(world.ensure(2, "b").await.unwrap_err(), VolumeError::InUse(_)));
    assert_eq!(world.volumes().list(None).await.unwrap()[0].generation, 1);
    assert!(world.intact().await);
    // What lies aside may be what the tenant runs on.
    fs::create_dir(world.top().join(".root.new")).unwrap();
    assert!(!world.ensure(2, "a").await.unwrap());
    assert!(world.top().join(".root.new").exists());
    world.running.0.store(false, Ordering::Relaxed);
    assert!(world.ensure(2, "a").await.unwrap());

    // A root that somebody restored without its mark is not thrown away.
    rustix::fs::lremovexattr(world.top().join("root"), MARK).unwrap();
    assert!(!world.intact().await);
    assert!(matches!(world.ensure(3, "b").await.unwrap_err(), VolumeError::Obstacle(_)));
    assert_eq!(read(&world.top().join("root/etc/made-of")), "first");
}

#[tokio::test]
async fn images_are_described_with_what_a_root_of_them_takes() {
    let Some(world) = World::new() else { return };
    symlink("a", world.directory.path().join("images/link")).unwrap();
    fs::write(world.directory.path().join("images/Odd.raw"), "").unwrap();
    let described = world.volumes().describe().await.unwrap();
    let names: Vec<&str> = described.images.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    for image in &described.images {
        assert_eq!(image.size.is_some_and(|bytes| bytes > 0), !image.shared, "{image:?}");
    }
    assert!(described.free > 0);
    world.ensure(1, "a").await.unwrap();
    assert_eq!(world.volumes().describe().await.unwrap().images.len(), 2);
}
