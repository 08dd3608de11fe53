//! What a script says: each line for the journal, bounded and fit for a terminal, and the last of them for its failure.

use crate::text;
use host::lines::Lines;
use model::{HookSpec, TenantName};
use nix::{fcntl::OFlag, unistd::pipe2};
use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::JoinHandle, time::timeout};
use tracing::info;

/// The longest line that is kept, in bytes.
const LONGEST: usize = 1024;
/// How many lines explain a failure.
const LAST: usize = 3;
/// How long what a script has written may take to be read when it has ended: something of it may hold the pipe for ever.
const REST: Duration = Duration::from_secs(1);

/// What is said into a pipe.
#[derive(Debug)]
pub(super) struct Said {
    last: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Said {
    /// Begins to listen, and returns what to write to.
    pub(super) fn begin(tenant: &TenantName, spec: &HookSpec) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        let mut lines = Lines::of_pipe(ours)?;
        let last: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (kept, tenant, hook) = (last.clone(), tenant.clone(), spec.hook);
        let reader = tokio::spawn(async move {
            while let Some(line) = lines.next(LONGEST).await {
                let line = text::printable(&String::from_utf8_lossy(&line));
                if line.trim().is_empty() {
                    continue;
                }
                info!(%tenant, "{hook}: {line}");
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LAST {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Ok((Self { last, reader }, theirs))
    }

    /// The last lines, in one.
    pub(super) async fn last(mut self) -> String {
        if timeout(REST, &mut self.reader).await.is_err() {
            self.reader.abort();
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        text::last_lines(&last.iter().cloned().collect::<Vec<_>>().join("\n"), LAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Hook;
    use std::{fs::File, io::Write};

    #[tokio::test]
    async fn the_last_lines_are_kept_and_made_harmless() {
        let spec = HookSpec::new(Hook::PreStart, "scripts/a".parse().unwrap(), None);
        let web = "web".parse().unwrap();
        let (said, pipe) = Said::begin(&web, &spec).unwrap();
        let mut pipe = File::from(pipe);
        pipe.write_all(b"one\ntwo\n\n\x1b[2Jthree\nfour").unwrap();
        drop(pipe);
        assert_eq!(said.last().await, "two / three / four");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_pipe_that_stays_open() {
        let spec = HookSpec::new(Hook::PreStart, "scripts/a".parse().unwrap(), None);
        let (said, pipe) = Said::begin(&"web".parse().unwrap(), &spec).unwrap();
        let mut held = File::from(pipe);
        held.write_all(b"one\n").unwrap();
        assert_eq!(said.last().await, "one");
        drop(held);
    }
}
