//! Runs a script before there is a tenant to run it in: on the base image, whose changes are in memory and vanish, with the
//! tenant's uids and commit, without a network and without a view of the host. The unit that this runs in bounds the rest.

use super::{HookError, failed, said::Said};
use crate::{
    paths::Paths,
    run::{NSPAWN, RunError, bind_checkout, escaped, map, own},
};
use host::{
    command::{Command, CommandError},
    files::FileError,
};
use model::{Hook, HookSpec, InstanceSpec, TenantName};
use nix::mount::{MsFlags, mount};
use std::{
    fs,
    os::unix::{fs::chown, net::UnixDatagram, process::ExitStatusExt},
    path::Path,
};

/// What everything that a script writes has room for, beside the tenant's own data.
const ROOM: &str = "mode=0755,size=64M,nr_inodes=16384";
/// What root in a user namespace could make another file system with, or reach the kernel's less used parts by. What is left is
/// what files and processes of several users need.
const DROPPED: &str = "CAP_SYS_ADMIN,CAP_SYS_BOOT,CAP_SYS_PTRACE,CAP_SYS_RESOURCE,CAP_SYS_NICE,CAP_SYS_TTY_CONFIG,CAP_SYS_CHROOT,\
    CAP_NET_ADMIN,CAP_NET_BIND_SERVICE,CAP_NET_BROADCAST,CAP_NET_RAW,CAP_MKNOD,CAP_AUDIT_CONTROL,CAP_AUDIT_WRITE,CAP_IPC_OWNER,\
    CAP_LEASE,CAP_LINUX_IMMUTABLE,CAP_SETFCAP,CAP_SETPCAP";

/// Runs it to its end, which comes when its time is over.
pub(super) async fn run(
    paths: &Paths,
    tenant: &TenantName,
    instance: &InstanceSpec,
    spec: &HookSpec,
) -> Result<(), HookError> {
    let scratch = paths.sandbox(tenant);
    let [root, config] = prepare(paths, tenant, instance, &scratch).await?;
    let data = Some(paths.data(tenant)).filter(|data| spec.hook == Hook::PreStart && data.is_dir());
    let (said, pipe) = Said::begin(tenant, spec).map_err(HookError::Start)?;
    let arguments = arguments(tenant, instance, spec, [&root, &config], data.as_deref());
    let notices = scratch.join("notices");
    let begun = UnixDatagram::bind(&notices).map_err(HookError::Start)?;
    let nspawn = Command::new(NSPAWN)
        .args(arguments)
        .env("NOTIFY_SOCKET", &notices)
        // What nspawn would mount there is bounded by a share of the machine's memory.
        .env("SYSTEMD_NSPAWN_TMPFS_TMP", "0");
    let nspawn = nspawn.says_into(pipe).map_err(HookError::Start)?.within(spec.timeout.duration());
    let ended = nspawn.ended().await;
    let failed_before = !matches!(&ended, Ok(status) if status.success()) && !has_begun(&begun)?;
    if failed_before {
        return Err(HookError::NotBegun(said.last().await));
    }
    let how = match ended {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with {code}"),
            (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
        },
        Err(CommandError::TimedOut { .. }) => format!("took longer than {}", spec.timeout),
        Err(CommandError::Start { cause, .. }) => return Err(HookError::Start(cause)),
        Err(other @ CommandError::Failed { .. }) => other.to_string(),
    };
    Err(failed(spec, &how, &said.last().await))
}

/// Whether systemd-nspawn has said that what it runs has begun. A failure before that is no fault of the script.
fn has_begun(notices: &UnixDatagram) -> Result<bool, HookError> {
    notices.set_nonblocking(true).map_err(HookError::Start)?;
    let mut notice = [0; 4096];
    // Nobody but systemd-nspawn can say it before the script has begun.
    while let Ok(length) = notices.recv(&mut notice) {
        if notice[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Mounts what the script sees, in this unit's own mount namespace: a root, and the commit's files.
async fn prepare(
    paths: &Paths,
    tenant: &TenantName,
    instance: &InstanceSpec,
    scratch: &Path,
) -> Result<[std::path::PathBuf; 2], RunError> {
    fs::create_dir_all(scratch).map_err(FileError::new("create", scratch))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("sandbox"), scratch, Some("tmpfs"), flags, Some(ROOM))
        .map_err(|cause| RunError::Mount(scratch.to_owned(), cause))?;
    let place = |name: &str| scratch.join(name);
    let (checkout, config) = (place("checkout"), place("config"));
    bind_checkout(paths, tenant, &instance.revision, &checkout)?;
    own(&checkout, &config, instance.uids).await?;
    let [base, upper, work, root] = ["base", "upper", "work", "root"].map(place);
    for directory in [&base, &upper, &work, &root] {
        fs::create_dir(directory).map_err(FileError::new("create", directory))?;
    }
    let uids = instance.uids;
    chown(&upper, Some(uids.first), Some(uids.first)).map_err(FileError::new("give away", &upper))?;
    let image = paths.image(&instance.image);
    map(&image, &base, [(0, uids.first, uids.count); 2], ",ro,nosuid,nodev").await?;
    let layers = format!("lowerdir={},upperdir={},workdir={}", base.display(), upper.display(), work.display());
    mount(Some("sandbox"), &root, Some("overlay"), flags, Some(layers.as_str()))
        .map_err(|cause| RunError::Mount(root.clone(), cause))?;
    Ok([root, config])
}

/// The arguments of systemd-nspawn. The script's name is a checked type, and the only one that a tenant wrote.
fn arguments(
    tenant: &TenantName,
    instance: &InstanceSpec,
    spec: &HookSpec,
    [root, config]: [&Path; 2],
    data: Option<&Path>,
) -> Vec<String> {
    let mut arguments: Vec<String> = vec![
        "--quiet".into(),
        "--keep-unit".into(),
        "--register=no".into(),
        "--settings=no".into(),
        format!("--machine={tenant}"),
        format!("--directory={}", escaped(root)),
        format!("--private-users={}:{}", instance.uids.first, instance.uids.count),
        // The layers are mapped already.
        "--private-users-ownership=off".into(),
        "--private-network".into(),
        // Whatever it leaves behind ends with it.
        "--as-pid2".into(),
        format!("--drop-capability={DROPPED}"),
        "--no-new-privileges=yes".into(),
        // So that nothing is mounted that has more room.
        "--system-call-filter=~@mount".into(),
        "--rlimit=RLIMIT_NPROC=256".into(),
        "--rlimit=RLIMIT_CORE=0".into(),
        "--tmpfs=/dev/shm:mode=1777,size=16M".into(),
        format!("--bind-ro={}:/srv/config", escaped(config)),
    ];
    if let Some(data) = data {
        arguments.push(format!("--bind={}:/srv/data:idmap", escaped(data)));
    }
    let rest = ["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe", "--"];
    arguments.extend(rest.map(str::to_owned));
    arguments.push(format!("/srv/config/{}", spec.script));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::tests::spec;

    #[test]
    fn what_has_begun_is_told_by_its_notices() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notices");
        for (notices, begun) in [
            (&[][..], false),
            (&["READY=1\nSTATUS=Container running."], true),
            (&["STATUS=Container running."], false),
            (&["STATUS=Container started.\nX_NSPAWN_LEADER_PID=2", "READY=1\n"], true),
            (&["STATUS=READY=1"], false),
        ] {
            let socket = UnixDatagram::bind(&path).unwrap();
            let sender = UnixDatagram::unbound().unwrap();
            for notice in notices {
                sender.send_to(notice.as_bytes(), &path).unwrap();
            }
            assert_eq!(has_begun(&socket).unwrap(), begun, "{notices:?}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn the_command_line_is_as_written_here() {
        let hook = HookSpec::new(Hook::PreStart, "scripts/check".parse().unwrap(), None);
        let places = [Path::new("/run/root"), Path::new("/run/config")];
        let arguments = arguments(&"web".parse().unwrap(), &spec("a"), &hook, places, Some(Path::new("/data:1")));
        let dropped = format!("--drop-capability={DROPPED}");
        assert!(!DROPPED.contains(' '));
        let uids = spec("a").uids;
        let expected = [
            "--quiet",
            "--keep-unit",
            "--register=no",
            "--settings=no",
            "--machine=web",
            "--directory=/run/root",
            &format!("--private-users={}:65536", uids.first),
            "--private-users-ownership=off",
            "--private-network",
            "--as-pid2",
            &dropped,
            "--no-new-privileges=yes",
            "--system-call-filter=~@mount",
            "--rlimit=RLIMIT_NPROC=256",
            "--rlimit=RLIMIT_CORE=0",
            "--tmpfs=/dev/shm:mode=1777,size=16M",
            "--bind-ro=/run/config:/srv/config",
            "--bind=/data\\:1:/srv/data:idmap",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=pipe",
            "--",
            "/srv/config/scripts/check",
        ];
        assert_eq!(arguments, expected);
    }
}
