//! What this machine has room for.

use nix::sys::{
    inotify::{InitFlags, Inotify},
    sysinfo::sysinfo,
};
use std::thread::available_parallelism;

/// How many pieces of work go on at a time: `per_core` of them for each processor core that this process may use
/// (sched_getaffinity(2)), and not more than the machine has memory for if each takes so many bytes (sysinfo(2)). One at
/// least.
#[must_use]
pub fn side_by_side(per_core: usize, bytes_each: u64) -> usize {
    let cores = available_parallelism().map_or(1, usize::from);
    // Where nobody says how much there is, the cores alone count.
    let memory = sysinfo().map_or(u64::MAX, |machine| machine.ram_total());
    places(cores.saturating_mul(per_core), memory, bytes_each)
}

/// Whether this process could have so many inotify instances more (inotify(7), fs.inotify.max_user_instances). Those of a
/// container count as the user's, too, who made its user namespace (user_namespaces(7)).
#[must_use]
pub fn has_inotify_instances(count: usize) -> bool {
    let opened = (0..count).map(|_| Inotify::init(InitFlags::IN_CLOEXEC)).collect::<Result<Vec<_>, _>>();
    opened.is_ok()
}

fn places(by_cores: usize, memory: u64, bytes_each: u64) -> usize {
    let by_memory = usize::try_from(memory / bytes_each.max(1)).unwrap_or(usize::MAX);
    by_cores.min(by_memory).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_tried() {
        assert!(has_inotify_instances(0) && has_inotify_instances(1));
        let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap();
        let most: usize = most.trim().parse().unwrap();
        assert!(most > 10_000 || !has_inotify_instances(most + 1));
    }

    #[test]
    fn what_is_scarcer_counts() {
        assert_eq!(places(8, 24 << 30, 256 << 20), 8);
        assert_eq!(places(512, 24 << 30, 256 << 20), 96);
        assert_eq!(places(8, 128 << 20, 256 << 20), 1);
        assert_eq!(places(0, u64::MAX, 0), 1);
        assert!(side_by_side(4, 1) >= 4);
        assert_eq!(side_by_side(4, u64::MAX), 1);
    }
}
