//! A tenant's data is packed, its tree removed, and its data unpacked again, whatever the tenant put there.

use super::*;
use model::archive::Manifest;
use std::{
    fs::File,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    process::Command,
};

const OWNER: &str = "trusted.bitbuilder.tenant";

impl World {
    fn manifest(&self, left: u64) -> Manifest {
        Manifest {
            tenant: self.web.clone(),
            left_u_sec: left * 1_000_000,
            repository: "git://h/web".parse().ok(),
            reference: None,
            revision: None,
            image: "a".parse().ok(),
            uids: None,
        }
    }

    fn run(&self, script: &str) {
        let run = Command::new("bash").args(["-euc", script]).current_dir(self.directory.path()).output().unwrap();
        assert!(run.status.success(), "{script}: {}", String::from_utf8_lossy(&run.stderr));
    }

    async fn import(
        &self,
        tenant: &str,
        path: &Path,
        sha256: Option<&str>,
        force: bool,
    ) -> Result<Manifest, VolumeError> {
        let tenant = tenant.parse().unwrap();
        let imported = self.volumes().import(&tenant, File::open(path).unwrap(), sha256, force).await;
        imported.map(|(_, manifest)| manifest)
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join(directory)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// What tenants can put into their data: names, links out of it, holes, other owners, permissions, attributes, pipes.
const HOSTILE: &str = r#"
cd tenants/web/data
printf x > "$(printf 'new\nline \377')"; printf x > -- ; printf x > "--checkpoint-action=exec=touch escaped"; printf x > "@include"
mkdir -m 0700 sub; ln -s /etc/passwd sub/absolute; ln -s ../../../../outside sub/relative; ln sub/absolute sub/hard 2>/dev/null || true
truncate --size=1G sub/hole; mkfifo sub/pipe; printf secret > sub/own; chown 33:44 sub/own; chmod 4750 sub/own
python3 -c 'import os; os.setxattr("sub/own", "user.note", b"kept")'
"#;

#[tokio::test]
async fn what_was_packed_comes_back_as_it_was() {
    let Some(world) = World::new() else { return };
    world.ensure(1, "a").await.unwrap();
    world.run(HOSTILE);
    let (path, made) = world.volumes().archive(&world.web, 2, &world.manifest(1_795_488_910)).await.unwrap();
    assert!(made && path.ends_with("archive/web.20261124T025510Z.tar.zst"), "{}", path.display());
    assert!(fs::metadata(&path).unwrap().len() < 1 << 20, "a hole was packed as zeros");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    world.run("cd archive && sha256sum --check --quiet *.sha256");
    assert_eq!(world.names("archive").len(), 2);
    // The same departure is packed once, also if half of it is gone by now.
    fs::remove_dir_all(world.top().join("data/sub")).unwrap();
    let again = world.volumes().archive(&world.web, 2, &world.manifest(1_795_488_910)).await.unwrap();
    assert_eq!(again, (path.clone(), false));
    assert!(world.volumes().remove(&world.web, 3).await.unwrap());
    assert!(!world.volumes().remove(&world.web, 3).await.unwrap());
    assert!(world.names("tenants").is_empty() && world.volumes().list(None).await.unwrap().is_empty());

    let text = read(&path.with_file_name("web.20261124T025510Z.tar.zst.sha256"));
    let sum = text.split(' ').next().unwrap();
    let damaged = world.import("shop", &path, Some(&"0".repeat(64)), false).await.unwrap_err();
    assert!(damaged.to_string().contains("checksum"), "{damaged}");
    assert_eq!(world.import("shop", &path, Some(sum), false).await.unwrap(), world.manifest(1_795_488_910));
    let sub = world.directory.path().join("tenants/shop/data/sub");
    let own = fs::metadata(sub.join("own")).unwrap();
    assert_eq!((own.uid(), own.gid(), own.mode() & 0o7777), (33, 44, 0o4750));
    let mut note = [0_u8; 8];
    let length = lgetxattr(sub.join("own"), "user.note", &mut note).unwrap();
    assert_eq!(&note[..length], b"kept");
    let hole = fs::metadata(sub.join("hole")).unwrap();
    assert!(hole.len() == 1 << 30 && hole.blocks() < 64, "{} blocks", hole.blocks());
    assert_eq!(fs::read_link(sub.join("absolute")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(world.names("tenants/shop/data").len(), 5);
    assert!(
        !world.directory.path().join("escaped").exists() && read(&world.directory.path().join("outside")) == "kept"
    );
    assert_eq!(world.names("tenants/shop"), ["data"], "something was left beside it");

    // Never over what is there, unless somebody says so.
    assert!(matches!(world.import("shop", &path, None, false).await.unwrap_err(), VolumeError::DataThere));
    fs::write(sub.join("own"), "newer").unwrap();
    world.import("shop", &path, None, true).await.unwrap();
    assert_eq!(
        (read(&sub.join("own")), read(&sub.join("../../data.before/sub/own"))),
        ("secret".into(), "newer".into())
    );
    assert!(matches!(world.import("shop", &path, None, true).await.unwrap_err(), VolumeError::RefusedArchive(_)));
    world.volumes().ensure(&"shop".parse().unwrap(), 1, &spec("a")).await.unwrap();
    assert_eq!(read(&sub.join("own")), "secret", "what was imported does not become the tenant's");
}

#[tokio::test]
async fn an_archive_that_would_leave_the_tree_is_refused() {
    let Some(world) = World::new() else { return };
    let pack = |name: &str, script: &str| {
        world.run(&format!(
            "rm -rf made && mkdir -p made/data && cd made && printf '%s' '{}' > manifest.json && {script}",
            serde_json::to_string(&world.manifest(0)).unwrap()
        ));
        let path = world.directory.path().join(name);
        fs::rename(world.directory.path().join("made/archive"), &path).unwrap();
        path
    };
    let zstd = "zstd -q > archive";
    let link = format!(
        "ln -s .. data/up; tar -c manifest.json data > t; rm data/up; mkdir data/up; echo x > data/up/escaped; tar -r -f t data/up/escaped; {zstd} < t"
    );
    let device = format!("mknod data/disk b 8 0; tar -c manifest.json data | {zstd}");
    let above = format!("echo x > data/../x; tar -cP manifest.json data/../x data | {zstd}");
    let replaced = format!("rmdir data; ln -s /etc data; tar -c manifest.json data | {zstd}");
    let cases = [
        ("link", link.as_str()),
        ("device", device.as_str()),
        ("replaced", replaced.as_str()),
        ("cut", "tar -c manifest.json data | zstd -q | head -c 100 > archive"),
        ("no-manifest", "tar -c data | zstd -q > archive"),
        ("zeros", "head -c 100000 /dev/zero > archive"),
    ];
    for (name, script) in cases {
        let path = pack(name, script);
        let refused = world.import("shop", &path, None, false).await;
        assert!(refused.is_err(), "{name} was taken");
        assert!(!tree_has(&world, "escaped"), "{name} wrote where it should not");
        let left = world.names("tenants/shop");
        assert!(left.is_empty(), "{name} left {left:?}");
    }
    let path = pack("above", &above);
    drop(world.import("shop", &path, None, false).await);
    assert!(!world.directory.path().join("tenants/shop/x").exists());
}

fn tree_has(world: &World, name: &str) -> bool {
    let found =
        Command::new("find").arg(world.directory.path().join("tenants")).args(["-name", name]).output().unwrap();
    !found.stdout.is_empty() || Path::new("/etc").join(name).exists()
}

#[tokio::test]
async fn only_a_tree_with_its_tenants_mark_is_removed_and_never_one_that_runs() {
    let Some(world) = World::new() else { return };
    let other: TenantName = "web-2".parse().unwrap();
    world.ensure(1, "a").await.unwrap();
    world.volumes().ensure(&other, 1, &spec("a")).await.unwrap();
    world.running.0.store(true, Ordering::Relaxed);
    assert!(matches!(world.volumes().remove(&world.web, 2).await.unwrap_err(), VolumeError::InUse(_)));
    let manifest = world.manifest(0);
    assert!(matches!(world.volumes().archive(&world.web, 2, &manifest).await.unwrap_err(), VolumeError::InUse(_)));
    world.running.0.store(false, Ordering::Relaxed);
    assert!(matches!(world.volumes().remove(&world.web, 0).await.unwrap_err(), VolumeError::Stale(_)));
    for mark in [&b"web-2"[..], b""] {
        lsetxattr(world.top(), OWNER, mark, XattrFlags::empty()).unwrap();
        assert!(matches!(world.volumes().remove(&world.web, 2).await.unwrap_err(), VolumeError::NotOwned { .. }));
        assert!(world.top().join("data").is_dir());
    }
    assert!(!world.intact().await, "a tree without a mark counts as whole");
    assert!(world.ensure(3, "a").await.unwrap() && world.intact().await);
    assert!(world.volumes().remove(&world.web, 4).await.unwrap());
    assert_eq!(world.names("tenants"), ["web-2"]);
    assert!(world.volumes().list(Some(other)).await.unwrap()[0].intact);
}

#[tokio::test]
async fn a_kill_in_the_middle_leaves_what_the_next_call_finishes() {
    let Some(world) = World::new() else { return };
    world.ensure(1, "a").await.unwrap();
    fs::write(world.top().join("data/kept"), "x").unwrap();
    // While it was packed: what is there of it is no archive.
    fs::create_dir_all(world.directory.path().join("archive/.web/archive")).unwrap();
    assert!(world.volumes().archives(None).unwrap().is_empty());
    let (path, made) = world.volumes().archive(&world.web, 2, &world.manifest(5)).await.unwrap();
    assert!(made);
    let listed = world.volumes().archives(Some(&world.web)).unwrap();
    assert_eq!((listed.len(), listed[0].path.as_str()), (1, path.to_str().unwrap()));
    assert!(world.volumes().archives(Some(&"web-2".parse().unwrap())).unwrap().is_empty());
    // After it was moved out of the way.
    fs::rename(world.top(), world.directory.path().join("tenants/.web")).unwrap();
    assert!(world.volumes().remove(&world.web, 2).await.unwrap());
    assert!(world.names("tenants").is_empty());
    // It comes back then instead.
    world.ensure(3, "a").await.unwrap();
    fs::rename(world.top(), world.directory.path().join("tenants/.web")).unwrap();
    assert!(world.ensure(4, "a").await.unwrap());
    assert_eq!(world.names("tenants"), ["web"]);
    assert!(world.intact().await);
}

#[tokio::test]
async fn without_room_nothing_is_packed_and_all_is_kept() {
    let Some(world) = World::new() else { return };
    world.ensure(1, "a").await.unwrap();
    // More than any disk has, and none of it written: what is measured is what it takes, so blocks are counted.
    let file =
        fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(world.top().join("data/large")).unwrap();
    let free = rustix::fs::statvfs(world.directory.path()).unwrap();
    let bytes = free.f_bavail * free.f_frsize;
    if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes / 2 + (64 << 20)).is_err() {
        eprintln!("SKIP: half of the temporary directory's disk cannot be reserved");
        return;
    }
    let refused = world.volumes().archive(&world.web, 2, &world.manifest(5)).await;
    assert!(matches!(refused.unwrap_err(), VolumeError::NoRoom { .. }));
    assert!(world.top().join("data/large").exists() && world.volumes().archives(None).unwrap().is_empty());
}
