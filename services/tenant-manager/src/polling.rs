//! The timers that poll repositories: made to run for exactly those that are wanted, as often as each says.
//!
//! What a timer says otherwise than its template is a drop-in, and a drop-in is read when its unit is loaded: a timer that
//! is to change is stopped, by which it is unloaded, and started again. So the service manager never has to reload.

use crate::{containers::Containers, fault::Fault, paths::Paths, units};
use futures_util::{StreamExt, stream};
use host::files::{self, FileError};
use interfaces::tenant::Timer;
use model::{Noticing, names::RepositoryName, time::TimeSpan};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
};
use tracing::info;

/// How many timers are started or stopped at a time.
const AT_A_TIME: usize = 16;
/// The drop-in's name in its unit's directory.
const DROP_IN: &str = "50-bitbuilder.conf";
/// No repository is asked for more often.
const SHORTEST: Option<TimeSpan> = TimeSpan::seconds(10);

/// What is to be done about one timer.
enum Change {
    /// It says something else, or does not run.
    Start { runs: bool, said: Option<String> },
    /// Nobody wants it.
    Stop,
}

/// Starts and stops what is needed. True if anything was.
pub(crate) async fn ensure(containers: &impl Containers, paths: &Paths, wanted: &[Timer]) -> Result<bool, Fault> {
    let running = containers.polled().await?;
    let mut changes = Vec::new();
    let wanted: BTreeMap<&RepositoryName, &Timer> = wanted.iter().map(|timer| (&timer.repository, timer)).collect();
    for (repository, timer) in &wanted {
        let (runs, said) = (running.contains(*repository), said(timer));
        if !runs || read(paths, repository)? != said {
            changes.push(((*repository).clone(), Change::Start { runs, said }));
        }
    }
    // A drop-in without its timer is what a kill left.
    let superfluous = running.into_iter().chain(written(paths)?).filter(|repository| !wanted.contains_key(repository));
    let superfluous: BTreeSet<RepositoryName> = superfluous.collect();
    changes.extend(superfluous.into_iter().map(|repository| (repository, Change::Stop)));
    let changed = !changes.is_empty();
    let outcomes = stream::iter(changes).map(|(repository, change)| apply(containers, paths, repository, change));
    let outcomes: Vec<Result<(), Fault>> = outcomes.buffer_unordered(AT_A_TIME).collect().await;
    outcomes.into_iter().collect::<Result<(), _>>()?;
    Ok(changed)
}

/// The drop-in is written while the timer does not run: a kill at any point leaves a timer that does not run or a drop-in
/// that says something else, and either is seen the next time.
async fn apply(
    containers: &impl Containers,
    paths: &Paths,
    repository: RepositoryName,
    change: Change,
) -> Result<(), Fault> {
    match change {
        Change::Start { runs, said } => {
            if runs {
                containers.stop_polling(&repository).await?;
            }
            match &said {
                Some(said) => write(paths, &repository, said)?,
                None => remove(paths, &repository)?,
            }
            containers.poll(&repository).await?;
            info!(%repository, usual = said.is_none(), "polled");
        }
        Change::Stop => {
            containers.stop_polling(&repository).await?;
            remove(paths, &repository)?;
            info!(%repository, "not polled any more");
        }
    }
    Ok(())
}

/// What a timer says otherwise than the template. Both values are numbers with a unit of time.
fn said(timer: &Timer) -> Option<String> {
    let (interval, jitter, usual) = (timer.interval.max(SHORTEST?), timer.jitter, Noticing::default());
    if (interval, jitter) == (usual.interval, usual.jitter) {
        return None;
    }
    // The first assignment takes away what the template says.
    Some(format!(
        "[Timer]\nOnActiveSec=\nOnActiveSec={interval}\nOnUnitInactiveSec={interval}\nRandomizedDelaySec={jitter}\n"
    ))
}

fn directory(paths: &Paths, repository: &RepositoryName) -> PathBuf {
    paths.units().join(format!("{}.d", units::timer(repository)))
}

fn read(paths: &Paths, repository: &RepositoryName) -> Result<Option<String>, FileError> {
    let path = directory(paths, repository).join(DROP_IN);
    match fs::read_to_string(&path) {
        Ok(said) => Ok(Some(said)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FileError::new("read", &path)(cause)),
    }
}

fn write(paths: &Paths, repository: &RepositoryName, said: &str) -> Result<(), FileError> {
    let directory = directory(paths, repository);
    fs::create_dir_all(&directory).map_err(FileError::new("create", &directory))?;
    // It goes with the next boot.
    files::write_unflushed(&directory.join(DROP_IN), said.as_bytes(), 0o644).map(drop)
}

/// Takes our drop-in away; one that somebody else put beside it stays.
fn remove(paths: &Paths, repository: &RepositoryName) -> Result<(), FileError> {
    let directory = directory(paths, repository);
    files::remove(&directory.join(DROP_IN))?;
    match fs::remove_dir(&directory) {
        Err(cause) if !matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(FileError::new("remove", &directory)(cause))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The repositories that have a drop-in of ours.
fn written(paths: &Paths) -> Result<Vec<RepositoryName>, FileError> {
    let directory = paths.units();
    let entries = match fs::read_dir(&directory) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => {
            entries.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(FileError::new("list", &directory))?
        }
    };
    let ours = entries.iter().filter_map(|entry| {
        let name = entry.file_name();
        let repository = name.to_str()?.strip_prefix("git-sync@")?.strip_suffix(".timer.d")?.parse().ok()?;
        entry.path().join(DROP_IN).exists().then_some(repository)
    });
    Ok(ours.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    pub(crate) fn timer(repository: &str, interval: &str, jitter: &str) -> Timer {
        let (interval, jitter) = (interval.parse().unwrap(), jitter.parse().unwrap());
        Timer { repository: repository.parse().unwrap(), interval, jitter }
    }

    #[test]
    fn the_template_says_what_is_usual() {
        let Noticing { interval, jitter, .. } = Noticing::default();
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../units/git-sync@.timer");
        let template = fs::read_to_string(template).unwrap();
        for line in [
            format!("OnActiveSec={interval}"),
            format!("OnUnitInactiveSec={interval}"),
            format!("RandomizedDelaySec={jitter}"),
        ] {
            assert!(template.lines().any(|said| said == line), "{line}");
        }
        assert_eq!(said(&timer("web", "30s", "10s")), None);
    }

    #[test]
    fn a_drop_in_takes_the_place_of_what_the_template_says() {
        let said = said(&timer("web", "5min", "0")).unwrap();
        assert_eq!(said, "[Timer]\nOnActiveSec=\nOnActiveSec=5min\nOnUnitInactiveSec=5min\nRandomizedDelaySec=0s\n");
        let often = super::said(&timer("web", "1s", "0")).unwrap();
        assert!(often.contains("OnUnitInactiveSec=10s"), "{often}");
    }
}
