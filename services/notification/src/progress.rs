//! How far a target has been told: kept over restarts, so that people can see it and a server that wants to be left alone is.

use crate::back_off;
use host::files::{self, FileError};
use model::names::TargetName;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// So often in a row something is tried, over days; then it is given up for what comes after it.
pub(crate) const MOST_TRIES: u32 = 300;

/// How far a target has been told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Progress {
    /// Failures in a row after which the same is told again.
    pub(crate) failures: u32,
    /// Whether the last try failed.
    pub(crate) failing: bool,
    pub(crate) last_success_usec: Option<u64>,
    pub(crate) last_error: Option<String>,
    pub(crate) last_error_usec: Option<u64>,
    pub(crate) next_try_usec: Option<u64>,
    /// Until when the server said that it wants to be left alone.
    pub(crate) said_usec: Option<u64>,
    pub(crate) lost: u64,
}

impl Progress {
    /// It took something.
    pub(crate) fn told(&mut self, now_usec: u64) {
        *self = Self {
            failures: 0,
            failing: false,
            last_success_usec: Some(now_usec),
            next_try_usec: None,
            said_usec: None,
            ..std::mem::take(self)
        };
    }

    /// It refused something for good.
    pub(crate) fn refused(&mut self, reason: String, now_usec: u64) {
        self.fail(reason, now_usec);
        (self.failures, self.next_try_usec, self.said_usec) = (0, None, None);
        self.lost += 1;
    }

    /// It did not take something that is told again: after how long, and whether it is given up instead.
    pub(crate) fn failed(
        &mut self,
        reason: String,
        said: Option<Duration>,
        now_usec: u64,
        chance: u64,
    ) -> (Duration, bool) {
        self.fail(reason, now_usec);
        self.failures = self.failures.saturating_add(1);
        let pause = back_off::pause(self.failures, said, chance);
        let until = now_usec.saturating_add(u64::try_from(pause.as_micros()).unwrap_or(u64::MAX));
        self.next_try_usec = Some(until);
        self.said_usec = said.map(|_| until);
        let given_up = self.failures.is_multiple_of(MOST_TRIES);
        self.lost += u64::from(given_up);
        (pause, given_up)
    }

    /// How long a server that said so is still to be left alone when the service starts. A time that lies further ahead than any
    /// pause comes from a clock that was set.
    pub(crate) fn left_alone(&self, now_usec: u64) -> Duration {
        let left = Duration::from_micros(self.said_usec.unwrap_or(0).saturating_sub(now_usec));
        if left > back_off::MOST_SAID { Duration::ZERO } else { left }
    }

    fn fail(&mut self, reason: String, now_usec: u64) {
        (self.failing, self.last_error, self.last_error_usec) = (true, Some(reason), Some(now_usec));
    }
}

/// A file for each target.
#[derive(Debug)]
pub(crate) struct Book {
    directory: PathBuf,
}

impl Book {
    /// The files in `directory`, which is there.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// What is known of a target; nothing if that cannot be understood.
    pub(crate) fn read(&self, target: &TargetName) -> Progress {
        let held = fs::read(self.path(target)).unwrap_or_default();
        serde_json::from_slice(&held).unwrap_or_default()
    }

    /// Keeps what is known of a target. Less of it after a power failure harms nobody.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, target: &TargetName, progress: &Progress) -> Result<(), FileError> {
        let path = self.path(target);
        let bytes = serde_json::to_vec(progress).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        files::write_unflushed(&path, &bytes, 0o600).map(drop)
    }

    /// Forgets a target.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn forget(&self, target: &TargetName) -> Result<(), FileError> {
        files::remove(&self.path(target)).map(drop)
    }

    fn path(&self, target: &TargetName) -> PathBuf {
        self.directory.join(format!("{target}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_taken_is_given_up_and_a_server_that_said_so_is_left_alone() {
        let mut progress = Progress::default();
        let tries = (1..=2 * MOST_TRIES).filter(|_| progress.failed("away".to_owned(), None, 0, 0).1).count();
        assert_eq!((tries, progress.lost), (2, 2));
        assert_eq!(progress.left_alone(0), Duration::ZERO, "nobody said so");
        progress.told(1);
        assert_eq!((progress.failures, progress.failing, progress.last_success_usec), (0, false, Some(1)));
        progress.failed("busy".to_owned(), Some(Duration::from_secs(60)), 1_000_000, 0);
        assert_eq!(progress.left_alone(31_000_000), Duration::from_secs(30));
        assert_eq!(progress.left_alone(61_000_001), Duration::ZERO);
        progress.said_usec = Some(u64::MAX);
        assert_eq!(progress.left_alone(0), Duration::ZERO);
        progress.refused("401 Unauthorized".to_owned(), 2);
        assert!(progress.failing && progress.failures == 0 && progress.lost == 3 && progress.next_try_usec.is_none());
    }

    #[test]
    fn it_is_kept_and_nonsense_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let book = Book::in_directory(directory.path());
        let forge = "forge".parse().unwrap();
        assert_eq!(book.read(&forge), Progress::default());
        let progress = Progress { lost: 3, ..Progress::default() };
        book.write(&forge, &progress).unwrap();
        assert_eq!(book.read(&forge), progress);
        fs::write(directory.path().join("forge.json"), b"{\"lost\":").unwrap();
        assert_eq!(book.read(&forge), Progress::default());
        book.forget(&forge).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
