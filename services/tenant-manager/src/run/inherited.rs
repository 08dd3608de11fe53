//! What every process of a tenant has from this one, which becomes its container manager: the IO scheduling class and the NUMA
//! policy. And of the control group that all of them are in, whether the kernel ends them together.

use super::{RunError, place::group_of};
use crate::units;
use host::files::FileError;
use model::{
    TenantName,
    ids::IdSet,
    inherited::Inherited,
    manifest::{IoClass, NumaPolicy, OomPolicy},
};
use nix::libc;
use std::{fs, io, path::Path};
use tracing::warn;

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
/// Where systemd-nspawn puts a tenant that stays in the unit it was started in.
const PAYLOAD: &str = "payload";

/// What linux/ioprio.h says: whom to set it for, and where in the number the class is.
const WHO_PROCESS: libc::c_long = 1;
const CLASS_SHIFT: u32 = 13;

/// Sets it for this thread, and for what it becomes and starts.
pub(super) fn begin(tenant: &TenantName, inherited: &Inherited) -> Result<(), RunError> {
    if let Some(class) = inherited.io_class {
        set_io_priority(io_priority(class, inherited.io_priority)).map_err(RunError::IoClass)?;
    }
    if let Some(policy) = inherited.numa_policy {
        take_memory(policy, inherited.numa_mask.as_ref())?;
    }
    let together = inherited.oom_policy == Some(OomPolicy::Kill);
    if let Some(group) = group(tenant)?
        && !end_together(Path::new(&group), together)?
    {
        warn!(%tenant, "oomPolicy has no effect: this kernel has no memory controller");
    }
    Ok(())
}

fn take_memory(policy: NumaPolicy, nodes: Option<&IdSet>) -> Result<(), RunError> {
    let bits = nodes.map(IdSet::mask).unwrap_or_default();
    match set_memory_policy(mode(policy), &words(&bits)) {
        Ok(()) => Ok(()),
        Err(cause) if cause.raw_os_error() == Some(libc::ENOSYS) => {
            warn!("numaPolicy has no effect: this kernel knows no memory nodes");
            Ok(())
        }
        Err(cause) => Err(match nodes {
            Some(nodes) if cause.raw_os_error() == Some(libc::EINVAL) => RunError::Nodes(policy, nodes.clone()),
            Some(_) | None => RunError::NumaPolicy(cause),
        }),
    }
}

/// ioprio_set(2).
fn io_priority(class: IoClass, priority: Option<u32>) -> libc::c_long {
    let class = match class {
        IoClass::BestEffort => 2u32,
        IoClass::Idle => 3,
    };
    (class << CLASS_SHIFT | priority.unwrap_or_default()).into()
}

fn mode(policy: NumaPolicy) -> libc::c_int {
    match policy {
        NumaPolicy::Default => libc::MPOL_DEFAULT,
        NumaPolicy::Preferred => libc::MPOL_PREFERRED,
        NumaPolicy::Bind => libc::MPOL_BIND,
        NumaPolicy::Interleave => libc::MPOL_INTERLEAVE,
        NumaPolicy::Local => libc::MPOL_LOCAL,
    }
}

/// The kernel's form of a set of bits, the lowest first.
fn words(bits: &[u8]) -> Vec<libc::c_ulong> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | libc::c_ulong::from(*byte));
    bits.chunks(size_of::<libc::c_ulong>()).map(word).collect()
}

#[allow(unsafe_code)]
fn set_io_priority(priority: libc::c_long) -> io::Result<()> {
    let this_thread: libc::c_long = 0;
    // SAFETY: ioprio_set(2): takes three numbers, and touches no memory of this process.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, this_thread, priority) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[allow(unsafe_code)]
fn set_memory_policy(mode: libc::c_int, nodes: &[libc::c_ulong]) -> io::Result<()> {
    // The kernel looks at one bit less than it is told of.
    let bits = libc::c_ulong::try_from(size_of_val(nodes) * 8 + 1).map_err(io::Error::other)?;
    // SAFETY: set_mempolicy(2): the kernel reads the bits of `nodes` and no more, none if that is empty, before it returns; it
    // writes nothing, and what memory this process has stays where it is.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::c_long::from(mode), nodes.as_ptr(), bits) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The control group of the tenant's unit, in which this process is.
fn group(tenant: &TenantName) -> Result<Option<String>, FileError> {
    let groups = Path::new("/proc/self/cgroup");
    let own = fs::read_to_string(groups).map_err(FileError::new("read", groups))?;
    let unified = own.lines().find(|line| line.starts_with("0::")).unwrap_or_default();
    Ok(group_of(unified, &units::container(tenant)).map(|group| format!("{CONTROL_GROUPS}{group}")))
}

/// Whether what is in the tenant's part of its unit's `group` ends together when memory is short. Not of the whole group: what
/// is set there belongs to the service manager, who sets it anew with each limit. False if it should and there is no controller.
fn end_together(group: &Path, together: bool) -> Result<bool, FileError> {
    let (payload, controllers) = (group.join(PAYLOAD), group.join("cgroup.controllers"));
    let setting = payload.join("memory.oom.group");
    if !together {
        // One of an earlier start must not linger.
        return if setting.exists() { write(&setting, "0").map(|()| true) } else { Ok(true) };
    }
    // systemd-nspawn takes the one that is there.
    fs::create_dir_all(&payload).map_err(FileError::new("create", &payload))?;
    let found = fs::read_to_string(&controllers).map_err(FileError::new("read", &controllers))?;
    if !found.split_whitespace().any(|controller| controller == "memory") {
        return Ok(false);
    }
    write(&group.join("cgroup.subtree_control"), "+memory")?;
    write(&setting, "1").map(|()| true)
}

fn write(attribute: &Path, value: &str) -> Result<(), FileError> {
    #[allow(clippy::disallowed_methods)] // the kernel takes it whole or not at all
    let written = fs::write(attribute, value);
    written.map_err(FileError::new("write", attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own, which alone has it then.
    fn alone<T: Send>(run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    #[test]
    fn a_class_and_a_priority_are_one_number() {
        assert_eq!(io_priority(IoClass::BestEffort, Some(7)), 0x4007);
        assert_eq!(io_priority(IoClass::Idle, None), 0x6000);
    }

    #[test]
    fn nodes_are_words_of_the_kernels() {
        assert!(words(&[]).is_empty());
        let mask = "0-1,63,64".parse::<IdSet>().unwrap().mask();
        assert_eq!(words(&mask), [0x8000_0000_0000_0003, 1]);
    }

    #[test]
    fn memory_is_taken_as_was_said() {
        let first: IdSet = "0".parse().unwrap();
        let taken = |policy, nodes| {
            alone(move || {
                take_memory(policy, nodes).unwrap();
                fs::read_to_string("/proc/thread-self/numa_maps").unwrap()
            })
        };
        for (policy, nodes, shown) in [
            (NumaPolicy::Bind, Some(&first), " bind:0 "),
            (NumaPolicy::Interleave, Some(&first), " interleave:0 "),
            (NumaPolicy::Preferred, Some(&first), " prefer:0 "),
            (NumaPolicy::Local, None, " local "),
            (NumaPolicy::Default, None, " default "),
        ] {
            let maps = taken(policy, nodes);
            assert!(maps.lines().next().is_some_and(|line| line.contains(shown)), "{policy}: {maps}");
        }
    }

    #[test]
    fn nodes_that_no_host_has_are_the_tenants_fault() {
        let fault = alone(|| take_memory(NumaPolicy::Bind, Some(&"8191".parse().unwrap()))).unwrap_err();
        assert!(fault.is_tenants() && fault.to_string().contains("8191"), "{fault}");
    }

    fn unit(controllers: &str) -> tempfile::TempDir {
        let group = tempfile::tempdir().unwrap();
        write(&group.path().join("cgroup.controllers"), controllers).unwrap();
        group
    }

    #[test]
    fn all_end_together_if_the_kernel_counts_their_memory() {
        let group = unit("cpu memory pids\n");
        let setting = group.path().join("payload/memory.oom.group");
        let said = || fs::read_to_string(&setting).ok();
        assert!(end_together(group.path(), false).unwrap());
        assert_eq!(said(), None, "nothing is made for what is so anyway");
        assert!(end_together(group.path(), true).unwrap());
        assert_eq!(said().as_deref(), Some("1"));
        assert_eq!(fs::read_to_string(group.path().join("cgroup.subtree_control")).unwrap(), "+memory");
        assert!(end_together(group.path(), false).unwrap());
        assert_eq!(said().as_deref(), Some("0"), "an earlier one lingers");
    }

    #[test]
    fn without_a_controller_it_is_said_and_the_tenant_runs() {
        let group = unit("cpu memory.x\n");
        assert!(!end_together(group.path(), true).unwrap());
        assert!(end_together(group.path(), false).unwrap());
    }
}
