//! What a child of ours may use, and how long it may outlive the service that started it.

use nix::sys::{
    prctl::set_pdeathsig,
    resource::{Resource, setrlimit},
    signal::{SigSet, Signal},
};
use std::io;

/// Memory of its own that a child may have, in bytes.
pub(crate) const MEMORY: u64 = 224 << 20;

/// The largest file that a child may write, in bytes.
pub(crate) const LARGEST_FILE: u64 = 1 << 30;

/// Lets files become so large, and no larger than a child's may be.
pub(crate) fn limit_files(bytes: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_FSIZE, bytes.min(LARGEST_FILE), LARGEST_FILE)?)
}

/// Bounds this process, which ends with the one that started it. Processor time is in seconds; None for who stays.
pub(crate) fn confine(processor_time: Option<u64>) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // A file that grows too large is an error of the write, not the end of the process.
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block()?;
    let limits = [
        (Resource::RLIMIT_DATA, MEMORY),
        // Packs are mapped, which is no memory of its own.
        (Resource::RLIMIT_AS, 2 << 30),
        (Resource::RLIMIT_FSIZE, LARGEST_FILE),
        (Resource::RLIMIT_NOFILE, 1024),
        (Resource::RLIMIT_CORE, 0),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, limit, limit)?;
    }
    if let Some(seconds) = processor_time {
        // The first ends it with a signal that says why, the second whoever ignores that.
        setrlimit(Resource::RLIMIT_CPU, seconds, seconds + 5)?;
    }
    Ok(())
}
