//! A tenant's log: its own journal and what its unit said on the host, as one sequence of lines.

use crate::{
    fault::Fault,
    journal::{self, Entry},
    units,
};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use host::{command::Command, lines::Lines};
use interfaces::tenant::LogLine;
use model::TenantName;
use runtime::session::Continues;
use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

/// The most lines that are shown from before the call.
pub const MOST_LINES: u32 = 10_000;
/// The longest line of journalctl that is read: three fields of 4096 bytes, each byte written as a number.
const LONGEST: usize = 64 << 10;
/// How long reading back may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A journal that is read by journalctl.
#[derive(Debug, Clone)]
enum Source {
    /// The tenant's own, by its open files.
    Own(Arc<Vec<File>>),
    /// What its units said, from the host's.
    Units([String; 3]),
}

/// Lines, and after each whether another follows.
pub type LogLines = BoxStream<'static, (LogLine, Continues)>;

/// Reads the last lines, and with `follow` those that come.
///
/// # Errors
/// journalctl cannot be run, or there is no line and none is waited for.
pub async fn read(tenant: &TenantName, root: &Path, lines: u32, follow: bool) -> Result<LogLines, Fault> {
    let lines = lines.min(MOST_LINES) as usize;
    let files = journal::files(root);
    let seen = identities(&files);
    let (unit, own) = (Source::Units(of(tenant)), Source::Own(Arc::new(files)));
    let said = unit.last(lines.max(1)).await?;
    let written = if seen.is_empty() { Vec::new() } else { own.last(lines.max(1)).await? };
    if follow {
        // From the last line on that was seen, so that none is lost in between.
        let cursor = |entries: &[Entry]| entries.last().and_then(|entry| entry.cursor.clone());
        let mut follower = Follower {
            unit: unit.from(cursor(&said).as_deref())?,
            own: None,
            root: root.to_owned(),
            cursor: cursor(&written),
            seen: BTreeSet::new(),
        };
        follower.reopen();
        let coming = stream::unfold(follower, |mut follower| async { Some((follower.next().await?, follower)) });
        let all = stream::iter(merged(vec![said, written], lines)).chain(coming);
        return Ok(all.map(|line| (line, Continues::Yes)).boxed());
    }
    let past = merged(vec![said, written], lines);
    let Some(last) = past.len().checked_sub(1) else { return Err(Fault::Silent(tenant.clone())) };
    let numbered = past.into_iter().enumerate();
    Ok(stream::iter(numbered.map(move |(at, line)| (line, if at == last { Continues::No } else { Continues::Yes })))
        .boxed())
}

/// The units that say something of a tenant: its own, and the sandboxes of its scripts.
fn of(tenant: &TenantName) -> [String; 3] {
    [units::container(tenant), units::pre_start(tenant), units::pre_provision(tenant)]
}

/// The last `count` lines of several journals, by their time.
fn merged(journals: Vec<Vec<Entry>>, count: usize) -> Vec<LogLine> {
    let mut lines: Vec<LogLine> = journals.into_iter().flatten().map(|entry| entry.line).collect();
    lines.sort_by_key(|line| line.realtime_u_sec);
    lines.split_off(lines.len().saturating_sub(count))
}

impl Source {
    /// Starts journalctl on this journal.
    fn journalctl(&self, options: &[String]) -> Result<Lines, Fault> {
        let fields = "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM";
        let command = Command::new("journalctl").args(["--quiet", "--no-pager", "--output=json", fields]).args(options);
        let command = match self {
            Self::Units(units) => command.args(units.iter().map(|unit| format!("--unit={unit}"))),
            // By way of our own descriptors: a name in the tenant's tree may mean another file by now.
            Self::Own(files) => {
                let ours = std::process::id();
                command.args(files.iter().map(|file| format!("--file=/proc/{ours}/fd/{}", file.as_raw_fd())))
            }
        };
        Ok(command.lines()?)
    }

    /// The last `count` entries, as far as they can be read in time, oldest first.
    async fn last(&self, count: usize) -> Result<Vec<Entry>, Fault> {
        // The newest first: if the time is over, the oldest are missing.
        let mut output = self.journalctl(&[format!("--lines={count}"), "--reverse".to_owned()])?;
        let mut entries = VecDeque::new();
        let read = async {
            while let Some(line) = output.next(LONGEST).await {
                if let Some(entry) = journal::parse(&line) {
                    entries.push_front(entry);
                }
                if entries.len() == count {
                    break;
                }
            }
        };
        if timeout(PATIENCE, read).await.is_err() {
            tracing::warn!(?self, "the journal takes too long to read");
        }
        Ok(entries.into())
    }

    /// The entries after a cursor, or all if there is none, as they come.
    fn from(&self, cursor: Option<&str>) -> Result<Lines, Fault> {
        let start = cursor.map(|cursor| format!("--after-cursor={cursor}"));
        let options: Vec<String> = ["--follow".to_owned(), "--no-tail".to_owned()].into_iter().chain(start).collect();
        self.journalctl(&options)
    }
}

/// Both journals as they grow. Dropping it ends both programs that read them.
struct Follower {
    unit: Lines,
    /// With the files, which stay open for as long as journalctl may open them by our descriptors.
    own: Option<(Lines, Source)>,
    root: PathBuf,
    /// The last line of the tenant's own journal.
    cursor: Option<String>,
    seen: BTreeSet<(u64, u64)>,
}

impl Follower {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            let own = async {
                match &mut self.own {
                    Some((lines, _)) => lines.next(LONGEST).await,
                    None => std::future::pending().await,
                }
            };
            let entry = tokio::select! {
                line = self.unit.next(LONGEST) => {
                    let entry = journal::parse(&line?);
                    // The unit speaks when the tenant starts, and that is when its journal begins files.
                    self.reopen();
                    entry
                }
                line = own => {
                    let Some(line) = line else {
                        (self.own, self.seen) = (None, BTreeSet::new());
                        continue;
                    };
                    let entry = journal::parse(&line);
                    self.cursor = entry.as_ref().and_then(|entry| entry.cursor.clone()).or(self.cursor.take());
                    entry
                }
            };
            if let Some(entry) = entry {
                return Some(entry.line);
            }
        }
    }

    /// Reads on from the files that there are now, if they are others than before.
    fn reopen(&mut self) {
        let files = journal::files(&self.root);
        let seen = identities(&files);
        if seen == self.seen || files.is_empty() {
            return;
        }
        let source = Source::Own(Arc::new(files));
        match source.from(self.cursor.as_deref()) {
            Ok(lines) => (self.own, self.seen) = (Some((lines, source)), seen),
            Err(fault) => tracing::warn!("a tenant's journal is not followed: {}", runtime::chain(&fault)),
        }
    }
}

/// What tells files apart whatever they are called.
fn identities(files: &[File]) -> BTreeSet<(u64, u64)> {
    files.iter().filter_map(|file| file.metadata().ok()).map(|found| (found.dev(), found.ino())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_are_merged_by_time_and_cut_to_the_last() {
        let entry = |realtime_u_sec, message: &str| Entry {
            line: LogLine { realtime_u_sec, identifier: String::new(), message: message.to_owned() },
            cursor: None,
        };
        let journals = vec![vec![entry(1, "a"), entry(4, "d")], vec![entry(2, "b"), entry(3, "c")]];
        let messages = |count| merged(journals.clone(), count).into_iter().map(|line| line.message).collect::<String>();
        assert_eq!(messages(3), "bcd");
        assert_eq!(messages(9), "abcd");
        assert_eq!(messages(0), "");
    }
}
