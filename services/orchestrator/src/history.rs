//! What became of each tenant and of the registry, beside the ledger: a line of JSON per event in history/NAME.jsonl. It is
//! told, never acted on, so that nothing waits for the disk: a kill can cost the last line, and what is left of a torn one is
//! passed over.

use host::files::{self, FileError};
use interfaces::orchestrator::{Event as Shown, History as Wanted};
use model::names::RepositoryName;
use planner::Event;
use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// So many events of each repository are kept; twice as many are there before the older half goes.
pub(crate) const KEPT: usize = 256;

/// The files.
#[derive(Debug)]
pub(crate) struct History {
    directory: PathBuf,
    /// How many lines each file has that was written to.
    lines: Mutex<HashMap<RepositoryName, usize>>,
}

impl History {
    /// The histories in `directory`, which need not be there yet.
    pub(crate) fn in_directory(directory: PathBuf) -> Self {
        Self { directory, lines: Mutex::default() }
    }

    /// Adds events to a repository's.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn append(&self, repository: &RepositoryName, events: &[Event]) -> Result<(), FileError> {
        if events.is_empty() {
            return Ok(());
        }
        let path = self.path(repository);
        let mut counted = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Vec::new();
        let lines = match counted.get(repository) {
            Some(lines) => *lines,
            None => {
                let held = read(&path)?;
                if held.last().is_some_and(|last| *last != b'\n') {
                    text.push(b'\n');
                }
                held.split(|byte| *byte == b'\n').count()
            }
        };
        for event in events {
            serde_json::to_writer(&mut text, event)
                .map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
            text.push(b'\n');
        }
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            OpenOptions::new().append(true).create(true).mode(0o640).open(&path)?.write_all(&text)
        };
        let written = write().map_err(FileError::new("write", &path));
        // After a fault nobody knows how the last line ends: it is looked at again.
        counted.remove(repository);
        written?;
        let lines = lines + events.len();
        if lines < 2 * KEPT {
            counted.insert(repository.clone(), lines);
            return Ok(());
        }
        let kept = self.last(repository, KEPT)?;
        let mut text = Vec::new();
        for event in &kept {
            serde_json::to_writer(&mut text, event)
                .map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
            text.push(b'\n');
        }
        files::write_atomically(&path, &text, 0o640)?;
        counted.insert(repository.clone(), kept.len());
        Ok(())
    }

    /// The last events of a repository, oldest first.
    ///
    /// # Errors
    /// They are there and cannot be read.
    pub(crate) fn last(&self, repository: &RepositoryName, most: usize) -> Result<Vec<Event>, FileError> {
        let held = read(&self.path(repository))?;
        let lines = held.split(|byte| *byte == b'\n').rev();
        let mut events: Vec<Event> = lines.filter_map(|line| serde_json::from_slice(line).ok()).take(most).collect();
        events.reverse();
        Ok(events)
    }

    /// The last events of these repositories together, oldest first. At most twice as many are held at a time as are wanted.
    ///
    /// # Errors
    /// A repository's cannot be read.
    pub(crate) fn of(&self, repositories: &[RepositoryName], wanted: &Wanted) -> Result<Vec<Shown>, FileError> {
        let most = wanted.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(KEPT).min(10_000);
        let mut shown: Vec<Shown> = Vec::new();
        for repository in repositories {
            let events = self.last(repository, most.min(2 * KEPT))?;
            shown.extend(events.into_iter().map(|event| show(repository, event)));
            if shown.len() > most {
                shown.sort_by_key(|event| event.at_u_sec);
                shown.drain(..shown.len() - most);
            }
        }
        shown.sort_by_key(|event| event.at_u_sec);
        Ok(shown)
    }

    fn path(&self, repository: &RepositoryName) -> PathBuf {
        self.directory.join(format!("{repository}.jsonl"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(FileError::new("read", path)(cause)),
    }
}

fn show(repository: &RepositoryName, event: Event) -> Shown {
    let Event { kind, at_usec, revision, generation, reason, plan } = event;
    Shown { tenant: repository.clone(), kind, at_u_sec: at_usec, revision, generation, reason, plan }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::progress::EventKind;

    fn event(at_usec: u64) -> Event {
        Event { kind: EventKind::Admitted, at_usec, ..planner::history::registered(0) }
    }

    fn times(history: &History, repository: &RepositoryName) -> Vec<u64> {
        history.last(repository, usize::MAX).unwrap().iter().map(|event| event.at_usec).collect()
    }

    #[test]
    fn it_is_bounded_and_survives_a_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        let open = || History::in_directory(directory.path().join("history"));
        let web: RepositoryName = "web".parse().unwrap();
        assert!(times(&open(), &web).is_empty());
        let history = open();
        history.append(&web, &[event(1), event(2)]).unwrap();
        // A kill in the middle of the third.
        let path = directory.path().join("history/web.jsonl");
        let mut torn = fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"kind\":\"adm");
        fs::write(&path, torn).unwrap();
        let history = open();
        assert_eq!(times(&history, &web), [1, 2]);
        history.append(&web, &[event(3)]).unwrap();
        assert_eq!(times(&history, &web), [1, 2, 3]);
        for time in 4..2000 {
            history.append(&web, &[event(time)]).unwrap();
            assert!(fs::read_to_string(&path).unwrap().lines().count() <= 2 * KEPT + 1);
        }
        let last: Vec<u64> = times(&history, &web).into_iter().rev().take(KEPT).collect();
        assert_eq!(last, (2000 - 256..2000).rev().collect::<Vec<u64>>());
    }

    #[test]
    fn tenants_are_told_together_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::in_directory(directory.path().to_owned());
        let names: Vec<RepositoryName> = ["mail", "web"].iter().map(|name| name.parse().unwrap()).collect();
        for time in 0..10 {
            history.append(&names[usize::from(time % 3 == 0)], &[event(time)]).unwrap();
        }
        let told = |limit| {
            let shown = history.of(&names, &Wanted { tenant: None, limit }).unwrap();
            shown.iter().map(|event| event.at_u_sec).collect::<Vec<u64>>()
        };
        assert_eq!(told(None), (0..10).collect::<Vec<u64>>());
        assert_eq!(told(Some(3)), [7, 8, 9]);
        assert!(told(Some(0)).is_empty());
    }
}
