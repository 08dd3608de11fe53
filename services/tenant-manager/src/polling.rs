//! The timers that poll repositories: made to run for exactly those that are wanted, as often as each says.
//!
//! What a timer says otherwise than its template is a drop-in, and a drop-in is read when its unit is loaded: a timer that
//! is to change is stopped, by which it is unloaded, and started again. So the service manager never has to reload.

use crate::{containers::Containers, fault::Fault, paths::Paths, unit_files};
use boot::{Polling, Timing, units::DROP_IN};
use futures_util::{StreamExt, stream};
use host::files::{self, FileError};
use interfaces::tenant::Timer;
use model::names::RepositoryName;
use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind},
};
use tracing::info;

/// How many timers are started or stopped at a time.
const AT_A_TIME: usize = 16;

/// What is to be done about one timer.
enum Change {
    /// It says something else, or does not run.
    Start { runs: bool, timing: Timing },
    /// Nobody wants it.
    Stop,
}

/// Starts and stops what is needed. True if anything was.
pub(crate) async fn ensure(containers: &impl Containers, paths: &Paths, wanted: &[Timer]) -> Result<bool, Fault> {
    let wanted: Polling = wanted.iter().map(|timer| (timer.repository.clone(), timing(timer))).collect();
    write_down(paths, &wanted)?;
    let running = containers.polled().await?;
    let mut changes = Vec::new();
    for (repository, timing) in &wanted {
        let runs = running.contains(repository);
        let said = unit_files::read(paths, &drop_in(repository))?.unwrap_or_else(|| Timing::default().text());
        if !runs || said != timing.text() {
            changes.push((repository.clone(), Change::Start { runs, timing: *timing }));
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
        Change::Start { runs, timing } => {
            if runs {
                containers.stop_polling(&repository).await?;
            }
            let (name, unusual) = (drop_in(&repository), timing.unusual());
            unit_files::remove(paths, &name)?;
            // What a boot made is outdone by saying what is usual.
            if unusual.is_some() || unit_files::read(paths, &name)?.is_some() {
                unit_files::write(paths, &name, &timing.text())?;
            }
            containers.poll(&repository).await?;
            info!(%repository, usual = unusual.is_none(), "polled");
        }
        Change::Stop => {
            containers.stop_polling(&repository).await?;
            unit_files::remove(paths, &drop_in(&repository))?;
            info!(%repository, "not polled any more");
        }
    }
    Ok(())
}

fn timing(timer: &Timer) -> Timing {
    Timing { interval: timer.interval, jitter: timer.jitter }
}

fn drop_in(repository: &RepositoryName) -> String {
    format!("{}.d/{DROP_IN}", boot::units::timer(repository))
}

/// Writes down how often repositories are polled, for the next boot.
fn write_down(paths: &Paths, wanted: &Polling) -> Result<(), FileError> {
    let path = paths.polling();
    let bytes = serde_json::to_vec_pretty(wanted).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
    let directory = paths.compiled();
    fs::create_dir_all(&directory).map_err(FileError::new("create", &directory))?;
    files::write_atomically(&path, &bytes, 0o600).map(drop)
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
